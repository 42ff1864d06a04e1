"""The same models on words: the verses of the King James Bible, word by word. Only the vocabulary has changed.

Run it:   python -m experiments.words
          python -m experiments.words --quick          a quick look, at some of the verses
Expect:   the perplexity per word of each model; its bits per character, to compare with an n-gram of characters;
          verses that continue "In the beginning", and how long a run of words each copies from the train lines
Takes:    6 to 10 minutes on 2 CPU cores; with --quick about one
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np

import makemore_jax as mm
from experiments.shared import cli
from experiments.shared.flags import Hidden, Output, Seed, Text
from makemore_jax.data.corpus import Encoding, encode
from makemore_jax.data.lines import Split, digest, read_lines, split
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.data.words import UNKNOWN, split_words
from makemore_jax.errors import InputError, require
from makemore_jax.inference.draw import draw
from makemore_jax.inference.sampler import SamplingParams
from makemore_jax.models.interface import num_params

NEURAL = {  # sizes and recipes for about ten thousand distinct words and a million in all
    "mlp": ({"window": 5, "embed": 128, "hidden": 256}, mm.Recipe(steps=3000, batch=16, learning_rate=1e-3)),
    "transformer": (
        {"layers": 3, "heads": 4, "embed": 128, "tied": True, "modern": True},
        mm.Recipe(steps=5000, batch=16, learning_rate=2e-3, weight_decay=0.1),
    ),
}
CHARACTER_ORDER, WORD_ORDERS = 8, (2, 4)  # of the n-grams
EVALUATE_EVERY = 500  # steps; the best weights on dev are kept
QUICK_STEPS, QUICK_LINES = 20, Split(train=1000, dev=100, test=100)
READ_LINES = 50  # of test: how long a run of words do held-out lines share with train lines?


@dataclass(frozen=True, kw_only=True)
class Config(Output, Seed, Text):
    """Count and learn words instead of characters."""

    data: Path = Path("data/verses.txt")
    """Text file in UTF-8, one thing per line; a tenth of the lines is held out for dev, a tenth for test."""
    tokens: Hidden = "word"
    vocab_size: Hidden = None
    tokenizer: Hidden = None
    separator: Hidden = None
    context_length: Hidden = None
    min_count: int = 3
    """Words seen fewer times than this in the training lines become one unknown word."""
    prefix: str = "In the beginning"
    """Text that every sample starts with."""
    samples: int = 5
    """Number of samples from each model."""
    temperature: float = 0.8
    """Sampling temperature: below 1 is more conservative, above 1 more varied."""
    quick: bool = False
    """A quick look: a few of the lines, and a few training steps."""
    out: Path = Path("runs/words")
    """Folder for config.json and summary.json."""
    no_figures: Hidden = True

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.samples <= 1000, f"`samples` is {self.samples}; it must be from 1 to 1,000")
        SamplingParams(self.temperature)


def run(config: Config) -> dict:
    """Count, learn, compare, and sample verses."""
    words, characters = load(config)
    try:  # a prefix that the models cannot read is refused before anything is written
        length = len(words.vocab.encode_line(config.prefix))
    except InputError as error:
        raise InputError(f"`prefix` {config.prefix!r}: {error}") from None
    require(
        length < words.context, f"`prefix` has {length} words; the longest line of the data has {words.context - 1}"
    )
    with cli.claim(config, config.out, words.digest) as folder:
        introduce(config, words)
        rows, models = compare(config, words, characters)
        stream_M = words.tokens.train.stream_M
        held_out = [words.vocab.encode(line) for line in words.lines.test[:READ_LINES]]
        typical = np.median([longest_copy(line, stream_M) for line in held_out])
        print("\nsamples, each after its longest copy: the longest run of words that it shares with a train line")
        print(f"(the median over lines of test is {typical:.0f})")
        for name, trained in models.items():
            texts, copies = continue_prefix(trained, stream_M, config)
            rows[name] |= {"samples": texts, "longest_copies": copies}
            cli.title(name)
            for text, copied in zip(texts, copies, strict=True):
                print(f"{copied:>4}  {cli.printable(text)}")
        summary = {"experiment": "words", **cli.environment(), "models": rows, "held_out_longest_copy": typical}
        folder.write_json("summary.json", summary)
    return summary


def load(config: Config) -> tuple[mm.Corpus, mm.Corpus]:
    """The same lines as words and as characters; with `quick`, only the first of them."""
    lines = read_lines(config.data, config.max_length, config.lowercase)
    parts = split(lines)
    if config.quick:
        parts = Split(*(part[:count] for part, count in zip(parts, QUICK_LINES, strict=True)))
    encodings = Encoding("word", config.lowercase, config.min_count), Encoding("character", config.lowercase)
    return tuple(encode(parts, digest(lines), encoding, str(config.data)) for encoding in encodings)


def introduce(config: Config, words: mm.Corpus) -> None:
    """Print the sizes of the data."""
    lines = ", ".join(f"{name} {len(part):,}" for name, part in words.lines.items())
    known, test_M = words.vocab.size - 2, words.tokens.test.stream_M
    print(f"{cli.shown(config.data)}: {lines} lines; {known:,} known words, {np.sum(test_M > 0):,} words in test")
    print(f"{np.mean(test_M == UNKNOWN):.2%} of the tokens of test are unknown words; the bits include spelling them\n")


def compare(config: Config, words: mm.Corpus, characters: mm.Corpus) -> tuple[dict[str, dict], dict[str, mm.Trained]]:
    """Count or train every model and print how good it is; returns all measurements, and the models of words."""
    columns = {"parameters": ">12,", "seconds": ">9.1f", "perplexity_per_word": ">21.2f"}
    table = cli.Table(model="<22", **columns, bits_per_character=">20.4f")
    rows, models = {}, {}

    def measure(name: str, corpus: mm.Corpus, make: Callable[[], mm.Trained], unknown_nats: float = 0.0) -> mm.Trained:
        began, trained = time.perf_counter(), make()
        quality = mm.evaluate(trained, corpus.tokens.test)
        bits = bits_per_character(quality.nats * quality.tokens + unknown_nats, corpus.lines.test)
        rows[name] = {"parameters": num_params(trained.params), "nats": quality.nats, "perplexity": quality.perplexity}
        rows[name] |= {"bits_per_character": bits}
        per_word = quality.perplexity if corpus is words else None
        table.row(model=name, seconds=time.perf_counter() - began, perplexity_per_word=per_word, **rows[name])
        return trained

    measure(f"characters, {CHARACTER_ORDER}-gram", characters, partial(mm.count, characters, CHARACTER_ORDER))
    makers = {f"words, {order}-gram": partial(mm.count, words, order) for order in WORD_ORDERS}
    makers |= {f"words, {name}": partial(learn, name, words, config) for name in NEURAL}
    unknown_nats = spelling(words.vocab, words.lines.test)
    for name, make in makers.items():
        models[name] = measure(name, words, make, unknown_nats)
    return rows, models


def learn(name: str, corpus: mm.Corpus, config: Config) -> mm.Trained:
    """A neural model at its best evaluation on dev."""
    sizes, recipe = NEURAL[name]
    steps = QUICK_STEPS if config.quick else recipe.steps
    evaluations = max(1, steps // EVALUATE_EVERY)
    return mm.sweep(name, corpus, [config.seed], recipe=recipe, steps=steps, evaluations=evaluations, **sizes).best[0]


def spelling(vocab: Vocab, lines: Sequence[str]) -> float:
    """Nats to spell the unknown words of some lines: ln(characters + 1) for each of their characters and their ends.

    A model of words says only that a word is unknown. With the spelling added, its bits are those of the whole text,
    and can be compared with those of a model of characters.
    """
    known = set(vocab.symbols[UNKNOWN + 1 :])
    words = [word for line in lines for word in split_words(line)]
    characters = set("".join(words))
    return sum(len(word) + 1 for word in words if word not in known) * math.log(len(characters) + 1)


def bits_per_character(nats: float, lines: Sequence[str]) -> float:
    """The nats of all these lines, as bits for each character and each line end."""
    return nats / math.log(2) / sum(len(line) + 1 for line in lines)


def continue_prefix(trained: mm.Trained, stream_M: np.ndarray, config: Config) -> tuple[list[str], list[int]]:
    """Samples that start with the prefix, and the length of the longest copy in each."""
    key, sampling = jax.random.key(config.seed), SamplingParams(config.temperature)
    drawn = draw(key, trained, config.samples, config.prefix, sampling)
    lines = [row[row != MARK] for row in drawn.token_BT]
    return [trained.vocab.decode(line) for line in lines], [longest_copy(line, stream_M) for line in lines]


def longest_copy(line_T: Sequence[int], stream_M: np.ndarray) -> int:
    """The length of the longest run of tokens of a line, without its end mark, that occurs in a token stream.

    A measure of copying for long lines, which are hardly ever copied whole.
    """
    text, line = _as_text(stream_M), _as_text(line_T)
    longest = 0
    for first in range(len(line)):
        while first + longest < len(line) and line[first : first + longest + 1] in text:
            longest += 1
    return longest


def _as_text(ids: Sequence[int]) -> str:
    """One character for each token, so that a search for a run of tokens is a search in text."""
    return (np.asarray(ids, np.uint32) + 0x10000).tobytes().decode("utf-32-le")


if __name__ == "__main__":
    cli.main(lambda: Config, run)
