"""Graders of lesson 9."""

import math
from collections.abc import Callable
from functools import cache

import jax
import numpy as np

import makemore_jax as mm


def beats(answer: Callable) -> None:
    """Whether each run of one model is better than each of another."""
    cases = [
        ([1.97, 1.98, 1.99], [2.0, 2.02], True),
        ([1.97, 2.01], [2.0, 2.02], False),  # the better mean is not enough
        ([2.0, 2.02], [1.97, 1.98], False),
        ([2.0], [2.0], False),
    ]
    for a, b, truth in cases:
        given = bool(answer(np.array(a), np.array(b)))
        assert given == truth, f"{a} against {b}: you say {given}. Compare a's worst (highest) run with b's best."


def expected_in_train(answer: Callable) -> None:
    """Hits on train without copying, from hits on held-out names."""
    for hits, in_train, held_out in [(10, 800, 200), (0, 800, 200), (37, 25_000, 6_000)]:
        given, truth = answer(hits, in_train, held_out), hits * in_train / held_out
        hint = "Without copying, each name is hit as often wherever it stands: scale by the number of names."
        assert math.isclose(given, truth, rel_tol=1e-6), f"{hits} hits on {held_out} names: not {given}. {hint}"


@cache
def _counted() -> tuple:
    corpus = mm.load()
    return corpus, mm.count(corpus)


def temperature(answer: float) -> None:
    """The temperature at which 80% of the n-gram's samples are new."""
    corpus, counted = _counted()
    texts = mm.sample(jax.random.key(9), counted, 1000, temperature=float(answer))
    share = corpus.novelty(texts)["new"] / len(texts)
    hint = "Higher is newer." if share < 0.8 else "Lower is less new."
    assert abs(share - 0.8) <= 0.02, f"At {answer:g}, {share:.1%} are new. {hint}"


def entropy_rate(answer: Callable) -> None:
    """The entropy of a Markov chain, in nats per step."""
    coin = np.array([[0.5, 0.5], [0.5, 0.5]])
    given = float(answer(coin))
    assert math.isclose(given, math.log(2), rel_tol=1e-5), (
        f"A fair coin has ln 2 nats, not {given:.4f}. Nats, not bits?"
    )
    sticky = np.array([[0.9, 0.1, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    pi = np.linalg.matrix_power(sticky, 5000)[0]
    rows = np.array([-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)), math.log(2), 0.0])
    given, truth = float(answer(sticky)), float(pi @ rows)
    assert not math.isnan(given), "It is nan: 0 log 0 counts as 0."
    hint = "Weigh each row's entropy by the share of the time that the chain stands there."
    assert math.isclose(given, truth, rel_tol=1e-4), f"A chain of three states: {given:.4f} is not its entropy. {hint}"
