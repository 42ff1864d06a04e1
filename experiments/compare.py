"""Every model of the series on the same lines: one table, one figure. Counting is the yardstick.

Run it:   python -m experiments.compare
          python -m experiments.compare --peer-data names.txt     and on makemore.py's split of the lecture's file
          python -m experiments.compare --steps 200 --seeds 2     a quick look
Expect:   runs/compare/compare.png, and a table in which LSTM, WaveNet, GRU and transformer beat the n-gram with
          back-off, the MLP comes close to it, and the others do not
Takes:    about 4 minutes on 2 CPU cores, twice that with --peer-data
"""

import dataclasses
import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from experiments import cli, sweep, train
from experiments.task import Corpus, Text, config_type, count, encode, load, sizes_of
from makemore_jax import data, plot
from makemore_jax.errors import require
from makemore_jax.loss import evaluate
from makemore_jax.model import Model, Params, size
from makemore_jax.models import NEURAL, build
from makemore_jax.sample import sample

NOVELTY_SAMPLES = 1000
PUBLISHED = {  # nats a character on random splits of the lecture's file: its lectures, and makemore.py's README
    "bigram": "2.45",
    "mlp": "2.10, with BatchNorm 2.05",
    "wavenet": "1.99",
    "transformer": "1.92 to 1.97",
}


@dataclass(frozen=True)
class Config(Text):
    """Train every model with its own recipe on the same lines, and compare them."""

    peer_data: Path | None = None
    """The lecture's names.txt: train on makemore.py's split of it as well, 1,000 random lines held out."""
    models: tuple[Literal[NEURAL], ...] = NEURAL
    """Which models."""
    seeds: int = 3
    """How many runs of each model."""
    steps: int | None = None
    """Steps of each run, in place of each model's own."""
    out: Path = Path("runs/compare")
    """Folder for the figure and the summary."""
    overwrite: bool = False
    """Replace what the folder holds of another configuration."""
    json: bool = False
    """Print the summary as JSON on the last line."""
    no_figures: bool = False
    """Draw no figures."""

    def __post_init__(self):
        require(not self.stream, "--stream is for one run at a time; a comparison needs its data in memory")
        require(self.seeds > 0, f"--seeds is {self.seeds}; it must be at least 1")
        require(self.steps is None or self.steps > 0, f"--steps is {self.steps}; it must be at least 1")
        require(len(self.models) > 0, "--models names none; give at least one")


class Row(NamedTuple):
    """What the table says of one model; lists are over seeds."""

    parameters: int
    steps: int
    best_steps: list[int]
    seconds: float  # of one run, compiling, evaluating and all
    nats: dict[str, list[float]]  # on train, dev and test
    novelty: dict
    samples: list[str]


