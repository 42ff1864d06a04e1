"""Flags as they stand on the command line, before they are parsed."""

import dataclasses
import itertools
import re
import sys
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro

from makemore_jax.errors import require
from makemore_jax.runs.folder import read_config


def unescape(text: str) -> str:
    """Replace what a shell leaves as it is typed: \\n by a line end, \\t by a tab, and \\\\ by one backslash."""
    return re.sub(r"\\([nt\\])", lambda found: {"n": "\n", "t": "\t"}.get(found[1], "\\"), text)


Hidden = tyro.conf.Suppress[tyro.conf.Fixed[Any]]  # the type of a field that is not a flag
Typed = Annotated[  # the type of every flag that takes text, with the escapes of `unescape`
    str,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="TEXT",
        instance_from_str=lambda texts: unescape(texts[0]),
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    ),
]
DECIDING = {"model", "preset"}  # flags that decide which others exist
EACH_PROCESS = {"coordinator", "processes", "process"}  # flags in which the processes of a run differ
UNSAID = {"optimizer": "adamw"}  # what the config of a run means by leaving a setting out
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


def flag_types(config_type: Any) -> dict[str, Any]:
    """The fields that are flags, with their types; those of nested dataclasses and of every subcommand are included."""
    if not dataclasses.is_dataclass(config_type):
        return dict(itertools.chain(*(flag_types(kind).items() for kind in get_args(config_type))))
    types = {}
    for field in dataclasses.fields(config_type):
        inner = getattr(field.type, "__origin__", field.type)
        if field.type != Hidden:
            types |= flag_types(inner) if dataclasses.is_dataclass(inner) else {field.name: field.type}
    return types


def with_recalled(config_type: Any, flags: list[str] | None = None) -> list[str]:
    """Put the settings of the run that `--resume` continues before the flags, so that none has to be repeated.

    A flag that is given again counts, and `claim` refuses it if the result depends on it and it differs.
    """
    flags, types = sys.argv[1:] if flags is None else flags, flag_types(config_type)
    if "--resume" not in flags or "resume" not in types:
        return flags
    default = config_type.out or Path("runs") / last_value(flags, "model", config_type.model)
    settings = read_config(Path(last_value(flags, "out", str(default))))
    return [*as_flags(config_type, UNSAID | settings), *flags] if settings else flags


def as_flags(config_type: Any, settings: dict[str, Any]) -> list[str]:
    """The flags of a command that give it these settings from JSON; None and False are defaults, and need none.

    Those in which the processes of a run differ are left out.
    """
    flags = []
    for name, kind in flag_types(config_type).items():
        value, option = None if name in EACH_PROCESS else settings.get(name), "--" + name.replace("_", "-")
        if Typed in (kind, *get_args(kind)):
            value = value and value.replace("\\", "\\\\")  # which `unescape` undoes
        if isinstance(value, list):
            flags += [option, *map(str, value)]
        elif value is not None and value is not False:
            flags += [option if value is True else f"{option}={value}"]
    return flags
