"""How good is a model? Mean negative log-likelihood, in nats a token, the end mark included.

The likelihood of the data is the product of the probabilities that the model gives to each symbol that came; its
logarithm is a sum, its negative a loss, its mean comparable between data sets (makemore lecture 1).
"""

import math
from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data import Tokens, batch, pack
from makemore_jax.errors import require
from makemore_jax.model import Model, Params

TOKENS_A_BATCH = 2**16  # of an evaluation, at most: large enough to fill the cores, small enough for any machine
TOKENS_A_PART = 2**20  # are laid out at once, so that memory does not grow with the data
LOGITS_A_BATCH = 2**23  # and so many logits
MOST_ONE_HOT = 2**10  # symbols: of a larger vocabulary a gather picks the symbol that came, in less memory


def token_nll(logits_BTV: jax.Array, y_BT: jax.Array) -> jax.Array:
    """(B, T) nats: -log softmax(logits)[y], picked by a one-hot, or by a gather where V is large.

    Picked, not multiplied: a log-probability may be -inf, and 0 * -inf is NaN.
    """
    chex.assert_equal_shape_prefix([logits_BTV, y_BT], 2)
    log_prob_BTV = jax.nn.log_softmax(logits_BTV)
    if logits_BTV.shape[-1] > MOST_ONE_HOT:
        return -jnp.take_along_axis(log_prob_BTV, y_BT[..., None], axis=-1)[..., 0]
    one_hot_BTV = jax.nn.one_hot(y_BT, logits_BTV.shape[-1], dtype=bool)
    return -jnp.where(one_hot_BTV, log_prob_BTV, 0).sum(-1)


def mean_nll(logits_BTV: jax.Array, y_BT: jax.Array, mask_BT: jax.Array | None = None) -> jax.Array:
    """The loss: mean nats a token over the tokens that `mask_BT` keeps (all, without it); 0 where it keeps none."""
    nll_BT = token_nll(logits_BTV, y_BT)
    mask_BT = jnp.ones_like(y_BT, bool) if mask_BT is None else mask_BT
    chex.assert_equal_shape([y_BT, mask_BT])
    return jnp.where(mask_BT, nll_BT, 0).sum() / jnp.maximum(mask_BT.sum(), 1)


def table_nll(logits_VV: jax.Array, counts_VV: jax.Array) -> jax.Array:
    """The same loss of a bigram model from the counts alone: equal pairs have equal loss, so weigh it and add once.

        mean over pairs of nll(x, y)  =  sum over cells of counts[x, y] * nll(x, y) / sum of counts

    The count table is a sufficient statistic: loss and gradient need nothing else of the data, whatever its size.
    `logits_VV` holds the logits after each symbol.
    """
    chex.assert_equal_shape([logits_VV, counts_VV])
    counts_VV = counts_VV.astype(jnp.float32)  # their sum may be past int32
    nll_VV = -jax.nn.log_softmax(logits_VV)
    return jnp.where(counts_VV > 0, counts_VV * nll_VV, 0).sum() / jnp.maximum(counts_VV.sum(), 1)


class Quality(NamedTuple):
    """The exact loss over a data set, in the units that people use; `tokens` of them were predicted."""

    nats: float  # a token
    bits: float  # a token: nats / ln 2
    perplexity: float  # exp(nats): as unsure as a fair choice among so many
    tokens: int


@partial(jax.jit, static_argnames="model")
def _nll(model: Model, params: Params, x_BT: jax.Array, y_BT: jax.Array) -> jax.Array:
    return token_nll(model.apply(params, x_BT), y_BT)


def line_nll(model: Model, params: Params, tokens: Tokens) -> np.ndarray:
    """(N,) float64: the nats of each whole line, its end mark included; inf where the model rules it out."""
    require(len(tokens.length_N) > 0, "there are no lines to score")
    width = int(np.max(tokens.length_N))
    symbols = jax.eval_shape(model.apply, params, jax.ShapeDtypeStruct((1, 1), np.int32)).shape[-1]
    most = max(1, min(TOKENS_A_BATCH, LOGITS_A_BATCH // symbols) // width)
    nll_N = np.zeros(len(tokens.length_N))
    part_N = np.cumsum(tokens.length_N, dtype=np.int64) // TOKENS_A_PART
    for line_N in np.split(np.arange(len(nll_N)), np.flatnonzero(np.diff(part_N)) + 1):
        layout = pack(tokens.length_N[line_N], width)
        rows = min(most, 2 ** (len(layout.t_BT) - 1).bit_length())  # data sets of about one size share a program
        for first in range(0, len(layout.t_BT), rows):
            line_BT, t_BT = line_N[layout.line_BT[first : first + rows]], layout.t_BT[first : first + rows]
            x_BT, y_BT, mask_BT = batch(tokens, line_BT, t_BT)
            missing = ((0, rows - len(t_BT)), (0, 0))  # every batch has one shape
            nll_BT = _nll(model, params, *(np.pad(np.int32(part_BT), missing) for part_BT in (x_BT, y_BT)))
            np.add.at(nll_N, line_BT[mask_BT], np.asarray(nll_BT)[: len(t_BT)][mask_BT])
    return nll_N


def evaluate(model: Model, params: Params, tokens: Tokens) -> Quality:
    """Score every token of a data set exactly once; the sum over lines is kept in float64 on the host."""
    count = int(np.sum(tokens.length_N))
    nats = float(line_nll(model, params, tokens).sum() / count)
    return Quality(nats, nats / math.log(2), math.exp(nats) if nats < 700 else math.inf, count)
