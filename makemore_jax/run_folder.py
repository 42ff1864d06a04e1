"""The folder of a run: what is in it, who may write to it, and how it is verified.

    config.json                   what was asked for, and the digest of the data: the run's identity
    best.safetensors              the best weights on dev so far, as `trained.save` writes them
    checkpoints/500.safetensors   the state after that many steps and the best weights until then; the last two are kept
    checkpoints/500.sharded       the same as a folder, where the state is too large for one host
    metrics.jsonl, summary.json   what was measured; written, never read back
    lock                          who is writing

One process writes (of several that train together, the first): it holds the lock, which ends with the process. Any
number of processes read: a reader never writes, deletes or creates anything, and finds whole files, since each is
synced and then renamed. A checkpoint carries a checksum and the identity of its run; one that is damaged, or another
run's, is named and passed over for the one before it.
"""

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from makemore_jax import checkpoint, sharded
from makemore_jax.data.lines import Split, digest, read_lines, split
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError, require
from makemore_jax.files import to_json, write_bytes, write_json
from makemore_jax.processes import agreed, is_first, share, share_arrays
from makemore_jax.sharding import fetch, lay_out_as
from makemore_jax.trained import Trained, restore

KEPT = 2  # checkpoints
FILES = ("summary.json", "metrics.jsonl", "best.safetensors")
# Settings that change where things lie and are computed, and not what they are.
ELSEWHERE = ("data", "files", "tokenizer", "init_from", "devices", "parts", "coordinator", "processes", "process")


class RunFolder:
    """A run folder that this process may write to, from `claim`; the processes of one run call it alike."""

    def __init__(self, path: Path, config: dict):
        """The folder at `path`, for the run of this configuration."""
        self.path, self.config = path, config
        self.identity = identity(config)

    def write_json(self, name: str, value: Any) -> None:
        """Replace a JSON file of the folder."""
        self._write(name, partial(write_json, value=value))

    def write_metrics(self, rows: list[dict]) -> None:
        """Replace metrics.jsonl, one object per chunk of steps; no times in it, so equal runs have equal files."""
        content = "".join(to_json(row) + "\n" for row in rows).encode()
        self._write("metrics.jsonl", partial(write_bytes, content=content))

    def save_best(self, trained: Trained) -> None:
        """Keep these weights as the best."""
        self._write_tree("best.safetensors", trained.params, trained.about)

    def save_state(self, step: int, tree: Any, about: dict) -> None:
        """Keep the state after `step` steps, described by `about`, and drop all but the last two."""
        leaves, about = checkpoint.flatten(tree), about | {"step": step}
        if sharded.needed(leaves):
            sharded.write(self.path / f"checkpoints/{step}.sharded", leaves, about | {"run": self.identity})
        else:
            self._write_tree(f"checkpoints/{step}.safetensors", leaves, about)
        for path in states(self.path)[KEPT:] if is_first() else ():
            delete(path)

    def _write_tree(self, name: str, tree: Any, about: dict) -> None:
        leaves = {}
        for leaf_name, leaf in checkpoint.flatten(tree).items():
            whole = fetch(leaf)  # every process takes part, and the first keeps it
            leaves |= {leaf_name: whole} if is_first() else {}
        self._write(name, lambda path: checkpoint.write(path, leaves, about | {"run": self.identity}))

    def _write(self, name: str, write: Callable[[Path], None]) -> None:
        """Write one file, in the first process; all learn whether it could."""
        with agreed():
            try:
                if is_first():
                    (self.path / name).parent.mkdir(exist_ok=True)
                    write(self.path / name)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise InputError(f"{self.path / name}: cannot save ({reason}); earlier checkpoints are kept") from None

    def last_step(self) -> int | None:
        """The step of the newest saved state."""
        return next((int(path.stem) for path in states(self.path)), None)

    def restore_state(self, like: Any) -> tuple[Any, dict] | None:
        """The newest intact state of this run, laid out as `like`, and its description; None if there is none.

        Later ones, which could not be read, are renamed to `.damaged`: the run will write them again.

        Raises:
          InputError: there are checkpoints, and none can be read. Nothing is changed then.
        """
        leaves = about = None
        with agreed():
            if is_first():
                leaves, about = self._newest_intact(like)
        about, in_parts = share((about, leaves is None))
        if about is None:
            return None
        flat = checkpoint.flatten(like)
        if in_parts:
            leaves = sharded.read(self.path / f"checkpoints/{about['step']}.sharded", flat)
        else:
            leaves = {name: lay_out_as(leaf, flat[name]) for name, leaf in share_arrays(leaves, flat).items()}
        return checkpoint.unflatten(leaves, like), about

    def _newest_intact(self, like: Any) -> tuple[dict | None, dict | None]:
        """The arrays of the newest intact state by name, unless each process reads its own, and its description."""
        paths, problems = states(self.path), []
        for number, path in enumerate(paths):
            try:
                in_parts = path.suffix == ".sharded"
                leaves, about = (None, sharded.read_about(path)) if in_parts else checkpoint.read(path)
                require(about.get("run") == self.identity, f"{str(path)!r}: a checkpoint of another run")
                require(about.get("step") == int(path.stem), f"{str(path)!r}: renamed; it is of another step")
                if not in_parts:
                    checkpoint.unflatten(leaves, like)
            except (InputError, ValueError) as error:
                problems.append(str(error))
                continue
            for damaged, problem in zip(paths[:number], problems, strict=True):
                warnings.warn(f"{problem}; continuing from the one before", stacklevel=2)
                damaged.replace(damaged.with_suffix(".damaged"))
            return leaves, about
        require(not paths, f"{'; '.join(problems)}. No checkpoint can be read; restore one from a backup")
        return None, None


