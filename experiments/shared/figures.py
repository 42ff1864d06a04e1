"""Figures are drawn after results, so a figure that cannot be drawn is only a warning."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from makemore_jax.data.lines import printable
from makemore_jax.errors import InputError


@contextlib.contextmanager
def drawing(path: Path, what: str = "drawn") -> Iterator[Path]:
    """Print the path when the figure in it has been drawn; if drawing fails, for example by a matplotlibrc, warn."""
    shown = printable(str(path))
    try:
        yield path
        print(f"{shown}: {what}")
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(f"{shown}: not drawn ({reason[:200]})", stacklevel=3)
