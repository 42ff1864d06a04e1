"""One sampler for every model, and a report of how new its samples are.

The sampler knows token ids only. It starts from the mark, asks the model's `step` for the next symbol's logits, draws
one with an explicit key, feeds it back, and stops at the mark.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data import MARK
from makemore_jax.errors import check_float, require
from makemore_jax.model import Model, Params


@dataclass(frozen=True)
class Sampling:
    """How to draw from the model's probabilities."""

    temperature: float = 1.0
    """Divide logits by this: below 1 plays safe, above 1 is bold, 0 always takes the likeliest symbol."""
    top_k: int | None = None
    """Draw from the K likeliest symbols only."""
    top_p: float = 1.0
    """Draw from the fewest likeliest symbols that hold this much probability (nucleus sampling)."""

    def __post_init__(self):
        check_float("--temperature", self.temperature)
        require(self.top_k is None or self.top_k > 0, f"--top-k is {self.top_k}; it must be at least 1")
        require(0 < self.top_p <= 1, f"--top-p is {self.top_p}; it must be above 0 and at most 1")


SLOTS = 128  # lines at a time: their caches fit the processor's, and the matrices are large enough


class Samples(NamedTuple):
    """B drawn lines, T = the longest allowed."""

    token_BT: jax.Array  # int32: the prefix, what was drawn, and marks to the end
    log_prob_B: jax.Array  # nats: the model's own log P of the line, prefix and (where it came) end mark included
    ended_B: jax.Array  # bool: the mark came; otherwise the line was cut at T tokens


def restrict(logits_V: jax.Array, temperature: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
    """(V,) logits to draw from: `temperature` first, then `top_k`, then `top_p` of what is left; -inf is ruled out.

    Among equals the lower symbol comes first. Nucleus sampling: Holtzman et al. 2020, arXiv:1904.09751.
    """
    greedy = temperature == 0  # the limit of a low temperature is the likeliest symbol alone
    scaled_V = (logits_V - logits_V.max()) / jnp.where(greedy, 1, temperature)
    order_V = jnp.argsort(-scaled_V, stable=True)
    sorted_V = scaled_V[order_V]
    sorted_V = jnp.where(jnp.arange(len(sorted_V)) < jnp.where(greedy, 1, top_k), sorted_V, -jnp.inf)
    prob_V = jax.nn.softmax(sorted_V)
    before_V = jnp.cumsum(prob_V) - prob_V
    inside_V = (before_V < top_p) | (jnp.arange(len(sorted_V)) == 0)
    sorted_V = jnp.where(inside_V | (top_p >= 1), sorted_V, -jnp.inf)  # at 1 all of it, whatever the rounding
    return jnp.zeros_like(sorted_V).at[order_V].set(sorted_V)


def pick(uniform_B: jax.Array, logits_BV: jax.Array) -> jax.Array:
    """(B,) the first symbol by which more than `uniform_B`, in [0, 1), of the probability has come, V's in their order.

    That is the inverse of the distribution function, as fine as `uniform_B` is: one random number a draw, and never a
    symbol of probability zero.
    """
    prob_BV = jax.nn.softmax(logits_BV)
    # XLA adds up many terms in blocks: their sums may step a last bit up, or down, where the probability is zero.
    sum_BV = jnp.where(prob_BV > 0, jnp.cumsum(prob_BV, axis=-1), 0)
    return (sum_BV > uniform_B[:, None] * sum_BV.max(-1, keepdims=True)).argmax(-1)


@partial(jax.jit, static_argnames=("model", "max_length"))
def _sample(
    key, model, params, prefix_RP, length_R, count, temperature, top_k, top_p, allowed_TV, max_length
) -> Samples:
    """The first `count` of R lines, in B slots: whose line is over takes up the next."""
    total, slots = len(length_R), min(len(length_R), SLOTS)
    prefix_RT = jnp.pad(prefix_RP, ((0, 0), (0, max_length - prefix_RP.shape[1])))
    key_R = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(total))
    key_RT = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(key_R, jnp.arange(max_length))
    uniform_RT = jax.vmap(jax.vmap(jax.random.uniform))(key_RT)  # all at once, not each in its step: that is slower

    def narrow(logits_BV):
        return jax.vmap(restrict, (0, None, None, None))(logits_BV, temperature, top_k, top_p)

    def draw(row_B, t_B, logits_BV):
        every = (temperature > 0) & (top_k >= logits_BV.shape[-1]) & (top_p >= 1)  # the sort costs more than the model
        logits_BV = jax.lax.cond(every, lambda logits_BV: logits_BV / temperature, narrow, logits_BV)
        return pick(uniform_RT[row_B, t_B], logits_BV)

    def body(carry):
        cache, x_B, row_B, t_B, begun, (token_RT, log_prob_R, ended_R) = carry
        logits_BV, cache = model.step(params, cache, x_B)
        allowed_BV = allowed_TV[jnp.minimum(t_B, len(allowed_TV) - 1)]
        drawn_B = draw(row_B, t_B, jnp.where(allowed_BV, logits_BV, -jnp.inf))
        y_B = jnp.where(t_B < length_R[row_B], prefix_RT[row_B, t_B], drawn_B)
        nats_B = jnp.take_along_axis(jax.nn.log_softmax(logits_BV), y_B[:, None], axis=1)[:, 0]
        samples = Samples(
            token_RT.at[row_B, t_B].set(y_B, mode="drop"),
            log_prob_R.at[row_B].add(nats_B, mode="drop"),
            ended_R.at[row_B].max(y_B == MARK, mode="drop"),
        )
        over_B = (y_B == MARK) | (t_B + 1 == max_length)
        next_B = jnp.where(over_B, begun + jnp.cumsum(over_B) - 1, row_B)
        row_B = jnp.where(next_B < count, next_B, total)  # beyond the end: the slot is idle
        return cache, jnp.where(over_B, MARK, y_B), row_B, jnp.where(over_B, 0, t_B + 1), begun + over_B.sum(), samples

    row_B, zero_B = jnp.arange(slots), jnp.zeros(slots, jnp.int32)
    samples = Samples(prefix_RT * 0, jnp.zeros(total), jnp.zeros(total, bool))
    carry = model.init_cache(params, slots), zero_B + MARK, row_B, zero_B, slots, samples
    return jax.lax.while_loop(lambda carry: (carry[2] < count).any(), body, carry)[-1]


