"""Flags: those that commands share, and those that a model brings; a docstring under a field is its --help."""

import contextlib
import dataclasses
import io
import itertools
import re
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from makemore_jax.data import corpus
from makemore_jax.data.corpus import Corpus, Encoding
from makemore_jax.data.tokenizers import TOKENIZERS, find_tokenizer
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError, require
from makemore_jax.models.registry import MODELS, NEURAL, PRESETS
from makemore_jax.recipe import Recipe
from makemore_jax.runs.folder import open_run


def unescape(text: str) -> str:
    """The text with line ends and tabs for \\n and \\t, which a shell passes on as they are."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


MAX_SEEDS = 1000  # a run each, all in memory
Hidden = tyro.conf.Suppress[tyro.conf.Fixed[Any]]  # the type of a field that is no flag
Separator = Annotated[
    str,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="STR",
        instance_from_str=lambda texts: unescape(texts[0]),
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    ),
]


def one_of(choices: Iterable[str]) -> tyro.constructors.PrimitiveConstructorSpec:
    """What makes `Annotated[str, one_of(choices)]` a flag with these choices: a `Literal` cannot be computed."""
    names = tuple(choices)
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(names)}}}",
        instance_from_str=lambda texts: texts[0],
        is_instance=lambda value: value in names,
        str_from_instance=lambda value: [value],
        choices=names,
    )


def is_ours(path: Path) -> bool:
    """Whether this is a file of weights or the folder of a run, and no folder in GPT-2's layout."""
    return path.is_file() or (path / "best.safetensors").exists()


@cache
def read_vocab(path: Path, lowercase: bool) -> Vocab:
    """The vocabulary of a run, of a file of weights, or of a tokenizer in GPT-2's layout."""
    return open_run(path).vocab if is_ours(path) else Vocab.read(path, lowercase)


@dataclass(frozen=True, kw_only=True)
class Text:
    """The data of a command."""

    data: Path = Path("data/names.txt")
    """Text file in UTF-8, one thing per line; a tenth of the lines is held out for dev, a tenth for test."""
    max_length: int | None = None
    """Cut each line to this many characters."""
    tokens: Annotated[str, one_of(TOKENIZERS)] = "character"
    """What a token is: a character, a word (or a number, or a punctuation mark), a byte, or a byte pair (bpe)."""
    lowercase: bool = False
    """Lowercase the text."""
    min_count: int = 1
    """With --tokens word: words seen fewer times than this in the training lines become one unknown word."""
    vocab_size: int | None = None
    """With --tokens bpe: number of symbols to learn from the training lines; 2,000 if it is not given."""
    tokenizer: Path | None = None
    """Use the vocabulary of this folder: GPT-2's vocab.json and merges.txt or tokenizer.json, or a run's."""

    separator: Separator | None = None
    """Text that stands between two documents, where the file is no list of lines: '\\n\\n' is a blank line."""
    context_length: int | None = None
    """Cut lines and documents into windows of this many tokens; each token is predicted once, from its own window."""

    @property
    def unit(self) -> str:
        """What to call a token, as in "nats per character"."""
        return find_tokenizer(self.tokens).unit or self.tokens

    @property
    def encoding(self) -> Encoding:
        """How these flags turn text into tokens."""
        vocab = read_vocab(self.tokenizer, self.lowercase) if self.tokenizer else None
        made = self.tokens, self.lowercase, self.min_count, self.max_length, self.vocab_size
        return Encoding(*made, vocab, self.separator, self.context_length)

    def load(self) -> Corpus:
        """The corpus that these flags ask for."""
        return corpus.load(self.data, **self.encoding._asdict())


def require_seeds(seeds: int) -> None:
    """Raise `InputError` unless so many runs of a model are possible at once."""
    require(0 < seeds <= MAX_SEEDS, f"`seeds` is {seeds}; it must be from 1 to {MAX_SEEDS:,}")


