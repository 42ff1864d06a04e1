"""Lines as one stream of tokens, and batches of it.

All lines lie end to end in one stream,

    . e m m a . o l i v i a . a v a .

where the mark that ends one line starts the next. Every pair of neighbours is then a bigram of the data, a line is a
slice, and nothing is padded before a batch is made.
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
    length_N: np.ndarray  # int32: the number of tokens of each line to predict: its symbols and the end mark if any

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """(M-1,) and (M-1,): every token and the one that follows it, the bigrams of the data.

        But for the marks that cut a line into windows: they follow nothing.
        """
        pairs, cuts = (self.stream_M[:-1], self.stream_M[1:]), self.cuts
        return tuple(np.delete(side, cuts) for side in pairs) if len(cuts) else pairs

    @property
    def cuts(self) -> np.ndarray:
        """The positions in the stream of tokens after which a line was cut: the mark that follows is not predicted."""
        end_N = (self.start_N + self.length_N)[:-1]
        return end_N[end_N < self.start_N[1:]]


def tokenize(lines: Sequence[str], vocab: Vocab, context_length: int | None = None) -> Tokens:
    """Encode lines into one stream, without a Python loop over characters.

    A line of more than `context_length` tokens, its end mark included, is cut into consecutive windows of that many
    and a shorter last one. A mark is put before each, as before any line, so nothing earlier is seen; this mark is not
    predicted. So every token of the text and every end mark is predicted exactly once, from the tokens before it in
    its window, on average half of `context_length`.
    """
    valid = context_length is None or context_length > 1
    require(valid, f"`context_length` is {context_length}; it must be at least 2")
    if vocab.multiline:  # a line end is no mark, so each line is encoded by itself
        ids = [np.append(vocab.encode(line), MARK) for line in lines]
        stream_M = np.concatenate([[MARK], *ids]).astype(np.int32)
    else:
        stream_M = vocab.encode("\n".join(["", *lines, ""]) or "\n")
    marks = np.flatnonzero(stream_M == MARK).astype(np.int32)
    require(len(marks) == len(lines) + 1, "a line has a line end inside; give one thing per line")
    if context_length is None:
        return Tokens(stream_M, marks[:-1], np.diff(marks))
    place_M = np.arange(len(stream_M) - 1) - np.repeat(marks[:-1], np.diff(marks))  # in its line, of each token but 0
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
    """The UTF-8 bytes of the lines of byte pairs, each with one byte for its end."""
    size_V = np.array([len(symbol) for symbol in vocab.symbols])  # in GPT-2's spelling, a character for each byte
    size_V[MARK] = 1
    last_N = tokens.start_N + tokens.length_N
    total_M = np.cumsum(size_V[tokens.stream_M[: last_N.max(initial=0) + 1]], dtype=np.int64)
    return int((total_M[last_N] - total_M[tokens.start_N]).sum())


def distinct(tokens: Tokens) -> dict[bytes, int]:
    """Each different line, as the bytes of its tokens, and the index of the last line that is the same."""
    ends_N = tokens.start_N + 1 + tokens.length_N
    spans = enumerate(zip(tokens.start_N + 1, ends_N, strict=True))
    return {tokens.stream_M[first:end].tobytes(): n for n, (first, end) in spans}
