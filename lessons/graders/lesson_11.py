"""Graders of lesson 11."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def _draw(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers a and b of a recurrence."""
    random = np.random.default_rng(0)
    return np.float32(random.uniform(0.3, 1, shape)), np.float32(random.normal(size=shape))


def _states(a_T: np.ndarray, b_T: np.ndarray) -> np.ndarray:
    """The states of a recurrence, one after the other."""
    h, h_T = 0.0, []
    for a, b in zip(np.asarray(a_T), np.asarray(b_T), strict=True):
        h = a * h + b
        h_T.append(h)
    return np.array(h_T)


def _compose(first: Any, then: Any) -> Any:
    return then[0] * first[0], then[0] * first[1] + then[1]


def _check_is_parallel(answer: Callable, *args: Any) -> None:
    """Without a loop over the 512 steps, traced or in Python."""
    written = str(jax.make_jaxpr(answer)(*args))
    loops = "= scan[" in written or "= while[" in written or written.count("\n") > 1000
    assert not loops, "Right, but it takes one step after the other: use `jax.lax.associative_scan`."


def parity(answer: Callable) -> None:
    """The numbers a and b of a recurrence that says whether the number of ones is odd."""
    x_T = np.random.default_rng(1).integers(0, 2, 60)
    a_T, b_T = (np.asarray(part) for part in answer(jnp.asarray(x_T)))
    assert a_T.shape == b_T.shape == (60,), f"a has shape {a_T.shape}, and b {b_T.shape}; both must be (60,)."
    for t, x in enumerate(x_T):
        alone = [float(np.asarray(part)[0]) for part in answer(jnp.asarray([x]))]
        assert np.allclose(alone, (a_T[t], b_T[t])), f"At step {t}, a or b looks at more than the bit of this step."
    h_T = _states(a_T, b_T)
    others = h_T[~np.isin(h_T, (0, 1))]
    assert not len(others), f"The state must be 0 or 1, and it takes other values, such as {others[0]:g}."
    wrong = np.flatnonzero(h_T != np.cumsum(x_T) % 2)
    hint = "A 1 exchanges 0 and 1: which line does that?" if len(wrong) and x_T[wrong[0]] else "A 0 keeps the state."
    assert not len(wrong), f"After {x_T[: wrong[0] + 1].tolist()} it says {h_T[wrong[0]]:g}. {hint}"


def by_doubling(answer: Callable) -> None:
    """All prefixes in rounds of 1, 2, 4, ... steps back."""
    for steps in (1, 2, 5, 8, 100):
        a_T, b_T = _draw(steps)
        calls = []

        def counted(first: Any, then: Any, calls: list = calls) -> Any:
            calls.append(len(first[0]))
            return _compose(first, then)

        given = np.asarray(answer(counted, (jnp.asarray(a_T), jnp.asarray(b_T)))[1])
        assert given.shape == (steps,), f"{steps} steps give {given.shape} prefixes."
        close = np.isclose(given, _states(a_T, b_T), atol=1e-4)
        hint = "The step before comes first: `combine(earlier, later)`; and what has nothing before it stays as it is."
        assert close.all(), f"Of {steps} prefixes {(~close).sum()} are wrong. {hint}"
        rounds = math.ceil(math.log2(steps))
        assert len(calls) == rounds, f"It takes {len(calls)} rounds for {steps} steps; {rounds} are enough."


def run_automaton(answer: Callable) -> None:
    """The states of a finite automaton, all at once."""
    move_SQ = np.array([[1, 2, 0], [1, 0, 2], [0, 0, 1]])  # round, swap, and one that forgets
    x_T = np.random.default_rng(2).integers(0, 3, 512)
    state, state_T = 0, []
    for x in x_T:
        state = move_SQ[x, state]
        state_T.append(state)
    args = jnp.asarray(move_SQ), jnp.asarray(x_T)
    given = np.asarray(answer(*args))
    assert given.shape == (512,), f"It returns an array of shape {given.shape}; 512 symbols lead to 512 states."
    wrong = np.flatnonzero(given != state_T)
    hint = "First one table, then the other: state q goes to then[first[q]]. All begin in state 0."
    assert not len(wrong), f"After {x_T[: wrong[0] + 1].tolist()} it is in state {given[wrong[0]]}. {hint}"
    _check_is_parallel(answer, *args)


def gradient(answer: Callable) -> None:
    """The gradient by b, from what arrives at each state."""
    a_T, arrives_T = _draw(512)
    total, truth_T = 0.0, np.zeros(512)
    for t in range(511, -1, -1):
        total = arrives_T[t] + (a_T[t + 1] * total if t < 511 else 0)
        truth_T[t] = total
    args = jnp.asarray(a_T), jnp.asarray(arrives_T)
    given = np.asarray(answer(*args))
    assert given.shape == (512,), f"It has shape {given.shape}; each of the 512 steps has a gradient."
    hint = "From step t to step t + 1 a state is multiplied by the a of step t + 1."
    assert np.isclose(given[-1], arrives_T[-1]), "Nothing comes after the last state: its gradient is what arrives."
    assert np.allclose(given, truth_T, rtol=1e-3, atol=1e-4), f"It differs from the true gradient. {hint}"
    _check_is_parallel(answer, *args)


def newton_round(answer: Callable) -> None:
    """One round of Newton for a recurrence of tanh."""
    w, u_T = 0.9, _draw(512)[1]
    truth, truth_T = 0.0, []
    for u in u_T:
        truth = math.tanh(w * truth + u)
        truth_T.append(truth)
    given = np.asarray(answer(w, jnp.asarray(u_T), jnp.float32(truth_T)))
    assert given.shape == (512,), f"It has shape {given.shape}; 512 inputs give 512 states."
    hint = "The tangent touches tanh at the state *before* the step, and has the value of tanh there."
    assert np.allclose(given, truth_T, atol=1e-4), f"From the right states it must return them. {hint}"
    slope_T = w * (1 - np.tanh(u_T) ** 2)
    first = np.asarray(answer(w, jnp.asarray(u_T), jnp.zeros(512)))
    hint = "There each step is the tangent at 0, with the value tanh(u) and the slope w (1 - tanh(u)^2)."
    assert np.allclose(first, _states(slope_T, np.tanh(u_T)), atol=1e-3), f"From a guess of zeros it is wrong. {hint}"
    _check_is_parallel(lambda u_T, guess_T: answer(w, u_T, guess_T), jnp.asarray(u_T), jnp.zeros(512))
