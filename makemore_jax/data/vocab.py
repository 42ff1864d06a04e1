"""What a token is: a character, a word, or a byte. The vocabulary maps text to token ids and back.

The mark is token 0: it starts every line and ends it, as in the lecture. Text of many lines encodes with a mark at each
line end.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import repeat
from pathlib import Path

import numpy as np

from makemore_jax.data.lines import normalize
from makemore_jax.errors import InputError, require

MARK = 0
UNKNOWN = 1  # at the level of words: any word that the vocabulary does not have
LEVELS = ("character", "word", "byte")
CLOSING, OPENING = frozenset(".,;:!?%)]}'’”»…"), frozenset("([{“‘«¿¡")  # no space before; none after
NEWLINE = ord("\n")


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
    """Words as well-spaced text: one space between two, none before `CLOSING` and none after `OPENING`.

    A straight double quote opens and closes by turns. What `split_words` makes of the text is the same words again;
    spaces that the text had elsewhere are folded away.
    """
    pieces, tight, quoted = [], True, False
    for word in words:
        quote = word == '"'
        closes = word in CLOSING or (quote and quoted)
        pieces += [word] if tight or closes else [" ", word]
        tight, quoted = word in OPENING or (quote and not quoted), quoted ^ quote
    return "".join(pieces)


def _code_points(text: str) -> np.ndarray:
    """(characters,) uint8 or uint32. Lone surrogates pass, so that a bad argument is named, not a crash."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)  # a quarter of the memory, and twice as fast
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


@dataclass(frozen=True)
class Vocab:
    """The V symbols of a data set; `symbols[0]` shows the mark.

    The others are characters in code-point order; bytes, all 255 that are no line end; or UNKNOWN and words, the most
    frequent first.
    """

    symbols: tuple[str, ...]
    level: str = "character"
    fold: bool = False  # letters are made small first

    @classmethod
    def of(cls, texts: Iterable[str], level: str = "character", fold: bool = False, min_count: int = 1) -> "Vocab":
        """The vocabulary of these lines, or texts of many lines.

        The mark is shown as `.` unless the data has that symbol itself. Words are kept that come `min_count` times.

        Raises:
          InputError: an unknown level, or no word that comes so often.
        """
        require(level in LEVELS, f"--level is {level!r}; it must be one of {', '.join(LEVELS)}")
        require(min_count > 0, f"--min-count is {min_count}; it must be at least 1")
        texts = (text.lower() for text in texts) if fold else texts
        if level == "byte":
            symbols = [
                chr(b) if chr(b).isprintable() and b < 128 else f"\\x{b:02x}" for b in range(256) if b != NEWLINE
            ]
        elif level == "character":
            seen = np.zeros(0x110000, bool)
            for text in texts:
                seen[_code_points(text)] = True
            seen[NEWLINE] = False
            symbols = [chr(code) for code in np.flatnonzero(seen)]
        else:
            counts = Counter()
            for text in texts:
                counts.update(split_words(text))
            del counts["\n"]
            kept = sorted((-count, word) for word, count in counts.items() if count >= min_count)
            require(bool(kept), f"no word comes {min_count} times or more in the lines to train on; lower --min-count")
            symbols = ["<unknown>", *(word for _, word in kept)]
        mark = next(symbol for symbol in (".", "⏎", "<mark>") if symbol not in symbols)
        return cls((mark, *symbols), level, fold)

    @property
    def size(self) -> int:
        """V, the mark included."""
        return len(self.symbols)

    @property
    def drawable_V(self) -> np.ndarray:
        """(V,) bool: what a sample may hold, which is all but the unknown word."""
        return np.arange(self.size) != (UNKNOWN if self.level == "word" else -1)

    @cached_property
    def _ids(self) -> np.ndarray | dict[str, int]:
        """Code point, byte or word -> token; of code points -1 where there is none. The line end is the mark."""
        if self.level == "word":
            return {"\n": MARK} | {word: i for i, word in enumerate(self.symbols) if i > UNKNOWN}
        if self.level == "byte":
            return np.insert(np.arange(1, 256, dtype=np.int32), NEWLINE, MARK)
        ids = np.full(0x110000, -1, np.int32)
        ids[[ord(symbol) for symbol in self.symbols[1:]]] = np.arange(1, self.size)
        ids[NEWLINE] = MARK
        return ids

    def canonical(self, line: str) -> str:
        """A line as `decode` spells it, but for unknown words: folded, and at the level of words well-spaced."""
        line = line.lower() if self.fold else line
        return join_words(split_words(line)) if self.level == "word" else line

    def encode(self, text: str) -> np.ndarray:
        """(tokens,) int32; each line end becomes the mark, a word that is not in the vocabulary UNKNOWN.

        Raises:
          InputError: a character that the data does not have.
        """
        text = text.lower() if self.fold else text
        if self.level == "word":
            return np.fromiter(map(self._ids.get, split_words(text), repeat(UNKNOWN)), np.int32)
        if self.level == "byte":
            return self._ids[np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)]
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
          InputError: a line end, or a character or a word that the data does not have.
        """
        require("\n" not in text, f"{text!r} has a line end inside; give one line")
        ids = self.encode(normalize(text))
        if self.level == "word" and (ids == UNKNOWN).any():
            words = split_words(normalize(text))
            raise InputError(
                f"{words[int(np.argmax(ids == UNKNOWN))]!r} is none of the {self.size - 2:,} words it knows"
            )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these tokens up to the first mark; bytes that are no UTF-8 as replacement marks."""
        ids = np.asarray(ids)
        end = np.flatnonzero(ids == MARK)
        ids = ids[: end[0] if end.size else None]
        if self.level == "byte":
            return np.delete(np.arange(256, dtype=np.uint8), NEWLINE)[ids - 1].tobytes().decode("utf-8", "replace")
        join = join_words if self.level == "word" else "".join
        return join(self.symbols[i] for i in ids)

    def to_dict(self) -> dict:
        """What `from_dict` reads, ready for JSON."""
        return {"level": self.level, "fold": self.fold, "symbols": self.symbols}

    @classmethod
    def from_dict(cls, value: dict, source: str) -> "Vocab":
        """The vocabulary that `to_dict` wrote.

        Raises:
          InputError: it is none.
        """
        try:
            symbols, level, fold = value["symbols"], value.get("level", "character"), value.get("fold", False)
            valid = isinstance(symbols, list | tuple) and all(isinstance(symbol, str) for symbol in symbols)
            vocab = cls(tuple(symbols), level, fold)
            valid = valid and len(set(symbols)) == len(symbols) > 1 and "\n" not in symbols
            valid = valid and level in LEVELS and isinstance(fold, bool)
            valid = valid and (level != "character" or all(len(symbol) == 1 for symbol in symbols[1:]))
            valid = valid and (level != "byte" or len(symbols) == 256) and (level != "word" or len(symbols) > 2)
        except (KeyError, TypeError, AttributeError):
            valid = False
        require(valid, f"{source}: not a vocabulary; it should be what Vocab.save wrote")
        return vocab

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON, in one move."""
        part = Path(f"{path}.part")
        part.write_text(json.dumps(self.to_dict(), ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> "Vocab":
        """Read what `save` wrote.

        Raises:
          InputError: the file is missing, or is not a vocabulary.
        """
        try:
            value = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
        except (ValueError, RecursionError):
            value = None
        return cls.from_dict(value, str(path))
