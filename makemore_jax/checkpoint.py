"""A pytree of arrays and its description in one safetensors file, which is verified when it is read.

The name of an array is the path to its leaf, joined by dots. The header holds the description as JSON, and a
SHA-256 over it and over every array: a damaged file is refused, whichever bit has flipped.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from makemore_jax.errors import InputError, require
from makemore_jax.files import read_bytes, require_regular, write_bytes


def flatten(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by name; random keys as their raw integers."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): _plain(leaf) for path, leaf in leaves}


def _is_key(leaf: Any) -> bool:
    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Any:
    if not _is_key(leaf):
        return leaf
    plain = jax.random.key_data
    return jax.eval_shape(plain, leaf) if isinstance(leaf, jax.ShapeDtypeStruct) else plain(leaf)


def unflatten(leaves: dict[str, Any], like: Any, any_shape: Callable[[str], bool] = lambda name: False) -> Any:
    """The inverse of `flatten`: put the leaves into the structure of `like`, as JAX arrays.

    What was written with JAX's 64-bit numbers can be read without them, and the other way round.
    """
    narrow = lambda leaf: leaf.dtype.name.replace("64", "32")
    kind = lambda name, leaf: (narrow(leaf), len(leaf.shape) if any_shape(name) else leaf.shape)
    expected = flatten(like)
    kinds = ({name: kind(name, leaf) for name, leaf in tree.items()} for tree in (leaves, expected))
    if next(kinds) != next(kinds):
        raise ValueError("arrays of other names, shapes or types")
    cast = [np.asarray(leaves[name], leaf.dtype) for name, leaf in expected.items()]
    ordered = jax.device_put(cast, may_alias=False)  # a run may overwrite them
    tree = jax.tree.unflatten(jax.tree.structure(like), ordered)
    return jax.tree.map(lambda leaf, to: jax.random.wrap_key_data(leaf) if _is_key(to) else leaf, tree, like)


def fingerprint(leaves: dict[str, np.ndarray], about: str) -> str:
    """SHA-256 over a description and over the name, type, shape and bytes of every array."""
    found = hashlib.sha256(about.encode())
    for name in sorted(leaves):
        leaf = np.ascontiguousarray(leaves[name])
        found.update(f"\n{name} {leaf.dtype} {leaf.shape}\n".encode())
        found.update(leaf.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def write(path: str | Path, tree: Any, about: dict) -> None:
    """Write a pytree and its description: synced, then renamed, so that a reader finds the whole file or none."""
    write_bytes(path, to_bytes(tree, about))


def to_bytes(tree: Any, about: dict) -> bytes:
    """The contents of the file of a pytree and its description."""
    leaves = {name: np.asarray(leaf) for name, leaf in flatten(tree).items()}
    text = json.dumps(about, ensure_ascii=False, sort_keys=True)
    # One entry: the order of several would differ from file to file.
    return save(leaves, metadata={"makemore_jax": f"{fingerprint(leaves, text)} {text}"})


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays of a file that `write` wrote, by name, and its description."""
    try:
        raw = read_bytes(path)
    except OSError as error:
        raise InputError(f"{str(path)!r}: {(error.strerror or 'cannot be read').lower()}") from None
    try:
        size = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + size]).get("__metadata__", {}).get("makemore_jax")
        leaves = load(raw)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(f"{str(path)!r}: damaged, or not a safetensors file") from None
    require(header is not None, f"{str(path)!r}: another program's weights; only what makemore_jax wrote can be read")
    checksum, _, text = str(header).partition(" ")
    require(checksum == fingerprint(leaves, text), f"{str(path)!r}: damaged (its checksum does not match)")
    try:
        about = json.loads(text)
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise InputError(f"{str(path)!r}: damaged (its description cannot be read)")
    return leaves, about


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of any safetensors file by name; raises `SafetensorError` or `OSError`."""
    require_regular(os.stat(path), path)
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
