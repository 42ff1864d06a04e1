"""Train the same models on words: the verses of the King James Bible, with words instead of characters as tokens.

Run it:   python -m experiments.words
          python -m experiments.words --quick          a quick look at some of the verses
Expect:   the perplexity per word of each model; its bits per character, to compare with an n-gram of characters;
          verses that continue "In the beginning", with the longest run of words that each copies from train lines
Stop it:  rows are kept; the same command with --resume continues
Takes:    6 to 10 minutes on 2 CPU cores; with --quick about one
"""

import contextlib
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

import makemore_jax as mm
from makemore_jax.data.corpus import Encoding, encode
from makemore_jax.data.lines import Split, digest, read_lines, split
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.data.words import UNKNOWN, split_words
from makemore_jax.errors import InputError, require
from makemore_jax.files import embedded
from makemore_jax.inference.draw import draw
from makemore_jax.inference.sampler import SamplingParams
from makemore_jax.models.interface import num_params
from makemore_jax.recipe import Default

from .shared import cli
from .shared.flags import Hidden, Seed, Text, Typed
from .shared.rows import Rows, Study, keep

NEURAL = {  # sizes and recipes for about ten thousand distinct words, and a million words in all
    "mlp": ({"window": 5, "embed": 128, "hidden": 256}, mm.Recipe(steps=3000, batch=Default(16), learning_rate=1e-3)),
    "transformer": (
        {"layers": 3, "heads": 4, "embed": 128, "tied": True, "modern": True},
        mm.Recipe(steps=5000, batch=Default(16), learning_rate=2e-3, weight_decay=0.1),
    ),
}
CHARACTER_ORDER, WORD_ORDERS = 8, (2, 4)  # of the n-grams with back-off
MIN_COUNT = 3  # of a known word
PREFIX = "In the beginning"
EVALUATE_EVERY = 500  # steps; the best weights on dev are kept
QUICK_STEPS, QUICK_LINES = 20, Split(train=1000, dev=100, test=100)
READ_LINES = 50  # test lines for which the longest copy is measured, as a reference for samples


@dataclass(frozen=True, kw_only=True)
class Config(Study, Seed, Text):
    """Train models of words instead of characters, and compare them."""

    data: Path = field(default_factory=partial(embedded, "verses.txt"))
    """Text file in UTF-8, one item per line; a tenth of the lines is held out for dev and a tenth for test."""
    tokens: Hidden = "word"
    vocab_size: Hidden = None
    tokenizer: Hidden = None
    separator: Hidden = None
    context_length: Hidden = None
    min_count: int | None = None
    """Treat words that occur fewer times than this in the train lines as one unknown word; by default 3, or fewer
    where no word occurs as often."""
    prefix: Typed | None = None
    """Text that every sample starts with; by default "In the beginning", or nothing if its words are unknown."""
    samples: int = 5
    """Number of samples to draw from each model."""
    temperature: float = 0.8
    """Sampling temperature: below 1 is more conservative, above 1 more varied."""
    quick: bool = False
    """Take a quick look, with a few of the lines and a few training steps."""
    out: Path = Path("runs/words")
    """Folder for config.json and summary.json."""
    no_figures: Hidden = True

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.samples <= 1000, f"`samples` is {self.samples}; it must be from 1 to 1,000")
        SamplingParams(self.temperature)


def run(config: Config) -> dict:
    """Train the models, compare them, and sample verses."""
    config, words, characters = load(config)
    config = replace(config, prefix=find_prefix(config.prefix, words))  # before anything is written
    with keep(config, words.digest, experiment="words") as kept:
        introduce(config, words)
        rows = compare(config, words, characters, kept)
        held_out = [words.vocab.encode(line) for line in words.lines.test[:READ_LINES]]
        typical = np.median([longest_copy(line, words.tokens.train.stream_M) for line in held_out])
        print("\nsamples, each after its longest copy: the number of words in the longest run that train lines share")
        print(f"(the median over test lines is {typical:.0f})")
        for name, row in rows.items():
            if "samples" in row:
                cli.title(name)
                for text, copied in zip(row["samples"], row["longest_copies"], strict=True):
                    print(f"{copied:>4}  {cli.printable(text)}")
        return kept.finish(held_out_longest_copy=typical)


def find_prefix(prefix: str | None, words: mm.Corpus) -> str:
    """The given prefix, or the default one if the models know its words, or else none."""
    if prefix is None:
        with contextlib.suppress(InputError):
            return find_prefix(PREFIX, words)
        return ""
    try:
        length, longest = len(words.vocab.encode_line(prefix)), words.context - 1
    except InputError as error:
        raise InputError(f"`prefix` {prefix!r}: {error}") from None
    require(length <= longest, f"`prefix` has {length} words; the longest line of the data has {longest}")
    return prefix


def load(config: Config) -> tuple[Config, mm.Corpus, mm.Corpus]:
    """Load the same lines as words and as characters, with `quick` only the first ones; decide on the `min_count`."""
    lines = read_lines(config.data, *config.reading)
    parts = split(lines)
    if config.quick:
        parts = Split(*(part[:count] for part, count in zip(parts, QUICK_LINES, strict=True)))
    counts = Counter(word for line in parts.train for word in split_words(line))
    fitting = min(MIN_COUNT, max(counts.values(), default=1))
    least = fitting if config.min_count is None else config.min_count
    encodings = Encoding("word", config.lowercase, least), Encoding("character", config.lowercase)
    words, characters = (encode(parts, digest(lines), encoding, str(config.data)) for encoding in encodings)
    return replace(config, min_count=least), words, characters


