"""Solutions of the exercises of lesson 10, and how one gets there."""

import math

import jax
import jax.numpy as jnp
import numpy as np


def row_step(grad_VE):
    """10.1: each row has a limit of its own, and the promise is a sum over rows. So each row does its best alone.

    The best of one row is Euclidean: against its gradient, at length one. A row of zeros is 0 / 0, so divide by 1.
    """
    length_V1 = jnp.linalg.norm(grad_VE, axis=1, keepdims=True)
    return -grad_VE / jnp.where(length_V1 > 0, length_V1, 1)


def size_of_noise(beta):
    """10.2: the gradient of n steps ago has the weight (1 - beta) beta**n. Independent variances add.

    So the variance is (1 - beta)**2 times the sum of all beta**(2 n), which is 1 / (1 - beta**2). One factor cancels.
    """
    return math.sqrt((1 - beta) / (1 + beta))


def orthogonal(grad_IO):
    """10.3: the classical polynomial, (3 s - s**3) / 2, converges to 1 for all s in (0, 1], and stays there.

    A singular value of a hundredth grows by 1.5 each time: 12 times bring it near 1, and a few more make it exact.
    """
    X_IO = grad_IO / jnp.linalg.norm(grad_IO)
    for _ in range(20):
        X_IO = 1.5 * X_IO - 0.5 * X_IO @ X_IO.T @ X_IO
    return X_IO


def factor_of_shape(rows, columns, rms=0.2):
    """10.4: the squares of all entries sum to min(rows, columns), so their mean is 1 / max(rows, columns)."""
    return rms * math.sqrt(max(rows, columns))


def a_turn(size, seed=0):
    """A random turn, for 10.5: the Q of a random matrix."""
    return jnp.linalg.qr(jax.random.normal(jax.random.key(seed), (size, size)))[0]


def turns_along(rule):
    """10.5: one random turn and one random gradient are enough: nothing special about them can hide a difference."""
    grad_IO, turn_II = jax.random.normal(jax.random.key(1), (5, 7)), a_turn(5)
    return np.allclose(rule(turn_II @ grad_IO), turn_II @ rule(grad_IO), atol=1e-4)
