"""The first lecture of makemore: bigrams, counted and learned.

Run it:   python -m experiments.bigram
Expect:   loss 2.4543 nats a character from the counts, and the same from gradient descent
Takes:    about 20 seconds on 2 CPU cores; figures and summary go to runs/bigram/
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments import bigram_neural, cli
from experiments.bigram_corpus import Corpus, count, count_dict
from experiments.cli import clip, columns, printable, title
from makemore_jax import data, plot
from makemore_jax.errors import check_float, require
from makemore_jax.loss import evaluate, line_nll
from makemore_jax.model import Model, Params
from makemore_jax.models import ngram
from makemore_jax.sample import Sampling, novelty, sample

NOVELTY_SAMPLES = 1000


@dataclass(frozen=True)
class Config:
    """The first lecture of makemore: count the bigrams of a text, then learn the same model by gradient descent."""

    data: Path = Path("data/names.txt")
    """Text file in UTF-8, one thing a line."""
    max_length: int | None = None
    """Cut lines and samples to this many characters; without it, samples stop at twice the longest line."""
    smoothing: float = 0.0
    """Count added to every cell of the table, so that nothing has probability zero."""
    steps: int = 200
    """Steps of gradient descent on all bigram pairs; 0 leaves the neural bigram out."""
    learning_rate: float = 50.0
    """Rate of the gradient descent; the lecture's is 50."""
    penalty: float = 0.01
    """Weight penalty: this times the mean of W squared is added to the loss; the lecture's is 0.01."""
    seed: int = 0
    """Seed of every random choice; the same seed gives the same output."""
    samples: int = 10
    """How many lines to sample from each model."""
    score: tuple[str, ...] = ()
    """Words to score; without it, a line of the data, and the same with an unseen bigram at its end."""
    prefix: str = ""
    """What every sample starts with."""
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=Sampling)
    out: Path = Path("runs/bigram")
    """Folder for the figures, config.json and summary.json."""
    overwrite: bool = False
    """Replace what the folder holds of another configuration."""
    json: bool = False
    """Print the summary as JSON on the last line."""
    no_figures: bool = False
    """Draw no figures."""

    def __post_init__(self):
        check_float("--smoothing", self.smoothing)
        require(self.steps >= 0, f"--steps is {self.steps}; it must be 0 or more")
        check_float("--learning-rate", self.learning_rate, zero=False)
        check_float("--penalty", self.penalty)
        require(0 <= self.seed < 2**32, f"--seed is {self.seed}; it must be from 0 to {2**32 - 1}")
        require(0 < self.samples <= 10**5, f"--samples is {self.samples}; it must be from 1 to 100,000")


def story(config: Config) -> dict:
    """Tell the lecture in its order; returns the summary."""
    lines = data.read_lines(config.data, config.max_length)
    vocab = data.Vocab.of(lines)
    words = [data.normalize(word) for word in config.score]
    data.tokenize(words, vocab)  # a word that cannot be scored stops the run here, before it makes anything
    prefix = vocab.encode_line(config.prefix)
    limit = min(config.max_length or np.inf, 2 * max(map(len, lines))) + 1  # in tokens, the end mark included
    require(len(prefix) < limit, f"--prefix has {len(prefix)} characters and samples stop at {limit - 1}; shorten it")
    tokens = data.tokenize(lines, vocab)
    ngram.Config(vocab.size + 1)  # too many symbols for the largest table stop here, too
    corpus = Corpus(lines, vocab, tokens, count(vocab, tokens), ngram.ngram(ngram.Config(vocab.size)))
    out = config.out
    cli.open_run(config, out, data.digest(lines))
    figures = None if config.no_figures else out
    init_key, sample_key, run_key = jax.random.split(jax.random.key(config.seed), 3)

    def draw(model: Model, params: Params, number: int = config.samples) -> list[str]:
        drawn = sample(sample_key, model, params, [prefix] * number, limit, config.sampling)
        return [vocab.decode(row) + "…" * (not ended) for row, ended in zip(drawn.token_BT, drawn.ended_B, strict=True)]

    summary = {"experiment": "bigram", "seed": config.seed, **cli.environment()}
    summary["data"] = tell_data(config, corpus, summary)
    summary["counts"] = tell_counts(corpus, figures)
    params = tell_probabilities(corpus, config.smoothing)
    summary["samples"] = tell_samples(corpus, params, draw)
    summary["quality"] = tell_quality(corpus, words, config.smoothing or 1.0, draw)
    if config.steps:
        summary["neural"] = bigram_neural.tell(init_key, run_key, corpus, config, draw, figures)
    cli.write_json(out / "summary.json", summary)
    print(f"\nAll of it is in {out}/: {', '.join(sorted(path.name for path in out.iterdir()))}")
    return summary


