"""Answers to the exercises of lesson 3 that are wrong in tempting ways; the checks refuse them."""

import jax
import jax.numpy as jnp
import numpy as np

from lessons.solutions.lesson_3 import direct_logits, lowest_loss


def zero(x_NR, y_N):
    return 0.0


def different_answers(x_NR, y_N):
    answers = {}
    for row, y in zip(np.asarray(x_NR).tolist(), np.asarray(y_N).tolist(), strict=True):
        answers.setdefault(tuple(row), set()).add(y)
    return np.mean([np.log(len(answers[tuple(row)])) for row in np.asarray(x_NR).tolist()])


def mean_over_windows(x_NR, y_N):
    return lowest_loss(x_NR, y_N) * len(y_N) / len(np.unique(np.asarray(x_NR), axis=0))


def all_zero(params):
    return params | {"w2": 0 * params["w2"], "b2": 0 * params["b2"]}


def all_small(params):
    return jax.tree.map(lambda leaf: 0.01 * leaf, params)


def biases_left(params):
    return params | {"w2": 0.01 * params["w2"]}


def spread_of_the_sum(loss, params, x_N, y_N):
    total = lambda params: jax.vmap(loss, in_axes=(None, 0, 0))(params, x_N, y_N).mean()
    return jax.tree.map(jnp.std, jax.grad(total)(params))


def mean_square(loss, params, x_N, y_N):
    grads_N = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(params, x_N, y_N)
    return jax.tree.map(lambda grad_N: jnp.sqrt((grad_N**2).mean(0)), grads_N)


def no_direct(params, x_NR):
    return direct_logits(params | {"direct": jnp.zeros_like(params["direct"])}, x_NR)


def direct_inside(params, x_NR):
    e_NE = params["embed"][x_NR].reshape(len(x_NR), -1)
    hidden_NH = jnp.tanh(e_NE @ params["w1"] + params["b1"])
    return jnp.tanh(hidden_NH @ params["w2"] + params["b2"] + e_NE @ params["direct"])


WRONG = {
    "lowest_loss": [zero, different_answers, mean_over_windows],
    "calm": [all_zero, all_small, biases_left],
    "gradient_spread": [spread_of_the_sum, mean_square],
    "direct_logits": [no_direct, direct_inside],
}
