"""The one exception for mistakes of the user, and the checks that raise it."""

import os
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import jax

KINDS = {  # arguments that are easily mistaken: the type of each, by name if its module imports this one; what to give
    "key": (jax.Array, "a random key, such as jax.random.key(0)"),
    "trained": ("Trained", "a trained model, as train and open return it"),
    "corpus": ("Corpus", "a corpus, as load returns it"),
    "tokens": ("Tokens", "tokens, such as corpus.tokens.test"),
    "model": ("Model", "a model, such as trained.model"),
    "recipe": ("Recipe", "a recipe, such as Recipe(steps=500)"),
    "path": ((str, os.PathLike), "a path"),
    "line": (str, "text"),
    "prefix": (str, "text"),
    "n": (Integral, "a whole number"),
}


class InputError(ValueError):
    """Invalid input. The message is one line: what is wrong, where, and what to do.

    Names of parameters are in backticks, as in "`hidden` is 0; it must be at least 1"; commands print those that they
    have as flags, and exit with status 2. Any other exception is a bug in this project and keeps its traceback.
    """


def require(ok: bool, message: str) -> None:
    """Raise `InputError(message)` unless `ok`."""
    if not ok:
        raise InputError(message)


def require_kinds(**arguments: Any) -> None:
    """Raise `InputError` unless each argument is of the type that `KINDS` has for its name."""
    for name, value in arguments.items():
        kind, wanted = KINDS[name]
        named = [base.__name__ for base in type(value).__mro__]
        fits = kind in named if isinstance(kind, str) else isinstance(value, kind)
        require(fits, f"{name} is of type {type(value).__name__}; give {wanted}")


def require_lists(**arguments: Any) -> None:
    """Raise `InputError` unless each argument is a list; a string or a NamedTuple is one value, not a list of parts."""
    for name, value in arguments.items():
        several = isinstance(value, Iterable) and not isinstance(value, str | bytes) and not hasattr(value, "_fields")
        require(several, f"{name} is {value!r:.60}; give a list, such as [{value!r:.60}]")


def require_positive(config: Any, *names: str) -> None:
    """Raise `InputError` unless each of these attributes of `config` is None or a positive int32."""
    for name in names:
        value = getattr(config, name)
        require(value is None or value > 0, f"`{name}` is {value}; it must be at least 1")
        require(value is None or value < 2**31, f"`{name}` is {value}; it must be below 2**31")


def require_nonempty(config: Any, *names: str) -> None:
    """Raise `InputError` if one of these attributes of `config` is empty."""
    for name in names:
        require(len(getattr(config, name)) > 0, f"`{name}` is empty; give at least one")


def require_float(name: str, value: float, zero: bool = True) -> None:
    """Raise `InputError` unless `value` is positive and well within float32's range, or is 0 where `zero` allows it."""
    fits = 1e-30 <= value <= 1e30 or (zero and value == 0)
    require(fits, f"`{name}` is {value}; it must be {'0 or ' if zero else ''}from 1e-30 to 1e30")
