"""Batches of lines: which lines make up a batch, and how they are packed end to end into rows.

A batch is a pure function of a key, so there is no iterator whose state would have to be saved.
"""

from bisect import bisect_right
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.tokens import Tokens
from makemore_jax.errors import require

Array = Any  # NumPy's on the host, JAX's inside a program


class Packing(NamedTuple):
    """Lines packed into rows: for each cell, the line that it belongs to and its position in that line."""

    segment_BT: np.ndarray  # int32: segment id, the line's index in length_N; 0 for padding
    position_BT: np.ndarray  # int32: position in the line; T for padding


def pack(length_N: np.ndarray, width: int, rows: int = 1) -> Packing:
    """Pack lines of these lengths into rows of `width` cells, which must be at least as wide as the longest line.

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
    """Return (N,) the flat index of the cell where each line starts, and the number of rows."""
    remaining = {length: np.flatnonzero(length_N == length).tolist() for length in np.unique(length_N).tolist()}
    lengths, first_N, row = list(remaining), [0] * len(length_N), 0  # the lengths ascend
    require(max(lengths, default=0) <= width, f"`width` is {width}; it must be at least the longest line")
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


def gather(tokens: Tokens, segment_BT: Array, position_BT: Array) -> tuple[Array, Array, Array]:
    """Return x_BT, y_BT (int32) and mask_BT (bool) for the lines and positions of each cell of a `Packing`.

    In x a line comes after its mark, in y before its end mark; the mask is true where y counts. The mask is made from
    lengths, because padding is 0 like the mark: `y != 0` would drop every end mark. For one line per row, pass
    `line_B[:, None], np.arange(width)`. This is pure indexing, for NumPy arrays and inside jitted programs alike.
    """
    mask_BT = position_BT < tokens.length_N[segment_BT]
    one_BT = mask_BT.astype(np.int32)
    index_BT = (tokens.start_N[segment_BT] + position_BT) * one_BT  # padding reads stream[0], the mark
    return tokens.stream_M[index_BT], tokens.stream_M[index_BT + one_BT], mask_BT


class Batch(NamedTuple):
    """B rows of T tokens, with lines packed end to end. A batch of K micro-batches has a leading axis K."""

    x_BT: jax.Array  # int32: what the model reads
    y_BT: jax.Array  # int32: the token after each of them
    mask_BT: jax.Array  # bool: false where y is padding
    row_B: jax.Array  # int32: the number of each row, on which its dropout masks depend


class BatchPlan(NamedTuple):
    """The fixed layout of random batches: slot n holds a line of stratum n and is as wide as its longest line."""

    lines: int  # N, the lines of the data set
    line_tokens: float  # mean tokens per line
    widths: tuple[int, ...]  # of each slot of a micro-batch, in tokens
    rows: int = 1  # the number of rows is a multiple of this
    micro_batches: int = 1  # K

    @property
    def tokens(self) -> float:
        """The expected number of tokens in a batch."""
        return self.micro_batches * len(self.widths) * self.line_tokens

    @property
    def packing(self) -> Packing:
        """The slots packed into rows; segment n is slot n."""
        return pack(np.array(self.widths), max(self.widths), self.rows)


def plan_batches(tokens: Tokens, lines: int, rows: int = 1, micro_batches: int = 1) -> tuple[Tokens, BatchPlan]:
    """Sort the lines by length, divide them into `lines` equal strata, and plan batches of one line from each stratum.

    The lines of a stratum have nearly the same length, so its slot needs little padding, and all batches have the same
    shape. Each micro-batch gets lines of every length, and its number of rows is a multiple of `rows`, so that as many
    devices can share them.
    """
    count, slots = len(tokens.length_N), lines // micro_batches
    order_N = np.argsort(tokens.length_N, kind="stable")
    tokens = Tokens(tokens.stream_M, tokens.start_N[order_N], tokens.length_N[order_N])
    width_N = tokens.length_N[(np.arange(1, slots + 1) * count - 1) // slots]
    mean = float(np.mean(tokens.length_N))
    return tokens, BatchPlan(count, mean, tuple(width_N.tolist()), rows, micro_batches)


def stratified(key: jax.Array, lines: int, count: int) -> jax.Array:
    """Draw (count,) line numbers, one uniformly from each of `count` equal strata of range(lines).

    Number n is floor((n + u) / count * lines) for u uniform in [0, 1), so every line is equally likely. A sum over the
    batch is an unbiased estimate with less variance than a sum over independent draws.
    """
    first_N, rest_N = np.divmod(np.arange(count) * lines, count)
    offset_N = jax.random.randint(key, (count,), 0, lines)
    return jnp.int32(first_N) + (jnp.int32(rest_N) + offset_N) // count  # integers, so nothing is rounded


def draw_lines(plan: BatchPlan, key: jax.Array) -> jax.Array:
    """Draw (N,) the lines of a batch, or (K, N) the lines of its micro-batches."""
    line_N = stratified(key, plan.lines, plan.micro_batches * len(plan.widths))
    return line_N if plan.micro_batches == 1 else line_N.reshape(-1, plan.micro_batches).T


def draw_batch(plan: BatchPlan, tokens: Tokens, key: jax.Array) -> Batch:
    """Draw a random batch; a pure function, for use inside a jitted program."""
    packing = plan.packing
    line_BT = draw_lines(plan, key)[..., packing.segment_BT]
    x_BT, y_BT, mask_BT = gather(tokens, line_BT, jnp.broadcast_to(packing.position_BT, line_BT.shape))
    return Batch(x_BT, y_BT, mask_BT, jnp.broadcast_to(jnp.arange(x_BT.shape[-2]), x_BT.shape[:-1]))
