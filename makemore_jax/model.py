"""The one interface that every model has, and adapters that make one of its two forms from the other.

Letters in names are shapes, here and everywhere: B batch, T time, V vocabulary, D embedding, H hidden, N heads,
K head width, L layers, R window, S seeds. `logits_BTV` is a (batch, time, vocabulary) array.

Three laws hold for every model:

- *causality*: `apply(params, x)[:, t]` depends on `x[:, : t + 1]` only;
- *two forms, one function*: scanning `step` over a row gives what `apply` gives;
- *the mark starts a line*: after a mark, logits depend on nothing before it. Lines can therefore be packed end to end,
  in training batches and in the sampler. Every row begins with a mark.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from makemore_jax.data.vocab import MARK
from makemore_jax.errors import require
from makemore_jax.nn import recompute, sample_network

MAX_UNROLLED = 1000  # layers or other parts unrolled into the compiled program: with more, compiling takes minutes

Params = Any  # nested dicts of arrays; repeated layers are a list
Cache = Any  # a pytree whose leaves have a leading batch axis: what `step` remembers of each line


class Model(NamedTuple):
    """A language model: its configuration and four pure functions. Logits may also be log-probabilities.

    A model that ends in an output head also says where: then the loss never holds all logits of a large vocabulary.

    Builders are cached on the configuration, so that equal configurations give the same functions: jit compiles once
    per function, and would otherwise compile again for every model that is built.
    """

    config: Any  # a frozen dataclass with the sizes; `vocab`, and `block` where the length of a line is limited
    init: Callable  # (key)                -> params
    forward: Callable  # (params, x_BT)       -> logits_BTV, activations   every position at once, for training
    init_cache: Callable  # (params, batch)      -> cache
    step: Callable  # (params, cache, x_B) -> logits_BV, cache         one token at a time, for sampling
    hidden: Callable | None = None  # like `forward`, before the head: (params, x_BT) -> hidden_BTD, activations
    head: Callable | None = None  # (params, hidden_BTD) -> logits_BTV, each position by itself

    # activations: a dict of intermediate values, each an array with the batch axis first; {} if there are none.

    @property
    def apply(self) -> Callable:
        """(params, x_BT) -> logits_BTV: `forward` without the activations, which XLA then never computes."""
        return logits_only(self.forward)

    @property
    def vocab(self) -> int:
        """V: the number of symbols, the mark included."""
        return self.config.vocab

    @property
    def block(self) -> int | None:
        """The longest line that the model can read, in tokens with its end mark; None for any length."""
        return getattr(self.config, "block", None)


@cache
def logits_only(forward: Callable) -> Callable:
    """The `apply` of a `forward`; cached for the same reason as the builders."""

    def apply(params: Params, x_BT: jax.Array) -> jax.Array:
        return forward(params, x_BT)[0]

    return apply


def with_head(hidden: Callable, head: Callable) -> Callable:
    """`forward` of a model that ends in a head."""

    def forward(params: Params, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        hidden_BTD, activations = hidden(params, x_BT)
        return head(params, hidden_BTD), activations

    return forward


def num_params(params: Params) -> int:
    """The number of parameters. Shapes are enough, such as those from `jax.eval_shape`."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def require_unrollable(config: Any, *names: str) -> None:
    """Raise `InputError` if one of these sizes of `config` is above `MAX_UNROLLED`."""
    for name in names:
        message = f"`{name}` is {getattr(config, name):,}; it must be at most {MAX_UNROLLED:,}"
        require(getattr(config, name) <= MAX_UNROLLED, message)


def expand(value: jax.Array, ndim: int) -> jax.Array:
    """Append axes of length 1 up to `ndim`, to broadcast from the left."""
    return value.reshape(*value.shape, *(1,) * (ndim - value.ndim))


def require_block(model: Model, length: int) -> None:
    """Raise `InputError` if lines of `length` tokens, the end mark included, are longer than the model's block."""
    fits = model.block is None or length <= model.block
    require(fits, f"lines of {length} tokens, the end mark included, exceed the model's `block` of {model.block}")


