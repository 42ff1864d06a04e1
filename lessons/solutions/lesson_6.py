"""Solutions of the exercises of lesson 6, and how one gets there."""

import jax.numpy as jnp

import makemore_jax as mm


def channel_moments(x):
    """6.1: average over all axes but the last, however many there are: a tuple of axes, from 0 to ndim - 2."""
    axes = tuple(range(x.ndim - 1))
    return x.mean(axes), x.var(axes)


def nodes(T, L):
    """6.2: the tree of one window has 2**(L - 1) nodes at its lowest level, half as many at the next, and one on top.

    That is 2**(L - 1) + ... + 2 + 1 = 2**L - 1, at each of T positions. The convolution has one node for each position
    and level.
    """
    return T * (2**L - 1), T * L


def dilated(w, b, x_TE, d):
    """6.3: move the line d steps to the right: d rows of zeros before it, and its last d rows cut off.

    Row t of the moved line is x[t - d]. Put it before x[t], and multiply.
    """
    past_TE = jnp.pad(x_TE, ((d, 0), (0, 0)))[: len(x_TE)]
    return jnp.tanh(jnp.concatenate([past_TE, x_TE], axis=-1) @ w + b)


def receptive_field(dilations):
    """6.4: without layers a position sees itself. Each layer looks at what was seen, and once more d steps earlier."""
    return 1 + sum(dilations)


# 6.5: without any gradient, an n-gram with back-off, as at the end of lesson 2; lesson 9 has more to say about it.
below = mm.count(mm.load())
