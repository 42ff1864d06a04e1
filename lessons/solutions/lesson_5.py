"""Solutions of lesson 5, and wrong answers that one might give."""

import jax
import jax.numpy as jnp


def affine_rule(x_BD, w_DH, b_H, g_BH):
    return g_BH @ w_DH.T, x_BD.T @ g_BH, g_BH.sum(0)


def variance_rule(x_BH, g_1H):
    return 2 * (x_BH - x_BH.mean(0)) / (len(x_BH) - 1) * g_1H


def cross_entropy_rule(logits_BV, y_B):
    return (jax.nn.softmax(logits_BV) - jax.nn.one_hot(y_B, logits_BV.shape[1])) / len(y_B)


def normalise(x_BH):
    inv_H = jax.lax.rsqrt(x_BH.var(0, ddof=1) + 1e-5)
    return (x_BH - x_BH.mean(0)) * inv_H, inv_H


def batch_norm_rule(x_BH, gain_H, g_BH, lost=1):
    raw_BH, inv_H = normalise(x_BH)
    g_BH = gain_H * g_BH
    return inv_H * (g_BH - g_BH.mean(0) - raw_BH * (g_BH * raw_BH).sum(0) / (len(x_BH) - lost))


def straight_only(x_BH, gain_H, g_BH):
    return gain_H * g_BH * normalise(x_BH)[1]


RIGHT = {
    "log_rule": lambda x, g: g / x,
    "exp_rule": lambda x, g: jnp.exp(x) * g,
    "reciprocal_rule": lambda x, g: -g / x**2,
    "product_rule": lambda a, b, g: (b * g, (a * g).sum(1, keepdims=True)),
    "sum_rule": lambda x, g: jnp.ones_like(x) * g,
    "max_rule": lambda x, g: (x == x.max(1, keepdims=True)) * g,
    "affine_rule": affine_rule,
    "tanh_rule": lambda y, g: (1 - y**2) * g,
    "variance_rule": variance_rule,
    "embedding_rule": lambda table, x, g: jnp.zeros_like(table).at[x].add(g),
    "cross_entropy_rule": cross_entropy_rule,
    "batch_norm_rule": batch_norm_rule,
}
WRONG = {
    "log_rule": [lambda x, g: 1 / x, lambda x, g: g * x],
    "exp_rule": [lambda x, g: x * g, lambda x, g: jnp.exp(x)],
    "reciprocal_rule": [lambda x, g: g / x**2, lambda x, g: -g / x],
    "product_rule": [lambda a, b, g: (b * g, a * g), lambda a, b, g: b * g],
    "sum_rule": [lambda x, g: g, lambda x, g: jnp.ones_like(x) * g / x.shape[1]],
    "max_rule": [lambda x, g: jnp.ones_like(x) * g, lambda x, g: x.max(1, keepdims=True) * g],
    "affine_rule": [
        lambda x, w, b, g: (g @ w.T, x.T @ g, g),  # the bias was broadcast
        lambda x, w, b, g: (g @ w.T, x.T @ g, g.mean(0)),
    ],
    "tanh_rule": [lambda y, g: (1 - jnp.tanh(y) ** 2) * g, lambda y, g: 1 - y**2],
    "variance_rule": [
        lambda x, g: 2 * (x - x.mean(0)) / len(x) * g,  # the off-by-one of Bessel
        lambda x, g: 2 * x / (len(x) - 1) * g,
    ],
    "embedding_rule": [lambda table, x, g: jnp.zeros_like(table).at[x].set(g), lambda table, x, g: g],
    "cross_entropy_rule": [
        lambda z, y: jax.nn.softmax(z) - jax.nn.one_hot(y, z.shape[1]),  # the mean forgotten
        lambda z, y: (jax.nn.one_hot(y, z.shape[1]) - jax.nn.softmax(z)) / len(y),  # the sign
    ],
    "batch_norm_rule": [lambda x, gain, g: batch_norm_rule(x, gain, g, lost=0), straight_only],
}
