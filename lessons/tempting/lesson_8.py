"""Answers to the exercises of lesson 8 that are wrong in tempting ways; the checks refuse them."""

import math

import jax
import jax.numpy as jnp

from lessons.solutions.lesson_8 import head_step, many_heads


def masked_after(score_TT):
    return jax.nn.softmax(score_TT) * jnp.tri(len(score_TT))


def zero_for_minus_infinity(score_TT):
    return jax.nn.softmax(score_TT * jnp.tri(len(score_TT)))


def down_the_columns(score_TT):
    return jax.nn.softmax(jnp.where(jnp.tri(len(score_TT), dtype=bool), score_TT, -jnp.inf), axis=0)


def interleaved(x_TC, wq_NCK, wk_NCK, wv_NCK):
    heads = many_heads(x_TC, wq_NCK, wk_NCK, wv_NCK).reshape(len(x_TC), len(wq_NCK), -1)
    return jnp.swapaxes(heads, 1, 2).reshape(len(x_TC), -1)


def no_mask(x_TC, wq_NCK, wk_NCK, wv_NCK):
    q, k, v = (jnp.einsum("tc,nck->ntk", x_TC, w) for w in (wq_NCK, wk_NCK, wv_NCK))
    weight = jax.nn.softmax(jnp.einsum("ntk,nsk->nts", q, k) / math.sqrt(q.shape[-1]))
    return jnp.einsum("nts,nsk->tnk", weight, v).reshape(len(x_TC), -1)


def past_only(w, past, x_C):
    weight_S = jax.nn.softmax(past[0] @ (x_C @ w["query"]) / math.sqrt(past[0].shape[1]))
    return weight_S @ past[1], head_step(w, past, x_C)[1]


def forgets_to_grow(w, past, x_C):
    return head_step(w, past, x_C)[0], past


def unscaled(w, past, x_C):
    _, (keys, values) = head_step(w, past, x_C)
    return jax.nn.softmax(keys @ (x_C @ w["query"])) @ values, (keys, values)


WRONG = {
    "causal_weights": [masked_after, zero_for_minus_infinity, down_the_columns],
    "score_scale": [lambda C, N: C**-0.5, lambda C, N: N / C],  # the first is the video's
    "many_heads": [interleaved, no_mask],
    "row_past_the_end": [4, 0, 20, None, [15]],
    "head_step": [past_only, forgets_to_grow, unscaled],
    "addition": [lambda a, b: f"{a:02}+{b:02}={a + b:03}", lambda a, b: f"{a}+{b}={str(a + b)[::-1]}"],
}
