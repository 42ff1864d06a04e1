"""How good a model is: the mean negative log-likelihood, in nats per token, end marks included.

The likelihood of the data is the product of the probabilities that the model gives to each observed symbol. Its
logarithm is a sum; negated and averaged over tokens it is a loss, comparable between data sets (makemore lecture 1).
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.tokens import Packing, Tokens, batch, count_bytes, pack
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import require
from makemore_jax.model import Model, Params, require_block
from makemore_jax.nn import upcast
from makemore_jax.sharding import Layout, fetch, layout_of

MAX_ONE_HOT = 2**10  # symbols; with a larger vocabulary a gather takes less memory than a one-hot
BATCH_TOKENS = 2**16  # largest evaluation batch: large enough to fill the cores, small enough for any machine
BATCH_LOGITS = 2**23  # the same limit in logits, for large vocabularies
CHUNK_LOGITS = 2**23  # most logits of a batch that exist at once, if the model has a head: 32 MiB in float32
PACK_TOKENS = 2**20  # lines are packed this many tokens at a time, so that memory does not grow with the data


def token_nll(logits_BTV: jax.Array, y_BT: jax.Array) -> jax.Array:
    """(B, T) nats: -log softmax(logits)[y], selected by a one-hot, or by a gather where V is large.

    Selected rather than multiplied: a log-probability may be -inf, and 0 * -inf is NaN.
    """
    chex.assert_equal_shape_prefix([logits_BTV, y_BT], 2)
    log_prob_BTV = jax.nn.log_softmax(logits_BTV)
    if logits_BTV.shape[-1] > MAX_ONE_HOT:
        return -jnp.take_along_axis(log_prob_BTV, y_BT[..., None], axis=-1)[..., 0]
    one_hot_BTV = jax.nn.one_hot(y_BT, logits_BTV.shape[-1], dtype=bool)
    return -jnp.where(one_hot_BTV, log_prob_BTV, 0).sum(-1)


def mean_nll(logits_BTV: jax.Array, y_BT: jax.Array, mask_BT: jax.Array | None = None) -> jax.Array:
    """The loss: mean nats per token where `mask_BT` is true (everywhere without one); 0 if it is true nowhere."""
    nll_BT = token_nll(logits_BTV, y_BT)
    mask_BT = jnp.ones_like(y_BT, bool) if mask_BT is None else mask_BT
    chex.assert_equal_shape([y_BT, mask_BT])
    return jnp.where(mask_BT, nll_BT, 0).sum() / jnp.maximum(mask_BT.sum(), 1)


def batch_nll(model: Model, params: Params, x_BT: jax.Array, y_BT: jax.Array) -> jax.Array:
    """(B, T) nats of y after x: `token_nll` of the model's logits, in float32 or wider.

    No more than `CHUNK_LOGITS` logits exist at once: the head and the loss go along the time axis in chunks, and the
    backward pass computes the logits of a chunk again. A batch of fewer logits, or of a model without a head, is one
    chunk. Accelerators have the memory for larger ones, in which reading the head takes a smaller share of the time.
    """
    (rows, length), limit = x_BT.shape, CHUNK_LOGITS * (1 if jax.default_backend() == "cpu" else 8)
    chunks = -(-length // max(1, limit // (rows * model.vocab)))
    if chunks == 1 or model.head is None:
        return token_nll(upcast(model.apply(params, x_BT)), y_BT)
    width = -(-length // chunks)
    hidden_BTD, _ = model.hidden(params, x_BT)
    # The gradient is summed over the chunks in the type of what they read: in float32, where bfloat16 would round it.
    wide = jax.tree.map(lambda leaf: upcast(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, params)

    @jax.checkpoint
    def chunk_nll(chunk: tuple[jax.Array, jax.Array]) -> jax.Array:
        hidden_BCD, y_BC = chunk
        narrow = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), wide, params)
        return token_nll(upcast(model.head(narrow, hidden_BCD)), y_BC)

    def split(value: jax.Array) -> jax.Array:
        """(B, T, ...) -> (chunks, B, width, ...), padded at the end."""
        value = jnp.pad(value, [(0, 0), (0, -length % width)] + [(0, 0)] * (value.ndim - 2))
        return jnp.swapaxes(value.reshape(rows, -1, width, *value.shape[2:]), 0, 1)

    nll_CBW = jax.lax.map(chunk_nll, (split(hidden_BTD), split(y_BT)))
    return jnp.swapaxes(nll_CBW, 0, 1).reshape(rows, -1)[:, :length]


def table_nll(logits_VV: jax.Array, counts_VV: jax.Array) -> jax.Array:
    """The loss of a bigram model from the counts alone; row x of `logits_VV` holds the logits after symbol x.

    Identical pairs have identical loss, so it is computed once per pair and weighted by the count:

        mean over pairs of nll(x, y)  =  sum over x, y of counts[x, y] * nll(x, y) / sum of counts

    The count table is a sufficient statistic: loss and gradient need nothing else from the data, whatever its size.
    """
    chex.assert_equal_shape([logits_VV, counts_VV])
    counts_VV = counts_VV.astype(jnp.float32)  # their sum may be past int32
    nll_VV = -jax.nn.log_softmax(logits_VV)
    return jnp.where(counts_VV > 0, counts_VV * nll_VV, 0).sum() / jnp.maximum(counts_VV.sum(), 1)


class Quality(NamedTuple):
    """A loss in the units that people use."""

    nats: float  # per token
    bits: float  # per token: nats / ln 2
    perplexity: float  # exp(nats): as uncertain as a fair choice among this many symbols
    tokens: int  # how many were predicted


def quality(total_nats: float, tokens: int) -> Quality:
    """The loss of `tokens` tokens whose negative log-likelihoods sum to `total_nats`."""
    nats = float(total_nats) / int(tokens)
    return Quality(nats, nats / math.log(2), math.exp(nats) if nats < 700 else math.inf, int(tokens))


def evaluate(model: Model, params: Params, tokens: Tokens) -> Quality:
    """The exact loss over a data set: every token is scored once, and the sum over lines is in float64.

    Raises:
      InputError: as for `longest_line`.
    """
    return quality(line_nll(model, params, tokens).sum(), np.sum(tokens.length_N))


def bits_per_byte(nats: float, tokens: Tokens, vocab: Vocab) -> float:
    """A loss in nats per byte pair, over these lines, as bits for each byte of text and each line end.

    Between vocabularies, losses per token cannot be compared: the longer the tokens, the higher the loss.
    """
    return nats / math.log(2) * float(np.sum(tokens.length_N, dtype=np.int64)) / count_bytes(tokens, vocab)


def line_nll(model: Model, params: Params, tokens: Tokens) -> np.ndarray:
    """(N,) float64: the nats of each whole line with its end mark; inf if the model gives it probability 0.

    Raises:
      InputError: as for `longest_line`.
    """
    nll_M, length_N = stream_nll(model, params, tokens), np.asarray(tokens.length_N, np.int64)
    return np.add.reduceat(nll_M, np.cumsum(length_N) - length_N, dtype=np.float64)


def stream_nll(model: Model, params: Params, tokens: Tokens) -> np.ndarray:
    """(M,) float32: the nats of each predicted token, line after line.

    Raises:
      InputError: as for `longest_line`.
    """
    width, length_N = longest_line(model, tokens), np.asarray(tokens.length_N, np.int64)
    first_N, nll_M = np.cumsum(length_N) - length_N, np.empty(length_N.sum(), np.float32)
    layout = layout_of(params)
    for segment_BT, position_BT in _packings(tokens.length_N, width, model, layout.devices):
        x_BT, y_BT, mask_BT = batch(tokens, segment_BT, position_BT)
        rows = layout.put_rows((np.int32(x_BT), np.int32(y_BT)))
        nll_BT = fetch(_batch_nll(model, params, *rows, layout))
        nll_M[(first_N[segment_BT] + position_BT)[mask_BT]] = nll_BT[mask_BT]
    return nll_M


def longest_line(model: Model, tokens: Tokens) -> int:
    """The length of the longest line, in tokens with its end mark.

    Raises:
      InputError: there are no lines, or the model cannot read one that long.
    """
    require(len(tokens.length_N) > 0, "there are no lines to score")
    longest = int(np.max(tokens.length_N))
    require_block(model, longest)
    return longest


def _packings(length_N: np.ndarray, width: int, model: Model, devices: int = 1) -> Iterator[Packing]:
    """All lines, packed into batches whose number of rows is a power of two or the largest that memory allows.

    Data sets of similar size then share a compiled program. On many devices it is rounded up to a multiple of them.
    """
    at_once = min(BATCH_TOKENS, BATCH_LOGITS // model.vocab) // getattr(model.config, "networks", 1)
    max_rows = max(1, at_once // width)
    chunk_N = np.cumsum(length_N, dtype=np.int64) // PACK_TOKENS
    for line_N in np.split(np.arange(len(length_N)), np.flatnonzero(np.diff(chunk_N)) + 1):
        segment_BT, position_BT = pack(length_N[line_N], width)
        rows = min(max_rows, 2 ** (len(segment_BT) - 1).bit_length())
        rows += -rows % devices
        empty = ((0, -len(segment_BT) % rows), (0, 0))
        segment_BT = line_N[np.pad(segment_BT, empty)]
        position_BT = np.pad(position_BT, empty, constant_values=width)  # past the end of any line: padding
        for first in range(0, len(segment_BT), rows):
            yield Packing(segment_BT[first : first + rows], position_BT[first : first + rows])


@partial(jax.jit, static_argnums=(0, 4))
def _batch_nll(model: Model, params: Params, x_BT: jax.Array, y_BT: jax.Array, layout: Layout) -> jax.Array:
    return layout.by_rows(partial(batch_nll, model), params, x_BT, y_BT)
