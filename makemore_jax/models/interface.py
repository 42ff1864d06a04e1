"""The interface of all models, and adapters that make one of its two forms from the other.

Capital letters in names stand for axes, here and everywhere: B batch, T time, V vocabulary, D embedding, H hidden,
N heads, K head width, L layers, R window, S seeds. `logits_BTV` is a (batch, time, vocabulary) array.

Three laws hold for every model:

- *causality*: `apply(params, x)[:, t]` depends on `x[:, : t + 1]` only;
- *two forms, one function*: scanning `step` over a row gives what `apply` gives;
- *the mark starts a line*: after a mark, logits depend on nothing before it. Lines can therefore be packed end to end,
  in training batches and in the sampler. Every row begins with a mark.
"""

from functools import cache
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from makemore_jax.data.vocab import MARK
from makemore_jax.errors import require

MAX_UNROLLED = 1000  # layers or other parts unrolled into the compiled program; more would take minutes to compile

Params = Any  # nested dicts of arrays; repeated layers are a list
Cache = Any  # the memory of `step` for each line: a pytree whose leaves have a leading batch axis


class Init(Protocol):
    """Draw random parameters."""

    def __call__(self, key: jax.Array, /) -> Params: ...


class Forward(Protocol):
    """Compute all positions of a batch at once, for training: logits (B, T, V) or hidden units (B, T, D), activations.

    The activations are a dict of arrays worth looking at, with the batch axis first; it may be empty.
    """

    def __call__(self, params: Params, x_BT: jax.Array, /) -> tuple[jax.Array, dict[str, jax.Array]]: ...


class InitCache(Protocol):
    """Return the cache of `batch` lines before their first token."""

    def __call__(self, params: Params, batch: int, /) -> Cache: ...


class Step(Protocol):
    """Read one token of each line, for sampling; return logits (B, V) and the cache for the next token."""

    def __call__(self, params: Params, cache: Cache, x_B: jax.Array, /) -> tuple[jax.Array, Cache]: ...


class Head(Protocol):
    """Compute logits (B, T, V) from hidden units (B, T, D), independently at each position."""

    def __call__(self, params: Params, hidden_BTD: jax.Array, /) -> jax.Array: ...


class Apply(Protocol):
    """Compute the logits (B, T, V) of all positions at once."""

    def __call__(self, params: Params, x_BT: jax.Array, /) -> jax.Array: ...


class Model(NamedTuple):
    """A language model: its configuration and its pure functions. Logits may also be log-probabilities.

    A model may expose its output head, so that the loss can compute the logits of a large vocabulary in chunks.

    Builders are cached on the configuration, so that equal configurations give the same functions. Since jit compiles
    once per function, it would otherwise compile again for each model that is built.
    """

    config: Any  # a frozen dataclass of sizes: `vocab`, `context` if the length of lines is limited, and others
    init: Init
    forward: Forward
    init_cache: InitCache
    step: Step
    hidden: Forward | None = None  # `forward` up to the head
    head: Head | None = None
    supports: frozenset[str] = frozenset()  # the options of a recipe that the model supports: "dropout", "remat"

    @property
    def apply(self) -> Apply:
        """`forward` without the activations, which XLA then never computes."""
        return logits_only(self.forward)

    @property
    def vocab(self) -> int:
        """V: the number of symbols, the mark included."""
        return self.config.vocab

    @property
    def context(self) -> int | None:
        """The longest line that the model can read, in tokens with its end mark; None if the length is unlimited."""
        return getattr(self.config, "context", None)


@cache
def logits_only(forward: Forward) -> Apply:
    """Make `apply` from `forward`; cached for the same reason as the builders."""

    def apply(params: Params, x_BT: jax.Array) -> jax.Array:
        return forward(params, x_BT)[0]

    return apply


