"""Lines as one stream of tokens, and batches of it.

All lines lie end to end in one stream,

    . e m m a . o l i v i a . a v a .

where the mark that ends one line starts the next. Every pair of neighbours is then a bigram of the data, a line is a
slice, and nothing is padded before a batch is made.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from makemore_jax.data.vocab import MARK, UNKNOWN, Vocab
from makemore_jax.errors import require


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


class Layout(NamedTuple):
    """Where lines stand in the rows of a batch, end to end: of each cell, whose it is and how far into its line."""

    line_BT: np.ndarray  # int32: which line, by the number that its length has; 0 where a cell is nobody's
    t_BT: np.ndarray  # int32: which of its tokens; T, beyond the end of any, where a cell is nobody's


def pack(length_N: np.ndarray, width: int, rows: int = 1) -> Layout:
    """Lines of these lengths in rows of a `width` that holds any: a row takes the longest that still fits, and so on.

    That is first fit decreasing (Johnson 1973). The number of rows is made a multiple of `rows`.
    """
    count, place_N = 0, np.empty(len(length_N), int)
    waiting = {length: np.flatnonzero(length_N == length).tolist() for length in np.unique(length_N).tolist()}
    lengths = list(waiting)  # in rising order
    while lengths:
        room = width
        while fitting := bisect_right(lengths, room):
            longest = lengths[fitting - 1]
            place_N[waiting[longest].pop()] = (count + 1) * width - room
            room -= longest
            if not waiting[longest]:
                lengths.remove(longest)
        count += 1
    shape = (count + -count % rows, width)
    t_M = np.arange(length_N.sum()) - np.repeat(np.cumsum(length_N) - length_N, length_N)
    cell_M = np.repeat(place_N, length_N) + t_M
    layout = Layout(np.zeros(shape, np.int32), np.full(shape, width, np.int32))
    layout.line_BT.flat[cell_M], layout.t_BT.flat[cell_M] = np.repeat(np.arange(len(length_N)), length_N), t_M
    return layout


def batch(tokens: Tokens, line_BT: np.ndarray, t_BT: np.ndarray):
    """Gather tokens: x_BT, y_BT (int32) and mask_BT (bool), for each cell a line's number and how far into it.

    A line in x is the mark and then the line, in y the line and then the mark, and mask is true where y counts. It is
    made from the lengths: padding is 0 like the mark, so `y != 0` would drop every end mark. Rows of a line each are
    `line_B[:, None], np.arange(width)`. Pure indexing, so it runs on NumPy arrays and inside a jitted program alike.
    """
    mask_BT = t_BT < tokens.length_N[line_BT]
    index_BT = (tokens.start_N[line_BT] + t_BT) * mask_BT  # padding reads stream[0], the mark
    return tokens.stream_M[index_BT], tokens.stream_M[index_BT + mask_BT], mask_BT


def from_host(tokens: Tokens) -> Callable:
    """`batch` for tokens that stay on the host, such as in a file: a jitted program calls back for each batch."""

    def batch_from_host(_, line_BT: jax.Array, t_BT: np.ndarray):
        kinds = (np.int32, np.int32, bool)

        def gather(line_BT: jax.Array):
            parts = zip(batch(tokens, np.asarray(line_BT), t_BT), kinds, strict=True)
            return tuple(np.asarray(part, kind) for part, kind in parts)

        return jax.pure_callback(gather, tuple(jax.ShapeDtypeStruct(t_BT.shape, kind) for kind in kinds), line_BT)

    return batch_from_host


class Plan(NamedTuple):
    """How random batches of a data set are laid out: a place for a line of each share of it, wide enough for any."""

    lines: int  # N, those of the data set
    line_tokens: float  # tokens that a line gives to predict, on average
    widths: tuple[int, ...]  # of the places; line n of a draw goes to place n
    rows: int = 1  # the rows are a multiple of so many

    @property
    def layout(self) -> Layout:
        """The places in rows."""
        return pack(np.array(self.widths), max(self.widths), self.rows)


def plan(tokens: Tokens, places: int, rows: int = 1) -> tuple[Tokens, Plan]:
    """The lines in order of length, and how batches of `places` of them, as `train.draw` picks, are laid out.

    Line n of a batch is drawn from the n-th share of the sorted lines, so how long it can be is known beforehand, and
    little is padded. Devices that share the rows want a multiple of their number, `rows`.
    """
    lines = len(tokens.length_N)
    order_N = np.argsort(tokens.length_N, kind="stable")
    tokens = Tokens(tokens.stream_M, tokens.start_N[order_N], tokens.length_N[order_N])
    width_N = tokens.length_N[(np.arange(1, places + 1) * lines - 1) // places]
    return tokens, Plan(lines, float(np.mean(tokens.length_N)), tuple(width_N.tolist()), rows)


def report(lines: Sequence[str], vocab: Vocab) -> dict:
    """What was loaded, ready for printing and for JSON; lengths in characters, `bigrams` of tokens with the mark.

    `unknown` is the share of the tokens that the vocabulary does not have.
    """
    distinct, tokens = len(set(lines)), tokenize(lines, vocab)
    unknown = np.mean(tokens.stream_M == UNKNOWN) if vocab.level == "word" else 0.0
    return {
        "lines": len(lines),
        "distinct": distinct,
        "repeated": len(lines) - distinct,
        "shortest": min(lines, key=len),
        "longest": max(lines, key=len),
        "alphabet": "".join(vocab.symbols[1:]),
        "symbols": vocab.size,
        "bigrams": len(tokens.stream_M) - 1,
        "unknown": float(unknown),
    }
