"""Text to tokens and back: lines, vocabulary, token stream, batches, split, report.

The mark is token 0: it starts every line and ends it, as in the lecture. All lines lie end to end in one stream,

    . e m m a . o l i v i a . a v a .

where the mark that ends one line starts the next. Every pair of neighbours is then a bigram of the data, a line is a
slice, and nothing is padded before a batch is made.
"""

import hashlib
import itertools
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from makemore_jax.errors import InputError, require

MARK = 0
LONGEST_LINE = 4096  # characters; a longer line is more likely a wrong file than a thing to learn


def read_lines(path: str | Path, max_length: int | None = None) -> list[str]:
    """Read the things of a UTF-8 file, one a line, in file order.

    A byte-order mark, any of the three line ends, outer spaces and blank lines are dropped; characters are code points
    after NFC, so that é typed in two ways is one character. `max_length` cuts longer lines to that many characters.

    Raises:
      InputError: no such file, not a text file, no line in it, or a line over `LONGEST_LINE` with no `max_length`.
    """
    require(max_length is None or max_length > 0, f"--max-length is {max_length}; it must be at least 1")
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or 'cannot be read').lower()}; name a text file") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _unify_line_ends(raw[: error.start].decode("utf-8", "replace")).count("\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8 (byte 0x{raw[error.start]:02x}); save it as UTF-8") from None
    text = normalize(_unify_line_ends(text))
    lines = [line.strip() for line in text.split("\n")]
    if max_length is not None:
        lines = [line[:max_length].rstrip() for line in lines]
    for number, line in enumerate(lines, 1):
        if len(line) > (max_length or LONGEST_LINE):
            raise InputError(
                f"{path}, line {number}: {len(line):,} characters, over the limit of {LONGEST_LINE:,}; "
                "put one thing on a line, or cut longer lines with --max-length N"
            )
    lines = [line for line in lines if line]
    require(bool(lines), f"{path}: {'only blank lines' if raw else 'empty file'}; put one thing on each line")
    return lines


def normalize(text: str) -> str:
    """Unicode NFC: one spelling for each character. For what a person types, as `read_lines` does for the data."""
    return unicodedata.normalize("NFC", text)


