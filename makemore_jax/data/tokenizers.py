"""Four kinds of token: characters, words, bytes and byte pairs."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple, Protocol

import numpy as np

from makemore_jax.data import bpe
from makemore_jax.data.words import UNKNOWN, UNKNOWN_SYMBOL, find_words, join_words, split_words
from makemore_jax.errors import require

MARK = 0  # the mark, the boundary token: it starts every line and ends it (BOS and EOS in one), as `.` in the lecture
MAX_CHARACTERS = 2**16  # distinct ones; a file with more is hardly text, and its embeddings would fill the memory
NEWLINE = ord("\n")
BYTES = np.append(np.delete(np.arange(256, dtype=np.uint8), NEWLINE), np.uint8(NEWLINE))  # of tokens 1, 2, ..., 256
BYTE_SYMBOLS = tuple(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in BYTES)


def code_points(text: str) -> np.ndarray:
    """Return (characters,) uint8 or uint32, keeping lone surrogates so that `encode` can name them in its error."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)  # a quarter of the memory, and twice as fast
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def find_characters(texts: Iterable[str]) -> list[str]:
    """Return all characters of the texts in code-point order, without the line end."""
    seen = np.zeros(0x110000, bool)
    for text in texts:
        seen[code_points(text)] = True
    seen[NEWLINE] = False
    characters = [chr(code) for code in np.flatnonzero(seen)]
    count, advice = f"{len(characters):,} distinct characters", "set `tokens` to byte or word"
    require(len(characters) <= MAX_CHARACTERS, f"{count}, over the limit of {MAX_CHARACTERS:,}; {advice}")
    return characters


def find_frequent(texts: Iterable[str], min_count: int) -> list[str]:
    """Return the unknown character, if one occurs fewer than `min_count` times, and the others in code-point order."""
    counts = Counter(chain.from_iterable(texts))
    del counts["\n"]
    kept = sorted(character for character, count in counts.items() if count >= min_count)
    require(bool(kept), f"no character occurs {min_count} times or more; lower `min_count`")
    return kept if len(kept) == len(counts) else [UNKNOWN_SYMBOL, *kept]


def unknown_character(symbols: Sequence[str]) -> int:
    """Return UNKNOWN if that is the token of all characters that are not symbols, or -1 if they have none."""
    return UNKNOWN if UNKNOWN_SYMBOL in symbols[UNKNOWN : UNKNOWN + 1] else -1


def character_table(symbols: Sequence[str]) -> np.ndarray:
    """Return a table of tokens by code point, with UNKNOWN or -1 for characters that are not symbols."""
    unknown = unknown_character(symbols)
    table, known = np.full(0x110000, unknown, np.int32), range(1 + (unknown > 0), len(symbols))
    table[NEWLINE] = MARK
    table[[ord(symbols[token]) for token in known]] = known
    return table


class Find(Protocol):
    """Find the symbols of these texts, without the mark and the line end, and their merges."""

    def __call__(
        self, texts: Iterable[str], min_count: int, vocab_size: int | None, /
    ) -> tuple[Sequence[str], tuple[str, ...]]: ...


class Encode(Protocol):
    """Return (tokens,) int32 of a text: the mark for a line end, -1 for a symbol that the table lacks."""

    def __call__(self, text: str, table: Any, /) -> np.ndarray: ...


class Decode(Protocol):
    """Return the text of tokens."""

    def __call__(self, ids: Sequence[int], symbols: Sequence[str], /) -> str: ...


class Tokenizer(NamedTuple):
    """The functions that turn text into tokens of one kind and back."""

    find: Find
    fits: Callable[[Any], bool]  # of a `Vocab`: whether the symbols of a vocabulary are valid for this kind
    table: Callable[[Any], Any]  # of a `Vocab`: makes the table in which `encode` looks up tokens
    encode: Encode
    decode: Decode
    respace: Callable[[str], str] = str  # gives a text the spacing of `decode`
    unknown: Callable[[Sequence[str]], int] = lambda symbols: -1  # the token of what these symbols lack; -1 if none
    unit: str | None = None  # the name of a token in "nats per ..."; by default the name of the kind
    learned: bool = False  # whether the symbols come from the train lines only
    line_end: str = "\n"  # the spelling of the symbol for the line end, in vocabularies that have one


_TOKENIZERS = {
    "character": Tokenizer(
        find=lambda texts, least, _: (find_characters(texts) if least == 1 else find_frequent(texts, least), ()),
        fits=lambda vocab: all(len(symbol) == 1 for symbol in vocab.symbols[1 + (vocab.unknown > 0) :]),
        table=lambda vocab: character_table(vocab.symbols),
        encode=lambda text, table: table.take(code_points(text)),
        decode=lambda ids, symbols: "".join([symbols[i] for i in ids]),
        unknown=unknown_character,
    ),
    "word": Tokenizer(
        find=lambda texts, min_count, vocab_size: (find_words(texts, min_count), ()),
        fits=lambda vocab: vocab.size > UNKNOWN + 1,
        table=lambda vocab: {"\n": MARK} | {word: i for i, word in enumerate(vocab.symbols) if i > UNKNOWN},
        encode=lambda text, table: np.fromiter(map(table.get, split_words(text), repeat(UNKNOWN)), np.int32),
        decode=lambda ids, symbols: join_words([symbols[i] for i in ids]),
        respace=lambda text: join_words(split_words(text)),
        unknown=lambda symbols: UNKNOWN,
        learned=True,
    ),
    "byte": Tokenizer(
        find=lambda texts, min_count, vocab_size: (BYTE_SYMBOLS[:-1], ()),
        fits=lambda vocab: vocab.symbols[1:] in (BYTE_SYMBOLS[:-1], BYTE_SYMBOLS),
        table=lambda vocab: np.insert(np.arange(1, 256, dtype=np.int32), NEWLINE, 256 if vocab.multiline else MARK),
        encode=lambda text, table: table.take(np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)),
        decode=lambda ids, symbols: BYTES[np.array(ids, int) - 1].tobytes().decode("utf-8", "replace"),
        line_end=BYTE_SYMBOLS[-1],
    ),
    "bpe": Tokenizer(
        find=lambda texts, min_count, vocab_size: bpe.learn(texts, vocab_size),
        fits=lambda vocab: bpe.fits(vocab.symbols, vocab.merges),
        table=lambda vocab: bpe.build(vocab.symbols, vocab.merges),
        encode=bpe.encode,
        decode=bpe.decode,
        unit="token",
        learned=True,
        line_end=bpe.LINE_END,
    ),
}
TOKENIZERS = tuple(_TOKENIZERS)


def find_tokenizer(name: str) -> Tokenizer:
    """Return the tokenizer of this name; raise `InputError` if there is none."""
    require(name in TOKENIZERS, f"`tokens` is {name!r}; it must be one of {', '.join(TOKENIZERS)}")
    return _TOKENIZERS[name]
