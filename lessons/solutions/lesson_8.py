"""Solutions of the exercises of lesson 8, and how one gets there."""

import math

import jax
import jax.numpy as jnp


def causal_weights(score_TT):
    """8.1: mask before the softmax. exp(-inf) is 0, so the future gets nothing, and the rest of the row sums to 1."""
    return jax.nn.softmax(jnp.where(jnp.tri(len(score_TT), dtype=bool), score_TT, -jnp.inf))


def score_scale(C, N):
    """8.2: a score is a sum over the width of one *head*, K = C / N, and not over that of the layer."""
    return (C / N) ** -0.5


def many_heads(x_TC, wq_NCK, wk_NCK, wv_NCK):
    """8.3: write one head, and let `vmap` run it over the first axis of the three arrays of matrices.

    The result is (N, T, K). `concatenate` takes its N parts and puts them side by side.
    """

    def head(wq_CK, wk_CK, wv_CK):
        score_TT = (x_TC @ wq_CK) @ (x_TC @ wk_CK).T / math.sqrt(wk_CK.shape[1])
        return causal_weights(score_TT) @ (x_TC @ wv_CK)

    return jnp.concatenate(jax.vmap(head)(wq_NCK, wk_NCK, wv_NCK), axis=-1)


# 8.4: trap 3 of lesson 0. An index past the end is moved to the last row, and nobody is told. A model would give every
# position past the end of the table the embedding of the last one.
row_past_the_end = 15


def head_step(w, past, x_C):
    """8.5: add the key and the value of the new position first, for it looks at itself, too.

    Then its query meets all keys, and the softmax of these scores weighs the values. There is no mask: the cache holds
    nothing of the future.
    """
    keys = jnp.concatenate([past[0], (x_C @ w["key"])[None]])
    values = jnp.concatenate([past[1], (x_C @ w["value"])[None]])
    weight_S = jax.nn.softmax(keys @ (x_C @ w["query"]) / math.sqrt(keys.shape[1]))
    return weight_S @ values, (keys, values)


def addition(a, b):
    """8.6: `:02` and `:03` fill up with zeros from the left; `[::-1]` reverses the sum."""
    return f"{a:02}+{b:02}={f'{a + b:03}'[::-1]}"
