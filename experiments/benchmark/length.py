"""Measure the time for a token of training against the length of a line.

A GRU takes the steps of a line one after the other, Hawk in about log T rounds; a convolution takes them all at once,
and so does attention, whose work grows with the square of the length. Each model has the sizes of its quick preset.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np

import makemore_jax as mm
from makemore_jax.data.vocab import MARK
from makemore_jax.errors import require
from makemore_jax.files import write_json
from makemore_jax.models.likelihood import batch_nll
from makemore_jax.models.registry import NEURAL, build, sizes_for

from ..shared import cli
from ..shared.figures import drawing
from ..shared.flags import one_of
from .timing import Benchmark, take_turns

VOCAB = 27


@dataclass(frozen=True)
class Length(Benchmark):
    """Measure microseconds for a token of a training step, forward and backward, against the length of a line."""

    models: tuple[Annotated[str, one_of(NEURAL)], ...] = ("hawk", "gru", "transformer", "wavenet")
    """Models to measure."""
    lengths: tuple[int, ...] = (16, 64, 256, 1024, 4096, 16_384)
    """Lengths of a line, in tokens."""
    batch: int = 2
    """Batch size, in lines."""
    rounds: int = 5
    """Number of turns for each model; the table shows medians."""
    memory: float = 4.0
    """Leave out what needs more than this many GB of memory for activations and gradients."""
    out: Path = Path("runs/length")
    """Folder for the figure and the summary."""

    def __post_init__(self):
        super().__post_init__()
        require(self.memory > 0, f"`memory` is {self.memory}; it must be above 0")


def gradient_call(name: str, batch: int, length: int, memory: float) -> Callable[[], object] | None:
    """Make a call that computes the gradient of a batch of random lines; None if it needs more GB than `memory`."""
    model = build(name, **sizes_for(name, {"vocab": VOCAB, "context": length}))
    x_BT = np.random.default_rng(0).integers(1, VOCAB, (batch, length), np.int32)
    x_BT[:, 0] = MARK
    args = jax.jit(model.init)(jax.random.key(0)), *jax.device_put((x_BT, np.roll(x_BT, -1, axis=1)))
    gradient = jax.grad(lambda params, x_BT, y_BT: batch_nll(model, params, x_BT, y_BT).mean())
    program = jax.jit(gradient).lower(*args).compile()
    needed = program.memory_analysis()
    if needed is not None and needed.temp_size_in_bytes > 1e9 * memory:
        return None
    return lambda: jax.block_until_ready(program(*args))


def benchmark_length(config: Length) -> dict:
    """Print a row for each length, and draw a curve for each model."""
    config.out.mkdir(parents=True, exist_ok=True)
    print(f"microseconds for a token, the median of {config.rounds} turns; -: needs over {config.memory:g} GB\n")
    table = cli.Table(tokens="<10,", **dict.fromkeys(config.models, ">12.2f"))
    found: dict[int, dict[str, float]] = {}
    for length in config.lengths:
        made = {name: gradient_call(name, config.batch, length, config.memory) for name in config.models}
        turns = take_turns({name: call for name, call in made.items() if call}, config.rounds)
        found[length] = {name: 1e6 * float(np.median(took)) / (config.batch * length) for name, took in turns.items()}
        table.row(tokens=length, **{name: found[length].get(name, "-") for name in config.models})
        write_json(config.out / "summary.json", {"batch": config.batch, "us/token": found})
    with drawing(config.out / "length.png") as path:
        draw(found, config.models, path)
    return {"batch": config.batch, "us/token": found}


def draw(found: dict[int, dict[str, float]], models: tuple[str, ...], path: Path | None = None) -> Any:
    """Draw the time for a token against the length, both on logarithmic axes; return the Figure."""
    canvas = mm.plot.figure(7, 4.5)
    axes = canvas.subplots()
    for name in models:
        lengths = [length for length in found if name in found[length]]
        axes.plot(lengths, [found[length][name] for length in lengths], "o-", label=name)
    axes.set(xscale="log", yscale="log", xlabel="length of a line, in tokens", ylabel="microseconds for a token")
    axes.set_xticks(list(found), [f"{length:,}" for length in found])
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.2)
    axes.legend(frameon=False)
    return mm.plot.save(canvas, path)
