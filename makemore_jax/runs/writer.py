"""Write to the folder of a run, atomically, in the first of the processes that train together."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from makemore_jax import checkpoint
from makemore_jax.distributed import orbax_state
from makemore_jax.distributed.mesh import fetch, lay_out_as
from makemore_jax.distributed.processes import agreed, is_first, share, share_arrays
from makemore_jax.errors import InputError, require
from makemore_jax.files import inode, json_bytes, to_json, write_bytes
from makemore_jax.inference.trained import Trained
from makemore_jax.runs.folder import identity, states

KEPT = 2  # the number of checkpoints to keep


class Moved(InputError):
    """The folder of a run was moved or deleted while the run was writing to it."""


class RunFolder:
    """A run folder that this process may write to, from `claim`; all processes of a run call the same methods."""

    def __init__(self, path: Path, config: dict, lock: tuple[int, int] | None):
        """Write to the folder at `path`, for the run of this configuration; the first process holds the lock."""
        self.path, self.config, self._lock = path, config, lock
        self.identity = identity(config)

    def file(self, name: str) -> Path:
        """Return the path of a file to write; raise `Moved` if this process no longer holds the lock in the folder.

        The lock moves with the folder, and another run may have begun at the old path.
        """
        if inode(self.path / "lock") != self._lock:
            raise Moved(f"{str(self.path)!r}: moved, deleted or replaced during the run, so the run stops")
        return self.path / name

    def write_json(self, name: str, value: Any) -> None:
        """Replace a JSON file of the folder."""
        self._write(name, lambda: json_bytes(value))

    def write_metrics(self, rows: list[dict]) -> None:
        """Replace metrics.jsonl, one object per chunk of steps, without times so that equal runs have equal files."""
        self._write("metrics.jsonl", lambda: "".join(to_json(row) + "\n" for row in rows).encode())

    def save_best(self, trained: Trained) -> None:
        """Save these weights as the best."""
        self.save(trained, "best.safetensors")

    def save(self, trained: Trained, name: str) -> None:
        """Save a trained model to this file, as `trained.save` does."""
        self._write_tree(name, trained.params, trained.about)

    def save_state(self, step: int, tree: Any, about: dict) -> None:
        """Save the state after `step` steps, described by `about`, and delete all but the last two."""
        leaves, about = checkpoint.flatten(tree), about | {"step": step}
        if orbax_state.needed(leaves):
            with agreed():
                _ = is_first() and self.file("checkpoints")
            orbax_state.write(self.path / f"checkpoints/{step}.sharded", leaves, about | {"run": self.identity})
        else:
            self._write_tree(f"checkpoints/{step}.safetensors", leaves, about)
        for path in states(self.path)[KEPT:] if is_first() else ():
            delete(path)

    def _write_tree(self, name: str, tree: Any, about: dict) -> None:
        leaves = {}
        for leaf_name, leaf in checkpoint.flatten(tree).items():
            whole = fetch(leaf)  # every process takes part, and the first keeps it
            leaves |= {leaf_name: whole} if is_first() else {}
        self._write(name, lambda: checkpoint.to_bytes(leaves, about | {"run": self.identity}))

    def _write(self, name: str, make: Callable[[], bytes]) -> None:
        """Write a file in the first process; raise `InputError` in all processes if that fails."""
        with agreed():
            try:
                if is_first():
                    content = make()  # before the check of the folder, because it takes time
                    path = self.file(name)
                    if path.parent != self.path:
                        path.parent.mkdir(exist_ok=True)
                    write_bytes(path, content)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise InputError(f"{self.path / name}: cannot save ({reason}); what was saved before is kept") from None

    def last_step(self) -> int | None:
        """Return the step of the newest saved state, or None if there is none."""
        return next((int(path.stem) for path in states(self.path)), None)

    def restore_state(self, like: Any) -> tuple[Any, dict] | None:
        """Return the newest intact state of this run, laid out like `like`, and its description; None without states.

        Later states, which could not be read, are renamed to `.damaged`, since the run will write them again. If none
        can be read, raise `InputError` and change nothing.
        """
        leaves, about = {}, None
        with agreed():
            if is_first():
                leaves, about = self._newest_intact(like)
        about, in_shards = share((about, not leaves))
        if about is None:
            return None
        flat = checkpoint.flatten(like)
        if in_shards:
            leaves = orbax_state.read(self.path / f"checkpoints/{about['step']}.sharded", flat)
        else:
            leaves = {name: lay_out_as(leaf, flat[name]) for name, leaf in share_arrays(leaves, flat).items()}
        return checkpoint.unflatten(leaves, like), about

    def _newest_intact(self, like: Any) -> tuple[dict, dict | None]:
        """Return the arrays of the newest intact state, none if it is sharded, and its description."""
        paths, problems = states(self.path), []
        for number, path in enumerate(paths):
            try:
                in_shards = path.suffix == ".sharded"
                leaves, about = ({}, orbax_state.read_about(path)) if in_shards else checkpoint.read(path)
                require(about.get("run") == self.identity, f"{str(path)!r}: a checkpoint of another run")
                require(about.get("step") == int(path.stem), f"{str(path)!r}: renamed; it belongs to another step")
                if not in_shards:
                    checkpoint.unflatten(leaves, like)
            except (InputError, ValueError) as error:
                problems.append(str(error))
                continue
            for damaged, problem in zip(paths[:number], problems, strict=True):
                warnings.warn(f"{problem}; continuing from the previous state", stacklevel=2)
                damaged.replace(self.file(f"checkpoints/{damaged.stem}.damaged"))
            return leaves, about
        require(not paths, f"{'; '.join(problems)}. No checkpoint can be read; restore one from a backup")
        return {}, None


def delete(path: Path) -> None:
    """Delete a file, or the folder of a sharded state."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
