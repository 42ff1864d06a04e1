"""Graders of lesson 8."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def _draw(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _softmax(score: np.ndarray) -> np.ndarray:
    weight = np.exp(score - score.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True)


def _head(x: np.ndarray, wq: np.ndarray, wk: np.ndarray, wv: np.ndarray) -> np.ndarray:
    score = (x @ wq) @ (x @ wk).T / math.sqrt(wk.shape[1])
    return _softmax(np.where(np.tri(len(x), dtype=bool), score, -np.inf)) @ (x @ wv)


def causal_weights(answer: Callable) -> None:
    """Softmax over the past."""
    score_TT = 2 * _draw(0, 6, 6)
    given = np.asarray(answer(score_TT))
    assert given.shape == (6, 6), f"The weights have shape {given.shape}; they must be (6, 6)."
    assert np.isfinite(given).all(), "Some weights are not finite."
    assert np.allclose(np.triu(given, 1), 0), (
        "A position looks at the future: the weights above the diagonal must be 0."
    )
    assert np.allclose(given.sum(1), 1, atol=1e-5), "A row does not sum to 1: mask the scores before the softmax."
    truth = _softmax(np.where(np.tri(6, dtype=bool), np.asarray(score_TT), -np.inf))
    assert np.allclose(given, truth, atol=1e-5), "The weights are not the softmax of the scores of the past."


def score_scale(answer: Callable[[int, int], float]) -> None:
    """The factor that gives scores of variance 1."""
    for width, heads in [(64, 4), (32, 1), (384, 6)]:
        given, truth = answer(width, heads), (width / heads) ** -0.5
        hint = "A score is a sum over the width of one head, K = C / N; divide by its standard deviation."
        assert math.isclose(given, truth, rel_tol=1e-4), f"For C={width}, N={heads} it is not {given:.4f}. {hint}"


def many_heads(answer: Callable) -> None:
    """N heads at once."""
    x = _draw(1, 7, 12)
    wq, wk, wv = (_draw(seed, 3, 12, 4) for seed in (2, 3, 4))
    given = np.asarray(answer(x, wq, wk, wv))
    assert given.shape == (7, 12), f"The result has shape {given.shape}; three heads of 4 side by side are (7, 12)."
    truth = np.concatenate([_head(*map(np.asarray, (x, wq[n], wk[n], wv[n]))) for n in range(3)], axis=1)
    mixed = np.allclose(np.sort(given, 1), np.sort(truth, 1), atol=1e-5)
    assert mixed or np.allclose(given, truth, atol=1e-5), (
        "It is not what a loop over heads gives: mask, scale, softmax?"
    )
    assert np.allclose(given, truth, atol=1e-5), (
        "The right numbers in the wrong order: all of head 0 first, then head 1."
    )


def row_past_the_end(answer: int) -> None:
    """Which row of a table of 16 the index 20 returns."""
    table = jnp.arange(16)
    truth = int(table[20])
    assert np.issubdtype(np.asarray(answer).dtype, np.integer), "Give the number of a row."
    assert np.ndim(answer) == 0, "Give one number, the one in that row."
    assert int(answer) == truth, f"Not row {int(answer)}. Try jnp.arange(16)[20]: out-of-range indices are clamped."


def head_step(answer: Callable) -> None:
    """One step of one head with its cache of keys and values."""
    x = _draw(5, 6, 8)
    w = {name: _draw(seed, 8, 4) for seed, name in enumerate(("query", "key", "value"), 6)}
    truth = _head(*map(np.asarray, (x, w["query"], w["key"], w["value"])))
    past = jnp.zeros((0, 4)), jnp.zeros((0, 4))
    for t, x_C in enumerate(x):
        given, past = answer(w, past, x_C)
        assert np.shape(given) == (4,), f"The result has shape {np.shape(given)}; it must be (4,)."
        sizes = [len(part) for part in past]
        assert sizes == [t + 1, t + 1], f"After {t + 1} steps the cache holds {sizes} keys and values."
        hint = "The new position looks at itself, too: add its key and value first." if t == 0 else "Scale the scores."
        assert np.allclose(given, truth[t], atol=1e-5), f"Step {t} is not what the whole line gives there. {hint}"


def addition(answer: Callable[[int, int], str]) -> None:
    """Two numbers and their sum, reversed, as a line."""
    for a, b in [(7, 95), (0, 0), (99, 99), (40, 2)]:
        truth = f"{a:02}+{b:02}=" + f"{a + b:03}"[::-1]
        given = answer(a, b)
        hint = "Two digits for each number, three for the sum, and those reversed."
        assert given == truth, f"{a} and {b} give {given!r}. {hint}"
