"""Answers to the exercises of lesson 10 that are wrong in tempting ways; the checks refuse them."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lessons.solutions.lesson_10 import a_turn, factor_of_shape, row_step


def nan_where_nothing_was_read(grad_VE):
    return -grad_VE / jnp.linalg.norm(grad_VE, axis=1, keepdims=True)


def by_the_longest_row(grad_VE):
    return -grad_VE / jnp.linalg.norm(grad_VE, axis=1).max()


def columns(grad_VE):
    return row_step(grad_VE.T).T


def iterated(grad_IO, a, b, c, times):
    X_IO = grad_IO / jnp.linalg.norm(grad_IO)
    for _ in range(times):
        square_II = X_IO @ X_IO.T
        X_IO = a * X_IO + (b * square_II + c * square_II @ square_II) @ X_IO
    return X_IO


def without_the_norm(grad_IO):
    for _ in range(20):
        grad_IO = 1.5 * grad_IO - 0.5 * grad_IO @ grad_IO.T @ grad_IO
    return grad_IO


def entries_instead(grad_IO):
    X_IO = grad_IO / jnp.linalg.norm(grad_IO)
    for _ in range(20):
        X_IO = 1.5 * X_IO - 0.5 * X_IO**3
    return X_IO


def by_decomposition(grad_IO):
    U_IR, _, V_RO = jnp.linalg.svd(grad_IO, full_matrices=False)
    return U_IR @ V_RO


def by_exchange(rule):  # the sign turns along with that
    grad_IO = jax.random.normal(jax.random.key(1), (5, 7))
    return np.allclose(rule(grad_IO[::-1]), rule(grad_IO)[::-1], atol=1e-4)


def by_length(rule):
    grad_IO, turn_II = jax.random.normal(jax.random.key(1), (5, 7)), a_turn(5)
    return np.allclose(jnp.linalg.norm(rule(turn_II @ grad_IO)), jnp.linalg.norm(rule(grad_IO)), atol=1e-4)


def of_the_outputs(rule):
    grad_IO, turn_OO = jax.random.normal(jax.random.key(1), (5, 7)), a_turn(7)
    return np.allclose(rule(grad_IO @ turn_OO), rule(grad_IO) @ turn_OO, atol=1e-4)


WRONG = {
    "row_step": [
        nan_where_nothing_was_read,
        by_the_longest_row,
        columns,
        lambda grad_VE: -row_step(grad_VE),
        lambda grad_VE: -grad_VE / jnp.linalg.norm(grad_VE),
    ],
    "size_of_noise": [
        lambda beta: 1 - beta,
        lambda beta: math.sqrt(1 - beta),
        lambda beta: (1 - beta) / (1 + beta),  # the variance
    ],
    "orthogonal": [
        lambda grad_IO: iterated(grad_IO, 3.4445, -4.7750, 2.0315, 20),  # near 1 is not 1
        lambda grad_IO: iterated(grad_IO, 1.5, -0.5, 0, 5),  # too few
        without_the_norm,
        entries_instead,
        by_decomposition,
    ],
    "factor_of_shape": [
        lambda rows, columns, rms: rms * math.sqrt(min(rows, columns)),
        lambda rows, columns, rms: rms * math.sqrt(rows * columns),
        lambda rows, columns, rms: rms * math.sqrt(columns),
        lambda rows, columns, rms: factor_of_shape(rows, columns),  # 0.2 whatever is asked for
    ],
    "turns_along": [by_exchange, by_length, of_the_outputs, lambda rule: True],
}
