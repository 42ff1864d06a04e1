"""Lines as one stream of tokens, and batches of it.

All lines lie end to end in one stream,

    . e m m a . o l i v i a . a v a .

where the mark that ends one line starts the next. Every pair of neighbours is then a bigram of the data, a line is a
slice, and nothing is padded before a batch is made.
"""

import itertools
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


def from_host(tokens: Tokens) -> Callable:
    """`batch` for tokens that stay on the host, such as in a file: a jitted program calls back for each batch."""

    def batch_from_host(_, row_B: jax.Array, width: int):
        shape = (len(row_B), width)
        kinds = (np.int32, np.int32, bool)

        def gather(row_B: jax.Array):
            parts = zip(batch(tokens, np.asarray(row_B), width), kinds, strict=True)
            return tuple(np.asarray(part, kind) for part, kind in parts)

        return jax.pure_callback(gather, tuple(jax.ShapeDtypeStruct(shape, kind) for kind in kinds), row_B)

    return batch_from_host


class Plan(NamedTuple):
    """How random batches of a data set are laid out: rows sorted by length, in buckets of their own widths."""

    lines: int  # N, those of the data set
    line_tokens: float  # tokens that a line gives to predict, on average
    buckets: tuple[tuple[int, int], ...]  # (rows, width) each, short rows first


def plan(tokens: Tokens, rows: int, most: int = 3, multiple: int = 1) -> tuple[Tokens, Plan]:
    """The lines in order of length, and the layout of batches of `rows` that `draw` picks from them.

    Row b of a batch is drawn from the b-th share of the sorted lines, so how long it can be is known beforehand, and
    little is padded. Of all ways to cut the rows into at most `most` buckets, the one with the fewest cells. Devices
    that share the rows want those of each bucket to be a multiple of their number; so must `rows` be.
    """
    lines = len(tokens.length_N)
    order_N = np.argsort(tokens.length_N, kind="stable")
    tokens = Tokens(tokens.stream_M, tokens.start_N[order_N], tokens.length_N[order_N])
    width_B = tokens.length_N[(np.arange(1, rows + 1) * lines - 1) // rows]
    ends = np.append(np.flatnonzero(np.diff(width_B)) + 1, rows)  # a bucket ends where the width changes
    ends = np.unique(-(-ends // multiple) * multiple)
    inner = ends[:-1][:: 1 + len(ends) // 32]
    ways = (
        tuple((int(end - first), int(width_B[end - 1])) for first, end in itertools.pairwise((0, *cuts, rows)))
        for count in range(min(most, len(inner) + 1))
        for cuts in itertools.combinations(inner, count)
    )
    buckets = min(ways, key=lambda way: sum(rows * width for rows, width in way))
    return tokens, Plan(lines, float(np.mean(tokens.length_N)), buckets)


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