def sample(
    key: jax.Array,
    model: Model,
    params: Params,
    prefixes: Sequence[Sequence[int]],
    max_length: int,
    sampling: Sampling = Sampling(),
    allowed: np.ndarray | None = None,
) -> Samples:
    """Continue each prefix (token ids; empty for a fresh line) to a whole line of at most `max_length` tokens.

    `allowed`, bool, says what may be drawn: (V,) anywhere, or (max_length, V) at each position of the line.

    One jitted program works on up to `SLOTS` lines at a time, and a slot whose line is over takes up the next. Row b
    draws with `fold_in(key, b)`: however many rows are drawn, it is the same line.

    Raises:
      InputError: no rows, or a prefix of `max_length` tokens or more.
    """
    require(len(prefixes) > 0, "no samples to draw; ask for at least 1")
    length_B = np.array([len(prefix) for prefix in prefixes], np.int32)
    require(
        length_B.max() < max_length,
        f"a prefix of {length_B.max()} symbols leaves no room to go on: lines end at {max_length}; shorten the prefix",
    )
    require(all(np.all(np.asarray(prefix) > 0) for prefix in prefixes), "a prefix holds the mark, or no token at all")
    count = len(prefixes)
    total = count if count <= SLOTS else 2 ** (count - 1).bit_length()  # numbers of about one size share a program
    prefix_RP = np.zeros((total, length_B.max()), np.int32)
    for row, prefix in zip(prefix_RP, prefixes, strict=False):
        row[: len(prefix)] = prefix
    top_k = min(sampling.top_k or np.inf, np.iinfo(np.int32).max)
    if allowed is None:
        allowed = np.ones(1, bool)
    require(bool(np.all(np.any(allowed, -1))), "nothing is allowed at some position of a sample")
    allowed_TV = np.atleast_2d(allowed)
    controls = (jnp.float32(sampling.temperature), jnp.int32(top_k), jnp.float32(sampling.top_p))
    length_R = np.pad(length_B, (0, total - count))
    samples = _sample(key, model, params, prefix_RP, length_R, count, *controls, allowed_TV, max_length)
    return jax.tree.map(lambda leaf: leaf[:count], samples)


def novelty(samples: Sequence[str], train: Iterable[str], held_out: Iterable[str]) -> dict:
    """How many samples are in train, in held-out data (dev and test), new, and repeated among themselves.

    The yardstick: held-out lines are as good as train's, and the model has not seen them. `expected_in_train` is the
    hits on held-out lines, scaled by how many more distinct lines train has. Hits on train far above it are copying.
    """
    train, held_out = set(train), set(held_out)
    held_out -= train
    in_held_out = sum(text in held_out for text in samples)
    in_train = sum(text in train for text in samples)
    return {
        "samples": len(samples),
        "in_train": in_train,
        "in_held_out": in_held_out,
        "new": len(samples) - in_train - in_held_out,
        "repeated": len(samples) - len(set(samples)),
        "expected_in_train": round(in_held_out * len(train) / len(held_out), 1) if held_out else None,
    }


def longest_copy(line_T: Sequence[int], stream_M: np.ndarray) -> int:
    """The longest run of tokens of a line, its end mark left out, that stands somewhere in a token stream.

    For long lines, which are hardly ever copied whole.
    """
    text, line = (_as_text(ids) for ids in (stream_M, line_T))
    longest = 0
    for first in range(len(line)):
        while first + longest < len(line) and line[first : first + longest + 1] in text:
            longest += 1
    return longest


def _as_text(ids: Sequence[int]) -> str:
    """Each token as one character, so that a search for a run of tokens is a search in text."""
    return (np.asarray(ids, np.uint32) + 0x10000).tobytes().decode("utf-32-le")
