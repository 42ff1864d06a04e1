"""Answers to the exercises of lesson 4 that are wrong in tempting ways; the checks refuse them."""

import math

import jax.numpy as jnp


def mean_forgotten(w, b, params, state):
    scale_O = params["gain"] / jnp.sqrt(state["var"] + 1e-5)
    return w * scale_O, b * scale_O + params["bias"]


def bias_not_scaled(w, b, params, state):
    scale_O = params["gain"] / jnp.sqrt(state["var"] + 1e-5)
    return w * scale_O, b - state["mean"] * scale_O + params["bias"]


def no_root(w, b, params, state):
    scale_O = params["gain"] / (state["var"] + 1e-5)
    return w * scale_O, (b - state["mean"]) * scale_O + params["bias"]


def any_example(h_NH):
    return (h_NH == 0).any(0).sum()


def examples(h_NH):
    return (h_NH == 0).all(1).sum()


def zeros(h_NH):
    return (h_NH == 0).sum()


WRONG = {
    "loss_from_zero": [math.log(27), 2.4543, 0.0],
    "fold": [mean_forgotten, bias_not_scaled, no_root],
    "relu_gain": [1.0, 5 / 3, 2.0],
    "dead_units": [any_example, examples, zeros],
}
