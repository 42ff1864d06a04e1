"""What a token is: a character, a word or a byte. A vocabulary maps text to token ids and back.

Token 0 is the mark: it starts every line and ends it (BOS and EOS in one), as `.` does in the lecture. Text of many
lines encodes with a mark at each line end.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from makemore_jax.data.lines import normalize, printable
from makemore_jax.errors import InputError, require

MARK = 0
UNKNOWN = 1  # at word level: any word that is not in the vocabulary
MAX_CHARACTERS = 2**16  # distinct ones; a file with more is hardly text, and its embeddings would fill the memory
NEWLINE = ord("\n")
BYTES = np.delete(np.arange(256, dtype=np.uint8), NEWLINE)  # of tokens 1, 2, ...: all but the line end
BYTE_SYMBOLS = tuple(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in BYTES)
CLOSING, OPENING = frozenset(".,;:!?%)]}'’”»…"), frozenset("([{“‘«¿¡")  # no space before; none after


@cache
def word_pattern() -> re.Pattern:
    """A line end; letters, with apostrophes and hyphens inside; a number; any other single character but a space."""
    combining = "".join(chr(c) for c in range(0x110000) if unicodedata.category(chr(c)).startswith("M"))
    letters = rf"[^\W\d_](?:[^\W\d_]|[{combining}\u200c\u200d])*"
    return re.compile(rf"\n|{letters}(?:['’-]{letters})*|\d+(?:[.,]\d+)*|\S")


def split_words(text: str) -> list[str]:
    """The words of a text, its numbers and punctuation marks, and its line ends."""
    return word_pattern().findall(text)


def join_words(words: Iterable[str]) -> str:
    """Words as well-spaced text, which `split_words` splits into the same words.

    One space between two words, none before `CLOSING` and none after `OPENING`; a straight double quote opens and
    closes in turn.
    """
    pieces, tight, quoted = [], True, False
    for word in words:
        quote = word == '"'
        closes = word in CLOSING or (quote and quoted)
        pieces += [word] if tight or closes else [" ", word]
        tight, quoted = word in OPENING or (quote and not quoted), quoted ^ quote
    return "".join(pieces)


def find_words(texts: Iterable[str], min_count: int) -> list[str]:
    """UNKNOWN and the words that occur at least `min_count` times, the most frequent first."""
    counts = Counter()
    for text in texts:
        counts.update(split_words(text))
    del counts["\n"]
    kept = sorted((-count, word) for word, count in counts.items() if count >= min_count)
    require(bool(kept), f"no word occurs {min_count} times or more in the lines to train on; lower `min_count`")
    return ["<unknown>", *(word for _, word in kept)]


def code_points(text: str) -> np.ndarray:
    """(characters,) uint8 or uint32. Lone surrogates pass, so that `encode` can refuse them by name."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)  # a quarter of the memory, and twice as fast
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def find_characters(texts: Iterable[str], min_count: int) -> list[str]:
    """All characters, in code-point order; `min_count` is for words only."""
    seen = np.zeros(0x110000, bool)
    for text in texts:
        seen[code_points(text)] = True
    seen[NEWLINE] = False
    characters = [chr(code) for code in np.flatnonzero(seen)]
    count, advice = f"{len(characters):,} distinct characters", "set `level` to byte or word"
    require(len(characters) <= MAX_CHARACTERS, f"{count}, over the limit of {MAX_CHARACTERS:,}; {advice}")
    return characters


def character_table(symbols: Sequence[str]) -> np.ndarray:
    """Token by code point, -1 where there is none."""
    table = np.full(0x110000, -1, np.int32)
    table[[ord(symbol) for symbol in symbols[1:]]] = np.arange(1, len(symbols))
    table[NEWLINE] = MARK
    return table


class Level(NamedTuple):
    """How text becomes tokens at one level, and tokens become text."""

    find: Callable  # texts, min_count -> their symbols, without the mark
    fits: Callable  # symbols          -> whether these can be the symbols of this level, the mark first
    table: Callable  # symbols         -> what `encode` looks tokens up in
    encode: Callable  # text, table    -> ids_N: int32, the mark for a line end, -1 for what the table lacks
    decode: Callable  # ids, symbols   -> text
    respace: Callable = str  # text    -> the text with the spacing of `decode`
    unknown: int = -1  # the token of all words that the vocabulary lacks; -1 if there is none


_LEVELS = {
    "character": Level(
        find=find_characters,
        fits=lambda symbols: all(len(symbol) == 1 for symbol in symbols[1:]),
        table=character_table,
        encode=lambda text, table: table.take(code_points(text)),
        decode=lambda ids, symbols: "".join([symbols[i] for i in ids]),
    ),
    "word": Level(
        find=find_words,
        fits=lambda symbols: len(symbols) > UNKNOWN + 1,
        table=lambda symbols: {"\n": MARK} | {word: i for i, word in enumerate(symbols) if i > UNKNOWN},
        encode=lambda text, table: np.fromiter(map(table.get, split_words(text), repeat(UNKNOWN)), np.int32),
        decode=lambda ids, symbols: join_words([symbols[i] for i in ids]),
        respace=lambda text: join_words(split_words(text)),
        unknown=UNKNOWN,
    ),
    "byte": Level(
        find=lambda texts, min_count: BYTE_SYMBOLS,
        fits=lambda symbols: symbols[1:] == BYTE_SYMBOLS,
        table=lambda symbols: np.insert(np.arange(1, 256, dtype=np.int32), NEWLINE, MARK),
        encode=lambda text, table: table.take(np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)),
        decode=lambda ids, symbols: BYTES[np.array(ids, int) - 1].tobytes().decode("utf-8", "replace"),
    ),
}
LEVELS = tuple(_LEVELS)


