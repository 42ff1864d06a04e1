"""The runs and the table that the page shows, reopened when their files change, and a run that is still training.

Each answer is computed from one state of a run, so it never mixes two; `version` tells these states apart.
"""

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

import makemore_jax as mm
from makemore_jax.data.lines import Split, file_status, read_lines
from makemore_jax.errors import InputError, require
from makemore_jax.learning.fit import Progress, follow, keep
from makemore_jax.models.interface import num_params
from makemore_jax.models.registry import name_of
from makemore_jax.runs.folder import lines_of, states

from ..shared.symbols import label
from .table import Table

LOOK_EVERY = 1.0  # seconds between checks of whether a file has changed
START = 2**16  # bytes of a file that are checked: a whole configuration, the checksum of weights
GRU: dict[str, Any] = {"embed": 32, "steps": 3000}  # the model that is trained if no run is given
HIDDEN, MOST_HIDDEN = 64, 256  # its units
RATE, RATES = 2e-3, (1e-5, 1.0)  # its learning rate, and what may be asked for
EVALUATE_EVERY = 50
SAMPLES = 6  # samples at each evaluation


class Opened:
    """A model as it was read at one time, with the values that are derived from it."""

    def __init__(self, trained: mm.Trained, version: str, find_lines: Callable[[], Split | None]):
        """Keep the model; `find_lines` returns the lines that it was trained on, or None if they are missing."""
        self.trained, self.version, self._find_lines, self._lines = trained, version, find_lines, None

    @property
    def lines(self) -> Split | None:
        """The lines of its data, searched for until they are found."""
        self._lines = self._lines or self._find_lines()
        return self._lines


class RunOnDisk:
    """A run folder or a weight file; a run that is still training is shown at its best checkpoint so far."""

    def __init__(self, path: Path):
        """Open the run."""
        self.path, self.looked = path, time.monotonic()
        self.name = path.stem if path.is_file() else path.resolve().name
        self.now = self._open(self._version())

    def _version(self) -> str:
        """A digest of the configuration and of the start of the weights, which holds their checksum."""
        weights = [self.path, self.path / "best.safetensors", *states(self.path)]
        return digest_of(self._config(), *[start(file) for file in filter(os.path.isfile, weights)][:1])

    def _config(self) -> bytes:
        return start(self.path / "config.json")

    def _open(self, version: str) -> Opened:
        config, trained = self._config(), mm.open(self.path)

        def lines() -> Split | None:
            found = lines_of(self.path, trained.vocab)
            return found if self._config() == config else None  # else another run has replaced it

        return Opened(trained, version, lines)

    def refresh(self) -> None:
        """Open the run again if it has changed; if it cannot be read now, keep the last state."""
        if time.monotonic() - self.looked < LOOK_EVERY:
            return
        self.looked, version = time.monotonic(), self._version()
        if version != self.now.version:
            with contextlib.suppress(InputError):
                self.now = self._open(version)


def start(file: Path) -> bytes:
    """The first bytes of a file, or none if it cannot be read."""
    with contextlib.suppress(OSError), file.open("rb") as opened:
        return opened.read(START)
    return b""


