"""The neural bigram: one linear layer that sees one symbol (makemore lecture 1).

    logits = one_hot(x) @ W          P(y | x) = softmax(logits)[y]

The product selects row x of W. At the minimum of the loss, softmax(W) is the table of the counting bigram, so W holds
log-counts up to a constant per row. Copy this file to write a model of your own.
"""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp

from makemore_jax.errors import require_positive
from makemore_jax.models.interface import Model, step_window
from makemore_jax.recipe import Recipe


@dataclass(frozen=True)
class Config:
    """Sizes of the neural bigram."""

    vocab: int
    """V: number of symbols, the mark included."""

    def __post_init__(self):
        require_positive(self, "vocab")


RECIPE = Recipe(steps=2000, learning_rate=0.1, weight_decay=0.0)


@cache
def bigram(config: Config) -> Model:
    """Build the model of these sizes."""

    def init(key: jax.Array) -> dict:
        return {"W": jax.random.normal(key, (config.vocab, config.vocab))}

    def forward(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        # XLA on CPU multiplies one flat matrix twice as fast as a stack of them. The precision is full because the
        # product must be exactly a row of W, which accelerators round by default.
        one_hot_NV = jax.nn.one_hot(x_BT.reshape(-1), config.vocab)
        logits_NV = jnp.matmul(one_hot_NV, params["W"], precision="highest")
        return logits_NV.reshape(*x_BT.shape, config.vocab), {}

    return Model(config, init, forward, *step_window(forward, window=1))
