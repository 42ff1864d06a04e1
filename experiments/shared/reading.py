"""Flags of commands that read a file as people have it: a column of a table, an encoding, standard input."""

import atexit
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import tyro

from makemore_jax.data.formats import GZIP, Source
from makemore_jax.data.lines import Reading


@cache
def standard_input() -> Path:
    """Copy standard input, which can be read once, to a file that is deleted when the process ends."""
    raw, folder = sys.stdin.buffer.read(), tempfile.mkdtemp(prefix="makemore-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = Path(folder) / ("standard-input.gz" if raw.startswith(GZIP) else "standard-input")
    file.write_bytes(raw)
    return file


def is_standard_input(path: Path) -> bool:
    """Whether this is the copy of standard input, if one was made."""
    return bool(standard_input.cache_info().currsize) and path == standard_input()


File = Annotated[
    Path,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="FILE",
        instance_from_str=lambda texts: standard_input() if texts == ["-"] else Path(texts[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    ),
]


@dataclass(frozen=True, kw_only=True)
class Reads:
    """The flags that say how lines are found in a file; see `makemore_jax.data.formats`."""

    column: str | None = None
    """Of a table (CSV or TSV): the column of the lines, by its name or its number from 1."""
    weights: str | None = None
    """Of a table: the column that says how often each line occurs."""
    encoding: str | None = None
    """Encoding of the file, such as latin-1 or utf-16; by default UTF-8."""
    errors: Literal["strict", "replace", "skip"] | None = None
    """Wrong bytes are refused (strict, as by default), replaced by a mark, or skipped with their lines."""

    @property
    def reading(self) -> Reading:
        """How a file becomes lines."""
        return Reading.of(vars(self))

    def reading_as(self, settings: dict) -> Reading:
        """How a run with these settings read its file, unless the flags say otherwise."""
        given = {name: value for name, value in vars(self).items() if name in Source._fields and value is not None}
        return Reading.of(settings | given)
