"""What a text file may be besides lines in UTF-8: a table, FASTA or SMILES, in another encoding, compressed.

`plain` turns the bytes of any of these into UTF-8 with one item per line, which is all that is read elsewhere. A format
is a function from the text of a file to its items, found by the ending of the file's name. What is decided for a person
is said in a warning; what cannot be decided is asked for in an `InputError`.
"""

import csv
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

from makemore_jax.errors import InputError, require

MOST_REPEATED = 100_000  # lines that the weights of a table make
TITLES = {"name", "title", "text", "word", "label", "id", "count", "sequence", "smiles"}  # in the header of a table
GZIP = b"\x1f\x8b"
FOREIGN = {  # what a file is that starts with these bytes, and what to do
    b"PK\x03\x04": "a zip archive or an office document; save it as text, such as CSV",
    b"%PDF": "a PDF; save it as text",
    GZIP: "a gzip file; let its name end in .gz",
    b"BZh": "a bzip2 file; uncompress it",
}
Column = str | int | None  # of a table: the name of a column, or its number from 1


class Source(NamedTuple):
    """How the items are found in a file."""

    column: Column = None
    weights: Column = None  # the column that says how often each line occurs
    encoding: str | None = None  # by default UTF-8
    errors: str | None = None  # of wrong bytes: "strict" refuses, "replace" marks, "skip" leaves out their lines


PLAIN = Source()


def plain(raw: bytes, path: str | Path, source: Source = PLAIN) -> bytes:
    """Return the items of a file, given as its bytes and its name, as lines in UTF-8.

    Raises:
      InputError: the settings do not fit the file, a table has several columns and none was chosen, or bytes are wrong.
    """
    name, path = repr(str(path)), Path(str(path).lower())
    if path.suffix == ".gz":
        raw, path = unzip(raw, name), path.with_suffix("")
    asked = source.column is not None or source.weights is not None
    items = BY_ENDING.get(path.suffix, table if asked else None)
    if items is None and source == PLAIN:
        return raw
    text = decode(raw, name, source.encoding, source.errors)
    return ("\n".join(items(text, name, source.column, source.weights)) if items else text).encode()


def unzip(raw: bytes, name: str) -> bytes:
    """Return the contents of a gzip file."""
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error):
        raise InputError(f"{name}: a damaged gzip file; copy or compress it again") from None


def decode(raw: bytes, name: str, encoding: str | None = None, errors: str | None = None) -> str:
    """Decode text, with \\n as the only line end; see `Source`."""
    try:
        "a".encode(encoding or "utf-8")
    except (LookupError, ValueError):
        raise InputError(f"`encoding` is {encoding!r}, which is unknown; try latin-1, cp1252 or utf-16") from None
    known = errors in (None, "strict", "replace", "skip")
    require(known, f"`errors` is {errors!r}; it must be one of strict, replace, skip")
    try:
        text = raw.decode(encoding or "utf-8", "replace" if errors in ("replace", "skip") else "strict")
    except UnicodeError as error:
        raise wrong_bytes(raw, getattr(error, "start", 0), name, encoding=encoding) from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return without_wrong(text, name) if errors == "skip" else text


def without_wrong(text: str, name: str) -> str:
    """Leave out the lines that hold a replacement character, which stands for wrong bytes, and say how many."""
    lines = text.split("\n")
    kept = [line for line in lines if "\N{REPLACEMENT CHARACTER}" not in line]
    if left_out := len(lines) - len(kept):
        say(f"{name}: lines left out for their wrong bytes: {left_out:,}")
    return "\n".join(kept)


def wrong_bytes(raw: bytes, bad: int, name: str, number: int = 1, encoding: str | None = None) -> InputError:
    """Return the error for a file whose byte `bad` is not text; its first line has this number."""
    for start, what in FOREIGN.items():
        if raw.startswith(start):
            return InputError(f"{name}: {what}")
    number += raw[:bad].replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n")
    if encoding is None and raw[bad] == 0:
        problem = "a NUL character, so it is probably UTF-16; save the file as UTF-8, or name its `encoding`"
    else:
        ways = "save the file as UTF-8, name its `encoding`, such as latin-1, or set `errors` to replace or skip"
        problem = f"not {encoding or 'UTF-8'} (byte 0x{raw[bad]:02x}); {ways}"
    return InputError(f"{name}, line {number}: {problem}")


def fasta(text: str, name: str, column: Column = None, weights: Column = None) -> list[str]:
    """Return the sequences of a FASTA file, each joined from its rows; the headers, after >, are left out."""
    require(column is None and weights is None, f"{name}: FASTA has no columns; leave out `column` and `weights`")
    require(bool(re.search("(?m)^>", text)), f"{name}: not FASTA, since no line starts with >; name it .txt for lines")
    return ["".join(rows.split()) for rows in re.split("(?m)^[>;].*$", text)]


def smiles(text: str, name: str, column: Column = None, weights: Column = None) -> list[str]:
    """Return the molecules of a SMILES file; whatever follows a space on a line, such as an id, is left out."""
    require(column is None and weights is None, f"{name}: SMILES has no columns; leave out `column` and `weights`")
    found = [line.split()[0] for line in text.split("\n") if line.strip()]
    return found[1:] if found and found[0].lower() == "smiles" else found


