"""Train seeds x learning rates as one program, by vmap over the two pure functions of a training run.

Run it:   python -m experiments.sweep --model mlp --steps 2000
Expect:   a table of dev losses with their range over seeds, and a figure of the curves in runs/sweep/; a rate at which
          a run diverged is never the best
"""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

import makemore_jax as mm
from makemore_jax.distributed.mesh import spread
from makemore_jax.errors import require, require_float, require_nonempty, require_positive
from makemore_jax.learning.sweep import EVALUATIONS
from makemore_jax.models.registry import NEURAL, resolve

from .shared import cli
from .shared.figures import drawing
from .shared.flags import MAX_SEEDS, Output, Text, Trains, chosen_sizes, one_of, require_seeds, with_model


@dataclass(frozen=True, kw_only=True)
class Config(Output, Trains, Text):
    """Train a model with several seeds and learning rates at once, as one program."""

    model: Annotated[str, one_of(NEURAL)] = "mlp"
    """Model to train. The flags below are for its sizes and recipe; see --model NAME --help for those of another."""
    seeds: int = 4
    """Number of seeds for each learning rate."""
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2)
    """Learning rates to compare."""
    evaluations: int | None = None
    """Number of evaluations on dev during each run; by default 10, or one after each step of a shorter run."""
    out: Path = Path("runs/sweep")
    """Folder for the figure and the summary."""

    def __post_init__(self):
        require_seeds(self.seeds)
        require_positive(self, "evaluations")
        require_nonempty(self, "rates")
        for rate in self.rates:
            require_float("rates", rate, zero=False)
        runs = self.seeds * len(self.rates)
        require(runs <= MAX_SEEDS, f"`rates` x `seeds` are {runs:,} runs; at most {MAX_SEEDS:,} are trained at once")


def run(config: Any) -> dict:
    """Train all runs, and print the dev loss for each learning rate with its range over seeds."""
    steps, evaluations = config.recipe.steps, config.evaluations or min(EVALUATIONS, config.recipe.steps)
    require(evaluations <= steps, f"`evaluations` is {evaluations}; it must be from 1 to {steps} (steps)")
    config = replace(config, evaluations=evaluations)
    corpus = config.load()
    with cli.claim(config, config.out, corpus.digest, ("sweep.png",)) as folder:
        count = config.seeds * len(config.rates)
        print(f"{config.model}: {config.seeds} seeds x {len(config.rates)} rates = {count} runs as one program")
        cli.tell_optimizer(config.recipe, resolve(config.model, corpus.sizes, overrides=chosen_sizes(config))[0])
        levels = mm.baselines(corpus)
        print("dev losses to beat: " + ", ".join(f"{name} {nats:.4f}" for name, nats in levels.items()))
        began, options = time.perf_counter(), chosen_sizes(config) | {"evaluations": config.evaluations}
        runs = mm.sweep(
            config.model, corpus, range(config.seeds), config.rates, config.recipe, spread=spread, **options
        )
        print(f"{config.recipe.steps:,} steps each in {time.perf_counter() - began:.1f} s with compilation\n")
        print(f"dev loss of each run at its best evaluation, in nats per {config.unit}, over seeds:")
        table = cli.Table(rate=">10g", mean=">10.4f", lowest=">10.4f", highest=">10.4f", diverged=">10")
        shape = len(config.rates), config.seeds
        dev_RSE, diverged_RS, curves = runs.dev_RE.reshape(*shape, -1), runs.diverged_R.reshape(shape), {}
        for rate, dev_SE, diverged_S in zip(config.rates, dev_RSE, diverged_RS, strict=True):
            whole_SE, count = dev_SE[~diverged_S], f"{diverged_S.sum()} of {config.seeds}" if diverged_S.any() else None
            dev_S = whole_SE.min(-1)
            losses = {"mean": dev_S.mean(), "lowest": dev_S.min(), "highest": dev_S.max()} if len(dev_S) else {}
            table.row(rate=rate, **losses, diverged=count)
            name = f"rate {rate:g}" + (f", {count} diverged" if count else "")
            curves[name] = runs.step_E, whole_SE if len(dev_S) else np.full((1, len(runs.step_E)), np.nan)
        dev_RS = dev_RSE.min(-1)
        mean_R = np.where(diverged_RS.any(1), np.inf, dev_RS.mean(1))
        best = config.rates[int(mean_R.argmin())] if np.isfinite(mean_R).any() else None
        print("no best rate: at each of them a run diverged; try lower ones" if best is None else f"best rate {best:g}")
        summary = {"experiment": "sweep", "model": config.model, **cli.environment(), "rates": config.rates}
        summary |= {"dev_nats": dev_RS, "diverged": diverged_RS, "best_rate": best, "baselines": levels}
        summary |= {"steps": runs.step_E, "train_curves": runs.train_RE, "dev_curves": runs.dev_RE}
        folder.write_json("summary.json", summary)
        if not config.no_figures:
            with drawing(folder.file("sweep.png")) as path:
                mm.plot.bands(curves, levels, path, unit=config.unit)
    return summary


if __name__ == "__main__":
    cli.main(lambda: with_model(Config, sys.argv[1:]), run, every_core=True)
