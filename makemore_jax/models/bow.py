"""The causal bag of words, in which each position sees the mean of the embeddings so far (makemore.py).

    e_t = embed[x_t] + position[t]
    u_t = e_t + mean(e_0 ... e_t)
    logits_t = head(u_t + W2 tanh(W1 u_t))

A running sum gives the mean, so the cost is linear in T.
"""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp

from makemore_jax.errors import require_positive
from makemore_jax.models.interface import Model, positions, reset_at_mark, with_head
from makemore_jax.models.layers import dropout, init_embedding, init_linear, linear, linear_head
from makemore_jax.recipe import Recipe


@dataclass(frozen=True)
class Config:
    """Sizes of the causal bag of words."""

    vocab: int
    """V: number of symbols, the mark included."""
    context: int = 16
    """Longest line, in tokens with its end mark; there is a position embedding for each."""
    embed: int = 64
    """D: width of the embeddings."""
    hidden: int = 64
    """H: width of the hidden layer."""

    def __post_init__(self):
        require_positive(self, "vocab", "context", "embed", "hidden")


RECIPE = Recipe(steps=5000, optimizer="muon", learning_rate=4e-3)
TUNED = {"embed": 128, "hidden": 512}, Recipe(steps=6000, average=0.999)


def sum_in_line(value_BTD: jax.Array, starts_BT: jax.Array) -> jax.Array:
    """Return (B, T, D) the cumulative sum along time, restarted at the start of each line: a segmented scan."""

    def combine(left: tuple, right: tuple) -> tuple:
        """Join two adjacent spans of (sum, whether a line starts inside); a start discards the sum before it."""
        (left_sum, left_starts), (right_sum, right_starts) = left, right
        return jnp.where(right_starts, right_sum, left_sum + right_sum), left_starts | right_starts

    return jax.lax.associative_scan(combine, (value_BTD, starts_BT[..., None]), axis=1)[0]


def transform(params: dict, embed: jax.Array, mean: jax.Array) -> tuple[jax.Array, dict]:
    """Return the last hidden layer and activations from each token's embedding and the mean so far, (..., D)."""
    drop = dropout(params)
    seen = drop(embed + mean)
    hidden = jnp.tanh(linear(params["hidden"], seen))
    return drop(seen + linear(params["out"], hidden)), {"mean": mean, "hidden": hidden}


@cache
def bow(config: Config) -> Model:
    """Build the model of these sizes."""

    def init(key: jax.Array) -> dict:
        keys = jax.random.split(key, 5)
        return {
            "embed": init_embedding(keys[0], config.vocab, config.embed),
            "position": init_embedding(keys[1], config.context, config.embed),
            "hidden": init_linear(keys[2], config.embed, config.hidden),
            "out": init_linear(keys[3], config.hidden, config.embed),
            "head": init_linear(keys[4], config.embed, config.vocab, scale=0.1),
        }

    def hidden(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        position_BT = positions(x_BT)
        embed_BTD = params["embed"][x_BT] + params["position"][position_BT]
        sum_BTD = sum_in_line(embed_BTD, position_BT == 0)
        return transform(params, embed_BTD, sum_BTD / (position_BT + 1)[..., None].astype(sum_BTD.dtype))

    def init_cache(params: dict, batch: int) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros((batch, config.embed)), jnp.zeros(batch, jnp.int32)

    def step(params: dict, cache: tuple, x_B: jax.Array) -> tuple[jax.Array, tuple]:
        sum_BD, position_B = reset_at_mark(cache, init_cache(params, len(x_B)), x_B)
        embed_BD = params["embed"][x_B] + params["position"][position_B]
        sum_BD += embed_BD
        hidden_BD, _ = transform(params, embed_BD, sum_BD / (position_B + 1)[:, None].astype(sum_BD.dtype))
        return linear_head(params, hidden_BD), (sum_BD, position_B + 1)

    return Model(
        config, init, with_head(hidden, linear_head), init_cache, step, hidden, linear_head, frozenset({"dropout"})
    )
