"""Lines as one stream of tokens, and batches of it.

All lines lie end to end in one stream,

    . e m m a . o l i v i a . a v a .

where the mark that ends one line starts the next. Every pair of neighbours is then a bigram of the data, a line is a
slice, and nothing is padded before a batch is made.
"""

from bisect import bisect_right
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

    Raises:
      InputError: a character that is not in the vocabulary, a line end inside a line though the vocabulary has no
        symbol for it, or a `context_length` below 2.
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


class Packing(NamedTuple):
    """How lines are packed into rows: for each cell, which line it belongs to and its position in that line."""

    segment_BT: np.ndarray  # int32: segment id, the line's index in length_N; 0 for padding
    position_BT: np.ndarray  # int32: position in the line; T for padding


def pack(length_N: np.ndarray, width: int, rows: int = 1) -> Packing:
    """Pack lines of these lengths into rows of `width` cells, as wide as the longest line or wider.

    First-fit decreasing (Johnson 1973): each row takes the longest remaining line that fits, until none does. The
    number of rows is rounded up to a multiple of `rows`.
    """
    first_N, count = _first_fit(length_N, width)
    shape = (count + -count % rows, width)
    packing = Packing(np.zeros(shape, np.int32), np.full(shape, width, np.int32))
    segment_M = np.repeat(np.arange(len(length_N)), length_N)
    position_M = np.arange(len(segment_M)) - (np.cumsum(length_N) - length_N)[segment_M]
    cell_M = first_N[segment_M] + position_M
    packing.segment_BT.reshape(-1)[cell_M] = segment_M
    packing.position_BT.reshape(-1)[cell_M] = position_M
    return packing


def _first_fit(length_N: np.ndarray, width: int) -> tuple[np.ndarray, int]:
    """(N,) the flat index of the cell where each line starts, and the number of rows."""
    remaining = {length: np.flatnonzero(length_N == length).tolist() for length in np.unique(length_N).tolist()}
    lengths, first_N, row = list(remaining), [0] * len(length_N), 0  # the lengths ascend
    require(max(lengths, default=0) <= width, f"`width` is {width}; a line is longer")
    while lengths:
        free = width
        while fitting := bisect_right(lengths, free):
            length = lengths[fitting - 1]
            first_N[remaining[length].pop()] = (row + 1) * width - free
            free -= length
            if not remaining[length]:
                del lengths[fitting - 1]
        row += 1
    return np.array(first_N, int), row


def batch(tokens: Tokens, segment_BT: np.ndarray, position_BT: np.ndarray):
    """Gather x_BT, y_BT (int32) and mask_BT (bool) for cells of these lines and positions, as `Packing` has them.

    A line in x is the mark and then the line, in y the line and then the mark; the mask is true where y counts. It is
    made from lengths: padding is 0 like the mark, so `y != 0` would drop every end mark. For one line per row, give
    `line_B[:, None], np.arange(width)`. Pure indexing: it runs on NumPy arrays and inside a jitted program alike.
    """
    mask_BT = position_BT < tokens.length_N[segment_BT]
    index_BT = (tokens.start_N[segment_BT] + position_BT) * mask_BT  # padding reads stream[0], the mark
    return tokens.stream_M[index_BT], tokens.stream_M[index_BT + mask_BT], mask_BT


class BatchPlan(NamedTuple):
    """The fixed layout of random batches: slot n holds a line of stratum n, and is as wide as the longest of them."""

    lines: int  # N, the lines of the data set
    line_tokens: float  # mean tokens per line
    widths: tuple[int, ...]  # of the slots, in tokens
    rows: int = 1  # the number of rows is a multiple of this

    @property
    def packing(self) -> Packing:
        """The slots packed into rows; segment n is slot n."""
        return pack(np.array(self.widths), max(self.widths), self.rows)


def plan_batches(tokens: Tokens, slots: int, rows: int = 1) -> tuple[Tokens, BatchPlan]:
    """Sort the lines by length, and plan batches of `slots` lines, one from each of as many equal strata.

    The lines of a stratum are of nearly equal length, so its slot needs little padding, and every batch has one shape.
    The number of rows is a multiple of `rows`, so that as many devices can share them.
    """
    lines = len(tokens.length_N)
    order_N = np.argsort(tokens.length_N, kind="stable")
    tokens = Tokens(tokens.stream_M, tokens.start_N[order_N], tokens.length_N[order_N])
    width_N = tokens.length_N[(np.arange(1, slots + 1) * lines - 1) // slots]
    return tokens, BatchPlan(lines, float(np.mean(tokens.length_N)), tuple(width_N.tolist()), rows)