def find_level(name: str) -> Level:
    """The level of this name; raises `InputError` if there is none."""
    require(name in LEVELS, f"`level` is {name!r}; it must be one of {', '.join(LEVELS)}")
    return _LEVELS[name]


@dataclass(frozen=True)
class Vocab:
    """The V symbols of a data set; `symbols[0]` shows the mark. Text is normalized before it is encoded.

    Raises:
      InputError: these cannot be the symbols of that level.
    """

    symbols: tuple[str, ...]
    level: str = "character"
    lowercase: bool = False

    def __post_init__(self):
        symbols, fits = self.symbols, self._level.fits
        require(isinstance(self.lowercase, bool), f"`lowercase` is {self.lowercase!r}; it must be true or false")
        valid = isinstance(symbols, tuple) and all(isinstance(symbol, str) and "\n" not in symbol for symbol in symbols)
        valid = valid and 0 < len(symbols) == len(set(symbols)) and fits(symbols)
        require(valid, f"`symbols` are not those of a {self.level} vocabulary")

    @classmethod
    def of(cls, texts: Iterable[str], level: str = "character", lowercase: bool = False, min_count: int = 1) -> "Vocab":
        """The vocabulary of these lines, or texts of many lines, with the words that occur `min_count` times or more.

        The mark is shown as `.` unless the data has that symbol itself.

        Raises:
          InputError: no such level, no word that is frequent enough, or more than `MAX_CHARACTERS` characters.
        """
        require(min_count > 0, f"`min_count` is {min_count}; it must be at least 1")
        symbols = find_level(level).find((normalize(text, lowercase) for text in texts), min_count)
        mark = next(symbol for symbol in (".", "⏎", "<mark>") if symbol not in symbols)
        return cls((mark, *symbols), level, lowercase)

    @property
    def size(self) -> int:
        """V, the mark included."""
        return len(self.symbols)

    @property
    def sampleable_V(self) -> np.ndarray:
        """(V,) bool: the tokens that a sample may hold, all but UNKNOWN."""
        return np.arange(self.size) != self._level.unknown

    @cached_property
    def _level(self) -> Level:
        return find_level(self.level)

    @cached_property
    def _table(self) -> Any:
        return self._level.table(self.symbols)

    def canonical(self, line: str) -> str:
        """A line as `decode` gives it back, except that unknown words stay."""
        return self._level.respace(normalize(line, self.lowercase))

    def encode(self, text: str) -> np.ndarray:
        """(tokens,) int32; each line end becomes the mark, a word that is not in the vocabulary UNKNOWN.

        Raises:
          InputError: a character that is not in the vocabulary.
        """
        text = normalize(text, self.lowercase)
        ids_N = self._level.encode(text, self._table)
        if ids_N.min(initial=MARK) < MARK:
            character, alphabet = text[int(np.argmin(ids_N))], "".join(self.symbols[1:])
            more = f"... ({len(alphabet):,} in all)" if len(alphabet) > 80 else ""
            what = f"{character!r} (U+{ord(character):04X}) is not in the data"
            raise InputError(f"{what}; its characters are: {printable(alphabet[:80])}{more}")
        return ids_N

    def encode_line(self, text: str) -> np.ndarray:
        """Tokens of one line, or of the start of one, that a person typed.

        Raises:
          InputError: a line end, or a character or a word that is not in the vocabulary.
        """
        require("\n" not in text, f"{text!r} has a line end inside; give one line")
        ids_N, unknown = self.encode(text), self._level.unknown
        if unknown > 0 and unknown in ids_N:
            word = split_words(normalize(text, self.lowercase))[int(np.argmax(ids_N == unknown))]
            raise InputError(f"{word!r} is not one of the {self.size - 2:,} words in the vocabulary")
        return ids_N

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these tokens up to the first mark; bytes that are not UTF-8 become replacement characters."""
        ids = np.asarray(ids).tolist()
        return self._level.decode(ids[: ids.index(MARK)] if MARK in ids else ids, self.symbols)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads, ready for JSON."""
        return {"level": self.level, "lowercase": self.lowercase, "symbols": self.symbols}

    @classmethod
    def from_dict(cls, value: Any, source: str) -> "Vocab":
        """The vocabulary that `to_dict` gave.

        Raises:
          InputError: `value` is not a vocabulary; `source` is named.
        """
        try:
            symbols = value["symbols"]
            return cls(tuple(symbols) if isinstance(symbols, list) else symbols, value["level"], value["lowercase"])
        except (KeyError, TypeError, InputError):
            raise InputError(f"{source}: not a vocabulary") from None
