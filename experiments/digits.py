"""Pictures as lines of text: a label and 64 grey levels. The models of names learn to draw digits.

Run it:   python -m experiments.digits
          python -m experiments.digits --quick         under a minute, and it shows
Expect:   bits a pixel of each model; in runs/digits/ sheets of digits drawn by the transformer: by class, from half a
          picture, and beside the nearest real one; how often a classifier sees the digit that was asked for
Takes:    about 70 seconds on 2 CPU cores
Needs:    pip install '.[digits]' for the classifier; without it that figure is left out
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from experiments import cli, sweep
from experiments.task import Corpus, Text, count, load
from makemore_jax import data, plot
from makemore_jax.errors import require
from makemore_jax.loss import token_nll
from makemore_jax.model import Model, Params, size
from makemore_jax.sample import Sampling, sample
from makemore_jax.train import Recipe

SIDE = 8  # pixels
LEVELS = [chr(ord("a") + level) for level in range(17)]  # paper to full ink
LABELS = list("0123456789")
NEURAL = {
    "lstm": ({"hidden": 128}, Recipe(steps=1500, batch=32, learning_rate=5e-3, weight_decay=0.1)),
    "transformer": (
        {"layers": 4, "heads": 4, "embed": 64, "modern": True},
        Recipe(steps=1500, batch=32, learning_rate=2e-3, weight_decay=0.3),
    ),
}
QUICK_STEPS = 30
SHOWN = 40  # pictures on a sheet
EVERY = 100  # steps between evaluations


@dataclass(frozen=True)
class Config:
    """Learn to draw digits, from pictures that are lines of text."""

    data: Path = Path("data/digits.txt")
    """A picture a line: its label 0-9, then 64 grey levels a-q; two tenths are held out, for dev and for test."""
    drawn: int = 50
    """How many pictures of each digit to draw for the classifier, at least 10."""
    temperature: float = 1.0
    """Of the samples."""
    seed: int = 0
    """Seed of the weights, the batches and the samples."""
    quick: bool = False
    """A short look: some steps."""
    out: Path = Path("runs/digits")
    """Folder for the figures and the summary."""
    overwrite: bool = False
    """Replace what the folder holds of another configuration."""
    json: bool = False
    """Print the summary as JSON on the last line."""
    no_figures: bool = False
    """Draw no figures."""

    def __post_init__(self):
        require(10 <= self.drawn <= 10_000, f"--drawn is {self.drawn}; it must be from 10 to 10,000")
        require(0 <= self.seed < 2**32, f"--seed is {self.seed}; it must be from 0 to {2**32 - 1}")
        Sampling(self.temperature)


def check(path: Path) -> None:
    """Raise `InputError` where a line is no picture."""
    for number, line in enumerate(data.read_lines(path), 1):
        where = f"{path}, picture {number}"
        require(line[0] in LABELS, f"{where}: starts with {line[0]!r}; it should be its label, 0 to 9")
        require(len(line) == 1 + SIDE**2, f"{where}: has {len(line) - 1} levels; it should have {SIDE**2}")
        odd = set(line[1:]) - set(LEVELS)
        require(not odd, f"{where}: {min(odd, default='')!r} is no grey level; those are a to q")


def pixels(lines: list[str]) -> np.ndarray:
    """(N, 8, 8) grey levels 0-16 of lines with their labels."""
    return np.array([[ord(level) - ord("a") for level in line[1:]] for line in lines]).reshape(-1, SIDE, SIDE)


def grammar(vocab: data.Vocab) -> np.ndarray:
    """(66, V) bool: what a picture may hold at each position. A label, 64 levels, the end."""
    symbols = np.array(vocab.symbols)
    parts = [
        (1, np.isin(symbols, LABELS)),
        (SIDE**2, np.isin(symbols, LEVELS)),
        (1, np.arange(vocab.size) == data.MARK),
    ]
    return np.concatenate([np.tile(part, (count, 1)) for count, part in parts])


def bits_a_pixel(model: Model, params: Params, tokens: data.Tokens) -> float:
    """Mean bits of a grey level, given the label and the pixels before it."""
    every = np.arange(len(tokens.length_N))
    x_BT, y_BT, _ = data.batch(tokens, every[:, None], np.arange(2 + SIDE**2))
    nll_BT = jax.jit(lambda params: token_nll(model.apply(params, x_BT), y_BT))(params)
    return float(nll_BT[:, 1 : 1 + SIDE**2].mean()) / math.log(2)


def draw(corpus: Corpus, model: Model, params: Params, starts: list[str], config: Config) -> list[str]:
    """Whole pictures that start so, each a label and 64 levels."""
    vocab, key = corpus.vocab, jax.random.key(config.seed)
    prefixes, sampling = [vocab.encode(start) for start in starts], Sampling(config.temperature)
    drawn = sample(key, model, params, prefixes, corpus.block, sampling, grammar(vocab))
    return [vocab.decode(row) for row in drawn.token_BT]


def recognise(corpus: Corpus, drawn: list[str]) -> dict | None:
    """The share of drawn and of held-out real pictures in which a classifier, trained on real ones, sees the label."""
    try:
        from sklearn.svm import SVC
    except ImportError:
        print("scikit-learn is not installed: no classifier looks at the pictures (pip install '.[digits]')")
        return None
    train, held_out = corpus.sides.train, corpus.sides.dev + corpus.sides.test
    flat = lambda lines: pixels(lines).reshape(len(lines), -1)
    label = lambda lines: [line[0] for line in lines]
    classifier = SVC(gamma=0.001).fit(flat(train), label(train))
    return {
        "drawn": classifier.score(flat(drawn), label(drawn)),
        "real": classifier.score(flat(held_out), label(held_out)),
    }


def nearest(corpus: Corpus, drawn: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Of each drawn picture the nearest train picture, and the root mean square difference in levels."""
    train = pixels(corpus.sides.train)
    square_BN = ((pixels(drawn)[:, None] - train) ** 2).mean((2, 3))
    return train[square_BN.argmin(1)], np.sqrt(square_BN.min(1))


