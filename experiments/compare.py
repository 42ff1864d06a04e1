"""Every model on the same lines: one table, one figure. Counting is the baseline, a mixture of all is the aim.

Run it:   python -m experiments.compare
          python -m experiments.compare --presets quick best --peer-data names.txt     also tuned for the lowest loss,
                                                          and on makemore.py's split of the lecture's file
          python -m experiments.compare --steps 200 --seeds 2     a quick look
Expect:   runs/compare/compare.png, and a table in which LSTM, WaveNet, GRU and transformer beat the n-gram with
          back-off, the MLP comes close to it, the others do not, and mixtures beat them all
Then:     python -m experiments.sample runs/compare     samples from the mixture
"""

import importlib.util
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

import makemore_jax as mm
from experiments import cli
from experiments.flags import Output, Text
from makemore_jax import plot
from makemore_jax.choice import resolve
from makemore_jax.data.corpus import Corpus, encode, makemore_split
from makemore_jax.data.tokens import Tokens
from makemore_jax.errors import require, require_positive
from makemore_jax.mixing import parts, weights
from makemore_jax.model import num_params
from makemore_jax.models import MODELS, NEURAL, PRESETS
from makemore_jax.sweeps import sweep

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

    peer_data: Path | None = None
    """The lecture's names.txt: also train on makemore.py's split of it, where 1,000 random lines are held out."""
    models: tuple[Literal[NEURAL], ...] = NEURAL
    """Which models to compare."""
    presets: tuple[Literal[PRESETS], ...] = ("quick",)
    """How to train them: quick, best, or both."""
    seeds: int = 3
    """Number of runs of each model."""
    steps: int | None = None
    """Train each model for this many steps, instead of its recipe's."""
    samples: int = 1000
    """Samples drawn from each model to measure how many are new."""
    out: Path = Path("runs/compare")
    """Folder for the figure and the summary."""

    def __post_init__(self):
        require_positive(self, "seeds", "samples")
        require(self.steps is None or self.steps > 0, f"`steps` is {self.steps}; it must be at least 1")
        require(len(self.models) > 0, "`models` names none; give at least one")
        require(len(self.presets) > 0, "`presets` names none; give at least one")


class Row(NamedTuple):
    """What the table says about one model; lists are over seeds."""

    parameters: int
    steps: int
    best_steps: list[int]
    seconds: float  # of processor time per run, on all cores: compiling, training and evaluating on dev
    nats: dict[str, list[float]]  # on train, dev and test
    samples_per_second: float
    novelty: dict
    samples: list[str]


class Trainings(NamedTuple):
    """A model, trained with several seeds or put together from others."""

    trained: list[mm.Trained]
    seconds: float
    steps: int = 0
    best_steps: list[int] = [0]  # noqa: RUF012 (never written to)


def count(corpus: Corpus) -> Trainings:
    """The n-gram with back-off."""
    began = time.process_time()
    return Trainings([mm.count(corpus)], time.process_time() - began)


