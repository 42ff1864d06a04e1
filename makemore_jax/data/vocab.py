"""The vocabulary, which maps text to tokens and back.

Text of many lines is encoded with a mark at each line end, unless the vocabulary has a symbol for the line end
(`multiline`).
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from makemore_jax.data import bpe
from makemore_jax.data.lines import normalize, visible
from makemore_jax.data.tokenizers import MARK, Tokenizer, find_tokenizer
from makemore_jax.data.words import UNKNOWN_SYMBOL, split_words
from makemore_jax.errors import InputError, require

MARKS = (".", "⏎", "<mark>")  # how the mark is shown: the first that is not a symbol of the data


@dataclass(frozen=True)
class Vocab:
    """The V symbols of a data set; `symbols[0]` shows the mark. Text is normalized before it is encoded."""

    symbols: tuple[str, ...]
    tokens: str = "character"
    lowercase: bool = False
    merges: tuple[str, ...] = ()  # for byte pairs: two symbols with a space between them, in the order of merging

    def __post_init__(self):
        symbols, merges = self.symbols, self.merges
        require(isinstance(self.lowercase, bool), f"`lowercase` is {self.lowercase!r}; it must be true or false")
        valid = isinstance(symbols, tuple) and all(isinstance(symbol, str) for symbol in symbols)
        valid = valid and all(symbol == self._tokenizer.line_end for symbol in symbols if "\n" in symbol)
        valid = valid and isinstance(merges, tuple) and all(isinstance(merge, str) for merge in merges)
        valid = valid and 0 < len(symbols) == len(set(symbols)) and self._tokenizer.fits(self)
        valid = valid and (self.tokens == "bpe" or not merges)
        require(valid, f"the symbols are not those of a {self.tokens} vocabulary")

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        tokens: str = "character",
        lowercase: bool = False,
        min_count: int = 1,
        vocab_size: int | None = None,
        multiline: bool = False,
    ) -> "Vocab":
        """Make the vocabulary of these lines, or texts of many lines.

        Characters and words that occur fewer than `min_count` times become one unknown symbol, which is never sampled.
        Byte pairs are learned until there are `vocab_size` symbols. The mark is shown as `.` unless the data has that
        symbol itself. `multiline` adds a symbol for the line end, for texts that are documents; byte pairs have one.
        """
        require(min_count > 0, f"`min_count` is {min_count}; it must be at least 1")
        sized = vocab_size is None or tokens == "bpe"
        require(sized, f"`vocab_size` is {vocab_size}; it needs `tokens` bpe, and these are {tokens}")
        counted = min_count == 1 or tokens in ("character", "word")
        require(counted, f"`min_count` is {min_count}; it needs `tokens` character or word, and these are {tokens}")
        normal = (normalize(text, lowercase) for text in texts)
        symbols, merges = find_tokenizer(tokens).find(normal, min_count, vocab_size)
        if multiline and (line_end := find_tokenizer(tokens).line_end) not in symbols:
            symbols = (*symbols, line_end)
        mark = next(mark for mark in MARKS if mark not in symbols)
        return cls((mark, *symbols), tokens, lowercase, merges)

    @classmethod
    def read(cls, folder: str | Path, lowercase: bool = False) -> "Vocab":
        """Read GPT-2's byte pairs, or others in its format, from a folder; raise `InputError` as `bpe.read` does.

        The mark is `<|endoftext|>`, or an additional symbol if that is missing; the other symbols keep their order.
        """
        symbols, merges = bpe.read(Path(folder))
        mark = bpe.END_OF_TEXT if bpe.END_OF_TEXT in symbols else "⏎"
        try:
            return cls((mark, *(symbol for symbol in symbols if symbol != mark)), "bpe", lowercase, merges)
        except InputError:
            raise InputError(
                f"{str(folder)!r}: its merges and its vocabulary do not fit together; fetch it again"
            ) from None

    def grown(self, other: "Vocab") -> "Vocab":
        """Add the symbols of `other` that this vocabulary lacks, after its own; byte pairs lack none."""
        if self.tokens == "bpe":
            return self
        more = (symbol for symbol in other.symbols[1:] if symbol != UNKNOWN_SYMBOL)  # which has a place of its own
        symbols = dict.fromkeys((*self.symbols[1:], *more))
        mark = next(mark for mark in (self.symbols[0], *MARKS) if mark not in symbols)
        return replace(self, symbols=(mark, *symbols))

    @property
    def size(self) -> int:
        """V: the number of symbols, the mark included."""
        return len(self.symbols)

    @property
    def sampleable_V(self) -> np.ndarray:
        """(V,) bool: the tokens that a sample may contain: all but UNKNOWN."""
        return np.arange(self.size) != self.unknown

    @property
    def unknown(self) -> int:
        """The token of whatever the vocabulary lacks, or -1 if that cannot be encoded."""
        return self._tokenizer.unknown(self.symbols)

    @property
    def unit(self) -> str:
        """The name of a token, as in "nats per character"."""
        return self._tokenizer.unit or self.tokens

    @property
    def multiline(self) -> bool:
        """Whether the line end has a symbol of its own instead of becoming a mark."""
        return self._tokenizer.line_end in self.symbols

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the vocabulary."""
        return hashlib.sha256(json.dumps(self.to_dict()).encode()).hexdigest()

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return find_tokenizer(self.tokens)

    @cached_property
    def _table(self) -> Any:
        return self._tokenizer.table(self)

    def canonical(self, line: str) -> str:
        """Return a line as it would be after encoding and decoding, but with what is unknown."""
        return self._tokenizer.respace(normalize(line, self.lowercase))

    def encode(self, text: str) -> np.ndarray:
        """Return (tokens,) int32; without symbols of their own, line ends become the mark, the rest UNKNOWN."""
        text = normalize(text, self.lowercase)
        ids_N = self._tokenizer.encode(text, self._table)
        if ids_N.min(initial=MARK) < MARK:
            raise self._not_in_data(text[int(np.argmin(ids_N))])
        return ids_N

    def encode_line(self, text: str) -> np.ndarray:
        """Return the tokens of one typed line, or of the start of one."""
        require(self.multiline or "\n" not in text, f"{text!r} has a line end inside; give one line")
        ids_N, unknown = self.encode(text), self.unknown
        if unknown > 0 and unknown in ids_N:
            raise self._not_in_vocabulary(text, int(np.argmax(ids_N == unknown)))
        return ids_N

    def _not_in_data(self, character: str) -> InputError:
        """Return the error for a character that cannot be encoded."""
        alphabet = "".join(self.symbols[1:])
        more = f"... ({len(alphabet):,} in all)" if len(alphabet) > 80 else ""
        what = f"{character!r} (U+{ord(character):04X}) is not in the vocabulary"
        return InputError(f"{what}; its characters are: {visible(alphabet[:80])}{more}")

    def _not_in_vocabulary(self, text: str, place: int) -> InputError:
        """Return the error for a typed text whose word or character at this place is unknown."""
        text = normalize(text, self.lowercase)
        what = (split_words(text) if self.tokens == "word" else text)[place]
        return InputError(f"{what!r} is not one of the {self.size - 2:,} {self.unit}s in the vocabulary")

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of tokens up to the first mark; bytes that are not UTF-8 become replacement characters."""
        found = np.asarray(ids).tolist()
        return self._tokenizer.decode(found[: found.index(MARK)] if MARK in found else found, self.symbols)

    def to_dict(self) -> dict[str, Any]:
        """Return the vocabulary in the form that `from_dict` reads, ready for JSON."""
        merges = {"merges": self.merges} if self.merges else {}
        return {"tokens": self.tokens, "lowercase": self.lowercase, "symbols": self.symbols} | merges

    @classmethod
    def from_dict(cls, value: Any, source: str) -> "Vocab":
        """Rebuild the vocabulary from the result of `to_dict`."""
        try:
            symbols, merges = (
                tuple(part) if isinstance(part, list) else part for part in (value["symbols"], value.get("merges", ()))
            )
            return cls(symbols, value["tokens"], value["lowercase"], merges)
        except (KeyError, TypeError, AttributeError, InputError):
            raise InputError(f"{source}: not a vocabulary") from None
