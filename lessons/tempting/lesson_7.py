"""Answers to the exercises of lesson 7 that are wrong in tempting ways; the checks refuse them."""

import math

import jax
import jax.numpy as jnp


def exchanged(params, h_H, x_E):
    u = jnp.concatenate([x_E, h_H])
    reset_H = jax.nn.sigmoid(u @ params["Wr"] + params["br"])
    update_H = jax.nn.sigmoid(u @ params["Wz"] + params["bz"])
    new_H = jnp.tanh(jnp.concatenate([x_E, reset_H * h_H]) @ params["Wn"] + params["bn"])
    return update_H * h_H + (1 - update_H) * new_H


def no_reset(params, h_H, x_E):
    u = jnp.concatenate([x_E, h_H])
    update_H = jax.nn.sigmoid(u @ params["Wz"] + params["bz"])
    return (1 - update_H) * h_H + update_H * jnp.tanh(u @ params["Wn"] + params["bn"])


def clip_each(grads, limit):
    return jax.tree.map(lambda leaf: leaf * jnp.minimum(1, limit / jnp.linalg.norm(leaf)), grads)


def always_scaled(grads, limit):
    norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(grads)))
    return jax.tree.map(lambda leaf: leaf * limit / norm, grads)


def diagonal_is_zero(logits_of, x_TE):
    return jnp.diag(jnp.abs(jax.jacrev(logits_of)(x_TE)).max((1, 3))).max() == 0


def first_affects_last(logits_of, x_TE):  # misses a network that sees a little of the past
    return jnp.abs(jax.jacrev(logits_of)(x_TE)[-1, :, 0]).max() == 0


WRONG = {
    "gru_step": [exchanged, no_reset],
    "clip": [clip_each, always_scaled, lambda grads, limit: jax.tree.map(lambda g: jnp.clip(g, -limit, limit), grads)],
    "half_life": [lambda z: math.log(0.5) / math.log(z), lambda z: 0.5 / z],
    "ignores_the_past": [diagonal_is_zero, first_affects_last, lambda logits_of, x_TE: False],
}
