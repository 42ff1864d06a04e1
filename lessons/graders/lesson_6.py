"""Graders of lesson 6."""

from collections.abc import Callable, Sequence
from functools import cache

import jax.numpy as jnp
import numpy as np

import makemore_jax as mm


def channel_moments(answer: Callable) -> None:
    """Mean and variance of each channel of an array of any rank."""
    draw = np.random.default_rng(0).normal
    for shape in [(32, 5), (8, 4, 5), (2, 3, 4, 5)]:
        x = jnp.asarray(draw(2, 3, shape), jnp.float32)
        rows = np.asarray(x).reshape(-1, shape[-1])
        for name, given, truth in zip(("mean", "variance"), answer(x), (rows.mean(0), rows.var(0)), strict=True):
            hint = f"For x of shape {shape} the {name} has shape {np.shape(given)}; it must be {truth.shape}."
            assert np.shape(given) == truth.shape, hint + " Average over all axes but the last."
            assert np.allclose(given, truth, rtol=1e-3, atol=1e-4), f"The {name} of x of shape {shape} is wrong."


def nodes(answer: Callable[[int, int], Sequence[int]]) -> None:
    """How many nodes a tree at every position computes, and how many a dilated convolution."""
    for length, levels in [(1, 1), (8, 3), (16, 4), (100, 10)]:
        tree, convolution = answer(length, levels)
        hint = "One window's tree halves level by level: 2**(L - 1) nodes at the first, one at the last. Add them up."
        assert tree == length * (2**levels - 1), f"For T={length}, L={levels}: {tree} for the tree. {hint}"
        hint = "The convolution has one node for each position and level."
        assert convolution == length * levels, f"For T={length}, L={levels}: {convolution}. {hint}"


def dilated(answer: Callable) -> None:
    """One dilated causal convolution that keeps the length."""
    draw = np.random.default_rng(1).normal
    x, w, b = (np.float32(draw(size=shape)) for shape in [(9, 3), (6, 4), (4,)])
    for d in (1, 2, 4):
        y = answer(jnp.asarray(w), jnp.asarray(b), jnp.asarray(x), d)
        assert np.shape(y) == (9, 4), f"The result has shape {np.shape(y)}; a line of 9 must give (9, 4)."
        past = np.concatenate([np.zeros((d, 3), np.float32), x[:-d]])
        close = np.isclose(y, np.tanh(np.concatenate([past, x], axis=1) @ w + b), atol=1e-5).all(1)
        hint = f"With d={d}, the first {d} positions have only zeros to look back at." if not close[:d].all() else ""
        assert close.all(), (
            f"With d={d}, positions {np.flatnonzero(~close).tolist()} are wrong. {hint or 'x[t-d] first.'}"
        )


def receptive_field(answer: Callable[[Sequence[int]], int]) -> None:
    """The number of symbols that a stack of dilated convolutions sees."""
    for dilations, truth in [((1,), 2), ((1, 2, 4), 8), ((1, 2, 4, 1, 2, 4), 15), ((3,), 4), ((), 1)]:
        given = answer(dilations)
        hint = "The current symbol, and each layer adds its dilation."
        assert given == truth, f"Dilations {dilations} see {truth} symbols, not {given}. {hint}"


@cache
def _corpus() -> mm.data.corpus.Corpus:
    return mm.load()


def below(answer: mm.Trained) -> None:
    """A model of the names below 2.04 nats per character on dev."""
    assert isinstance(answer, mm.Trained), "Give a trained model, as mm.train or mm.count returns it."
    assert answer.vocab == _corpus().vocab, "It was trained on other data."
    dev = mm.evaluate(answer, _corpus().tokens.dev).nats
    assert dev < 2.04, f"It reaches {dev:.4f} on dev; get below 2.04."
