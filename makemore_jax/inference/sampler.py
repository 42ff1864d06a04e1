"""The sampler for all models.

It handles tokens only. Starting from the mark, it asks the model's `step` for the logits of the next symbol, draws one
with an explicit key, feeds it back, and ends the line at the mark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.batches import Array
from makemore_jax.data.vocab import MARK
from makemore_jax.errors import require, require_float, require_positive
from makemore_jax.models.interface import Cache, Model, Params, require_context

# (lines, slots): a request is padded to this many lines, of which as many as there are slots are decoded at a time.
# Three programs serve all requests of up to 128 lines. With few slots, the caches of models fit into the CPU's cache.
BUCKETS = ((1, 1), (32, 8), (128, 48))


@dataclass(frozen=True)
class SamplingParams:
    """Settings for drawing from the model's probabilities."""

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
    def arrays(self) -> tuple[np.float32, np.int32, np.float32]:
        """The temperature, top_k and top_p as arrays, so that new values need no compilation."""
        top_k = min(self.top_k or np.inf, np.iinfo(np.int32).max)
        return np.float32(self.temperature), np.int32(top_k), np.float32(self.top_p)


class Samples(NamedTuple):
    """B drawn lines of at most T tokens."""

    token_BT: Array  # int32: the prefix, the drawn symbols, and marks to the end
    log_prob_B: Array  # nats: the model's own log P of the line, with its prefix and, if it ended, its end mark
    ended_B: Array  # bool: the line ended with a mark; otherwise it was cut at T tokens


