"""A text file as lines, one thing a line, and their split into train, dev and test."""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from makemore_jax.errors import InputError, require

LONGEST_LINE = 4096  # characters; a longer line is more likely a wrong file than a thing to learn
BYTE_ORDER_MARK = "\ufeff".encode()
ODD = ("\r", "\t", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x1f", " \n", "\n ", "\n\n")  # what ASCII text is cleaned of


def read_lines(path: str | Path, max_length: int | None = None, fold: bool = False) -> list[str]:
    """Read the things of a UTF-8 file, one a line, in file order.

    A byte-order mark, any of the three line ends, outer spaces and blank lines are dropped; characters are code points
    after NFC, so that é typed in two ways is one character. `max_length` cuts longer lines to that many characters.
    `fold` makes letters small, here and not later, so that lines that become equal are on one side of a split.

    Raises:
      InputError: no such file, not a text file, no line in it, or a line over `LONGEST_LINE` with no `max_length`.
    """
    return [line for text in read_chunks(path, max_length, fold) for line in text.split("\n")]


def read_chunks(
    path: str | Path, max_length: int | None = None, fold: bool = False, size: int = 2**24
) -> Iterator[str]:
    """The same lines, some at a time, joined by line ends: in about `size` bytes of memory, whatever the file's."""
    require(max_length is None or max_length > 0, f"--max-length is {max_length}; it must be at least 1")
    number, empty = 1, True
    try:
        with Path(path).open("rb") as file:
            for raw in _whole_lines(file, size):
                if number == 1:
                    raw = raw.removeprefix(BYTE_ORDER_MARK)
                try:
                    text = raw.decode()
                except UnicodeDecodeError as error:
                    line = number + _unify_line_ends(raw[: error.start].decode("utf-8", "replace")).count("\n")
                    byte = f"byte 0x{raw[error.start]:02x}"
                    raise InputError(f"{path}, line {line}: not UTF-8 ({byte}); save it as UTF-8") from None
                cleaned = _clean(text, path, number, max_length)
                number += len(text.splitlines()) if "\r" in text else text.count("\n")
                if cleaned:
                    empty = False
                    yield normalize(cleaned.lower()) if fold else cleaned
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or 'cannot be read').lower()}; name a text file") from None
    if empty:
        what = "only blank lines" if Path(path).stat().st_size else "empty file"
        raise InputError(f"{path}: {what}; put one thing on each line")


def _whole_lines(file, size: int) -> Iterator[bytes]:
    """Pieces of a binary file that end where a line ends."""
    rest = b""
    while piece := file.read(size):
        head, end, tail = piece.rpartition(b"\n")
        if end:
            yield rest + head + end
            rest = tail
        else:
            rest += piece
    if rest:
        yield rest


def _clean(text: str, path: str | Path, first: int, max_length: int | None) -> str:
    """The lines of a chunk without what is dropped; `first` is the number of its first line in the file."""
    whole = text.strip()
    if max_length is None and whole.isascii() and not any(odd in whole for odd in ODD):
        ends = np.flatnonzero(np.frombuffer(whole.encode(), np.uint8) == ord("\n"))
        if np.diff(ends, prepend=-1, append=len(whole)).max() <= LONGEST_LINE:
            return whole
    lines = [line.strip() for line in normalize(_unify_line_ends(text)).split("\n")]
    if max_length is not None:
        lines = [line[:max_length].rstrip() for line in lines]
    for number, line in enumerate(lines, first):
        if len(line) > (max_length or LONGEST_LINE):
            raise InputError(
                f"{path}, line {number}: {len(line):,} characters, over the limit of {LONGEST_LINE:,}; "
                "put one thing on a line, or cut longer lines with --max-length N"
            )
    return "\n".join(line for line in lines if line)


def normalize(text: str) -> str:
    """Unicode NFC: one spelling for each character. For what a person types, as `read_lines` does for the data."""
    return unicodedata.normalize("NFC", text)


def _unify_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def digest(lines: Iterable[str]) -> str:
    """SHA-256 of the lines: which data it was, whatever the file was called."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


class Split(NamedTuple):
    """Three lists of lines; no line stands in two of them."""

    train: list[str]
    dev: list[str]
    test: list[str]


def split(lines: Iterable[str], dev: float = 0.1, test: float = 0.1) -> Split:
    """Deal lines into train, dev and test by a hash of the line itself (BLAKE2b of its UTF-8, as a fraction of one).

    A line that repeats is always on one side, and adding lines to the file moves none of the others.
    """
    sides = Split([], [], [])
    for line in lines:
        digest = hashlib.blake2b(line.encode(), digest_size=8).digest()
        fraction = int.from_bytes(digest, "big") / 2**64
        (sides.test if fraction < test else sides.dev if fraction < test + dev else sides.train).append(line)
    return sides
