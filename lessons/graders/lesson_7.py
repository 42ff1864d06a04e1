"""Graders of lesson 7."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def _draw(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def gru_step(answer: Callable) -> None:
    """One step of a gated recurrent unit."""
    width, hidden = 3, 4
    params = {f"W{gate}": _draw(i, width + hidden, hidden) for i, gate in enumerate("rzn")}
    params |= {f"b{gate}": _draw(10 + i, hidden) for i, gate in enumerate("rzn")}
    x, h = np.asarray(_draw(20, width)), np.asarray(_draw(21, hidden))
    given = np.asarray(answer(params, jnp.asarray(h), jnp.asarray(x)))
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}
    u = np.concatenate([x, h])
    r, z = (1 / (1 + np.exp(-(u @ p[f"W{gate}"] + p[f"b{gate}"]))) for gate in "rz")
    new = np.tanh(np.concatenate([x, r * h]) @ p["Wn"] + p["bn"])
    assert given.shape == (hidden,), f"The state has shape {given.shape}; it must be {(hidden,)}."
    swapped = z * h + (1 - z) * new
    assert not np.allclose(given, swapped, atol=1e-5), "z and 1 - z are exchanged: at z = 0 the old state stays."
    late = (1 - z) * h + z * np.tanh(x @ p["Wn"][:width] + r * (h @ p["Wn"][width:]) + p["bn"])
    assert not np.allclose(given, late, atol=1e-5), "The reset gate acts on h before the product, not after it."
    assert np.allclose(given, (1 - z) * h + z * new, atol=1e-5), "Compare it line by line with the equations."


def clip(answer: Callable[[Any, float], Any]) -> None:
    """Gradients scaled to a global norm of at most the limit."""
    grads = {"w": _draw(30, 5, 2), "b": [_draw(31, 3)]}
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(grads)]
    norm = math.sqrt(sum(float((leaf**2).sum()) for leaf in leaves))
    for limit in (0.5 * norm, 2 * norm):
        given = [np.asarray(leaf) for leaf in jax.tree.leaves(answer(grads, limit))]
        length = math.sqrt(sum(float((leaf**2).sum()) for leaf in given))
        wanted = min(limit, norm)
        hint = "Short gradients stay as they are." if limit > norm else "All leaves count together, in one norm."
        assert math.isclose(length, wanted, rel_tol=1e-4), f"The norm is {length:.3f}; it must be {wanted:.3f}. {hint}"
        for new, old in zip(given, leaves, strict=True):
            assert np.allclose(new, old * wanted / norm, rtol=1e-4), (
                "The direction has changed: scale all leaves alike."
            )


def half_life(answer: Callable[[float], float]) -> None:
    """After how many steps a memory behind an update gate z has faded to a half."""
    assert math.isclose(answer(0.5), 1, rel_tol=1e-3), f"At z = 0.5 one step halves it; you say {answer(0.5):.3f}."
    for z in (0.02, 0.1, 0.9):
        given, truth = answer(z), math.log(0.5) / math.log(1 - z)
        hint = "Each step multiplies the memory by 1 - z: solve (1 - z)**n = 1/2."
        assert math.isclose(given, truth, rel_tol=1e-3), f"At z = {z} it is not {given:.3f}. {hint}"


def ignores_the_past(answer: Callable) -> None:
    """Whether no prediction depends on an earlier position."""
    x_TE, w_EH, w_HH, w_HV = _draw(40, 6, 3), _draw(41, 3, 5), 0.3 * _draw(42, 5, 5), _draw(43, 5, 4)

    def recurrent(x_TE: jax.Array) -> jax.Array:
        h, logits = jnp.ones(5), []
        for x_E in x_TE:
            h = jnp.tanh(x_E @ w_EH + h @ w_HH)
            logits.append(h @ w_HV)
        return jnp.stack(logits)

    def from_the_start_state(x_TE: jax.Array) -> jax.Array:
        return jnp.tanh(x_TE @ w_EH + jnp.ones(5) @ w_HH) @ w_HV

    def previous_only(x_TE: jax.Array) -> jax.Array:
        return jnp.pad(x_TE, ((1, 0), (0, 0)))[:-1] @ w_EH @ w_HV

    def by_position(x_TE: jax.Array) -> jax.Array:
        return from_the_start_state(x_TE) + jnp.arange(len(x_TE))[:, None] * jnp.arange(4)

    cases = {
        "a proper recurrent network": (recurrent, False),
        "a network that starts from the start state at each step": (from_the_start_state, True),
        "a network that sees the position before only": (previous_only, False),
        "a network that knows the position, and nothing of the past": (by_position, True),
    }
    for name, (logits_of, truth) in cases.items():
        given = bool(answer(logits_of, x_TE))
        hint = "Look at the blocks of the Jacobian below the diagonal: are they all zero?"
        assert given == truth, f"You say {given} of {name}; it is {truth}. {hint}"
