"""Draw digits with the models of names: a picture is a line of text, a label and 64 grey levels.

Run it:   python -m experiments.digits
          python -m experiments.digits --quick         a quick look, with poor pictures
Expect:   bits per pixel of each model; sheets of digits drawn by the transformer in runs/digits/: by class, from half a
          picture, and beside the nearest real one; how often a classifier recognises the requested digit
Stop it:  rows are kept; the same command with --resume continues
Takes:    about 70 seconds on 2 CPU cores
Needs:    pip install '.[digits]' for the classifier; without it, that number is left out
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist

import makemore_jax as mm
from makemore_jax.data.batches import gather
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import digest, read_lines, split
from makemore_jax.data.tokens import Tokens
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.errors import require
from makemore_jax.files import embedded
from makemore_jax.inference.sampler import SamplingParams, sample_tokens
from makemore_jax.models.interface import num_params
from makemore_jax.models.likelihood import token_nll
from makemore_jax.recipe import Default
from makemore_jax.runs.writer import RunFolder

from .shared import cli
from .shared.figures import drawing
from .shared.flags import Seed
from .shared.rows import Rows, Study, keep, model_files

SIDE = 8  # pixels
PIXELS = SIDE**2
GREYS = [chr(ord("a") + level) for level in range(17)]  # from paper to full ink
LABELS = list("0123456789")
NEURAL = {
    "lstm": ({"hidden": 128}, mm.Recipe(steps=1500, batch=Default(32), learning_rate=5e-3, weight_decay=0.1)),
    "transformer": (
        {"layers": 4, "heads": 4, "embed": 64, "modern": True},
        mm.Recipe(steps=1500, batch=Default(32), learning_rate=2e-3, weight_decay=0.3),
    ),
}
ORDERS = (1, 4)  # of the n-grams with back-off
EVALUATE_EVERY = 100  # steps; the best weights on dev are kept
QUICK = {"steps": 30, "warmup": 5}
COLUMNS = 10  # pictures in a row of a sheet
SHOWN = 4 * COLUMNS  # pictures drawn without a label, and as many real ones
HALVES, ENDS = 8, 6  # half pictures to complete, and completions of each
SHEETS = ("classes.png", "samples.png", "ends.png", "nearest.png")


@dataclass(frozen=True, kw_only=True)
class Config(Study, Seed):
    """Learn to draw digits from pictures that are lines of text."""

    data: Path = field(default_factory=partial(embedded, "digits.txt"))
    """Text file, one picture per line: its label 0-9, then 64 grey levels a-q; tenths are held out for dev and test."""
    drawn: int = 50
    """Number of pictures to draw of each digit for the classifier; at least 10."""
    temperature: float = 1.0
    """Sampling temperature: below 1 is more conservative, above 1 more varied."""
    quick: bool = False
    """Take a quick look, with a few training steps."""
    out: Path = Path("runs/digits")
    """Folder for the figures, config.json and summary.json."""

    def __post_init__(self):
        super().__post_init__()
        require(COLUMNS <= self.drawn <= 10_000, f"`drawn` is {self.drawn}; it must be from {COLUMNS} to 10,000")
        SamplingParams(self.temperature)


def run(config: Config) -> dict:
    """Train the models, compare them, and draw digits."""
    corpus = load(config.data)
    with keep(config, corpus.digest, (*SHEETS, *model_files(list(NEURAL)[-1])), experiment="digits") as kept:
        lines = ", ".join(f"{name} {len(part):,}" for name, part in corpus.lines.items())
        print(f"{cli.shown(config.data)}: {lines} pictures, {SIDE} x {SIDE} pixels, {len(GREYS)} grey levels")
        print("backoff N: the n-gram of order N with back-off\n")
        trained = compare(config, corpus, kept)
        drawn = draw("classes", trained, [label for label in LABELS for _ in range(config.drawn)], config)
        judged = judge(corpus, drawn)
        if not config.no_figures:
            with drawing(config.out, ", ".join(SHEETS)):
                figures(corpus, trained, drawn, config, kept.folder)
        return kept.finish(samples=drawn[:: config.drawn], **judged)


def load(path: Path) -> mm.Corpus:
    """Read the pictures of a file, and refuse malformed ones."""
    lines = read_lines(path)
    for number, line in enumerate(lines, 1):
        where = f"{path}, picture {number}"
        require(line[0] in LABELS, f"{where}: starts with {line[0]!r}; it should be its label, 0 to 9")
        require(len(line) == 1 + PIXELS, f"{where}: has {len(line) - 1} levels; it should have {PIXELS}")
        odd = set(line[1:]) - set(GREYS)
        require(not odd, f"{where}: {min(odd, default='')!r} is not a grey level; they are {GREYS[0]} to {GREYS[-1]}")
    corpus = encode(split(lines), digest(lines), source=str(path))
    absent, test = sorted(set(LABELS) - {line[0] for line in corpus.lines.train}), len(corpus.lines.test)
    require(not absent, f"{path}: has no train pictures of {', '.join(absent)}; add some of every digit")
    require(test >= SHOWN, f"{path}: {test} pictures are held out for test, but a sheet shows {SHOWN}; add more")
    return corpus


def pixels(lines: Sequence[str]) -> np.ndarray:
    """The grey levels 0-16 of labelled lines, (N, 8, 8)."""
    return np.array([[ord(grey) - ord(GREYS[0]) for grey in line[1:]] for line in lines]).reshape(-1, SIDE, SIDE)


def flat(lines: Sequence[str]) -> np.ndarray:
    """The grey levels of each picture as one row, (N, 64)."""
    return pixels(lines).reshape(-1, PIXELS)


def compare(config: Config, corpus: mm.Corpus, kept: Rows) -> mm.Trained:
    """Count or train every model and print its bits per pixel; return the last model."""
    table = cli.Table(model="<16", parameters=">11,", seconds=">9.1f", bits_per_pixel=">16.4f")

    def measure(make: Callable[[], mm.Trained]) -> dict:
        began, trained = time.perf_counter(), make()
        bits, seconds = bits_per_pixel(trained, corpus.tokens.test), time.perf_counter() - began
        return {"parameters": num_params(trained.params), "seconds": seconds, "bits_per_pixel": bits}

    table.row(model="uniform", **kept.measure("uniform", lambda: {"bits_per_pixel": math.log2(len(GREYS))}))
    makers = {f"backoff {order}": partial(mm.count, corpus, order) for order in ORDERS}
    makers |= {name: partial(learn, name, corpus, config) for name in NEURAL}
    for name, make in makers.items():
        made = cache(make)
        table.row(model=name, **kept.measure(name, partial(measure, made)))
    return kept.models(name, lambda: [made()])[0]


def learn(name: str, corpus: mm.Corpus, config: Config) -> mm.Trained:
    """Train a neural model, and keep its best weights on dev."""
    sizes, recipe = NEURAL[name]
    changes = QUICK if config.quick else {"steps": recipe.steps}
    evaluations = max(1, changes["steps"] // EVALUATE_EVERY)
    return mm.sweep(name, corpus, [config.seed], recipe=recipe, evaluations=evaluations, **changes, **sizes).best[0]


def bits_per_pixel(trained: mm.Trained, tokens: Tokens) -> float:
    """The mean bits of a grey level, given the label and the earlier pixels."""
    x_BT, y_BT, _ = gather(tokens, np.arange(len(tokens.length_N))[:, None], np.arange(2 + PIXELS))
    nll_BT = jax.jit(lambda params: token_nll(trained.model.apply(params, x_BT), y_BT))(trained.params)
    return float(nll_BT[:, 1 : 1 + PIXELS].mean()) / math.log(2)


def grammar(vocab: Vocab) -> np.ndarray:
    """The symbols that a picture may hold at each position, (66, V) bool: a label, 64 grey levels, the mark."""
    symbols, is_mark_V = np.array(vocab.symbols), np.arange(vocab.size) == MARK
    return np.stack([np.isin(symbols, LABELS), *[np.isin(symbols, GREYS)] * PIXELS, is_mark_V])


def draw(use: str, trained: mm.Trained, starts: Sequence[str], config: Config) -> list[str]:
    """Draw pictures, as lines that start with these labels and pixels; each use has its own random key."""
    key, prefixes = config.key(use), [trained.vocab.encode(start) for start in starts]
    sampling, allowed = SamplingParams(config.temperature), grammar(trained.vocab)
    drawn = sample_tokens(key, trained.model, trained.params, prefixes, trained.context, sampling, allowed)
    return [trained.vocab.decode(row) for row in drawn.token_BT]


def judge(corpus: mm.Corpus, drawn: Sequence[str]) -> dict:
    """Print how far drawn pictures are from train pictures, and how often a classifier recognises the digit."""
    parts = {"drawn": drawn, "real": corpus.lines.test}
    levels = {name: np.median(nearest(corpus, lines)[1]) for name, lines in parts.items()}
    print("\nlevels per pixel to the nearest train picture: drawn {drawn:.2f}, real {real:.2f}".format(**levels))
    copies = len(set(drawn) & set(corpus.lines.train))
    print(f"of {len(drawn):,} pictures drawn, {copies:,} are copies of a train picture")
    if seen := recognise(corpus, drawn):
        print(f"a classifier recognises the requested digit in {seen['drawn']:.1%} of them,", end=" ")
        print(f"and the true digit in {seen['real']:.1%} of the held-out real pictures")
    return {"levels_to_nearest": levels, "copies": copies, "recognised": seen}


def recognise(corpus: mm.Corpus, drawn: Sequence[str]) -> dict | None:
    """The share of drawn and of held-out pictures whose label is recognised by a classifier of train pictures."""
    try:
        from sklearn.svm import SVC
    except ImportError:
        print("no classifier: scikit-learn is not installed (pip install '.[digits]')")
        return None
    labels = lambda lines: [line[0] for line in lines]
    classifier = SVC(gamma=0.001)  # pyright: ignore[reportArgumentType]  # scikit-learn has no types; the default is a str
    classifier.fit(flat(corpus.lines.train), labels(corpus.lines.train))
    parts = {"drawn": drawn, "real": corpus.lines.dev + corpus.lines.test}
    return {name: classifier.score(flat(lines), labels(lines)) for name, lines in parts.items()}


def nearest(corpus: mm.Corpus, drawn: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest train picture of each drawn one, and their root mean square difference in levels."""
    distance_DN = cdist(flat(drawn), flat(corpus.lines.train))
    return pixels(corpus.lines.train)[distance_DN.argmin(1)], distance_DN.min(1) / math.sqrt(PIXELS)


