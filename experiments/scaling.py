"""How loss falls with data and with parameters: a power law where one fits, and what ten times the data would give.

Run it:   python -m experiments.scaling
          python -m experiments.scaling --lines 500 2000 8000 --widths 16 32 --seeds 2     a quick look
Expect:   runs/scaling/scaling.png, and for each model a law and a prediction with its interval
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import curve_fit
from scipy.stats import t as student

import makemore_jax as mm
from experiments.shared import cli
from experiments.shared.flags import Output, Seed, Text
from makemore_jax.data.tokens import tokenize
from makemore_jax.distributed.mesh import spread
from makemore_jax.errors import require, require_nonempty, require_positive
from makemore_jax.models.interface import num_params
from makemore_jax.models.registry import resolve

EVALUATE_EVERY = 250  # steps
WIDTH = dict.fromkeys(("lstm", "gru", "rnn", "mlp"), "hidden") | {"transformer": "embed"}  # the size to vary


@dataclass(frozen=True, kw_only=True)
class Config(Output, Seed, Text):
    """Train models on more and more lines, and with more and more parameters, and fit power laws to their losses."""

    models: tuple[Literal[tuple(WIDTH)], ...] = ("lstm", "transformer")
    """Which models to train; an n-gram with back-off is counted beside them."""
    lines: tuple[int, ...] = (500, 1000, 2000, 4000, 8000, 16_000)
    """Numbers of train lines, drawn at random; the whole train set is always included."""
    widths: tuple[int, ...] = (8, 16, 32, 64, 128)
    """Widths of the models: of the hidden state, or of the transformer's embedding."""
    predict: int = 320_000
    """Number of lines to extrapolate to."""
    seeds: int = 3
    """Number of runs of each model."""
    steps: int | None = None
    """Train for this many steps, whatever the number of lines; by default, fewer steps on fewer lines."""
    out: Path = Path("runs/scaling")
    """Folder for the figure and the summary."""

    def __post_init__(self):
        super().__post_init__()
        require_positive(self, "seeds", "predict", "steps")
        require_nonempty(self, "models", "lines", "widths")
        for name in ("lines", "widths"):
            require(min(getattr(self, name)) > 0, f"`{name}` holds {min(getattr(self, name))}; each must be at least 1")


class Law(NamedTuple):
    """loss = floor + scale * n ** -exponent, fitted by least squares."""

    floor: float
    scale: float
    exponent: float
    covariance: np.ndarray  # of the three
    residual: float  # root mean square, nats
    freedom: int  # degrees of freedom: points minus three

    def __call__(self, n: np.ndarray | float) -> np.ndarray:
        """The loss at n."""
        return self.floor + self.scale * np.asarray(n, float) ** -self.exponent

    def interval(self, n: float) -> float:
        """Half of the 95% interval of the fitted loss at n, by the delta method, with Student's t for so few points."""
        power = n**-self.exponent
        slope = np.array([1, power, -self.scale * np.log(n) * power])
        return float(student.ppf(0.975, self.freedom) * np.sqrt(slope @ self.covariance @ slope))


def fit_law(n: np.ndarray, loss: np.ndarray) -> Law | None:
    """The power law through these points; None where none fits: fewer than five points, or no positive exponent.

    Five, so that two degrees of freedom are left to tell how well it fits.
    """
    if len(n) < 5:
        return None
    law = lambda n, floor, scale, exponent: floor + scale * n**-exponent
    start = (0.9 * loss.min(), (loss[0] - 0.9 * loss.min()) * n[0] ** 0.3, 0.3)
    try:
        found, covariance = curve_fit(law, n, loss, start, bounds=([0, 0, 0.01], [np.inf, np.inf, 3]), max_nfev=10_000)
    except (RuntimeError, ValueError):
        return None
    residual = float(np.sqrt(np.mean((law(n, *found) - loss) ** 2)))
    at_bound = found[2] <= 0.011 or found[2] >= 2.99
    return None if at_bound or not np.isfinite(covariance).all() else Law(*found, covariance, residual, len(n) - 3)


def run(config: Config) -> dict:
    """Measure, fit and draw."""
    corpus = config.load()
    total = len(corpus.lines.train)
    lines = sorted({count for count in config.lines if count < total} | {total})
    with cli.claim(config, config.out, corpus.digest, ("scaling.png",)) as folder:
        cli.title(f"Test loss, nats per {config.unit}, against the number of train lines")
        by_lines = by_number_of_lines(config, corpus, lines)
        laws = {name: fit_law(np.array(lines, float), loss_LS.mean(1)) for name, loss_LS in by_lines.items()}
        predictions = print_laws(config, laws, by_lines)
        cli.title("Test loss against the number of parameters, on all train lines")
        by_width = by_number_of_parameters(config, corpus)
        if not config.no_figures:
            picture(config, np.array(lines), by_lines, laws, by_width, folder.file("scaling.png"))
            print(f"\ndrawn in {cli.shown(config.out / 'scaling.png')}")
        summary = {"experiment": "scaling", **cli.environment(), "lines": lines, "by_lines": by_lines}
        summary |= {"laws": {name: law and law._asdict() for name, law in laws.items()}, "predictions": predictions}
        folder.write_json("summary.json", summary | {"by_parameters": by_width})
    return summary