def identity(config: dict) -> str:
    """What tells runs apart: a digest of the configuration and of the data, wherever the data is stored."""
    kept = {name: value for name, value in config.items() if name not in ELSEWHERE}
    return checkpoint.fingerprint({}, json.dumps(kept, sort_keys=True))


def states(path: Path) -> list[Path]:
    """The saved states, the newest first: files, or folders where they are sharded."""
    found = [*path.glob("checkpoints/*.safetensors"), *path.glob("checkpoints/*.sharded")]
    found = [state for state in found if re.fullmatch(r"\d{1,18}", state.stem)]
    return sorted(found, key=lambda state: int(state.stem), reverse=True)


def delete(path: Path) -> None:
    """Delete a file, or the folder of a sharded state."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def read_config(path: Path) -> dict | None:
    """The configuration of a run folder; None where there is none that can be read."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) and "lines_sha256" in config else None


def lines_of(path: Path, vocab: Vocab) -> Split | None:
    """The lines of a run's data as the vocabulary spells them; None where they are streamed, or no longer as they were.

    Streamed data may be larger than memory.
    """
    config = read_config(path)
    try:
        if config is None or config["stream"]:
            return None
        lines = read_lines(config["data"], config["max_length"], config["lowercase"], config.get("separator"))
        same = digest(lines) == config["lines_sha256"]
    except (ValueError, KeyError, TypeError):  # of data that is gone, too: an `InputError` is a `ValueError`
        return None
    return split(lines).map(lambda part: list(map(vocab.canonical, part))) if same else None


def open_run(path: str | Path) -> Trained:
    """The best weights of a run folder, or those of one safetensors file, as a trained model. Writes nothing.

    If the best weights are damaged, the newest intact checkpoint is used instead, with a warning.

    Raises:
      InputError: there is no such run, nothing has been saved yet, or nothing in it can be read.
    """
    path = Path(path)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
        files = [file for file in (path / "best.safetensors", *states(path)) if not is_file and file.is_file()]
    except OSError as error:  # before Python 3.14, also where another user may not look
        raise InputError(f"{str(path)!r}: {(error.strerror or 'cannot be read').lower()}") from None
    if is_file:
        leaves, about = checkpoint.read(path)
        return restore(_params(leaves, about), about, str(path))
    require(is_folder, f"{str(path)!r}: no such run folder or safetensors file")
    require(os.access(path, os.R_OK | os.X_OK), f"{str(path)!r}: permission denied")
    require(bool(files), f"{str(path)!r}: not a run folder, or nothing has been saved yet")
    config, problems = read_config(path), []
    for file in files:
        try:
            leaves, about = checkpoint.read(file)
            ours = config is None or about.get("run") == identity(config)
            require(ours, f"{str(file)!r}: of another run than config.json says")
            trained = restore(_params(leaves, about), about, str(file))
        except InputError as error:
            problems.append(str(error))
            continue
        if problems:
            warnings.warn(f"{'; '.join(problems)}; using {file.name} instead", stacklevel=2)
        return trained
    raise InputError("; ".join(problems))


def _params(leaves: dict, about: dict) -> dict:
    """The parameters among the arrays of a file: all, or the best so far beside a saved state."""
    if "step" not in about:
        return leaves
    return {name.removeprefix("best."): leaf for name, leaf in leaves.items() if name.startswith("best.")}
