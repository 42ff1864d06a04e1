"""The transformer of GPT-2 (Vaswani et al. 2017, arXiv:1706.03762; Radford et al. 2019; makemore.py).

    x = embed[tokens] + position[0 ... T-1]
    x <- x + attention(norm(x)),   x <- x + mlp(norm(x))            L blocks
    logits = norm(x) @ head

    attention: softmax(q k^T / sqrt(K), over the past only) v, for N heads of width K = D / N each

`modern` uses RMS norm, rotary positions (Su et al. 2021, arXiv:2104.09864) and SwiGLU (Shazeer 2020, arXiv:2002.05202)
instead, without biases. For sampling, past keys and values are cached, so that a step computes a single position.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from makemore_jax.errors import require, require_positive
from makemore_jax.models.attention import FUSED_WIDTHS, fused, fusible
from makemore_jax.models.interface import Model, positions, require_unrollable, reset_at_mark, with_head
from makemore_jax.models.layers import (
    dropout,
    init_embedding,
    init_linear,
    init_norm,
    layer_norm,
    linear,
    rms_norm,
    through_blocks,
    upcast,
)
from makemore_jax.recipe import Default, Recipe

SUPPORTS = frozenset({"dropout", "remat"})


class Style(NamedTuple):
    """The parts that differ between GPT-2 and `modern`."""

    norm: Callable[[dict, jax.Array], jax.Array]
    bias: bool
    rotary: bool  # positions turn queries and keys; otherwise they are embedded
    gated: bool  # SwiGLU; otherwise GELU


GPT2 = Style(layer_norm, bias=True, rotary=False, gated=False)
MODERN = Style(rms_norm, bias=False, rotary=True, gated=True)


@dataclass(frozen=True)
class Config:
    """Sizes of the transformer."""

    vocab: int
    """V: number of symbols, the mark included."""
    context: int = 16
    """Longest line, in tokens with its end mark: the number of positions."""
    layers: int = 4
    """L: number of blocks."""
    heads: int = 4
    """N: number of heads."""
    embed: int = 64
    """D: width of the residual stream, divided among the heads."""
    tied: bool = False
    """Use the embedding as the output head as well."""
    modern: bool = False
    """RMS norm, rotary positions, SwiGLU and no biases, instead of GPT-2's choices."""
    fused: bool = False
    """Compute attention by a fused kernel if there is one: on an NVIDIA GPU, in bfloat16."""

    def __post_init__(self):
        require_positive(self, "vocab", "context", "layers", "heads", "embed")
        require_unrollable(self, "layers")
        divisor = self.heads * (2 if self.style.rotary else 1)  # rotary positions rotate pairs
        message = f"`embed` is {self.embed}; with `heads` {self.heads} it must be divisible by {divisor}"
        require(self.embed % divisor == 0, message)
        width = self.embed // self.heads
        limit = f"`fused` needs heads whose width is a multiple of 8, up to 128; `embed` / `heads` is {width}"
        require(not self.fused or width in FUSED_WIDTHS, limit)

    @property
    def style(self) -> Style:
        """The kind of norm, biases, positions and MLP."""
        return MODERN if self.modern else GPT2

    @property
    def hidden(self) -> int:
        """Width of the MLP: 4 D, or about 8/3 D for SwiGLU, which has three matrices instead of two."""
        return 8 * max(1, round(self.embed / 3)) if self.style.gated else 4 * self.embed


# This learning rate suits a width of 64; four times the width needs a quarter of it.
RECIPE = Recipe(steps=2000, batch=Default(96), optimizer="muon", learning_rate=4e-3, weight_decay=0.1, dropout=0.05)
TUNED = (
    {"embed": 128, "modern": True},
    Recipe(
        steps=4000,
        batch=Default(96),
        optimizer="muon",
        learning_rate=2.5e-3,
        weight_decay=0.1,
        dropout=0.15,
        average=0.999,
    ),
)


