"""Saved states that are too large for one host: each process writes its shards, in the background, by orbax.

They are folders where other saved states are files. Any layout of devices can read them: each process reads the shards
that its own devices store.
"""

import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

import jax

from makemore_jax.distributed.processes import agreed, any_of
from makemore_jax.errors import InputError

SHARE = 0.25  # of a host's memory; a state that takes more is not gathered on one


def needed(leaves: dict[str, jax.Array]) -> bool:
    """Whether these arrays are too many to gather on one host, on any: hosts may differ in memory."""
    if not hasattr(os, "sysconf"):  # Windows
        return False
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return any_of(sum(leaf.nbytes for leaf in leaves.values()) > SHARE * memory)[0]


@cache
def _saver() -> Any:
    try:
        import orbax.checkpoint  # takes a second to import, and few runs need it
    except ImportError:
        raise InputError(
            "the state is too large to be gathered on one host, and saving it in shards needs another package: "
            "pip install '.[orbax]'"
        ) from None
    logging.getLogger("absl").setLevel(logging.ERROR)
    return orbax.checkpoint.StandardCheckpointer()


def write(path: Path, leaves: dict[str, jax.Array], about: dict) -> None:
    """Begin to write the arrays and their description; `path` exists when all is written. All processes call it."""
    finish()
    _saver().save(path.absolute(), leaves, force=True, custom_metadata=about)


def finish() -> None:
    """Wait until what was begun is written."""
    if not _saver.cache_info().currsize:
        return
    with agreed():
        try:
            _saver().wait_until_finished()
        except Exception as error:  # whatever the file system raised in orbax's threads
            reason = str(error).splitlines()[0][:200]
            raise InputError(f"cannot save ({reason}); what was saved before is kept") from None


def read_about(path: Path) -> dict:
    """The description of a saved state."""
    about = getattr(_saver().metadata(path.absolute()), "custom_metadata", None)
    if not about:
        raise InputError(f"{str(path)!r}: damaged (its description cannot be read)")
    return about


def read(path: Path, like: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The arrays of a saved state, laid out as those of `like`. All processes call it."""
    wanted = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding) for name, leaf in like.items()}
    try:
        return _saver().restore(path.absolute(), wanted)
    except Exception as error:  # orbax and tensorstore raise many kinds
        reason = str(error).splitlines()[0][:200]
        raise InputError(
            f"{str(path)!r}: cannot be read ({reason}); delete it to continue from the one before"
        ) from None
