"""What a training command starts from: the flags that a model brings, its recipe, the data, the losses to beat."""

import dataclasses
import math
from pathlib import Path
from typing import Any, NamedTuple

import tyro

from makemore_jax import data
from makemore_jax.errors import require
from makemore_jax.loss import evaluate
from makemore_jax.models import MODELS, NEURAL, backoff
from makemore_jax.train import Recipe

RECIPES = {  # each model's own good defaults, where they differ from those of `Recipe`
    "bigram": Recipe(steps=2000, learning_rate=0.1, weight_decay=0.0),
    "mlp": Recipe(steps=3000, learning_rate=4e-3),  # the wider a model, the sooner it knows train by heart
    "wavenet": Recipe(steps=3000),
    "rnn": Recipe(steps=4000, learning_rate=5e-3),
    "gru": Recipe(steps=4000, learning_rate=5e-3),
    "lstm": Recipe(steps=4000, learning_rate=5e-3),
}


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


class Corpus(NamedTuple):
    """The data, split and encoded."""

    lines: list[str]
    vocab: data.Vocab
    sides: data.Split
    tokens: dict[str, data.Tokens]  # of train, dev and test
    block: int  # tokens of the longest line, its end mark included


def load(path: Path, max_length: int | None) -> Corpus:
    """Read a file and hold out two tenths of it.

    Raises:
      InputError: what `data.read_lines` raises, or too few lines to hold some out.
    """
    lines = data.read_lines(path, max_length)
    return corpus_of(path, lines, data.split(lines))


def corpus_of(path: Path, lines: list[str], sides: data.Split) -> Corpus:
    """Encode the sides of a split of the lines of a file.

    Raises:
      InputError: too few lines to hold some out.
    """
    vocab = data.Vocab.of(lines)
    require(all(sides), f"{path}: {len(lines)} lines are too few to hold some out for dev and test; add more")
    tokens = {name: data.tokenize(side, vocab) for name, side in sides._asdict().items()}
    return Corpus(lines, vocab, sides, tokens, max(map(len, lines)) + 1)


def line_to_read(config: Any) -> str:
    """The line of `--read`, or the longest of the first hundred train lines.

    Raises:
      InputError: the model could not read it; said before it is trained.
    """
    corpus = load(config.data, config.max_length)
    line = config.read or max(corpus.sides.train[:100], key=len)
    length = len(corpus.vocab.encode_line(line))
    require(length < corpus.block, f"--read has {length} characters; the longest line of the data {corpus.block - 1}")
    return line


def baselines(corpus: Corpus) -> dict[str, float]:
    """Dev losses that need no training: uniform, and counts of the train lines of growing order."""
    vocab, (x_N, y_N) = corpus.vocab.size, corpus.tokens["train"].pairs
    levels = {"uniform": math.log(vocab)}
    for name, order in (("unigram", 1), ("bigram", 2), ("n-gram", 5)):
        config = backoff.Config(vocab, order)
        params = backoff.fit(config, x_N, y_N)
        levels[name] = evaluate(backoff.backoff(config), params, corpus.tokens["dev"]).nats
    return levels


def plan_batches(recipe: Recipe, corpus: Corpus) -> tuple[data.Tokens, data.Plan]:
    """The train lines and the layout of their batches.

    Raises:
      InputError: a batch holds more lines than there are.
    """
    lines = len(corpus.sides.train)
    require(
        recipe.batch <= lines, f"--batch is {recipe.batch}, and there are {lines} lines to train on; take a smaller"
    )
    return data.plan(corpus.tokens["train"], recipe.rows)


def sizes_of(config: Any, corpus: Corpus) -> dict:
    """The model's sizes: those of the flags, and those that the data decides."""
    sizes = dataclasses.asdict(config.sizes) | {"vocab": corpus.vocab.size}
    return sizes | ({"block": corpus.block} if "block" in sizes else {})