def figures(corpus: mm.Corpus, trained: mm.Trained, drawn: Sequence[str], config: Config, folder: RunFolder) -> None:
    """Draw the four sheets."""
    rows = lambda lines, width: pixels(lines).reshape(-1, width, SIDE, SIDE)
    title = "drawn by the transformer, given the digit on the left"
    sheet(rows(drawn, config.drawn)[:, :COLUMNS], LABELS, [], title, folder.file("classes.png"))

    free, real = draw("samples", trained, [""] * SHOWN, config), corpus.lines.test[:SHOWN]
    names = ["real"] * (SHOWN // COLUMNS) + ["drawn"] * (SHOWN // COLUMNS)
    title = "held-out pictures, and pictures drawn by the transformer without a label"
    sheet(rows([*real, *free], COLUMNS), names, [], title, folder.file("samples.png"))

    whole, half = corpus.lines.test[:HALVES], 1 + PIXELS // 2
    ends = draw("ends", trained, [line[:half] for line in whole for _ in range(ENDS)], config)
    shown = [line[:half].ljust(1 + PIXELS, GREYS[0]) for line in whole]
    parts = [rows(shown, 1), rows(ends, ENDS), rows(whole, 1)]
    names = ["shown", *(f"end {number}" for number in range(1, ENDS + 1)), "real"]
    title = "the upper half of held-out pictures, completed"
    sheet(np.concatenate(parts, 1), [line[0] for line in whole], names, title, folder.file("ends.png"))

    both = np.stack([pixels(free[:COLUMNS]), nearest(corpus, free[:COLUMNS])[0]])
    title = "drawn pictures, each above its nearest train picture"
    sheet(both, ["drawn", "nearest"], [], title, folder.file("nearest.png"))


def sheet(
    picture_RCHW: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str, path: Path | None = None
) -> Figure:
    """Draw pictures in a grid, black on white, with the names of rows and columns."""
    gap, (height, width) = 2, picture_RCHW.shape[2:]
    padded = np.pad(picture_RCHW.astype(float), ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=np.nan)
    grid = np.concatenate(np.concatenate(padded, 1), 1)[:-gap, :-gap]
    figure = mm.plot.figure(0.75 * picture_RCHW.shape[1] + 1, 0.75 * picture_RCHW.shape[0] + 0.6)
    axes = figure.subplots()
    axes.imshow(grid, cmap="gray_r", vmin=0, vmax=np.max(picture_RCHW))
    centres = lambda count, size: [number * (size + gap) + (size - 1) / 2 for number in range(count)]
    axes.set_yticks(centres(len(rows), height), rows)
    axes.set_xticks(centres(len(columns), width), columns)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=11)
    return mm.plot.save(figure, path)


if __name__ == "__main__":
    cli.main(lambda: Config, run)
