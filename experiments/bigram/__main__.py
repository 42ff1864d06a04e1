"""Tell the first lecture of makemore: the bigram model, counted and then learned.

Run it:   python -m experiments.bigram
Expect:   a loss of 2.4543 nats per character from counting, and the same from gradient descent
Takes:    about 20 seconds on 2 CPU cores; figures and summary go to runs/bigram/
"""

import textwrap
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from makemore_jax.data.lines import digest, read_lines, visible
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.errors import require, require_float
from makemore_jax.files import embedded
from makemore_jax.inference.sampler import SamplingParams, sample_tokens
from makemore_jax.models import ngram
from makemore_jax.models.interface import Model, Params
from makemore_jax.runs.writer import RunFolder

from ..explore.saved import table_page, write_page
from ..explore.table import Table
from ..shared import cli
from ..shared.cli import clip, shown
from ..shared.figures import drawing
from ..shared.flags import Output, Seed, Typed
from ..shared.lecture import Lecture, count_dict, count_table
from ..shared.reading import File, Reads
from . import figures as bigram_figures
from . import neural, quality
from .sections import COUNT, LEARNED, section

FIGURES = ("counts.png", "loss.png", "matrices.png", "penalty.png")


@dataclass(frozen=True, kw_only=True)
class Config(Output, Seed, Reads):
    """Count the bigrams of a text, then learn the same model by gradient descent: the first lecture of makemore."""

    data: File = field(default_factory=partial(embedded, "names.txt"))
    """Text file with one item per line, or CSV, TSV, FASTA or SMILES, also in .gz; - is standard input."""
    max_length: int | None = None
    """Cut lines and samples to this many characters; by default, only samples are cut, at twice the longest line."""
    smoothing: float = 0.0
    """Add this number to every count, so that no bigram has probability zero."""
    steps: int = 200
    """Steps of gradient descent for the neural bigram, each over all the data; 0 skips the neural bigram."""
    learning_rate: float = 50.0
    """Learning rate of gradient descent; 50 in the lecture."""
    penalty: float = 0.01
    """Weight penalty (L2 regularisation): this number times mean(W**2) is added to the loss; 0.01 in the lecture."""
    samples: int = 10
    """Number of lines to sample from each model."""
    score: tuple[Typed, ...] = ()
    """Words to score; by default, a line of the data, and the same line with an unseen bigram at its end."""
    prefix: Typed = ""
    """Text that every sample starts with."""
    sampling: tyro.conf.OmitArgPrefixes[SamplingParams] = field(default_factory=SamplingParams)
    pause: bool = False
    """Wait for Enter before each section but the first."""
    section: int | None = None
    """Tell this section only, from 1 to 9, and write nothing."""
    out: Path = Path("runs/bigram")
    """Folder for the figures, config.json and summary.json."""

    def __post_init__(self):
        super().__post_init__()
        require_float("smoothing", self.smoothing)
        require(0 <= self.steps < 2**31, f"`steps` is {self.steps}; it must be 0 or more, and below 2**31")
        require_float("learning_rate", self.learning_rate, zero=False)
        require_float("penalty", self.penalty)
        require(0 < self.samples <= 10**5, f"`samples` is {self.samples}; it must be from 1 to 100,000")
        if self.section is not None:
            require(0 < self.section <= COUNT, f"`section` is {self.section}; it must be from 1 to {COUNT}")
            require(
                self.steps > 0 or self.section not in LEARNED, f"without `steps` there is no section {self.section}"
            )


def story(config: Config) -> dict:
    """Tell the lecture in its order; return the summary."""
    init_key, sample_key, run_key = jax.random.split(jax.random.key(config.seed), 3)
    lecture = prepare(config, sample_key)
    if config.section:
        return tell(config, lecture, init_key, run_key, None)
    with cli.claim(config, config.out, digest(lecture.lines), (*FIGURES, "table.html")) as folder:
        summary = tell(config, lecture, init_key, run_key, folder)
        folder.write_json("summary.json", summary)
        names = ", ".join(sorted(path.name for path in config.out.glob("*.*")))
        print(f"\nEverything is in {shown(config.out)}/:\n{textwrap.fill(names, 80)}")
    return summary


