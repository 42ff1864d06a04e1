"""What a training command starts from: the flags that a model brings, its recipe, the data, the losses to beat."""

import dataclasses
import itertools
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tyro
from tqdm import tqdm

from makemore_jax import data
from makemore_jax.data import LEVELS
from makemore_jax.errors import InputError, require
from makemore_jax.loss import evaluate
from makemore_jax.model import Model, Params
from makemore_jax.models import MODELS, NEURAL, backoff, ngram
from makemore_jax.sample import novelty
from makemore_jax.train import Recipe

RECIPES = {  # each model's own good defaults, where they differ from those of `Recipe`
    "bigram": Recipe(steps=2000, learning_rate=0.1, weight_decay=0.0),
    "mlp": Recipe(steps=3000, learning_rate=4e-3),  # the wider a model, the sooner it knows train by heart
    "wavenet": Recipe(steps=3000),
    "rnn": Recipe(steps=4000, learning_rate=5e-3),
    "gru": Recipe(steps=4000, learning_rate=5e-3),
    "lstm": Recipe(steps=4000, learning_rate=5e-3),
    # The rate is for a width of 64; four times as wide wants a quarter of it.
    "transformer": Recipe(steps=4000, batch=96, learning_rate=8e-3, weight_decay=0.2),
}
STREAM_LINES = 10_000  # of a side of data in files are evaluated


def config_type(base: type, model: str) -> type:
    """`base` with this model's recipe and sizes as flags more; what the data or the model's name decides is none."""
    sizes = MODELS[model][0]
    preset = {"vocab": 1, "block": 1} | getattr(sizes, "keywords", {})
    sizes = getattr(sizes, "func", sizes)
    fixed = [
        (item.name, tyro.conf.Suppress[tyro.conf.Fixed[Any]], preset[item.name])
        for item in dataclasses.fields(sizes)
        if item.name in preset
    ]
    sizes = dataclasses.make_dataclass(f"{model}_sizes", fixed, bases=(sizes,), frozen=True)
    parts = [
        ("recipe", tyro.conf.OmitArgPrefixes[Recipe], RECIPES.get(model, Recipe())),
        ("sizes", tyro.conf.OmitArgPrefixes[sizes], dataclasses.field(default_factory=sizes)),
    ]
    whole = dataclasses.make_dataclass(base.__name__, parts, bases=(base,), frozen=True)
    whole.__doc__ = base.__doc__
    return whole


def model_flag(flags: list[str], default: str, models: tuple[str, ...] = NEURAL) -> str:
    """The value of the last `--model` among the flags, which decides what other flags there are."""
    model = default
    for flag, following in zip(flags, [*flags[1:], ""], strict=True):
        name, given, value = flag.partition("=")
        if name == "--model":
            model = value if given else following
    require(model in models, f"--model is {model!r}; it must be one of {', '.join(models)}")
    return model


@dataclass(frozen=True)
class Text:
    """What is learned from: a file, and what its tokens are."""

    data: Path = Path("data/names.txt")
    """Text file in UTF-8, one thing a line; two tenths are held out, for dev and for test."""
    max_length: int | None = None
    """Cut lines of the data to this many characters."""
    level: Literal[LEVELS] = "character"
    """What a token is; words are letters with inner apostrophes and hyphens, numbers, and single punctuation marks."""
    fold: bool = False
    """Make all letters small."""
    min_count: int = 1
    """At the level of words: those that come less often in the lines to train on are unknown."""
    stream: bool = False
    """Keep the tokens in files beside the data, and read batches from there: for data larger than memory."""


class Corpus(NamedTuple):
    """The data, split and encoded."""

    digest: str  # of the lines
    vocab: data.Vocab
    sides: data.Split | None  # None where they are not in memory
    tokens: dict[str, data.Tokens]  # of train, dev and test
    block: int  # tokens of the longest line, its end mark included

    def novelty(self, texts: list[str]) -> dict:
        """How new these are: `sample.novelty` against the lines as the vocabulary spells them."""
        train, dev, test = (map(self.vocab.canonical, side) for side in self.sides)
        return novelty(texts, train, itertools.chain(dev, test))

    @property
    def measured(self) -> dict[str, data.Tokens]:
        """Tokens of each side to report a loss on: of train in files the first lines, as of dev and test."""
        return {name: first_lines(tokens) for name, tokens in self.tokens.items()} if self.on_host else self.tokens

    @property
    def on_host(self) -> bool:
        """Whether batches are gathered on the host, from files."""
        return self.sides is None


def load(text: Text) -> Corpus:
    """Read a file and hold out two tenths of it.

    Raises:
      InputError: what `data.read_lines` and `data.Vocab.of` raise, or too few lines to hold some out.
    """
    if text.stream:
        return load_streamed(text)
    lines = data.read_lines(text.data, text.max_length, text.fold)
    return encode(text, data.digest(lines), data.split(lines))


def encode(text: Text, digest: str, sides: data.Split) -> Corpus:
    """Encode the sides of a split of a file. Characters are those of all lines, words those of the train lines."""
    held = sides.train if text.level == "word" else itertools.chain(*sides)
    check_sides(text, [len(side) for side in sides])
    vocab = data.Vocab.of(held, text.level, text.fold, text.min_count)
    tokens = {name: data.tokenize(side, vocab) for name, side in sides._asdict().items()}
    return Corpus(digest, vocab, sides, tokens, max(int(np.max(side.length_N)) for side in tokens.values()))


