"""Evaluate a model: its exact loss over a data set, with every token and end mark scored once."""

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import jax
import numpy as np

from makemore_jax.data.batches import Packing, gather, pack
from makemore_jax.data.tokens import Tokens, count_bytes, distinct
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import require, require_kinds
from makemore_jax.inference.trained import Trained
from makemore_jax.models.interface import Model, Params, require_context
from makemore_jax.models.likelihood import batch_nll

BATCH_TOKENS = 2**16  # largest evaluation batch: large enough to fill the cores, small enough for any machine
BATCH_LOGITS = 2**23  # the same limit in logits, for large vocabularies
ROUNDING = 1e-6  # the rounding error of a sum of float32 probabilities
PACK_TOKENS = 2**20  # lines are packed this many tokens at a time, so that memory does not grow with the data


class ScoreBatch(Protocol):
    """Return the nats of each token of a batch, (B, T), on the host; `distributed.mesh` has one for many devices."""

    def __call__(self, model: Model, params: Params, x_BT: np.ndarray, y_BT: np.ndarray, /) -> np.ndarray: ...


def on_one_device(model: Model, params: Params, x_BT: np.ndarray, y_BT: np.ndarray) -> np.ndarray:
    """Run `batch_nll`, compiled, on one device."""
    return jax.device_get(_batch_nll(model, params, *jax.device_put((x_BT, y_BT))))


_batch_nll = jax.jit(batch_nll, static_argnums=0)


class MeanLoss(NamedTuple):
    """A loss in several units."""

    nats: float  # per token
    bits: float  # per token: nats / ln 2
    perplexity: float  # exp(nats): as uncertain as a fair choice among this many symbols
    tokens: int  # the number of predicted tokens


def mean_loss(total_nats: float, tokens: int) -> MeanLoss:
    """Return the loss of `tokens` tokens whose negative log-likelihoods sum to `total_nats`."""
    nats = float(total_nats) / int(tokens)
    return MeanLoss(nats, nats / math.log(2), math.exp(nats) if nats < 700 else math.inf, int(tokens))


def exact_loss(model: Model, params: Params, tokens: Tokens, score_batch: ScoreBatch = on_one_device) -> MeanLoss:
    """Compute the exact loss over a data set: every token is scored once, and the sum over lines is in float64."""
    return mean_loss(line_nll(model, params, tokens, score_batch).sum(), np.sum(tokens.length_N))


def standard_error(nats_N: np.ndarray, length_N: np.ndarray) -> float:
    """Return the standard error of a loss per token that comes from the test lines being a sample.

    Lines are independent, but the tokens of a line are not. The loss is a ratio of sums over lines, so (Cochran 1977,
    "Sampling Techniques", chapter 6, for many lines)

        loss = sum_n nats_n / sum_n length_n,    error = sqrt(sum_n (nats_n - loss * length_n) ** 2) / sum_n length_n.

    Args:
      nats_N: the nats of each line, from `line_nll`.
      length_N: the length of each line in tokens, with its end mark.
    """
    nats_N, length_N = np.asarray(nats_N, np.float64), np.asarray(length_N, np.float64)
    residual_N = nats_N - nats_N.sum() / length_N.sum() * length_N
    return float(np.sqrt(np.sum(residual_N**2)) / length_N.sum())


def bits_per_byte(nats: float, tokens: Tokens, vocab: Vocab) -> float:
    """Convert a loss over these lines from nats per byte pair to bits per byte, with one byte for each line end.

    Losses per token cannot be compared between vocabularies, because longer tokens have higher losses.
    """
    return nats / math.log(2) * float(np.sum(tokens.length_N, dtype=np.int64)) / count_bytes(tokens, vocab)


def line_nll(model: Model, params: Params, tokens: Tokens, score_batch: ScoreBatch = on_one_device) -> np.ndarray:
    """Return (N,) float64 nats of each line with its end mark; inf if the model gives the line probability 0."""
    nll_M, length_N = stream_nll(model, params, tokens, score_batch), np.asarray(tokens.length_N, np.int64)
    return np.add.reduceat(nll_M, np.cumsum(length_N) - length_N, dtype=np.float64)


