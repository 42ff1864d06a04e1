"""Measure how loss falls with data and with parameters, and predict from power laws what more data would give.

Run it:   python -m experiments.scaling
          python -m experiments.scaling --lines 500 2000 8000 --widths 16 32 --seeds 2     a quick look
Expect:   runs/scaling/scaling.png, and for each model a law and a prediction with its interval
Stop it:  rows are kept; the same command with --resume continues
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

import makemore_jax as mm
from makemore_jax.analysis.laws import FEWEST, Law, fit_law
from makemore_jax.data.tokens import tokenize
from makemore_jax.distributed.mesh import spread
from makemore_jax.errors import require, require_nonempty, require_positive
from makemore_jax.inference.evaluate import line_nll, standard_error
from makemore_jax.models.interface import num_params
from makemore_jax.models.registry import resolve

from .shared import cli
from .shared.figures import drawing
from .shared.flags import Seed, Text, one_of, require_seeds
from .shared.rows import Rows, Study, keep

EVALUATE_EVERY = 250  # steps
# The size to vary of each model.
WIDTH: dict[str, str] = dict.fromkeys(("lstm", "gru", "rnn", "mlp"), "hidden")
WIDTH |= dict.fromkeys(("hawk", "transformer"), "embed")


@dataclass(frozen=True, kw_only=True)
class Config(Study, Seed, Text):
    """Train models on more and more lines, then with more and more parameters, and fit power laws to their losses."""

    models: tuple[Annotated[str, one_of(WIDTH)], ...] = ("lstm", "transformer")
    """Models to train; the n-gram with back-off (backoff) is always counted beside them."""
    lines: tuple[int, ...] = (500, 1000, 2000, 4000, 8000, 16_000)
    """Numbers of train lines, drawn at random for each seed; the whole train set is always included."""
    widths: tuple[int, ...] = (8, 16, 32, 64, 128)
    """Widths of the hidden state, or of the embedding of hawk and the transformer."""
    predict: int = 320_000
    """Number of lines for which to predict the loss."""
    seeds: int = 3
    """Number of runs of each model."""
    steps: int | None = None
    """Train for this many steps, however many lines there are; by default, fewer lines get fewer steps."""
    out: Path = Path("runs/scaling")
    """Folder for the figure and the summary."""

    def __post_init__(self):
        super().__post_init__()
        require_seeds(self.seeds)
        require_positive(self, "steps")
        require(0 < self.predict <= 10**12, f"`predict` is {self.predict}; it must be from 1 to 10**12")
        require_nonempty(self, "models", "lines", "widths")
        for name, most in (("lines", 10**9), ("widths", 2**14)):
            for value in getattr(self, name):
                require(0 < value <= most, f"`{name}` holds {value}; each must be from 1 to {most:,}")


def run(config: Config) -> dict:
    """Measure the losses, fit the laws, and draw both."""
    corpus = config.load()
    total = len(corpus.lines.train)
    lines = sorted({count for count in config.lines if count < total} | {total})
    with keep(config, corpus.digest, ("scaling.png",), experiment="scaling") as kept:
        cli.title(f"Test loss, nats per {config.unit}, against the number of train lines")
        if dropped := sorted(count for count in config.lines if count > total):
            print(f"left out: {', '.join(map('{:,}'.format, dropped))} lines; the train set has {total:,}")
        by_lines = by_number_of_lines(config, corpus, lines, kept)
        means = {name: np.array([np.mean(row["nats"]) for row in rows]) for name, rows in by_lines.items()}
        laws = {name: fit_law(np.array(lines, float), mean_L) for name, mean_L in means.items()}
        predictions = print_laws(config, lines, laws, means)
        cli.title(f"Test loss, nats per {config.unit}, against the number of parameters, on all train lines")
        by_width = by_number_of_parameters(config, corpus, kept)
        if not config.no_figures:
            with drawing(kept.folder.file("scaling.png")) as path:
                picture(config, lines, by_lines, laws, by_width, path)
        found = {name: law and law._asdict() | {"floor_interval": law.floor_interval} for name, law in laws.items()}
        return kept.finish(lines=lines, laws=found, predictions=predictions)


def train(config: Config, name: str, corpus: mm.Corpus, seeds: list[int], **sizes: int) -> list[mm.Trained]:
    """Train a model for each seed on the same lines; fewer lines get fewer steps."""
    lines = len(corpus.tokens.train.length_N)
    model, recipe = resolve(name, corpus.sizes, None, sizes)
    steps = config.steps or max(1, int(recipe.steps * min(1, max(0.25, lines / 16_000))))
    evaluations = max(1, steps // EVALUATE_EVERY)
    options = {"steps": steps, "evaluations": evaluations, "spread": spread}
    return mm.sweep(model, corpus, seeds, None, recipe, **options).best


def measure(runs: list[mm.Trained], corpus: mm.Corpus) -> dict:
    """Measure the test loss of each run, and the mean of their standard errors over the test lines."""
    test = corpus.tokens.test
    nats_RN = [line_nll(run.model, run.params, test) for run in runs]
    nats = [nats_N.sum() / test.length_N.sum() for nats_N in nats_RN]
    error = np.mean([standard_error(nats_N, test.length_N) for nats_N in nats_RN])
    return {"parameters": num_params(runs[0].params), "nats": nats, "line_error": error}


def on_some_lines(config: Config, name: str, corpus: mm.Corpus, count: int) -> dict:
    """Train or count on this many random lines for each seed; a smaller set is part of a larger one."""
    learn = lambda part, seeds: train(config, name, part, seeds) if name != "backoff" else [mm.count(part)]
    seeds, total = list(range(config.seed, config.seed + config.seeds)), len(corpus.lines.train)
    if count == total:
        return measure(learn(corpus, seeds), corpus)
    runs = []
    for seed in seeds:
        chosen = np.random.default_rng(seed).permutation(total)[:count]
        tokens = tokenize([corpus.lines.train[i] for i in chosen], corpus.vocab, config.context_length)
        runs += learn(corpus._replace(tokens=corpus.tokens._replace(train=tokens)), [seed])
    return measure(runs, corpus)


def by_number_of_lines(config: Config, corpus: mm.Corpus, lines: list[int], kept: Rows) -> dict[str, list[dict]]:
    """Measure each model on each number of lines, and print the table."""
    names = ("backoff", *config.models)
    if config.seeds > 1:
        print("±: half the range over seeds; a seed draws the lines and the initial weights")
    print("backoff: the n-gram with back-off\n")
    table, found = cli.Table(lines=">8,", **dict.fromkeys(names, ">20")), {name: [] for name in names}
    for count in lines:
        for name in names:
            make = lambda name=name, count=count: on_some_lines(config, name, corpus, count)
            found[name].append(numbers(kept.measure(f"{name}, {count} lines", make)))
        table.row(lines=count, **{name: cli.mean_and_range(rows[-1]["nats"]) for name, rows in found.items()})
    errors = ", ".join(f"{name} {rows[-1]['line_error']:.4f}" for name, rows in found.items())
    print(f"\nstandard error over the {len(corpus.lines.test):,} test lines, on all train lines: {errors}")
    return found


def by_number_of_parameters(config: Config, corpus: mm.Corpus, kept: Rows) -> dict[str, list[dict]]:
    """Measure each model at each width, and print the table."""
    table, found = cli.Table(model="<14", width=">8", parameters=">12,", test=">20"), {}
    seeds = list(range(config.seed, config.seed + config.seeds))
    for name in config.models:
        found[name] = []
        for width in config.widths:
            make = lambda name=name, width=width: train(config, name, corpus, seeds, **{WIDTH[name]: width})
            row = numbers(kept.measure(f"{name}, width {width}", lambda make=make: measure(make(), corpus)))
            found[name].append(row)
            table.row(model=name, width=str(width), parameters=row["parameters"], test=cli.mean_and_range(row["nats"]))
    return found


def numbers(row: dict) -> dict:
    """Restore a row from JSON, where a loss may be the text "nan"."""
    return row | {"nats": [float(value) for value in row["nats"]], "line_error": float(row["line_error"])}


def print_laws(
    config: Config, lines: list[int], laws: dict[str, Law | None], means: dict[str, np.ndarray]
) -> dict[str, dict]:
    """Print each law with its prediction and their intervals; warn if a measurement contradicts the prediction."""
    print()
    if len(lines) < FEWEST:
        print(f"no laws: a fit needs at least {FEWEST} numbers of lines, and there are {len(lines)}")
        return {}
    predictions = {}
    for name, law in laws.items():
        if law is None:
            print(f"{name}: no power law fits")
            continue
        print(
            f"{name}: {law.floor:.3f} + {law.scale:.3g} / lines^{law.exponent:.3f}, residual {law.residual:.4f};",
            end=" ",
        )
        print(f"floor {law.floor:.3f} ±{law.floor_interval:.3f} (95%, if it is a power law)")
        loss, half = float(law(config.predict)), law.interval(config.predict)
        print(f"    at {config.predict:,} lines: {loss:.3f} ±{half:.3f} (95%, if the law holds that far)")
        below = [(mean, count) for mean, count in zip(means[name], lines, strict=True) if count < config.predict]
        lowest, count = min(below, default=(np.inf, 0))
        if contradicted := lowest < loss:
            print(f"    warning: {count:,} lines already gave {lowest:.3f}; the law does not hold that far")
        predictions[name] = {"nats": loss, "interval": half, "contradicted": contradicted}
    return predictions


def picture(
    config: Config,
    lines: list[int],
    by_lines: Mapping[str, list[dict]],
    laws: Mapping[str, Law | None],
    by_width: Mapping[str, list[dict]],
    path: Path,
) -> None:
    """Draw two panels: loss against lines with the fitted laws, and loss against parameters."""
    figure = mm.plot.figure(12, 5)
    left, right = figure.subplots(1, 2)
    colors = {name: f"C{number}" for number, name in enumerate(by_lines)}
    far = np.geomspace(lines[0], config.predict, 100)
    for name, rows in by_lines.items():
        mm.plot.band(left, lines, [row["nats"] for row in rows], name, color=colors[name], marker="o", markersize=5)
        if law := laws[name]:
            left.plot(far, law(far), color=colors[name], linestyle=":", linewidth=1)
            half = law.interval(config.predict)
            left.errorbar([config.predict], law(config.predict), [half], color=colors[name], marker="D", capsize=4)
    left.set(xlabel="train lines" + (" (dotted: the fitted law, with its 95% interval)" if any(laws.values()) else ""))
    for name, rows in by_width.items():
        sizes, values = [row["parameters"] for row in rows], [row["nats"] for row in rows]
        mm.plot.band(right, sizes, values, name, color=colors[name], marker="o", markersize=5)
    right.set(xlabel="parameters, on all train lines")
    for axes in (left, right):
        axes.set(xscale="log", ylabel=f"test loss, nats per {config.unit}")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    mm.plot.save(figure, path)


if __name__ == "__main__":
    cli.main(lambda: Config, run, every_core=True)
