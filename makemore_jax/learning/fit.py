"""Train a model as a sequence of values: `fit` yields one after each chunk of steps.

To stop, leave the loop. To save, keep a value. To continue, pass it to `fit`.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.corpus import Corpus
from makemore_jax.errors import InputError, require_kinds
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.inference.trained import Trained
from makemore_jax.learning.finetune import grow, initial_params, shorten
from makemore_jax.learning.training import Start, Steps, TrainState, training
from makemore_jax.models.interface import Model, Params
from makemore_jax.models.registry import resolve
from makemore_jax.progress import progress_bar
from makemore_jax.recipe import Recipe

CHUNK = 50  # steps per jitted call; the progress bar moves after each, and the run may be saved or stopped


def chunks(steps: Steps, state: TrainState, until: int, chunk: int) -> Iterator[tuple[TrainState, np.ndarray]]:
    """Train until state.step == until, yielding the state and the losses after each chunk.

    Chunks end at multiples of `chunk` steps, wherever the run started.
    """
    taken = int(state.step)
    while taken < until:
        count = min(chunk - taken % chunk, until - taken)
        state, losses = steps(state, count)
        losses_N = jax.device_get(losses)
        if (bad := np.flatnonzero(~np.isfinite(losses_N))).size:
            where = f"the loss is {losses_N[bad[0]]} at step {taken + bad[0]}"
            raise InputError(f"{where}: training diverged; lower the learning rate or the penalty")
        taken += count
        if taken == until and not _all_finite(state.params):
            raise InputError("training diverged in the last step; lower the learning rate or the penalty")
        yield state, losses_N


@jax.jit
def _all_finite(params: Params) -> jax.Array:
    return jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()


def train_loop(
    steps: Steps, state: TrainState, until: int, *, chunk: int = 20, label: str | None = None, progress: bool = True
) -> tuple[TrainState, np.ndarray]:
    """Train until state.step == until, with a progress bar named `label`; return the state and all losses."""
    found = [np.zeros(0, np.float32)]
    with progress_bar(until, label, progress, initial=int(state.step), unit="step") as bar:
        for reached, losses_N in chunks(steps, state, until, chunk):
            state = reached
            found.append(losses_N)
            bar.update(len(losses_N))
            bar.set_postfix(loss=f"{losses_N[-1]:.4f}")
    return state, np.concatenate(found)


class Losses(NamedTuple):
    """The losses of a chunk of steps, in nats per token."""

    step: int  # after the chunk
    train: float  # the mean over the batches of the chunk
    dev: float | None = None  # None if the weights were not evaluated


class Progress(NamedTuple):
    """The progress of a run; with the data and the recipe it determines the rest of the run.

    The steps of `training(..., in_place=True)` overwrite the buffers of `state`, so it is valid only until the next
    value. `best` and `losses` stay valid.
    """

    state: TrainState
    best: Params  # the weights with the lowest dev loss so far
    losses: tuple[Losses, ...] = ()

    @property
    def step(self) -> int:
        """The number of steps taken."""
        return int(self.state.step)

    @property
    def dev(self) -> float | None:
        """The dev loss of the current weights; None if they were not evaluated."""
        return self.losses[-1].dev if self.losses else None

    @property
    def best_dev(self) -> float:
        """The lowest dev loss so far; infinite before the first evaluation."""
        return min((row.dev for row in self.losses if row.dev is not None), default=math.inf)

    @property
    def best_step(self) -> int:
        """The step with the lowest dev loss so far; 0 before the first evaluation."""
        return min(((row.dev, row.step) for row in self.losses if row.dev is not None), default=(0, 0))[1]

    @property
    def train(self) -> float:
        """The mean train loss over the steps since the previous evaluation."""
        rows = [Losses(0, 0.0), *self.losses]
        first = max((i for i, row in enumerate(rows[:-1]) if row.dev is not None), default=0)
        counts = [(row.step - before.step, row.train) for before, row in pairwise(rows[first:])]
        return sum(count * loss for count, loss in counts) / sum(count for count, _ in counts)


def begin(init: Start, key: jax.Array, params: Params | None = None) -> Progress:
    """Begin a run, from random parameters or from `params`."""
    state = init(key, params=params)
    return Progress(state, keep(state.weights))


def keep(params: Params) -> Params:
    """Copy parameters, so that the next steps do not overwrite them."""
    return jax.tree.map(jnp.copy, params)


def due(run: Progress, every: int, until: int) -> bool:
    """Whether an evaluation comes next, as in a run that was interrupted during one."""
    return bool(run.losses) and run.dev is None and (run.step % every == 0 or run.step == until)


def fit(
    steps: Steps, run: Progress, until: int, dev_loss: Callable[[Params], float], every: int = 500
) -> Iterator[Progress]:
    """Train to step `until`; yield after each chunk of steps, and after an evaluation each `every` steps.

    Raise `InputError` if training diverges.
    """

    def evaluated(run: Progress) -> Progress:
        dev = dev_loss(run.state.weights)
        best = keep(run.state.weights) if dev < run.best_dev else run.best
        return Progress(run.state, best, (*run.losses[:-1], run.losses[-1]._replace(dev=dev)))

    if due(run, every, until):
        run = evaluated(run)
        yield run
    for state, losses_N in chunks(steps, run.state, until, every if every <= CHUNK else math.gcd(every, CHUNK)):
        run = Progress(state, run.best, (*run.losses, Losses(int(state.step), float(losses_N.mean(dtype=np.float64)))))
        yield run
        if due(run, every, until):
            run = evaluated(run)
            yield run


def shown(runs: Iterator[Progress], steps: int, label: str, show: bool = True, taken: int = 0) -> Iterator[Progress]:
    """Yield the same values, with a progress bar that counts from `taken` to `steps` and shows the losses."""
    with progress_bar(steps, label, show, initial=taken, unit="step") as bar:
        for run in runs:
            dev = next((f"{row.dev:.4f}" for row in reversed(run.losses) if row.dev is not None), "-")
            bar.update(run.step - bar.n)
            bar.set_postfix(loss=f"{run.losses[-1].train:.4f}", dev=dev)
            yield run


class Followed(NamedTuple):
    """A run that has begun: its model, its recipe, and an iterator over its values."""

    model: Model
    recipe: Recipe
    values: Iterator[Progress]


def follow(
    key: jax.Array,
    model: str | Model | Trained,
    corpus: Corpus,
    recipe: Recipe | None = None,
    *,
    preset: str = "quick",
    evaluate_every: int = 500,
    **overrides: Any,
) -> Followed:
    """Begin the run of `train`, and let the caller inspect or stop it at each value of `fit`."""
    require_kinds(key=key, corpus=corpus)
    wanted = shorten(grow(model, corpus.vocab), corpus.context).model if isinstance(model, Trained) else model
    built, recipe = resolve(wanted, corpus.sizes, recipe, overrides, preset)
    params = initial_params(model, built, corpus) if isinstance(model, Trained) else None
    init, steps = training(built, corpus, recipe, in_place=True)
    dev_loss = lambda params: exact_loss(built, params, corpus.judged).nats
    return Followed(built, recipe, fit(steps, begin(init, key, params), recipe.steps, dev_loss, evaluate_every))


def train(
    key: jax.Array,
    model: str | Model | Trained,
    corpus: Corpus,
    recipe: Recipe | None = None,
    *,
    preset: str = "quick",
    evaluate_every: int = 500,
    progress: bool = True,
    **overrides: Any,
) -> Trained:
    """Train a model on a corpus, and return its best weights on dev, or on train if nothing is held out.

    Args:
      key: determines the run: initial weights and batches.
      model: a name in `MODELS`, a `Model`, or a trained model to start from, whose vocabulary the corpus has or grows.
      corpus: from `load`.
      recipe: the recipe; by default the model's own.
      preset: the sizes and recipe of a model given by name: "quick", or "tuned" for the lowest loss.
      evaluate_every: steps between evaluations on dev.
      progress: show a progress bar.
      **overrides: sizes of a model given by name (`hidden=64`), and fields of its recipe (`steps=500`).

    Raises:
      InputError: there is no such model or size, the data does not fit it, or training diverged.
    """
    options = {"preset": preset, "evaluate_every": evaluate_every}
    built, recipe, values = follow(key, model, corpus, recipe, **options, **overrides)
    label = model if isinstance(model, str) else "train"
    last = deque(shown(values, recipe.steps, label) if progress else values, maxlen=1).pop()
    return Trained(built, last.best, corpus.vocab, corpus.context)
