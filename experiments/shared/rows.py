"""Studies that can be stopped and resumed: each row of a study's table is kept as soon as it is measured."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import makemore_jax as mm
from makemore_jax.errors import InputError, require
from makemore_jax.files import to_json
from makemore_jax.runs.writer import RunFolder

from . import cli
from .flags import Output
from .signals import Stopped
from .usage import command_line


@dataclass(frozen=True, kw_only=True)
class Study(Output):
    """The flags of a command that measures row by row."""

    resume: bool = False
    """Continue the study in the folder; rows that were measured before are printed without measuring them again."""


class Rows:
    """The rows of a study by name, kept in a JSON file in its folder."""

    def __init__(self, folder: RunFolder, about: dict, name: str = "summary.json"):
        """Read the rows of the file, which exists only if the study is resumed; `about` is written before them."""
        self.folder, self.about, self.name = folder, about, name
        self.rows: dict[str, Any] = read(folder.path / name).get("rows", {})

    def measure(self, name: str, measure: Callable[[], Any]) -> Any:
        """Return a row from the file, or measure and write it; either way, as JSON would return it."""
        if name not in self.rows:
            self.rows[name] = json.loads(to_json(measure()))
            self.write()
        return self.rows[name]

    def models(self, name: str, train: Callable[[], Sequence[mm.Trained]], count: int = 1) -> list[mm.Trained]:
        """Open the models of a row; if one is missing or damaged, train and save all of them.

        Training is deterministic, so they equal the models that were measured.
        """
        files = model_files(name, count)
        with contextlib.suppress(InputError):
            return [mm.open(self.folder.path / file) for file in files]
        models = list(train())
        for file, trained in zip(files, models, strict=True):
            self.folder.save(trained, file)
        return models

    def write(self, **more: Any) -> dict:
        """Write the file with all rows, and with `more` about them; return its content."""
        content = self.about | {"rows": self.rows} | more
        self.folder.write_json(self.name, content)
        return content

    def finish(self, **more: Any) -> dict:
        """Write the file for the last time."""
        return self.write(**more, finished=True)


@contextlib.contextmanager
def keep(config: Any, digest: str, files: tuple[str, ...] = (), **about: Any) -> Iterator[Rows]:
    """Lock the folder of a study while it measures (see `cli.claim`); if a signal stops it, say how to continue."""
    left = [read(config.out / name) for name in ("summary.json", *(name for name in files if name.endswith(".json")))]
    begun = sum(len(part.get("rows", {})) for part in left) if "finished" not in left[0] else 0
    go_on = "continue with `resume`, or choose another `out`"
    require(not begun or config.resume or config.overwrite, f"{config.out}: holds {begun} rows already; {go_on}")
    with cli.claim(config, config.out, digest, files, config.resume) as folder:
        rows = Rows(folder, about | cli.environment())
        try:
            yield rows
        except Stopped as stopped:
            go_on = command_line(about["experiment"], "--out", config.out, "--resume")
            how = f"stopped; the rows measured so far are kept; to continue: {go_on}"
            raise Stopped(stopped.status - 128, how) from None


def model_files(name: str, count: int = 1) -> tuple[str, ...]:
    """The names of the files for the models of a row, one for each seed."""
    stem = re.sub(r"[^\w-]+", "-", name)
    return tuple(f"{stem}-{number}.safetensors" for number in range(count)) if count > 1 else (f"{stem}.safetensors",)


def read(path: Path) -> dict:
    """Read a JSON file of rows; return an empty dict if it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("rows", {}), dict) else {}
