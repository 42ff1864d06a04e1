"""Batches of lines: which lines make up a batch, and how they are packed end to end into rows.

A batch is a function of a key, so there is no iterator, and nothing to save.
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


def gather(tokens: Tokens, segment_BT: Array, position_BT: Array) -> tuple[Array, Array, Array]:
    """x_BT, y_BT (int32) and mask_BT (bool) for cells of these lines and positions, as `Packing` has them.

    A line in x is the mark and then the line, in y the line and then the mark; the mask is true where y counts. It is
    made from lengths: padding is 0 like the mark, so `y != 0` would drop every end mark. For one line per row, give
    `line_B[:, None], np.arange(width)`. Pure indexing: it runs on NumPy arrays and inside a jitted program alike.
    """
    mask_BT = position_BT < tokens.length_N[segment_BT]
    one_BT = mask_BT.astype(np.int32)
    index_BT = (tokens.start_N[segment_BT] + position_BT) * one_BT  # padding reads stream[0], the mark
    return tokens.stream_M[index_BT], tokens.stream_M[index_BT + one_BT], mask_BT


class Batch(NamedTuple):
    """B rows of T tokens: lines packed end to end. A batch of K micro-batches has one more axis, K, in front."""

    x_BT: jax.Array  # int32: what the model reads
    y_BT: jax.Array  # int32: what follows it
    mask_BT: jax.Array  # bool: false where y is padding
    row_B: jax.Array  # int32: the rows' numbers, on which their dropout masks depend


class BatchPlan(NamedTuple):
    """The fixed layout of random batches: slot n holds a line of stratum n, and is as wide as the longest of them."""

    lines: int  # N, the lines of the data set
    line_tokens: float  # mean tokens per line
    widths: tuple[int, ...]  # of the slots of a micro-batch, in tokens
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
    """Sort the lines by length, and plan batches of `lines` lines, one from each of as many equal strata.

    The lines of a stratum are of nearly equal length, so its slot needs little padding, and every batch has one shape.
    Each of the `micro_batches` takes its share of every length. Its number of rows is a multiple of `rows`, so that as
    many devices can share them.
    """
    count, slots = len(tokens.length_N), lines // micro_batches
    order_N = np.argsort(tokens.length_N, kind="stable")
    tokens = Tokens(tokens.stream_M, tokens.start_N[order_N], tokens.length_N[order_N])
    width_N = tokens.length_N[(np.arange(1, slots + 1) * count - 1) // slots]
    mean = float(np.mean(tokens.length_N))
    return tokens, BatchPlan(count, mean, tuple(width_N.tolist()), rows, micro_batches)


def stratified(key: jax.Array, lines: int, count: int) -> jax.Array:
    """(count,) line numbers, one drawn uniformly from each of `count` equal strata of range(lines).

    Number n is floor((n + u) / count * lines) for u uniform in [0, 1), so every line is drawn equally often. A sum over
    the batch is an unbiased estimate, of less variance than one over independent draws.
    """
    first_N, rest_N = np.divmod(np.arange(count) * lines, count)
    offset_N = jax.random.randint(key, (count,), 0, lines)
    return jnp.int32(first_N) + (jnp.int32(rest_N) + offset_N) // count  # in integers, no rounding


def draw_lines(plan: BatchPlan, key: jax.Array) -> jax.Array:
    """(N,) the lines of a batch, or (K, N) of its micro-batches, for the key of its draw."""
    line_N = stratified(key, plan.lines, plan.micro_batches * len(plan.widths))
    return line_N if plan.micro_batches == 1 else line_N.reshape(-1, plan.micro_batches).T


def draw_batch(plan: BatchPlan, tokens: Tokens, key: jax.Array) -> Batch:
    """A random batch; pure, for use inside a program."""
    packing = plan.packing
    line_BT = draw_lines(plan, key)[..., packing.segment_BT]
    x_BT, y_BT, mask_BT = gather(tokens, line_BT, jnp.broadcast_to(packing.position_BT, line_BT.shape))
    return Batch(x_BT, y_BT, mask_BT, jnp.broadcast_to(jnp.arange(x_BT.shape[-2]), x_BT.shape[:-1]))
