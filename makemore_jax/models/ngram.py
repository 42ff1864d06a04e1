"""The counting model, which records how often each symbol follows each context.

An n-gram of order n predicts a symbol from the n - 1 before it. Counting is one scatter-add over index tuples; a row of
counts divided by its sum is a row of probabilities (makemore lecture 1; Shannon 1948, section 3):

    P(y | context) = (count[context, y] + smoothing) / sum over y' of (count[context, y'] + smoothing)

The parameters are the table of log P. Log-probabilities are valid logits, so the loss, the evaluation and the sampler
need no special case. There is nothing to train.
"""

from dataclasses import dataclass
from functools import cache, partial, reduce

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.errors import require, require_positive
from makemore_jax.models.interface import Model, step_window

MAX_CELLS = 2**28  # 1 GiB of counts


@dataclass(frozen=True)
class Config:
    """Sizes of a dense n-gram table."""

    vocab: int
    """V: number of symbols, the mark included."""
    order: int = 2
    """The number of symbols in an n-gram, from 1 to 4; 2 is the bigram."""

    def __post_init__(self):
        require_positive(self, "vocab")
        require(1 <= self.order <= 4, f"`order` is {self.order}; a dense table counts n-grams of order 1 to 4")
        require(
            self.vocab**self.order <= MAX_CELLS,
            f"a table of order {self.order} over {self.vocab:,} symbols has {self.vocab**self.order:,} cells, "
            f"over the limit of {MAX_CELLS:,}; take a lower order or data with fewer symbols",
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """(V,) * order: one axis per symbol, the predicted one last."""
        return (self.vocab,) * self.order


def contexts(x_BT: jax.Array, order: int) -> tuple[jax.Array, ...]:
    """Return the order - 1 symbols up to each position, oldest first, each (B, T).

    In each context, all symbols before a mark are replaced by marks, 0. Lines therefore have the same contexts in rows
    of their own as end to end in one stream.
    """
    columns, numpy = [], x_BT.__array_namespace__()  # NumPy's or JAX's: on the host nothing is compiled
    for age in range(order - 1):
        # Without `shift_in_line`: for a stream of millions, its positions would cost more than the count itself.
        column = numpy.pad(x_BT, ((0, 0), (age, 0)))[:, : x_BT.shape[1]]
        columns.append(column if age == 0 else numpy.where(columns[-1] == 0, 0, column))
    return tuple(reversed(columns))


@partial(jax.jit, static_argnames="config")
def count(config: Config, x_BT: jax.Array, y_BT: jax.Array, mask_BT: jax.Array | None = None) -> jax.Array:
    """Count the n-grams of a batch: int32 of `config.shape`. The counts of several batches can be added.

    Each n-gram becomes the index of a cell of the flattened table. Where `mask_BT` is false, the index is beyond the
    end of the table and is dropped.
    """
    cells = config.vocab**config.order
    x_BT, y_BT = jnp.asarray(x_BT, jnp.int32), jnp.asarray(y_BT, jnp.int32)  # small integers would overflow
    cell_BT = reduce(lambda cell, symbol: cell * config.vocab + symbol, (*contexts(x_BT, config.order), y_BT))
    if mask_BT is not None:
        cell_BT = jnp.where(mask_BT, cell_BT, cells)
    return jnp.zeros(cells, jnp.int32).at[cell_BT.reshape(-1)].add(1, mode="drop").reshape(config.shape)


def count_stream(
    config: Config, stream_M: np.ndarray, chunk: int = 2**22, cuts: np.ndarray = np.zeros(0, int)
) -> np.ndarray:
    """Count the n-grams of a token stream of any length, such as a mapped file: int64 of `config.shape`.

    The stream is counted in chunks of `chunk` pairs, all of the same shape, so that memory does not grow with it. The
    tokens after the positions `cuts` are not counted; see `Tokens.cuts`.
    """
    total, before = np.zeros(config.shape, np.int64), config.order - 1
    padded = np.zeros(before + chunk + 1, np.int32)
    pair = np.arange(before + chunk)
    for first in range(0, len(stream_M) - 1, chunk):
        start = max(0, first - before)  # so that the first pairs have whole contexts
        part = stream_M[start : first + chunk + 1]
        padded[: len(part)] = part
        mask = (pair >= first - start) & (pair < len(part) - 1)
        mask[cuts[np.searchsorted(cuts, start) : np.searchsorted(cuts, start + len(pair))] - start] = False
        part = jax.device_put((padded[None, :-1], padded[None, 1:], mask[None]))
        total += jax.device_get(count(config, *part))
    return total


@jax.jit
def fit(counts: jax.Array, smoothing: float = 0.0) -> dict:
    """Turn counts into parameters: add `smoothing` to every cell, divide each row by its sum, take the logarithm.

    A cell of probability 0 holds -inf. The row of a context without counts is uniform.
    """
    smoothed = counts.astype(jnp.float32) + jnp.float32(smoothing)
    total = smoothed.sum(axis=-1, keepdims=True)  # without keepdims, (V, V) / (V,) would divide the columns
    prob = jnp.where(total > 0, smoothed / jnp.where(total > 0, total, 1), 1 / counts.shape[-1])
    return {"log_prob": jnp.log(prob)}


@cache
def ngram(config: Config) -> Model:
    """Build the model of a table of log-probabilities; `init` gives a uniform table, `fit` makes one from counts."""

    def init(key: jax.Array) -> dict:
        return fit(jnp.zeros(config.shape))

    def forward(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        rows = params["log_prob"][contexts(x_BT, config.order)]
        return jnp.broadcast_to(rows, (*x_BT.shape, config.vocab)), {}  # order 1 has a single row

    return Model(config, init, forward, *step_window(forward, max(1, config.order - 1)))
