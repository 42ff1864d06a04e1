"""Cross-validation as an axis: the same run without each fold of the lines, and on all of them, as one program.

A short list has no lines to spare for dev: a tenth of sixty lines says nothing. So each of K runs leaves out a fold of its
own and is scored on it, and together they score every line once. One more run, which leaves out nothing, takes the same
steps beside them; where the scores are best, it is kept.
"""

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.batches import plan_batches
from makemore_jax.data.tokens import Tokens
from makemore_jax.inference.evaluate import stream_nll
from makemore_jax.learning.objective import Loss
from makemore_jax.learning.training import TrainState, first_state, loss_of, train_steps
from makemore_jax.models.interface import Model, Params
from makemore_jax.recipe import Recipe, adamw


class Scored(NamedTuple):
    """The K + 1 runs after some steps."""

    step: int
    nll_M: np.ndarray  # nats of each token, fold after fold, by the run that has not seen it
    params: Params  # of the run on all lines


def deal(lines: list[str], folds: int) -> np.ndarray:
    """(N,) the fold of each line; equal lines are in one fold, and the folds have as many different lines each.

    A hash of the line shuffles them, so that the order of the file does not matter.
    """
    hashed = lambda line: hashlib.blake2b(line.encode("utf-8", "surrogatepass")).digest()
    fold = {line: i % folds for i, line in enumerate(sorted(set(lines), key=hashed))}
    return np.array([fold[line] for line in lines], np.int32)


def take(tokens: Tokens, wanted_N: np.ndarray) -> Tokens:
    """Some lines of a stream."""
    return Tokens(tokens.stream_M, tokens.start_N[wanted_N], tokens.length_N[wanted_N])


def cross_validate(
    key: jax.Array, model: Model, tokens: Tokens, fold_N: np.ndarray, recipe: Recipe, every: int
) -> Iterator[Scored]:
    """Train the K + 1 runs to the end of the recipe; yields their scores each `every` steps. To stop, leave the loop."""
    folds = np.unique(fold_N)
    held_KN = fold_N == folds[:, None]
    by_length, plan = plan_batches(tokens, recipe.batch)
    # A line of length 0 is padding: it takes part in a batch and counts for nothing.
    order_N, none_held = np.argsort(tokens.length_N, kind="stable"), np.zeros((1, len(fold_N)), bool)
    length_RN = np.where(np.concatenate([held_KN[:, order_N], none_held]), 0, by_length.length_N)
    data = jax.device_put(by_length._replace(length_N=length_RN))
    state_R = jax.vmap(lambda _: first_state(model, recipe, key, recipe.hyper))(jnp.arange(len(folds) + 1))
    for step in range(every, recipe.steps + 1, every):
        state_R = _steps(state_R, data, loss=loss_of(model, recipe, plan), recipe=recipe, count=every)
        weights_R = jax.device_get(state_R.weights)
        *without, whole = [
            jax.tree.map(lambda leaf, r=r: jnp.asarray(leaf[r]), weights_R) for r in range(len(folds) + 1)
        ]
        nll = [stream_nll(model, params, take(tokens, held_N)) for params, held_N in zip(without, held_KN, strict=True)]
        yield Scored(step, np.concatenate(nll), whole)


@partial(jax.jit, static_argnames=("loss", "recipe", "count"), donate_argnames="state_R")
def _steps(state_R: TrainState, data: Tokens, *, loss: Loss, recipe: Recipe, count: int) -> TrainState:
    """`count` steps of each run, on a stream that all share and lengths of its own."""
    steps = partial(train_steps, loss=loss, optimizer=adamw(recipe), count=count)
    return jax.vmap(steps, (0, Tokens(None, None, 0)))(state_R, data)[0]
