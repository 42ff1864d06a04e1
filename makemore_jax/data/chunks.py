"""Read a text file in chunks, for data larger than memory: the lines or documents of `read_lines`, a few at a time."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from makemore_jax.data.lines import (
    LONGEST_LINE,
    clean_documents,
    clean_lines,
    decode,
    file_status,
    frequent,
    named,
    normalize,
    normalize_separator,
    printable,
)
from makemore_jax.errors import require

SIZE = 2**24  # bytes
COUNTED = 2**14  # lines whose counts are in memory at once


def read_chunks(
    path: str | Path,
    max_length: int | None = None,
    lowercase: bool = False,
    context_length: int | None = None,
    size: int = SIZE,
) -> Iterator[str]:
    """Yield the lines of `read_lines` in chunks, joined by \\n, with `size` bytes of the file in memory at once."""
    require(max_length is None or max_length > 0, f"`max_length` is {max_length}; it must be at least 1")
    empty, blank = file_status(path).st_size == 0, True
    name, number = repr(str(path)), 1  # the number of a chunk's first line
    for raw in _raw_chunks(path, size):
        text = normalize(decode(raw, name, number), lowercase)
        chunk = text.strip()
        if max_length is not None or not _is_clean(chunk):
            chunk = "\n".join(clean_lines(text.split("\n"), name, number, max_length, context_length))
        number += text.count("\n")
        if chunk:
            blank = False
            yield chunk
    require(not blank, f"{name}: {'empty file' if empty else 'only blank lines'}; put one item on each line")


def read_documents(
    path: str | Path, separator: str, max_length: int | None = None, lowercase: bool = False, size: int = SIZE
) -> Iterator[list[str]]:
    """Yield the documents of `read_lines`, a few at a time.

    Memory holds about `size` bytes of the file and one whole document, however long it is.
    """
    require(max_length is None or max_length > 0, f"`max_length` is {max_length}; it must be at least 1")
    separator = normalize_separator(separator, lowercase)
    file_status(path)
    name, number, rest, found, blank = repr(str(path)), 1, "", False, True
    for raw in _raw_chunks(path, size):
        text = decode(raw, name, number)
        number += text.count("\n")
        *whole, rest = (rest + normalize(text, lowercase)).split(separator)
        found = found or bool(whole)
        if documents := clean_documents(whole, max_length):
            blank = False
            yield documents
    require(found, f"{name}: the `separator` {printable(separator)!r} does not occur in it; give one that does")
    if documents := clean_documents([rest], max_length):
        yield documents
    require(bool(documents) or not blank, f"{name}: only blank documents; put text between the separators")


def find_frequent(chunks: Callable[[], Iterator[list[str]]], counted: int = COUNTED) -> frozenset[str]:
    """Find the `frequent` lines of all chunks, in memory that does not grow with them.

    Above `counted` lines, the count of the next is subtracted from all, and lines without a rest are forgotten (Misra
    and Gries 1982). If a line may be frequent, a second pass over the chunks counts it exactly.
    """
    counts, total, subtracted = Counter(), 0, 0
    for lines in chunks():
        total += len(lines)
        for start in range(0, len(lines), counted):
            counts.update(lines[start : start + counted])
            if len(counts) > counted:
                least = sorted(counts.values(), reverse=True)[counted]
                counts = Counter({line: count - least for line, count in counts.items() if count > least})
                subtracted += least
    if not subtracted:
        return frequent(counts, total, len(counts))
    most = {line: count + subtracted for line, count in counts.items()}
    if suspects := frequent(most, total, counted):
        counts = Counter(line for lines in chunks() for line in lines if line in suspects)
    return suspects and frequent(counts, total, counted)


def _raw_chunks(path: str | Path, size: int) -> Iterator[bytes]:
    """Yield the bytes of a file in chunks of whole lines."""
    with named(path), open(path, "rb") as file:
        while raw := file.read(size) + file.readline():
            yield raw


def _is_clean(text: str) -> bool:
    """Whether `clean_lines` would return a stripped text unchanged: a quick check, true of most ASCII files."""
    if not text.isascii():
        return False
    code_M = np.frombuffer(text.encode(), np.uint8)
    end_N = np.flatnonzero(code_M == ord("\n"))
    longest = np.diff(end_N, prepend=-1, append=len(text)).max() - 1
    beside_end = np.concatenate([code_M[end_N - 1], code_M[end_N + 1]])
    return bool(longest <= LONGEST_LINE and beside_end.min(initial=127) > ord(" "))  # white space is at or below it
