"""Every model on the same lines: one table, one figure. Counting is the baseline.

Run it:   python -m experiments.compare
          python -m experiments.compare --peer-data names.txt     and on makemore.py's split of the lecture's file
          python -m experiments.compare --steps 200 --seeds 2     a quick look
Expect:   runs/compare/compare.png, and a table in which LSTM, WaveNet, GRU and transformer beat the n-gram with
          back-off, the MLP comes close to it, and the others do not
Takes:    about 4 minutes on 2 CPU cores, twice that with --peer-data
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
from makemore_jax.data.corpus import Corpus, encode, makemore_split
from makemore_jax.data.store import Encoding
from makemore_jax.errors import require, require_positive
from makemore_jax.model import num_params
from makemore_jax.models import NEURAL
from makemore_jax.sweeps import sweep
from makemore_jax.trainer import resolve

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


class Row(NamedTuple):
    """What the table says about one model; lists are over seeds."""

    parameters: int
    steps: int
    best_steps: list[int]
    seconds: float  # per run: compiling, training and evaluating
    nats: dict[str, list[float]]  # on train, dev and test
    novelty: dict
    samples: list[str]


def compare(name: str, corpus: Corpus, config: Config) -> Row:
    """Train a model by its own recipe with several seeds at once, or count the n-grams, and measure it."""
    began = time.perf_counter()
    if name == "n-gram":
        best, steps, best_steps = [mm.count(corpus)], 0, [0]
    else:
        model, recipe = resolve(name, corpus, None, {"steps": config.steps} if config.steps else {})
        evaluations = max(1, recipe.steps // EVALUATE_EVERY)
        runs = sweep(model, corpus, range(config.seeds), recipe=recipe, evaluations=evaluations)
        best, steps, best_steps = runs.best, recipe.steps, runs.best_step_R.tolist()
    seconds = (time.perf_counter() - began) / len(best)
    nats = {part: [mm.evaluate(run, tokens).nats for run in best] for part, tokens in corpus.tokens.items()}
    texts = mm.sample(jax.random.key(0), best[0], config.samples)
    return Row(num_params(best[0].params), steps, best_steps, seconds, nats, corpus.novelty(texts), texts[:20])


def mean_and_range(values: list[float]) -> str:
    """The mean, and half of the distance between the lowest and the highest."""
    return f"{np.mean(values):.4f}" + (f" ±{(max(values) - min(values)) / 2:.4f}" if len(values) > 1 else "")


def run(config: Config) -> dict:
    """Train all models, row by row."""
    corpora = {"split": config.load()}
    if config.peer_data:
        lines, digest = makemore_split(config.peer_data, config.max_length, config.lowercase)
        corpora["peer"] = encode(lines, digest, Encoding(config.level, config.lowercase, config.min_count))
    with cli.claim(config, config.out, corpora["split"].digest, ("compare.png",)) as out:
        introduce(config, corpora["split"])
        last = {"its_split": "<19", "published": "<12"} if config.peer_data else {"samples": "<36"}
        head = {"model": "<12", "parameters": ">11,", "steps": ">8,", "seconds": ">9.1f", "train": ">9.4f"}
        table = cli.Table(**head, dev=">17", test=">17", new=">6.0%", **{f"  {name}": w for name, w in last.items()})
        tables: dict[str, dict[str, Row]] = {name: {} for name in corpora}
        for name in ("n-gram", *config.models):
            for split, corpus in reversed(corpora.items()):
                tables[split][name] = compare(name, corpus, config)
            row = tables["split"][name]
            more = {"  samples": "  " + " ".join(cli.clip(text, 12) for text in row.samples[:3])}
            if config.peer_data:
                theirs = mean_and_range(tables["peer"][name].nats["test"])
                more = {"  its_split": f"  {theirs}", "  published": "  " + PUBLISHED.get(name, "")}
            losses = {part: mean_and_range(row.nats[part]) for part in ("dev", "test")}
            share = row.novelty["new"] / row.novelty["samples"]
            sizes = {"parameters": row.parameters, "steps": row.steps, "seconds": row.seconds}
            table.row(model=name, **sizes, train=np.mean(row.nats["train"]), **losses, new=share, **more)
        if not config.no_figures:
            losses = {name: np.array(row.nats["test"]) for name, row in tables["split"].items()}
            comparison(losses, "n-gram", out / "compare.png", config.level)
            print(f"\ndrawn in {out / 'compare.png'}")
        summary = {"experiment": "compare", "seeds": config.seeds, **cli.environment(), "published": PUBLISHED}
        summary |= {name: {model: row._asdict() for model, row in rows.items()} for name, rows in tables.items()}
        cli.write_json(out / "summary.json", summary)
    return summary


def introduce(config: Config, corpus: Corpus) -> None:
    """Say what is compared on what."""
    lines = ", ".join(f"{name} {len(part):,}" for name, part in corpus.lines.items())
    print(f"{config.data}: {lines} lines; {config.seeds} seeds of each neural model; losses in nats per {config.level}")
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
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    return plot.save(figure, path)


if __name__ == "__main__":
    cli.main(lambda: Config, run)
