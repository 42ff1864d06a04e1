"""Who may write to a run folder: one process, which holds its lock, and says who it is."""

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
from makemore_jax.files import to_json, write_json
from makemore_jax.runs.folder import ELSEWHERE, FILES, identity, read_config, states
from makemore_jax.runs.writer import RunFolder, delete


@contextlib.contextmanager
def claim(
    path: Path, config: dict, files: tuple[str, ...] = (), *, resume: bool = False, overwrite: bool = False
) -> Iterator[RunFolder]:
    """Hold the folder for the run of `config` while it writes; `files` are the names that it may write besides.

    The files of an earlier run are deleted, by name and no others, if `overwrite` is true or if little is lost: it has
    no checkpoints, and either it never finished or it had the same configuration. `resume` deletes nothing.
    """
    config = json.loads(to_json(config | {"files": sorted(files)}))
    with contextlib.ExitStack() as held:
        with agreed():
            if is_first():
                _hold(path, config, resume, overwrite, held)
        yield RunFolder(path, config)
        orbax_state.finish()


def _hold(path: Path, config: dict, resume: bool, overwrite: bool, held: contextlib.ExitStack) -> None:
    """Lock the folder until `held` is left, and clear it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(path, config, resume)
        held.enter_context(_locked(path))
        _refuse_other_run(path, config, resume, overwrite)
        if not resume:
            _clear(path)
        for part in (*path.glob("checkpoints/*.safetensors.part"), *(path / f"{name}.part" for name in FILES)):
            part.unlink(missing_ok=True)  # what a process that was killed had begun to write
        write_json(path / "config.json", config)
    except (OSError, RuntimeError) as error:  # a RuntimeError is a loop of symbolic links
        reason = (getattr(error, "strerror", None) or "cannot be written").lower()
        raise InputError(f"{str(path)!r}: {reason}; choose another `out`") from None


def _refuse_foreign(path: Path, config: dict, resume: bool) -> None:
    """Raise `InputError` if the folder holds files and no run. With a damaged config.json, its checkpoints tell."""
    left = [file.name for file in path.iterdir() if file.name not in ("lock", "config.json.part")]
    known = not left or read_config(path) or (resume and any(_belongs(file, config) for file in states(path)))
    require(bool(known), f"{str(path)!r}: the folder holds files that are not a run's; choose another `out`")


def _refuse_other_run(path: Path, config: dict, resume: bool, overwrite: bool) -> None:
    """Raise `InputError` if the folder holds a run that this one would overwrite, or none that it can resume."""
    kept, saved = read_config(path), states(path)
    if kept is None:
        require(not resume or bool(saved), f"{str(path)!r}: there is no run to resume; start it without `resume`")
        return
    differing = sorted(name for name in kept.keys() | config.keys() if kept.get(name) != config.get(name))
    differing = [name for name in differing if name not in ELSEWHERE]
    if overwrite and not resume:
        return
    way_out = "choose another `out`, or pass `overwrite`"
    if differing and (resume or saved or (path / "summary.json").exists()):
        what = ", ".join(f"{name} {kept.get(name)!r} there, {config.get(name)!r} here" for name in differing)
        raise InputError(f"{str(path)!r}: holds a run of another configuration ({what}); {way_out}")
    way_out = "continue it with `resume`, or start over with `overwrite`"
    require(resume or not saved, f"{str(path)!r}: holds this run already; {way_out}")


def _belongs(file: Path, config: dict) -> bool:
    try:
        about = orbax_state.read_about(file) if file.is_dir() else checkpoint.read(file)[1]
        return about.get("run") == identity(config)
    except InputError:
        return False


def _clear(path: Path) -> None:
    """Delete what an earlier run left: the files that runs have, and those that its configuration names."""
    named = (read_config(path) or {}).get("files", [])
    named = [name for name in named if isinstance(name, str) and re.fullmatch(r"[\w-]+\.(png|html)", name)]
    for file in (*states(path), *path.glob("checkpoints/*.damaged"), *(path / name for name in (*FILES, *named))):
        delete(file)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the folder, and say who does; the lock ends with the process, however that ends."""
    try:
        lock = FileLock(path / "lock", blocking=False).acquire()
    except Timeout:
        raise InputError(
            f"{str(path)!r}: {_holder(path)} is writing to it; wait for it, or choose another `out`"
        ) from None
    with lock:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        (path / "lock").write_text(f"process {os.getpid()} on {socket.gethostname()}, since {since},\n")
        yield


def _holder(path: Path) -> str:
    """Who holds the lock of the folder, as it says of itself."""
    try:
        return (path / "lock").read_text(errors="replace")[:200].strip() or "another process"
    except OSError:  # Windows locks the file for readers, too
        return "another process"
