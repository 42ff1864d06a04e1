"""The trained models that the page shows: runs that are opened again when they have changed, and one in training."""

import threading
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import jax

import makemore_jax as mm
from experiments.explore.symbols import label
from makemore_jax.data.lines import Split
from makemore_jax.errors import InputError, require
from makemore_jax.learning.fit import Progress, follow, keep
from makemore_jax.models.interface import num_params
from makemore_jax.models.registry import name_of
from makemore_jax.runs.folder import lines_of

LOOK_EVERY = 1.0  # seconds between looks at whether a run has changed
GRU: dict[str, Any] = {"embed": 32, "hidden": 64, "steps": 3000}  # the model that is trained where there is no run
EVALUATE_EVERY = 50
SAMPLES = 6  # samples at each evaluation


class RunOnDisk:
    """A run folder or a file of weights; a run that is still training is shown as of its best checkpoint so far."""

    def __init__(self, path: Path):
        """Open it."""
        self.path, self.version = path, 1
        self.name = path.stem if path.is_file() else path.resolve().name
        self.stamp, self.looked = self._stamp(), time.monotonic()
        self.trained = mm.open(path)

    def _stamp(self) -> tuple:
        file = self.path if self.path.is_file() else self.path / "best.safetensors"
        try:
            found = file.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def refresh(self) -> None:
        """Open it again if it has changed; what cannot be read now leaves the page as it is."""
        if time.monotonic() - self.looked < LOOK_EVERY:
            return
        self.looked, stamp = time.monotonic(), self._stamp()
        if stamp and stamp != self.stamp:
            try:
                trained = mm.open(self.path)
            except InputError:
                return
            self.trained, self.stamp, self.version = trained, stamp, self.version + 1

    @cached_property
    def lines(self) -> Split | None:
        """The lines of its data, if the data is still as it was; read when they are first asked for."""
        return lines_of(self.path, self.trained.vocab)


class LiveRun:
    """A small GRU that trains in a thread of its own, from the moment it is started."""

    name = "live"

    def __init__(self, corpus: mm.Corpus):
        """On this corpus; `thread` waits to be started."""
        self.corpus, self.version = corpus, 0
        self.trained: mm.Trained | None = None
        self.lines = corpus.lines
        self.rows: list[dict] = []
        self.baselines: dict[str, float] = {}
        self.problem: str | None = None
        self.done = self.stopped = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def stop(self) -> None:
        """Stop at the next evaluation."""
        self.stopped = True

    def refresh(self) -> None:
        """Nothing to look for: the thread brings what is new."""

    def _run(self) -> None:
        try:
            batch = min(64, len(self.corpus.lines.train))
            key, sizes = jax.random.key(0), {"batch": batch, **GRU}
            model, _, values = follow(key, "gru", self.corpus, evaluate_every=EVALUATE_EVERY, **sizes)
            for run in values:
                if run.dev is not None:
                    self._note(model, run)
                if self.stopped:
                    break
        except InputError as error:
            self.problem = str(error)
        self.done = True

    def _note(self, model: mm.Model, run: Progress) -> None:
        self.trained = mm.Trained(model, keep(run.state.weights), self.corpus.vocab, self.corpus.context)
        samples = [[label(c) for c in text] for text in mm.sample(jax.random.key(1), self.trained, SAMPLES)]
        self.rows.append({"step": run.step, "train": run.train, "dev": run.dev, "samples": samples})
        self.version += 1
        if not self.baselines:
            self.baselines = mm.baselines(self.corpus)


class Shelf:
    """The models of the page by name."""

    def __init__(self, runs: list[RunOnDisk], live: LiveRun | None = None):
        """These runs, and the one in training."""
        self.live, self._runs = live, {}
        for run in [*runs, *([live] if live else [])]:
            name, number = run.name, 2
            while name in self._runs:
                name, number = f"{run.name} ({number})", number + 1
            self._runs[name] = run

    def find(self, name: str) -> RunOnDisk | LiveRun:
        """The run of this name, as it is now."""
        require(name in self._runs, "there is no such run on this page")
        run = self._runs[name]
        run.refresh()
        return run

    def trained(self, name: str) -> mm.Trained:
        """The model of this name, as it is now."""
        trained = self.find(name).trained
        if trained is None:
            raise InputError("the model has only begun to train; wait a few seconds")
        return trained

    def describe(self) -> list[dict]:
        """What the page says about each run."""
        found = []
        for name, run in self._runs.items():
            run.refresh()
            if run.trained is not None:
                found.append({"name": name, "version": run.version, **describe(run.trained)})
        return found


def describe(trained: mm.Trained) -> dict:
    """The model in a few words."""
    vocab = trained.vocab
    about = {"model": name_of(trained.model.config), "parameters": num_params(trained.params)}
    return {**about, "symbols": vocab.size, "tokens": vocab.tokens, "longest": trained.context - 1}
