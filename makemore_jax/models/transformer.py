"""The transformer of GPT-2 (Vaswani et al. 2017, arXiv:1706.03762; Radford et al. 2019; makemore.py).

    x = embed[tokens] + position[0 ... T-1]
    x <- x + attention(norm(x)),   x <- x + mlp(norm(x))            L blocks
    logits = norm(x) @ head

    attention: softmax(q k^T / sqrt(K), over the past only) v, for N heads of width K = D / N each

`--modern` swaps in RMS norm, rotary positions (Su et al. 2021, arXiv:2104.09864), SwiGLU (Shazeer 2020,
arXiv:2002.05202) and no biases. To sample, the keys and values of the past are kept, so that a step costs one position.
"""

import math
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp

from makemore_jax.errors import require
from makemore_jax.model import Model, anew, positions, with_inner
from makemore_jax.nn import init_embedding, init_linear, init_norm, layer_norm, linear, rms_norm, widen


@dataclass(frozen=True)
class Config:
    """Sizes of the transformer."""

    vocab: int
    """V: how many symbols there are, the mark included."""
    block: int = 16
    """The longest line, in tokens with its end mark; there are so many positions."""
    layers: int = 4
    """L: how many blocks."""
    heads: int = 4
    """N: how many heads."""
    embed: int = 64
    """D: width of the residual stream; the heads share it."""
    tied: bool = False
    """Use the embedding as the head, too."""
    modern: bool = False
    """RMS norm, rotary positions, SwiGLU and no biases, in place of GPT-2's choices."""

    def __post_init__(self):
        sizes = (self.block, self.layers, self.heads, self.embed)
        require(min(sizes) > 0, "--block, --layers, --heads and --embed must be at least 1")
        even = self.heads * (2 if self.modern else 1)  # rotary positions turn pairs
        require(self.embed % even == 0, f"--embed is {self.embed}; with --heads {self.heads} it must divide by {even}")

    @property
    def hidden(self) -> int:
        """Width of the blocks' MLP: 4 D, and for SwiGLU, which has three matrices for two, 8/3 D in whole heads."""
        return 4 * self.embed if not self.modern else 8 * max(1, round(self.embed / 3))