def introduce(config: Config, words: mm.Corpus) -> None:
    """Print the sizes of the data."""
    lines = ", ".join(f"{name} {len(part):,}" for name, part in words.lines.items())
    known, test_M = words.vocab.size - 2, words.tokens.test.stream_M
    print(f"{cli.shown(config.data)}: {lines} lines; {known:,} known words, {np.sum(test_M > 0):,} words in test")
    print(f"a known word occurs at least {config.min_count} times in train")
    unknown = np.mean(test_M == UNKNOWN)
    print(f"{unknown:.2%} of the test tokens are unknown words; the bits include spelling them")
    print("backoff N: the n-gram of order N with back-off")
    start = (
        f"samples start with {config.prefix!r}" if config.prefix else f"samples have no prefix: {PREFIX!r} is unknown"
    )
    print(f"{start}\n")
    if unknown > np.mean(test_M > UNKNOWN):
        few = f"{config.data}: most test words are unknown, so there is little to learn"
        warnings.warn(f"{few}; choose a text whose words recur", stacklevel=2)


def compare(config: Config, words: mm.Corpus, characters: mm.Corpus, kept: Rows) -> dict[str, dict]:
    """Count or train every model, print its losses, and sample from the models of words; return the rows."""
    columns = {"parameters": ">12,", "seconds": ">9.1f", "perplexity_per_word": ">21.2f"}
    table = cli.Table(model="<23", **columns, bits_per_character=">20.4f")
    unknown_nats = spelling(words.vocab, words.lines.test)

    def measure(make: Callable[[], mm.Trained], corpus: mm.Corpus) -> dict:
        began, trained = time.perf_counter(), make()
        quality = mm.evaluate(trained, corpus.tokens.test)
        nats = quality.nats * quality.tokens + (unknown_nats if corpus is words else 0)
        row = {"parameters": num_params(trained.params), "nats": quality.nats, "perplexity": quality.perplexity}
        row |= {"bits_per_character": bits_per_character(nats, corpus.lines.test)}
        row |= {"seconds": time.perf_counter() - began}
        return row | (continue_prefix(trained, words.tokens.train.stream_M, config) if corpus is words else {})

    name = f"characters, backoff {CHARACTER_ORDER}"
    makers = {name: (partial(mm.count, characters, CHARACTER_ORDER), characters)}
    makers |= {f"words, backoff {order}": (partial(mm.count, words, order), words) for order in WORD_ORDERS}
    makers |= {f"words, {name}": (partial(learn, name, words, config), words) for name in NEURAL}
    for name, made in makers.items():
        row = kept.measure(name, partial(measure, *made))
        table.row(model=name, perplexity_per_word=row["perplexity"] if made[1] is words else None, **row)
    return kept.rows


def learn(name: str, corpus: mm.Corpus, config: Config) -> mm.Trained:
    """Train a neural model, and keep its best weights on dev."""
    sizes, recipe = NEURAL[name]
    steps = QUICK_STEPS if config.quick else recipe.steps
    evaluations = max(1, steps // EVALUATE_EVERY)
    return mm.sweep(name, corpus, [config.seed], recipe=recipe, steps=steps, evaluations=evaluations, **sizes).best[0]


def spelling(vocab: Vocab, lines: Sequence[str]) -> float:
    """The nats to spell the unknown words of some lines: ln(characters + 1) for each character and each word end.

    A model of words says only that a word is unknown. With the spelling added, its bits cover the whole text and can
    be compared with those of a model of characters.
    """
    known = set(vocab.symbols[UNKNOWN + 1 :])
    words = [word for line in lines for word in split_words(line)]
    characters = set("".join(words))
    return sum(len(word) + 1 for word in words if word not in known) * math.log(len(characters) + 1)


def bits_per_character(nats: float, lines: Sequence[str]) -> float:
    """Convert the nats of all these lines into bits per character, line ends included."""
    return nats / math.log(2) / sum(len(line) + 1 for line in lines)


def continue_prefix(trained: mm.Trained, stream_M: np.ndarray, config: Config) -> dict[str, list]:
    """Sample lines that start with the prefix, and measure the longest copy in each."""
    drawn = draw(
        config.key("samples"), trained, config.samples, config.prefix or "", SamplingParams(config.temperature)
    )
    lines = [row[row != MARK] for row in drawn.token_BT]
    copies = [longest_copy(line, stream_M) for line in lines]
    return {"samples": [trained.vocab.decode(line) for line in lines], "longest_copies": copies}


def longest_copy(line_T: Sequence[int] | np.ndarray, stream_M: np.ndarray) -> int:
    """The length of the longest run of tokens in a line, without its end mark, that also occurs in a token stream.

    This measures copying in long lines, which are rarely copied whole.
    """
    text, line = _as_text(stream_M), _as_text(line_T)
    longest = 0
    for first in range(len(line)):
        while first + longest < len(line) and line[first : first + longest + 1] in text:
            longest += 1
    return longest


def _as_text(ids: Sequence[int] | np.ndarray) -> str:
    """Turn each token into one character, so that a run of tokens can be found by a text search."""
    return (np.asarray(ids, np.uint32) + 0x10000).tobytes().decode("utf-32-le")


if __name__ == "__main__":
    cli.main(lambda: Config, run)
