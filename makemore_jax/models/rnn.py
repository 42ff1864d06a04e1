"""Three recurrent cells and one scan, which carries a state h along the line (makemore.py; u = [x, h] concatenated).

    rnn    h' = tanh(u W + b)                                         Mikolov et al. 2010
    gru    r, z = sigmoid(u Wr + br), sigmoid(u Wz + bz)              Cho et al. 2014, arXiv:1409.1259
           h' = (1 - z) h + z tanh([x, r h] Wn + bn)
    lstm   i, f, o = sigmoid(u Wi + bi), ..., g = tanh(u Wg + bg)     Hochreiter and Schmidhuber 1997
           c' = f c + i g,  h' = o tanh(c')

The state before the first symbol is learned. The terms that depend only on x are computed by one matrix product for
the whole line, and only the rest in the scan. In training, dropout acts on the units before the head and on the
recurrent weights, with one mask for all time steps so that a unit keeps its memory (Merity et al. 2018,
arXiv:1708.02182).
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from makemore_jax.errors import require, require_positive
from makemore_jax.models.interface import Model, reset_at_mark, with_head
from makemore_jax.models.layers import dropout, init_embedding, init_linear, linear, linear_head
from makemore_jax.recipe import Recipe


@dataclass(frozen=True)
class Config:
    """Sizes of a recurrent model."""

    vocab: int
    """V: number of symbols, the mark included."""
    cell: Literal["rnn", "gru", "lstm"] = "rnn"
    """The kind of cell."""
    embed: int = 64
    """D: width of a symbol's embedding."""
    hidden: int = 128
    """H: width of the state."""

    def __post_init__(self):
        require(self.cell in CELLS, f"the cell is {self.cell!r}; it must be one of {', '.join(CELLS)}")
        require_positive(self, "vocab", "embed", "hidden")


RECIPES = {
    "rnn": Recipe(steps=3000, optimizer="muon", learning_rate=3e-3, weight_decay=0.1),
    "gru": Recipe(steps=3000, optimizer="muon", learning_rate=5e-3, weight_decay=0.1),
    "lstm": Recipe(steps=4000, optimizer="muon", learning_rate=5e-3, weight_decay=0.1),
}
TUNED = {
    "rnn": ({"hidden": 192}, Recipe(steps=6000, learning_rate=3e-3, dropout=0.1, average=0.999)),
    "gru": ({"hidden": 256}, Recipe(steps=6000, learning_rate=3e-3, dropout=0.25, average=0.999)),
    "lstm": (
        {"hidden": 320},
        Recipe(steps=8000, optimizer="muon", learning_rate=5e-3, weight_decay=0.05, dropout=0.35, average=0.999),
    ),
}


def rnn_cell(w_HG: jax.Array, input_BG: jax.Array, state: dict) -> tuple[dict, dict]:
    """Return the next state of the plain cell, which has no gates."""
    return {"h": jnp.tanh(input_BG + state["h"] @ w_HG)}, {}


def gru_cell(w_HG: jax.Array, input_BG: jax.Array, state: dict) -> tuple[dict, dict]:
    """Return the next state and the gates; the reset gate acts on h before the product, as in the paper."""
    h_BH, width = state["h"], state["h"].shape[-1]
    gates_BG = jax.nn.sigmoid(input_BG[:, : 2 * width] + h_BH @ w_HG[:, : 2 * width])
    reset_BH, update_BH = gates_BG[:, :width], gates_BG[:, width:]
    new_BH = jnp.tanh(input_BG[:, 2 * width :] + (reset_BH * h_BH) @ w_HG[:, 2 * width :])
    return {"h": (1 - update_BH) * h_BH + update_BH * new_BH}, {"reset": reset_BH, "update": update_BH}


def lstm_cell(w_HG: jax.Array, input_BG: jax.Array, state: dict) -> tuple[dict, dict]:
    """Return the next state, which includes a memory c, and the gates."""
    i_BH, f_BH, g_BH, o_BH = jnp.split(input_BG + state["h"] @ w_HG, 4, axis=-1)
    i_BH, f_BH, o_BH = map(jax.nn.sigmoid, (i_BH, f_BH, o_BH))
    c_BH = f_BH * state["c"] + i_BH * jnp.tanh(g_BH)
    return {"h": o_BH * jnp.tanh(c_BH), "c": c_BH}, {"input": i_BH, "forget": f_BH, "output": o_BH}


class Recurrence(Protocol):
    """Compute the next state and the gates from the weights of the state, the input of the token, and the state."""

    def __call__(self, w_HG: jax.Array, input_BG: jax.Array, state: dict, /) -> tuple[dict, dict]: ...


class Cell(NamedTuple):
    """A recurrence, the number of blocks of H columns in its matrices, and the names of its states."""

    function: Recurrence
    blocks: int
    states: tuple[str, ...] = ("h",)


CELLS = {
    "rnn": Cell(rnn_cell, 1),  # h
    "gru": Cell(gru_cell, 3),  # r z n
    "lstm": Cell(lstm_cell, 4, ("h", "c")),  # i f g o
}


def init_params(config: Config, key: jax.Array) -> dict:
    """Draw random weights; initial states are 0."""
    keys, cell = jax.random.split(key, 4), CELLS[config.cell]
    from_x = init_linear(keys[1], config.embed, cell.blocks * config.hidden)
    if config.cell == "lstm":  # bias 1 for the forget gate of (i f g o), to remember at first (Gers et al. 2000)
        from_x["b"] = jnp.repeat(jnp.float32([0, 1, 0, 0]), config.hidden)
    return {
        "embed": init_embedding(keys[0], config.vocab, config.embed),
        "from_x": from_x,
        "from_h": init_linear(keys[2], config.hidden, cell.blocks * config.hidden, bias=False)["w"],
        "head": init_linear(keys[3], config.hidden, config.vocab, scale=0.1),
        "start": {name: jnp.zeros(config.hidden) for name in cell.states},
    }


@cache
def rnn(config: Config) -> Model:
    """Build the model of these sizes with this cell."""
    cell = CELLS[config.cell].function

    def hidden(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        start, x_TB = init_cache(params, x_BT.shape[0]), x_BT.T
        drop = dropout(params)
        input_TBG, from_h = linear(params["from_x"], params["embed"][x_TB]), drop(params["from_h"], per_row=False)

        def body(state, inputs):
            x_B, input_BG = inputs
            state, gates = cell(from_h, input_BG, reset_at_mark(state, start, x_B))
            return state, state | gates

        _, activations = jax.lax.scan(body, start, (x_TB, input_TBG))
        activations = {name: jnp.swapaxes(value_TBH, 0, 1) for name, value_TBH in activations.items()}
        return drop(activations["h"]), activations

    def init_cache(params: dict, batch: int) -> dict:
        return {name: jnp.broadcast_to(start_H, (batch, config.hidden)) for name, start_H in params["start"].items()}

    def step(params: dict, cache: dict, x_B: jax.Array) -> tuple[jax.Array, dict]:
        cache = reset_at_mark(cache, init_cache(params, len(x_B)), x_B)
        cache, _ = cell(params["from_h"], linear(params["from_x"], params["embed"][x_B]), cache)
        return linear_head(params, cache["h"]), cache

    forward = with_head(hidden, linear_head)
    return Model(
        config, partial(init_params, config), forward, init_cache, step, hidden, linear_head, frozenset({"dropout"})
    )