def train(name: str, preset: str, corpus: Corpus, config: Config) -> Trainings:
    """Train a model by its own recipe with several seeds at once."""
    began, options = time.process_time(), {"steps": config.steps} if config.steps else {}
    model, recipe = resolve(name, corpus, None, options, preset)
    evaluations = max(1, recipe.steps // EVALUATE_EVERY)
    runs = sweep(model, corpus, range(config.seeds), recipe=recipe, evaluations=evaluations)
    seconds = (time.process_time() - began) / config.seeds
    return Trainings(runs.best, seconds, recipe.steps, runs.best_step_R.tolist())


def ensemble(row: Trainings) -> Trainings:
    """The runs of one model as one model."""
    return Trainings([mm.ensemble(row.trained)], row.seconds * len(row.trained))


def mix(rows: list[Trainings], corpus: Corpus, like: mm.Trained | None = None) -> Trainings:
    """All runs of all models as one model: with the weights that are best on dev, or those of the mixture `like`."""
    began = time.process_time()
    runs = [run for row in rows for run in row.trained]
    mixed = mm.mix(runs, corpus.tokens.dev, weights(like) if like else None)
    seconds = sum(row.seconds * len(row.trained) for row in rows) + time.process_time() - began
    return Trainings([mixed], seconds)


def losses(row: Trainings, tokens: Tokens) -> list[float]:
    """The loss of each run, in nats per token."""
    return [mm.evaluate(run, tokens).nats for run in row.trained]


def measure(row: Trainings, corpus: Corpus, config: Config) -> Row:
    """The losses of each run, and samples of the first."""
    first, key = row.trained[0], jax.random.key(0)
    nats = {part: losses(row, tokens) for part, tokens in corpus.tokens.items()}
    texts, began = mm.sample(key, first, config.samples), time.perf_counter()
    mm.sample(key, first, config.samples)  # once more, compiled
    speed = config.samples / (time.perf_counter() - began)
    sizes = num_params(first.params), row.steps, row.best_steps, row.seconds
    return Row(*sizes, nats, speed, corpus.novelty(texts), texts[:20])


def run(config: Config) -> dict:
    """Train all models, row by row, and put them together."""
    corpora = {"split": config.load()}
    if config.peer_data:
        lines, digest = makemore_split(config.peer_data, config.max_length, config.lowercase)
        corpora["peer"] = encode(lines, digest, config.encoding)
    names = {model: (model, "quick") for model in config.models if "quick" in config.presets}
    tuned = [model for model in config.models if MODELS[model].best or "quick" not in config.presets]
    names |= {f"{model}, best": (model, "best") for model in tuned if "best" in config.presets}
    with cli.claim(config, config.out, corpora["split"].digest, ("compare.png",)) as folder:
        introduce(config, corpora["split"])
        table, rows, theirs = heading(config), {}, {}

        def show(name: str, made: dict[str, Trainings]) -> dict[str, Trainings]:
            rows[name] = measure(made["split"], corpora["split"], config)
            if config.peer_data:
                theirs[name] = losses(made["peer"], corpora["peer"].tokens.test)
            print_row(table, name, rows[name], theirs.get(name))
            return made

        trained = {"n-gram": show("n-gram", {split: count(corpus) for split, corpus in corpora.items()})}
        for name, which in names.items():
            trained[name] = show(name, {split: train(*which, corpus, config) for split, corpus in corpora.items()})
        best = min(names, key=lambda name: np.mean(rows[name].nats["dev"]))
        show(f"{config.seeds} x {best}", {split: ensemble(row) for split, row in trained[best].items()})
        mixed = mix([made["split"] for made in trained.values()], corpora["split"])
        both, mixture = {"split": mixed}, mixed.trained[0]
        if config.peer_data:  # its dev lines are its test lines: the weights are those of the clean split
            both["peer"] = mix([made["peer"] for made in trained.values()], corpora["peer"], mixture)
        show("mixture of all", both)
        print_weights(mixture)
        folder.save_best(mixture)
        if not config.no_figures:
            test = {name: np.array(row.nats["test"]) for name, row in rows.items()}
            comparison(test, "n-gram", config.out / "compare.png", config.unit)
            print(f"drawn in {cli.printable(str(config.out / 'compare.png'))}")
        print(f"samples from the mixture: python -m experiments.sample {cli.printable(str(config.out))}")
        summary = {"experiment": "compare", "seeds": config.seeds, **cli.environment(), "published": PUBLISHED}
        summary |= {"split": {name: row._asdict() for name, row in rows.items()}, "peer": theirs}
        summary |= {"weights": dict(zip(parts(mixture), weights(mixture), strict=True))}
        folder.write_json("summary.json", summary)
    return summary


def heading(config: Config) -> cli.Table:
    """The head of the table; its last columns are about makemore.py's split, or some samples."""
    last = {"  its_split": "<19", "  published": "<12"} if config.peer_data else {"  samples": "<36"}
    sizes = {"model": "<19", "parameters": ">12,", "steps": ">8,", "CPU_s": ">9.1f", "train": ">9.4f"}
    return cli.Table(**sizes, dev=">17", test=">17", **{"samples/s": ">11,.0f"}, new=">6.0%", **last)


def print_row(table: cli.Table, name: str, row: Row, theirs: list[float] | None) -> None:
    """A row of the table; `theirs` are the test losses on makemore.py's split."""
    last = {"  samples": "  " + " ".join(cli.clip(text, 12) for text in row.samples[:3])}
    if theirs:
        last = {"  its_split": f"  {cli.mean_and_range(theirs)}", "  published": "  " + PUBLISHED.get(name, "")}
    means = {part: cli.mean_and_range(row.nats[part]) for part in ("dev", "test")}
    sizes = {"parameters": row.parameters, "steps": row.steps or None, "CPU_s": row.seconds}
    more = {"samples/s": row.samples_per_second, "new": row.novelty["new"] / row.novelty["samples"]}
    table.row(model=name, **sizes, train=np.mean(row.nats["train"]), **means, **more, **last)


def print_weights(mixture: mm.Trained) -> None:
    """What the mixture is made of."""
    shares = (f"{weight:.3f} {name}" for name, weight in zip(parts(mixture), weights(mixture), strict=True))
    print(f"\nweights in the mixture: {', '.join(shares)}")


def introduce(config: Config, corpus: Corpus) -> None:
    """Say what is compared on what."""
    lines = ", ".join(f"{name} {len(part):,}" for name, part in corpus.lines.items())
    print(f"{cli.printable(str(config.data))}: {lines} lines;", end=" ")
    print(f"{config.seeds} seeds of each neural model; losses in nats per {config.unit}")
    if config.peer_data:
        which = "the same" if importlib.util.find_spec("torch") else "other"
        print(
            f"beside it {config.peer_data}, split as makemore.py does: {which} 1,000 random lines held out, which also"
        )
        print("choose the best step")
    print()


def comparison(loss_S: Mapping[str, np.ndarray], baseline: str, path: Path | None, unit: str) -> Figure:
    """Test losses of models, best first: a dot for each seed, a bar at the mean, a dashed line at the baseline."""
    ranked = sorted(loss_S, key=lambda name: np.mean(loss_S[name]))
    figure = plot.figure(8, 0.4 * len(ranked) + 1.2)
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
    return plot.save(figure, path)


if __name__ == "__main__":
    cli.main(lambda: Config, run, every_core=True)
