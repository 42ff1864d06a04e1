"""Many runs as one program: seeds times learning rates, by vmap over the pure training run.

Run it:   python -m experiments.sweep --model mlp --steps 2000
Expect:   a table of dev losses with their spread over seeds, and the curves as PNG in runs/sweep/
"""

import dataclasses
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments import cli
from experiments.task import Corpus, Text, baselines, config_type, load, model_flag, plan_batches, sizes_of
from makemore_jax import data, plot, train
from makemore_jax.errors import check_float, require
from makemore_jax.loss import evaluate
from makemore_jax.model import Model, Params
from makemore_jax.models import NEURAL, build


@dataclass(frozen=True)
class Config(Text):
    """Train seeds x learning rates of a model as one program."""

    model: Literal[NEURAL] = "mlp"
    """Which model; its own sizes are flags below."""
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
        require(not self.stream, "--stream is for one run at a time; a sweep needs its data in memory")
        require(self.seeds > 0, f"--seeds is {self.seeds}; it must be at least 1")
        require(self.evaluations > 0, f"--evaluations is {self.evaluations}; it must be at least 1")
        require(len(self.rates) > 0, "--rates names none; give at least one")
        for rate in self.rates:
            check_float("--rates", rate, zero=False)


class Runs(NamedTuple):
    """R runs of E evaluations, seeds side by side and rates below each other."""

    best: list[Params]  # of each run, at its best evaluation on dev
    best_step_R: np.ndarray
    train_RE: np.ndarray  # mean loss of the batches since the evaluation before
    dev_RE: np.ndarray


def train_all(
    model: Model, recipe: train.Recipe, corpus: Corpus, seeds: Sequence[int], rates: Sequence[float], evaluations: int
) -> Runs:
    """Every run at once, by vmap over `train.run`: each equals the run made alone."""
    tokens, plan = plan_batches(recipe, corpus)
    loss, optimizer = train.batch_loss(model, corpus.vocab.size, plan, recipe), train.adamw(recipe)
    seed_R, rate_R = (axis.reshape(-1) for axis in np.meshgrid(seeds, np.float32(rates)))
    axes = {"learning_rate": 0, "weight_decay": None}
    hyper_R = recipe.hyper | {"learning_rate": jnp.asarray(rate_R)}

    def begin(seed: jax.Array, hyper: dict) -> tuple[jax.Array, train.TrainState]:
        init_key, run_key, _ = jax.random.split(jax.random.key(seed), 3)
        return run_key, train.start(model.init(init_key), hyper, optimizer)

    @partial(jax.jit, static_argnames="count", donate_argnames="state_R")
    def go_on(key_R: jax.Array, state_R: train.TrainState, tokens: data.Tokens, hyper_R: dict, count: int):
        run = partial(train.run, loss=loss, optimizer=optimizer, count=count)
        return jax.vmap(run, (0, 0, None, axes))(key_R, state_R, tokens, hyper_R)

    key_R, state_R = jax.jit(jax.vmap(begin, (0, axes)))(seed_R, hyper_R)
    on_device, numbers = jax.device_put(tokens), range(len(seed_R))
    best, best_step_R, train_RE, dev_RE = [None] * len(seed_R), np.zeros(len(seed_R), int), [], []
    steps = np.linspace(0, recipe.steps, evaluations + 1).astype(int)
    for first, last in itertools.pairwise(tqdm(steps.tolist(), desc=f"{len(seed_R)} runs", disable=None, leave=False)):
        state_R, loss_RN = go_on(key_R, state_R, on_device, hyper_R, last - first)
        params_R = [jax.tree.map(lambda leaf, r=r: leaf[r], state_R.params) for r in numbers]
        train_RE.append(np.asarray(loss_RN).mean(1))
        dev_R = [evaluate(model, params, corpus.tokens["dev"]).nats for params in params_R]
        dev_RE.append(np.nan_to_num(dev_R, nan=np.inf))  # a diverged run is no better than any other
        for r in numbers:
            if np.argmin(np.stack(dev_RE)[:, r]) == len(dev_RE) - 1:
                best[r], best_step_R[r] = params_R[r], last
    return Runs(best, best_step_R, np.stack(train_RE, 1), np.stack(dev_RE, 1))


def learn(
    name: str, sizes: dict, recipe: train.Recipe, corpus: Corpus, seed: int, every: int, **changes: Any
) -> tuple[Model, Params]:
    """One run of a model, at its best evaluation on dev, one each `every` steps; `changes` are of the recipe."""
    recipe = dataclasses.replace(recipe, **changes)
    model, evaluations = build(name, sizes_of(name, sizes, corpus)), max(1, recipe.steps // every)
    return model, train_all(model, recipe, corpus, [seed], [recipe.learning_rate], evaluations).best[0]


def run(config: Any) -> dict:
    """Train, and print the dev loss of each rate with its spread over seeds."""
    corpus = load(config)
    require(
        config.evaluations <= config.recipe.steps,
        f"--evaluations is {config.evaluations}; it must be at most --steps {config.recipe.steps}",
    )
    cli.open_run(config, config.out, corpus.digest)
    product = f"{config.seeds} seeds x {len(config.rates)} rates = {len(config.rates) * config.seeds}"
    print(f"{config.model}: {product} runs as one program")
    levels = baselines(corpus)
    print("dev losses to beat: " + ", ".join(f"{name} {nats:.4f}" for name, nats in levels.items()))
    began = time.perf_counter()
    model = build(config.model, sizes_of(config.model, dataclasses.asdict(config.sizes), corpus))
    runs = train_all(model, config.recipe, corpus, range(config.seeds), config.rates, config.evaluations)
    seconds = time.perf_counter() - began
    dev_RS = runs.dev_RE.min(1).reshape(-1, config.seeds)
    print(f"{config.recipe.steps:,} steps each in {seconds:.1f} s with compilation\n")
    print(f"{'rate':>10}{'dev, mean':>12}{'least':>10}{'most':>10}   over seeds, each at its best evaluation")
    for rate, dev_S in zip(config.rates, dev_RS, strict=True):
        print(f"{rate:>10g}{dev_S.mean():>12.4f}{dev_S.min():>10.4f}{dev_S.max():>10.4f}")
    best = config.rates[int(dev_RS.mean(1).argmin())]
    print(f"best rate {best:g}")
    if not config.no_figures:
        steps = np.linspace(0, config.recipe.steps, config.evaluations + 1)[1:]
        curves = runs.dev_RE.reshape(len(config.rates), config.seeds, -1)
        by_rate = {f"rate {rate:g}": (steps, curve) for rate, curve in zip(config.rates, curves, strict=True)}
        plot.spread(by_rate, levels, config.out / "sweep.png", config.level)
    summary = {"experiment": "sweep", "model": config.model, **cli.environment(), "rates": config.rates}
    summary |= {"dev_nats": dev_RS, "best_rate": best, "dev_nats_to_beat": levels}
    summary |= {"train_curves": runs.train_RE, "dev_curves": runs.dev_RE}
    cli.write_json(config.out / "summary.json", summary)
    return summary


if __name__ == "__main__":
    cli.main(lambda: config_type(Config, model_flag(sys.argv[1:], Config.model)), run)
