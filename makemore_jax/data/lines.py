"""A text file as lines, one thing per line, and their split into train, dev and test."""

import contextlib
import hashlib
import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from makemore_jax.errors import InputError, require

LONGEST_LINE = 4096  # characters; a longer line is more likely a wrong file than a thing to learn
BYTE_ORDER_MARK = "\ufeff".encode()
T = TypeVar("T")


def normalize(text: str, lowercase: bool = False) -> str:
    """The one spelling of a text, for data and for what a person types: Unicode NFC, in lowercase if asked for.

    In NFC, an é typed as one character and an é typed as two are the same. Normalizing twice changes nothing.
    """
    text = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", text.lower()) if lowercase else text  # J̌ is two characters, ǰ is one


def printable(text: str) -> str:
    """`text` with escapes for control characters, which a terminal would obey instead of showing."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def read_lines(
    path: str | Path, max_length: int | None = None, lowercase: bool = False, separator: str | None = None
) -> list[str]:
    """Read the lines of a UTF-8 text file, in file order; with a `separator`, the documents of `read_documents`.

    Lines end in \\n, \\r\\n or \\r. A byte-order mark, spaces around a line and blank lines are dropped; the text is
    normalized, in lowercase if asked for, so that lines that become equal are on one side of a split. Lines longer than
    `max_length` characters are cut.

    Raises:
      InputError: no such file, not a regular file, not UTF-8, no line in it, or a line over `LONGEST_LINE` characters
        without `max_length`.
    """
    if separator is not None:
        return [document for some in read_documents(path, separator, max_length, lowercase) for document in some]
    return [line for chunk in read_chunks(path, max_length, lowercase) for line in chunk.split("\n")]


def read_chunks(
    path: str | Path, max_length: int | None = None, lowercase: bool = False, size: int = 2**24
) -> Iterator[str]:
    """The lines of `read_lines` in chunks, joined by \\n: about `size` bytes of the file are in memory at a time."""
    require(max_length is None or max_length > 0, f"`max_length` is {max_length}; it must be at least 1")
    empty, blank = file_status(path).st_size == 0, True
    name, number = repr(str(path)), 1  # the number of a chunk's first line
    for raw in _raw_chunks(path, size):
        text = normalize(_decode(raw, name, number), lowercase)
        chunk = text.strip()
        if max_length is not None or not _is_clean(chunk):
            chunk = _clean(text, name, number, max_length)
        number += text.count("\n")
        if chunk:
            blank = False
            yield chunk
    require(not blank, f"{name}: {'empty file' if empty else 'only blank lines'}; put one thing on each line")


def read_documents(
    path: str | Path, separator: str, max_length: int | None = None, lowercase: bool = False, size: int = 2**24
) -> Iterator[list[str]]:
    """The documents of a text file, which `separator` divides, some at a time, with their line ends inside.

    Line ends become \\n, and text is normalized as in `read_lines`. White space around a document and empty documents
    are dropped. Besides `size` bytes of the file, one document is in memory, however long it is.

    Raises:
      InputError: no such file, not a regular file, not UTF-8, nothing in it, or the separator is empty or does not
        occur.
    """
    require(max_length is None or max_length > 0, f"`max_length` is {max_length}; it must be at least 1")
    separator = normalize(separator.replace("\r\n", "\n"), lowercase)
    require(bool(separator), "`separator` is empty; give the text between two documents")
    file_status(path)
    name, number, rest, found, blank = repr(str(path)), 1, "", False, True

    def cleaned(documents: list[str]) -> list[str]:
        return [text for document in documents if (text := document.strip()[:max_length].rstrip())]

    for raw in _raw_chunks(path, size):
        text = _decode(raw, name, number)
        number += text.count("\n")
        *whole, rest = (rest + normalize(text, lowercase)).split(separator)
        found = found or bool(whole)
        if documents := cleaned(whole):
            blank = False
            yield documents
    require(found, f"{name}: the `separator` {printable(separator)!r} does not occur in it")
    if documents := cleaned([rest]):
        yield documents
    require(bool(documents) or not blank, f"{name}: only blank documents; put text between the separators")


def file_status(path: str | Path) -> os.stat_result:
    """The status of a text file, without opening it: opening a pipe would block, and a device may never end.

    Raises:
      InputError: no such file, or not a regular file.
    """
    with _named(path):
        status = os.stat(path)
    what = "is a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
    require(stat.S_ISREG(status.st_mode), f"{str(path)!r}: {what}; name a text file")
    return status


@contextlib.contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Turn a failure to read this file into an `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{str(path)!r}: {(error.strerror or 'cannot be read').lower()}; name a text file") from None


def _raw_chunks(path: str | Path, size: int) -> Iterator[bytes]:
    """The bytes of a file in chunks of whole lines, without a byte-order mark, with \\n as the only line end."""
    mark = BYTE_ORDER_MARK
    with _named(path), open(path, "rb") as file:
        while raw := file.read(size) + file.readline():
            raw, mark = raw.removeprefix(mark), b""
            yield raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in raw else raw


def _decode(raw: bytes, name: str, number: int) -> str:
    """The text of a chunk that starts at line `number` of the file."""
    bad, problem = raw.find(b"\0"), "a NUL character, so it is probably UTF-16"
    if bad < 0:
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            bad, problem = error.start, f"not UTF-8 (byte 0x{raw[error.start]:02x})"
    number += raw.count(b"\n", 0, bad)
    raise InputError(f"{name}, line {number}: {problem}; save the file as UTF-8")


def _is_clean(text: str) -> bool:
    """Whether `_clean` would return a stripped text as it is. Quick to check, and true of most ASCII files."""
    if not text.isascii():
        return False
    code_M = np.frombuffer(text.encode(), np.uint8)
    end_N = np.flatnonzero(code_M == ord("\n"))
    longest = np.diff(end_N, prepend=-1, append=len(text)).max() - 1
    beside_end = np.concatenate([code_M[end_N - 1], code_M[end_N + 1]])
    return bool(longest <= LONGEST_LINE and beside_end.min(initial=127) > ord(" "))  # white space is not above it


def _clean(text: str, name: str, number: int, max_length: int | None) -> str:
    """The lines of a chunk stripped, cut to `max_length`, and without the blank ones; the first has this number."""
    lines = list(map(str.strip, text.split("\n")))
    if max_length is not None:
        lines = [line[:max_length].rstrip() for line in lines]
    elif (longest := max(map(len, lines))) > LONGEST_LINE:
        number += next(i for i, line in enumerate(lines) if len(line) == longest)
        limit = f"over the limit of {LONGEST_LINE:,}; put one thing on a line"
        raise InputError(f"{name}, line {number}: {longest:,} characters, {limit}, or cut lines with `max_length`")
    return "\n".join(filter(None, lines))


def digest(lines: Iterable[str]) -> str:
    """SHA-256 of the lines: identifies the data, whatever the file is called."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


class Split(NamedTuple, Generic[T]):
    """One value each for train, dev and test: lines, tokens, losses."""

    train: T
    dev: T
    test: T

    def items(self) -> Iterator[tuple[str, T]]:
        """(name, value) pairs, like those of a dict."""
        return zip(self._fields, self, strict=True)

    def map(self, function: Callable) -> "Split":
        """`function` of each value."""
        return Split(*map(function, self))


def split(lines: Iterable[str], dev: float = 0.1, test: float = 0.1) -> Split[list[str]]:
    """Deal lines into train, dev and test by a hash of the line (BLAKE2b of its UTF-8, as a fraction of one).

    Equal lines always land in the same part, and adding lines to the file moves none of the others.
    """
    parts = Split([], [], [])
    for line in lines:
        hashed = hashlib.blake2b(line.encode(), digest_size=8).digest()
        fraction = int.from_bytes(hashed, "big") / 2**64
        (parts.test if fraction < test else parts.dev if fraction < test + dev else parts.train).append(line)
    return parts
