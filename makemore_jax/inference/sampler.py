"""One sampler for every model.

It knows token ids only. Starting from the mark, it asks the model's `step` for the logits of the next symbol, draws one
with an explicit key, feeds it back, and ends the line at the mark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.vocab import MARK
from makemore_jax.errors import require, require_float, require_positive
from makemore_jax.models.interface import Cache, Model, Params, require_context

# (lines, slots): a request is padded to this many lines, decoded this many at a time. Three programs serve all requests
# up to 128 lines. With few slots, the caches of keys, values and states fit into the CPU's own cache.
BUCKETS = ((1, 1), (32, 8), (128, 48))


@dataclass(frozen=True)
class SamplingParams:
    """How to draw from the model's probabilities."""

    temperature: float = 1.0
    """Divide the logits by this: below 1 is more conservative, above 1 more varied, 0 always takes the most likely."""
    top_k: int | None = None
    """Draw only from the K most likely symbols."""
    top_p: float = 1.0
    """Nucleus sampling: draw only from the fewest most likely symbols whose probabilities sum to at least this."""

    def __post_init__(self):
        require_float("temperature", self.temperature)
        require_positive(self, "top_k")
        require(0 < self.top_p <= 1, f"`top_p` is {self.top_p}; it must be above 0 and at most 1")

    @property
    def arrays(self) -> tuple:
        """temperature, top_k, top_p as arrays, so that other values do not compile again."""
        top_k = min(self.top_k or np.inf, np.iinfo(np.int32).max)
        return np.float32(self.temperature), np.int32(top_k), np.float32(self.top_p)


class Samples(NamedTuple):
    """B drawn lines of at most T tokens."""

    token_BT: np.ndarray  # int32: the prefix, the drawn symbols, and marks to the end
    log_prob_B: np.ndarray  # nats: the model's own log P of the line, with its prefix and, if it ended, its end mark
    ended_B: np.ndarray  # bool: the line ended with a mark; otherwise it was cut at T tokens


