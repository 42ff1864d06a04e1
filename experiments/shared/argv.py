"""Flags as they stand on the command line, before they are parsed."""

import dataclasses
import itertools
import re
import sys
from pathlib import Path
from typing import Any, get_args

import tyro

from makemore_jax.errors import require
from makemore_jax.runs.folder import read_config

Hidden = tyro.conf.Suppress[tyro.conf.Fixed[Any]]  # the type of a field that is not a flag
DECIDING = {"model", "preset"}  # flags that decide which others exist
EACH_PROCESS = {"coordinator", "processes", "process"}  # flags in which the processes of a run differ


OTHER_NAMES = {"order": "count"}  # parameters of the library whose flag is called otherwise


def last_value(flags: list[str], name: str, default: str, choices: tuple[str, ...] = ()) -> str:
    """The last value given to this flag, read before parsing because it decides which other flags exist."""
    chosen = default
    for flag, following in itertools.zip_longest(flags, flags[1:], fillvalue=""):
        found, given, value = flag.partition("=")
        if found == f"--{name}":
            chosen = value if given else following
    require(not choices or chosen in choices, f"`{name}` is {chosen!r}; it must be one of {', '.join(choices)}")
    return chosen


def spelled(message: str, flags: set[str]) -> str:
    """The message with its names in `backticks` spelled as flags; a name that is none of these flags stays a word."""

    def spell(name: re.Match[str]) -> str:
        own = name[1] if name[1] in flags else OTHER_NAMES.get(name[1])
        return "--" + own.replace("_", "-") if own in flags else name[1]

    return re.sub(r"`(\w+)`", spell, message)


def flag_names(config_type: Any) -> set[str]:
    """The names of the fields that are flags, those of nested dataclasses and of every subcommand included."""
    if not dataclasses.is_dataclass(config_type):
        return set().union(*map(flag_names, get_args(config_type)))
    names = set()
    for field in dataclasses.fields(config_type):
        inner = getattr(field.type, "__origin__", field.type)
        if field.type != Hidden:
            names |= flag_names(inner) if dataclasses.is_dataclass(inner) else {field.name}
    return names


def with_recalled(config_type: Any, flags: list[str] | None = None) -> list[str]:
    """Put the settings of the run that `--resume` continues before the flags, so that none has to be repeated.

    A flag that is given again counts, and `claim` refuses it if the result depends on it and it differs.
    """
    flags, names = sys.argv[1:] if flags is None else flags, flag_names(config_type)
    if "--resume" not in flags or "resume" not in names:
        return flags
    default = config_type.out or Path("runs") / last_value(flags, "model", config_type.model)
    settings = read_config(Path(last_value(flags, "out", str(default)))) or {}
    recalled = [flag(name, value) for name, value in settings.items() if name in names - EACH_PROCESS]
    return [*itertools.chain(*recalled), *flags]


def flag(name: str, value: Any) -> list[str]:
    """The flag that gives a field this value from JSON; none for False and None, which are defaults."""
    name = "--" + name.replace("_", "-")
    if value is None or value is False:
        return []
    if isinstance(value, list):
        return [name, *map(str, value)]
    return [name] if value is True else [f"{name}={value}"]