def tell(config: Config, lecture: Lecture, init_key: jax.Array, run_key: jax.Array, folder: RunFolder | None) -> dict:
    """Tell the sections and return the summary; draw figures if there is a folder for them."""
    figures = None if config.no_figures else folder
    summary = {"experiment": "bigram", "seed": config.seed, **cli.environment()}
    with section(config, "1. Data"):
        summary["data"] = tell_data(config, lecture, summary)
    with section(config, "2. Counts"):
        summary["counts"] = tell_counts(lecture)
    with section(config, "3. Picture"):
        draw_counts(lecture, figures)
    with section(config, "4. Probabilities"):
        params = tell_probabilities(lecture, config.smoothing)
    with section(config, "5. Samples"):
        summary["samples"] = tell_samples(lecture, params)
    with section(config, "6. Quality"):
        summary["quality"] = quality.tell(lecture, config.score, config.smoothing or 1.0)
    if config.steps and config.section in (None, *LEARNED):
        summary["neural"] = neural.tell(init_key, run_key, lecture, config, figures)
    return summary


def prepare(config: Config, key: jax.Array) -> Lecture:
    """Read and count the data, and refuse words and prefixes with unknown symbols before anything is written."""
    lines = read_lines(config.data, *config.reading)
    vocab = Vocab.of(lines)
    for word in config.score:
        vocab.encode_line(word)
    prefix = vocab.encode_line(config.prefix)
    twice = 2 * max(map(len, lines))
    limit = min(config.max_length or twice, twice) + 1  # tokens, the end mark included
    require(len(prefix) < limit, f"`prefix` has {len(prefix)} characters and samples stop at {limit - 1}; shorten it")

    def sample(model: Model, params: Params, n: int = config.samples) -> list[str]:
        drawn = sample_tokens(key, model, params, [prefix] * n, limit, config.sampling)
        return [vocab.decode(row) + "…" * (not ended) for row, ended in zip(drawn.token_BT, drawn.ended_B, strict=True)]

    model, tokens = ngram.ngram(ngram.Config(vocab.size)), tokenize(lines, vocab)
    return Lecture(lines, vocab, list(map(visible, vocab.symbols)), tokens, count_table(vocab, tokens), model, sample)


def tell_data(config: Config, lecture: Lecture, environment: dict) -> dict:
    """1. Describe the data and the device."""
    lines, vocab = lecture.lines, lecture.vocab
    distinct = len(set(lines))
    report: dict[str, Any] = {"lines": len(lines), "distinct": distinct, "repeated": len(lines) - distinct}
    report |= {"shortest": min(lines, key=len), "longest": max(lines, key=len)}
    report |= {"alphabet": "".join(vocab.symbols[1:]), "symbols": vocab.size, "bigrams": len(lecture.tokens.pairs[0])}
    print(f"file       {shown(config.data)}")
    print(f"lines      {len(lines):,}, {distinct:,} of them distinct; {report['repeated']:,} repeat an earlier line")
    print(f"shortest   {clip(report['shortest'])}\nlongest    {clip(report['longest'])}")
    alphabet = clip(report["alphabet"].replace(" ", "␣"), 45)
    print(f"alphabet   {alphabet}  ({len(report['alphabet']):,} characters)")
    print(f"bigrams    {report['bigrams']:,}; the mark {vocab.symbols[0]} starts and ends every line")
    versions, device = environment["versions"], environment["device"]
    print(f"runs on    {device['kind']}, JAX {versions['jax']}, Python {versions['python']}")
    return report


