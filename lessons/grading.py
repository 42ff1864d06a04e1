"""Exercises: a cell to fill, and a check that passes only for a right answer."""

import inspect
from collections.abc import Callable
from typing import Any


def grade(grader: Callable[[Any], None], answer: Any) -> str:
    """What to say about an answer: "right!", "not yet. <a hint>" or "not answered yet".

    `grader(answer)` raises AssertionError with a hint if the answer is wrong. An answer that still is `...`, or a
    function that still raises NotImplementedError, is one that nobody has given yet.
    """
    code = getattr(inspect.unwrap(answer), "__code__", None)
    if answer is ... or (code and "NotImplementedError" in code.co_names):
        return "not answered yet"
    try:
        grader(answer)
    except AssertionError as hint:
        return f"not yet. {hint}"
    return "right!"


def check(grader: Callable[[Any], None], answer: Any) -> None:
    """Print whether an answer is right, and why if it is not."""
    print(f"{grader.__name__}: {grade(grader, answer)}")
