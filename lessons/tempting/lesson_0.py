"""Answers to the exercises of lesson 0 that are wrong in tempting ways; the checks refuse them."""

import jax
import jax.numpy as jnp

from lessons.solutions.lesson_0 import two_rolls


def same_key_twice(key):
    return jax.random.randint(key, (), 1, 7), jax.random.randint(key, (), 1, 7)


def from_zero(key):
    return tuple(jax.random.randint(part, (), 0, 6) for part in jax.random.split(key))


def no_six(key):
    return tuple(jax.random.randint(part, (), 1, 6) for part in jax.random.split(key))


def own_key(key):
    return two_rolls(jax.random.key(0))


def where_outside(p_V):
    return -jnp.where(p_V > 0, p_V * jnp.log(p_V), 0.0).sum()


def logarithm_of_softmax(logits_V):
    return jnp.log(jax.nn.softmax(logits_V))


def exponentials(logits_V):
    return jnp.log(jnp.exp(logits_V) / jnp.exp(logits_V).sum())


def no_logarithm(logits_V):
    shifted_V = logits_V - logits_V.max()
    return shifted_V - jnp.exp(shifted_V).sum()


def python_loop(x_T):
    return jnp.stack([x_T[: t + 1].mean() for t in range(len(x_T))])


def running_sum(x_T):
    return jax.lax.scan(lambda total, x: (total + x, total + x), 0.0, x_T)[1]


def mean_before(x_T):
    return jax.lax.scan(lambda c, x: ((c[0] + x, c[1] + 1), c[0] / jnp.maximum(c[1], 1)), (0.0, 0), x_T)[1]


WRONG = {
    "two_rolls": [same_key_twice, from_zero, no_six, own_key],
    "entropy": [where_outside],
    "log_softmax": [logarithm_of_softmax, exponentials, no_logarithm],
    "running_mean": [python_loop, running_sum, mean_before],
}
