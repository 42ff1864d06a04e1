"""How soon is a loss reached, from the start of the process? Ours against the default run of makemore.py's own command.

The test lines are makemore.py's: 1,000 random ones of the lecture's file, some of which are in train as well.
"""

import dataclasses
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from experiments import cli
from experiments import train as train_command
from experiments.benchmark.peer import ENDED
from experiments.benchmark.turns import WithPeer, last_line
from experiments.compare import peer_split
from experiments.task import Text, config_type, count, encode, plan_batches, sizes_of
from makemore_jax import data, train
from makemore_jax.errors import InputError, check_float, require
from makemore_jax.loss import evaluate
from makemore_jax.models import build

CONTESTANTS = ("n-gram", "mlp", "wavenet", "gru", "lstm", "transformer", "modern-transformer")
MODERN_STEPS = 2200  # of the transformer with modern swaps: it learns sooner than GPT-2's
EVALUATE_EVERY = 100  # steps
PEER_RUN = "; ".join(
    [
        "import runpy, sys",
        "from experiments.benchmark.peer import without_tensorboard",
        "without_tensorboard()",
        "sys.argv = sys.argv[1:]",
        "runpy.run_path(sys.argv[0], run_name='__main__')",
    ]
)


@dataclass(frozen=True)
class Reach(WithPeer):
    """Seconds from the start of a process to a test loss on makemore.py's split, with our models' recipes."""

    data: Path = Path("names.txt")
    """The lecture's names.txt."""
    rounds: int = 3
    """How many processes of each of our models, each with a seed of its own; of makemore.py, one."""
    models: tuple[Literal[CONTESTANTS], ...] = CONTESTANTS
    """Which of ours."""
    target: float = 1.966
    """The test loss, in nats a character."""
    peer_steps: int = 15_000
    """Steps of makemore.py's run, evaluated each 500."""

    def __post_init__(self):
        super().__post_init__()
        check_float("--target", self.target)
        require(len(self.models) > 0, "--models names none; give at least one")
        require(self.peer_steps >= 500, f"--peer-steps is {self.peer_steps}; it must be at least 500")


def child(split: str, name: str, target: float, seed: int) -> None:
    """Our process: train until an evaluation is as good as the target, and say so."""
    train_lines, test_lines = json.loads(Path(split).read_text(encoding="utf-8"))
    corpus = encode(Text(), "", data.Split(train_lines, test_lines, test_lines))

    def say(nats: float, step: int) -> bool:
        if reached := nats <= target:
            print(nats, step, flush=True)
        return reached

    if name == "n-gram":
        say(evaluate(*count(corpus), corpus.tokens["dev"]).nats, 0)
        return
    kind, modern = name.removeprefix("modern-"), name.startswith("modern-")
    own = config_type(train_command.Config, kind)()
    recipe = dataclasses.replace(own.recipe, steps=MODERN_STEPS) if modern else own.recipe
    sizes = dataclasses.asdict(own.sizes) | ({"modern": True} if modern else {})
    model = build(kind, sizes_of(kind, sizes, corpus))
    tokens, plan = plan_batches(recipe, corpus)
    init_key, run_key = jax.random.split(jax.random.key(seed))
    train.fit(
        run_key,
        train.start(jax.jit(model.init)(init_key), recipe.hyper, train.adamw(recipe)),
        jax.device_put(tokens),
        recipe.hyper,
        loss=train.batch_loss(model, corpus.vocab.size, plan, recipe),
        optimizer=train.adamw(recipe),
        count=recipe.steps,
        chunk=EVALUATE_EVERY,
        on_chunk=lambda state, _: say(evaluate(model, state.params, corpus.tokens["dev"]).nats, int(state.step)),
    )


def ours(split: Path, name: str, target: float, seed: int) -> tuple[float, float, int]:
    """Seconds from the start of our process to the target, the loss there, and the step; infinite where it missed."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "experiments.benchmark.reach", str(split), name, str(target), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        nats, step = (process.stdout.readline() or "inf 0").split()
        seconds = time.perf_counter() - began
        errors = process.communicate()[1]
    require(process.returncode == 0, f"{name}: {last_line(errors)}")
    return seconds, float(nats), int(step)


def peers(config: Reach, folder: str) -> tuple[float, float, int]:
    """The same of the default run of makemore.py's command, up to its own best test loss."""
    flags = ["-i", str(config.data), "-o", f"{folder}/out", "--max-steps", str(config.peer_steps + 1)]
    command = [sys.executable, "-u", "-c", PEER_RUN, str(config.peer / "makemore.py"), *flags]
    began, evaluated = time.perf_counter(), []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for line in process.stdout:
            if found := re.match(r"step (\d+) train loss: \S+ test loss: (\S+)", line):
                evaluated.append((float(found[2]), time.perf_counter() - began, int(found[1])))
    require(process.returncode == 0 and bool(evaluated), ENDED)
    nats, seconds, step = min(evaluated)
    return seconds, nats, step


def benchmark_reach(config: Reach) -> dict:
    """The table: our models, and how many times sooner they are there than makemore.py is at its best."""
    (_, sides), rows, theirs = peer_split(config.data), {}, None
    print(f"{'':<20}{'seconds':>8}  {'least to most':<16}{'step':>7}{'nats':>8}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if config.peer:
            theirs = peers(config, folder)
            print(f"{'makemore.py':<20}{theirs[0]:>8.1f}{theirs[2]:>25,}{theirs[1]:>8.4f}  its best", flush=True)
        split = Path(folder) / "split.json"
        split.write_text(json.dumps([sides.train, sides.test]), encoding="utf-8")
        for name in config.models:
            seeds = range(1 if name == "n-gram" else config.rounds)
            runs = [ours(split, name, config.target, seed) for seed in seeds]
            rows[name] = [dict(zip(("seconds", "nats", "step"), run, strict=True)) for run in runs]
            seconds, nats, step = np.median(runs, axis=0)
            missed = sum(run[1] == np.inf for run in runs)
            if missed:
                print(f"{name:<20}{missed} of {len(runs)} runs did not get to {config.target}", flush=True)
                continue
            spread = f"{min(runs)[0]:.1f} to {max(runs)[0]:.1f}"
            sooner = f"{theirs[0] / seconds:>7.1f} x sooner" if theirs else ""
            print(f"{name:<20}{seconds:>8.1f}  {spread:<16}{step:>7,.0f}{nats:>8.4f}{sooner}", flush=True)
    return {"benchmark": "reach", "target": config.target, "makemore.py": theirs, "models": rows}


if __name__ == "__main__":
    split, name, target, seed = sys.argv[1:]
    try:
        child(split, name, float(target), int(seed))
    except InputError as error:
        cli.fail(str(error))
