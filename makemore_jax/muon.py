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

    All matrices of one shape are multiplied as one stack, which takes less time than one after the other.
    """
    axes = lambda stacks: jax.tree.map(lambda _: MuonDimensionNumbers(-2, -1), stacks)  # of inputs and of outputs
    scaled = lambda update: 0.2 * math.sqrt(max(update.shape[-2:])) * update
    momentum = scale_by_muon(ns_steps=steps, weight_dimension_numbers=axes)
    return by_shape(optax.chain(momentum, optax.stateless(lambda stacks, _: jax.tree.map(scaled, stacks))))


def by_shape(transform: optax.GradientTransformation) -> optax.GradientTransformation:
    """Apply a transformation to the arrays of each shape as one stack."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        stacks: Any
        stacks, state = transform.update(stack(updates), state)
        parts = {shape: iter(stacked) for shape, stacked in stacks.items()}
        return jax.tree.map(lambda leaf: next(parts[name(leaf)]), updates), state

    return optax.GradientTransformation(lambda params: transform.init(stack(params)), update)


def stack(tree: Any) -> dict[str, jax.Array]:
    """Stack all arrays of one shape along a new leading axis, by the name of the shape."""
    groups = {}
    for leaf in jax.tree.leaves(tree):
        groups.setdefault(name(leaf), []).append(leaf)
    return {shape: jnp.stack(leaves) for shape, leaves in groups.items()}


def name(leaf: Any) -> str:
    """Return the shape of an array as text, such as "64x192"."""
    return "x".join(map(str, leaf.shape))
