"""Exercises: a cell to fill, and a check that passes only for a right answer."""

from collections.abc import Callable
from typing import Any


def check(grader: Callable[[Any], None], answer: Any) -> bool:
    """Say whether an answer is right, and why if it is not; returns whether it is.

    `grader(answer)` raises AssertionError with a hint if the answer is wrong. An answer that still is `...`, or a
    function that still raises NotImplementedError, is one that nobody has given yet.
    """
    try:
        if answer is ...:
            raise NotImplementedError
        grader(answer)
    except NotImplementedError:
        print(f"{grader.__name__}: not answered yet")
        return False
    except AssertionError as hint:
        print(f"{grader.__name__}: not yet. {hint}")
        return False
    print(f"{grader.__name__}: right!")
    return True
