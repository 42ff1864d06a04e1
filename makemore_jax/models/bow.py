"""The causal bag of words: each position sees the mean of the embeddings so far (makemore.py).

    e_t = embed[x_t] + position[t]
    u_t = e_t + mean(e_0 ... e_t)
    logits_t = head(u_t + W2 tanh(W1 u_t))

A running sum makes the mean, so the cost is linear in T.
"""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp

from makemore_jax.errors import require
from makemore_jax.model import Model, anew, positions, with_inner
from makemore_jax.nn import init_embedding, init_linear, linear


@dataclass(frozen=True)
class Config:
    """Sizes of the causal bag of words."""

    vocab: int
    """V: how many symbols there are, the mark included."""
    block: int = 16
    """The longest line, in tokens with its end mark; there are so many positions."""
    embed: int = 64
    """D: width of the embeddings."""
    hidden: int = 64
    """H: width of the hidden layer."""

    def __post_init__(self):
        require(min(self.block, self.embed, self.hidden) > 0, "--block, --embed and --hidden must be at least 1")


@cache
def bow(config: Config) -> Model:
    """The model of these sizes."""

    def init(key: jax.Array) -> dict:
        keys = jax.random.split(key, 5)
        return {
            "embed": init_embedding(keys[0], config.vocab, config.embed),
            "position": init_embedding(keys[1], config.block, config.embed),
            "hidden": init_linear(keys[2], config.embed, config.hidden),
            "out": init_linear(keys[3], config.hidden, config.embed),
            "head": init_linear(keys[4], config.embed, config.vocab, scale=0.1),
        }

    def read(params: dict, embedded: jax.Array, mean: jax.Array) -> tuple[jax.Array, dict]:
        seen = embedded + mean
        hidden = jnp.tanh(linear(params["hidden"], seen))
        return linear(params["head"], seen + linear(params["out"], hidden)), {"mean": mean, "hidden": hidden}

    def forward(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        t_BT = positions(x_BT)
        embed_BTD = params["embed"][x_BT] + params["position"][t_BT]

        def add(a, b):
            """Sums over what follows, each with whether a line starts in it."""
            return jnp.where(b[1], b[0], a[0] + b[0]), a[1] | b[1]

        sum_BTD, _ = jax.lax.associative_scan(add, (embed_BTD, (t_BT == 0)[..., None]), axis=1)
        return read(params, embed_BTD, sum_BTD / (t_BT + 1)[..., None])

    def init_cache(params: dict, batch: int) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros((batch, config.embed)), jnp.zeros(batch, jnp.int32)

    def step(params: dict, cache: tuple, x_B: jax.Array) -> tuple[jax.Array, tuple]:
        sum_BD, t_B = anew(x_B, init_cache(params, len(x_B)), cache)
        embed_BD = params["embed"][x_B] + params["position"][t_B]
        sum_BD += embed_BD
        logits_BV, _ = read(params, embed_BD, sum_BD / (t_B + 1)[:, None])
        return logits_BV, (sum_BD, t_B + 1)

    return Model(init, with_inner(forward), init_cache, step)
