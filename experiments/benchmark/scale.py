"""Measure how the cost of training grows with each size of the job while the others stay fixed.

Memory is what XLA plans for the program: parameters, optimiser state, tokens and temporaries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np

import makemore_jax as mm
from makemore_jax.data.batches import plan_batches
from makemore_jax.data.tokens import Tokens
from makemore_jax.data.vocab import MARK
from makemore_jax.distributed.mesh import lay_out, placement_on
from makemore_jax.errors import InputError, require
from makemore_jax.files import write_json
from makemore_jax.learning.training import init_state, loss_of, train_steps
from makemore_jax.models.registry import build
from makemore_jax.recipe import optimizer_of

from ..shared import cli
from ..shared.figures import drawing
from ..shared.flags import one_of
from .timing import Benchmark, ask, own_process, take_turns

STEPS = 4  # per call
JOB = {"batch": 32, "context": 16, "width": 64, "layers": 4, "vocab": 27, "lines": 10_000, "seeds": 1, "devices": 1}
AXES = {
    "batch": (8, 32, 128, 512, 2048),
    "context": (16, 64, 256, 1024),
    "width": (16, 32, 64, 128, 256, 512),
    "layers": (1, 2, 4, 8, 16),
    "vocab": (27, 500, 5_000, 50_000),
    "lines": (1_000, 10_000, 100_000, 1_000_000, 10_000_000),
    "seeds": (1, 2, 4, 8, 16, 32),
    "devices": (1, 2, 4, 8),
}


@dataclass(frozen=True)
class Scale(Benchmark):
    """Measure time per token and memory of training the default transformer, for each size of the job."""

    axes: tuple[Annotated[str, one_of(AXES)], ...] = tuple(AXES)
    """Sizes to vary, one at a time."""
    most: int | None = None
    """Skip values above this."""
    out: Path = Path("runs/scale")
    """Folder for the figure and the summary."""


def random_tokens(lines: int, context: int, vocab: int) -> Tokens:
    """Make lines of random symbols, each as long as the context, its end mark included."""
    line_NT = np.random.default_rng(0).integers(1, vocab, (lines, context), np.int32)
    line_NT[:, -1] = MARK
    start_N = np.arange(lines, dtype=np.int32) * context
    return Tokens(np.append(np.int32(MARK), line_NT.ravel()), start_N, np.full_like(start_N, context))


def measure(simulated: bool, job: dict[str, int]) -> dict[str, float]:
    """Train the transformer on random lines; return microseconds per token and seed, and MB of its program."""
    if simulated:  # devices are simulated by dividing the CPU
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", job["devices"])
    sizes = {"vocab": job["vocab"], "context": job["context"], "layers": job["layers"], "embed": job["width"]}
    model, recipe, key = build("transformer", **sizes), mm.Recipe(batch=job["batch"]), jax.random.key(0)
    tokens = random_tokens(job["lines"], job["context"], job["vocab"])
    layout = lay_out(job["devices"])
    placement = placement_on(layout)
    tokens, plan = plan_batches(tokens, job["batch"], placement.rows)
    loss, optimizer = loss_of(model, recipe, plan, placement.share), optimizer_of(recipe)
    init = lambda key: init_state(model.init(key), key, recipe.hyper, optimizer)
    steps = lambda state, tokens: train_steps(state, tokens, loss=loss, optimizer=optimizer, count=STEPS)
    if job["seeds"] > 1:
        init, steps, key = jax.vmap(init), jax.vmap(steps, in_axes=(0, None)), jax.random.split(key, job["seeds"])
    state, tokens = layout.copy((jax.jit(init)(key), tokens))
    program = jax.jit(steps, donate_argnums=0).lower(state, tokens).compile()

    def call() -> None:
        nonlocal state
        state, losses = program(state, tokens)
        losses.block_until_ready()

    seconds = float(np.median(take_turns({"ours": call}, rounds=3)["ours"]))
    needed = program.memory_analysis()
    if needed is None:
        raise InputError("this device does not say how much memory a program needs; use a CPU, a GPU or a TPU")
    memory = needed.argument_size_in_bytes + needed.output_size_in_bytes + needed.temp_size_in_bytes
    tokens_per_call = STEPS * job["batch"] * job["context"] * job["seeds"]
    return {"us/token": 1e6 * seconds / tokens_per_call, "MB": (memory - needed.alias_size_in_bytes) / 1e6}


def exponents(values: list[int], costs: list[float]) -> str:
    """The exponent of the cost as a power of the size, between values: 0 is constant, 1 linear, 2 quadratic."""
    slopes = np.diff(np.log(costs)) / np.diff(np.log(values))
    return "  ".join(f"{slope:5.2f}" for slope in slopes + 0.0)


def benchmark_scale(config: Scale) -> dict:
    """Print a table for each size, and draw one figure of all."""
    found: dict[str, dict] = {}
    config.out.mkdir(parents=True, exist_ok=True)
    print("us/token: microseconds per token and seed, the median of 3 turns; MB: memory that XLA plans for the program")
    print("exponents: of the cost as a power of the size, between values: 0 is constant, 1 linear, 2 quadratic\n")
    for axis in config.axes:
        values, points = [value for value in AXES[axis] if value <= (config.most or np.inf)], []
        require(len(values) > 1, f"`most` {config.most} leaves fewer than two values of {axis}; raise it")
        table = cli.Table(**{axis: ">12,", "us/token": ">12.2f", "MB": ">10,.0f"})
        for value in values:
            job = JOB | ({"batch": 8} if axis == "context" else {}) | {axis: value}  # long lines take much memory
            with own_process() as process:
                points.append(ask(process, measure, simulated=axis == "devices", job=job))
            table.row(**{axis: value}, **points[-1])
        found[axis] = {"values": values} | {cost: [point[cost] for point in points] for cost in points[0]}
        for name in points[0]:
            print(f"exponents of {name:<10}{exponents(values, found[axis][name])}")
        print()
        write_json(config.out / "summary.json", found)
    with drawing(config.out / "scale.png") as path:
        growth(found, path)
    return {"axes": found}


def growth(found: Mapping[str, dict], path: Path | None = None) -> Any:
    """Draw time and memory in a panel for each size, as multiples of those at the first value; return the Figure."""
    rows = -(-len(found) // 4)
    columns = -(-len(found) // rows)
    figure = mm.plot.figure(3.2 * columns, 3 * rows)
    for number, (name, costs) in enumerate(found.items()):
        axes, x = figure.add_subplot(rows, columns, number + 1), np.array(costs["values"])
        times = {cost: np.array(costs[cost]) / costs[cost][0] for cost in ("us/token", "MB")}
        for cost, label, style in (("us/token", "time per token", "o-"), ("MB", "memory", "s--")):
            axes.plot(x, times[cost], style, markersize=4, label=label)
        axes.plot(x, x / x[0], color="0.7", linewidth=1, label="linear")
        both = np.concatenate([*times.values()])  # the linear line may leave the panel
        axes.set(xscale="log", yscale="log", xlabel=name, ylim=(both.min() / 1.5, 1.5 * both.max()))
        axes.set_xticks(x, [f"{value:.4g}".replace("e+0", "e") for value in x], fontsize=8)
        axes.set_xticks([], minor=True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("multiple of the first")
    figure.axes[0].legend(frameon=False, fontsize=8)
    return mm.plot.save(figure, path)
