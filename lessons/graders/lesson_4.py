"""Checks of the exercises of lesson 4."""

import jax
import jax.numpy as jnp
import numpy as np

import makemore_jax as mm


def loss_from_zero(answer):
    """What a network reaches whose parameters all start at 0: only its last biases move."""
    corpus = mm.load()
    share_V = np.bincount(corpus.tokens.train.pairs[1], minlength=27) / len(corpus.tokens.train.pairs[1])
    entropy = float(-(share_V * np.log(share_V)).sum())
    assert abs(answer - np.log(27)) > 1e-3, "that is where it starts; the last biases do move"
    assert abs(answer - entropy) < 6e-4, f"not {answer}: every window gets the same prediction; which is best?"


def fold(answer):
    """Batch normalisation folded into the linear layer before it."""
    keys = jax.random.split(jax.random.key(0), 7)
    w, b, x_NI = (jax.random.normal(k, shape) for k, shape in zip(keys, ((5, 4), (4,), (6, 5)), strict=False))
    params = {"gain": jax.random.normal(keys[3], (4,)), "bias": jax.random.normal(keys[4], (4,))}
    state = {"mean": jax.random.normal(keys[5], (4,)), "var": jnp.exp(jax.random.normal(keys[6], (4,)))}
    normed = params["gain"] * (x_NI @ w + b - state["mean"]) / jnp.sqrt(state["var"] + 1e-5) + params["bias"]
    new_w, new_b = answer(w, b, params, state)
    assert new_w.shape == (5, 4), f"the new weights are of shape {new_w.shape}, the old ones of (5, 4)"
    assert np.allclose(x_NI @ new_w, normed - (normed - x_NI @ new_w).mean(0), atol=1e-4), "the weights are wrong"
    assert np.allclose(x_NI @ new_w + new_b, normed, atol=1e-4), "the weights are right, but not the biases"


def relu_gain(answer):
    """The factor that keeps the mean square through a ReLU."""
    square = float((answer * jax.nn.relu(jax.random.normal(jax.random.key(1), (200_000,)))).__pow__(2).mean())
    assert abs(square - 1) < 0.02, f"with {answer} the mean square after ReLU is {square:.2f}"


def dead_units(answer):
    """Units that are 0 for every example."""
    h_NH = jnp.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 3.0, 1.0, 0.0]])
    found = int(answer(h_NH))
    assert found == 2, f"of {h_NH.tolist()} the first and the last unit are dead: 2, and not {found}"
    found = int(answer(h_NH.T))
    assert found == 0, f"of its transpose none is dead; yours says {found}"
