"""Read a text file with one item per line, and split the lines into train, dev and test."""

import contextlib
import hashlib
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from makemore_jax.data import formats
from makemore_jax.errors import InputError, require

LONGEST_LINE = 4096  # characters; with longer lines, it is probably the wrong file
BYTE_ORDER_MARK = "\ufeff"
OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")  # by a terminal
T = TypeVar("T")
U = TypeVar("U")


def normalize(text: str, lowercase: bool = False) -> str:
    """Return the canonical spelling of data or typed text: Unicode NFC, in lowercase if `lowercase` is true.

    In NFC, an é typed as one character equals an é typed as two. Normalizing twice changes nothing.
    """
    text = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", text.lower()) if lowercase else text  # J̌ is two characters, ǰ is one


def printable(text: str) -> str:
    """Escape what a terminal would obey instead of showing: controls, line ends, changes of direction, surrogates."""
    return OBEYED.sub(lambda found: _escaped(found[0]), text)


def visible(symbol: str) -> str:
    """Escape also what shows nothing where a symbol stands alone: joiners, and spaces other than the common one."""
    return "".join(c if c.isprintable() else _escaped(c) for c in symbol)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


class Reading(NamedTuple):
    """The settings that determine the lines of a file: the arguments of `read_lines`."""

    max_length: int | None = None
    lowercase: bool = False
    separator: str | None = None  # between documents
    context_length: int | None = None  # of windows, which cut long lines; 0 if they are possible and not asked for
    source: formats.Source = formats.PLAIN

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Reading":
        """Select them among other settings, such as all flags, or the configuration of a run."""
        own = {name: settings[name] for name in cls._fields if name in settings}
        return cls(**own, source=formats.Source(*map(settings.get, formats.Source._fields)))


def read_lines(
    path: str | Path,
    max_length: int | None = None,
    lowercase: bool = False,
    separator: str | None = None,
    context_length: int | None = None,
    source: formats.Source = formats.PLAIN,
) -> list[str]:
    """Read the lines of a text file in file order, or the documents between its separators.

    Lines end in \\n, \\r\\n or \\r. Byte-order marks at the start of lines, spaces around a line and blank lines are
    dropped. The text is normalized first, so that lines that become equal are in the same split. Lines longer than
    `max_length` characters are cut. For tables and other kinds of files, see `formats`.
    """
    require(max_length is None or max_length > 0, f"`max_length` is {max_length}; it must be at least 1")
    name, status = repr(str(path)), file_status(path)
    with named(path):
        raw = Path(path).read_bytes()
    if source != formats.PLAIN or formats.ENDING.search(str(path)):
        raw = formats.plain(raw, path, source)
    text = normalize(decode(raw, name), lowercase)
    if separator is not None:
        return documents_of(text, name, separator, lowercase, max_length)
    lines = clean_lines(text.split("\n"), name, 1, max_length, context_length)
    empty = "empty file" if status.st_size == 0 else "only blank lines"
    require(bool(lines), f"{name}: {empty}; put one item on each line")
    return lines


def file_status(path: str | Path) -> os.stat_result:
    """Return the status of a text file without opening it: opening a pipe would block, and a device may never end."""
    with named(path):
        status = os.stat(path)
    what = "is a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
    require(stat.S_ISREG(status.st_mode), f"{str(path)!r}: {what}; name a text file")
    return status


