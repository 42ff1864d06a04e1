"""Solutions of the exercises of lesson 7, and how one gets there."""

import math

import jax
import jax.numpy as jnp


def gru_step(params, h_H, x_E):
    """7.1: line by line as the equations stand. Mind that r acts on h *before* the product with Wn."""
    u = jnp.concatenate([x_E, h_H])
    reset_H = jax.nn.sigmoid(u @ params["Wr"] + params["br"])
    update_H = jax.nn.sigmoid(u @ params["Wz"] + params["bz"])
    new_H = jnp.tanh(jnp.concatenate([x_E, reset_H * h_H]) @ params["Wn"] + params["bn"])
    return (1 - update_H) * h_H + update_H * new_H


def clip(grads, limit):
    """7.2: one norm for all leaves: the root of the sum of all squares. One factor for all leaves keeps the direction.

    The factor is limit / norm, and never above 1, so that short gradients stay as they are.
    """
    norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(grads)))
    scale = jnp.minimum(1, limit / norm)
    return jax.tree.map(lambda leaf: leaf * scale, grads)


def half_life(z):
    """7.3: each step keeps a share of 1 - z. Solve (1 - z)**n = 1/2 for n by taking logarithms of both sides."""
    return math.log(0.5) / math.log(1 - z)


def ignores_the_past(logits_of, x_TE):
    """7.4: the Jacobian is (T, V, T, E): logits at t, by embeddings at s. Its largest entry for each (t, s) is enough.

    The past is where s < t, below the diagonal: `tril(..., -1)`. All of it must be exactly 0.
    """
    size_TT = jnp.abs(jax.jacrev(logits_of)(x_TE)).max((1, 3))
    return jnp.tril(size_TT, -1).max() == 0
