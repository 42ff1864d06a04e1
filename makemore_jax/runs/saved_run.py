"""A run on disk: a loop over `fit` that saves at intervals of steps and time, and can be stopped and resumed.

Several processes may train together: each makes its own `SavedRun` from the same arguments, and calls the same methods.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax

from makemore_jax.data.corpus import Corpus
from makemore_jax.distributed import feed
from makemore_jax.distributed.mesh import Layout, local, placement_on
from makemore_jax.distributed.processes import any_of
from makemore_jax.errors import InputError
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.inference.trained import Trained
from makemore_jax.learning.finetune import initial_params
from makemore_jax.learning.fit import Losses, Progress, begin, due, fit, shown
from makemore_jax.learning.training import Training, training
from makemore_jax.models.interface import Model, Params
from makemore_jax.recipe import Recipe
from makemore_jax.runs.writer import Moved, RunFolder


class Evaluation(NamedTuple):
    """The report of a run at each evaluation."""

    step: int
    train: float  # nats per token: the mean over the batches since the previous evaluation
    dev: float  # nats per token
    best: bool  # the lowest dev loss so far
    trained: Trained  # the current model; the next steps overwrite its parameters
    tokens_per_second: float  # since the previous evaluation


class Interrupted(Exception):
    """An evaluation was interrupted by Ctrl-C."""


def training_on(layout: Layout, model: Model, corpus: Corpus, recipe: Recipe) -> Training:
    """Make the training of a run on these devices, for data in memory or streamed."""
    if corpus.streamed:
        return feed.training(model, corpus, recipe, layout=layout, in_place=True)
    return training(model, corpus, recipe, placement=placement_on(layout), in_place=True)


class SavedRun:
    """A training run in a folder: its progress, saved so that it can be resumed."""

    def __init__(
        self,
        key: jax.Array,
        model: Model,
        corpus: Corpus,
        recipe: Recipe,
        folder: RunFolder,
        *,
        layout: Layout = Layout(),
        init: Trained | None = None,
    ):
        """Begin the run, or resume the one in `folder`.

        Args:
          key: determines the run: initial weights and batches.
          model: the model to train.
          corpus: the data to train it on.
          recipe: the recipe of the training.
          folder: the folder to save it in, from `claim`.
          layout: the devices that share the work, from `mesh.lay_out`.
          init: a trained model to start from; by default, weights are random.
        """
        recipe = recipe.fitted(len(corpus.tokens.train.length_N))
        self.model, self.corpus, self.recipe, self.folder, self.layout = model, corpus, recipe, folder, layout
        params = initial_params(init, model, corpus) if init else None
        begin_with, self.steps = training_on(layout, model, corpus, recipe)
        self.now = begin(begin_with, key, params)
        self.begun = self.evaluating = self.interrupted = False
        saved = folder.restore_state({"state": self.now.state, "best": self.now.best})
        self.resumed = saved is not None
        if saved:
            tree, about = saved
            self.now = Progress(tree["state"], tree["best"], tuple(Losses(*row) for row in about["losses"]))
            if self.now.best_step:
                folder.save_best(self._trained(self.now.best))

    def _trained(self, params: Params) -> Trained:
        return Trained(self.model, local(params), self.corpus.vocab, self.corpus.context)

    def train(
        self,
        *,
        evaluate_every: int = 500,
        patience: int | None = None,
        save_every: float = 300.0,
        progress: bool = True,
        label: str = "train",
        on_evaluation: Callable[[Evaluation], object] = lambda evaluation: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Trained:
        """Train to the end of the recipe, and return the best weights on dev.

        The run is interrupted, and can be resumed, if `should_stop` returns true or a KeyboardInterrupt arrives during
        an evaluation. `interrupted` is then true.

        Args:
          evaluate_every: steps between evaluations on dev; each saves the run.
          patience: stop after this many evaluations without a lower dev loss.
          save_every: seconds between saves from one evaluation to the next.
          progress: show a progress bar.
          label: the name of the progress bar.
          on_evaluation: called with each evaluation.
          should_stop: called after each chunk of steps.
        """

        def out_of_patience(run: Progress) -> bool:
            waited = run.step - run.best_step
            return patience is not None and run.dev is not None and waited >= patience * evaluate_every

        until = self.now.step if out_of_patience(self.now) else self.recipe.steps
        values = fit(self.steps, self.now, until, self._dev_loss, evaluate_every)
        saved_at, per_second, speed = time.monotonic(), 0.0, self._speedometer()
        try:
            for run in shown(values, self.recipe.steps, label, progress, self.now.step):
                self.now, self.begun = run, True  # the program has been compiled, and there is work to save
                if due(run, evaluate_every, until):
                    per_second = speed(run.step)
                    continue  # the next value is the same, with a dev loss
                if run.dev is not None:
                    self._report(run, run.dev, per_second, on_evaluation)
                    speed(run.step)
                self.interrupted, late = any_of(should_stop(), time.monotonic() - saved_at > save_every)
                if run.dev is not None or self.interrupted or late:
                    self._save()
                    saved_at = time.monotonic()
                if self.interrupted or out_of_patience(run):
                    break
        except Interrupted:
            self.interrupted = True
            self._save()
        except Moved:
            raise
        except InputError as error:
            saved = self.folder.last_step()
            raise InputError(
                f"{error}; {f'step {saved} is saved' if saved else 'nothing has been saved yet'}"
            ) from None
        self._write_metrics()
        return self._trained(self.now.best)

    def _dev_loss(self, weights: Params) -> float:
        self.evaluating = True
        try:
            whole = self.layout.copy(weights)
            return exact_loss(self.model, whole, self.corpus.judged, self.layout.score_batch).nats
        except KeyboardInterrupt:
            raise Interrupted from None
        finally:
            self.evaluating = False

    def _speedometer(self) -> Callable[[int], float]:
        """Make a function of the step that returns the tokens per second since its last call."""
        line_tokens = self.corpus.tokens.train.length_N.mean()
        last = self.now.step, time.perf_counter()

        def per_second(step: int) -> float:
            nonlocal last
            (before, began), last = last, (step, time.perf_counter())
            return (step - before) * self.recipe.batch * line_tokens / (last[1] - began)

        return per_second

    def _report(
        self, run: Progress, dev: float, per_second: float, on_evaluation: Callable[[Evaluation], object]
    ) -> None:
        """Save the weights if they are the best so far, and report."""
        trained, best = self._trained(self.layout.copy(run.state.weights)), run.best_step == run.step
        if best:
            self.folder.save_best(trained)
        on_evaluation(Evaluation(run.step, run.train, dev, best, trained, per_second))

    def _save(self) -> None:
        """Save the state, the best weights, and the losses so far."""
        about = self._trained(self.now.best).about | {"losses": self.now.losses}
        self.folder.save_state(self.now.step, {"state": self.now.state, "best": self.now.best}, about)
        self._write_metrics()

    def _write_metrics(self) -> None:
        rows = [row._asdict() for row in self.now.losses]
        self.folder.write_metrics([{name: value for name, value in row.items() if value is not None} for row in rows])
