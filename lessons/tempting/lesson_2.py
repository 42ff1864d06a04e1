"""Answers to the exercises of lesson 2 that are wrong in tempting ways; the checks refuse them."""

import jax
import jax.numpy as jnp
import numpy as np

from lessons.solutions.lesson_2 import SYMBOLS, count_trigrams, cross_entropy


def without_keepdims(counts_VV):
    return counts_VV / counts_VV.sum(1)


def empty_row_forgotten(counts_VV):
    return counts_VV / jnp.maximum(counts_VV.sum(1, keepdims=True), 1)


def smoothed_instead(counts_VV):
    return (counts_VV + 1) / (counts_VV + 1).sum(1, keepdims=True)


def across_names(names):
    ids = np.array([SYMBOLS.index(symbol) for symbol in f"..{'.'.join(names)}."])
    counts = np.zeros((27, 27, 27), int)
    np.add.at(counts, (ids[:-2], ids[1:-1], ids[2:]), 1)
    return counts


def one_dot(names):
    counts = np.zeros((27, 27, 27), int)
    for name in names:
        ids = [0, *(SYMBOLS.index(letter) for letter in name), 0]
        for first, second, third in zip(ids, ids[1:], ids[2:], strict=False):
            counts[first, second, third] += 1
    return counts


def counted_once(names):
    return np.minimum(count_trigrams(names), 1)


def columns(W_VV, x_N):
    return W_VV[:, x_N].T


def a_product_still(W_VV, x_N):
    return jnp.eye(27)[x_N] @ W_VV


def multiplied_and_summed(W_VV, x_N):
    return (jax.nn.one_hot(x_N, 27)[:, :, None] * W_VV).sum(1)


def found_again(W_VV, x_N):
    return W_VV[jax.nn.one_hot(x_N, 27).argmax(1)]


def logarithm_of_softmax(logits_NV, y_N):
    return -jnp.log(jax.nn.softmax(logits_NV))[jnp.arange(len(y_N)), y_N].mean()


def every_pair_of_indices(logits_NV, y_N):
    return -jax.nn.log_softmax(logits_NV)[:, y_N].mean()


def over_the_batch(logits_NV, y_N):
    return -jax.nn.log_softmax(logits_NV, axis=0)[jnp.arange(len(y_N)), y_N].mean()


def a_sum(logits_NV, y_N):
    return cross_entropy(logits_NV, y_N) * len(y_N)


WRONG = {
    "normalise": [without_keepdims, empty_row_forgotten, smoothed_instead],
    "count_trigrams": [across_names, one_dot, counted_once],
    "best_smoothing": [0.01, 1.0, 10.0, 0.2],
    "logits_after": [columns, a_product_still, multiplied_and_summed, found_again],
    "cross_entropy": [logarithm_of_softmax, every_pair_of_indices, over_the_batch, a_sum],
}