def filter_logits(logits_V: jax.Array, temperature: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
    """(V,) logits to draw from: divided by `temperature`, then `top_k`, then `top_p`; -inf where filtered out.

    Ties go to the lower symbol. Nucleus sampling: Holtzman et al. 2020, arXiv:1904.09751.
    """
    greedy = temperature == 0  # the limit of a low temperature: the most likely symbol alone
    scaled_V = (logits_V - logits_V.max()) / jnp.where(greedy, 1, temperature)
    order_V, rank_V = jnp.argsort(-scaled_V, stable=True), jnp.arange(len(logits_V))
    sorted_V = jnp.where(rank_V < jnp.where(greedy, 1, top_k), scaled_V[order_V], -jnp.inf)
    prob_V = jax.nn.softmax(sorted_V)
    in_nucleus_V = (jnp.cumsum(prob_V) - prob_V < top_p) | (rank_V == 0)
    sorted_V = jnp.where(in_nucleus_V | (top_p >= 1), sorted_V, -jnp.inf)  # all at 1, whatever the rounding
    return jnp.zeros_like(sorted_V).at[order_V].set(sorted_V)


def inverse_cdf(uniform_B: jax.Array, logits_BV: jax.Array) -> jax.Array:
    """(B,) the first symbol whose cumulative probability exceeds `uniform_B`, which is in [0, 1).

    Inverse-CDF sampling: one random number per draw, and never a symbol of probability zero.
    """
    prob_BV = jax.nn.softmax(logits_BV)
    # XLA sums long rows in blocks: the sums may move by a last bit even where the probability is zero.
    sum_BV = jnp.where(prob_BV > 0, jnp.cumsum(prob_BV, axis=-1), 0)
    return (sum_BV > uniform_B[:, None] * sum_BV.max(-1, keepdims=True)).argmax(-1)


def sample_tokens(
    key: jax.Array,
    model: Model,
    params: Params,
    prefixes: Sequence[Sequence[int]],
    max_length: int,
    sampling: SamplingParams = SamplingParams(),
    allowed: np.ndarray | None = None,
    first: int = 0,
) -> Samples:
    """Continue each prefix (token ids; empty for a new line) to a whole line of at most `max_length` tokens.

    `allowed` (bool) restricts what is drawn: (V,) everywhere, or (max_length, V) at each position of the line.

    Continuous batching: up to 48 lines are decoded in parallel, and when one ends, its slot starts the next. Line b
    draws with `fold_in(key, first + b)`, so it does not depend on how many are drawn, nor on how they are divided among
    calls. Prefixes and counts are padded: neither a longer prefix nor one line more compiles anything.
    """
    _check(model, prefixes, max_length)
    allowed = np.ones(1, bool) if allowed is None else np.asarray(allowed)
    require(bool(np.all(np.any(allowed, -1))), "nothing is allowed at some position of a sample")
    count = len(prefixes)
    larger = 2 ** (count - 1).bit_length(), BUCKETS[-1][1]
    rows, slots = next((bucket for bucket in BUCKETS if count <= bucket[0]), larger)
    prefix_RT = np.zeros((rows, max_length), np.int32)
    for row, prefix in zip(prefix_RT, prefixes, strict=False):
        row[: len(prefix)] = prefix
    request = Request(prefix_RT, np.int32(count), np.int32(first), np.atleast_2d(allowed), *sampling.arrays)
    samples = jax.device_get(_sample(key, model, params, request, slots))
    return Samples(*(leaf[:count] for leaf in samples))


def _check(model: Model, prefixes: Sequence[Sequence[int]], max_length: int) -> None:
    require(len(prefixes) > 0, "no samples to draw; ask for at least 1")
    require_context(model, max_length)
    longest = max(map(len, prefixes))
    require(
        longest < max_length,
        f"a prefix of {longest} symbols leaves no room to continue in lines of {max_length}; shorten the prefix",
    )
    require(all(np.all(np.asarray(prefix) > 0) for prefix in prefixes), "a prefix holds the mark, or no token at all")


class Request(NamedTuple):
    """R lines to draw, of T tokens; padded, so that requests of about one size share a compiled program."""

    prefix_RT: jax.Array  # int32: the prefix, then marks
    count: jax.Array  # how many of the R are wanted
    first: jax.Array  # the number of the first among all lines that the key draws
    allowed_TV: jax.Array  # bool: what may be drawn at each position; the last row holds for those after it
    temperature: jax.Array
    top_k: jax.Array
    top_p: jax.Array


class Decoding(NamedTuple):
    """The state of the decoding loop: each of B slots is at position t of one of the R lines."""

    cache: Cache  # the model's
    x_B: jax.Array  # the token to read
    row_B: jax.Array  # the line that it belongs to; R if the slot is idle
    t_B: jax.Array  # the position of the token to draw
    started: jax.Array  # how many lines were started
    samples: Samples  # of R lines, as far as they are drawn


@partial(jax.jit, static_argnames=("model", "slots"))
def _sample(key: jax.Array, model: Model, params: Params, request: Request, slots: int) -> Samples:
    rows, max_length = request.prefix_RT.shape
    # All random numbers before the loop: faster than in each step.
    uniform_RT = jax.vmap(lambda row: line_uniforms(key, row, max_length))(request.first + jnp.arange(rows))

    def step(state: Decoding) -> Decoding:
        logits_BV, cache = model.step(params, state.cache, state.x_B)
        y_B = _next_token(request, uniform_RT, state, logits_BV)
        samples = _record(state, y_B, logits_BV)
        over_B = (y_B == MARK) | (state.t_B + 1 == max_length)
        row_B = jnp.where(over_B, state.started + jnp.cumsum(over_B) - 1, state.row_B)
        return Decoding(
            cache,
            x_B=jnp.where(over_B, MARK, y_B),
            row_B=jnp.where(row_B < request.count, row_B, rows),
            t_B=jnp.where(over_B, 0, state.t_B + 1),
            started=state.started + over_B.sum(),
            samples=samples,
        )

    zero_B, row_B = jnp.zeros(slots, jnp.int32), jnp.arange(slots)
    samples = Samples(jnp.zeros_like(request.prefix_RT), jnp.zeros(rows), jnp.zeros(rows, bool))
    state = Decoding(model.init_cache(params, slots), zero_B + MARK, row_B, zero_B, slots, samples)
    return jax.lax.while_loop(lambda state: (state.row_B < request.count).any(), step, state).samples


@partial(jax.jit, static_argnames="length")
def line_uniforms(key: jax.Array, row: jax.Array, length: int) -> jax.Array:
    """(T,) the random numbers in [0, 1) with which `sample_tokens` draws line `row`, position by position."""
    key = jax.random.fold_in(key, row)
    return jax.vmap(lambda t: jax.random.uniform(jax.random.fold_in(key, t)))(jnp.arange(length))


def _next_token(request: Request, uniform_RT: jax.Array, state: Decoding, logits_BV: jax.Array) -> jax.Array:
    """(B,) the prefix's token where there is one, otherwise a drawn one."""
    prefix_RT, _, _, allowed_TV, *settings = request
    temperature, top_k, top_p = settings
    unfiltered = (temperature > 0) & (top_k >= logits_BV.shape[-1]) & (top_p >= 1)
    drawn_BV = jax.lax.cond(
        unfiltered,  # spare the sort: it takes longer than a small model
        lambda logits_BV: logits_BV / temperature,
        lambda logits_BV: jax.vmap(filter_logits, (0, None, None, None))(logits_BV, *settings),
        jnp.where(allowed_TV[jnp.minimum(state.t_B, len(allowed_TV) - 1)], logits_BV, -jnp.inf),
    )
    cell_B = state.row_B, state.t_B
    return jnp.where(prefix_RT[cell_B] != MARK, prefix_RT[cell_B], inverse_cdf(uniform_RT[cell_B], drawn_BV))


def _record(state: Decoding, y_B: jax.Array, logits_BV: jax.Array) -> Samples:
    """The samples with the new token of each slot; idle slots write nothing."""
    log_prob_B = jnp.take_along_axis(jax.nn.log_softmax(logits_BV), y_B[:, None], axis=1)[:, 0]
    token_RT, log_prob_R, ended_R = state.samples
    return Samples(
        token_RT.at[state.row_B, state.t_B].set(y_B, mode="drop"),
        log_prob_R.at[state.row_B].add(log_prob_B, mode="drop"),
        ended_R.at[state.row_B].max(y_B == MARK, mode="drop"),
    )
