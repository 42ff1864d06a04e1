"""Answers to the exercises of lesson 6 that are wrong in tempting ways; the checks refuse them."""

import jax.numpy as jnp

import makemore_jax as mm

corpus = mm.load()


def swapped(w, b, x_TE, d):
    past_TE = jnp.pad(x_TE, ((d, 0), (0, 0)))[: len(x_TE)]
    return jnp.tanh(jnp.concatenate([x_TE, past_TE], axis=-1) @ w + b)


def rolled(w, b, x_TE, d):  # the end of the line comes round to its start
    return jnp.tanh(jnp.concatenate([jnp.roll(x_TE, d, axis=0), x_TE], axis=-1) @ w + b)


WRONG = {
    "channel_moments": [lambda x: (x.mean(0), x.var(0)), lambda x: (x.mean(-1), x.var(-1))],
    "nodes": [lambda T, L: (T * 2**L, T * L), lambda T, L: (T * (2**L - 1), 2**L - 1)],
    "dilated": [swapped, rolled],
    "receptive_field": [lambda dilations: sum(dilations), lambda dilations: 2 ** len(dilations)],
    "below": [mm.count(corpus, order=3), 2.03],
}
