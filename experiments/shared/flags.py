"""Flags that commands share, and flags for the sizes of a model; a docstring under a field is its --help text."""

import contextlib
import dataclasses
import io
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from makemore_jax.data import corpus
from makemore_jax.data.corpus import Corpus, Encoding
from makemore_jax.data.lines import frequent, printable
from makemore_jax.data.tokenizers import TOKENIZERS, find_tokenizer
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError, require
from makemore_jax.files import embedded
from makemore_jax.models.registry import MODELS, NEURAL, PRESETS
from makemore_jax.recipe import Recipe
from makemore_jax.runs.folder import open_run

from .argv import Hidden, Typed, last_value, with_recalled
from .reading import File, Reads
from .usage import called

MAX_SEEDS = 1000  # one run each, all in memory at once


def one_of(choices: Iterable[str]) -> tyro.constructors.PrimitiveConstructorSpec:
    """Make `Annotated[str, one_of(choices)]` a flag with these choices; a `Literal` could not be computed."""
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
    """Whether this is one of our weight files or run folders, rather than a folder in GPT-2's layout."""
    return path.is_file() or (path / "best.safetensors").exists()


@cache
def read_vocab(path: Path, lowercase: bool) -> Vocab:
    """Read the vocabulary of a run, of a weight file, or of a folder in GPT-2's layout."""
    return open_run(path).vocab if is_ours(path) else Vocab.read(path, lowercase)


@dataclass(frozen=True, kw_only=True)
class Text(Reads):
    """The flags of a command that reads a text."""

    data: File = field(default_factory=partial(embedded, "names.txt"))
    """Text file with one item per line, or CSV, TSV, FASTA or SMILES, also in .gz; - is standard input. A tenth of
    the lines is held out for dev and a tenth for test."""
    max_length: int | None = None
    """Cut each line to this many characters."""
    tokens: Annotated[str, one_of(TOKENIZERS)] = "character"
    """What a token is: a character; a word, number or punctuation character; a byte; or a byte pair (bpe)."""
    lowercase: bool = False
    """Lowercase the text."""
    min_count: int = 1
    """Treat characters, or words, that occur fewer times than this as one unknown symbol, which is never sampled."""
    vocab_size: int | None = None
    """With --tokens bpe: number of symbols to learn from the train lines; 2,000 by default."""
    tokenizer: Path | None = None
    """Take the vocabulary from this folder: a run, or one with vocab.json and merges.txt, or tokenizer.json."""

    separator: Typed | None = None
    """Separator between documents, for files that are not one item per line; '\\n\\n' is a blank line."""
    context_length: int | None = None
    """Cut lines and documents into windows of this many tokens; each token is predicted within its own window."""

    @property
    def unit(self) -> str:
        """What to call a token, as in "nats per character"."""
        return find_tokenizer(self.tokens).unit or self.tokens

    @property
    def encoded(self) -> Encoding:
        """How these flags turn text into tokens."""
        vocab = read_vocab(self.tokenizer, self.lowercase) if self.tokenizer else None
        made = self.tokens, self.lowercase, self.min_count, self.max_length, self.vocab_size
        return Encoding(*made, vocab, self.separator, self.context_length, **self.reading.source._asdict())

    def load(self) -> Corpus:
        """The corpus that these flags ask for; frequent lines, which are not held out, are told."""
        loaded = corpus.load(self.data, **self.encoded._asdict())
        counts = Counter(line for part in loaded.lines for line in part)
        if kept := frequent(counts, counts.total(), len(counts)):
            copies, different = sum(counts[line] for line in kept), f"{len(kept)} different" if len(kept) > 1 else "one"
            about = f"{copies:,} of {counts.total():,} lines are {different}, so frequent that none is held out"
            print(f"{printable(str(self.data))}: {about}")
        return loaded


def require_seeds(seeds: int) -> None:
    """Raise `InputError` unless this many runs can be trained at once."""
    require(0 < seeds <= MAX_SEEDS, f"`seeds` is {seeds}; it must be from 1 to {MAX_SEEDS:,}")


def key_for(seed: int, use: str) -> jax.Array:
    """The random key of a seed for one named use; it differs from every key that training derives from the seed."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(use.encode()))


@dataclass(frozen=True, kw_only=True)
class Seed:
    """The flag of a command that makes random choices."""

    seed: int = 0
    """Random seed for initial weights, batches and samples; the same seed gives the same output."""

    def __post_init__(self):
        require(0 <= self.seed < 2**32, f"`seed` is {self.seed}; it must be from 0 to {2**32 - 1}")

    def key(self, use: str) -> jax.Array:
        """The random key for one named use; it differs between uses, and from those of training with this seed."""
        return key_for(self.seed, use)


@dataclass(frozen=True, kw_only=True)
class Output:
    """The flags of a command that writes into a run folder."""

    out: Path = Path("runs")
    """Folder for everything that the command writes."""
    overwrite: bool = False
    """Replace the run that is already in the folder."""
    json: bool = False
    """Print the summary as JSON on the last line."""
    no_figures: bool = False
    """Do not draw figures."""


@dataclass(frozen=True, kw_only=True)
class Trains:
    """The flag of a command that trains a model; see `with_model`."""

    preset: Annotated[str, one_of(PRESETS)] = "quick"
    """Default sizes and recipe: quick trains in seconds; tuned, which some models have, aims at the lowest loss."""


def with_model(base: type, flags: list[str]) -> type:
    """Add two fields to `base`, `recipe` and `sizes`, whose own fields become flags with a model's defaults.

    `flags` say which model and which preset. Sizes that follow from the data or the model's name do not become flags.
    """
    flags = with_recalled(base, flags)
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
    """The sizes that the flags give, without those that follow from the data or the model's name."""
    decided = {"vocab", "context", *MODELS[config.model].fixed}
    return {name: value for name, value in dataclasses.asdict(config.sizes).items() if name not in decided}


def parse(config_type: Any) -> Any:
    """Parse the flags into a `config_type`, and turn tyro's boxed message about a wrong flag into one line."""
    path = Path(sys.argv[0])
    prog = called(path.parent.name if path.stem == "__main__" else path.stem)
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            flags = with_recalled(config_type)
            return tyro.cli(config_type, prog=prog, args=flags, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as stop:
        if not stop.code:
            raise
        error: BaseException | None = stop
        while error := error.__context__:  # one of our own checks, wrapped by tyro
            if isinstance(error, InputError):
                raise error from None
    # The box holds a title, a rule, the message, a rule and hints; without UTF-8 it is drawn with dashes.
    text = re.sub(r"\x1b\[[0-9;]*m|[│╰╯]", "", box.getvalue()).replace("─", "-")
    message, *hints = re.split(r"(?m)^\s*-{5,}\s*$", re.sub("╭.*╮", "-----", text))[1:]
    near = re.search(r"Perhaps you meant:\s+(--[\w-]+)", " ".join(hints))
    what = " ".join(message.split()).rstrip(".")
    raise InputError(f"{what}; {f'did you mean {near[1]}? ' if near else ''}see {prog} --help")
