"""Answers to the exercises of lesson 5 that are wrong in tempting ways; the checks refuse them."""

import jax
import jax.numpy as jnp

from lessons.solutions.lesson_5 import batch_norm_rule, gradients, normalise


def straight_only(x_BH, gain_H, g_BH):
    return gain_H * g_BH * normalise(x_BH)[1]


def mean_forgotten(v, d):
    gradients(v, d).logprobs *= len(v.y)
    return d


def one_branch(v, d):
    gradients(v, d).bndiff = v.bnvar_inv * d.bnraw
    return d


def last_lookup_only(v, d):
    gradients(v, d).C = jnp.zeros_like(v.C).at[v.x].set(d.emb)
    return d


def half_done(v, d):
    gradients(v, d).hpreact = ...
    return d


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
    "gradients": [mean_forgotten, one_branch, last_lookup_only, half_done],
}
