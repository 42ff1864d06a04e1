"""Where the time of a training step goes: the operations that XLA made of it, by kind, from JAX's profiler."""

import gzip
import json
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax

from experiments.benchmark.models import STEPS, Learner, read
from experiments.benchmark.peer import MODELS
from makemore_jax import train
from makemore_jax.errors import require


@dataclass(frozen=True)
class Profile:
    """Microseconds a step of each kind of operation, in the default step of a model."""

    data: Path = Path("data/names.txt")
    """Text file in UTF-8, one thing a line."""
    model: Literal[MODELS] = "transformer"
    """Which model, at makemore.py's default sizes."""
    batch: int = 32
    """Lines a step."""
    padded: bool = False
    """Pad every line to the longest, a row each, in place of lines end to end."""
    kinds: int = 12
    """How many kinds to print."""

    def __post_init__(self):
        require(min(self.batch, self.kinds) > 0, "--batch and --kinds must be at least 1")


def benchmark_profile(config: Profile) -> dict:
    """The table: operations run side by side on several cores, so their sum may be more than the step."""
    recipe = train.Recipe(batch=config.batch, learning_rate=5e-4)
    learner = Learner(config.model, *read(config.data), recipe, padded=config.padded)
    learner.steps(STEPS)
    step = min(learner.steps(STEPS) for _ in range(5)) / STEPS
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            learner.steps(STEPS)
        (path,) = Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    seconds, times = Counter(), Counter()
    for event in events:
        if "hlo_op" in event.get("args", {}):
            kind = re.sub(r"[.\d]+$", "", event["name"])
            seconds[kind] += event["dur"] / 1e6 / STEPS
            times[kind] += 1 / STEPS
    rows, width = learner.plan.layout.line_BT.shape
    tokens = learner.plan.line_tokens * config.batch
    print(f"{config.model}: {rows} rows of {width} cells for {tokens:.0f} tokens")
    print(f"{1e6 * step:,.0f} us a step unprofiled; {1e6 * seconds.total():,.0f} us of operations, by kind:")
    for kind, value in seconds.most_common(config.kinds):
        print(f"{1e6 * value:>8,.0f} us{times[kind]:>8,.0f} times   {kind}")
    return {"benchmark": "profile", "seconds_a_step": step, "kinds": seconds, "cells": rows * width}
