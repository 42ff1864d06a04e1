"""Checks of the exercises of lesson 2."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import makemore_jax as mm
from makemore_jax.inference.baselines import count_table
from makemore_jax.models import ngram

CANDIDATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@cache
def _corpus():
    return mm.load()


@cache
def _dev_losses():
    """The dev loss of the trigram with each candidate."""
    losses = [mm.evaluate(count_table(_corpus(), 3, more), _corpus().tokens.dev).nats for more in CANDIDATES]
    return dict(zip(CANDIDATES, losses, strict=True))


def normalise(answer):
    """Rows of counts to probabilities; an empty row is uniform."""
    counts_VV = jnp.array([[1, 1, 2], [0, 0, 0], [0, 5, 5]])
    found_VV = np.asarray(answer(counts_VV))
    assert found_VV.shape == (3, 3), f"the shape is {found_VV.shape}; it should stay (3, 3)"
    assert np.isfinite(found_VV).all(), f"an empty row gives {found_VV[1]}"
    sums_V = found_VV.sum(1)
    assert np.allclose(sums_V, 1), f"rows must sum to 1; they sum to {sums_V}"
    assert np.allclose(found_VV[1], 1 / 3), f"an empty row must be uniform; yours is {found_VV[1]}"
    assert np.allclose(found_VV[[0, 2]], [[0.25, 0.25, 0.5], [0, 0.5, 0.5]]), f"wrong probabilities: {found_VV}"


def count_trigrams(answer):
    """Counts by the two letters before, which are dots at the start of a name."""
    tiny = np.asarray(answer(["ab", "b"]))
    assert tiny.shape == (27, 27, 27), f"the shape is {tiny.shape}; it should be (27, 27, 27)"
    assert tiny[0, 0, 1] == 1, "the name ab starts with the trigram ..a"
    assert tiny[0, 1, 2] == 1, "the name ab holds the trigram .ab"
    assert tiny[1, 2, 0] == 1, "the name ab ends with the trigram ab."
    assert tiny[2, 0, 2] == 0, "b.b isn't in any name: the two letters before a name's first belong to another"
    assert tiny.sum() == 5, f"ab and b hold 5 trigrams, and not {tiny.sum()}"
    names = _corpus().lines.train
    x_M, y_M = _corpus().tokens.train.pairs
    expected = np.asarray(ngram.count(ngram.Config(27, 3), x_M[None], y_M[None]))
    assert (np.asarray(answer(names)) == expected).all(), "right for two names, but wrong for all of them"


def best_smoothing(answer):
    """What to add to each count of a trigram, chosen on dev."""
    losses = _dev_losses()
    chosen = [more for more in CANDIDATES if np.isclose(float(answer), more)]  # whatever kind of number it is
    assert chosen, f"one of {CANDIDATES}"
    best = min(losses, key=losses.get)
    assert chosen == [best], f"with {chosen[0]:g} the dev loss is {losses[chosen[0]]:.4f}; another gives less"


def logits_after(answer):
    """Rows of W, as the product with a one-hot picks them, but without it."""
    W_VV, x_N = jax.random.normal(jax.random.key(0), (27, 27)), jnp.array([3, 0, 26, 3])
    found_NV, expected_NV = answer(W_VV, x_N), jax.nn.one_hot(x_N, 27) @ W_VV
    assert found_NV.shape == (4, 27), f"the shape is {found_NV.shape}; it should be (4, 27)"
    assert (found_NV == expected_NV).all(), "not the same as one_hot(x) @ W; that picks rows"
    product = "right, but there still is a one-hot: index W with the letters instead"
    with np.errstate(invalid="ignore"):  # in a product, 0 times infinity is not a number
        assert np.isfinite(answer(W_VV.at[7].set(jnp.inf), x_N)).all(), product
    try:
        steps = jax.make_jaxpr(answer)(W_VV[:, :2], jnp.zeros(100, int)).eqns
    except jax.errors.JAXTypeError:  # in NumPy, which cannot be traced
        return
    assert max(output.aval.size for step in steps for output in step.outvars) < 100 * 27, product


def cross_entropy(answer):
    """The mean of -log softmax(logits)[y]."""
    key = jax.random.key(1)
    logits_NV, y_N = 3 * jax.random.normal(key, (6, 5)), jnp.array([0, 4, 2, 2, 1, 3])
    expected = -jax.nn.log_softmax(logits_NV)[jnp.arange(6), y_N].mean()
    found = answer(logits_NV, y_N)
    assert jnp.ndim(found) == 0, f"the shape is {jnp.shape(found)}; it should be one number"
    assert np.isclose(found, expected, rtol=1e-4), f"it gives {found:.4f} where {expected:.4f} is right"
    large = answer(jnp.array([[0.0, 1000.0], [1000.0, 0.0]]), jnp.array([1, 1]))
    assert np.isclose(large, 500), f"for logits of 0 and 1000 it gives {large}, not 500; see trap 6 of lesson 0"
