"""Compare every model on the same lines, from the baseline, which is counting, to a mixture of all models.

Run it:   python -m experiments.compare
          python -m experiments.compare --presets quick tuned     also with the recipes of the lowest loss
          python -m experiments.compare --makemore-split --data names.txt     the lecture's file in makemore.py's split
          python -m experiments.compare --steps 200 --seeds 2     a quick look
Expect:   runs/compare/compare.png, and a table in which LSTM, WaveNet, GRU and transformer beat the n-gram with
          back-off, the MLP comes close to it, the others do not, and mixtures beat them all
Stop it:  rows and models are kept; the same command with --resume continues
Then:     python -m experiments.sample runs/compare     sample from the mixture
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

import makemore_jax as mm
from makemore_jax.data.corpus import encode
from makemore_jax.data.peer_split import makemore_split
from makemore_jax.distributed.mesh import spread
from makemore_jax.errors import require, require_nonempty, require_positive
from makemore_jax.inference.evaluate import line_nll, standard_error
from makemore_jax.inference.mixing import components, weights
from makemore_jax.models.interface import num_params
from makemore_jax.models.registry import MODELS, NEURAL, PRESETS, resolve

from .shared import cli
from .shared.cores import on_every_core
from .shared.figures import comparison, drawing
from .shared.flags import Text, key_for, one_of, require_seeds
from .shared.rows import Study, keep, model_files
from .shared.usage import command_line

EVALUATE_EVERY = 500  # steps
PUBLISHED = {  # nats per character on random splits of the lecture's file: its notebooks, and makemore.py's README
    "bigram": "2.45",
    "mlp": "2.10 to 2.17",
    "wavenet": "1.99",
    "transformer": "1.92 to 1.97",
}


@dataclass(frozen=True, kw_only=True)
class Config(Study, Text):
    """Train every model on the same lines, each with its own recipe, and compare them."""

    makemore_split: bool = False
    """Hold out the 1,000 random lines that makemore.py holds out, and choose the best step on them, too; use this only
    to compare with published figures."""
    models: tuple[Annotated[str, one_of(NEURAL)], ...] = NEURAL
    """Models to compare."""
    presets: tuple[Annotated[str, one_of(PRESETS)], ...] = ("quick",)
    """How to train them: quick, tuned, or both."""
    seeds: int = 3
    """Number of runs of each model."""
    steps: int | None = None
    """Train each model for this many steps instead of its recipe's."""
    samples: int = 1000
    """Number of samples to draw from each model, to measure how many are new."""
    out: Path = Path("runs/compare")
    """Folder for the figure and the summary."""

    def __post_init__(self):
        require_seeds(self.seeds)
        require_positive(self, "steps")
        require(0 < self.samples <= 10**6, f"`samples` is {self.samples}; it must be from 1 to 1,000,000")
        require_nonempty(self, "models", "presets")


class Row(NamedTuple):
    """What the table says about one model; lists are over seeds."""

    parameters: int
    steps: int
    best_steps: list[int]
    seconds: float  # of processor time per run, on all cores: compiling, training and evaluating on dev
    nats: dict[str, list[float]]  # on train, dev and test; "unseen": on test, excluding the train lines
    line_error: float  # the standard error of the test loss over the test lines; the mean over seeds
    samples_per_second: float
    novelty: dict
    samples: list[str]
    diverged: int = 0  # runs whose loss grew or was not finite


class Trainings(NamedTuple):
    """A model that was trained with several seeds, or combined from other models."""

    trained: list[mm.Trained]
    seconds: float
    steps: int = 0
    best_steps: list[int] = [0]  # noqa: RUF012 (never written to)
    diverged: int = 0


def count(corpus: mm.Corpus) -> Trainings:
    """Count the n-gram with back-off."""
    began = time.process_time()
    return Trainings([mm.count(corpus)], time.process_time() - began)


