"""The multilayer perceptron over a window of symbols (Bengio et al. 2003, JMLR 3:1137; makemore lecture 2).

    e = the embeddings of the last R symbols, newest first, concatenated
    logits = tanh(e @ W1 + b1) @ W2 + b2

Positions before the start of a line hold a blank, symbol V, with an embedding of its own.
"""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp

from makemore_jax.errors import require_positive
from makemore_jax.models.interface import Model, positions, require_unrollable, shift_in_line, step_window, with_head
from makemore_jax.models.layers import dropout, init_embedding, init_linear, linear, linear_head
from makemore_jax.recipe import Recipe


@dataclass(frozen=True)
class Config:
    """Sizes of the MLP."""

    vocab: int
    """V: number of symbols, the mark included."""
    window: int = 8
    """R: number of symbols that it sees; 3 in the lecture, the longest line in makemore.py."""
    embed: int = 24
    """D: width of a symbol's embedding."""
    hidden: int = 512
    """H: width of the hidden layer."""

    def __post_init__(self):
        require_positive(self, "vocab", "window", "embed", "hidden")
        require_unrollable(self, "window")


RECIPE = Recipe(steps=2000, optimizer="muon", learning_rate=4e-3, weight_decay=0.1)  # wider models overfit sooner
TUNED = {}, Recipe(steps=4000, learning_rate=4e-3, dropout=0.1, average=0.999)


@cache
def mlp(config: Config) -> Model:
    """Build the model of these sizes."""

    def init(key: jax.Array) -> dict:
        keys = jax.random.split(key, 3)
        return {
            "embed": init_embedding(keys[0], config.vocab + 1, config.embed),
            "hidden": init_linear(keys[1], config.window * config.embed, config.hidden, scale=5 / 3),  # tanh's gain
            "head": init_linear(keys[2], config.hidden, config.vocab, scale=0.1),  # near-uniform at the start
        }

    def hidden(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        position_BT, drop = positions(x_BT), dropout(params)
        symbols = [shift_in_line(x_BT, age, position_BT, blank=config.vocab) for age in range(config.window)]
        embed_BTRD = drop(params["embed"][jnp.stack(symbols, axis=-1)])
        hidden_BTH = jnp.tanh(linear(params["hidden"], embed_BTRD.reshape(*x_BT.shape, -1)))
        return drop(hidden_BTH), {"embed": embed_BTRD[:, :, 0], "hidden": hidden_BTH}

    forward = with_head(hidden, linear_head)
    return Model(
        config, init, forward, *step_window(forward, config.window), hidden, linear_head, frozenset({"dropout"})
    )