def _unify_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _code_points(text: str) -> np.ndarray:
    """(characters,) uint32. Lone surrogates pass, so that a bad command-line argument is named, not a crash."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


@dataclass(frozen=True)
class Vocab:
    """The V symbols of a data set; `symbols[0]` shows the mark, the others are characters in code-point order."""

    symbols: tuple[str, ...]

    @classmethod
    def of(cls, lines: Iterable[str]) -> "Vocab":
        """The vocabulary of these lines. The mark is shown as `.` unless the data has that character itself."""
        characters = [chr(code) for code in np.unique(_code_points("".join(lines)))]
        mark = next(symbol for symbol in (".", "⏎", "<mark>") if symbol not in characters)
        return cls((mark, *characters))

    @property
    def size(self) -> int:
        """V, the mark included."""
        return len(self.symbols)

    @cached_property
    def _ids(self) -> np.ndarray:
        """Code point -> token, -1 where there is none; the line end is the mark."""
        ids = np.full(0x110000, -1, np.int32)
        ids[[ord(symbol) for symbol in self.symbols[1:]]] = np.arange(1, self.size)
        ids[ord("\n")] = MARK
        return ids

    def encode(self, text: str) -> np.ndarray:
        """(len(text),) int32 tokens; each line end becomes the mark.

        Raises:
          InputError: a character that the data does not have.
        """
        ids = self._ids[_code_points(text)]
        if (ids < 0).any():
            character = text[int(np.argmax(ids < 0))]
            alphabet = "".join(self.symbols[1:])
            shown = alphabet if len(alphabet) <= 80 else f"{alphabet[:80]}... ({len(alphabet):,} in all)"
            raise InputError(
                f"{ascii(character) if not character.isprintable() else repr(character)} (U+{ord(character):04X}) "
                f"is not in the data; its characters are: {shown}"
            )
        return ids

    def encode_line(self, text: str) -> np.ndarray:
        """Tokens of a word or a prefix that a person typed: after NFC, with no line end inside.

        Raises:
          InputError: a line end, or a character that the data does not have.
        """
        require("\n" not in text, f"{text!r} has a line end inside; give one line")
        return self.encode(normalize(text))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these tokens up to the first mark."""
        ids = np.asarray(ids)
        end = np.flatnonzero(ids == MARK)
        return "".join(self.symbols[i] for i in ids[: end[0] if end.size else None])

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON, in one move."""
        part = Path(f"{path}.part")
        part.write_text(json.dumps({"symbols": self.symbols}, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> "Vocab":
        """Read what `save` wrote.

        Raises:
          InputError: the file is missing, or is not a vocabulary.
        """
        try:
            symbols = json.loads(Path(path).read_text(encoding="utf-8"))["symbols"]
            valid = isinstance(symbols, list) and all(isinstance(symbol, str) for symbol in symbols)
            symbols = tuple(symbols)
            valid = valid and len(set(symbols)) == len(symbols) > 1 and all(len(symbol) == 1 for symbol in symbols[1:])
            valid = valid and "\n" not in symbols
        except OSError as error:
            raise InputError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            valid = False
        require(valid, f"{path}: not a vocabulary; it should be what Vocab.save wrote")
        return cls(symbols)


class Tokens(NamedTuple):
    """N lines as one stream of M tokens. A pytree: the arrays may live on the host or on the device."""

    stream_M: np.ndarray  # int32: the mark, then each line followed by the mark
    start_N: np.ndarray  # int32: where in the stream the mark before each line stands
    length_N: np.ndarray  # int32: how many tokens each line gives to predict: its characters and the end mark

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """(M-1,) and (M-1,): every token and the one that follows it, the bigrams of the data."""
        return self.stream_M[:-1], self.stream_M[1:]


def tokenize(lines: Sequence[str], vocab: Vocab) -> Tokens:
    """Encode lines into one stream, without a Python loop over characters.

    Raises:
      InputError: a character outside the vocabulary, or a line end within a line.
    """
    stream_M = vocab.encode("\n".join(["", *lines, ""]) or "\n")
    marks = np.flatnonzero(stream_M == MARK).astype(np.int32)
    require(len(marks) == len(lines) + 1, "a line holds a line end; give one thing a line")
    return Tokens(stream_M, marks[:-1], np.diff(marks))


def batch(tokens: Tokens, row_B: np.ndarray, width: int):
    """Gather lines into rows: x_BT, y_BT (int32) and mask_BT (bool) with T = `width`.

    Row b of x is the mark and then the line, y is the line and then the mark, and mask is true where y counts. It is
    made from the lengths: padding is 0 like the mark, so `y != 0` would drop every end mark. A line longer than
    `width` is cut. Pure indexing, so it runs on NumPy arrays and inside a jitted program alike.
    """
    t_T = np.arange(width, dtype=np.int32)
    mask_BT = t_T < tokens.length_N[row_B][:, None]
    index_BT = (tokens.start_N[row_B][:, None] + t_T) * mask_BT  # padding reads stream[0], the mark
    return tokens.stream_M[index_BT], tokens.stream_M[index_BT + mask_BT], mask_BT


class Plan(NamedTuple):
    """How random batches of a data set are laid out: rows sorted by length, in buckets of their own widths."""

    lines: int  # N, those of the data set
    line_tokens: float  # tokens that a line gives to predict, on average
    buckets: tuple[tuple[int, int], ...]  # (rows, width) each, short rows first


def plan(tokens: Tokens, rows: int, most: int = 3) -> tuple[Tokens, Plan]:
    """The lines in order of length, and the layout of batches of `rows` that `draw` picks from them.

    Row b of a batch is drawn from the b-th share of the sorted lines, so how long it can be is known beforehand, and
    little is padded. Of all ways to cut the rows into at most `most` buckets, the one with the fewest cells.
    """
    lines = len(tokens.length_N)
    order_N = np.argsort(tokens.length_N, kind="stable")
    tokens = Tokens(tokens.stream_M, tokens.start_N[order_N], tokens.length_N[order_N])
    width_B = tokens.length_N[(np.arange(1, rows + 1) * lines - 1) // rows]
    ends = np.append(np.flatnonzero(np.diff(width_B)) + 1, rows)  # a bucket ends where the width changes
    inner = ends[:-1][:: 1 + len(ends) // 32]
    ways = (
        tuple((int(end - first), int(width_B[end - 1])) for first, end in itertools.pairwise((0, *cuts, rows)))
        for count in range(min(most, len(inner) + 1))
        for cuts in itertools.combinations(inner, count)
    )
    buckets = min(ways, key=lambda way: sum(rows * width for rows, width in way))
    return tokens, Plan(lines, float(np.mean(tokens.length_N)), buckets)


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


def report(lines: Sequence[str], vocab: Vocab) -> dict:
    """What was loaded, ready for printing and for JSON; lengths in characters, `bigrams` with the mark."""
    distinct = len(set(lines))
    return {
        "lines": len(lines),
        "distinct": distinct,
        "repeated": len(lines) - distinct,
        "shortest": min(lines, key=len),
        "longest": max(lines, key=len),
        "alphabet": "".join(vocab.symbols[1:]),
        "symbols": vocab.size,
        "bigrams": sum(map(len, lines)) + len(lines),
    }
