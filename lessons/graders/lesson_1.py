"""Checks of the exercises of lesson 1."""

import math

import jax
import jax.numpy as jnp
import numpy as np


def gradient(answer):
    """The gradient of -a**3 + sin(3b) - 1/c + b**2.5 - sqrt(a)."""
    expected = (-12.353553390593273, 10.25699027111255, 0.0625)
    found = [float(slope) for slope in answer(2.0, 3.0, 4.0)]
    assert len(found) == 3, f"it returns {len(found)} slopes; there are three inputs"
    for name, mine, true in zip("abc", found, expected, strict=True):
        assert math.isclose(mine, true, rel_tol=1e-5), f"at (2, 3, 4) the slope by {name} is not {mine:.6f}"
    formula = lambda a, b, c: -(a**3) + jnp.sin(3 * b) - 1 / c + b**2.5 - a**0.5
    elsewhere = jax.grad(formula, argnums=(0, 1, 2))(0.7, 1.3, -2.0)
    assert np.allclose(answer(0.7, 1.3, -2.0), elsewhere, rtol=1e-4), "right at (2, 3, 4), but wrong elsewhere"


def slope(answer):
    """A slope by nudges to both sides, to nine digits."""
    for name, f, x, true in (("exp", math.exp, 1.0, math.e), ("sin", math.sin, 2.0, math.cos(2.0))):
        error = abs(answer(f, x) / true - 1)
        assert error < 1e-3, f"the slope of {name} at {x} is {true:.6f}, and not {answer(f, x):.6f}"
        assert error < 1e-9, f"for {name} the error is {error:.0e} of the slope: nudge to both sides, by a better step"


def logistic_rule(answer):
    """The backward rule of the logistic function."""
    for x in (-3.0, 0.0, 1.5):
        out = 1 / (1 + math.exp(-x))
        true = math.exp(-x) / (1 + math.exp(-x)) ** 2
        shares = answer(1.0, out, x)
        assert isinstance(shares, tuple), "a rule returns a tuple, with one entry per input"
        assert math.isclose(shares[0], true, rel_tol=1e-6), f"the slope at {x} is {true:.4f}; yours is {shares[0]:.4f}"
        share = answer(-2.0, out, x)[0]
        assert math.isclose(share, -2 * true, rel_tol=1e-6), "multiply the local slope by what arrived, `g`"


def softmax_gradient(answer):
    """The gradient of -log softmax(logits)[label]."""
    logits_V = jnp.array([0.0, 3.0, -2.0, 1.0])
    found_V = np.asarray(answer(logits_V, 3))
    assert found_V.shape == (4,), f"the shape is {found_V.shape}; there is a slope for every logit"
    assert abs(found_V.sum()) < 1e-5, "the slopes must sum to 0: adding a number to all logits changes nothing"
    expected_V = [0.0417726, 0.8390245, 0.0056533, -0.8864504]
    assert np.allclose(found_V, expected_V, atol=1e-6), f"it gives {found_V}; a nudge differs"
    other_V = jax.grad(lambda z: -jax.nn.log_softmax(z)[0])(2 * logits_V)
    assert np.allclose(answer(2 * logits_V, 0), other_V, atol=1e-6), "right for label 3, but wrong for label 0"
