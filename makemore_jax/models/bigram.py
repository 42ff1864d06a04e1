"""The neural bigram: one linear layer that sees one symbol (makemore lecture 1).

    logits = one_hot(x) @ W          P(y | x) = softmax(logits)[y]

One-hot times W plucks row x of W, so W holds log-counts, up to a constant a row: at the smallest loss softmax(W) is
the table of the counting bigram. This is the file to copy for a model of your own.
"""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp

from makemore_jax.model import Model, step_window


@dataclass(frozen=True)
class Config:
    """Sizes of the neural bigram."""

    vocab: int
    """V: how many symbols there are, the mark included."""


@cache
def bigram(config: Config) -> Model:
    """The model of these sizes."""

    def init(key: jax.Array) -> dict:
        return {"W": jax.random.normal(key, (config.vocab, config.vocab))}

    def apply(params: dict, x_BT: jax.Array) -> jax.Array:
        # One flat matrix: XLA takes half the time for it on CPU that it takes for a stack of them. Full precision: an
        # accelerator's default would round W, and the product must be a row of it exactly.
        one_hot_NV = jax.nn.one_hot(x_BT.reshape(-1), config.vocab)
        logits_NV = jnp.matmul(one_hot_NV, params["W"], precision="highest")
        return logits_NV.reshape(*x_BT.shape, config.vocab)

    return Model(init, apply, *step_window(apply, window=1))