def tell_data(config: Config, corpus: Corpus, environment: dict) -> dict:
    """1. What was loaded, and what runs it."""
    report = data.report(corpus.lines, corpus.vocab)
    title("1. Data")
    print(f"file       {config.data}: {report['lines']:,} lines, {report['distinct']:,} distinct", end=" ")
    print(f"({report['repeated']:,} repeat an earlier line)")
    print(f"shortest   {clip(report['shortest'])}\nlongest    {clip(report['longest'])}")
    alphabet = clip(report["alphabet"].replace(" ", "␣"), 60)
    print(f"alphabet   {alphabet}  ({len(report['alphabet']):,} characters)")
    print(f"bigrams    {report['bigrams']:,}, with the mark {corpus.vocab.symbols[0]} that starts and ends every line")
    versions, device = environment["versions"], environment["device"]
    print(f"runs on    {device['kind']}, JAX {versions['jax']}, Python {versions['python']}")
    return report


def tell_counts(corpus: Corpus, figures: Path | None) -> dict:
    """2 and 3. The bigrams counted in a dict and in a table, and the picture of the table."""
    symbols, counts_VV = list(map(printable, corpus.vocab.symbols)), np.asarray(corpus.counts_VV)
    title("2. Counts")
    marked = [symbols[0], *corpus.lines[0], symbols[0]]
    pairs = " ".join(first + second for first, second in pairwise(marked))
    print(f"bigrams of {clip(corpus.lines[0], 30)}: {clip(pairs, 60)}")

    oracle_VV, token = np.zeros_like(counts_VV), {symbol: i for i, symbol in enumerate(corpus.vocab.symbols)}
    for (first, second), number in count_dict(corpus.lines, mark=corpus.vocab.symbols[0]).items():
        oracle_VV[token[first], token[second]] = number
    equal = np.array_equal(counts_VV, oracle_VV)
    verdict = "equal in every cell" if equal else "DIFFERENT, and that is a bug"
    print(f"a dict loop, and a jitted scatter-add into a {len(symbols)} x {len(symbols)} table: {verdict}")

    def names(cells: np.ndarray) -> str:
        named = ((*divmod(int(cell), len(symbols)), counts_VV.flat[cell]) for cell in cells)
        return "  ".join(f"{symbols[i]}{symbols[j]} {number:,}" for i, j, number in named)

    order, seen = np.argsort(-counts_VV, axis=None, kind="stable"), int((counts_VV > 0).sum())
    print(f"most common      {names(order[:seen][:8])}")
    print(f"least common     {names(order[:seen][-8:])}")
    print(f"never seen       {counts_VV.size - seen:,} of {counts_VV.size:,} pairs")
    start, end, side = waste_of_two_marks(corpus)
    print(
        f"with two marks   {side} x {side}: no pair starts with the end mark ({end} in its row) nor ends with the start"
    )
    print(f"                 mark ({start} in its column), so a row and a column are wasted; one mark does both")
    title("3. Picture")
    if figures:
        plot.counts(counts_VV, symbols, figures / "counts.png")
    print(f"the table, darker = more frequent: {figures / 'counts.png'}" if figures else "left out by --no-figures")
    return {"dict_equals_table": equal, "seen_cells": seen, "zero_cells": counts_VV.size - seen}


def waste_of_two_marks(corpus: Corpus) -> tuple[int, int, int]:
    """The lecture's first try has a start mark and an end mark: the totals of the column of one, of the row of the
    other, and the side of the table."""
    x_N, y_N = corpus.tokens.pairs
    end = corpus.vocab.size  # a symbol of its own
    wide = ngram.count(ngram.Config(end + 1), x_N[None], np.where(y_N == data.MARK, end, y_N)[None])
    return int(wide[:, data.MARK].sum()), int(wide[end].sum()), len(wide)


def tell_probabilities(corpus: Corpus, smoothing: float) -> Params:
    """4. Rows of counts to rows of probabilities."""
    symbols = list(map(printable, corpus.vocab.symbols))
    params = ngram.fit(corpus.counts_VV, smoothing)
    prob_VV = np.exp(np.asarray(params["log_prob"]))
    title("4. Probabilities")
    likely = np.argsort(-prob_VV[data.MARK], kind="stable")[:6]
    print(f"a line starts with   {'   '.join(f'{symbols[i]} {prob_VV[data.MARK, i]:.3f}' for i in likely)}")
    counts_VV = np.asarray(corpus.counts_VV) + smoothing
    wrong_VV = counts_VV / counts_VV.sum(1)  # (V, V) / (V,) lines the sums up with the columns
    print(f"with N = counts + {smoothing:g}:")
    print(f"P = N / N.sum(axis=1, keepdims=True)   every row sums to 1; the first to {prob_VV[0].sum():.4f}")
    print(f"P = N / N.sum(axis=1)                  divides the columns; the first row sums to {wrong_VV[0].sum():.4f}")
    return params


