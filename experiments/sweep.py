"""Many runs as one program: seeds times learning rates, by vmap over the two pure functions of a training run.

Run it:   python -m experiments.sweep --model mlp --steps 2000
Expect:   a table of dev losses with their range over seeds, and the curves as PNG in runs/sweep/
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import makemore_jax as mm
from experiments.shared import cli
from experiments.shared.figures import drawing
from experiments.shared.flags import Output, Text, Trains, chosen_sizes, with_model
from makemore_jax.distributed.mesh import spread
from makemore_jax.errors import require, require_positive
from makemore_jax.models.registry import NEURAL


@dataclass(frozen=True, kw_only=True)
class Config(Output, Trains, Text):
    """Train a model with several seeds and learning rates at once, as one program."""

    model: Literal[NEURAL] = "mlp"
    """Which model to train; its sizes and its training recipe are flags below."""
    seeds: int = 4
    """Number of seeds for each learning rate."""
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2)
    """Learning rates to compare."""
    evaluations: int = 10
    """Number of evaluations on dev during each run."""
    out: Path = Path("runs/sweep")
    """Folder for the figure and the summary."""

    def __post_init__(self):
        require_positive(self, "seeds", "evaluations")
        require(self.seeds <= 10**4, f"`seeds` is {self.seeds}; it must be from 1 to 10,000")


def run(config: Any) -> dict:
    """Train, and print the dev loss for each learning rate with its range over seeds."""
    corpus = config.load()
    with cli.claim(config, config.out, corpus.digest, ("sweep.png",)) as folder:
        count = config.seeds * len(config.rates)
        print(f"{config.model}: {config.seeds} seeds x {len(config.rates)} rates = {count} runs as one program")
        levels = mm.baselines(corpus)
        print("dev losses to beat: " + ", ".join(f"{name} {nats:.4f}" for name, nats in levels.items()))
        began, options = time.perf_counter(), chosen_sizes(config) | {"evaluations": config.evaluations}
        runs = mm.sweep(
            config.model, corpus, range(config.seeds), config.rates, config.recipe, spread=spread, **options
        )
        print(f"{config.recipe.steps:,} steps each in {time.perf_counter() - began:.1f} s with compilation\n")
        print("dev loss of each run at its best evaluation, over seeds:")
        table = cli.Table(rate=">10g", mean=">10.4f", lowest=">10.4f", highest=">10.4f")
        dev_RSE = runs.dev_RE.reshape(len(config.rates), config.seeds, -1)
        dev_RS = dev_RSE.min(-1)
        for rate, dev_S in zip(config.rates, dev_RS, strict=True):
            table.row(rate=rate, mean=dev_S.mean(), lowest=dev_S.min(), highest=dev_S.max())
        best = config.rates[int(dev_RS.mean(1).argmin())]
        print(f"best rate {best:g}")
        summary = {"experiment": "sweep", "model": config.model, **cli.environment(), "rates": config.rates}
        summary |= {"dev_nats": dev_RS, "best_rate": best, "baselines": levels}
        summary |= {"steps": runs.step_E, "train_curves": runs.train_RE, "dev_curves": runs.dev_RE}
        folder.write_json("summary.json", summary)
        if not config.no_figures:
            curves = {f"rate {r:g}": (runs.step_E, dev_SE) for r, dev_SE in zip(config.rates, dev_RSE, strict=True)}
            with drawing(config.out / "sweep.png") as path:
                mm.plot.bands(curves, levels, path, unit=config.unit)
    return summary


if __name__ == "__main__":
    cli.main(lambda: with_model(Config, sys.argv[1:]), run, every_core=True)