def losses(config: Config, name: str, corpus: mm.Corpus, **sizes: int) -> tuple[int, list[float]]:
    """The number of parameters, and the test loss of each seed; fewer lines are learned in fewer steps."""
    lines = len(corpus.tokens.train.length_N)
    model, recipe = resolve(name, corpus, None, sizes)
    steps = config.steps or max(1, int(recipe.steps * min(1, max(0.25, lines / 16_000))))
    batch = min(recipe.batch, lines)
    seeds = range(config.seed, config.seed + config.seeds)
    evaluations = max(1, steps // EVALUATE_EVERY)
    options = {"steps": steps, "batch": batch, "evaluations": evaluations, "spread": spread}
    runs = mm.sweep(model, corpus, seeds, None, recipe, **options)
    return num_params(runs.best[0].params), [mm.evaluate(one, corpus.tokens.test).nats for one in runs.best]


def by_number_of_lines(config: Config, corpus: mm.Corpus, lines: list[int]) -> dict[str, np.ndarray]:
    """Test losses (lines, seeds) of each model on random train lines; a smaller set is part of a larger one."""
    order = np.random.default_rng(config.seed).permutation(len(corpus.lines.train))
    table = cli.Table(lines=">8,", **dict.fromkeys(("n-gram", *config.models), ">20"))
    found: dict[str, list] = {name: [] for name in ("n-gram", *config.models)}
    for count in lines:
        train = tokenize([corpus.lines.train[i] for i in order[:count]], corpus.vocab, config.context_length)
        part = corpus._replace(tokens=corpus.tokens._replace(train=train))
        found["n-gram"].append([mm.evaluate(mm.count(part), part.tokens.test).nats] * config.seeds)
        for name in config.models:
            found[name].append(losses(config, name, part)[1])
        table.row(lines=count, **{name: cli.mean_and_range(rows[-1]) for name, rows in found.items()})
    return {name: np.array(rows) for name, rows in found.items()}


def by_number_of_parameters(config: Config, corpus: mm.Corpus) -> dict[str, list[tuple[int, list[float]]]]:
    """Parameters and test losses of each width of each model."""
    table = cli.Table(model="<14", width=">8", parameters=">12,", test=">20")
    found = {}
    for name in config.models:
        found[name] = []
        for width in config.widths:
            parameters, nats = losses(config, name, corpus, **{WIDTH[name]: width})
            found[name].append((parameters, nats))
            table.row(model=name, width=str(width), parameters=parameters, test=cli.mean_and_range(nats))
    return found


def print_laws(config: Config, laws: dict[str, Law | None], by_lines: dict[str, np.ndarray]) -> dict[str, tuple]:
    """Print each law, how well it fits, and what it predicts; returns the predictions with half their intervals."""
    print()
    predictions = {}
    for name, law in laws.items():
        if law is None:
            print(f"{name}: no power law fits")
            continue
        spread = float(np.ptp(by_lines[name], axis=1).mean() / 2)
        print(f"{name}: {law.floor:.3f} + {law.scale:.3g} / lines^{law.exponent:.3f},", end=" ")
        print(f"residual {law.residual:.4f}; the range over seeds is ±{spread:.4f}")
        predictions[name] = float(law(config.predict)), law.interval(config.predict)
        loss, half = predictions[name]
        print(f"    at {config.predict:,} lines: {loss:.3f} ±{half:.3f} (95%, if the law holds that far)")
    return predictions


def picture(
    config: Config, lines: np.ndarray, by_lines: dict, laws: dict[str, Law | None], by_width: dict, path: Path
) -> None:
    """Two panels: loss against lines with the fitted laws, and loss against parameters."""
    figure = mm.plot.figure(12, 5)
    left, right = figure.subplots(1, 2)
    colors = {name: f"C{number}" for number, name in enumerate(by_lines)}
    far = np.geomspace(lines[0], config.predict, 100)
    for name, loss_LS in by_lines.items():
        mm.plot.band(left, lines, loss_LS, name, color=colors[name], marker="o", markersize=5)
        if law := laws[name]:
            left.plot(far, law(far), color=colors[name], linestyle=":", linewidth=1)
            half = law.interval(config.predict)
            left.errorbar([config.predict], law(config.predict), [half], color=colors[name], marker="D", capsize=4)
    left.set(xlabel="train lines (dotted: the fitted law, with its 95% interval)")
    for name, found in by_width.items():
        parameters_W, nats_WS = map(np.array, zip(*found, strict=True))
        mm.plot.band(right, parameters_W, nats_WS, name, color=colors[name], marker="o", markersize=5)
    right.set(xlabel="parameters, on all train lines")
    for axes in (left, right):
        axes.set(xscale="log", ylabel=f"test loss, nats per {config.unit}")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    mm.plot.save(figure, path)


if __name__ == "__main__":
    cli.main(lambda: Config, run, every_core=True)