def peer_split(path: Path, *cleaning: Any) -> tuple[str, data.Split]:
    """The lines' digest and the split of makemore.py: up to 1,000 random lines held out, which also choose the step.

    Lines repeat, so that some of those held out are in train as well, and dev and test are one: it flatters. It is for
    comparison with published figures only. Where PyTorch is installed, they are the very lines of makemore.py's default
    seed; otherwise as many others.
    """
    lines = data.read_lines(path, *cleaning)
    require(len(lines) >= 10, f"{path}: {len(lines)} lines are too few to hold a tenth out; add more")
    if importlib.util.find_spec("torch"):
        import torch

        order = torch.randperm(len(lines), generator=torch.Generator().manual_seed(3407)).tolist()
    else:
        order = np.random.default_rng(3407).permutation(len(lines)).tolist()
    mixed, held_out = [lines[i] for i in order], min(1000, len(lines) // 10)
    train, test = mixed[:-held_out], mixed[-held_out:]
    return data.digest(lines), data.Split(train, test, test)


def peer_corpus(config: Config) -> Corpus:
    """The lecture's file by that split."""
    return encode(config, *peer_split(config.peer_data, config.max_length, config.fold))


def learn(name: str, corpus: Corpus, config: Config, began: float) -> Row:
    """A neural model by its own recipe: some seeds at once, each at its best evaluation on dev."""
    own = config_type(train.Config, name)()
    recipe = dataclasses.replace(own.recipe, steps=config.steps or own.recipe.steps)
    model = build(name, sizes_of(name, dataclasses.asdict(own.sizes), corpus))
    evaluations = max(1, recipe.steps // own.evaluate_every)
    runs = sweep.train_all(model, recipe, corpus, range(config.seeds), [recipe.learning_rate], evaluations)
    return judge(corpus, model, runs.best, recipe.steps, runs.best_step_R.tolist(), began)


def judge(corpus: Corpus, model: Model, runs: list[Params], steps: int, best_steps: list[int], began: float) -> Row:
    """Losses of every run on every side; samples of the first."""
    seconds = (time.perf_counter() - began) / len(runs)
    nats = {name: [evaluate(model, params, tokens).nats for params in runs] for name, tokens in corpus.tokens.items()}
    drawn = sample(
        jax.random.key(0), model, runs[0], [[]] * NOVELTY_SAMPLES, corpus.block, allowed=corpus.vocab.drawable_V
    )
    texts = [corpus.vocab.decode(row) for row in drawn.token_BT]
    new = corpus.novelty(texts)
    return Row(size(runs[0]), steps, best_steps, seconds, nats, new, texts[:20])


def spread(values: list[float]) -> str:
    """Mean, and half of what lies between the least and the most."""
    return f"{np.mean(values):.4f}" + (f" ±{(max(values) - min(values)) / 2:.4f}" if len(values) > 1 else "")


def show(rows: dict[str, Row], name: str, peer: dict[str, Row]) -> None:
    """Print a line of the table, under its heading if it is the first."""
    if len(rows) == 1:
        print(
            f"{'model':<12}{'parameters':>11}{'steps':>8}{'s a run':>9}  {'train':<8}{'dev':<17}{'test':<17}new  ",
            end="",
        )
        print(f"{'on that split':<20}published" if peer else "samples")
    row = rows[name]
    losses = f"{np.mean(row.nats['train']):.4f}  {spread(row.nats['dev']):<17}{spread(row.nats['test']):<17}"
    print(f"{name:<12}{row.parameters:>11,}{row.steps:>8,}{row.seconds:>9.1f}  {losses}", end="")
    print(f"{row.novelty['new'] / row.novelty['samples']:>3.0%}  ", end="")
    if peer:
        print(f"{spread(peer[name].nats['test']):<20}{PUBLISHED.get(name, '')}", flush=True)
    else:
        print(" ".join(cli.clip(text, 12) for text in row.samples[:3]), flush=True)


def run(config: Config) -> dict:
    """Train all, row by row."""
    corpora = {"split": load(config)}
    if config.peer_data:
        corpora["peer"] = peer_corpus(config)
    cli.open_run(config, config.out, corpora["split"].digest)
    sides = ", ".join(f"{name} {len(side):,}" for name, side in corpora["split"].sides._asdict().items())
    print(f"{config.data}: {sides} lines; {config.seeds} seeds of each neural model; losses in nats a {config.level}")
    if config.peer_data:
        very = "its" if importlib.util.find_spec("torch") else "other"
        print(
            f"beside it {config.peer_data} in makemore.py's way: {very} 1,000 random lines, that choose the step, too"
        )
    print()
    tables: dict[str, dict[str, Row]] = {name: {} for name in corpora}
    for name in ("n-gram", *config.models):
        for split, corpus in reversed(corpora.items()):
            began = time.perf_counter()
            if name == "n-gram":
                model, params = count(corpus)
                tables[split][name] = judge(corpus, model, [params], 0, [0], began)
            else:
                tables[split][name] = learn(name, corpus, config, began)
        show(tables["split"], name, tables.get("peer", {}))
    if not config.no_figures:
        losses = {name: np.array(row.nats["test"]) for name, row in tables["split"].items()}
        plot.comparison(losses, "n-gram", config.out / "compare.png", config.level)
        print(f"\ndrawn in {config.out / 'compare.png'}")
    summary = {"experiment": "compare", "seeds": config.seeds, **cli.environment(), "published": PUBLISHED}
    summary |= {name: {model: row._asdict() for model, row in rows.items()} for name, rows in tables.items()}
    cli.write_json(config.out / "summary.json", summary)
    return summary


if __name__ == "__main__":
    cli.main(lambda: Config, run)
