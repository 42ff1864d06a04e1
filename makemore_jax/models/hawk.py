"""Hawk: a recurrence that is linear in its state, so that training computes all steps at once (De et al. 2024,
arXiv:2402.19427).

    x <- x + recurrent(norm(x)),   x <- x + mlp(norm(x))               L blocks, as in the transformer

    recurrent: g, v = x Wg, x Wv;   u_t = sum of k_d v_{t-d}           a causal convolution of each unit, d < conv
               r, i = sigmoid(u Wr + br), sigmoid(u Wi + bi)
               a = exp(-8 softplus(s) r)                               from 0 to 1; 0 at the mark
               h_t = a h_{t-1} + sqrt(1 - a^2) i u                     RG-LRU
               out = (gelu(g) h) Wo
    mlp:       (gelu(y Wa) (y Wb)) Wd

The gates depend on the input alone, so a step is a map h -> a h + b, and (a, b) followed by (a', b') is another such
map, (a a', a' b + b'). Their composition is associative: T steps take about log T rounds, each of them parallel. For
sampling, `step` applies one map to the state.
"""

import math
from dataclasses import dataclass
from functools import cache, partial, reduce

import jax
import jax.numpy as jnp

from makemore_jax.data.vocab import MARK
from makemore_jax.errors import require_positive
from makemore_jax.models.interface import Model, positions, require_unrollable, reset_at_mark, shift_in_line, with_head
from makemore_jax.models.layers import (
    along,
    dropout,
    init_embedding,
    init_linear,
    init_norm,
    linear,
    linear_head,
    rms_norm,
    through_blocks,
    upcast,
)
from makemore_jax.recipe import Recipe

SHARPNESS = 8.0  # the 8 of the equation for a
SLOWEST, FASTEST = 0.99, 0.5  # the state that a unit keeps at each step, before training, if its gate r is 1


@dataclass(frozen=True)
class Config:
    """Sizes of Hawk."""

    vocab: int
    """V: number of symbols, the mark included."""
    layers: int = 2
    """L: number of blocks."""
    embed: int = 64
    """D: width of the residual stream; the MLP is twice as wide."""
    hidden: int = 64
    """H: width of the recurrent state of a block."""
    conv: int = 4
    """Number of symbols that the convolution of a block sees, the current one included."""

    def __post_init__(self):
        require_positive(self, "vocab", "layers", "embed", "hidden", "conv")
        require_unrollable(self, "layers", "conv")


RECIPE = Recipe(steps=4000, learning_rate=5e-3, weight_decay=0.3)
TUNED = (
    {"embed": 128, "hidden": 192},
    Recipe(steps=4000, optimizer="muon", learning_rate=4e-3, weight_decay=0.1, dropout=0.25, average=0.999),
)


def init_block(config: Config, key: jax.Array) -> dict:
    """Draw the weights of a block; the deeper the network, the smaller its two terms of the residual stream."""
    keys, width, hidden = jax.random.split(key, 7), config.embed, config.hidden
    deep = (2 * config.layers) ** -0.5
    kept = jax.random.uniform(keys[0], (hidden,), minval=FASTEST, maxval=SLOWEST)
    return {
        "norm1": init_norm(width, bias=False),
        "input": init_linear(keys[1], width, 2 * hidden),  # g v
        "conv": jax.random.normal(keys[2], (config.conv, hidden)) / math.sqrt(config.conv),
        "gates": init_linear(keys[3], hidden, 2 * hidden),  # r i
        "decay": {"b": jnp.log(jnp.expm1(-jnp.log(kept) / SHARPNESS))},  # s
        "out": init_linear(keys[4], hidden, width, deep),
        "norm2": init_norm(width, bias=False),
        "up": init_linear(keys[5], width, 4 * width),  # the two factors of the MLP
        "down": init_linear(keys[6], 2 * width, width, deep),
    }


def init_params(config: Config, key: jax.Array) -> dict:
    """Draw random weights."""
    keys = jax.random.split(key, 3)
    return {
        "embed": init_embedding(keys[0], config.vocab, config.embed),
        "blocks": [init_block(config, key) for key in jax.random.split(keys[1], config.layers)],
        "norm": init_norm(config.embed, bias=False),
        "head": init_linear(keys[2], config.embed, config.vocab, scale=0.1),
    }


def convolve(params: dict, values: list[jax.Array]) -> jax.Array:
    """Return u from the values v of each age, the current one first."""
    return reduce(jnp.add, (along(k_H, v) * v for k_H, v in zip(params["conv"], values, strict=True)))