def table(text: str, name: str, column: Column = None, weights: Column = None) -> list[str]:
    """Return one column of a table, whose cells are separated by tabs, commas or semicolons.

    `weights` is the column that says how often each line occurs: the line is repeated that often. If this makes more
    than `MOST_REPEATED` lines, the weights are scaled down to about as many, and each line occurs at least once.

    The first row is a header, and left out, if it holds the name of a column that is asked for, or if it looks like
    one: a word such as "name", or text above nothing but numbers.
    """
    numbered = _rows(text, name)
    if not numbered:
        return []
    rows = [row for _, row in numbered]
    first, numbers = rows[0], [str(i + 1) for i in range(max(map(len, rows)))]
    counted = None if weights is None else _place(weights, first, numbers, name)
    others = [i for i in range(len(numbers)) if i != counted]
    require(column is not None or len(others) == 1, f"{name}: {_question(rows)}")
    place = others[0] if column is None else _place(column, first, numbers, name)
    by_name = any(asked is not None and str(asked) not in numbers for asked in (column, weights))
    if by_name or _is_header(rows):
        if not by_name:
            say(f"{name}: left out its first row as a header: {_shown(first)}")
        del numbered[0]
    cell = lambda row, i: row[i] if i < len(row) else ""
    lines = [cell(row, place) for _, row in numbered]
    if counted is None:
        return lines
    return _repeated(lines, [_weight(cell(row, counted), name, number) for number, row in numbered], name)


def _rows(text: str, name: str) -> list[tuple[int, list[str]]]:
    """Return the rows of a table that are not blank, each with the number of its last line in the file."""
    top = text.strip().split("\n", 1)[0]
    rows = csv.reader(io.StringIO(text), delimiter=max("\t,;", key=top.count), strict=True)
    try:
        cells = ((rows.line_num, [" ".join(cell.split()) for cell in row]) for row in rows)
        return [(number, row) for number, row in cells if any(row)]
    except csv.Error as error:
        raise InputError(f"{name}, line {rows.line_num}: not a table ({error}); name it .txt for lines") from None


def _place(column: str | int, first: Sequence[str], numbers: Sequence[str], name: str) -> int:
    """Return the index of a column, which is given by its number, or by its name in the first row."""
    asked, names = str(column).strip().lower(), [cell.lower() for cell in first]
    known = [*numbers, *names]
    require(asked in known, f"{name}: has no column {column!r}; its first row is {_shown(first)}")
    return known.index(asked) % len(numbers)


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row looks like names of columns: a usual one, or text above nothing but numbers."""
    first, *others = rows
    usual = any(cell.lower().removesuffix("s") in TITLES for cell in first)
    below = ((cell, [row[i] for row in others if i < len(row) and row[i]]) for i, cell in enumerate(first))
    above = any(column and cell and not _is_number(cell) and all(map(_is_number, column)) for cell, column in below)
    return bool(others) and (usual or above)


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+]?\d[\d.,]*", cell))


def _question(rows: Sequence[Sequence[str]]) -> str:
    """Ask which column to read."""
    if _is_header(rows):
        return f"a table with the columns {_shown(rows[0])}; choose one with `column`"
    counts = any(all(map(_is_number, cells)) for cells in zip(*rows, strict=False))
    weights = ", and how often they occur with `weights`" if counts else ""
    return f"a table, its first row {_shown(rows[0])}; choose its lines with `column`, such as 1{weights}"


def _shown(cells: Iterable[str]) -> str:
    """The cells of a row, for a message of one line."""
    text = ", ".join(cells)
    return "".join(c if c.isprintable() else "?" for c in (text if len(text) < 200 else f"{text[:200]}..."))


def _weight(cell: str, name: str, number: int) -> int:
    """Return a weight; as programs write whole numbers, there may be commas, and .0 at the end."""
    whole = re.fullmatch(r"(\d[\d,]*)(\.0*)?", cell)
    if not whole:
        what = f"{name}, line {number}: the weight {cell!r} is not a whole number"
        raise InputError(f"{what}; mend it, or choose another column with `weights`")
    return int(whole[1].replace(",", ""))


def _repeated(lines: Sequence[str], counts: Sequence[int], name: str) -> list[str]:
    """Return each line as often as it counts, or in proportion."""
    total = sum(counts)
    if total > MOST_REPEATED:
        say(f"{name}: scaled its weights from {total:,} lines down to about {MOST_REPEATED:,}, each at least once")
        counts = [count and max(1, round(count * MOST_REPEATED / total)) for count in counts]
    return list(chain.from_iterable(map(repeat, lines, counts)))


def say(message: str) -> None:
    """Warn of what was decided, on behalf of whoever asked for the lines."""
    warnings.warn(message, stacklevel=2)


BY_ENDING = {".csv": table, ".tsv": table, ".smi": smiles, ".smiles": smiles}
BY_ENDING |= dict.fromkeys((".fasta", ".fa", ".faa", ".fna"), fasta)
ENDING = re.compile(rf"({'|'.join(map(re.escape, (*BY_ENDING, '.gz')))})$", re.IGNORECASE)
