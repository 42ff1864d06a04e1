"""Many runs as one program: seeds times learning rates, by vmap over the pure training run.

Run it:   python -m experiments.sweep --model mlp --steps 2000
Expect:   a table of dev losses with their spread over seeds, and the curves as PNG in runs/sweep/
"""

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments import cli
from experiments.task import Corpus, baselines, config_type, load, model_flag, sizes_of
from makemore_jax import data, plot, train
from makemore_jax.errors import check_float, require
from makemore_jax.loss import evaluate
from makemore_jax.model import Model, Params
from makemore_jax.models import NEURAL, build


@dataclass(frozen=True)
class Config:
    """Train seeds x learning rates of a model as one program."""

    model: Literal[NEURAL] = "mlp"
    """Which model; its own sizes are flags below."""
    data: Path = Path("data/names.txt")
    """Text file in UTF-8, one thing a line."""
    max_length: int | None = None
    """Cut lines of the data to this many characters."""
    seeds: int = 4
    """How many seeds for each rate."""
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2)
    """The learning rates."""
    evaluations: int = 10
    """Points of each curve."""
    out: Path = Path("runs/sweep")
    """Folder for the figure and the summary."""
    overwrite: bool = False
    """Replace what the folder holds of another configuration."""
    json: bool = False
    """Print the summary as JSON on the last line."""
    no_figures: bool = False
    """Draw no figures."""

    def __post_init__(self):
        require(self.seeds > 0, f"--seeds is {self.seeds}; it must be at least 1")
        require(self.evaluations > 0, f"--evaluations is {self.evaluations}; it must be at least 1")
        require(len(self.rates) > 0, "--rates names none; give at least one")
        for rate in self.rates:
            check_float("--rates", rate, zero=False)


def train_all(config: Any, corpus: Corpus) -> tuple[Model, list[Params], np.ndarray]:
    """Every run at once; returns the model, the parameters of each, and the mean train losses (S, E)."""
    recipe, model = config.recipe, build(config.model, sizes_of(config, corpus))
    seed_S, rate_S = (axis.reshape(-1) for axis in np.meshgrid(np.arange(config.seeds), np.float32(config.rates)))
    axes = {"learning_rate": 0, "weight_decay": None}
    hyper_S = recipe.hyper | {"learning_rate": jnp.asarray(rate_S)}
    tokens, plan = data.plan(corpus.tokens["train"], recipe.rows)
    loss, optimizer = train.batch_loss(model, corpus.vocab.size, plan, recipe), train.adamw(recipe)

    def begin(seed: jax.Array, hyper: dict) -> tuple[jax.Array, train.TrainState]:
        init_key, run_key, _ = jax.random.split(jax.random.key(seed), 3)
        return run_key, train.start(model.init(init_key), hyper, optimizer)

    @partial(jax.jit, static_argnames="count")
    def go_on(key_S: jax.Array, state_S: train.TrainState, tokens: data.Tokens, hyper_S: dict, count: int):
        run = partial(train.run, loss=loss, optimizer=optimizer, count=count)
        return jax.vmap(run, (0, 0, None, axes))(key_S, state_S, tokens, hyper_S)

    key_S, state_S = jax.jit(jax.vmap(begin, (0, axes)))(seed_S, hyper_S)
    on_device, curves = jax.device_put(tokens), []
    steps = np.linspace(0, recipe.steps, config.evaluations + 1).astype(int)
    for count in tqdm(np.diff(steps).tolist(), desc=f"{len(seed_S)} runs", disable=None, leave=False):
        state_S, loss_SN = go_on(key_S, state_S, on_device, hyper_S, count)
        curves.append(np.asarray(loss_SN).mean(1))
    params = [jax.tree.map(lambda leaf, s=s: leaf[s], state_S.params) for s in range(len(seed_S))]
    return model, params, np.stack(curves, 1)


def run(config: Any) -> dict:
    """Train, and print the dev loss of each rate with its spread over seeds."""
    corpus = load(config.data, config.max_length)
    require(
        config.evaluations <= config.recipe.steps,
        f"--evaluations is {config.evaluations}; it must be at most --steps {config.recipe.steps}",
    )
    cli.open_run(config, config.out, corpus.lines)
    runs = len(config.rates) * config.seeds
    print(f"{config.model}: {config.seeds} seeds x {len(config.rates)} rates = {runs} runs as one program")
    levels = baselines(corpus)
    print("dev losses to beat: " + ", ".join(f"{name} {nats:.4f}" for name, nats in levels.items()))
    began = time.perf_counter()
    model, params, curve_SE = train_all(config, corpus)
    seconds = time.perf_counter() - began
    dev_RS = np.array([evaluate(model, p, corpus.tokens["dev"]).nats for p in params]).reshape(-1, config.seeds)
    print(f"{config.recipe.steps:,} steps each in {seconds:.1f} s with compilation\n")
    print(f"{'rate':>10}{'dev, mean':>12}{'least':>10}{'most':>10}   over seeds")
    for rate, dev_S in zip(config.rates, dev_RS, strict=True):
        print(f"{rate:>10g}{dev_S.mean():>12.4f}{dev_S.min():>10.4f}{dev_S.max():>10.4f}")
    best = config.rates[int(np.nanargmin(np.where(np.isfinite(dev_RS), dev_RS, np.inf).mean(1)))]
    print(f"best rate {best:g}")
    if not config.no_figures:
        steps = np.linspace(0, config.recipe.steps, config.evaluations + 1)[1:]
        curves = curve_SE.reshape(len(config.rates), config.seeds, -1)
        by_rate = {f"rate {rate:g}": (steps, curve) for rate, curve in zip(config.rates, curves, strict=True)}
        plot.spread(by_rate, levels, config.out / "sweep.png")
    summary = {"experiment": "sweep", "model": config.model, **cli.environment(), "rates": config.rates}
    summary |= {"dev_nats": dev_RS, "best_rate": best, "dev_nats_to_beat": levels, "curves": curve_SE}
    cli.write_json(config.out / "summary.json", summary)
    return summary


if __name__ == "__main__":
    cli.main(lambda: config_type(Config, model_flag(sys.argv[1:], Config.model)), run)
