"""Look inside any trained model: what it computes along a line, what it knows, how far back it looks.

Run it:   python -m experiments.inspect runs/transformer --line charlotte
Expect:   four figures in runs/inspect/transformer/:
          letters.png     which symbols are interchangeable for the model
          reach.png       how far back it looks
          traces.png      its states, gates and other activations along the line
          attention.png   where each head looks
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import tyro

import makemore_jax as mm
from makemore_jax.analysis import influence
from makemore_jax.data.formats import Source
from makemore_jax.data.lines import read_lines
from makemore_jax.data.tokens import Tokens, tokenize
from makemore_jax.errors import InputError, require_positive
from makemore_jax.inference.reading import reading
from makemore_jax.inference.trained import Activations, Trained
from makemore_jax.runs.folder import read_config

from .shared import cli
from .shared.figures import drawing
from .shared.flags import Seed, Typed
from .shared.reading import Reads


@dataclass(frozen=True, kw_only=True)
class Config(Seed, Reads):
    """Draw what a trained model knows and computes."""

    run: tyro.conf.Positional[Path]
    """Run folder that the train command wrote, or a .safetensors file that sample --export wrote."""
    line: Typed = ""
    """Line to read; by default, the longest of the first hundred lines of the data."""
    data: Path | None = None
    """Text file whose lines the model reads; by default, the file that it was trained on."""
    lines: int = 1000
    """Number of lines to average over."""
    out: Path | None = None
    """Folder for the figures; by default runs/inspect/NAME."""
    json: bool = False
    """Print the summary as JSON on the last line."""

    def __post_init__(self):
        super().__post_init__()
        require_positive(self, "lines")


def readable(config: Config, trained: Trained) -> tuple[Tokens, list[str]]:
    """Read the lines that fit into the model's context, or else their beginnings; return them as tokens and as text."""
    trained_on = read_config(config.run) or {}
    path = config.data or trained_on.get("data")
    if path is None:
        raise InputError(f"{config.run}: does not say what it was trained on; name a text file with `data`")
    if config.data:  # it may be of another kind
        trained_on = {name: value for name, value in trained_on.items() if name not in Source._fields}
    reading = config.reading_as(trained_on | {"lowercase": trained.vocab.lowercase})
    lines = read_lines(path, *reading)[: 10 * config.lines]
    tokens = tokenize(lines, trained.vocab)
    fits = [line for line, length in zip(lines, tokens.length_N, strict=True) if length <= trained.context]
    if not fits:
        print(f"every line is longer than the {trained.context - 1} symbols that the model reads; it reads as many")
        fits = [beginning(trained, line) for line in lines]
    return tokenize(fits, trained.vocab), fits


def beginning(trained: Trained, line: str) -> str:
    """As much of a line as the model can read: up to its length, and up to the first unknown word."""
    return trained.vocab.decode(reading(trained, line).ids)


def line_to_read(config: Config, trained: Trained, lines: list[str]) -> Activations:
    """The activations along the requested line, or along the longest of the first hundred that the model knows."""
    if config.line:
        return mm.activations(trained, config.line)
    for line in sorted(lines[:100], key=len, reverse=True):
        with contextlib.suppress(InputError):  # an unknown word
            return mm.activations(trained, line)
    print("the first hundred lines all have unknown words: the longest beginning without one is read")
    return mm.activations(trained, max((beginning(trained, line) for line in lines[:100]), key=len))


def run(config: Config) -> dict:
    """Measure, draw, and print what was drawn."""
    trained = mm.open(config.run)
    tokens, lines = readable(config, trained)
    activations = line_to_read(config, trained, lines)
    out = config.out or Path("runs/inspect") / config.run.stem
    out.mkdir(parents=True, exist_ok=True)
    model, params, symbols = trained.model, trained.params, trained.vocab.symbols
    found = influence.substitution(model, params, tokens, config.lines)
    change_T = influence.reach(config.key("reach"), model, params, tokens, config.lines)
    read = f"as it reads {cli.clip(''.join(activations.symbols[1:]))}"
    figures = {
        "which symbols are interchangeable for it": ("letters.png", mm.plot.substitution, found, symbols),
        "how far back it looks": ("reach.png", mm.plot.reach, change_T, getattr(model.config, "receptive_field", None)),
        f"its activations {read}": ("traces.png", mm.plot.traces, activations),
        f"where each head looks {read}": ("attention.png", mm.plot.attention, activations),
    }
    drawn = []
    for what, (name, plot, *values) in figures.items():
        # An `InputError` says that the model has nothing of this kind to draw.
        with contextlib.suppress(InputError), drawing(out / name, what) as path:
            plot(*values, path)
            drawn.append(name)
    return {"drawn": sorted(drawn), "reach": change_T}


if __name__ == "__main__":
    cli.main(lambda: Config, run)