def stream_nll(model: Model, params: Params, tokens: Tokens, score_batch: ScoreBatch = on_one_device) -> np.ndarray:
    """Return (M,) float32 nats of each predicted token, line after line."""
    width, length_N = longest_line(model, tokens), np.asarray(tokens.length_N, np.int64)
    first_N, nll_M = np.cumsum(length_N) - length_N, np.empty(length_N.sum(), np.float32)
    for segment_BT, position_BT in _packings(tokens.length_N, width, model):
        x_BT, y_BT, mask_BT = gather(tokens, segment_BT, position_BT)
        nll_BT = score_batch(model, params, np.asarray(x_BT, np.int32), np.asarray(y_BT, np.int32))
        nll_M[(first_N[segment_BT] + position_BT)[mask_BT]] = nll_BT[mask_BT]
    return nll_M


def longest_line(model: Model, tokens: Tokens) -> int:
    """Return the length of the longest line, in tokens with its end mark."""
    require(len(tokens.length_N) > 0, "there are no lines to score; give at least one")
    longest = int(np.max(tokens.length_N))
    require_context(model, longest)
    return longest


def _packings(length_N: np.ndarray, width: int, model: Model) -> Iterator[Packing]:
    """Pack all lines into batches; the number of rows of each is a power of two or the largest that memory allows.

    Data sets of similar size thus share a compiled program.
    """
    at_once = min(BATCH_TOKENS, BATCH_LOGITS // model.vocab) // getattr(model.config, "networks", 1)
    max_rows = max(1, at_once // width)
    chunk_N = np.cumsum(length_N, dtype=np.int64) // PACK_TOKENS
    for line_N in np.split(np.arange(len(length_N)), np.flatnonzero(np.diff(chunk_N)) + 1):
        segment_BT, position_BT = pack(length_N[line_N], width)
        rows = min(max_rows, 2 ** (len(segment_BT) - 1).bit_length())
        empty = ((0, -len(segment_BT) % rows), (0, 0))
        segment_BT = line_N[np.pad(segment_BT, empty)]
        position_BT = np.pad(position_BT, empty, constant_values=width)  # padding: past the end of any line
        for first in range(0, len(segment_BT), rows):
            yield Packing(segment_BT[first : first + rows], position_BT[first : first + rows])


def evaluate(trained: Trained, tokens: Tokens, excluding: Tokens | None = None) -> MeanLoss:
    """Compute the exact loss over a data set, such as `corpus.tokens.test`; every token is scored once.

    `excluding` holds lines that are known not to occur in it, such as `corpus.tokens.train` if equal lines are always
    in the same split. Their probability is given to all other lines, P(line) / (1 - `mass`). The loss is inf if one of
    them does occur, or if no probability is left for other lines.

    Raises:
      InputError: there are no lines, or one is longer than the model can read.
    """
    require_kinds(trained=trained, tokens=tokens)
    quality = exact_loss(trained.model, trained.params, tokens)
    if excluding is None:
        return quality
    excluded = mass(trained, excluding)
    if 1 - excluded < ROUNDING or distinct(tokens).keys() & distinct(excluding).keys():
        return mean_loss(math.inf, quality.tokens)
    gain = -math.log1p(-excluded)  # nats per line
    return mean_loss(quality.nats * quality.tokens - gain * len(tokens.length_N), quality.tokens)


def mass(trained: Trained, tokens: Tokens) -> float:
    """Compute the probability that a sample is one of these lines, such as `corpus.tokens.train`; repeats count once.

    Raises:
      InputError: there are no lines, or one is longer than the model can read.
    """
    require_kinds(trained=trained, tokens=tokens)
    line_N = list(distinct(tokens).values())
    once = Tokens(tokens.stream_M, tokens.start_N[line_N], tokens.length_N[line_N])
    return min(1.0, float(np.exp(-line_nll(trained.model, trained.params, once)).sum()))  # rounding may take it above 1
