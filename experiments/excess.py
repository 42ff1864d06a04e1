"""Measure how far each model stays above the entropy of data whose entropy is known, with more and more lines.

Run it:   python -m experiments.excess
          python -m experiments.excess --sources copy --quick
          python -m experiments.excess --sources brackets --lines 10000 --write brackets.txt     only write a text file
Expect:   a table and a picture of each source in runs/excess/: excess nats against the number of train lines
Stop it:  rows are kept; the same command with --resume continues
Takes:    about half an hour on 2 CPU cores, or several minutes for one source; with --quick, about one for each
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

import makemore_jax as mm
from makemore_jax.analysis import sources
from makemore_jax.analysis.sources import Source
from makemore_jax.data.lines import Split
from makemore_jax.data.tokens import Tokens, tokenize
from makemore_jax.distributed.mesh import spread
from makemore_jax.errors import require, require_nonempty, require_positive
from makemore_jax.files import embedded, write_bytes
from makemore_jax.inference.baselines import count_table
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.models import ngram
from makemore_jax.models.registry import NEURAL
from makemore_jax.runs.writer import RunFolder

from .shared import cli
from .shared.cores import on_every_core
from .shared.figures import drawing
from .shared.flags import Seed, one_of, require_seeds
from .shared.rows import Rows, Study, keep

HELD_OUT = 2000  # lines for dev, and as many again for test
SIZES = {  # small, since the question is what a model can learn and not how well a large one fits
    "mlp": {"window": 6, "embed": 16, "hidden": 128},
    "wavenet": {"layers": 6, "channels": 32, "skip": 64},
    "bow": {"embed": 48, "hidden": 64},
    "rnn": {"embed": 32, "hidden": 64},
    "gru": {"embed": 32, "hidden": 64},
    "lstm": {"embed": 32, "hidden": 64},
    "hawk": {"embed": 32, "hidden": 48},
    "transformer": {"layers": 2, "embed": 48},
}
RATES = {"bigram": 0.1, "mlp": 4e-3, "wavenet": 4e-3, "transformer": 4e-3}  # 1e-2 for the others


class Kind(NamedTuple):
    """A source that the command offers."""

    make: Callable[[np.ndarray, np.ndarray, str], Source]  # (counts of pairs, counts of fours, symbols) of the data
    about: str


def hidden_markov() -> Source:
    """Make a hidden Markov chain of six random states, each with a few letters of its own."""
    random, states, letters = np.random.default_rng(1), 6, 12
    emit = np.hstack([np.full((states, 1), 0.1), 0.9 * random.dirichlet(np.full(letters, 0.3), states)])
    move = random.dirichlet(np.full(states, 0.3), states)
    return sources.hidden_markov("hidden-markov", np.full(states, 1 / states), move, emit, "abcdefghijkl")


SOURCES = {
    "markov-1": Kind(lambda two, four, of: sources.markov("markov-1", two, of), "the pairs of the data: bigram names"),
    "markov-3": Kind(lambda two, four, of: sources.markov("markov-3", four, of), "each letter after the last three"),
    "hidden-markov": Kind(lambda *_: hidden_markov(), "letters of a hidden Markov chain of 6 states"),
    "brackets": Kind(lambda *_: sources.brackets(), "balanced brackets of two kinds: a stack"),
    "copy": Kind(lambda *_: sources.copy(), "a word, #, and the word again"),
    "reverse": Kind(lambda *_: sources.copy(backwards=True), "a word, #, and the word backwards"),
    "sums": Kind(lambda *_: sources.sums(), "a+b=c with the digits of c backwards"),
    "languages": Kind(
        lambda two, four, of: sources.languages("languages", [two, two.T], of), "bigram names, forwards or backwards"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Config(Study, Seed):
    """Train every model on data whose entropy is known, and compare each loss with the lowest possible loss."""

    sources: tuple[Annotated[str, one_of(SOURCES)], ...] = tuple(SOURCES)
    """Sources to learn from."""
    models: tuple[Annotated[str, one_of(("ngram", "backoff", *NEURAL))], ...] = ("ngram", "backoff", *NEURAL)
    """Models to train; ngram is the table of counted pairs, and backoff is the n-gram with back-off, up to order 5."""
    lines: tuple[int, ...] = (100, 1000, 10_000, 100_000, 1_000_000)
    """Numbers of train lines."""
    steps: int = 1000
    """Training steps on 10,000 lines or more; fewer lines get fewer steps."""
    seeds: int = 2
    """Number of runs of each neural model."""
    quick: bool = False
    """Take a quick look, with 100 to 10,000 lines, 500 steps, one seed and four models."""
    data: Path = field(default_factory=partial(embedded, "names.txt"))
    """Text file from which the Markov chains are counted."""
    write: Path | None = None
    """Train nothing; write lines of one source into this text file, as many as --lines says."""
    out: Path = Path("runs/excess")
    """Folder for the figures and the summary."""

    def __post_init__(self):
        super().__post_init__()
        require_seeds(self.seeds)
        require_positive(self, "steps")
        require_nonempty(self, "sources", "models", "lines")
        for lines in self.lines:
            require(0 < lines <= 10**7, f"`lines` is {lines}; it must be from 1 to 10,000,000")
        single = len(self.sources) == 1 and len(self.lines) == 1
        require(self.write is None or single, "`write` needs one source in `sources` and one number in `lines`")


def run(config: Config) -> dict:
    """Make a table and a picture for each source."""
    if config.quick:
        quick = {"lines": (100, 1000, 10_000), "steps": 500, "seeds": 1}
        config = replace(config, models=("backoff", "mlp", "lstm", "transformer"), **quick)
    if config.write:
        return write_file(config, config.write)
    files = tuple(f"{name}.{kind}" for name in SOURCES for kind in ("png", "json"))
    with keep(config, mm.load(config.data).digest, files, experiment="excess", seeds=config.seeds) as kept:
        found = on_every_core(partial(learn, config, kept.folder), config.sources)
        for name, (floor, excess, theory) in zip(config.sources, found, strict=True):
            kept.measure(name, lambda floor=floor, excess=excess: {"floor": floor._asdict(), "excess": excess})
            if not config.no_figures:
                with drawing(kept.folder.file(f"{name}.png")) as path:
                    picture(excess, config.lines, theory, f"{name}: {SOURCES[name].about}", path)
        return kept.finish()


def make(config: Config, name: str) -> tuple[Source, np.ndarray]:
    """Make a source by its name; return it with the counts of pairs in the data."""
    corpus = mm.load(config.data)
    two, four = (ngram.count_stream(ngram.Config(corpus.vocab.size, n), corpus.tokens.train.stream_M) for n in (2, 4))
    return SOURCES[name].make(two, four, "".join(corpus.vocab.symbols[1:])), two


def learn(
    config: Config, folder: RunFolder, name: str
) -> tuple[sources.Floor, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Print the table of one source; return its floor, the excess of each model, and the excess that theory predicts.

    Several processes do this at once, so each source keeps its rows in its own file.
    """
    source, two = make(config, name)
    floor = sources.floor(config.key("floor"), source)
    error = f" ±{floor.error:.4f} (standard error)" if floor.error else ""
    cli.title(f"{name}: {SOURCES[name].about}")
    print(f"floor {floor.nats:.4f}{error} nats per character, {floor.tokens:.1f} characters per line;", end=" ")
    print("excess nats on test, by the number of train lines:")
    print("ngram: the table of counted pairs; backoff: the n-gram with back-off; ±: half the range over seeds\n")
    theory = parameters_line(source, two, config.lines, floor.tokens) if name == "markov-1" else {}
    return floor, measure(config, source, Rows(folder, {"source": name}, f"{name}.json")), theory


