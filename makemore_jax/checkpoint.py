"""Training states on disk, kept by orbax, and weights to share; both as safetensors.

A save is whole or absent: orbax writes beside the old one and renames. The two last are kept, so that one damaged file
does not end a run.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from makemore_jax.errors import InputError, require
from makemore_jax.model import Params

FILE = "state.safetensors"


class OneFile(ocp.CheckpointHandler):
    """A pytree of arrays as one safetensors file, names as in `flatten`.

    Orbax's own handler writes every array from a thread of its own; on a full disk it raises for one, and the others go
    on to print their tracebacks.
    """

    def save(self, directory: Path, args: "Tree") -> None:
        """Write `args.tree` into the folder."""
        write(directory / FILE, args.tree)

    def restore(self, directory: Path, args: "Tree") -> Any:
        """Read a tree of the structure, shapes and types of `args.tree`; NumPy arrays where that has some."""
        tree = unflatten(read(directory / FILE)[0], args.tree)

        def place(like: Any, leaf: np.ndarray) -> Any:
            return leaf if isinstance(like, np.ndarray | np.generic) else jnp.array(leaf)

        return jax.tree.map(place, args.tree, tree)


@ocp.args.register_with_handler(OneFile, for_save=True, for_restore=True)
@dataclass
class Tree(ocp.args.CheckpointArgs):
    """What `OneFile` saves, or what it restores the like of."""

    tree: Any


def flatten(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by name: the keys on the way to them, joined by dots."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def unflatten(leaves: dict[str, Any], like: Any) -> Any:
    """The pytree of the structure of `like` whose `flatten` is `leaves`.

    Raises:
      ValueError: it has other names, shapes or types.
    """
    alike = {name: (leaf.shape, leaf.dtype) for name, leaf in flatten(like).items()}
    if {name: (leaf.shape, leaf.dtype) for name, leaf in leaves.items()} != alike:
        raise ValueError("arrays of other names, shapes or types")
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in alike])


def write(path: str | Path, tree: Any, about: dict[str, str] | None = None) -> None:
    """Write a pytree of arrays into a safetensors file; `about` goes into its header."""
    save_file(flatten(jax.tree.map(np.asarray, tree)), path, metadata=about)


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file by name, and what its header says."""
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 (not a dict)


def manager(folder: str | Path, keep: int = 2) -> ocp.CheckpointManager:
    """The checkpoints of one folder, by step; the `keep` last are kept. Use it in a `with`."""
    # Not in the background: a full disk is then an error of this save, and not of some later moment.
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=False
    )
    return ocp.CheckpointManager(Path(folder).absolute(), options=options)


def save(checkpoints: ocp.CheckpointManager, step: int, tree: Any) -> None:
    """Save a pytree of arrays as step `step`, in place of one that is there already: it may be damaged.

    Raises:
      OSError: the disk is full or read-only.
    """
    if step in checkpoints.all_steps():
        checkpoints.delete(step)
    logging.disable(logging.ERROR)  # orbax prints pages of what it then raises
    try:
        checkpoints.save(step, args=Tree(tree))
    except SafetensorError as error:
        raise OSError(str(error)) from None
    finally:
        logging.disable(logging.NOTSET)


def restore(checkpoints: ocp.CheckpointManager, like: Any) -> Any:
    """The newest tree that can be read, in the structure of `like`.

    Raises:
      InputError: there is none, or none of them can be read.
    """
    steps = sorted(checkpoints.all_steps(), reverse=True)
    for step in steps:
        try:
            return checkpoints.restore(step, args=Tree(like))
        except Exception as error:  # a damaged file shows in many ways
            reason = " ".join(str(error).split())[:120]
            print(f"{checkpoints.directory}/{step} cannot be read ({reason}); trying the one before")
    what = "no checkpoint can be read" if steps else "there is no checkpoint"
    raise InputError(f"{checkpoints.directory}: {what}; train again with --overwrite")


def export_weights(path: str | Path, params: Params, about: dict) -> None:
    """Write bare weights as safetensors: names are the keys joined by dots; `about` goes into the header as JSON."""
    write(path, params, {"makemore_jax": json.dumps(about, ensure_ascii=False)})


def import_weights(path: str | Path) -> tuple[dict[str, np.ndarray], dict]:
    """Read what `export_weights` wrote: the arrays by name, for `unflatten`, and `about`.

    Raises:
      InputError: the file is missing, damaged, or not of this project.
    """
    require(Path(path).is_file(), f"{path}: no such file")
    try:
        leaves, header = read(path)
        about = json.loads(header.get("makemore_jax", "null"))
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path}: not a safetensors file that can be read ({error})") from None
    require(isinstance(about, dict), f"{path}: weights of another program; only what this project exported can be read")
    return leaves, about