@cache
def transformer(config: Config) -> Model:
    """The model of these sizes."""
    width, heads, bias = config.embed, config.heads, not config.modern
    norm = rms_norm if config.modern else layer_norm
    frequency_K = 10_000.0 ** (-jnp.arange(width // heads // 2) / max(1, width // heads // 2))

    def init(key: jax.Array) -> dict:
        keys = jax.random.split(key, 4)
        deep = 0.02 * math.sqrt(width / (2 * config.layers))  # each block adds twice to the residual stream

        def init_block(key: jax.Array) -> dict:
            keys = jax.random.split(key, 5)
            flat = 0.02 * math.sqrt(width)  # GPT-2: standard deviation 0.02, whatever the width
            back = deep * math.sqrt(config.hidden / width)
            params = {
                "norm1": init_norm(width, bias),
                "qkv": init_linear(keys[0], width, 3 * width, flat, bias),
                "out": init_linear(keys[1], width, width, deep, bias),
                "norm2": init_norm(width, bias),
                "up": init_linear(keys[2], width, config.hidden, flat, bias),
                "down": init_linear(keys[3], config.hidden, width, back, bias),
            }
            return params | ({"gate": init_linear(keys[4], width, config.hidden, flat, bias)} if config.modern else {})

        params = {
            "embed": init_embedding(keys[0], config.vocab, width, 0.02),
            "blocks": [init_block(key) for key in jax.random.split(keys[1], config.layers)],
            "norm": init_norm(width, bias),
        }
        if not config.modern:
            params["position"] = init_embedding(keys[2], config.block, width, 0.02)
        if not config.tied:
            params["head"] = init_linear(keys[3], width, config.vocab, 0.02 * math.sqrt(width), bias=False)["w"]
        return params

    def embed(params: dict, x: jax.Array, position: jax.Array) -> jax.Array:
        return params["embed"][x] + (0 if config.modern else params["position"][position])

    def queries_keys_values(params: dict, x: jax.Array, position: jax.Array) -> list[jax.Array]:
        """(..., N, K) each, after the norm; turned by their position where positions are rotary."""
        qkv = linear(params["qkv"], norm(params["norm1"], x))
        q, k, v = (part.reshape(*x.shape[:-1], heads, -1) for part in jnp.split(qkv, 3, axis=-1))
        return [rotate(q, position), rotate(k, position), v] if config.modern else [q, k, v]

    def rotate(x: jax.Array, position: jax.Array) -> jax.Array:
        """Turn each pair of a head by an angle that grows with the position, so that q k depends on the distance."""
        angle = position[..., None, None] * frequency_K
        cos, sin = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
        a, b = jnp.split(x, 2, axis=-1)
        return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)

    def mlp(params: dict, x: jax.Array) -> jax.Array:
        y = norm(params["norm2"], x)
        up = linear(params["up"], y)
        act = jax.nn.silu(linear(params["gate"], y)) * up if config.modern else jax.nn.gelu(up, approximate=True)
        return linear(params["down"], act)

    def head(params: dict, x: jax.Array) -> jax.Array:
        return linear({"w": params["embed"].T if config.tied else params["head"]}, norm(params["norm"], x))

    def attend(q: jax.Array, k_BSNK: jax.Array, v_BSNK: jax.Array, visible: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Each query's mean of the values, weighted by its match with the keys it can see, and the weights (BNTS)."""
        score_BNTS = widen(jnp.einsum("btnk,bsnk->bnts", q, k_BSNK)) / math.sqrt(q.shape[-1])
        weight_BNTS = jax.nn.softmax(jnp.where(visible, score_BNTS, -jnp.inf))
        mean_BTNK = jnp.einsum("bnts,bsnk->btnk", weight_BNTS.astype(v_BSNK.dtype), v_BSNK)
        return mean_BTNK.reshape(*mean_BTNK.shape[:2], -1), weight_BNTS

    def forward(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        t_BT, s_S = positions(x_BT), jnp.arange(x_BT.shape[1])
        ago_TS = s_S[:, None] - s_S
        visible_B1TS = ((ago_TS >= 0) & (ago_TS <= t_BT[..., None]))[:, None]  # the past, back to the mark
        x_BTD, attention = embed(params, x_BT, t_BT), []
        for block in params["blocks"]:
            mean_BTD, weight_BNTS = attend(*queries_keys_values(block, x_BTD, t_BT), visible_B1TS)
            x_BTD = x_BTD + linear(block["out"], mean_BTD)
            x_BTD = x_BTD + mlp(block, x_BTD)
            attention.append(weight_BNTS)
        return head(params, x_BTD), {"attention": jnp.stack(attention), "residual": x_BTD}

    def init_cache(params: dict, batch: int) -> dict:
        past_BNSK = jnp.zeros((batch, heads, config.block, width // heads), params["embed"].dtype)
        # An array a layer: XLA on CPU copies each slice of a stack, which takes longer than the attention.
        return {"past": [{"k": past_BNSK, "v": past_BNSK}] * config.layers, "t": jnp.zeros(batch, jnp.int32)}

    def step(params: dict, cache: dict, x_B: jax.Array) -> tuple[jax.Array, dict]:
        t_B, row_B = anew(x_B, 0, cache["t"]), jnp.arange(x_B.shape[0])  # what stands at t and later is not seen
        visible_B11S = (jnp.arange(config.block) <= t_B[:, None])[:, None, None]
        x_BD, past = embed(params, x_B, t_B), []
        for block, held in zip(params["blocks"], cache["past"], strict=True):
            q_BNK, *new = queries_keys_values(block, x_BD, t_B)
            k_BNSK, v_BNSK = (
                held[name].at[row_B, :, t_B].set(new_BNK) for name, new_BNK in zip("kv", new, strict=True)
            )
            k_BSNK, v_BSNK = jnp.swapaxes(k_BNSK, 1, 2), jnp.swapaxes(v_BNSK, 1, 2)
            mean_B1D, _ = attend(q_BNK[:, None], k_BSNK, v_BSNK, visible_B11S)
            x_BD = x_BD + linear(block["out"], mean_B1D[:, 0])
            x_BD = x_BD + mlp(block, x_BD)
            past.append({"k": k_BNSK, "v": v_BNSK})
        return head(params, x_BD), {"past": past, "t": t_B + 1}

    return Model(init, with_inner(forward), init_cache, step)
