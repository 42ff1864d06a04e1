"""Every model on the same lines: one table, one figure. Counting is the baseline, a mixture of all is the aim.

Run it:   python -m experiments.compare
          python -m experiments.compare --presets quick tuned     also tuned for the lowest loss
          python -m experiments.compare --makemore-split --data names.txt     the lecture's file in makemore.py's split
          python -m experiments.compare --steps 200 --seeds 2     a quick look
Expect:   runs/compare/compare.png, and a table in which LSTM, WaveNet, GRU and transformer beat the n-gram with
          back-off, the MLP comes close to it, the others do not, and mixtures beat them all
Then:     python -m experiments.sample runs/compare     samples from the mixture
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np

import makemore_jax as mm
from experiments.shared import cli
from experiments.shared.flags import Output, Text
from makemore_jax.data.corpus import encode, makemore_split
from makemore_jax.distributed.mesh import spread
from makemore_jax.errors import require_nonempty, require_positive
from makemore_jax.inference.mixing import components, weights
from makemore_jax.models.interface import num_params
from makemore_jax.models.registry import MODELS, NEURAL, PRESETS, resolve

EVALUATE_EVERY = 500  # steps
PUBLISHED = {  # nats per character on random splits of the lecture's file: its notebooks, and makemore.py's README
    "bigram": "2.45",
    "mlp": "2.10 to 2.17",
    "wavenet": "1.99",
    "transformer": "1.92 to 1.97",
}


@dataclass(frozen=True, kw_only=True)
class Config(Output, Text):
    """Train every model with its own recipe on the same lines, and compare them."""

    makemore_split: bool = False
    """Hold out the 1,000 random lines that makemore.py holds out; they also choose the best step. For comparison with
    published figures only."""
    models: tuple[Literal[NEURAL], ...] = NEURAL
    """Which models to compare."""
    presets: tuple[Literal[PRESETS], ...] = ("quick",)
    """How to train them: quick, tuned, or both."""
    seeds: int = 3
    """Number of runs of each model."""
    steps: int | None = None
    """Train each model for this many steps, instead of its recipe's."""
    samples: int = 1000
    """Samples drawn from each model to measure how many are new."""
    out: Path = Path("runs/compare")
    """Folder for the figure and the summary."""

    def __post_init__(self):
        require_positive(self, "seeds", "samples", "steps")
        require_nonempty(self, "models", "presets")


class Row(NamedTuple):
    """What the table says about one model; lists are over seeds."""

    parameters: int
    steps: int
    best_steps: list[int]
    seconds: float  # of processor time per run, on all cores: compiling, training and evaluating on dev
    nats: dict[str, list[float]]  # on train, dev and test; "unseen": on test, told that a line is not one of train
    samples_per_second: float
    novelty: dict
    samples: list[str]


class Trainings(NamedTuple):
    """A model, trained with several seeds or put together from others."""

    trained: list[mm.Trained]
    seconds: float
    steps: int = 0
    best_steps: list[int] = [0]  # noqa: RUF012 (never written to)


def count(corpus: mm.Corpus) -> Trainings:
    """The n-gram with back-off."""
    began = time.process_time()
    return Trainings([mm.count(corpus)], time.process_time() - began)