def coefficients(params: dict, u: jax.Array, starts: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return the map of each step, a and b, and the gates r and i; `starts` says which tokens are marks."""
    r, i = jnp.split(jax.nn.sigmoid(upcast(linear(params["gates"], u))), 2, axis=-1)
    log_a = -SHARPNESS * along(jax.nn.softplus(params["decay"]["b"]), r) * r
    log_a = jnp.where(starts[..., None], -jnp.inf, log_a)
    # Bounded below, since the slope of the root is infinite at 0.
    scale = jnp.sqrt(jnp.maximum(-jnp.expm1(2 * log_a), 1e-4))
    return jnp.exp(log_a), scale * i * upcast(u), r, i


def compose(first: tuple[jax.Array, jax.Array], then: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Compose two maps of the state, each given by its a and b."""
    return first[0] * then[0], then[0] * first[1] + then[1]


def halves(params: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return gelu(left) and right, the two halves of a linear layer."""
    left, right = jnp.split(linear(params, x), 2, axis=-1)
    return jax.nn.gelu(left, approximate=True), right


def read_state(params: dict, gate: jax.Array, h: jax.Array) -> jax.Array:
    """Return the term that the recurrence adds to the residual stream."""
    return linear(params["out"], gate * h.astype(gate.dtype))


def mlp(params: dict, x: jax.Array) -> jax.Array:
    """Return the term that the MLP adds to the residual stream."""
    gate, value = halves(params["up"], rms_norm(params["norm2"], x))
    return linear(params["down"], gate * value)


@cache
def hawk(config: Config) -> Model:
    """Build the model of these sizes."""

    def hidden(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        position_BT, starts_BT = positions(x_BT), x_BT == MARK

        def transform(x_BTD: jax.Array, numbered: tuple) -> tuple[jax.Array, jax.Array]:
            layer, block = numbered
            drop = dropout(params, first=1 + 2 * layer)  # mask 0 is for the embedding, then two for each block
            gate_BTH, v_BTH = halves(block["input"], rms_norm(block["norm1"], x_BTD))
            u_BTH = convolve(block, [shift_in_line(v_BTH, age, position_BT) for age in range(config.conv)])
            a_BTH, b_BTH, *gates = coefficients(block, u_BTH, starts_BT)
            _, h_BTH = jax.lax.associative_scan(compose, (a_BTH, b_BTH), axis=1)
            x_BTD = x_BTD + drop(read_state(block, gate_BTH, h_BTH))
            return x_BTD + drop(mlp(block, x_BTD)), jnp.stack([h_BTH, a_BTH, *gates])

        x_BTD = dropout(params)(params["embed"][x_BT])
        x_BTD, seen_LNBTH = through_blocks(params, transform, x_BTD)
        last = dict(zip(("state", "decay", "recurrence", "input"), seen_LNBTH[-1], strict=True))
        return rms_norm(params["norm"], x_BTD), last | {"residual": x_BTD}

    def init_cache(params: dict, batch: int) -> list[dict]:
        v_BKH = jnp.zeros((batch, config.conv - 1, config.hidden), params["embed"].dtype)
        return [{"h": upcast(jnp.zeros_like(v_BKH, shape=(batch, config.hidden))), "v": v_BKH}] * config.layers

    def step(params: dict, cache: list[dict], x_B: jax.Array) -> tuple[jax.Array, list[dict]]:
        x_BD, new = params["embed"][x_B], []
        for block, old in zip(params["blocks"], cache, strict=True):
            gate_BH, v_BH = halves(block["input"], rms_norm(block["norm1"], x_BD))
            v_BKH = jnp.concatenate([v_BH[:, None], reset_at_mark(old["v"], 0, x_B)], axis=1)
            a_BH, b_BH, *_ = coefficients(block, convolve(block, list(jnp.moveaxis(v_BKH, 1, 0))), x_B == MARK)
            h_BH = a_BH * old["h"] + b_BH
            x_BD = x_BD + read_state(block, gate_BH, h_BH)
            x_BD = x_BD + mlp(block, x_BD)
            new.append({"h": h_BH, "v": v_BKH[:, :-1]})
        return linear_head(params, rms_norm(params["norm"], x_BD)), new

    forward = with_head(hidden, linear_head)
    supports = frozenset({"dropout", "remat"})
    return Model(config, partial(init_params, config), forward, init_cache, step, hidden, linear_head, supports)
