"""Train many runs as one program: `vmap` over the two pure functions of a training run."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from makemore_jax.data.corpus import Corpus
from makemore_jax.errors import require, require_float, require_kinds, require_lists
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.inference.trained import Trained
from makemore_jax.learning.training import training
from makemore_jax.models.interface import Model
from makemore_jax.models.registry import resolve
from makemore_jax.progress import progress_bar
from makemore_jax.recipe import Recipe

EVALUATIONS = 10  # by default


class SweepResult(NamedTuple):
    """R runs, each evaluated E times: all seeds of the first learning rate, then those of the next, and so on."""

    best: list[Trained]  # each run at its best dev loss
    best_step_R: np.ndarray
    diverged_R: np.ndarray  # bool: a loss was not finite, or the last train loss is over twice the first and uniform's
    seed_R: np.ndarray
    rate_R: np.ndarray
    step_E: np.ndarray
    train_RE: np.ndarray  # nats per token: the mean over the batches since the previous evaluation
    dev_RE: np.ndarray  # nats per token


def sweep(
    model: str | Model,
    corpus: Corpus,
    seeds: Sequence[int] = (0,),
    rates: Sequence[float] | None = None,
    recipe: Recipe | None = None,
    *,
    preset: str = "quick",
    evaluations: int | None = None,
    spread: Callable[[Any], Any] = lambda states: states,
    progress: bool = True,
    **overrides: Any,
) -> SweepResult:
    """Train every seed with every learning rate as one program, with the same results as one by one.

    Without `rates`, the recipe's learning rate is used. By default there are 10 evaluations on dev, or one after each
    step of a shorter run. `spread` divides the runs among devices, as `distributed.mesh.spread` does. The others are as
    in `train`.

    Raises:
      InputError: as for `train`; the data is streamed; `seeds` or `rates` is empty.
    """
    require_kinds(corpus=corpus)
    require_lists(seeds=seeds, rates=() if rates is None else rates)
    model, recipe = resolve(model, corpus.sizes, recipe, overrides, preset)
    require(not corpus.streamed, "a sweep needs its data in memory; leave out `stream`")
    evaluations = min(EVALUATIONS, recipe.steps) if evaluations is None else evaluations
    rates = [recipe.learning_rate] if rates is None else list(rates)
    require(len(seeds) > 0, "`seeds` is empty; give at least one")
    require(len(rates) > 0, "`rates` is empty; give at least one")
    for rate in rates:
        require_float("rates", rate, zero=False)
    require(
        1 <= evaluations <= recipe.steps, f"`evaluations` is {evaluations}; it must be from 1 to {recipe.steps} (steps)"
    )
    seed_R, rate_R = (axis.reshape(-1) for axis in np.meshgrid(list(seeds), np.array(rates, np.float32)))
    init, steps = training(model, corpus, recipe)
    init_R = jax.vmap(lambda seed, rate: init(jax.random.key(seed), recipe.hyper | {"learning_rate": rate}))
    state_R = spread(init_R(*jax.device_put((seed_R, rate_R))))
    step_E = np.linspace(0, recipe.steps, evaluations + 1).astype(int)
    best, best_step_R = {}, np.zeros(len(seed_R), int)
    first_R, (train_RE, dev_RE) = np.empty(len(seed_R)), np.empty((2, len(seed_R), evaluations))
    with progress_bar(recipe.steps, f"{len(seed_R)} runs", progress, unit="step") as bar:
        for e, (first, last) in enumerate(itertools.pairwise(step_E.tolist())):
            state_R, loss_RN = jax.vmap(lambda state, count=last - first: steps(state, count))(state_R)
            loss_RN = np.asarray(loss_RN)[: len(seed_R)]  # `spread` may have repeated runs
            first_R = first_R if e else loss_RN[:, 0]
            train_RE[:, e] = loss_RN.mean(1)
            weights_R = jax.device_get(state_R.weights)
            for r in range(len(seed_R)):
                params = jax.device_put(jax.tree.map(lambda leaf, r=r: leaf[r], weights_R))
                dev = exact_loss(model, params, corpus.judged).nats
                dev_RE[r, e] = np.inf if np.isnan(dev) else dev  # so that `argmin` never picks it
                if dev_RE[r, : e + 1].argmin() == e:
                    best[r], best_step_R[r] = Trained(model, params, corpus.vocab, corpus.context), last
            bar.update(last - first)
    too_high_R = train_RE[:, -1] > 2 * np.maximum(first_R, math.log(corpus.vocab.size))
    diverged_R = too_high_R | ~np.isfinite(np.hstack([train_RE, dev_RE])).all(1)
    ordered = [best[r] for r in range(len(seed_R))]
    return SweepResult(ordered, best_step_R, diverged_R, seed_R, rate_R, step_E[1:], train_RE, dev_RE)
