"""The likelihood of observed symbols as a loss: the negative log-likelihood of each, in nats.

The likelihood of the data is the product of the probabilities that the model gives to each observed symbol. Its
logarithm is a sum; negated and averaged over tokens it is a loss, comparable between data sets (makemore lecture 1).
"""

import chex
import jax
import jax.numpy as jnp

from makemore_jax.models.interface import Model, Params
from makemore_jax.models.layers import upcast

MAX_ONE_HOT = 2**10  # symbols; with a larger vocabulary a gather takes less memory than a one-hot
CHUNK_LOGITS = 2**23  # the most logits that exist at once, if the model has a head: 32 MiB in float32


def token_nll(logits_BTV: jax.Array, y_BT: jax.Array) -> jax.Array:
    """Return (B, T) nats, -log softmax(logits)[y], selected by a one-hot, or by a gather if V is large.

    A product with the one-hot would not do: a log-probability may be -inf, and 0 * -inf is NaN.
    """
    chex.assert_equal_shape_prefix([logits_BTV, y_BT], 2)
    log_prob_BTV = jax.nn.log_softmax(logits_BTV)
    if logits_BTV.shape[-1] > MAX_ONE_HOT:
        return -jnp.take_along_axis(log_prob_BTV, y_BT[..., None], axis=-1)[..., 0]
    one_hot_BTV = jax.nn.one_hot(y_BT, logits_BTV.shape[-1], dtype=bool)
    return -jnp.where(one_hot_BTV, log_prob_BTV, 0).sum(-1)


def mean_nll(logits_BTV: jax.Array, y_BT: jax.Array, mask_BT: jax.Array | None = None) -> jax.Array:
    """Compute the loss: the mean nats per token where `mask_BT` is true, by default everywhere; 0 if it is nowhere."""
    nll_BT = token_nll(logits_BTV, y_BT)
    mask_BT = jnp.ones_like(y_BT, bool) if mask_BT is None else mask_BT
    chex.assert_equal_shape([y_BT, mask_BT])
    return jnp.where(mask_BT, nll_BT, 0).sum() / jnp.maximum(mask_BT.sum(), 1).astype(nll_BT.dtype)


def batch_nll(model: Model, params: Params, x_BT: jax.Array, y_BT: jax.Array) -> jax.Array:
    """Return (B, T) nats of y after x: `token_nll` of the model's logits, in float32 or wider.

    At most `CHUNK_LOGITS` logits exist at once: the head and the loss are computed in chunks along the time axis, and
    the backward pass recomputes the logits of each chunk. A batch with fewer logits, or of a model without a head, is a
    single chunk. On accelerators the chunks are larger: memory allows it, and reading the head's weights then costs
    relatively less.
    """
    (rows, length), limit = x_BT.shape, CHUNK_LOGITS * (1 if jax.default_backend() == "cpu" else 8)
    chunks = -(-length // max(1, limit // (rows * model.vocab)))
    hidden, head = model.hidden, model.head
    if chunks == 1 or hidden is None or head is None:
        return token_nll(upcast(model.apply(params, x_BT)), y_BT)
    width = -(-length // chunks)
    hidden_BTD, _ = hidden(params, x_BT)
    # The chunks read float32, so that the sum of their gradients is in float32 too; bfloat16 would round it.
    wide = jax.tree.map(lambda leaf: upcast(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, params)

    @jax.checkpoint
    def chunk_nll(chunk: tuple[jax.Array, jax.Array]) -> jax.Array:
        hidden_BCD, y_BC = chunk
        narrow = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), wide, params)
        return token_nll(upcast(head(narrow, hidden_BCD)), y_BC)

    def split(value: jax.Array) -> jax.Array:
        """Reshape (B, T, ...) to (chunks, B, width, ...), padded at the end."""
        value = jnp.pad(value, [(0, 0), (0, -length % width)] + [(0, 0)] * (value.ndim - 2))
        return jnp.swapaxes(value.reshape(rows, -1, width, *value.shape[2:]), 0, 1)

    nll_CBW = jax.lax.map(chunk_nll, (split(hidden_BTD), split(y_BT)))
    return jnp.swapaxes(nll_CBW, 0, 1).reshape(rows, -1)[:, :length]


def table_nll(logits_VV: jax.Array, counts_VV: jax.Array) -> jax.Array:
    """Compute the loss of a bigram model from the counts alone; row x of `logits_VV` holds the logits after symbol x.

    Identical pairs have identical losses, so the loss of each pair is computed once and weighted by the count:

        mean over pairs of nll(x, y)  =  sum over x, y of counts[x, y] * nll(x, y) / sum of counts

    The count table is a sufficient statistic: the loss and its gradient need nothing else from the data.
    """
    chex.assert_equal_shape([logits_VV, counts_VV])
    counts_VV = counts_VV.astype(jnp.float32)  # their sum may overflow int32
    nll_VV = -jax.nn.log_softmax(logits_VV)
    return jnp.where(counts_VV > 0, counts_VV * nll_VV, 0).sum() / jnp.maximum(counts_VV.sum(), 1)