def write_file(config: Config, path: Path) -> dict:
    """Write lines of a source into a text file, and print its floor."""
    source, _ = make(config, *config.sources)
    lines = sources.write(config.key("lines"), source, config.lines[0])
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    floor = sources.floor(config.key("floor"), source)
    print(f"wrote {len(lines):,} lines to {cli.shown(path)}; floor {floor.nats:.4f} nats per character")
    return {"lines": len(lines), "floor": floor._asdict()}


def measure(config: Config, source: Source, kept: Rows) -> dict[str, np.ndarray]:
    """Train each model on each number of lines; return its excess nats on test, (lines, seeds)."""

    @cache  # if all rows are kept, no lines are needed
    def written() -> tuple[mm.Corpus, float]:
        lines = sources.write(config.key("lines"), source, 2 * HELD_OUT + max(config.lines))
        parts = Split(lines[2 * HELD_OUT :], lines[:HELD_OUT], lines[HELD_OUT : 2 * HELD_OUT])
        tokens = parts.map(lambda part: tokenize(part, source.vocab))
        corpus = mm.Corpus(source.vocab, Split([], [], []), tokens, "", source.model.config.context)
        return corpus, exact_loss(source.model, {}, tokens.test).nats  # on the same lines: luck cancels

    def excess_of(name: str) -> list[list[float]]:
        corpus, floor = written()
        parts = [first_lines(corpus.tokens.train, count) for count in config.lines]
        runs = [train(config, name, corpus._replace(tokens=corpus.tokens._replace(train=part))) for part in parts]
        return [[mm.evaluate(one, corpus.tokens.test).nats - floor for one in trained] for trained in runs]

    columns, excess = [f"{lines:,}_lines" for lines in config.lines], {}
    table = cli.Table(model="<12", **dict.fromkeys(columns, ">17"))
    for name in config.models:
        excess[name] = np.array(kept.measure(name, partial(excess_of, name)), float)
        table.row(model=name, **dict(zip(columns, map(cli.mean_and_range, excess[name]), strict=True)))
    return excess