def tell_counts(lecture: Lecture) -> dict:
    """2. Count the bigrams in a dict and in a table."""
    lines, symbols, counts_VV = lecture.lines, lecture.symbols, np.asarray(lecture.counts_VV)
    bigrams = " ".join(first + second for first, second in pairwise([symbols[0], *lines[0], symbols[0]]))
    print(f"bigrams of {clip(lines[0], 20)}: {clip(bigrams, 45)}")

    by_dict_VV, token = np.zeros_like(counts_VV), {symbol: i for i, symbol in enumerate(lecture.vocab.symbols)}
    for (first, second), number in count_dict(lines, mark=lecture.vocab.symbols[0]).items():
        by_dict_VV[token[first], token[second]] = number
    equal, side = np.array_equal(counts_VV, by_dict_VV), len(symbols)
    verdict = "equal in every cell" if equal else "DIFFERENT, which is a bug"
    print(f"counted by a loop into a dict, and by one scatter-add into a {side} x {side} table:\n{verdict}")

    def named(cells: np.ndarray) -> str:
        pairs = (divmod(int(cell), side) for cell in cells)
        return "  ".join(f"{symbols[i]}{symbols[j]} {counts_VV[i, j]:,}" for i, j in pairs)

    order, seen = np.argsort(-counts_VV, axis=None, kind="stable"), int((counts_VV > 0).sum())
    print(f"most common      {named(order[:seen][:6])}")
    print(f"least common     {named(order[:seen][-6:])}")
    print(f"never seen       {counts_VV.size - seen:,} of {counts_VV.size:,} pairs")
    print("why one mark     nothing follows an end mark or precedes a start mark; two marks")
    print(f"                 would waste a row and a column of a {side + 1} x {side + 1} table")
    return {"dict_equals_table": equal, "seen_cells": seen, "zero_cells": counts_VV.size - seen}


def draw_counts(lecture: Lecture, figures: RunFolder | None) -> None:
    """3. Draw the table, and write it as a page."""
    if figures:
        with drawing(figures.file("counts.png"), "the table, darker = more frequent") as path:
            bigram_figures.counts(np.asarray(lecture.counts_VV), lecture.symbols, path)
        write_page(table_page(Table(lecture.lines, "the data")), figures.file("table.html"))
    else:
        print("left out by --no-figures or --section")


def tell_probabilities(lecture: Lecture, smoothing: float) -> Params:
    """4. Turn rows of counts into rows of probabilities."""
    symbols, params = lecture.symbols, ngram.fit(lecture.counts_VV, smoothing)
    prob_VV = np.exp(np.asarray(params["log_prob"]))
    likely = np.argsort(-prob_VV[MARK], kind="stable")[:6]
    print(f"a line starts with   {'   '.join(f'{symbols[i]} {prob_VV[MARK, i]:.3f}' for i in likely)}")
    counts_VV = np.asarray(lecture.counts_VV) + smoothing
    wrong_VV = counts_VV / counts_VV.sum(1)  # (V, V) / (V,) aligns the sums with the columns
    print(f"with N = counts + {smoothing:g}:")
    print("P = N / N.sum(axis=1, keepdims=True)   divides each row by its sum")
    print(f"                                       row 0 sums to {prob_VV[0].sum():.4f}")
    print("P = N / N.sum(axis=1)                  divides the columns instead")
    print(f"                                       row 0 sums to {wrong_VV[0].sum():.4f}")
    return params


def tell_samples(lecture: Lecture, params: Params) -> dict:
    """5. Sample from the table and from the uniform model."""
    uniform = ngram.fit(jnp.zeros_like(lecture.counts_VV))
    drawn = {"table": lecture.sample(lecture.model, params), "uniform": lecture.sample(lecture.model, uniform)}
    print("both models sample with the same random key; … marks a line that was cut\n")
    cli.columns(drawn)
    return drawn


if __name__ == "__main__":
    cli.main(lambda: Config, story)
