"""Lines as one stream of tokens.

All lines lie end to end in the stream,

    . e m m a . o l i v i a . a v a .

where the mark that ends one line starts the next. Each pair of neighbours is a bigram of the data, each line is a
slice, and nothing is padded until a batch is made.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.errors import require


class Tokens(NamedTuple):
    """N lines as one stream of M tokens. A pytree: the arrays may live on the host or on the device."""

    stream_M: np.ndarray  # int32, or smaller in files: the mark, then each line followed by the mark
    start_N: np.ndarray  # int32, in files int64: the position in the stream of the mark before each line
    length_N: np.ndarray  # int32: the number of tokens to predict in each line: its symbols, and its end mark if any

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """(M-1,) and (M-1,): every token and the one that follows it, the bigrams of the data.

        Marks that start a later window of the same line are left out.
        """
        x_N, y_N, cuts = self.stream_M[:-1], self.stream_M[1:], self.cuts
        return (np.delete(x_N, cuts), np.delete(y_N, cuts)) if len(cuts) else (x_N, y_N)

    @property
    def cuts(self) -> np.ndarray:
        """The positions in the stream of tokens after which a line was cut; the mark that follows is not predicted."""
        end_N = (self.start_N + self.length_N)[:-1]
        return end_N[end_N < self.start_N[1:]]


def tokenize(lines: Sequence[str], vocab: Vocab, context_length: int | None = None) -> Tokens:
    """Encode lines into one stream, without a Python loop over characters.

    A line of more than `context_length` tokens, its end mark included, is cut into consecutive windows of that length
    and a shorter last one. Each window starts with a mark, so the model sees nothing before it, but only the mark at
    the end of the line is predicted. Every token of the text and every end mark is thus predicted exactly once, with
    half a window of context on average.
    """
    valid = context_length is None or 1 < context_length < 2**31
    require(valid, f"`context_length` is {context_length}; it must be at least 2, and below 2**31")
    if vocab.multiline:  # line ends are symbols instead of marks, so each line is encoded on its own
        ids = [np.append(vocab.encode(line), MARK) for line in lines]
        stream_M = np.concatenate([[MARK], *ids]).astype(np.int32)
    else:
        stream_M = vocab.encode("\n".join(["", *lines, ""]) or "\n")
    marks = np.flatnonzero(stream_M == MARK).astype(np.int32)
    require(len(marks) == len(lines) + 1, "a line has a line end inside; give one item per line")
    if context_length is None:
        return Tokens(stream_M, marks[:-1], np.diff(marks))
    # The position in its line of each token but the first.
    place_M = np.arange(len(stream_M) - 1) - np.repeat(marks[:-1], np.diff(marks))
    stream_M = np.insert(stream_M, 1 + np.flatnonzero((place_M > 0) & (place_M % context_length == 0)), MARK)
    marks = np.flatnonzero(stream_M == MARK).astype(np.int32)
    return Tokens(stream_M, marks[:-1], np.minimum(np.diff(marks), context_length).astype(np.int32))


def select(tokens: Tokens, wanted_N: np.ndarray) -> Tokens:
    """Some of the lines, by number or by a mask, in a stream of their own; each has a mark of its own before it."""
    start_N, length_N = tokens.start_N[wanted_N], tokens.length_N[wanted_N]
    lines = [tokens.stream_M[first : first + 1 + length] for first, length in zip(start_N, length_N, strict=True)]
    first_N = np.cumsum(length_N + 1) - (length_N + 1)
    return Tokens(np.concatenate([np.zeros(0, np.int32), *lines]), first_N.astype(np.int32), length_N)


def count_bytes(tokens: Tokens, vocab: Vocab) -> int:
    """Count the UTF-8 bytes of lines of byte pairs, with one byte for the end of each line."""
    size_V = np.array([len(symbol) for symbol in vocab.symbols])  # GPT-2 spells each byte as one character
    size_V[MARK] = 1
    last_N = tokens.start_N + tokens.length_N
    total_M = np.cumsum(size_V[tokens.stream_M[: last_N.max(initial=0) + 1]], dtype=np.int64)
    return int((total_M[last_N] - total_M[tokens.start_N]).sum())


def distinct(tokens: Tokens) -> dict[bytes, int]:
    """Return the distinct lines, as the bytes of their tokens, each with the index of its last occurrence."""
    ends_N = tokens.start_N + 1 + tokens.length_N
    spans = enumerate(zip(tokens.start_N + 1, ends_N, strict=True))
    return {tokens.stream_M[first:end].tobytes(): n for n, (first, end) in spans}
