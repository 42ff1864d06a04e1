"""The multilayer perceptron over a window of symbols (Bengio et al. 2003, JMLR 3:1137; makemore lecture 2).

    e = the embeddings of the last R symbols, newest first, end to end
    logits = tanh(e @ W1 + b1) @ W2 + b2

Before the start of a line stands a blank, symbol V, with an embedding of its own.
"""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp

from makemore_jax.errors import require
from makemore_jax.model import Model, lag, positions, step_window, with_inner
from makemore_jax.nn import init_embedding, init_linear, linear


@dataclass(frozen=True)
class Config:
    """Sizes of the MLP."""

    vocab: int
    """V: how many symbols there are, the mark included."""
    window: int = 8
    """R: how many symbols it sees; the lecture's is 3, makemore.py's the longest line."""
    embed: int = 24
    """D: width of a symbol's embedding."""
    hidden: int = 512
    """H: width of the hidden layer."""

    def __post_init__(self):
        require(self.window > 0, f"--window is {self.window}; it must be at least 1")
        require(min(self.embed, self.hidden) > 0, "--embed and --hidden must be at least 1")


@cache
def mlp(config: Config) -> Model:
    """The model of these sizes."""

    def init(key: jax.Array) -> dict:
        keys = jax.random.split(key, 3)
        return {
            "embed": init_embedding(keys[0], config.vocab + 1, config.embed),
            "hidden": init_linear(keys[1], config.window * config.embed, config.hidden, scale=5 / 3),  # tanh's gain
            "head": init_linear(keys[2], config.hidden, config.vocab, scale=0.1),  # an unsure start
        }

    def forward(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        t_BT = positions(x_BT)
        x_BTR = jnp.stack([lag(x_BT, age, t_BT, config.vocab) for age in range(config.window)], -1)  # newest first
        embed_BTRD = params["embed"][x_BTR]
        hidden_BTH = jnp.tanh(linear(params["hidden"], embed_BTRD.reshape(*x_BT.shape, -1)))
        return linear(params["head"], hidden_BTH), {"embed": embed_BTRD[:, :, 0], "hidden": hidden_BTH}

    apply = with_inner(forward)
    return Model(init, apply, *step_window(apply, config.window))