def init_block(config: Config, key: jax.Array) -> dict:
    """Draw weights as in GPT-2: standard deviation 0.02, less for the 2 L outputs that add to the residual stream."""
    keys, style, width, hidden = jax.random.split(key, 5), config.style, config.embed, config.hidden
    flat = 0.02 * math.sqrt(width)  # `init_linear` divides by the root, which gives 0.02
    deep = 0.02 * math.sqrt(width / (2 * config.layers))
    params = {
        "norm1": init_norm(width, style.bias),
        "qkv": init_linear(keys[0], width, 3 * width, flat, style.bias),
        "out": init_linear(keys[1], width, width, deep, style.bias),
        "norm2": init_norm(width, style.bias),
        "up": init_linear(keys[2], width, hidden, flat, style.bias),
        "down": init_linear(keys[3], hidden, width, deep * math.sqrt(hidden / width), style.bias),
    }
    return params | ({"gate": init_linear(keys[4], width, hidden, flat, style.bias)} if style.gated else {})


def init_params(config: Config, key: jax.Array) -> dict:
    """Draw random weights."""
    keys, style, width = jax.random.split(key, 4), config.style, config.embed
    params = {
        "embed": init_embedding(keys[0], config.vocab, width, 0.02),
        "blocks": [init_block(config, key) for key in jax.random.split(keys[1], config.layers)],
        "norm": init_norm(width, style.bias),
    }
    if not style.rotary:
        params["position"] = init_embedding(keys[2], config.context, width, 0.02)
    if not config.tied:
        params["head"] = init_linear(keys[3], width, config.vocab, 0.02 * math.sqrt(width), bias=False)["w"]
    return params


@cache
def frequencies(pairs: int) -> jax.Array:
    """Return (pairs,) the angle in radians by which each position rotates each pair: from 1 down to 1/10,000."""
    # A constant, even if the first call is inside jit.
    with jax.ensure_compile_time_eval(), jax.transfer_guard("allow"):
        return 10_000.0 ** (-jnp.arange(pairs) / pairs)