def first_lines(tokens: Tokens, count: int) -> Tokens:
    """The first `count` lines of a token stream."""
    end = tokens.length_N[:count].sum() + 1
    return Tokens(tokens.stream_M[:end], tokens.start_N[:count], tokens.length_N[:count])


def train(config: Config, name: str, corpus: mm.Corpus) -> list[mm.Trained]:
    """Train a model on the corpus, once for each seed, or count it once."""
    if name == "ngram":
        return [count_table(corpus, smoothing=0.5)]
    if name == "backoff":
        return [mm.count(corpus)]
    lines = len(corpus.tokens.train.length_N)
    steps = max(config.steps // (1 if lines >= 10_000 else 2 if lines >= 1000 else 5), 5)
    recipe = mm.Recipe(steps=steps, learning_rate=RATES.get(name, 1e-2), warmup=steps // 10)
    seeds = range(config.seed, config.seed + config.seeds)
    options = {"evaluations": 4, "spread": spread, "progress": False, **SIZES.get(name, {})}
    return mm.sweep(name, corpus, seeds, recipe=recipe, **options).best


def parameters_line(source: Source, counts: np.ndarray, lines: tuple[int, ...], length: float) -> dict[str, np.ndarray]:
    """The excess of a model of the source's own form, by theory: free parameters / (2 x tokens) (Wilks 1938)."""
    free = int((counts > 0).sum() - (counts.sum(-1) > 0).sum())
    return {f"{free} parameters / (2 x tokens)": free / (2 * np.array(lines) * length)}


def picture(
    excess: Mapping[str, np.ndarray], lines: tuple[int, ...], own: Mapping[str, np.ndarray], title: str, path: Path
) -> None:
    """Draw excess nats against train lines, both logarithmic, with a curve and a range over seeds for each model."""
    figure = mm.plot.figure(9, 5.5)
    axes = figure.subplots()
    lowest = 1e-4  # at and below it a model is at the floor
    seen = np.maximum(np.concatenate([np.ravel(value) for value in (*excess.values(), *own.values())]), lowest)
    seen = seen[np.isfinite(seen)]
    for number, (name, value_LS) in enumerate(excess.items()):
        value_LS = np.maximum(value_LS, lowest)
        style = {"color": f"C{number}", "marker": "os^Dv"[number % 5], "markersize": 5}
        mm.plot.band(axes, lines, value_LS.tolist(), name, linestyle="-" if name in NEURAL else "--", **style)
    for name, value_L in own.items():
        axes.plot(lines, value_L, color="black", linestyle=":", label=name)
    axes.set(xscale="log", yscale="log", xlabel="train lines", ylabel="excess nats per character over the floor")
    if len(seen):
        axes.set_ylim(seen.min() / 1.2, 1.2 * seen.max())
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False)
    mm.plot.save(figure, path)


if __name__ == "__main__":
    cli.main(lambda: Config, run, every_core=True)
