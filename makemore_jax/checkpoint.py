"""Training states on disk by orbax, and weights to share as safetensors.

A save is whole or absent: orbax writes beside the old one and renames. The two last are kept, so that one damaged file
does not end a run.
"""

import json
import logging
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from makemore_jax.errors import InputError, require
from makemore_jax.model import Params


def manager(folder: str | Path, keep: int = 2) -> ocp.CheckpointManager:
    """The checkpoints of one folder, by step; the `keep` last are kept. Use it in a `with`."""
    # Not in the background: a full disk is then an error of this save, and not of some later moment.
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=False
    )
    return ocp.CheckpointManager(Path(folder).absolute(), options=options)


def save(checkpoints: ocp.CheckpointManager, step: int, tree: Any) -> None:
    """Save a pytree of arrays as step `step`; a step that is there already is the same and stays."""
    if step in checkpoints.all_steps():
        return
    logging.disable(logging.ERROR)  # orbax prints pages of what it then raises
    try:
        checkpoints.save(step, args=ocp.args.StandardSave(tree))
    finally:
        logging.disable(logging.NOTSET)


def restore(checkpoints: ocp.CheckpointManager, like: Any) -> Any:
    """The newest tree that can be read, in the structure of `like`.

    Raises:
      InputError: there is none, or none of them can be read.
    """
    like = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    steps = sorted(checkpoints.all_steps(), reverse=True)
    for step in steps:
        try:
            return checkpoints.restore(step, args=ocp.args.StandardRestore(like))
        except Exception as error:  # a damaged file shows in many ways
            reason = " ".join(str(error).split())[:120]
            print(f"{checkpoints.directory}/{step} cannot be read ({reason}); trying the one before")
    what = "no checkpoint can be read" if steps else "there is no checkpoint"
    raise InputError(f"{checkpoints.directory}: {what}; train again with --overwrite")


def export_weights(path: str | Path, params: Params, about: dict) -> None:
    """Write bare weights as safetensors: names are the keys joined by dots; `about` goes into the header as JSON."""
    flat = {
        ".".join(key.key for key in keys): np.asarray(leaf)
        for keys, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    save_file(flat, path, metadata={"makemore_jax": json.dumps(about, ensure_ascii=False)})


def import_weights(path: str | Path) -> tuple[Params, dict]:
    """Read what `export_weights` wrote: the nested parameters and `about`.

    Raises:
      InputError: the file is missing, damaged, or not of this project.
    """
    require(Path(path).is_file(), f"{path}: no such file")
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {}).get("makemore_jax", "null"))
            flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path}: not a safetensors file that can be read ({error})") from None
    require(isinstance(about, dict), f"{path}: weights of another program; only what this project exported can be read")
    params: dict = {}
    for name, leaf in flat.items():
        *folders, last = name.split(".")
        inner = params
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[last] = leaf
    return params, about