def key_for(seed: int, use: str) -> jax.Array:
    """The random key of a seed for one use; `training` splits the seed's own key, and this is none of its parts."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(use.encode()))


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A command with random choices."""

    seed: int = 0
    """Random seed: initial weights, batches and samples. The same seed gives the same output."""

    def __post_init__(self):
        require(0 <= self.seed < 2**32, f"`seed` is {self.seed}; it must be from 0 to {2**32 - 1}")

    def key(self, use: str) -> jax.Array:
        """The random key for one use, by its name: no two uses draw the same, nor does training with this seed."""
        return key_for(self.seed, use)


@dataclass(frozen=True, kw_only=True)
class Output:
    """A command that writes into a run folder."""

    out: Path = Path("runs")
    """Folder for everything that the command writes."""
    overwrite: bool = False
    """Replace the run that the folder holds."""
    json: bool = False
    """Print the summary as JSON on the last line."""
    no_figures: bool = False
    """Draw no figures."""


@dataclass(frozen=True, kw_only=True)
class Trains:
    """A command that trains a model; see `with_model`."""

    preset: Annotated[str, one_of(PRESETS)] = "quick"
    """Sizes and training recipe: quick trains in seconds; tuned, where a model has it, for the lowest loss on names."""


def last_value(flags: list[str], name: str, default: str, choices: tuple[str, ...]) -> str:
    """The last value given to this flag, read before parsing since it decides which other flags exist."""
    chosen = default
    for flag, following in itertools.zip_longest(flags, flags[1:], fillvalue=""):
        found, given, value = flag.partition("=")
        if found == f"--{name}":
            chosen = value if given else following
    require(chosen in choices, f"`{name}` is {chosen!r}; it must be one of {', '.join(choices)}")
    return chosen


def with_model(base: type, flags: list[str]) -> type:
    """`base` with two more fields, `recipe` and `sizes`, whose fields become flags with the defaults of a model.

    The flags say which model and which preset. Sizes that follow from the data or from the model's name are no flags.
    """
    model = last_value(flags, "model", base.model, NEURAL)
    entry = MODELS[model]
    preset_sizes, recipe = entry.preset(last_value(flags, "preset", base.preset, PRESETS))
    fixed = {"vocab": 1, "context": 1} | entry.fixed
    fields = [(name, Hidden, fixed[name]) for name in entry.config.__dataclass_fields__ if name in fixed]
    fields += [(name, entry.config.__annotations__[name], size) for name, size in preset_sizes.items()]
    sizes = dataclasses.make_dataclass(f"{model}_sizes", fields, bases=(entry.config,), frozen=True)
    parts = [
        ("recipe", tyro.conf.OmitArgPrefixes[Recipe], recipe),
        ("sizes", tyro.conf.OmitArgPrefixes[sizes], dataclasses.field(default_factory=sizes)),
    ]
    whole = dataclasses.make_dataclass(base.__name__, parts, bases=(base,), frozen=True)
    whole.__doc__ = base.__doc__
    return whole


def chosen_sizes(config: Any) -> dict:
    """The sizes that the flags give, without those that the data or the model's name decides."""
    decided = {"vocab", "context", *MODELS[config.model].fixed}
    return {name: value for name, value in dataclasses.asdict(config.sizes).items() if name not in decided}


def parse(config_type: Any) -> Any:
    """The flags as a `config_type`; tyro's boxed message about a wrong flag becomes one line."""
    path = Path(sys.argv[0])
    prog = f"python -m experiments.{path.parent.name if path.stem == '__main__' else path.stem}"
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(config_type, prog=prog, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as stop:
        if not stop.code:
            raise
        error: BaseException | None = stop
        while error := error.__context__:  # a check of ours, which tyro has wrapped
            if isinstance(error, InputError):
                raise error from None
    # A title, a rule, the message, a rule, hints; the frame and its rules are of dashes where there is no UTF-8.
    text = re.sub(r"\x1b\[[0-9;]*m|[│╰╯]", "", box.getvalue()).replace("─", "-")
    message, *hints = re.split(r"(?m)^\s*-{5,}\s*$", re.sub("╭.*╮", "-----", text))[1:]
    near = re.search(r"Perhaps you meant:\s+(--[\w-]+)", " ".join(hints))
    what = " ".join(message.split()).rstrip(".")
    raise InputError(f"{what}; {f'did you mean {near[1]}? ' if near else ''}see {prog} --help")
