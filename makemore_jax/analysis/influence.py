"""Measure what a prediction depends on: replace one symbol of a real line, and see how much the prediction changes.

The functions work on any model. The change is the total variation between the two distributions of the next symbol,
`sum |p - q| / 2`: 0 if they are equal, 1 if they have no symbol in common.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.batches import gather
from makemore_jax.data.tokens import Tokens
from makemore_jax.data.vocab import MARK
from makemore_jax.errors import require
from makemore_jax.inference.evaluate import longest_line
from makemore_jax.models.interface import Model, Params

READ_TOKENS = 2**20  # roughly the number of tokens that the model reads; if lines are long, fewer are taken
BATCH_LOGITS = 2**22  # the largest number of logits at a time, so that memory is bounded for any vocabulary


class Substitution(NamedTuple):
    """The changes that show which symbols are interchangeable for a model."""

    symbols_K: np.ndarray  # the tokens that are compared
    change_KK: np.ndarray  # mean total variation when the column's symbol replaces the row's; 0 on the diagonal


def substitution(model: Model, params: Params, tokens: Tokens, lines: int = 500, max_symbols: int = 40) -> Substitution:
    """Measure the change in the distribution of the next symbol when each symbol is replaced by each other one.

    The mean is over all occurrences of the row's symbol in `lines` lines, spread evenly over the data, or in fewer if
    lines are long. If the vocabulary is larger, only the `max_symbols` most frequent symbols are compared.
    """
    width = longest_line(model, tokens)
    x_NT, mask_NT = _spread(tokens, width, min(lines, READ_TOKENS // (width * max_symbols)))
    count_V = np.bincount(x_NT[mask_NT], minlength=model.vocab)
    frequent_K = most_frequent(count_V, max_symbols)
    symbols_K = frequent_K[count_V[frequent_K] > 0].astype(np.int32)
    rows = max(1, BATCH_LOGITS // (len(symbols_K) * model.vocab))
    parts = [_substitute(model, params, symbols_K, *part) for part in _batches(x_NT, mask_NT, rows=rows)]
    return Substitution(symbols_K, np.sum(parts, 0, dtype=np.float64) / count_V[symbols_K][:, None])


def most_frequent(count_V: np.ndarray, most: int) -> np.ndarray:
    """Return (K,) the tokens with the highest counts, at most `most`, in vocabulary order."""
    return np.sort(np.argsort(-count_V, kind="stable")[:most])


def reach(key: jax.Array, model: Model, params: Params, tokens: Tokens, lines: int = 500) -> np.ndarray:
    """Measure (T,) the change in a prediction when the symbol 0, 1, 2, ... steps back is replaced; 0 is the newest.

    The replacement is drawn from the symbols of the data. The mean is over all positions in `lines` lines, spread
    evenly over the data, or in fewer if lines are long. Distances that do not occur in these lines are left out.
    """
    width = longest_line(model, tokens)
    x_NT, mask_NT = _spread(tokens, width, min(lines, READ_TOKENS // width**2))
    pool_M = x_NT[x_NT != MARK]
    require(len(np.unique(pool_M)) > 1, "the lines have fewer than two different symbols; give others")
    other_NT = pool_M[np.asarray(jax.random.randint(key, x_NT.shape, 0, len(pool_M)))]
    rows = max(1, BATCH_LOGITS // (width * model.vocab))
    parts = [_replace(model, params, *part) for part in _batches(x_NT, other_NT, mask_NT, rows=rows)]
    total_T, count_T = np.asarray(parts, np.float64).sum(0)
    return total_T[count_T > 0] / count_T[count_T > 0]


def along_line(model: Model, params: Params, x_T: np.ndarray, max_symbols: int = 64) -> np.ndarray:
    """Measure (T, T) the change in the prediction after each position (row) when another symbol (column) is replaced.

    Column s is the mean over all other symbols but the mark that may replace the symbol at s, or over `max_symbols` of
    them, spread evenly over a larger vocabulary. Column 0 is 0, because the mark at 0 is never replaced.
    """
    others_K = np.unique(np.linspace(1, model.vocab - 1, min(max_symbols, model.vocab - 1)).round().astype(np.int32))
    return np.asarray(_along_line(model, params, np.int32(x_T), others_K), np.float64)


def total_variation(logits: jax.Array, other_logits: jax.Array) -> jax.Array:
    """Return the total variation, from 0 to 1, between the distributions along the last axis."""
    return jnp.abs(jax.nn.softmax(logits) - jax.nn.softmax(other_logits)).sum(-1) / 2


@partial(jax.jit, static_argnames="model")
def _substitute(model: Model, params: Params, symbols_K: jax.Array, x_BT: jax.Array, mask_BT: jax.Array) -> jax.Array:
    """Return (K, K) sums of the change, reading lines one token at a time so that a substitution costs one step."""

    def body(carry, column):
        (cache, total_KK), (x_B, mask_B) = carry, column
        logits_KBV = jax.vmap(lambda symbol: model.step(params, cache, jnp.full_like(x_B, symbol))[0])(symbols_K)
        logits_BV, cache = model.step(params, cache, x_B)
        change_KB = total_variation(logits_KBV, logits_BV[None])
        real_KB = (x_B[None] == symbols_K[:, None]) & mask_B[None]
        return (cache, total_KK + jnp.where(real_KB[:, None], change_KB[None], 0).sum(-1)), None

    carry = model.init_cache(params, len(x_BT)), jnp.zeros((len(symbols_K), len(symbols_K)))
    return jax.lax.scan(body, carry, (x_BT.T, mask_BT.T))[0][1]


@partial(jax.jit, static_argnames="model")
def _replace(model: Model, params: Params, x_BT: jax.Array, other_BT: jax.Array, mask_BT: jax.Array) -> jax.Array:
    """Return (2, T) the sum of the changes at each distance, and the number of predictions in it."""
    t_1T, logits_BTV = jnp.arange(x_BT.shape[1])[None], model.apply(params, x_BT)

    def body(sums_2T, start):
        change_BT = total_variation(logits_BTV, model.apply(params, jnp.where(t_1T == start, other_BT, x_BT)))
        replaced_B = x_BT[:, start] != other_BT[:, start]
        counted_BT = mask_BT & (t_1T >= start) & replaced_B[:, None]
        new_2T = jnp.stack([jnp.where(counted_BT, change_BT, 0).sum(0), counted_BT.sum(0, dtype=change_BT.dtype)])
        return sums_2T + jnp.roll(new_2T, -start, axis=1), None  # from positions to distances

    return jax.lax.scan(body, jnp.zeros((2, x_BT.shape[1])), t_1T[0, 1:])[0]


@partial(jax.jit, static_argnames="model")
def _along_line(model: Model, params: Params, x_T: jax.Array, others_K: jax.Array) -> jax.Array:
    """Compute `along_line` one position at a time, with all its replacements as one batch."""
    t_T, logits_TV = jnp.arange(len(x_T)), model.apply(params, x_T[None])[0]

    def replace(start: jax.Array) -> jax.Array:
        x_KT = jnp.where((t_T == start)[None], others_K[:, None], x_T[None])
        change_KT = total_variation(model.apply(params, x_KT), logits_TV[None])
        other_K1 = (others_K != x_T[start])[:, None]
        count = jnp.maximum(other_K1.sum(), 1).astype(change_KT.dtype)
        mean_T = jnp.where(other_K1, change_KT, 0).sum(0) / count
        return jnp.where(t_T >= start, mean_T, 0)

    def column(start: jax.Array) -> jax.Array:  # the marks that pad a line cost nothing
        return jax.lax.cond(x_T[start] == MARK, lambda _: jnp.zeros(len(t_T)), replace, start)

    return jax.lax.map(column, t_T).T


def _spread(tokens: Tokens, width: int, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x_NT and mask_NT of at most `lines` lines spread evenly over the data, one per row."""
    total = len(tokens.length_N)
    line_N = np.linspace(0, total - 1, min(max(1, lines), total)).round().astype(int)
    x_NT, _, mask_NT = gather(tokens, line_N[:, None], np.arange(width))
    return x_NT.astype(np.int32), mask_NT


def _batches(*arrays: np.ndarray, rows: int) -> Iterator[list[np.ndarray]]:
    """Yield slices of `rows` rows of each array; the last is padded with zeros, so that one program serves all."""
    rows = min(rows, len(arrays[0]))
    for first in range(0, len(arrays[0]), rows):
        parts = [array[first : first + rows] for array in arrays]
        yield [np.pad(part, ((0, rows - len(part)), (0, 0))) for part in parts]
