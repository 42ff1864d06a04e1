"""Three recurrent cells and one scan: a state h is carried along the line (makemore.py; u = [x, h] end to end).

    rnn    h' = tanh(u W + b)                                         Mikolov et al. 2010
    gru    r, z = sigmoid(u Wr + br), sigmoid(u Wz + bz)              Cho et al. 2014, arXiv:1409.1259
           h' = (1 - z) h + z tanh([x, r h] Wn + bn)
    lstm   i, f, o = sigmoid(u Wi + bi), ..., g = tanh(u Wg + bg)     Hochreiter and Schmidhuber 1997
           c' = f c + i g,  h' = o tanh(c')

The state before the first symbol is learned. What depends on x alone is one product for the whole line; the scan does
the rest.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import jax
import jax.numpy as jnp

from makemore_jax.errors import require
from makemore_jax.model import Model, anew, with_inner
from makemore_jax.nn import init_embedding, init_linear, linear

GATES = {"rnn": 1, "gru": 3, "lstm": 4}  # blocks of H columns: (h) (r z n) (i f g o)


@dataclass(frozen=True)
class Config:
    """Sizes of a recurrent model."""

    vocab: int
    """V: how many symbols there are, the mark included."""
    cell: Literal["rnn", "gru", "lstm"] = "rnn"
    """Which cell."""
    embed: int = 64
    """D: width of a symbol's embedding."""
    hidden: int = 128
    """H: width of the state."""

    def __post_init__(self):
        require(self.cell in GATES, f"--cell is {self.cell}; it must be one of {', '.join(GATES)}")
        require(min(self.embed, self.hidden) > 0, "--embed and --hidden must be at least 1")


def rnn_cell(w_HG: jax.Array, input_BG: jax.Array, state: dict) -> tuple[dict, dict]:
    """The plain cell."""
    return {"h": jnp.tanh(input_BG + state["h"] @ w_HG)}, {}


def gru_cell(w_HG: jax.Array, input_BG: jax.Array, state: dict) -> tuple[dict, dict]:
    """The reset gate acts on h before the product, as in the paper and in makemore.py."""
    h_BH, width = state["h"], state["h"].shape[-1]
    gates_BG = jax.nn.sigmoid(input_BG[:, : 2 * width] + h_BH @ w_HG[:, : 2 * width])
    reset_BH, update_BH = gates_BG[:, :width], gates_BG[:, width:]
    new_BH = jnp.tanh(input_BG[:, 2 * width :] + (reset_BH * h_BH) @ w_HG[:, 2 * width :])
    return {"h": (1 - update_BH) * h_BH + update_BH * new_BH}, {"reset": reset_BH, "update": update_BH}


def lstm_cell(w_HG: jax.Array, input_BG: jax.Array, state: dict) -> tuple[dict, dict]:
    """A memory c beside the state h."""
    i_BH, f_BH, g_BH, o_BH = jnp.split(input_BG + state["h"] @ w_HG, 4, axis=-1)
    i_BH, f_BH, o_BH = map(jax.nn.sigmoid, (i_BH, f_BH, o_BH))
    c_BH = f_BH * state["c"] + i_BH * jnp.tanh(g_BH)
    return {"h": o_BH * jnp.tanh(c_BH), "c": c_BH}, {"input": i_BH, "forget": f_BH, "output": o_BH}


CELLS = {"rnn": rnn_cell, "gru": gru_cell, "lstm": lstm_cell}


@cache
def rnn(config: Config) -> Model:
    """The model of these sizes and this cell."""
    width, cell = config.hidden * GATES[config.cell], CELLS[config.cell]
    states = ("h", "c") if config.cell == "lstm" else ("h",)

    def init(key: jax.Array) -> dict:
        keys = jax.random.split(key, 4)
        from_x = init_linear(keys[1], config.embed, width)
        if config.cell == "lstm":  # start out remembering (Gers et al. 2000)
            from_x["b"] = from_x["b"].at[config.hidden : 2 * config.hidden].set(1)
        return {
            "embed": init_embedding(keys[0], config.vocab, config.embed),
            "from_x": from_x,
            "from_h": init_linear(keys[2], config.hidden, width, bias=False)["w"],
            "head": init_linear(keys[3], config.hidden, config.vocab, scale=0.1),
            "start": {name: jnp.zeros(config.hidden) for name in states},
        }

    def forward(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        start, x_TB = init_cache(params, x_BT.shape[0]), x_BT.T
        input_TBG = linear(params["from_x"], params["embed"][x_TB])

        def body(state, now):
            x_B, input_BG = now
            state, gates = cell(params["from_h"], input_BG, anew(x_B, start, state))
            return state, state | gates

        _, inner = jax.lax.scan(body, start, (x_TB, input_TBG))
        inner = {name: jnp.swapaxes(value_TBH, 0, 1) for name, value_TBH in inner.items()}
        return linear(params["head"], inner["h"]), inner

    def init_cache(params: dict, batch: int) -> dict:
        return {name: jnp.broadcast_to(start_H, (batch, config.hidden)) for name, start_H in params["start"].items()}

    def step(params: dict, cache: dict, x_B: jax.Array) -> tuple[jax.Array, dict]:
        cache = anew(x_B, init_cache(params, len(x_B)), cache)
        cache, _ = cell(params["from_h"], linear(params["from_x"], params["embed"][x_B]), cache)
        return linear(params["head"], cache["h"]), cache

    return Model(init, with_inner(forward), init_cache, step)
