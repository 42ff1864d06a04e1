"""How the cost of training grows with each size of the job, the others left as they are; each point is a process.

Memory is what XLA plans for the program: parameters, tokens, and all that is held on the way.
"""

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from experiments import cli
from experiments.benchmark.models import Learner, Size
from experiments.benchmark.turns import last_line
from makemore_jax import data, plot, train
from makemore_jax.errors import require

LEAST = 0.5  # seconds of a measurement
STEPS = 4  # of each call


@dataclass(frozen=True)
class Job:
    """The training of a transformer on random tokens, in lines that all fill the block."""

    batch: int = 32
    block: int = 16
    width: int = 64
    depth: int = 4
    vocab: int = 27
    lines: int = 10_000
    seeds: int = 1
    devices: int = 1


class Axis(NamedTuple):
    """Values of one size, and how costs should grow with them."""

    values: tuple[int, ...]
    time: str  # a token
    memory: str
    others: dict = {}  # noqa: RUF012 (never written)


AXES = {
    "batch": Axis((8, 32, 128, 512, 2048), "falls until both cores are full, then as it is", "in proportion"),
    "block": Axis(
        (16, 64, 256, 1024),
        "as it is while the linear layers outweigh, then in proportion (attention)",
        "in proportion, then its square (attention's weights)",
        {"batch": 8},
    ),
    "width": Axis((16, 32, 64, 128, 256, 512), "less than in proportion while small, then its square", "its square"),
    "depth": Axis((1, 2, 4, 8, 16), "in proportion", "in proportion"),
    "vocab": Axis((27, 500, 5_000, 50_000), "as it is, then in proportion (head and its AdamW)", "in proportion"),
    "lines": Axis((1_000, 10_000, 100_000, 1_000_000, 10_000_000), "as it is", "in proportion: 4 bytes a token"),
    "seeds": Axis((1, 2, 4, 8, 16, 32), "as it is (a seed); less where one does not fill the machine", "in proportion"),
    "devices": Axis(
        (1, 2, 4, 8),
        "as it is; simulated ones share the cores, so more for dividing",
        "of each: down to that of a model",
    ),
}


@dataclass(frozen=True)
class Scale:
    """Time a token, and memory, of training the default transformer against each size of the job."""

    axes: tuple[Literal[tuple(AXES)], ...] = tuple(AXES)
    """Which sizes."""
    most: int | None = None
    """Leave out values above this."""
    out: Path = Path("runs/scale")
    """Folder for the figure."""

    def __post_init__(self):
        require(len(self.axes) > 0, "--axes names none; give at least one")
        require(self.most is None or self.most > 0, f"--most is {self.most}; it must be at least 1")


def random_tokens(job: Job) -> data.Tokens:
    """So many lines of random symbols, each as long as the block."""
    line_NT = np.random.default_rng(0).integers(1, job.vocab, (job.lines, job.block), np.int32)
    line_NT[:, -1] = data.MARK
    start_N = np.arange(job.lines, dtype=np.int32) * job.block
    return data.Tokens(np.append(np.int32(data.MARK), line_NT.ravel()), start_N, np.full_like(start_N, job.block))


def measure(job: Job) -> dict:
    """Microseconds a token of training, of each seed, and MB of the program: its arguments, results and temporaries."""
    recipe, size = train.Recipe(batch=job.batch), Size(job.depth, 4, job.width)
    learner = Learner("transformer", random_tokens(job), job.vocab, recipe, size, job.seeds, job.devices)
    program = learner.go_on.lower(learner.state, learner.key, learner.tokens, count=STEPS).compile()
    plan = program.memory_analysis()
    size_b = (
        plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes - plan.alias_size_in_bytes
    )
    learner.go_on = lambda state, key, tokens, count: program(state, key, tokens)
    learner.steps(STEPS)
    seconds = [learner.steps(STEPS)]
    while sum(seconds) < LEAST or len(seconds) < 3:
        seconds.append(learner.steps(STEPS))
    tokens = STEPS * job.batch * job.block * job.seeds
    return {"us_a_token": 1e6 * float(np.median(seconds)) / tokens, "memory_mb": size_b / 1e6}


def in_a_process(job: Job, simulated: bool) -> dict:
    """The same in a process of its own, on its number of devices, simulated ones if so asked."""
    place = dict(os.environ)
    if simulated:
        place["JAX_PLATFORMS"] = "cpu"
        place["XLA_FLAGS"] = f"{place.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={job.devices}"
    command = [sys.executable, "-m", "experiments.benchmark.scale", json.dumps(dataclasses.asdict(job))]
    done = subprocess.run(command, env=place, capture_output=True, text=True)
    require(done.returncode == 0, f"{job} failed: {last_line(done.stderr)}")
    return json.loads(done.stdout.splitlines()[-1])


def growth(values: list[int], costs: list[float]) -> str:
    """The exponents between neighbours: 0 stays as it is, 1 is in proportion, 2 its square."""
    exponents = np.diff(np.log(costs)) / np.diff(np.log(values))
    return "  ".join(f"{exponent:5.2f}" for exponent in exponents + 0.0)


def benchmark_scale(config: Scale) -> dict:
    """The table of every axis, and one figure."""
    found: dict[str, dict] = {}
    config.out.mkdir(parents=True, exist_ok=True)
    for name in config.axes:
        axis, points = AXES[name], []
        values = [value for value in axis.values if value <= (config.most or np.inf)]
        require(len(values) > 1, f"--most {config.most} leaves fewer than two values of {name}; raise it")
        print(f"{name:<12}{'us a token':>12}{'MB':>10}")
        for value in values:
            points.append(in_a_process(dataclasses.replace(Job(**axis.others), **{name: value}), name == "devices"))
            print(f"{value:<12,}{points[-1]['us_a_token']:>12.2f}{points[-1]['memory_mb']:>10,.0f}", flush=True)
        found[name] = {cost: [point[cost] for point in points] for cost in points[0]} | {"values": values}
        print(f"  time grows with the power    {growth(values, found[name]['us_a_token'])}   should: {axis.time}")
        print(f"  memory                       {growth(values, found[name]['memory_mb'])}   should: {axis.memory}\n")
        plot.growth(found, config.out / "scale.png")
        cli.write_json(config.out / "summary.json", found)
    print(f"drawn in {config.out / 'scale.png'}")
    return {"benchmark": "scale", "axes": found}


if __name__ == "__main__":
    print(json.dumps(measure(Job(**json.loads(sys.argv[1])))))
