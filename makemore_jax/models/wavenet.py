"""A WaveNet: causal dilated convolutions with gates, residual and skip connections (van den Oord et al. 2016,
arXiv:1609.03499).

Layer l sees its input now and d = 2**(l mod cycle) steps ago:

    z = tanh(f) * sigmoid(g),   [f, g] = W [x_{t-d}, x_t] + b        equation 2 of the paper
    x <- x + Wr z,   skip <- skip + Ws z                              figure 4
    logits = W2 relu(W1 relu(skip))

Before the start of a line every layer sees zeros. To sample, each layer keeps its last d inputs, so that a step costs
one column of the network (Paine et al. 2016, arXiv:1611.09482).
"""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp

from makemore_jax.errors import require
from makemore_jax.model import Model, anew, lag, positions, with_inner
from makemore_jax.nn import init_embedding, init_linear, linear


@dataclass(frozen=True)
class Config:
    """Sizes of the WaveNet."""

    vocab: int
    """V: how many symbols there are, the mark included."""
    layers: int = 6
    """L: how many gated convolutions."""
    cycle: int = 3
    """Dilations double for so many layers, 1, 2, 4, ..., and start over."""
    channels: int = 64
    """C: width of the residual stream and of the gates."""
    skip: int = 128
    """Width of the skip connections and of the head."""

    def __post_init__(self):
        sizes = (self.layers, self.cycle, self.channels, self.skip)
        require(min(sizes) > 0, "--layers, --cycle, --channels and --skip must be at least 1")

    @property
    def dilations(self) -> tuple[int, ...]:
        """How far back each layer reaches, in steps."""
        return tuple(2 ** (number % self.cycle) for number in range(self.layers))

    @property
    def receptive_field(self) -> int:
        """How many symbols the last layer sees."""
        return 1 + sum(self.dilations)


@cache
def wavenet(config: Config) -> Model:
    """The model of these sizes."""
    channels = config.channels

    def init(key: jax.Array) -> dict:
        keys = jax.random.split(key, 4)

        def init_layer(key: jax.Array) -> dict:
            gate, residual, skip = jax.random.split(key, 3)
            return {
                "gate": init_linear(gate, 2 * channels, 2 * channels),
                "residual": init_linear(residual, channels, channels, scale=(2 * config.layers) ** -0.5),
                "skip": init_linear(skip, channels, config.skip, scale=config.layers**-0.5),
            }

        return {
            "embed": init_embedding(keys[0], config.vocab, channels),
            "layers": [init_layer(key) for key in jax.random.split(keys[1], config.layers)],
            "hidden": init_linear(keys[2], config.skip, config.skip, scale=2**0.5),
            "head": init_linear(keys[3], config.skip, config.vocab, scale=0.1),
        }

    def convolve(params: dict, past: jax.Array, now: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """One layer at any positions: the next layer's input, what it adds to the skip, and its gates."""
        filtered, gate = jnp.split(linear(params["gate"], jnp.concatenate([past, now], -1)), 2, axis=-1)
        gate = jax.nn.sigmoid(gate)
        out = jnp.tanh(filtered) * gate
        return now + linear(params["residual"], out), linear(params["skip"], out), gate

    def head(params: dict, skip: jax.Array) -> jax.Array:
        return linear(params["head"], jax.nn.relu(linear(params["hidden"], jax.nn.relu(skip))))

    def forward(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        now_BTC, t_BT, skip, gates = params["embed"][x_BT], positions(x_BT), 0, []
        for weights, dilation in zip(params["layers"], config.dilations, strict=True):
            now_BTC, more, gate = convolve(weights, lag(now_BTC, dilation, t_BT), now_BTC)
            skip, gates = skip + more, [*gates, gate]
        return head(params, skip), {"gate": jnp.stack(gates), "skip": skip}

    def init_cache(params: dict, batch: int) -> tuple[jax.Array, ...]:
        return tuple(jnp.zeros((batch, dilation, channels)) for dilation in config.dilations)

    def step(params: dict, cache: tuple, x_B: jax.Array) -> tuple[jax.Array, tuple]:
        now_BC, skip, queues = params["embed"][x_B], 0, []
        held = anew(x_B, init_cache(params, len(x_B)), cache)
        for weights, queue in zip(params["layers"], held, strict=True):
            queues.append(jnp.concatenate([queue[:, 1:], now_BC[:, None]], axis=1))
            now_BC, more, _ = convolve(weights, queue[:, 0], now_BC)
            skip = skip + more
        return head(params, skip), tuple(queues)

    return Model(init, with_inner(forward), init_cache, step)