def load_streamed(text: Text) -> Corpus:
    """The same from token files beside the data, made if they are not there or not of this file.

    Of dev and test, the first `STREAM_LINES` lines are taken: an evaluation reads all of them.
    """
    settings = [text.level, "folded" if text.fold else "", text.min_count, text.max_length or ""]
    folder = Path(f"{text.data}.tokens") / "-".join(str(setting) for setting in settings if setting != "")
    require(text.data.is_file(), f"{text.data}: no such file; name a text file")
    recipe = data.disk.Recipe(text.level, text.fold, text.min_count, text.max_length)
    try:
        stored = data.open_store(folder, text.data, recipe)
    except InputError as error:
        print(f"{error}; encoding {text.data} anew" if folder.exists() else f"encoding {text.data} into {folder}")
        began, size = time.perf_counter(), text.data.stat().st_size
        with tqdm(total=2 * size, desc="encode", unit="B", unit_scale=True, disable=None, leave=False) as bar:
            stored = data.write_store(folder, text.data, recipe, bar.update)
        seconds = time.perf_counter() - began
        print(f"{size / 1e6:,.1f} MB in {seconds:.1f} s, two passes: {2 * size / 1e6 / seconds:.0f} MB a second")
    check_sides(text, [len(side.length_N) for side in stored.tokens.values()])
    block = max(int(np.max(side.length_N)) for side in stored.tokens.values())
    tokens = {name: side if name == "train" else first_lines(side) for name, side in stored.tokens.items()}
    return Corpus(stored.digest, stored.vocab, None, tokens, block)


def first_lines(tokens: data.Tokens) -> data.Tokens:
    """The first `STREAM_LINES` lines."""
    return data.Tokens(tokens.stream_M, tokens.start_N[:STREAM_LINES], tokens.length_N[:STREAM_LINES])


def check_sides(text: Text, lines: list[int]) -> None:
    """Raise `InputError` where a side of the split has no line."""
    require(all(lines), f"{text.data}: {sum(lines)} lines are too few to hold some out for dev and test; add more")


def line_to_read(config: Any) -> str:
    """The line of `--read`, or the longest of the first hundred train lines.

    Raises:
      InputError: the model could not read it; said before it is trained.
    """
    corpus = load(config)
    train, line = corpus.tokens["train"], config.read
    if not line:
        starts = zip(train.start_N[:100].tolist(), train.length_N[:100].tolist(), strict=True)
        lines = [train.stream_M[start + 1 : start + length] for start, length in starts]
        known = [ids for ids in lines if corpus.vocab.drawable_V[ids].all()]
        require(bool(known), "the first hundred lines all have unknown words; name a line with --read")
        line = corpus.vocab.decode(max(known, key=len))
    length = len(corpus.vocab.encode_line(line))
    require(length < corpus.block, f"--read has {length} symbols; the longest line of the data {corpus.block - 1}")
    return line


def count(corpus: Corpus, order: int = 5) -> tuple[Model, Params]:
    """The n-gram with back-off of the train lines."""
    config = backoff.Config(corpus.vocab.size, order)
    return backoff.backoff(config), backoff.fit(config, *corpus.tokens["train"].pairs)


def baselines(corpus: Corpus) -> dict[str, float]:
    """Dev losses that need no training: uniform, and counts of the train lines of growing order.

    Of tokens in files, dense tables of orders 1 and 2 are counted, with 1 added to each cell.
    """
    vocab, train, dev = corpus.vocab.size, corpus.tokens["train"], corpus.tokens["dev"]
    levels = {"uniform": math.log(vocab)}
    for name, order in (("unigram", 1), ("bigram", 2), ("n-gram", 5)):
        if not corpus.on_host:
            levels[name] = evaluate(*count(corpus, order), dev).nats
        elif order <= 2 and vocab**order <= ngram.MAX_CELLS:
            config = ngram.Config(vocab, order)
            params = ngram.fit(ngram.count_stream(config, train.stream_M), 1.0)
            levels[name] = evaluate(ngram.ngram(config), params, dev).nats
    return levels


def plan_batches(recipe: Recipe, corpus: Corpus, devices: int = 1) -> tuple[data.Tokens, data.Plan]:
    """The train lines and the layout of their batches.

    Raises:
      InputError: a batch holds more lines than there are.
    """
    lines = len(corpus.tokens["train"].length_N)
    few = f"a batch holds {recipe.batch} lines, and there are {lines} to train on; add lines, or lower --batch"
    require(recipe.batch <= lines, few)
    return data.plan(corpus.tokens["train"], recipe.lines_at_once, rows=devices)


def sizes_of(name: str, sizes: dict, corpus: Corpus) -> dict:
    """A model's sizes: these, and those that the data decides."""
    config = MODELS[name][0]
    fields = getattr(config, "func", config).__dataclass_fields__
    return sizes | {"vocab": corpus.vocab.size} | ({"block": corpus.block} if "block" in fields else {})