def tell_samples(corpus: Corpus, params: Params, draw: Callable) -> dict:
    """5. New lines from the table, beside the uniform model's."""
    uniform = ngram.fit(jnp.zeros_like(corpus.counts_VV))
    drawn = {"table": draw(corpus.model, params), "uniform": draw(corpus.model, uniform)}
    title("5. Samples")
    print("both columns draw with the same key; … is where a line was cut\n")
    columns(drawn)
    return drawn


def tell_quality(corpus: Corpus, words: list[str], smoothing: float, draw: Callable) -> dict:
    """6. Mean negative log-likelihood: of the data, of words, of lines that were held out."""
    title("6. Quality")
    print(f"{'all the data':<24}{'nats a character':>18}{'bits':>10}{'perplexity':>13}")
    tables = {f"counts + {k:g}": ngram.fit(corpus.counts_VV, k) for k in sorted({0.0, 0.1, 1.0, 5.0, smoothing})}
    tables["uniform"] = ngram.fit(jnp.zeros_like(corpus.counts_VV))
    qualities = {name: evaluate(corpus.model, params, corpus.tokens) for name, params in tables.items()}
    for name, quality in qualities.items():
        print(f"{name:<24}{quality.nats:>18.6f}{quality.bits:>10.4f}{quality.perplexity:>13.3f}")

    words = words or unlikely(corpus)
    tokens = data.tokenize(words, corpus.vocab)
    names = ("counts + 0", f"counts + {smoothing:g}", "uniform")
    scores = {name: line_nll(corpus.model, tables[name], tokens) / tokens.length_N for name in names}
    print("\nnats a character of a word; inf where a bigram was never seen")
    print(f"{'':<24}" + "".join(f"{name:>18}" for name in names))
    for word, *nats in zip(words, *scores.values(), strict=True):
        print(f"{clip(word, 23):<24}" + "".join(f"{value:>18.4f}" for value in nats))
    held_out = tell_held_out(corpus, smoothing, draw)
    return {"data": {name: q._asdict() for name, q in qualities.items()}, "words": words, "scores": scores, **held_out}


def unlikely(corpus: Corpus) -> list[str]:
    """A line of the data and the same with a bigram at its end that the data lacks; or the first line alone."""
    for line in corpus.lines:
        last = corpus.vocab.encode(line)[-1]
        unseen = np.flatnonzero(np.asarray(corpus.counts_VV)[last] == 0)
        if len(unseen) and (symbol := unseen[-1]) != data.MARK:
            return [line, line + corpus.vocab.symbols[symbol]]
    return [corpus.lines[0]]


def tell_held_out(corpus: Corpus, smoothing: float, draw: Callable) -> dict:
    """The honest figure: count the train lines alone, and score lines that the counts have not seen."""
    sides = data.split(corpus.lines)
    if not all(sides):
        print("\ntoo few lines to hold some out")
        return {}
    tokens = {name: data.tokenize(side, corpus.vocab) for name, side in sides._asdict().items()}
    params = ngram.fit(count(corpus.vocab, tokens["train"]), smoothing)
    nats = {name: evaluate(corpus.model, params, side).nats for name, side in tokens.items()}
    new = novelty(draw(corpus.model, params, NOVELTY_SAMPLES), sides.train, sides.dev + sides.test)
    print("\ncounts of the train lines alone, scored on lines that they have not seen (equal lines are on one side)")
    print(f"{f'train counts + {smoothing:g}':<24}{'lines':>18}{'nats a character':>18}")
    for name, side in sides._asdict().items():
        print(f"{name:<24}{len(side):>18,}{nats[name]:>18.4f}")
    print(f"of {NOVELTY_SAMPLES:,} samples from it {new['new']} are new, {new['in_held_out']} held out,", end=" ")
    copied = f"{new['in_train']} in train (about {new['expected_in_train']} if it copied nothing)"
    print(f"{copied}, {new['repeated']} repeated")
    return {"split": {name: len(side) for name, side in sides._asdict().items()}, "held_out": nats, "novelty": new}


if __name__ == "__main__":
    cli.main(lambda: Config, story)
