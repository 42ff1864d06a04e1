"""Graders of lesson 10."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def _draw(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def row_step(answer: Callable) -> None:
    """The step of steepest descent if the longest row has length one."""
    grad_VE = _draw(0, 5, 3).at[2].set(0)
    given_VE, length_V1 = np.asarray(answer(grad_VE)), np.linalg.norm(grad_VE, axis=1, keepdims=True)
    assert given_VE.shape == (5, 3), f"The shape is {given_VE.shape}; it must be (5, 3)."
    assert np.isfinite(given_VE).all(), f"A row without a gradient becomes {given_VE[2]}; it must stay 0."
    assert (given_VE * grad_VE).sum() < 0, "It leads uphill: mind the sign."
    longest = np.linalg.norm(given_VE, axis=1).max()
    assert math.isclose(longest, 1, rel_tol=1e-4), f"The longest row has length {longest:.3f}; it must be 1."
    promise, best = -(given_VE * grad_VE).sum(), length_V1.sum()
    hint = "Each row has its own limit, so no row needs to be shorter than another."
    assert math.isclose(promise, best, rel_tol=1e-4), f"It promises {promise:.3f}, and the best {best:.3f}. {hint}"
    assert np.allclose(given_VE[2], 0), f"A row without a gradient moves by {given_VE[2]}; let it stay."


def size_of_noise(answer: Callable[[float], float]) -> None:
    """The root mean square of the momentum of noise."""
    for beta in (0.0, 0.5, 0.9, 0.99):
        weight_N = (1 - beta) * beta ** np.arange(10_000)  # of the gradient n steps ago
        given, truth = float(answer(beta)), math.sqrt((weight_N**2).sum())
        hint = "Variances of independent numbers add: which weight has the gradient of n steps ago?"
        assert math.isclose(given, truth, rel_tol=1e-3), f"With {beta} it is {truth:.3f}, and not {given:.3f}. {hint}"


def orthogonal(answer: Callable) -> None:
    """U V^T by products of matrices."""
    for rows, columns in ((6, 6), (4, 9), (9, 4)):
        U_IR, _, V_RO = np.linalg.svd(_draw(rows, rows, columns), full_matrices=False)
        s_R = np.geomspace(1, 0.0101, min(rows, columns))
        s_R[1:-1] *= np.sqrt((1 - s_R[-1] ** 2 - 0.5) / (s_R[1:-1] ** 2).sum())  # of Frobenius norm 1 in all
        s_R[0] = np.sqrt(0.5)
        given_IO = np.asarray(answer(jnp.float32(20 * (U_IR * s_R) @ V_RO)))
        shape = f"For {rows} x {columns}"
        assert given_IO.shape == (rows, columns), f"{shape} the shape is {given_IO.shape}."
        assert np.isfinite(given_IO).all(), f"{shape} it runs away: divide by the Frobenius norm first."
        found_R = np.diag(U_IR.T @ given_IO @ V_RO.T)
        hint = "Does the polynomial converge to 1, and was it applied often enough for the smallest?"
        assert np.abs(found_R - 1).max() < 1e-3, f"{shape} the singular values are {found_R.round(3)}. {hint}"
        assert np.allclose(given_IO, U_IR @ V_RO, atol=1e-3), f"{shape} the turns have changed."
    try:
        program = str(jax.make_jaxpr(answer)(jnp.ones((3, 4))))
    except jax.errors.JAXTypeError:  # in NumPy, which cannot be traced
        return
    used = [name for name in ("svd", "eigh", "geqrf") if name in program]
    assert not used, f"Right, but with {', '.join(used)}: products of matrices are enough."


def factor_of_shape(answer: Callable) -> None:
    """The factor that gives a matrix with singular values of one this root mean square."""
    for rows, columns, rms in ((8, 8, 0.2), (3, 12, 0.2), (20, 5, 0.2), (6, 10, 1.0)):
        U_IR, _, V_RO = np.linalg.svd(_draw(1, rows, columns), full_matrices=False)
        found = np.sqrt(((float(answer(rows, columns, rms)) * U_IR @ V_RO) ** 2).mean())
        hint = "The sum of all squared entries is the number of singular values of one."
        where = f"With your factor for {rows} x {columns}"
        assert math.isclose(found, rms, rel_tol=1e-4), f"{where} it is {found:.3f} and not {rms}. {hint}"


def turns_along(answer: Callable) -> None:
    """Whether the step of a rule turns with the inputs."""

    def orthogonalised(grad_IO: jax.Array) -> jax.Array:
        U_IR, _, V_RO = jnp.linalg.svd(grad_IO, full_matrices=False)
        return -U_IR @ V_RO

    rules = {
        "the gradient, scaled to length one": (lambda grad_IO: -grad_IO / jnp.linalg.norm(grad_IO), True),
        "the sign": (lambda grad_IO: -jnp.sign(grad_IO), False),
        "minus U V^T": (orthogonalised, True),
        "each row scaled to length one": (
            lambda grad_IO: -grad_IO / jnp.linalg.norm(grad_IO, axis=1, keepdims=True),
            False,
        ),
        "each column scaled to length one": (
            lambda grad_IO: -grad_IO / jnp.linalg.norm(grad_IO, axis=0, keepdims=True),
            True,
        ),
        "the first input twice as fast": (lambda grad_IO: -grad_IO.at[0].multiply(2), False),
    }
    for name, (rule, truth) in rules.items():
        given = bool(answer(rule))
        hint = "Try a turn by an angle, on a gradient of no special form, and compare the whole step."
        assert given == truth, f"You say {given} of {name}; it is {truth}. {hint}"