@contextlib.contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Turn a failure to read this file into an `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{str(path)!r}: {(error.strerror or 'cannot be read').lower()}; name a text file") from None


def decode(raw: bytes, name: str, number: int = 1) -> str:
    """Decode UTF-8, with \\n as the only line end; errors count lines from `number` in the file of this name.

    A file joined from several may have a byte-order mark at the start of each part: all are dropped.
    """
    bad = raw.find(b"\0")
    if bad < 0:
        try:
            text = raw.decode()
            if "\r" in text:
                text = text.replace("\r\n", "\n").replace("\r", "\n")
            return re.sub(f"(?m)^{BYTE_ORDER_MARK}+", "", text) if BYTE_ORDER_MARK in text else text
        except UnicodeDecodeError as error:
            bad = error.start
    raise formats.wrong_bytes(raw, bad, name, number)


def clean_lines(
    lines: list[str], name: str, number: int, max_length: int | None, context_length: int | None = None
) -> list[str]:
    """Strip lines, cut them to `max_length`, and drop blank ones; the first is line `number` of the file."""
    lines = list(map(str.strip, lines))
    if max_length is not None:
        lines = [line[:max_length].rstrip() for line in lines]
    elif not context_length and (longest := max(map(len, lines))) > LONGEST_LINE:
        number += next(i for i, line in enumerate(lines) if len(line) == longest)
        raise too_long(f"{name}, line {number}", longest, context_length)
    return list(filter(None, lines))


def too_long(where: str, length: int, context_length: int | None) -> InputError:
    """Return the error for a line of this many characters; see `Reading` for `context_length`."""
    limit = f"over the limit of {LONGEST_LINE:,}; put one item on a line, or cut lines with `max_length`"
    windows = "" if context_length is None else ", or into windows with `context_length`"
    return InputError(f"{where}: {length:,} characters, {limit}{windows}")


def documents_of(text: str, name: str, separator: str, lowercase: bool, max_length: int | None) -> list[str]:
    """Return the documents between the separators of a normalized text."""
    separator = normalize_separator(separator, lowercase)
    found = separator in text
    require(found, f"{name}: the `separator` {printable(separator)!r} does not occur in it; give one that does")
    documents = clean_documents(text.split(separator), max_length)
    require(bool(documents), f"{name}: only blank documents; put text between the separators")
    return documents


def normalize_separator(separator: str, lowercase: bool) -> str:
    """Return the separator of documents as it occurs in normalized text."""
    separator = normalize(separator.replace("\r\n", "\n"), lowercase)
    require(bool(separator), "`separator` is empty; give the text between two documents")
    return separator


def clean_documents(documents: list[str], max_length: int | None) -> list[str]:
    """Strip documents, cut them to `max_length`, and drop empty ones."""
    return [text for document in documents if (text := document.strip()[:max_length].rstrip())]


def digest(lines: Iterable[str]) -> str:
    """Return the SHA-256 of the lines, which identifies the data whatever the file is called."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


class Split(NamedTuple, Generic[T]):
    """One value for each of train, dev and test, such as lines, tokens or losses."""

    train: T
    dev: T
    test: T

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield (name, value) pairs, like a dict."""
        return zip(self._fields, self, strict=True)

    def map(self, function: Callable[[T], U]) -> "Split[U]":
        """Apply `function` to each value."""
        return Split(*map(function, self))


def frequent(counts: Mapping[str, int], total: int, different: int) -> frozenset[str]:
    """Find the lines above a hundredth of all and three times the mean count; `counts` may leave out rarer ones."""
    return frozenset(line for line, count in counts.items() if count * min(different, 300) > 3 * total)


def split(lines: Sequence[str], kept: Collection[str] | None = None, holdout: float = 0.1) -> Split[list[str]]:
    """Divide lines into train, dev and test by a hash of each line (BLAKE2b of its UTF-8, as a fraction of 1).

    `holdout` is the share of dev, and that of test.

    Equal lines land in the same split, and adding lines to the file moves none of the others. But a `frequent` line,
    which would fill a split and never be learned, stays in train. `kept` names these if `lines` are a part of the data.
    """
    if kept is None:
        kept = frequent(counts := Counter(lines), len(lines), len(counts))
    parts = Split([], [], [])
    for line in lines:
        place = int.from_bytes(hashlib.blake2b(line.encode(), digest_size=8).digest(), "big") / 2**64
        part = parts.train if place >= 2 * holdout or line in kept else parts.dev if place >= holdout else parts.test
        part.append(line)
    return parts
