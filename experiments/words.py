"""The same models on words: verses of the King James Bible, word by word. Nothing but the vocabulary has changed.

Run it:   python -m experiments.words
          python -m experiments.words --quick          under a minute, on part of the verses
Expect:   perplexity a word of each model; bits a character, to compare with the n-gram over characters; verses that go
          on from "In the beginning", and how long a run of words each copies from the verses it learned from
Takes:    6 to 10 minutes on 2 CPU cores
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from experiments import cli, sweep
from experiments.task import Corpus, Text, count, encode, load
from makemore_jax import data
from makemore_jax.data.vocab import split_words
from makemore_jax.errors import InputError, require
from makemore_jax.loss import evaluate
from makemore_jax.model import Model, Params, size
from makemore_jax.sample import Sampling, longest_copy, sample
from makemore_jax.train import Recipe

NEURAL = {  # sizes and recipes for some ten thousand words and some million of them
    "mlp": ({"window": 5, "embed": 128, "hidden": 256}, Recipe(steps=3000, batch=16, learning_rate=1e-3)),
    "transformer": (
        {"layers": 3, "heads": 4, "embed": 128, "tied": True, "modern": True},
        Recipe(steps=5000, batch=16, learning_rate=2e-3, weight_decay=0.1),
    ),
}
QUICK_STEPS, QUICK_LINES = 20, (1000, 100, 100)  # of train, dev and test
EVERY = 500  # steps between evaluations


@dataclass(frozen=True)
class Config(Text):
    """Count and learn words instead of characters."""

    data: Path = Path("data/verses.txt")
    """Text file in UTF-8, one thing a line; two tenths are held out, for dev and for test."""
    level: str = "word"
    """What a token is."""
    min_count: int = 3
    """Words that come less often in the lines to train on are unknown."""
    prefix: str = "In the beginning"
    """What the samples start with."""
    samples: int = 5
    """How many samples of each model."""
    temperature: float = 0.8
    """Of the samples."""
    seed: int = 0
    """Seed of the weights, the batches and the samples."""
    quick: bool = False
    """A short look: some of the lines, some steps."""
    out: Path = Path("runs/words")
    """Folder for the summary."""
    overwrite: bool = False
    """Replace what the folder holds of another configuration."""
    json: bool = False
    """Print the summary as JSON on the last line."""

    def __post_init__(self):
        require(self.level == "word", f"--level is {self.level!r}; this command is about words")
        require(not self.stream, "--stream is for experiments.train; this command needs its data in memory")
        require(0 < self.samples <= 1000, f"--samples is {self.samples}; it must be from 1 to 1,000")
        require(0 <= self.seed < 2**32, f"--seed is {self.seed}; it must be from 0 to {2**32 - 1}")
        Sampling(self.temperature)


def spelling(corpus: Corpus, side: str) -> float:
    """Nats to spell the unknown words of a side: ln(characters + 1) for each character and for each end.

    A word-level model says only that a word is unknown. With the spelling paid, its bits are those of the whole text,
    and can be compared with a model of characters.
    """
    known = set(corpus.vocab.symbols[data.UNKNOWN + 1 :])
    words = [word for line in getattr(corpus.sides, side) for word in split_words(line)]
    unknown = [word for word in words if word not in known]
    characters = len({character for word in words for character in word}) + 1
    return sum(len(word) + 1 for word in unknown) * math.log(characters)


def bits_a_character(corpus: Corpus, side: str, nats: float) -> float:
    """The nats of a whole side, as bits for each character of its lines and each line end."""
    return nats / math.log(2) / sum(len(line) + 1 for line in getattr(corpus.sides, side))


def judge(corpus: Corpus, model: Model, params: Params, extra: float = 0.0) -> dict:
    """Losses on test; `extra` nats are added to those of the whole side for the bits."""
    quality = evaluate(model, params, corpus.tokens["test"])
    bits = bits_a_character(corpus, "test", quality.nats * quality.tokens + extra)
    return {
        "parameters": size(params),
        "nats": quality.nats,
        "perplexity": quality.perplexity,
        "bits_a_character": bits,
    }


def go_on(corpus: Corpus, model: Model, params: Params, config: Config) -> tuple[list[str], list[int]]:
    """Lines from the prefix, and of each the longest run of words that is copied."""
    prefixes = [corpus.vocab.encode_line(config.prefix)] * config.samples
    sampling, allowed = Sampling(config.temperature), corpus.vocab.drawable_V
    drawn = sample(jax.random.key(config.seed), model, params, prefixes, corpus.block, sampling, allowed)
    lines = [row[row > 0] for row in np.asarray(drawn.token_BT)]
    stream_M = corpus.tokens["train"].stream_M
    return [corpus.vocab.decode(line) for line in lines], [longest_copy(line, stream_M) for line in lines]


def run(config: Config) -> dict:
    """Count, learn, compare, and make verses."""
    corpus = load(config)
    if config.quick:
        corpus = encode(
            config, corpus.digest, data.Split(*(side[:n] for side, n in zip(corpus.sides, QUICK_LINES, strict=True)))
        )
    try:  # a prefix that cannot be read stops the run here
        length = len(corpus.vocab.encode_line(config.prefix))
    except InputError as error:
        raise InputError(f"--prefix {config.prefix!r}: {error}") from None
    require(length < corpus.block, f"--prefix has {length} words; the longest line of the data {corpus.block - 1}")
    cli.open_run(config, config.out, corpus.digest)
    lines = ", ".join(f"{name} {len(side):,}" for name, side in corpus.sides._asdict().items())
    test_M = corpus.tokens["test"].stream_M
    print(f"{config.data}: {lines} lines, {np.sum(test_M > 0):,} words in test; {corpus.vocab.size - 2:,} are known,")
    print(f"{np.mean(test_M == data.UNKNOWN):.2%} of test are not, and to spell those is counted in the bits\n")
    print(f"{'model':<22}{'parameters':>12}{'seconds':>9}{'perplexity a word':>19}{'bits a character':>18}")
    rows = {}

    def show(name: str, began: float, row: dict, unit: str) -> None:
        rows[name] = row
        perplexity = f"{row['perplexity']:>19.2f}" if unit == "word" else f"{'':>19}"
        seconds = time.perf_counter() - began
        print(
            f"{name:<22}{row['parameters']:>12,}{seconds:>9.1f}{perplexity}{row['bits_a_character']:>18.4f}", flush=True
        )

    began, letters = time.perf_counter(), encode(Text(config.data, fold=config.fold), corpus.digest, corpus.sides)
    show("characters, 8-gram", began, judge(letters, *count(letters, 8)), "character")
    quick = {"steps": QUICK_STEPS} if config.quick else {}
    learn = lambda name: sweep.learn(name, *NEURAL[name], corpus, config.seed, EVERY, **quick)
    extra, makers = spelling(corpus, "test"), {}
    for name, make in {
        "words, 2-gram": lambda: count(corpus, 2),
        "words, 4-gram": lambda: count(corpus, 4),
        "words, mlp": lambda: learn("mlp"),
        "words, transformer": lambda: learn("transformer"),
    }.items():
        began = time.perf_counter()
        makers[name] = make()
        show(name, began, judge(corpus, *makers[name], extra), "word")

    held_out = [corpus.vocab.encode(line) for line in corpus.sides.test[:50]]
    typical = np.median([longest_copy(line, corpus.tokens["train"].stream_M) for line in held_out])
    print(
        f"\nA held-out line shares a run of {typical:.0f} words with the train lines (median). Lines made, and theirs:"
    )
    for name, made in makers.items():
        texts, runs = go_on(corpus, *made, config)
        rows[name] |= {"samples": texts, "longest_copies": runs}
        cli.title(name)
        for text, copied in zip(texts, runs, strict=True):
            print(f"{copied:>4}  {cli.printable(text)}")
    summary = {"experiment": "words", **cli.environment(), "models": rows, "held_out_longest_copy": typical}
    cli.write_json(config.out / "summary.json", summary)
    return summary


if __name__ == "__main__":
    cli.main(lambda: Config, run)