def train(config: Config, progress: bool, which: tuple[str, str]) -> Trainings:
    """Train a model with the recipe of one of its presets and several seeds at once."""
    corpus, (name, preset) = load(config), which
    began, options = time.process_time(), {"steps": config.steps} if config.steps else {}
    model, recipe = resolve(name, corpus.sizes, None, options, preset)
    evaluations = max(1, recipe.steps // EVALUATE_EVERY)
    options = {"recipe": recipe, "evaluations": evaluations, "spread": spread, "progress": progress}
    runs = mm.sweep(model, corpus, range(config.seeds), **options)
    seconds = (time.process_time() - began) / config.seeds
    return Trainings(runs.best, seconds, recipe.steps, runs.best_step_R.tolist(), int(runs.diverged_R.sum()))


def ensemble(runs: list[mm.Trained], seconds: float) -> Trainings:
    """Combine the runs of one model, which took this long, into one model."""
    return Trainings([mm.ensemble(runs)], seconds)


def mix(runs: list[mm.Trained], seconds: float, corpus: mm.Corpus) -> Trainings:
    """Mix all runs, which took this long, into one model with the weights that are best on dev."""
    began = time.process_time()
    mixed = mm.mix(runs, corpus.tokens.dev)
    return Trainings([mixed], seconds + time.process_time() - began)


def measure(row: Trainings, corpus: mm.Corpus, config: Config) -> Row:
    """Measure the losses of each run, and sample from the first."""
    first, key, test = row.trained[0], key_for(0, "samples"), corpus.tokens.test
    nats = {part: [mm.evaluate(one, tokens).nats for one in row.trained] for part, tokens in corpus.tokens.items()}
    errors = [standard_error(line_nll(one.model, one.params, test), test.length_N) for one in row.trained]
    unseen = [mm.evaluate(one, test, excluding=corpus.tokens.train).nats for one in row.trained]
    if np.isfinite(unseen).all():  # it is infinite if some test lines are also in train, as in makemore.py's split
        nats["unseen"] = unseen
    texts, began = mm.sample(key, first, config.samples), time.perf_counter()
    mm.sample(key, first, config.samples)  # again, without compiling
    speed = config.samples / (time.perf_counter() - began)
    sizes = num_params(first.params), row.steps, row.best_steps, row.seconds
    return Row(*sizes, nats, float(np.mean(errors)), speed, corpus.novelty(texts), texts[:20], row.diverged)


def load(config: Config) -> mm.Corpus:
    """Load the data in the requested split."""
    if not config.makemore_split:
        return config.load()
    lines, digest = makemore_split(config.data, config.reading)
    return encode(lines, digest, config.encoded)


def run(config: Config) -> dict:
    """Train all models row by row, then combine them."""
    corpus = load(config)
    names = {model: (model, "quick") for model in config.models if "quick" in config.presets}
    tuned = [model for model in config.models if MODELS[model].tuned or "quick" not in config.presets]
    names |= {f"{model}, tuned": (model, "tuned") for model in tuned if "tuned" in config.presets}
    files = ("compare.png", *model_files("backoff"))
    files += tuple(file for name in names for file in model_files(name, config.seeds))
    about = {"experiment": "compare", "seeds": config.seeds, "published": PUBLISHED}
    with keep(config, corpus.digest, files, **about) as kept:
        introduce(config, corpus)
        table, rows, trained, more = heading(config), {}, {}, {}

        def show(name: str, make: Callable[[], Trainings]) -> Callable[[], list[mm.Trained]]:
            """Measure and print a row; its models are made once at most, and only if they are needed."""
            made = cache(make)
            row = kept.measure(name, lambda: measure(made(), corpus, config)._asdict())
            nats = {part: [float(value) for value in values] for part, values in row["nats"].items()}  # also from "nan"
            rows[name] = Row(**row | {"nats": nats})
            print_row(table, name, rows[name])
            return lambda: made().trained

        def runs(*names: str) -> tuple[list[mm.Trained], float]:
            """The runs of these rows, and the seconds that they took."""
            seconds = sum(rows[name].seconds * len(trained[name]) for name in names)
            return [run for name in names for run in trained[name]], seconds

        trained["backoff"] = kept.models("backoff", show("backoff", lambda: count(corpus)))
        missing = [which for name, which in names.items() if name not in kept.rows]
        trainings = on_every_core(partial(train, config, len(missing) == 1), missing)
        for name, which in names.items():
            again = partial(train, config, True, which)  # if the models of a kept row were damaged
            make = show(name, again if name in kept.rows else partial(next, trainings))
            trained[name] = kept.models(name, make, config.seeds)
        best = min(names, key=lambda name: np.mean(rows[name].nats["dev"]))
        make = show(f"{config.seeds} x {best}", lambda: ensemble(*runs(best)))
        if not config.makemore_split:  # in that split dev is test, and weights must not be chosen on test
            make = show("mixture of all", lambda: mix(*runs(*trained), corpus))
        (whole,) = kept.models("best", make)
        if not config.makemore_split:
            more = {"weights": dict(zip(components(whole), weights(whole).tolist(), strict=True))}
            print("\nweights in the mixture:", ", ".join(f"{w:.3f} {name}" for name, w in more["weights"].items()))
        if not config.no_figures:
            test = {name: np.array(row.nats["test"]) for name, row in rows.items()}
            with drawing(kept.folder.file("compare.png")) as path:
                comparison(test, "backoff", path, config.unit)
        print(f"to sample from the last row: {command_line('sample', config.out)}")
        return kept.finish(**more)


def heading(config: Config) -> cli.Table:
    """Print the head of the table; its last column holds samples."""
    sizes = {"model": "<19", "parameters": ">12,", "steps": ">8,", "CPU_s": ">9.1f", "train": ">9.4f"}
    more = {"published": ">14"} if config.makemore_split else {"unseen": ">17"}
    more |= {"samples/s": ">11,.0f", "new": ">6.0%", "  samples": "<36"}
    return cli.Table(**sizes, dev=">17", test=">17", **{"lines ±": ">9.4f"}, **more)


def print_row(table: cli.Table, name: str, row: Row) -> None:
    """Print a row of the table."""
    last = {"  samples": "  " + " ".join(cli.clip(text, 12) for text in row.samples[:3])}
    means = {part: cli.mean_and_range(nats) for part, nats in row.nats.items() if part != "train"}
    sizes = {"parameters": row.parameters, "steps": row.steps or None, "CPU_s": row.seconds}
    more = {"samples/s": row.samples_per_second, "new": row.novelty["new"] / row.novelty["samples"]}
    more |= {"lines ±": row.line_error, "published": PUBLISHED.get(name.removesuffix(", tuned"))}
    table.row(model=name, **sizes, train=np.mean(row.nats["train"]), **means, **more, **last)
    if row.diverged:
        print(f"  {row.diverged} of {len(row.best_steps)} runs diverged; the losses are those of their best steps")


def introduce(config: Config, corpus: mm.Corpus) -> None:
    """Print what is compared, and what the columns mean."""
    lines = ", ".join(f"{name} {len(part):,}" for name, part in corpus.lines.items())
    print(f"{cli.shown(config.data)}: {lines} lines;", end=" ")
    print(f"{config.seeds} seeds of each neural model; losses in nats per {config.unit}")
    if config.makemore_split:
        print("makemore.py's split: dev and test are the same lines, on which the best step is chosen, too")
    else:
        print("unseen: the loss on test of a model that is told that no test line is in train")
        print("new: the share of samples that are not in the file")
    print("backoff: the n-gram with back-off; CPU s: processor time of a run, compilation included")
    print("±: half the range over seeds; lines ±: the standard error of the test loss over the test lines")
    print()


if __name__ == "__main__":
    cli.main(lambda: Config, run, every_core=True)
