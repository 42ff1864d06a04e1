"""Exercises: a cell to fill, and a check that passes only for a right answer."""

import functools
import inspect
import traceback
from collections.abc import Callable
from types import CodeType
from typing import Any

import jax


def grade(grader: Callable[[Any], None], answer: Any) -> str:
    """What to say about an answer, in one line: "right!", "not yet. <a hint>" or "not answered yet".

    `grader(answer)` raises AssertionError with a hint if the answer is wrong. An answer that still is `...`, or a
    function that still raises NotImplementedError, is one that nobody has given yet.
    """
    code = getattr(inspect.unwrap(answer), "__code__", None)
    if answer is ... or (code and "NotImplementedError" in code.co_names):
        return "not answered yet"
    try:
        grader(returning(answer) if callable(answer) else answer)
    except NotImplementedError:
        return "not answered yet"
    except Exception as error:
        hint = str(error) if isinstance(error, AssertionError) else ""
        return " ".join(f"not yet. {hint or explain(error, code)}".split())
    return "right!"


def returning(function: Callable) -> Callable:
    """The same function, which says so if it forgets to return something."""

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        assert result is not None, "It returns None: does it end with `return`?"
        return result

    return checked


def explain(error: Exception, code: CodeType | None) -> str:
    """Say what stopped an answer, in which of its lines, and what might help; `code` is that of the answer."""
    lines = [
        frame.line for frame in traceback.extract_tb(error.__traceback__) if code and frame.filename == code.co_filename
    ]
    where = f"in your line `{lines[-1]}`" if lines else "when the check used your answer"
    hint = "Try it on a small example of your own." if lines else "Compare its type and shape with what is asked for."
    if isinstance(error, jax.errors.JAXTypeError):
        hint = "JAX traces it here, so use jnp and not np, and `jnp.where` instead of `if`."
    said = (str(error).strip() or "no message").splitlines()[0].rstrip(".")
    return f"{type(error).__name__} {where}: {said}. {hint}"


def check(grader: Callable[[Any], None], answer: Any) -> None:
    """Print whether an answer is right, and why if it is not."""
    print(f"{grader.__name__}: {grade(grader, answer)}")
