"""How a command is called: `python -m experiments.NAME` in a clone, `makemore NAME` where the package is installed."""

import shlex
from pathlib import Path

from makemore_jax.data.lines import printable

IN_A_CLONE = __name__.startswith("experiments.")


def called(name: str) -> str:
    """How to call the command of this name; `make` needs none where the package is installed."""
    if IN_A_CLONE:
        return f"python -m experiments.{name}"
    return "makemore" if name == "make" else f"makemore {name}"


def command_line(name: str, *arguments: str | Path) -> str:
    """A command line that can be pasted into a shell: arguments with spaces are quoted."""
    return printable(" ".join([called(name), *(shlex.quote(str(argument)) for argument in arguments)]))
