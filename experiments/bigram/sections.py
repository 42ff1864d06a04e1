"""The nine sections of the story: told one after the other, with a pause between them, or one alone."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

from ..shared import cli

COUNT = 9
LEARNED = range(7, COUNT + 1)  # the sections on gradient descent


@contextlib.contextmanager
def section(config: Any, title: str) -> Iterator[None]:
    """Tell what is printed inside under this title, or keep it back if `config` asks for another section."""
    number = int(title.split(".")[0])
    if config.section not in (None, number):
        with contextlib.redirect_stdout(io.StringIO()):
            yield
        return
    if config.pause and number > 1 and not config.section:
        with contextlib.suppress(EOFError):  # nobody is there to press it
            input("\n[Enter] ")
    cli.title(title)
    yield
