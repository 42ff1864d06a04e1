"""Measure the time from the start of a process to a given loss, for our models and for makemore.py's default run.

The test lines are makemore.py's: 1,000 random lines of the lecture's file, some of which are also in train.
"""

import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np

import makemore_jax as mm
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import Split
from makemore_jax.data.peer_split import makemore_split
from makemore_jax.errors import require
from makemore_jax.learning.fit import follow

from ..shared import cli
from ..shared.flags import one_of
from .timing import PeerContest, ask, own_process

OURS = ("backoff", "mlp", "wavenet", "gru", "lstm", "hawk", "transformer", "modern-transformer")
# The quick recipes, shortened: the learning rate falls along a cosine, and most of the progress comes as it ends. A run
# this short does not overfit, so it has no dropout.
SHORT: dict[str, dict[str, Any]] = {
    "mlp": {"steps": 2500, "optimizer": "adamw", "weight_decay": 0.01},  # half of Muon's time for a step
    "wavenet": {"steps": 1100},
    "gru": {"steps": 1400},
    "lstm": {"steps": 1500},
    "transformer": {"steps": 1300, "dropout": 0.0},
    "modern-transformer": {"steps": 1200, "dropout": 0.0, "modern": True},
}
EVALUATE_EVERY = 100  # steps


@dataclass(frozen=True)
class Reach(PeerContest):
    """Measure the seconds from the start of a process to a test loss on makemore.py's split, with short recipes."""

    data: Path = Path("names.txt")
    """Text file, the lecture's names.txt."""
    rounds: int = 3
    """Number of runs of each of our models, each with its own seed; makemore.py runs once."""
    models: tuple[Annotated[str, one_of(OURS)], ...] = OURS
    """Models of ours to run."""
    target: float = 1.966
    """Test loss to reach, in nats per character."""
    peer_steps: int = 15_000
    """Number of steps that makemore.py trains; it evaluates every 500 steps."""


class Reached(NamedTuple):
    """The time at which a run reached the target, and its loss then; infinite if it never did."""

    seconds: float  # from the start of its process
    nats: float
    step: int


def train_until(target: float, train: list[str], test: list[str], name: str, seed: int) -> tuple[float, int] | None:
    """Train until the loss on `test` reaches the target; return loss and step, or None if the recipe ends first."""
    corpus = encode(Split(train, test, test), "")
    if name == "backoff":
        nats = mm.evaluate(mm.count(corpus), corpus.tokens.test).nats
        return (nats, 0) if nats <= target else None

    options = {"evaluate_every": EVALUATE_EVERY, **SHORT.get(name, {})}
    followed = follow(jax.random.key(seed), name.removeprefix("modern-"), corpus, **options)
    return next(((run.dev, run.step) for run in followed.values if run.dev is not None and run.dev <= target), None)


def run_ours(lines: Split, name: str, target: float, seed: int) -> Reached:
    """Train one of our models in a separate process."""
    began = time.perf_counter()
    with own_process() as process:
        reached = ask(process, train_until, target=target, train=lines.train, test=lines.test, name=name, seed=seed)
        return Reached(time.perf_counter() - began, *reached) if reached else Reached(np.inf, np.inf, 0)


def run_peer(folder: Path, data: Path, steps: int) -> Reached:
    """Run makemore.py's command with its defaults; return when it printed its best test loss."""
    began, evaluated = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-u", "-m", f"{__package__}.peer", str(folder / "makemore.py")]
        command += ["-i", str(data), "-o", out, "--max-steps", str(steps + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            for line in process.stdout or ():
                if found := re.match(r"step (\d+) train loss: \S+ test loss: (\S+)", line):
                    evaluated.append(Reached(time.perf_counter() - began, float(found[2]), int(found[1])))
    require(process.returncode == 0 and bool(evaluated), f"{folder}: makemore.py printed no loss; it needs 500 steps")
    return min(evaluated, key=lambda reached: reached.nats)


def benchmark_reach(config: Reach) -> dict:
    """Print the table of our models, with the ratio of makemore.py's time to ours."""
    (lines, _), theirs, rows = makemore_split(config.data), None, {}
    formats = {"seconds": ">9.1f", "lowest": ">9.1f", "highest": ">9.1f", "step": ">9,.0f", "nats": ">9.4f"}
    print(f"time to a test loss of {config.target} nats per character, with the step and the loss at that time")
    print("seconds: the median over seeds, with the lowest and the highest; backoff: the n-gram with back-off")
    print("ratio: how many times as long makemore.py took to reach its best loss\n")
    table = cli.Table(model="<20", **formats, **({"ratio": ">8.1f"} if config.peer else {}))
    if config.peer:
        theirs = run_peer(config.peer, config.data, config.peer_steps)
        table.row(model="makemore.py", **theirs._asdict())
    for name in config.models:
        seeds = range(1 if name == "backoff" else config.rounds)
        rows[name] = [run_ours(lines, name, config.target, seed) for seed in seeds]
        row, lowest, highest = Reached(*np.median(rows[name], axis=0)), min(rows[name])[0], max(rows[name])[0]
        ratio = theirs.seconds / row.seconds if theirs else None
        table.row(model=name, **row._asdict(), lowest=lowest, highest=highest, ratio=ratio)
    return {"target": config.target, "makemore.py": theirs, "models": rows}
