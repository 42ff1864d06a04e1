"""Save states that are too large for one host: each process writes its shards in the background, with orbax.

Such a state is a folder, while other saved states are files. Any layout of devices can read it: each process reads the
shards that its own devices store.
"""

import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

import jax

from makemore_jax.distributed.processes import agreed, any_of
from makemore_jax.errors import InputError

SHARE = 0.25  # of a host's memory; a state that takes more is not gathered on one host


def needed(leaves: dict[str, jax.Array]) -> bool:
    """Whether these arrays are too large to gather on any one of the hosts, which may differ in memory."""
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
            "the state is too large to gather on one host, and saving it in shards needs another package: "
            "pip install '.[orbax]'"
        ) from None
    logging.getLogger("absl").setLevel(logging.ERROR)
    return orbax.checkpoint.StandardCheckpointer()


def write(path: Path, leaves: dict[str, jax.Array], about: dict) -> None:
    """Begin to write the arrays and their description; `path` exists once all is written. All processes call it."""
    finish()
    _saver().save(path.absolute(), leaves, force=True, custom_metadata=about)


def finish() -> None:
    """Wait until the writes that were begun are complete."""
    if not _saver.cache_info().currsize:
        return
    with agreed():
        try:
            _saver().wait_until_finished()
        except Exception as error:  # any error of the file system in orbax's threads
            reason = str(error).splitlines()[0][:200]
            raise InputError(f"cannot save ({reason}); what was saved before is kept") from None


def read_about(path: Path) -> dict:
    """Read the description of a saved state."""
    about = getattr(_saver().metadata(path.absolute()), "custom_metadata", None)
    if not about:
        raise InputError(f"{str(path)!r}: damaged (its description cannot be read)")
    return about


def read(path: Path, like: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Read the arrays of a saved state, laid out like those of `like`. All processes call it."""
    wanted = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding) for name, leaf in like.items()}
    try:
        return _saver().restore(path.absolute(), wanted)
    except Exception as error:  # orbax and tensorstore raise many kinds
        reason = str(error).splitlines()[0][:200]
        raise InputError(
            f"{str(path)!r}: cannot be read ({reason}); delete it to continue from the previous state"
        ) from None