def reset_at_mark(cache: Cache, fresh: Cache, x_B: jax.Array) -> Cache:
    """Reset the cache to `fresh` in the rows whose token is the mark."""
    return jax.tree.map(lambda old, new: jnp.where(expand(x_B == MARK, old.ndim), new, old), cache, fresh)


def positions(x_BT: jax.Array) -> jax.Array:
    """(B, T) each token's position in its line: 0 for the mark, 1 for the symbol after it."""
    t_T = jnp.arange(x_BT.shape[1])
    return t_T - jax.lax.cummax(jnp.where(x_BT == MARK, t_T, 0), axis=1)


def shift_in_line(value: jax.Array, steps: int, position_BT: jax.Array, blank: float = 0) -> jax.Array:
    """Shift (B, T, ...) right by `steps` along time; `blank` where that would cross the start of the line."""
    shifted = jnp.pad(value, [(0, 0), (steps, 0)] + [(0, 0)] * (value.ndim - 2))[:, : value.shape[1]]
    return jnp.where(expand(position_BT >= steps, value.ndim), shifted, blank)


def scan_step(init_cache: Callable, step: Callable) -> Callable:
    """`forward` of a recurrent model: its `step`, scanned along time."""

    def forward(params: Params, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        def body(cache, x_B):
            logits_BV, cache = step(params, cache, x_B)
            return cache, logits_BV

        _, logits_TBV = jax.lax.scan(body, init_cache(params, x_BT.shape[0]), x_BT.T)
        return jnp.swapaxes(logits_TBV, 0, 1), {}

    return forward


def step_window(forward: Callable, window: int) -> tuple[Callable, Callable]:
    """`init_cache` and `step` of a model whose logits depend on the last `window` tokens only: cache those.

    `forward` ignores tokens before the last mark, so the window needs no reset.
    """

    def init_cache(params: Params, batch: int) -> Cache:
        return jnp.full((batch, window), MARK, jnp.int32)

    def step(params: Params, cache_BR: Cache, x_B: jax.Array) -> tuple[jax.Array, Cache]:
        cache_BR = jnp.concatenate([cache_BR[:, 1:], x_B[:, None]], axis=1)
        return forward(params, cache_BR)[0][:, -1], cache_BR

    return init_cache, step


def step_prefix(forward: Callable, length: int) -> tuple[Callable, Callable]:
    """`init_cache` and `step` of any causal model, by running `forward` on the whole prefix at every token.

    For lines of at most `length` tokens. Slow and obviously correct: the fast forms are tested against it.
    """

    def init_cache(params: Params, batch: int) -> Cache:
        return jnp.zeros((batch, length), jnp.int32), jnp.zeros((batch,), jnp.int32)

    def step(params: Params, cache: Cache, x_B: jax.Array) -> tuple[jax.Array, Cache]:
        x_BT, t_B = cache[0], reset_at_mark(cache[1], 0, x_B)
        row_B = jnp.arange(x_B.shape[0])
        x_BT = x_BT.at[row_B, t_B].set(x_B)
        return forward(params, x_BT)[0][row_B, t_B], (x_BT, t_B + 1)

    return init_cache, step


@cache
def has_dropout(model: Model) -> bool:
    """Whether the model uses dropout: whether any of its operations reads the key of `sample_network`."""
    key = jax.random.key(0)
    apply = lambda key, params, x_BT: model.apply(sample_network(params, key, jnp.float32(0.5)), x_BT)
    program = jax.make_jaxpr(apply)(key, jax.eval_shape(model.init, key), jnp.zeros((1, 2), jnp.int32)).jaxpr
    return any(program.invars[0] in operation.invars for operation in program.eqns)


def has_blocks(model: Model) -> bool:
    """Whether the model's gradient can be computed with less memory: whether `recompute` changes its program."""
    params, x_BT = jax.eval_shape(model.init, jax.random.key(0)), jnp.zeros((1, 2), jnp.int32)
    return len({str(jax.make_jaxpr(model.apply)(form, x_BT)) for form in (params, recompute(params))}) == 2
