"""The one interface that every model has, and the adapters that write one of its two forms from the other.

Letters in names are shapes, here and everywhere: B batch, T time, V vocabulary, D embedding, H hidden, N heads,
K head width, L layers, R window, S seeds. `logits_BTV` is a (batch, time, vocabulary) array.

Three laws hold for every model:

- *causality*: `apply(params, x)[:, t]` depends on `x[:, : t + 1]` only;
- *two forms, one function*: scanning `step` over a row gives what `apply` gives;
- *the mark starts a line*: what stands before a mark counts for nothing from there on. So lines may lie end to end in
  one row, to learn from and to be made. A row itself begins with the mark.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from makemore_jax.data import MARK

Params = Any  # nested dicts of arrays, layers that repeat in a list
Cache = Any  # a pytree with a leading batch axis: what a sequence must remember


class Model(NamedTuple):
    """A language model as four pure functions. Its logits may be log-probabilities: softmax leaves those alone."""

    init: Callable  # (key)                -> params
    apply: Callable  # (params, x_BT)       -> logits_BTV          every position at once, for training
    init_cache: Callable  # (params, batch)      -> cache               what a sequence must remember
    step: Callable  # (params, cache, x_B) -> logits_BV, cache    one token at a time, for sampling


def size(params: Params) -> int:
    """How many numbers the parameters are; of shapes alone, too (`jax.eval_shape`)."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def anew(x_B: jax.Array, fresh: Cache, cache: Cache) -> Cache:
    """`cache`, but `fresh` in the rows where x is the mark."""

    def choose(fresh: jax.Array, held: jax.Array) -> jax.Array:
        return jnp.where((x_B == MARK).reshape(-1, *(1,) * (held.ndim - 1)), fresh, held)

    return jax.tree.map(choose, fresh, cache)


def positions(x_BT: jax.Array) -> jax.Array:
    """(B, T) how far into its line each token stands: 0 for the mark, 1 for what follows it."""
    t_T = jnp.arange(x_BT.shape[1])
    return t_T - jax.lax.cummax(jnp.where(x_BT == MARK, t_T, 0), axis=1)


def lag(value: jax.Array, steps: int, t_BT: jax.Array, blank: float = 0) -> jax.Array:
    """(B, T, ...) `value` as it was so many steps before; `blank` where the line had not begun (`t_BT`: positions)."""
    shifted = jnp.pad(value, [(0, 0), (steps, 0)] + [(0, 0)] * (value.ndim - 2))[:, : value.shape[1]]
    return jnp.where((t_BT >= steps).reshape(*t_BT.shape, *(1,) * (value.ndim - 2)), shifted, blank)


def scan_step(init_cache: Callable, step: Callable) -> Callable:
    """`apply` of a recurrent model: its `step`, scanned along time."""

    def apply(params: Params, x_BT: jax.Array) -> jax.Array:
        def body(cache, x_B):
            logits_BV, cache = step(params, cache, x_B)
            return cache, logits_BV

        _, logits_TBV = jax.lax.scan(body, init_cache(params, x_BT.shape[0]), x_BT.T)
        return jnp.swapaxes(logits_TBV, 0, 1)

    return apply


def with_inner(forward: Callable) -> Callable:
    """`apply` of a `forward` that returns logits and a dict of inner values, such as attention maps or states.

    `apply(params, x)` gives the logits; `apply(params, x, inner=True)` both. What is not asked for, XLA leaves out.
    """

    def apply(params: Params, x_BT: jax.Array, inner: bool = False):
        logits_BTV, values = forward(params, x_BT)
        return (logits_BTV, values) if inner else logits_BTV

    return apply


def step_window(apply: Callable, window: int) -> tuple[Callable, Callable]:
    """`init_cache` and `step` of a model whose logits depend on the last `window` tokens: keep just those.

    Of a line that is over `apply` sees nothing, so nothing has to be cleared.
    """

    def init_cache(params: Params, batch: int) -> Cache:
        return jnp.full((batch, window), MARK, jnp.int32)

    def step(params: Params, cache_BR: Cache, x_B: jax.Array) -> tuple[jax.Array, Cache]:
        cache_BR = jnp.concatenate([cache_BR[:, 1:], x_B[:, None]], axis=1)
        return apply(params, cache_BR)[:, -1], cache_BR

    return init_cache, step


def step_prefix(apply: Callable, length: int) -> tuple[Callable, Callable]:
    """`init_cache` and `step` of any causal model, by running the whole prefix again at each token.

    Good for at most `length` tokens. Slow and plainly right: the oracle that the fast forms are tested against.
    """

    def init_cache(params: Params, batch: int) -> Cache:
        return jnp.zeros((batch, length), jnp.int32), jnp.zeros((batch,), jnp.int32)

    def step(params: Params, cache: Cache, x_B: jax.Array) -> tuple[jax.Array, Cache]:
        x_BT, t_B = cache[0], anew(x_B, 0, cache[1])
        row_B = jnp.arange(x_B.shape[0])
        x_BT = x_BT.at[row_B, t_B].set(x_B)
        return apply(params, x_BT)[row_B, t_B], (x_BT, t_B + 1)

    return init_cache, step