def figures(corpus: Corpus, model: Model, params: Params, drawn: list[str], config: Config) -> None:
    """The four sheets."""
    by_class = pixels(drawn).reshape(len(LABELS), config.drawn, SIDE, SIDE)[:, :10]
    plot.sheet(
        by_class, LABELS, [], "drawn by the transformer, asked for the digit on the left", config.out / "classes.png"
    )
    free = draw(corpus, model, params, [""] * SHOWN, config)
    real = corpus.sides.test[:SHOWN]
    both = np.concatenate([pixels(real).reshape(4, 10, SIDE, SIDE), pixels(free).reshape(4, 10, SIDE, SIDE)])
    names = ["real"] * 4 + ["drawn"] * 4
    plot.sheet(
        both,
        names,
        [],
        "held-out pictures, and pictures that the transformer draws unasked",
        config.out / "samples.png",
    )
    shown, half = corpus.sides.test[:8], 1 + SIDE**2 // 2
    ends = draw(corpus, model, params, [line[:half] for line in shown for _ in range(6)], config)
    top = pixels([line[:half].ljust(1 + SIDE**2, "a") for line in shown])
    columns = [top, *np.moveaxis(pixels(ends).reshape(8, 6, SIDE, SIDE), 1, 0), pixels(shown)]
    names = ["shown", *(f"end {number}" for number in range(1, 7)), "real"]
    plot.sheet(
        np.stack(columns, 1), [line[0] for line in shown], names, "half-shown pictures, ended", config.out / "ends.png"
    )
    some = free[:10]
    pairs, names = np.stack([pixels(some), nearest(corpus, some)[0]]), ["drawn", "nearest"]
    plot.sheet(pairs, names, [], "drawn pictures, and the nearest of those learned from", config.out / "nearest.png")


def run(config: Config) -> dict:
    """Learn, compare, draw."""
    check(config.data)
    corpus = load(Text(config.data))
    absent = sorted(set(LABELS) - {line[0] for line in corpus.sides.train})
    require(not absent, f"{config.data}: no picture to learn {', '.join(absent)} from; every digit is asked for")
    test = len(corpus.sides.test)
    require(test >= SHOWN, f"{config.data}: {test} pictures are held out for test, and a sheet shows {SHOWN}; add more")
    cli.open_run(config, config.out, corpus.digest)
    lines = ", ".join(f"{name} {len(side):,}" for name, side in corpus.sides._asdict().items())
    print(f"{config.data}: {lines} pictures of {SIDE} x {SIDE} pixels in {len(LEVELS)} grey levels\n")
    print(f"{'model':<16}{'parameters':>11}{'seconds':>9}{'bits a pixel, test':>20}")
    print(f"{'uniform':<16}{'':>20}{math.log2(len(LEVELS)):>20.4f}")
    quick = {"steps": QUICK_STEPS, "warmup": 5} if config.quick else {}
    learn = lambda name: sweep.learn(name, *NEURAL[name], corpus, config.seed, EVERY, **quick)
    rows = {"uniform": {"bits_a_pixel": math.log2(len(LEVELS))}}
    for name, make in {
        "unigram": lambda: count(corpus, 1),
        "n-gram of 4": lambda: count(corpus, 4),
        "lstm": lambda: learn("lstm"),
        "transformer": lambda: learn("transformer"),
    }.items():
        began = time.perf_counter()
        model, params = make()
        bits, seconds = bits_a_pixel(model, params, corpus.tokens["test"]), time.perf_counter() - began
        rows[name] = {"parameters": size(params), "seconds": seconds, "bits_a_pixel": bits}
        print(f"{name:<16}{size(params):>11,}{seconds:>9.1f}{bits:>20.4f}", flush=True)
    drawn = draw(corpus, model, params, [label for label in LABELS for _ in range(config.drawn)], config)
    (_, away_B), (_, real_B) = nearest(corpus, drawn), nearest(corpus, corpus.sides.test)
    summary = {"experiment": "digits", **cli.environment(), "models": rows}
    summary |= {"levels_to_nearest": {"drawn": np.median(away_B), "real": np.median(real_B)}}
    print(f"\nlevels a pixel to the nearest train picture: drawn {np.median(away_B):.2f}, real {np.median(real_B):.2f}")
    copies = len(set(drawn) & set(corpus.sides.train))
    print(f"of {len(drawn):,} pictures drawn, {copies:,} are copies of a train picture")
    if seen := recognise(corpus, drawn):
        print(
            f"a classifier sees the digit that was asked for in {seen['drawn']:.1%}; in held-out real pictures", end=" "
        )
        print(f"the true one in {seen['real']:.1%}")
    summary |= {"copies": copies, "recognised": seen, "samples": drawn[:: config.drawn]}
    if not config.no_figures:
        figures(corpus, model, params, drawn, config)
        print(f"drawn in {config.out}: classes.png, samples.png, ends.png, nearest.png")
    cli.write_json(config.out / "summary.json", summary)
    return summary


if __name__ == "__main__":
    cli.main(lambda: Config, run)
