"""Solutions of the exercises of lesson 2, and how one gets there."""

import jax
import jax.numpy as jnp
import numpy as np

SYMBOLS = ".abcdefghijklmnopqrstuvwxyz"


def normalise(counts_VV):
    """2.1: `keepdims=True` leaves the sums a column, (V, 1), so that each row is divided by its own sum.

    Where a sum is 0, the quotient is 0 / 0. So divide by 1 there, and then choose the uniform row with `where`.
    """
    total_V1 = counts_VV.sum(1, keepdims=True)
    return jnp.where(total_V1 > 0, counts_VV / jnp.maximum(total_V1, 1), 1 / counts_VV.shape[1])


def count_trigrams(names):
    """2.2: name by name, so that no trigram reaches across two names; two dots stand before each, one after it.

    Every three neighbours of `..name.` are then one trigram: `zip` of the list with itself, moved by one and by two.
    """
    counts = np.zeros((27, 27, 27), int)
    for name in names:
        ids = [0, 0, *(SYMBOLS.index(letter) for letter in name), 0]
        for first, second, third in zip(ids, ids[1:], ids[2:], strict=False):
            counts[first, second, third] += 1
    return counts


def dev_loss(more, train, dev):
    """For 2.3: count on train, add, divide, and take the mean of -log P over the trigrams of dev."""
    smoothed = count_trigrams(train) + more
    log_prob = np.log(smoothed / smoothed.sum(2, keepdims=True))
    held_out = count_trigrams(dev)
    return -(held_out * log_prob).sum() / held_out.sum()


# 2.3: min((0.01, 0.03, 0.1, 0.3, 1, 3, 10), key=lambda more: dev_loss(more, corpus.lines.train, corpus.lines.dev))
best_smoothing = 0.1


def logits_after(W_VV, x_N):
    """2.4: the product with a one-hot picks a row of W. So pick it: an index of N numbers gives N rows."""
    return W_VV[x_N]


def cross_entropy(logits_NV, y_N):
    """2.5: `log_softmax` bears logits of any size. Of each row we need one entry, that of the symbol that came.

    `take_along_axis` takes it; `log_prob_NV[jnp.arange(len(y_N)), y_N]` does the same with two arrays as an index.
    """
    log_prob_NV = jax.nn.log_softmax(logits_NV)
    return -jnp.take_along_axis(log_prob_NV, y_N[:, None], 1).mean()
