"""Answers to the exercises of lesson 11 that are wrong in tempting ways; the checks refuse them."""

import jax
import jax.numpy as jnp

from lessons.solutions.lesson_11 import by_doubling, compose


def rolled(combine, x):  # the end of the line comes round to its start
    steps, offset = len(x[0]), 1
    while offset < steps:
        x = combine(jax.tree.map(lambda leaf, d=offset: jnp.roll(leaf, d), x), x)
        offset *= 2
    return x


def states_by_loop(move_SQ, x_T):
    def body(state, x):
        state = move_SQ[x, state]
        return state, state

    return jax.lax.scan(body, 0, x_T)[1]


def tables_backwards(move_SQ, x_T):
    join = lambda first, then: jnp.take_along_axis(first, then, axis=-1)
    return jax.lax.associative_scan(join, move_SQ[x_T])[:, 0]


def own_factor(a_T, arrives_T):
    return jax.lax.associative_scan(compose, (a_T, arrives_T), reverse=True)[1]


def forwards(a_T, arrives_T):
    return jax.lax.associative_scan(compose, (a_T, arrives_T))[1]


def gradient_by_loop(a_T, arrives_T):
    body = lambda total, step: (step[1] + step[0] * total,) * 2
    return jax.lax.scan(body, 0.0, (jnp.append(a_T[1:], 0), arrives_T), reverse=True)[1]


def tangent_at_the_new_state(w, u_T, guess_T):
    value_T = jnp.tanh(w * guess_T + u_T)
    slope_T = w * (1 - value_T**2)
    return jax.lax.associative_scan(compose, (slope_T, value_T - slope_T * guess_T))[1]


def slope_without_w(w, u_T, guess_T):
    before_T = jnp.append(0, guess_T[:-1])
    value_T = jnp.tanh(w * before_T + u_T)
    slope_T = 1 - value_T**2
    return jax.lax.associative_scan(compose, (slope_T, value_T - slope_T * before_T))[1]


def guess_not_subtracted(w, u_T, guess_T):
    value_T = jnp.tanh(w * jnp.append(0, guess_T[:-1]) + u_T)
    return jax.lax.associative_scan(compose, (w * (1 - value_T**2), value_T))[1]


def tanh_by_loop(w, u_T, guess_T):
    return jax.lax.scan(lambda h, u: (jnp.tanh(w * h + u),) * 2, 0.0, u_T)[1]


WRONG = {
    "parity": [
        lambda x_T: (jnp.ones_like(x_T), x_T),  # counts
        lambda x_T: (jnp.zeros_like(x_T), jnp.cumsum(x_T) % 2),  # looks at all bits
        lambda x_T: (1 - x_T, x_T),  # remembers the last bit
        lambda x_T: (-jnp.ones_like(x_T), x_T),  # a 0 turns it as well
    ],
    "by_doubling": [
        rolled,
        lambda combine, x: by_doubling(lambda earlier, later: combine(later, earlier), x),
        lambda combine, x: jax.lax.associative_scan(combine, x),  # right, in nearly twice as many rounds
    ],
    "run_automaton": [tables_backwards, states_by_loop, lambda move_SQ, x_T: move_SQ[x_T][:, 0]],
    "gradient": [own_factor, forwards, gradient_by_loop],
    "newton_round": [tangent_at_the_new_state, slope_without_w, guess_not_subtracted, tanh_by_loop],
}
