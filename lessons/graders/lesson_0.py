"""Checks of the exercises of lesson 0."""

import jax
import jax.numpy as jnp
import numpy as np


def two_rolls(answer):
    """Two independent dice from one key."""
    rolls_KN = jax.vmap(lambda seed: jnp.stack(answer(jax.random.key(seed))))(jnp.arange(2000))
    first_N, second_N = np.asarray(rolls_KN).T
    assert np.issubdtype(first_N.dtype, np.integer), "a roll is an integer; see jax.random.randint"
    for roll_N in (first_N, second_N):
        assert roll_N.min() >= 1, "a die shows 1 to 6; yours shows less than 1"
        assert roll_N.max() <= 6, "a die shows 1 to 6; yours shows more than 6"
        assert len(np.unique(roll_N)) == 6, "some faces never show; another key must give other numbers"
    table = np.histogram2d(first_N, second_N, bins=6)[0]
    assert (table > 0).all(), "the two dice depend on each other; was a key used twice?"
    assert ((table > 20) & (table < 100)).all(), "some pairs are far too frequent"


def entropy(answer):
    """The entropy of a distribution that may hold zeros, with a finite gradient."""
    even, certain = jnp.array([0.5, 0.5, 0.0]), jnp.array([0.0, 1.0, 0.0])
    assert np.isclose(answer(jnp.array([0.25, 0.75])), 0.5623351, atol=1e-5), "the entropy of (1/4, 3/4) is 0.5623"
    assert np.isclose(answer(even), np.log(2), atol=1e-5), "the entropy of (1/2, 1/2, 0) is log 2"
    assert np.isclose(answer(certain), 0, atol=1e-5), "the entropy of (0, 1, 0) is 0"
    slope_V = np.asarray(jax.grad(answer)(even))
    assert np.isfinite(slope_V).all(), f"the gradient at (1/2, 1/2, 0) is {slope_V}; it must be finite"
    assert np.allclose(slope_V[:2], np.log(2) - 1, atol=1e-4), "the gradient where p is not 0 is -log p - 1"


def log_softmax(answer):
    """The logarithm of the softmax, without overflow."""
    for logits_V in ([0.0, 1.0, -2.0], [0.0, 100.0], [1e4, 1e4 - 1.0, 0.0], [-1e4, -1e4]):
        found_V = np.asarray(answer(jnp.array(logits_V)))
        assert np.isfinite(found_V).all(), f"for logits {logits_V} it gives {found_V}: subtract the largest logit first"
        expected_V = np.asarray(jax.nn.log_softmax(jnp.array(logits_V)))
        assert np.allclose(found_V, expected_V, atol=1e-3), f"for logits {logits_V}: {found_V}, not {expected_V}"


def running_mean(answer):
    """The mean of the entries so far, by a scan."""
    x_T = np.array([3.0, 1.0, 5.0, -1.0, 0.0], np.float32)
    found_T, expected_T = np.asarray(answer(jnp.array(x_T))), np.cumsum(x_T) / np.arange(1, 6)
    assert found_T.shape == (5,), f"the shape is {found_T.shape}; there must be a mean for every entry"
    assert np.allclose(found_T, expected_T, atol=1e-5), f"of {x_T} it gives {found_T}, not {expected_T}"
    short, long = (jax.make_jaxpr(answer)(jnp.zeros(length)).eqns for length in (10, 1000))
    assert len(short) == len(long), f"the program grows with the length: {len(short)} equations, then {len(long)}"
    assert any(equation.primitive.name == "scan" for equation in long), "right numbers; now with jax.lax.scan"
