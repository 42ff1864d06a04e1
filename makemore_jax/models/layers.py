"""The layers that models share, each with an `init_...` function for its parameters and a function that applies it.

A layer maps the last axis and keeps all leading ones.
"""

import itertools
import math
from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp


def init_linear(key: jax.Array, inputs: int, outputs: int, scale: float = 1.0, bias: bool = True) -> dict:
    """Draw weights of variance `scale**2 / inputs`, so that scale 1 preserves the input's variance; biases are 0."""
    params = {"w": jax.random.normal(key, (inputs, outputs)) * (scale / math.sqrt(inputs))}
    return params | {"b": jnp.zeros(outputs)} if bias else params


def linear(params: dict, x: jax.Array) -> jax.Array:
    """Compute x @ w + b, with leading axes flattened: XLA on CPU multiplies one matrix twice as fast as a stack."""
    y = x.reshape(-1, x.shape[-1]) @ params["w"]
    return add_bias(params, y).reshape(*x.shape[:-1], -1)


def linear_head(params: dict, hidden: jax.Array) -> jax.Array:
    """Compute logits from the last hidden layer with the parameters named `head`."""
    return linear(params["head"], hidden)


def add_bias(params: dict, y: jax.Array) -> jax.Array:
    """Return y + b if the layer has a bias, otherwise y."""
    return y + along(params["b"], y) if "b" in params else y


def along(vector: jax.Array, x: jax.Array) -> jax.Array:
    """Repeat a vector along all axes of x but the last, in the type of x."""
    return jnp.broadcast_to(vector.astype(x.dtype), x.shape)


def init_embedding(key: jax.Array, symbols: int, width: int, scale: float = 1.0) -> jax.Array:
    """Draw (symbols, width) normal random numbers with standard deviation `scale`."""
    return jax.random.normal(key, (symbols, width)) * scale


def init_norm(width: int, bias: bool = True) -> dict:
    """Return gains of 1 and, for layer norm, biases of 0."""
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
    """Add a random key to parameters, with which `dropout` picks a fraction `rate` of units or weights to drop.

    Dropout trains an ensemble of networks that share their weights; a key picks one of them. The key becomes another
    parameter, so a model remains a function of its parameters and its input. Without a key, nothing is dropped.

    `row_B` holds the row numbers of the batch; by default they count from 0. Masks depend on them, so that devices that
    share a batch draw the same masks as a single device.
    """
    return params | {"dropout": {"key": key, "rate": rate, "row_B": row_B}}


def mark_remat(params: dict) -> dict:
    """Tag parameters so that `through_blocks` needs less memory for their gradient.

    The tag is not a size of the model, because it changes the computation of the gradient but not the function.
    """
    return params | {"remat": ()}


class Block(Protocol):
    """Apply layer l, given its number and `params["blocks"][l]`; return the next x, and activations y."""

    def __call__(self, x: jax.Array, numbered: tuple[int | jax.Array, dict], /) -> tuple[jax.Array, jax.Array]: ...


def through_blocks(params: dict, block: Block, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Carry x through all layers; return the last x, and the activations y of the layers, stacked.

    After `mark_remat`, the backward pass keeps only the x between blocks and recomputes the rest (Chen et al. 2016,
    arXiv:1604.06174). The layers are then stacked and scanned, because XLA on CPU may recompute many blocks of a list
    before it needs the first.
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
    """Zero a random fraction of x and scale up the rest, with a mask for each row or one mask for all of x."""

    def __call__(self, x: jax.Array, per_row: bool = True) -> jax.Array: ...


def keep_all(x: jax.Array, per_row: bool = True) -> jax.Array:
    """Return x: the `Drop` that drops nothing."""
    return x


def dropout(params: dict, first: int | jax.Array = 0) -> Drop:
    """Make `drop(x)`, which zeroes a random fraction of x and scales up the rest.

    Without a key in the parameters (see `sample_network`), it returns x. Each call draws a new mask; masks are numbered
    from `first`. Applied to activations, (B, ...), this is dropout (Srivastava et al. 2014, JMLR 15:1929); applied to
    weights, `drop(w, per_row=False)`, it is DropConnect (Wan et al. 2013).
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