def with_head(hidden: Forward, head: Head) -> Forward:
    """Make the `forward` of a model that ends in a head."""

    def forward(params: Params, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        hidden_BTD, activations = hidden(params, x_BT)
        return head(params, hidden_BTD), activations

    return forward


def num_params(params: Params) -> int:
    """Count the parameters; shapes are enough, such as those from `jax.eval_shape`."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def shapes_of(init: Init) -> Params:
    """Return the shapes and types of parameters without allocating them."""
    return jax.eval_shape(lambda: init(jax.random.key(0)))


def require_unrollable(config: Any, *names: str) -> None:
    """Raise `InputError` if one of these sizes of `config` is above `MAX_UNROLLED`."""
    for name in names:
        message = f"`{name}` is {getattr(config, name):,}; it must be at most {MAX_UNROLLED:,}"
        require(getattr(config, name) <= MAX_UNROLLED, message)


def expand(value: jax.Array, ndim: int) -> jax.Array:
    """Append axes of length 1 until there are `ndim`, so that the array broadcasts from the left."""
    return value.reshape(*value.shape, *(1,) * (ndim - value.ndim))


def require_context(model: Model, length: int) -> None:
    """Raise `InputError` if lines of `length` tokens, the end mark included, exceed the model's context."""
    fits = model.context is None or length <= model.context
    require(
        fits,
        f"lines of {length} tokens, the end mark included, exceed the model's context of {model.context}; shorten them",
    )


def reset_at_mark(cache: Cache, fresh: Cache, x_B: jax.Array) -> Cache:
    """Reset the cache to `fresh` in each row whose token is the mark."""
    return jax.tree.map(lambda old, new: jnp.where(expand(x_B == MARK, old.ndim), new, old), cache, fresh)


def positions(x_BT: jax.Array) -> jax.Array:
    """Return (B, T) the position of each token in its line: 0 for the mark, 1 for the symbol after it."""
    t_BT = jnp.broadcast_to(jnp.arange(x_BT.shape[1]), x_BT.shape)
    return t_BT - jax.lax.cummax(jnp.where(x_BT == MARK, t_BT, 0), axis=1)


def shift_in_line(value: jax.Array, steps: int, position_BT: jax.Array, blank: float = 0) -> jax.Array:
    """Shift (B, T, ...) right by `steps` along time, filling with `blank` what would come from before the line."""
    shifted = jnp.pad(value, [(0, 0), (steps, 0)] + [(0, 0)] * (value.ndim - 2))[:, : value.shape[1]]
    return jnp.where(expand(position_BT >= steps, value.ndim), shifted, blank)


def scan_step(init_cache: InitCache, step: Step) -> Forward:
    """Make the `forward` of a recurrent model by scanning its `step` along time."""

    def forward(params: Params, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        def body(cache, x_B):
            logits_BV, cache = step(params, cache, x_B)
            return cache, logits_BV

        _, logits_TBV = jax.lax.scan(body, init_cache(params, x_BT.shape[0]), x_BT.T)
        return jnp.swapaxes(logits_TBV, 0, 1), {}

    return forward


def step_window(forward: Forward, window: int) -> tuple[InitCache, Step]:
    """Make `init_cache` and `step` of a model whose logits depend on the last `window` tokens only, by caching those.

    `forward` ignores tokens before the last mark, so the window need not be reset.
    """

    def init_cache(params: Params, batch: int) -> Cache:
        return jnp.full((batch, window), MARK, jnp.int32)

    def step(params: Params, cache_BR: Cache, x_B: jax.Array) -> tuple[jax.Array, Cache]:
        cache_BR = jnp.concatenate([cache_BR[:, 1:], x_B[:, None]], axis=1)
        return forward(params, cache_BR)[0][:, -1], cache_BR

    return init_cache, step


def step_prefix(forward: Forward, length: int) -> tuple[InitCache, Step]:
    """Make `init_cache` and `step` of any causal model by running `forward` on the whole prefix at every token.

    Lines have at most `length` tokens. This is slow but obviously correct, so the fast forms are tested against it.
    """

    def init_cache(params: Params, batch: int) -> Cache:
        return jnp.zeros((batch, length), jnp.int32), jnp.zeros((batch,), jnp.int32)

    def step(params: Params, cache: Cache, x_B: jax.Array) -> tuple[jax.Array, Cache]:
        x_BT, t_B = cache[0], reset_at_mark(cache[1], 0, x_B)
        row_B = jnp.arange(x_B.shape[0])
        x_BT = x_BT.at[row_B, t_B].set(x_B)
        return forward(params, x_BT)[0][row_B, t_B], (x_BT, t_B + 1)

    return init_cache, step