def filter_logits(logits_V: jax.Array, temperature: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
    """Return (V,) logits to draw from: divided by `temperature`, then -inf where `top_k` or `top_p` filters them out.

    Ties go to the lower symbol. Nucleus sampling: Holtzman et al. 2020, arXiv:1904.09751.
    """
    greedy = temperature == 0  # the limit of low temperatures: only the most likely symbol
    scaled_V = (logits_V - logits_V.max()) / jnp.where(greedy, 1, temperature)
    order_V, rank_V = jnp.argsort(-scaled_V, stable=True), jnp.arange(len(logits_V))
    sorted_V = jnp.where(rank_V < jnp.where(greedy, 1, top_k), scaled_V[order_V], -jnp.inf)
    prob_V = jax.nn.softmax(sorted_V)
    in_nucleus_V = (jnp.cumsum(prob_V) - prob_V < top_p) | (rank_V == 0)
    sorted_V = jnp.where(in_nucleus_V | (top_p >= 1), sorted_V, -jnp.inf)  # at 1 all symbols, whatever the rounding
    return jnp.zeros_like(sorted_V).at[order_V].set(sorted_V)


def inverse_cdf(uniform_B: jax.Array, logits_BV: jax.Array) -> jax.Array:
    """Return (B,) the first symbol whose cumulative probability exceeds `uniform_B`, which is in [0, 1).

    This is inverse-CDF sampling: it uses one random number per draw, and never draws a symbol of probability zero.
    """
    prob_BV = jax.nn.softmax(logits_BV)
    # XLA sums long rows in blocks, so a sum may change in its last bit even where the probability is zero.
    sum_BV = jnp.where(prob_BV > 0, jnp.cumsum(prob_BV, axis=-1), 0)
    return (sum_BV > uniform_B[:, None] * sum_BV.max(-1, keepdims=True)).argmax(-1).astype(jnp.int32)


def sample_tokens(
    key: jax.Array,
    model: Model,
    params: Params,
    prefixes: Sequence[Sequence[int] | np.ndarray],
    max_length: int,
    sampling: SamplingParams = SamplingParams(),
    allowed: np.ndarray | None = None,
    first: int = 0,
) -> Samples:
    """Continue each prefix (tokens; empty for a new line) to a whole line of at most `max_length` tokens.

    `allowed` (bool) restricts the symbols to draw: (V,) everywhere, or (max_length, V) at each position of the line.

    Batching is continuous: up to 48 lines are decoded in parallel, and when one ends, the next starts in its slot. Line
    b draws with `fold_in(key, first + b)`, so it does not depend on the number of lines, nor on how they are divided
    among calls. Prefixes and counts are padded, so that a longer prefix or an additional line needs no compilation.
    """
    _check(model, prefixes, max_length)
    allowed = np.ones(1, bool) if allowed is None else np.asarray(allowed)
    require(bool(np.all(np.any(allowed, -1))), "what is allowed leaves no symbol at some position; allow one")
    count = len(prefixes)
    larger = 2 ** (count - 1).bit_length(), BUCKETS[-1][1]
    rows, slots = next((bucket for bucket in BUCKETS if count <= bucket[0]), larger)
    prefix_RT = np.zeros((rows, max_length), np.int32)
    for row, prefix in zip(prefix_RT, prefixes, strict=False):
        row[: len(prefix)] = prefix
    numbers = np.int32(count), np.int32(first)
    request = jax.device_put(Request(prefix_RT, *numbers, np.atleast_2d(allowed), *sampling.arrays))
    samples = jax.device_get(_sample(key, model, params, request, slots))
    return Samples(*(leaf[:count] for leaf in samples))


def _check(model: Model, prefixes: Sequence[Sequence[int] | np.ndarray], max_length: int) -> None:
    require(len(prefixes) > 0, "there are no samples to draw; give at least 1 prefix")
    require_context(model, max_length)
    longest = max(map(len, prefixes))
    room = f"a prefix of {longest} symbols leaves no room to continue in lines of {max_length}; shorten the prefix"
    require(longest < max_length, room)
    require(all(np.all(np.asarray(prefix) > 0) for prefix in prefixes), "a prefix holds the mark or a negative number")


class Request(NamedTuple):
    """R lines of T tokens to draw, padded so that requests of similar size share a compiled program."""

    prefix_RT: Array  # int32: the prefix, then marks
    count: Array  # how many of the R lines are not padding
    first: Array  # the number of the first among all lines that the key draws
    allowed_TV: Array  # bool: the symbols allowed at each position; the last row applies to all later positions
    temperature: Array
    top_k: Array
    top_p: Array


class Decoding(NamedTuple):
    """The state of the decoding loop, in which each of B slots is at position t of one of R lines."""

    cache: Cache  # the model's
    x_B: jax.Array  # the token to read
    row_B: jax.Array  # the line in the slot; R if the slot is idle
    t_B: jax.Array  # the position of the token to draw
    started: jax.Array  # the number of lines started
    samples: Samples  # the R lines as drawn so far


@partial(jax.jit, static_argnames=("model", "slots"))
def _sample(key: jax.Array, model: Model, params: Params, request: Request, slots: int) -> Samples:
    rows, max_length = request.prefix_RT.shape
    # Drawing all random numbers before the loop is faster than drawing some in each step.
    uniform_RT = jax.vmap(lambda row: line_uniforms(key, row, max_length))(request.first + jnp.arange(rows))

    def step(state: Decoding) -> Decoding:
        logits_BV, cache = model.step(params, state.cache, state.x_B)
        y_B = _next_token(request, uniform_RT, state, logits_BV)
        samples = _record(state, y_B, logits_BV)
        over_B = (y_B == MARK) | (state.t_B + 1 == max_length)
        row_B = jnp.where(over_B, state.started + jnp.cumsum(over_B, dtype=jnp.int32) - 1, state.row_B)
        return Decoding(
            cache,
            x_B=jnp.where(over_B, MARK, y_B),
            row_B=jnp.where(row_B < request.count, row_B, rows),
            t_B=jnp.where(over_B, 0, state.t_B + 1),
            started=state.started + over_B.sum(dtype=jnp.int32),
            samples=samples,
        )

    zero_B, row_B = jnp.zeros(slots, jnp.int32), jnp.arange(slots, dtype=jnp.int32)
    samples = Samples(jnp.zeros_like(request.prefix_RT), jnp.zeros(rows), jnp.zeros(rows, bool))
    state = Decoding(model.init_cache(params, slots), zero_B + MARK, row_B, zero_B, jnp.int32(slots), samples)
    return jax.lax.while_loop(lambda state: (state.row_B < request.count).any(), step, state).samples


@partial(jax.jit, static_argnames="length")
def line_uniforms(key: jax.Array, row: jax.Array, length: int) -> jax.Array:
    """Return (T,) the random numbers in [0, 1) with which `sample_tokens` draws line `row`, one for each position."""
    key = jax.random.fold_in(key, row)
    return jax.vmap(lambda t: jax.random.uniform(jax.random.fold_in(key, t)))(jnp.arange(length))


def _next_token(request: Request, uniform_RT: jax.Array, state: Decoding, logits_BV: jax.Array) -> jax.Array:
    """Return (B,) the token of the prefix if there is one at this position, otherwise a drawn one."""
    prefix_RT, _, _, allowed_TV, *settings = request
    temperature, top_k, top_p = settings
    unfiltered = (temperature > 0) & (top_k >= logits_BV.shape[-1]) & (top_p >= 1)
    drawn_BV = jax.lax.cond(
        unfiltered,  # skip the sort, which takes longer than a small model
        lambda logits_BV: logits_BV / temperature,
        lambda logits_BV: jax.vmap(filter_logits, (0, None, None, None))(logits_BV, *settings),
        jnp.where(allowed_TV[jnp.minimum(state.t_B, len(allowed_TV) - 1)], logits_BV, -jnp.inf),
    )
    cell_B = state.row_B, state.t_B
    return jnp.where(prefix_RT[cell_B] != MARK, prefix_RT[cell_B], inverse_cdf(uniform_RT[cell_B], drawn_BV))


def _record(state: Decoding, y_B: jax.Array, logits_BV: jax.Array) -> Samples:
    """Add the new token of each slot to the samples; idle slots write nothing."""
    log_prob_B = jnp.take_along_axis(jax.nn.log_softmax(logits_BV), y_B[:, None], axis=1)[:, 0]
    token_RT, log_prob_R, ended_R = state.samples
    return Samples(
        token_RT.at[state.row_B, state.t_B].set(y_B, mode="drop"),
        log_prob_R.at[state.row_B].add(log_prob_B, mode="drop"),
        ended_R.at[state.row_B].max(y_B == MARK, mode="drop"),
    )
