"""A whole run: evaluated on dev as it goes, the best weights kept, and everything saved so that it can be resumed."""

import itertools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.choice import resolve
from makemore_jax.data.corpus import Corpus
from makemore_jax.descent import TrainState, train_loop
from makemore_jax.errors import InputError
from makemore_jax.finetuning import initial_params, shorten
from makemore_jax.loss import evaluate
from makemore_jax.model import Model, Params
from makemore_jax.processes import any_of
from makemore_jax.recipe import Recipe
from makemore_jax.run_folder import RunFolder
from makemore_jax.sharding import Layout, local
from makemore_jax.trained import Trained
from makemore_jax.trainer import training

CHUNK = 50  # steps per jitted call; after each, the progress bar moves, and the run may save or stop


class Evaluation(NamedTuple):
    """What a run reports at each evaluation."""

    step: int
    train: float  # nats per token: the mean over the batches since the previous evaluation
    dev: float  # nats per token
    best: bool  # the lowest dev loss so far
    trained: Trained  # the model as it is now; the next steps overwrite its parameters
    tokens_per_second: float  # since the previous evaluation


class Run:
    """A training run: its state, its losses, and the folder where both are saved."""

    def __init__(
        self,
        key: jax.Array,
        model: Model,
        corpus: Corpus,
        recipe: Recipe,
        *,
        evaluate_every: int = 500,
        patience: int | None = None,
        save_every: float = 300.0,
        layout: Layout = Layout(),
        folder: RunFolder | None = None,
        init: Trained | None = None,
    ):
        """Initialise the run, or continue the one that `folder` holds.

        Args:
          key: determines the run: initial weights and batches.
          model: the model to train.
          corpus: the data to train it on.
          recipe: how to train it.
          evaluate_every: steps between evaluations on dev; the best weights there are kept.
          patience: stop early after this many evaluations without a better dev loss.
          save_every: seconds between saves to the `folder`, besides those at evaluations.
          layout: which devices share the work, from `sharding.lay_out`. If they belong to several processes, each makes
            its own `Run` of the same arguments, and all call the same methods.
          folder: from `claim`; without one nothing is saved.
          init: a trained model to start from, instead of random weights.

        Raises:
          InputError: as for `training` and `initial_params`; or all checkpoints in the folder are damaged.
        """
        self.model, self.corpus, self.recipe, self.folder = model, corpus, recipe, folder
        self.evaluate_every, self.patience, self.save_every = evaluate_every, patience, save_every
        params = initial_params(init, model, corpus) if init else None
        self.layout, self.training = layout, training(model, corpus, recipe, layout=layout, in_place=True)
        self.state = self.training.init(key, params=params)
        self.best = self._copy(self.state.weights)
        self.losses: list[tuple] = []  # after each chunk: the step, its mean train loss, and the dev loss or None
        self.begun, self.interrupted, self.evaluating, self.saved_at = False, False, False, time.monotonic()
        self.resumed = folder.restore_state({"state": self.state, "best": self.best}) if folder else None
        if self.resumed:
            tree, about = self.resumed
            self.state, self.best = tree["state"], tree["best"]
            self.losses = [tuple(row) for row in about["losses"]]
            if self.best_step:
                folder.save_best(self._trained(self.best))
        self.timed_from = self.step, time.perf_counter()

    @property
    def step(self) -> int:
        """Steps taken."""
        return int(self.state.step)

    @property
    def best_step(self) -> int:
        """The step of the best dev loss; 0 before the first evaluation."""
        return min(((dev, step) for step, _, dev in self.losses if dev is not None), default=(0, 0))[1]

    def _trained(self, params: Params) -> Trained:
        return Trained(self.model, local(params), self.corpus.vocab, self.corpus.block)

    def _copy(self, params: Params) -> Params:
        return jax.tree.map(jnp.copy, params)  # the next steps overwrite the buffers of the state

    def train(
        self,
        *,
        progress: bool = True,
        label: str = "train",
        on_evaluation: Callable[[Evaluation], bool | None] = lambda evaluation: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Trained:
        """Train to the end of the recipe; returns the best weights on dev.

        Training stops early if `on_evaluation` returns true. It is interrupted, and can be resumed, if `should_stop`
        returns true or a KeyboardInterrupt arrives during an evaluation: then `interrupted` is set.

        Raises:
          InputError: training diverged, or the folder cannot be written; what was saved before is kept.
        """

        def after_chunk(state: TrainState, losses_N: np.ndarray) -> bool:
            self.begun, self.state, stop = True, state, False  # it has compiled: from now on there is work to save
            self.losses.append((self.step, float(losses_N.mean(dtype=np.float64)), None))
            if due := self._due:
                stop = self._evaluate(on_evaluation)
            late = time.monotonic() - self.saved_at > self.save_every
            self.interrupted, stop, late = any_of(self.interrupted or should_stop(), stop, late)
            if self.folder and (due or self.interrupted or late):
                self._save()
            return self.interrupted or stop or self._out_of_patience

        if self.losses and self._due and self.losses[-1][2] is None:  # it was interrupted during an evaluation
            self._evaluate(on_evaluation)
        every, ended = self.evaluate_every, self.interrupted or self._out_of_patience
        try:
            train_loop(
                self.training.steps,
                self.state,
                self.step if ended else self.recipe.steps,
                chunk=every if every <= CHUNK else math.gcd(every, CHUNK),
                label=label,
                progress=progress,
                on_chunk=after_chunk,
                note=self._note,
            )
        except InputError as error:
            saved = self.folder and self.folder.last_step()
            kept = f"; step {saved} is saved" if saved else "; nothing was saved yet" if self.folder else ""
            raise InputError(f"{error}{kept}") from None
        if self.folder:
            self._write_metrics()
        return self._trained(self.best)

    @property
    def _due(self) -> bool:
        return self.step % self.evaluate_every == 0 or self.step == self.recipe.steps

    @property
    def _out_of_patience(self) -> bool:
        return self.step - self.best_step >= (self.patience or math.inf) * self.evaluate_every

    def _evaluate(self, on_evaluation: Callable) -> bool:
        """Evaluate on dev, keep the best, report; returns whether to stop. A KeyboardInterrupt postpones it all."""
        step, (from_step, from_time) = self.step, self.timed_from
        tokens = (step - from_step) * self.recipe.batch * self.corpus.tokens.train.length_N.mean()
        per_second = tokens / (time.perf_counter() - from_time)
        self.evaluating = True
        try:
            weights = self.layout.copy(self.state.weights)
            dev = evaluate(self.model, weights, self.corpus.tokens.dev).nats
        except KeyboardInterrupt:
            self.interrupted = True
            return True
        finally:
            self.evaluating = False
        better = dev < min((row[2] for row in self.losses if row[2] is not None), default=math.inf)
        self.losses[-1] = (*self.losses[-1][:2], dev)
        trained = self._trained(weights)
        if better:
            self.best = self._copy(self.state.weights)
            if self.folder:
                self.folder.save_best(trained)
        self.timed_from = step, time.perf_counter()
        return bool(on_evaluation(Evaluation(step, self._mean_train(), dev, better, trained, per_second)))

    def _mean_train(self) -> float:
        """The mean train loss over the steps since the previous evaluation."""
        rows = [(0, 0.0, None), *self.losses]
        first = max((i for i, row in enumerate(rows[:-1]) if row[2] is not None), default=0)
        steps = [(row[0] - before[0], row[1]) for before, row in itertools.pairwise(rows[first:])]
        return sum(count * loss for count, loss in steps) / sum(count for count, _ in steps)

    def _save(self) -> None:
        """The state, the best weights, and the losses so far."""
        about = self._trained(self.best).about | {"losses": self.losses}
        self.folder.save_state(self.step, {"state": self.state, "best": self.best}, about)
        self._write_metrics()
        self.saved_at = time.monotonic()

    def _write_metrics(self) -> None:
        rows = [{"step": s, "train": train} | ({} if dev is None else {"dev": dev}) for s, train, dev in self.losses]
        self.folder.write_metrics(rows)

    def _note(self) -> dict[str, str]:
        """What the progress bar shows beside the loss."""
        evaluated = [dev for *_, dev in self.losses if dev is not None]
        return {"dev": f"{evaluated[-1]:.4f}"} if evaluated else {}


def train(
    key: jax.Array,
    model: str | Model | Trained,
    corpus: Corpus,
    recipe: Recipe | None = None,
    *,
    preset: str = "quick",
    evaluate_every: int = 500,
    progress: bool = True,
    on_evaluation: Callable[[Evaluation], bool | None] = lambda evaluation: None,
    **overrides: Any,
) -> Trained:
    """Train a model on a corpus; returns its best weights on dev.

    Args:
      key: determines the run: initial weights and batches.
      model: a name in `MODELS`, a `Model`, or a trained model to start from, with the vocabulary of the corpus.
      corpus: from `load`.
      recipe: how to train; without one, the model's own.
      preset: which sizes and recipe a model given by name has: "quick", or "best" for the lowest loss.
      evaluate_every: steps between evaluations on dev.
      progress: show a progress bar.
      on_evaluation: called with each evaluation; training stops if it returns true.
      **overrides: sizes of a model given by name (`hidden=64`), and fields of its recipe (`steps=500`).

    Raises:
      InputError: there is no such model or size, the data does not fit it, or training diverged.
    """
    init = model if isinstance(model, Trained) else None
    if init:
        model = shorten(init, corpus.block).model
    built, recipe = resolve(model, corpus, recipe, overrides, preset)
    label = model if isinstance(model, str) else "train"
    run = Run(key, built, corpus, recipe, evaluate_every=evaluate_every, init=init)
    return run.train(progress=progress, label=label, on_evaluation=on_evaluation)