def rotate(x: jax.Array, position: jax.Array) -> jax.Array:
    """Rotate each pair of (..., N, K) in proportion to its position, so that q k depends only on the distance."""
    pairs = frequencies(x.shape[-1] // 2)
    angle = jnp.multiply.outer(position.astype(pairs.dtype), pairs)[..., None, :]
    cos, sin = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def embed(config: Config, params: dict, x: jax.Array, position: jax.Array) -> jax.Array:
    """Return (..., D) the residual stream before the first block."""
    return params["embed"][x] + (0 if config.style.rotary else params["position"][position])


def queries_keys_values(
    config: Config, params: dict, x: jax.Array, position: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return queries, keys and values, (..., N, K) each, from the normalised residual stream."""
    qkv = linear(params["qkv"], config.style.norm(params["norm1"], x))
    q, k, v = (part.reshape(*x.shape[:-1], config.heads, -1) for part in jnp.split(qkv, 3, axis=-1))
    return (rotate(q, position), rotate(k, position), v) if config.style.rotary else (q, k, v)


def attend(q: jax.Array, k_BSNK: jax.Array, v_BSNK: jax.Array, visible: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return for each query the mean (B, T, D) of values, weighted by its match with visible keys; and the weights."""
    score_BNTS = upcast(jnp.einsum("btnk,bsnk->bnts", q, k_BSNK)) / math.sqrt(q.shape[-1])
    weight_BNTS = jax.nn.softmax(jnp.where(visible, score_BNTS, -jnp.inf))
    mean_BTNK = jnp.einsum("bnts,bsnk->btnk", weight_BNTS.astype(v_BSNK.dtype), v_BSNK)
    return mean_BTNK.reshape(*mean_BTNK.shape[:2], -1), weight_BNTS


def mlp(config: Config, params: dict, x: jax.Array) -> jax.Array:
    """Return (..., D) the term that the second half of a block adds to the residual stream."""
    y = config.style.norm(params["norm2"], x)
    up = linear(params["up"], y)
    if config.style.gated:
        return linear(params["down"], jax.nn.silu(linear(params["gate"], y)) * up)
    return linear(params["down"], jax.nn.gelu(up, approximate=True))


def read_out(config: Config, params: dict, x: jax.Array) -> jax.Array:
    """Return (..., V) logits from the residual stream after the last block."""
    head = params["embed"].T if config.tied else params["head"]
    return linear({"w": head}, config.style.norm(params["norm"], x))


@cache
def transformer(config: Config) -> Model:
    """Build the model of these sizes."""

    def hidden(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        position_BT, s_S = positions(x_BT), jnp.arange(x_BT.shape[1])
        ago_TS = s_S[:, None] - s_S[None]
        visible_BTS = (ago_TS >= 0)[None] & (ago_TS[None] <= position_BT[..., None])  # the past, back to the mark

        def transform(x_BTD: jax.Array, numbered: tuple) -> tuple[jax.Array, jax.Array]:
            layer, block = numbered
            drop = dropout(params, first=1 + 2 * layer)  # mask 0 is for the embedding, then two for each block
            qkv = queries_keys_values(config, block, x_BTD, position_BT)
            mean_BTD, weight_BNTS = attend(*qkv, visible_BTS[:, None])
            if config.fused and fusible(qkv[0].dtype):
                mean_BTD = fused(*qkv, visible_BTS[:, None])  # XLA then computes the weights only if they are used
            x_BTD = x_BTD + drop(linear(block["out"], mean_BTD))
            return x_BTD + drop(mlp(config, block, x_BTD)), weight_BNTS

        x_BTD = dropout(params)(embed(config, params, x_BT, position_BT))
        x_BTD, weight_LBNTS = through_blocks(params, transform, x_BTD)
        return x_BTD, {"attention": jnp.swapaxes(weight_LBNTS, 0, 1), "residual": x_BTD}

    def init_cache(params: dict, batch: int) -> dict:
        shape = (batch, config.heads, config.context, config.embed // config.heads)
        past_BNSK = jnp.zeros(shape, params["embed"].dtype)
        # One array per layer, since XLA on CPU copies each slice of a stack, which takes longer than the attention.
        return {"past": [{"k": past_BNSK, "v": past_BNSK}] * config.layers, "t": jnp.zeros(batch, jnp.int32)}

    def step(params: dict, cache: dict, x_B: jax.Array) -> tuple[jax.Array, dict]:
        t_B, row_B = reset_at_mark(cache["t"], 0, x_B), jnp.arange(x_B.shape[0])
        visible_BS = jnp.arange(config.context)[None] <= t_B[:, None]  # hides the rest of earlier lines
        x_BD, past = embed(config, params, x_B, t_B), []
        for block, old in zip(params["blocks"], cache["past"], strict=True):
            q_BNK, k_BNK, v_BNK = queries_keys_values(config, block, x_BD, t_B)
            k_BNSK, v_BNSK = old["k"].at[row_B, :, t_B].set(k_BNK), old["v"].at[row_B, :, t_B].set(v_BNK)
            k_BSNK, v_BSNK = jnp.swapaxes(k_BNSK, 1, 2), jnp.swapaxes(v_BNSK, 1, 2)
            mean_B1D, _ = attend(q_BNK[:, None], k_BSNK, v_BSNK, visible_BS[:, None, None])
            x_BD = x_BD + linear(block["out"], mean_B1D[:, 0])
            x_BD = x_BD + mlp(config, block, x_BD)
            past.append({"k": k_BNSK, "v": v_BNSK})
        return read_out(config, params, x_BD), {"past": past, "t": t_B + 1}

    init, head = partial(init_params, config), partial(read_out, config)
    return Model(config, init, with_head(hidden, head), init_cache, step, hidden, head, SUPPORTS)