def train(name: str, preset: str, corpus: mm.Corpus, config: Config) -> Trainings:
    """Train a model by its own recipe with several seeds at once."""
    began, options = time.process_time(), {"steps": config.steps} if config.steps else {}
    model, recipe = resolve(name, corpus, None, options, preset)
    evaluations = max(1, recipe.steps // EVALUATE_EVERY)
    runs = mm.sweep(model, corpus, range(config.seeds), recipe=recipe, evaluations=evaluations, spread=spread)
    seconds = (time.process_time() - began) / config.seeds
    return Trainings(runs.best, seconds, recipe.steps, runs.best_step_R.tolist())


def ensemble(row: Trainings) -> Trainings:
    """The runs of one model as one model."""
    return Trainings([mm.ensemble(row.trained)], row.seconds * len(row.trained))


def mix(rows: list[Trainings], corpus: mm.Corpus) -> Trainings:
    """All runs of all models as one model, with the weights that are best on dev."""
    began = time.process_time()
    mixed = mm.mix([run for row in rows for run in row.trained], corpus.tokens.dev)
    seconds = sum(row.seconds * len(row.trained) for row in rows) + time.process_time() - began
    return Trainings([mixed], seconds)


def measure(row: Trainings, corpus: mm.Corpus, config: Config) -> Row:
    """The losses of each run, and samples of the first."""
    first, key = row.trained[0], jax.random.key(0)
    nats = {part: [mm.evaluate(one, tokens).nats for one in row.trained] for part, tokens in corpus.tokens.items()}
    unseen = [mm.evaluate(one, corpus.tokens.test, excluding=corpus.tokens.train).nats for one in row.trained]
    if np.isfinite(unseen).all():  # otherwise some lines of test are in train as well, as in makemore.py's split
        nats["unseen"] = unseen
    texts, began = mm.sample(key, first, config.samples), time.perf_counter()
    mm.sample(key, first, config.samples)  # once more, compiled
    speed = config.samples / (time.perf_counter() - began)
    sizes = num_params(first.params), row.steps, row.best_steps, row.seconds
    return Row(*sizes, nats, speed, corpus.novelty(texts), texts[:20])


def load(config: Config) -> mm.Corpus:
    """The data in the split that is asked for."""
    if not config.makemore_split:
        return config.load()
    lines, digest = makemore_split(config.data, config.max_length, config.lowercase)
    return encode(lines, digest, config.encoding)


def run(config: Config) -> dict:
    """Train all models, row by row, and put them together."""
    corpus = load(config)
    names = {model: (model, "quick") for model in config.models if "quick" in config.presets}
    tuned = [model for model in config.models if MODELS[model].tuned or "quick" not in config.presets]
    names |= {f"{model}, tuned": (model, "tuned") for model in tuned if "tuned" in config.presets}
    with cli.claim(config, config.out, corpus.digest, ("compare.png",)) as folder:
        introduce(config, corpus)
        table, rows = heading(config), {}

        def show(name: str, made: Trainings) -> Trainings:
            rows[name] = measure(made, corpus, config)
            print_row(table, name, rows[name])
            return made

        trained = {"n-gram": show("n-gram", count(corpus))}
        trained |= {name: show(name, train(*which, corpus, config)) for name, which in names.items()}
        best = min(names, key=lambda name: np.mean(rows[name].nats["dev"]))
        whole = show(f"{config.seeds} x {best}", ensemble(trained[best])).trained[0]
        summary = {"experiment": "compare", "seeds": config.seeds, **cli.environment(), "published": PUBLISHED}
        if not config.makemore_split:  # there, dev is test, and weights chosen on it would be too good
            whole = show("mixture of all", mix(list(trained.values()), corpus)).trained[0]
            shares = dict(zip(components(whole), weights(whole), strict=True))
            print("\nweights in the mixture: " + ", ".join(f"{share:.3f} {name}" for name, share in shares.items()))
            summary["weights"] = shares
        folder.save_best(whole)
        if not config.no_figures:
            test = {name: np.array(row.nats["test"]) for name, row in rows.items()}
            comparison(test, "n-gram", folder.file("compare.png"), config.unit)
            print(f"drawn in {cli.shown(config.out / 'compare.png')}")
        print(f"samples from the last row: python -m experiments.sample {cli.shown(config.out)}")
        summary |= {"rows": {name: row._asdict() for name, row in rows.items()}}
        folder.write_json("summary.json", summary)
    return summary


def heading(config: Config) -> cli.Table:
    """The head of the table; its last column is some samples."""
    sizes = {"model": "<19", "parameters": ">12,", "steps": ">8,", "CPU_s": ">9.1f", "train": ">9.4f"}
    more = {"published": ">14"} if config.makemore_split else {"unseen": ">17"}
    more |= {"samples/s": ">11,.0f", "new": ">6.0%", "  samples": "<36"}
    return cli.Table(**sizes, dev=">17", test=">17", **more)


def print_row(table: cli.Table, name: str, row: Row) -> None:
    """A row of the table."""
    last = {"  samples": "  " + " ".join(cli.clip(text, 12) for text in row.samples[:3])}
    means = {part: cli.mean_and_range(nats) for part, nats in row.nats.items() if part != "train"}
    sizes = {"parameters": row.parameters, "steps": row.steps or None, "CPU_s": row.seconds}
    more = {"samples/s": row.samples_per_second, "new": row.novelty["new"] / row.novelty["samples"]}
    more |= {"published": PUBLISHED.get(name.removesuffix(", tuned"))}
    table.row(model=name, **sizes, train=np.mean(row.nats["train"]), **means, **more, **last)


def introduce(config: Config, corpus: mm.Corpus) -> None:
    """Say what is compared on what."""
    lines = ", ".join(f"{name} {len(part):,}" for name, part in corpus.lines.items())
    print(f"{cli.shown(config.data)}: {lines} lines;", end=" ")
    print(f"{config.seeds} seeds of each neural model; losses in nats per {config.unit}")
    if config.makemore_split:
        print("split as makemore.py does: dev and test are the same lines, which also choose the best step")
    else:
        print("unseen: the loss on test, told that no line of it is in train; new: samples that are not in the file")
    print()


def comparison(loss_S: Mapping[str, np.ndarray], baseline: str, path: Path, unit: str) -> None:
    """Test losses of models, best first: a dot for each seed, a bar at the mean, a dashed line at the baseline."""
    ranked = sorted(loss_S, key=lambda name: np.mean(loss_S[name]))
    figure = mm.plot.figure(8, 0.4 * len(ranked) + 1.2)
    axes = figure.subplots()
    label = f"{baseline}: counting, without training"
    axes.axvline(np.mean(loss_S[baseline]), color="0.5", linestyle="--", linewidth=1, label=label)
    for row, name in enumerate(ranked):
        values = np.asarray(loss_S[name])
        axes.plot(values, np.full(len(values), row), "o", color="C0", alpha=0.5, markersize=5)
        axes.plot([values.mean()], [row], "|", color="C0", markersize=18, markeredgewidth=2)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # over the dashed line
        offset = {"xytext": (10, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"{values.mean():.4f}", (values.max(), row), **offset, bbox=box)
    axes.set_yticks(range(len(ranked)), ranked)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel=f"test loss, nats per {unit}")
    axes.legend(frameon=False, loc="upper right")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    mm.plot.save(figure, path)


if __name__ == "__main__":
    cli.main(lambda: Config, run, every_core=True)