def digest_of(*parts: bytes) -> str:
    """A digest of these byte strings in this order."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


class LiveRun:
    """A small GRU that trains in its own thread, can be paused, and can start anew with another size and rate."""

    name = "live"

    def __init__(self, corpus: mm.Corpus):
        """Prepare to train on this corpus; the caller starts `thread`."""
        self.corpus, self.baselines, self.trainings = corpus, {}, 0
        self._going = threading.Event()
        self._prepare(HIDDEN, RATE)

    def _prepare(self, hidden: int, rate: float) -> None:
        self.hidden, self.rate, self.now, self.problem = hidden, rate, None, None
        self.rows: list[dict] = []
        self.done = self.stopped = False
        self.trainings += 1
        self._going.set()
        self.thread = threading.Thread(target=self._run, daemon=True)

    @property
    def paused(self) -> bool:
        """Whether the training waits."""
        return not self._going.is_set()

    def pause(self, wanted: bool) -> None:
        """Wait after the next evaluation, or go on."""
        self._going.clear() if wanted else self._going.set()

    def stop(self) -> None:
        """Stop at the next evaluation, also while it waits."""
        self.stopped = True
        self._going.set()

    def start_anew(self, hidden: int, rate: float) -> None:
        """Leave this training at its next evaluation and begin another, with this many units and this learning rate."""
        require(1 <= hidden <= MOST_HIDDEN, f"the size is {hidden}; it must be from 1 to {MOST_HIDDEN}")
        require(RATES[0] <= rate <= RATES[1], f"the rate is {rate:g}; it must be from {RATES[0]:g} to {RATES[1]:g}")
        self.stop()
        self.thread.join()
        self._prepare(hidden, rate)
        self.thread.start()

    def refresh(self) -> None:
        """Do nothing, since the thread updates the run itself."""

    def _run(self) -> None:
        try:
            batch = min(64, len(self.corpus.lines.train))
            options: dict[str, Any] = {"evaluate_every": EVALUATE_EVERY, "batch": batch, **GRU}
            options |= {"hidden": self.hidden, "learning_rate": self.rate}
            model, _, values = follow(jax.random.key(0), "gru", self.corpus, **options)
            for run in values:
                if run.dev is not None:
                    self._note(model, run)
                self._going.wait()
                if self.stopped:
                    break
        except InputError as error:
            self.problem = str(error)
        self.done = True

    def _note(self, model: mm.Model, run: Progress) -> None:
        trained = mm.Trained(model, keep(run.state.weights), self.corpus.vocab, self.corpus.context)
        self.now = Opened(trained, f"training {self.trainings}, step {run.step}", lambda: self.corpus.lines)
        samples = [[label(c) for c in text] for text in mm.sample(jax.random.key(1), trained, SAMPLES)]
        self.rows.append({"step": run.step, "train": run.train, "dev": run.dev, "samples": samples})
        if not self.baselines:
            self.baselines = mm.baselines(self.corpus)


class Shelf:
    """The models on the page, by name."""

    def __init__(self, runs: list[RunOnDisk], live: LiveRun | None = None):
        """Name these runs, and the run in training, so that no two share a name."""
        self.live, self._runs = live, {}
        for run in [*runs, *([live] if live else [])]:
            name, number = run.name, 2
            while name in self._runs:
                name, number = f"{run.name} ({number})", number + 1
            self._runs[name] = run

    def find(self, name: str) -> Opened:
        """Find the run with this name, in its current state."""
        require(name in self._runs, "there is no such run on this page")
        run = self._runs[name]
        run.refresh()
        if run.now is None:
            raise InputError("the model has only begun to train; wait a few seconds")
        return run.now

    def describe(self) -> list[dict]:
        """Describe each run for the page."""
        found = []
        for name, run in self._runs.items():
            run.refresh()
            if now := run.now:
                found.append({"name": name, "version": now.version, **describe(now.trained)})
        return found


def describe(trained: mm.Trained) -> dict:
    """Describe a model in a few words."""
    vocab = trained.vocab
    about = {"model": name_of(trained.model.config), "parameters": num_params(trained.params)}
    return {**about, "symbols": vocab.size, "tokens": vocab.tokens, "longest": trained.context - 1}


class Counted(NamedTuple):
    """The table of a file as it was read at one time."""

    version: str
    table: Table


class TableOnDisk:
    """The table of a file's lines, counted again when the file changes."""

    def __init__(self, source: Callable[[], tuple]):
        """Keep `source`, which returns the arguments of `read_lines`: the path and how to read it."""
        self.source, self.looked, self._version, self._counted = source, 0.0, "", None

    def version(self) -> str:
        """A digest of the file's path, content and way of reading; it stays the same while the file is unreadable."""
        if not self._version or time.monotonic() - self.looked >= LOOK_EVERY:
            self.looked = time.monotonic()
            with contextlib.suppress(InputError, OSError):
                source = self.source()
                file_status(source[0])
                self._version = digest_of(repr(source).encode(), source[0].read_bytes())
        return self._version

    def now(self) -> Counted:
        """The table in its current state."""
        version = self.version()
        if not self._counted or self._counted.version != version:
            try:
                path, *how = self.source()
                self._counted = Counted(version, Table(read_lines(path, *how), path.name))
            except InputError:
                if not self._counted:
                    raise
        return self._counted
