"""Muon: momentum, made orthogonal, for the matrices inside a model (Jordan et al. 2024).

    M <- 0.95 M + 0.05 G,   M = U S V^T,   W <- W - rate * 0.2 sqrt(max(rows, columns)) U V^T

The update goes equally far in every direction of the momentum M of the gradients G. A polynomial in M, applied three
times, brings its singular values S near 1 (Newton and Schulz). The root gives the updates of all matrices one root mean
square, 0.2 of the rate, which is about that of AdamW (Liu et al. 2025, arXiv:2502.16982).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

NEWTON_SCHULZ = 3  # five bring the singular values nearer to 1, and take longer for the same dev loss on names


def orthogonal_momentum(steps: int = NEWTON_SCHULZ) -> optax.GradientTransformation:
    """Replace gradients of matrices by their momentum, with singular values near 1 and root mean square 0.2.

    A matrix whose width is a multiple of its height holds square maps side by side, such as q, k and v, or the gates
    of a recurrent cell. Each is made orthogonal by itself, and all maps of one shape are multiplied as one stack, which
    takes less time than one after the other.
    """
    axes = lambda stacks: jax.tree.map(lambda _: MuonDimensionNumbers(-2, -1), stacks)  # of inputs and of outputs
    scaled = lambda update: 0.2 * math.sqrt(max(update.shape[-2:])) * update
    momentum = scale_by_muon(ns_steps=steps, weight_dimension_numbers=axes)
    return by_shape(optax.chain(momentum, optax.stateless(lambda stacks, _: jax.tree.map(scaled, stacks))))


def by_shape(transform: optax.GradientTransformation) -> optax.GradientTransformation:
    """Apply a transformation to the maps of each shape as one stack."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        stacks: Any
        stacks, state = transform.update(stack(updates), state)
        return unstack(stacks, updates), state

    return optax.GradientTransformation(lambda params: transform.init(stack(params)), update)


def stack(tree: Any) -> dict[str, jax.Array]:
    """Stack the maps of all arrays in a tree: those of one shape along the leading axis, by the name of the shape."""
    groups = {}
    for leaf in jax.tree.leaves(tree):
        maps = apart(leaf)
        groups.setdefault(name(maps), []).append(maps)
    return {shape: jnp.concatenate(maps) for shape, maps in groups.items()}


def unstack(stacks: dict[str, jax.Array], tree: Any) -> Any:
    """Return a tree like this one, with the maps of the stacks in the order in which `stack` met them."""
    rest = dict(stacks)

    def take(leaf: Any) -> jax.Array:
        like = jax.eval_shape(apart, leaf)
        maps, rest[name(like)] = jnp.split(rest[name(like)], [len(like)])
        return together(maps, leaf)

    return jax.tree.map(take, tree)


def apart(matrix: jax.Array) -> jax.Array:
    """Return (maps, rows, columns): the square maps side by side in a matrix, or in a stack of them, or the whole."""
    rows, columns = matrix.shape[-2:]
    width = rows if columns % rows == 0 else columns
    return jnp.moveaxis(matrix.reshape(-1, rows, columns // width, width), 2, 1).reshape(-1, rows, width)


def together(maps: jax.Array, matrix: Any) -> jax.Array:
    """Return the maps that `apart` made as an array of the shape of `matrix`."""
    rows, columns = matrix.shape[-2:]
    width = maps.shape[-1]
    return jnp.moveaxis(maps.reshape(-1, columns // width, rows, width), 1, 2).reshape(matrix.shape)


def name(maps: Any) -> str:
    """Return the shape of maps as text, such as "64x192"."""
    return "x".join(map(str, maps.shape[-2:]))
