"""Store a pytree of arrays and its description in one safetensors file, and verify the file when reading it.

The name of an array is the path to its leaf, joined by dots. The header holds the description as JSON and a SHA-256 of
the description and all arrays, so that a file is refused if even one bit has flipped.
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
    """Return the leaves of a pytree by name, with random keys as their raw integers."""
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
    """Put named leaves into the structure of `like`, as JAX arrays: the inverse of `flatten`.

    Arrays written with JAX's 64-bit types enabled can be read without them, and vice versa.
    """
    narrow = lambda leaf: leaf.dtype.name.replace("64", "32")
    kind = lambda name, leaf: (narrow(leaf), len(leaf.shape) if any_shape(name) else leaf.shape)
    expected = flatten(like)
    kinds = ({name: kind(name, leaf) for name, leaf in tree.items()} for tree in (leaves, expected))
    if next(kinds) != next(kinds):
        raise ValueError("the arrays differ in name, shape or type")
    cast = [np.asarray(leaves[name], leaf.dtype) for name, leaf in expected.items()]
    ordered = jax.device_put(cast, may_alias=False)  # a run may overwrite them
    tree = jax.tree.unflatten(jax.tree.structure(like), ordered)
    return jax.tree.map(lambda leaf, to: jax.random.wrap_key_data(leaf) if _is_key(to) else leaf, tree, like)


def fingerprint(leaves: dict[str, np.ndarray], about: str) -> str:
    """Return the SHA-256 of a description and of the name, type, shape and bytes of every array."""
    found = hashlib.sha256(about.encode())
    for name in sorted(leaves):
        leaf = np.ascontiguousarray(leaves[name])
        found.update(f"\n{name} {leaf.dtype} {leaf.shape}\n".encode())
        found.update(leaf.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def write(path: str | Path, tree: Any, about: dict) -> None:
    """Write a pytree and its description atomically: a reader finds either the whole file or none."""
    write_bytes(path, to_bytes(tree, about))


def to_bytes(tree: Any, about: dict) -> bytes:
    """Return the contents of the file that stores a pytree and its description."""
    leaves = {name: np.asarray(leaf) for name, leaf in flatten(tree).items()}
    text = json.dumps(about, ensure_ascii=False, sort_keys=True)
    # One entry, since the order of several would vary from file to file.
    return save(leaves, metadata={"makemore_jax": f"{fingerprint(leaves, text)} {text}"})


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict]:
    """Return the arrays, by name, and the description in a file written by `write`."""
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
    require(header is not None, f"{str(path)!r}: weights of another program; give a file written by makemore_jax")
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
    """Return the arrays of any safetensors file by name; raise `SafetensorError` or `OSError` if it cannot be read."""
    require_regular(os.stat(path), path)
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
