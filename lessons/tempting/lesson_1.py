"""Answers to the exercises of lesson 1 that are wrong in tempting ways; the checks refuse them."""

import jax
import jax.numpy as jnp
import numpy as np


def chain_rule_forgotten(a, b, c):
    return -3 * a**2 - 0.5 * a**-0.5, np.cos(3 * b) + 2.5 * b**1.5, 1 / c**2


def wrong_sign(a, b, c):
    return -3 * a**2 - 0.5 * a**-0.5, 3 * np.cos(3 * b) + 2.5 * b**1.5, -1 / c**2


def by_heart(a, b, c):
    return -12.353553390593273, 10.25699027111255, 0.0625


def one_side(f, x):
    return (f(x + 1e-8) - f(x)) / 1e-8


def step_too_small(f, x):
    return (f(x + 1e-12) - f(x - 1e-12)) / 2e-12


def half_forgotten(f, x):
    return (f(x + 1e-5) - f(x - 1e-5)) / 1e-5


def not_times_g(g, out, x):
    return (out * (1 - out),)


def like_tanh(g, out, x):
    return (g * (1 - out**2),)


def of_the_output(g, out, x):
    return (g * np.exp(-out) / (1 + np.exp(-out)) ** 2,)


def probabilities(logits_V, label):
    return jax.nn.softmax(logits_V)


def wrong_way(logits_V, label):
    return jax.nn.one_hot(label, len(logits_V)) - jax.nn.softmax(logits_V)


def only_the_label(logits_V, label):
    return jnp.zeros_like(logits_V).at[label].set(jax.nn.softmax(logits_V)[label] - 1)


WRONG = {
    "gradient": [chain_rule_forgotten, wrong_sign, by_heart],
    "slope": [one_side, step_too_small, half_forgotten],
    "logistic_rule": [not_times_g, like_tanh, of_the_output],
    "softmax_gradient": [probabilities, wrong_way, only_the_label],
}
