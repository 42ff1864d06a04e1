"""The lock of a run folder, which lets one process write to it and names that process."""

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from makemore_jax import checkpoint
from makemore_jax.distributed import orbax_state
from makemore_jax.distributed.processes import agreed, is_first
from makemore_jax.errors import InputError, require
from makemore_jax.files import begun, inode, is_regular, read_bytes, to_json, write_json
from makemore_jax.runs.folder import ELSEWHERE, FILES, identity, read_config, states
from makemore_jax.runs.writer import RunFolder, delete

SIGNED = r"process \d+ on \S+, since [-\d]+ [:\d]+,\n"  # a lock that some process holds or held
MARKER = r"\d+\n\S+\n(\d+\n)?"  # the lock that filelock creates on file systems without locks


@contextlib.contextmanager
def claim(
    path: Path, config: dict, files: tuple[str, ...] = (), *, resume: bool = False, overwrite: bool = False
) -> Iterator[RunFolder]:
    """Hold the lock of the folder while the run of `config` writes; `files` names additional files that it may write.

    The files of an earlier run, and no others, are deleted if `overwrite` is true or if little is lost: the earlier run
    has no checkpoints, and either never finished or had the same configuration. `resume` deletes nothing.
    """
    config = json.loads(to_json(config | {"files": sorted(files)}))
    lock = None
    with contextlib.ExitStack() as held:
        with agreed():
            if is_first():
                lock = _hold(path, config, resume, overwrite, held)
        yield RunFolder(path, config, lock)
        orbax_state.finish()


def _hold(
    path: Path, config: dict, resume: bool, overwrite: bool, held: contextlib.ExitStack
) -> tuple[int, int] | None:
    """Lock the folder until `held` exits, and clear it; return the inode of the lock."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(path, config, resume)
        lock = held.enter_context(_locked(path))
        _refuse_other_run(path, config, resume, overwrite)
        if not resume:
            _clear(path)
        names = "|".join(map(re.escape, ("config.json", *FILES, *config["files"])))
        for part in (*begun(path, names), *begun(path / "checkpoints", r"\d+\.safetensors")):
            part.unlink(missing_ok=True)
        write_json(path / "config.json", config)
        return lock
    except (OSError, RuntimeError) as error:  # a RuntimeError is a loop of symbolic links
        reason = (getattr(error, "strerror", None) or "cannot be written").lower()
        raise InputError(f"{str(path)!r}: {reason}; choose another `out`") from None


def _refuse_foreign(path: Path, config: dict, resume: bool) -> None:
    """Raise `InputError` if the folder holds files but no run; if config.json is damaged, checkpoints identify the run.

    In the folder of a run, names to which the run writes may only belong to regular files and folders.
    """
    left = {*path.iterdir()} - {path / "lock", *begun(path, "config.json")}
    known = not left or read_config(path) or (resume and any(_belongs(file, config) for file in states(path)))
    known = bool(known) and _is_lock(path / "lock")
    require(known, f"{str(path)!r}: the folder holds files that are not a run's; choose another `out`")
    for file in (path / name for name in ("checkpoints", "config.json", *FILES, *config["files"])):
        fits = file.is_dir() and not file.is_symlink() if file.name == "checkpoints" else is_regular(file)
        wrong = f"{str(file)!r}: the run would write there, but it is a link or of another kind; choose another `out`"
        require(fits or not os.path.lexists(file), wrong)


def _is_lock(file: Path) -> bool:
    """Whether this can be the lock of a folder: it does not exist yet, is empty, or is signed by its holder."""
    if not os.path.lexists(file):
        return True
    return is_regular(file) and bool(re.fullmatch(rf"|{SIGNED}|{MARKER}", read_bytes(file).decode(errors="replace")))


def _refuse_other_run(path: Path, config: dict, resume: bool, overwrite: bool) -> None:
    """Raise `InputError` if this run would overwrite another, or has nothing to resume."""
    kept, saved = read_config(path), states(path)
    if kept is None:
        require(not resume or bool(saved), f"{str(path)!r}: there is no run to resume; start it without `resume`")
        return
    differing = sorted(name for name in kept.keys() | config.keys() if kept.get(name) != config.get(name))
    differing = [name for name in differing if name not in ELSEWHERE]
    if overwrite and not resume:
        return
    way_out = "choose another `out`" + (", or leave these settings as they are there" if resume else "")
    if differing and (resume or saved or (path / "summary.json").exists()):
        what = ", ".join(f"{name} {kept.get(name)!r} there, {config.get(name)!r} here" for name in differing)
        raise InputError(f"{str(path)!r}: holds a run of another configuration ({what}); {way_out}")
    way_out = "continue it with `resume`, or choose another `out`"
    require(resume or not saved, f"{str(path)!r}: holds this run already; {way_out}")


def _belongs(file: Path, config: dict) -> bool:
    try:
        about = orbax_state.read_about(file) if file.is_dir() else checkpoint.read(file)[1]
        return about.get("run") == identity(config)
    except InputError:
        return False


def _clear(path: Path) -> None:
    """Delete the files of an earlier run: those that every run has, and those that its configuration names."""
    named = (read_config(path) or {}).get("files", [])
    named = [
        name for name in named if isinstance(name, str) and re.fullmatch(r"[\w-]+\.(png|html|json|safetensors)", name)
    ]
    for file in (*states(path), *path.glob("checkpoints/*.damaged")):
        delete(file)
    for file in filter(is_regular, (path / name for name in (*FILES, *named))):
        file.unlink()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[tuple[int, int] | None]:
    """Hold and sign the lock of the folder, and yield its inode; the lock is released however the process ends."""
    folder = inode(path.resolve())
    try:
        lock = FileLock(path / "lock", blocking=False).acquire()
    except Timeout:
        raise InputError(
            f"{str(path)!r}: {_holder(path)} is writing to it; wait for it, or choose another `out`"
        ) from None
    with lock:
        found = inode(path / "lock")
        require(inode(path.resolve()) == folder, f"{str(path)!r}: moved or replaced; choose another `out`")
        _sign(path / "lock")
        yield found


def _sign(lock: Path) -> None:
    """Sign the lock with the name of this process, unless it is a marker on a file system without locks."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(lock, "r+b", buffering=0, opener=lambda path, _: os.open(path, flags)) as file:
        if re.fullmatch(rf"|{SIGNED}", file.read(1000).decode(errors="replace")):
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            file.seek(0)
            file.truncate()
            file.write(f"process {os.getpid()} on {socket.gethostname()}, since {since},\n".encode())


def _holder(path: Path) -> str:
    """Return the name of the process that holds the lock, according to its signature."""
    with contextlib.suppress(OSError):  # Windows locks the file for readers as well
        text = read_bytes(path / "lock").decode(errors="replace")
        if re.fullmatch(SIGNED, text):
            return text.strip()
    return "another process"
