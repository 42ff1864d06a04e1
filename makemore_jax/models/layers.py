"""The layers that models share: for each, an `init_...` function that makes its parameters, and one that applies it.

A layer maps the last axis and keeps any leading ones.
"""

import itertools
import math
from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp


def init_linear(key: jax.Array, inputs: int, outputs: int, scale: float = 1.0, bias: bool = True) -> dict:
    """Weights of variance `scale`**2 / inputs, so that a scale of 1 preserves the input's variance; biases of 0."""
    params = {"w": jax.random.normal(key, (inputs, outputs)) * (scale / math.sqrt(inputs))}
    return params | {"b": jnp.zeros(outputs)} if bias else params


def linear(params: dict, x: jax.Array) -> jax.Array:
    """x @ w + b. Leading axes are flattened: XLA on CPU multiplies one matrix twice as fast as a stack of them."""
    y = x.reshape(-1, x.shape[-1]) @ params["w"]
    return add_bias(params, y).reshape(*x.shape[:-1], -1)


def linear_head(params: dict, hidden: jax.Array) -> jax.Array:
    """Logits from the last hidden layer, by the parameters named `head`."""
    return linear(params["head"], hidden)


def add_bias(params: dict, y: jax.Array) -> jax.Array:
    """y + b if the layer has a bias, otherwise y."""
    return y + along(params["b"], y) if "b" in params else y


def along(vector: jax.Array, x: jax.Array) -> jax.Array:
    """A vector for the last axis of x, repeated along the others, in the type of x."""
    return jnp.broadcast_to(vector.astype(x.dtype), x.shape)


def init_embedding(key: jax.Array, symbols: int, width: int, scale: float = 1.0) -> jax.Array:
    """(symbols, width) normal random numbers with standard deviation `scale`."""
    return jax.random.normal(key, (symbols, width)) * scale


def init_norm(width: int, bias: bool = True) -> dict:
    """Gains of 1 and, for layer norm, biases of 0."""
    return {"g": jnp.ones(width)} | ({"b": jnp.zeros(width)} if bias else {})


def upcast(x: jax.Array) -> jax.Array:
    """Cast to float32 or wider, for sums and exponentials that need more precision than bfloat16 has."""
    return x if x.dtype == jnp.float64 else x.astype(jnp.float32)


def layer_norm(params: dict, x: jax.Array) -> jax.Array:
    """Scale each vector to mean 0 and variance 1, then apply a gain and a bias (Ba et al. 2016, arXiv:1607.06450)."""
    wide = upcast(x)
    centred = wide - wide.mean(-1, keepdims=True)
    y = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * along(params["g"], wide)
    return add_bias(params, y).astype(x.dtype)


def rms_norm(params: dict, x: jax.Array) -> jax.Array:
    """Scale each vector to root mean square 1, then apply a gain (Zhang and Sennrich 2019, arXiv:1910.07467)."""
    wide = upcast(x)
    return (wide * jax.lax.rsqrt((wide**2).mean(-1, keepdims=True) + 1e-5) * along(params["g"], wide)).astype(x.dtype)


def sample_network(params: dict, key: jax.Array, rate: jax.Array, row_B: jax.Array | None = None) -> dict:
    """The same parameters with a random key, from which `dropout` draws a fraction `rate` of units or weights to drop.

    Dropout trains an ensemble of networks that share their weights; a key picks one of them. The key is one more
    parameter, so a model stays a function of its parameters and its input. Without a key, nothing is dropped.

    `row_B` are the numbers of the rows of the batch, on which their masks depend, so that devices that share a batch
    draw what one device would; without it, they are counted from 0.
    """
    return params | {"dropout": {"key": key, "rate": rate, "row_B": row_B}}


def mark_remat(params: dict) -> dict:
    """The same parameters, marked so that `through_blocks` needs less memory for their gradient.

    The mark changes how a gradient is computed and not the function, so it is not a size of the model.
    """
    return params | {"remat": ()}


class Block(Protocol):
    """One layer, from its number l and `params["blocks"][l]`: the next x, and y, what there is to look at."""

    def __call__(self, x: jax.Array, numbered: tuple[int | jax.Array, dict], /) -> tuple[jax.Array, jax.Array]: ...


def through_blocks(params: dict, block: Block, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Carry x through all layers by `block`; returns x, and the y of the layers stacked.

    After `mark_remat`, the backward pass keeps only the x between blocks and computes the rest again (Chen
    et al. 2016, arXiv:1604.06174). Then the layers are stacked and scanned: with a list, XLA on CPU may compute many
    blocks again before it needs the first.
    """
    if "remat" in params:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params["blocks"])
        layers = jnp.arange(len(params["blocks"])), stacked
        return jax.lax.scan(jax.checkpoint(block, prevent_cse=False), x, layers)
    ys = []
    for layer in enumerate(params["blocks"]):
        x, y = block(x, layer)
        ys.append(y)
    return x, jnp.stack(ys)


class Drop(Protocol):
    """A random fraction of x zeroed, and the rest scaled up; one mask for each row, or one for the whole of x."""

    def __call__(self, x: jax.Array, per_row: bool = True) -> jax.Array: ...


def keep_all(x: jax.Array, per_row: bool = True) -> jax.Array:
    """The `Drop` that drops nothing."""
    return x


def dropout(params: dict, first: int | jax.Array = 0) -> Drop:
    """Returns `drop(x)`, which zeroes a random fraction of x and scales up the rest.

    Without a key in the parameters (see `sample_network`), it returns x. Each call draws a new mask; they are numbered
    from `first`. Applied to activations, (B, ...), it is dropout (Srivastava et al. 2014, JMLR 15:1929); to weights,
    `drop(w, per_row=False)`, it is DropConnect (Wan et al. 2013).
    """
    if "dropout" not in params:
        return keep_all
    calls, (key, rate, row_B) = itertools.count(), map(params["dropout"].get, ("key", "rate", "row_B"))

    def drop(x: jax.Array, per_row: bool = True) -> jax.Array:
        mask_key = jax.random.fold_in(key, first + next(calls))
        draw = lambda key, shape: jax.random.bernoulli(key, 1 - rate, shape)
        if per_row:
            keys_B = jax.vmap(partial(jax.random.fold_in, mask_key))(jnp.arange(len(x)) if row_B is None else row_B)
            keep = jax.vmap(lambda key: draw(key, x.shape[1:]))(keys_B)
        else:
            keep = draw(mask_key, x.shape)
        return jnp.where(keep, x / (1 - rate).astype(x.dtype), 0)

    return drop
