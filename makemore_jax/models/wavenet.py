"""The WaveNet: causal dilated convolutions with gates, residual and skip connections (van den Oord et al. 2016,
arXiv:1609.03499).

Layer l sees its current input and the one d = 2**(l mod cycle) steps ago:

    z = tanh(f) * sigmoid(g),   [f, g] = W [x_{t-d}, x_t] + b        equation 2 of the paper
    x <- x + Wr z,   skip <- skip + Ws z                              figure 4
    logits = W2 relu(W1 relu(skip))

Before the start of a line every layer sees zeros. For sampling, each layer caches its last d inputs, so that a step
computes a single column of the network (Paine et al. 2016, arXiv:1611.09482).
"""

from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp

from makemore_jax.errors import require, require_positive
from makemore_jax.models.interface import Model, positions, require_unrollable, reset_at_mark, shift_in_line, with_head
from makemore_jax.models.layers import Drop, dropout, init_embedding, init_linear, keep_all, linear, linear_head
from makemore_jax.recipe import Recipe


@dataclass(frozen=True)
class Config:
    """Sizes of the WaveNet."""

    vocab: int
    """V: number of symbols, the mark included."""
    layers: int = 6
    """L: number of gated convolutions."""
    cycle: int = 3
    """Dilations double for this many layers, 1, 2, 4, ..., then restart at 1."""
    channels: int = 64
    """C: width of the residual stream and of the gates."""
    skip: int = 128
    """Width of the skip connections and of the head."""

    def __post_init__(self):
        require_positive(self, "vocab", "layers", "cycle", "channels", "skip")
        require_unrollable(self, "layers")
        reach = f"`layers` {self.layers} with `cycle` {self.cycle} reach 2**31 symbols back, or more; lower the `cycle`"
        require(self.receptive_field < 2**31, reach)

    @property
    def dilations(self) -> tuple[int, ...]:
        """The number of steps that each layer looks back."""
        return tuple(2 ** (layer % self.cycle) for layer in range(self.layers))

    @property
    def receptive_field(self) -> int:
        """The number of symbols that the last layer sees."""
        return 1 + sum(self.dilations)


RECIPE = Recipe(steps=2000, optimizer="muon", weight_decay=0.1)
TUNED = {"channels": 128, "skip": 256}, Recipe(steps=4000, dropout=0.2, average=0.999)


def init_layer(config: Config, key: jax.Array) -> dict:
    """Draw the weights of a gated convolution; the deeper the network, the smaller the output of each layer."""
    gate, residual, skip = jax.random.split(key, 3)
    return {
        "gate": init_linear(gate, 2 * config.channels, 2 * config.channels),
        "residual": init_linear(residual, config.channels, config.channels, scale=(2 * config.layers) ** -0.5),
        "skip": init_linear(skip, config.channels, config.skip, scale=config.layers**-0.5),
    }


def init_params(config: Config, key: jax.Array) -> dict:
    """Draw random weights."""
    keys = jax.random.split(key, 4)
    return {
        "embed": init_embedding(keys[0], config.vocab, config.channels),
        "layers": [init_layer(config, key) for key in jax.random.split(keys[1], config.layers)],
        "hidden": init_linear(keys[2], config.skip, config.skip, scale=2**0.5),
        "head": init_linear(keys[3], config.skip, config.vocab, scale=0.1),
    }


def convolve(
    params: dict, past: jax.Array, x: jax.Array, drop: Drop = keep_all
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Apply a layer at any positions, (..., C); return the next layer's input, the skip term, and the gates."""
    filtered, gate = jnp.split(linear(params["gate"], jnp.concatenate([past, x], -1)), 2, axis=-1)
    gate = jax.nn.sigmoid(gate)
    out = drop(jnp.tanh(filtered) * gate)
    return x + linear(params["residual"], out), linear(params["skip"], out), gate


def gather(params: dict, skip: jax.typing.ArrayLike, drop: Drop = keep_all) -> jax.Array:
    """Compute the last hidden layer from the sum of the skip connections."""
    return drop(jax.nn.relu(linear(params["hidden"], drop(jax.nn.relu(skip)))))


@cache
def wavenet(config: Config) -> Model:
    """Build the model of these sizes."""

    def hidden(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        drop, position_BT, skip, gates = dropout(params), positions(x_BT), 0, []
        x_BTC = drop(params["embed"][x_BT])
        for layer, dilation in zip(params["layers"], config.dilations, strict=True):
            past_BTC = shift_in_line(x_BTC, dilation, position_BT)
            x_BTC, skip_out, gate_BTC = convolve(layer, past_BTC, x_BTC, drop)
            skip, gates = skip + skip_out, [*gates, gate_BTC]
        return gather(params, skip, drop), {"gate": jnp.stack(gates, axis=1), "skip": skip}

    def init_cache(params: dict, batch: int) -> tuple[jax.Array, ...]:
        return tuple(jnp.zeros((batch, dilation, config.channels)) for dilation in config.dilations)

    def step(params: dict, cache: tuple, x_B: jax.Array) -> tuple[jax.Array, tuple]:
        x_BC, skip, queues = params["embed"][x_B], 0, []
        cache = reset_at_mark(cache, init_cache(params, len(x_B)), x_B)
        for layer, queue in zip(params["layers"], cache, strict=True):
            queues.append(jnp.concatenate([queue[:, 1:], x_BC[:, None]], axis=1))
            x_BC, skip_out, _ = convolve(layer, queue[:, 0], x_BC)
            skip = skip + skip_out
        return linear_head(params, gather(params, skip)), tuple(queues)

    forward = with_head(hidden, linear_head)
    return Model(
        config, partial(init_params, config), forward, init_cache, step, hidden, linear_head, frozenset({"dropout"})
    )
