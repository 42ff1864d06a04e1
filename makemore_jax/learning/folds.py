"""Cross-validation as an axis: the same run without each fold of the lines, and on all of them, as one program.

A short list has no lines to spare for dev: a tenth of sixty lines says nothing. So each of K runs leaves out a fold of
its own and is scored on it, and together they score every line once. One more run, which leaves out nothing, takes the
same steps beside them; where the scores are best, it is kept.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.batches import plan_batches
from makemore_jax.data.tokens import Tokens, select
from makemore_jax.inference.evaluate import stream_nll
from makemore_jax.learning.objective import Loss
from makemore_jax.learning.training import TrainState, first_state, loss_of, train_steps
from makemore_jax.models import backoff
from makemore_jax.models.interface import Model, Params
from makemore_jax.recipe import Recipe, optimizer_of

MOST_SCORED = 1000  # different lines


class Folds(NamedTuple):
    """Lines, each in one of K folds, and those of them that are scored."""

    tokens: Tokens
    fold_N: np.ndarray  # of each line
    scored: Tokens  # each different line once, as many as `MOST_SCORED`
    scored_fold_M: np.ndarray  # of each token of these

    @property
    def count(self) -> int:
        """K."""
        return int(self.fold_N.max()) + 1

    def without(self, fold: int) -> Tokens:
        """The lines that are in another fold."""
        return select(self.tokens, self.fold_N != fold)

    def score(self, model: Model, params_K: Sequence[Params]) -> np.ndarray:
        """(M,) the nats of each scored token under the parameters that have not seen its line.

        All parameters score all lines, since one shape needs one program.
        """
        nll_KM = np.stack([stream_nll(model, params, self.scored) for params in params_K])
        return nll_KM[self.scored_fold_M, np.arange(nll_KM.shape[1])]


class Scored(NamedTuple):
    """The K + 1 runs after some steps."""

    step: int
    nll_M: np.ndarray  # of each scored token, by the run that has not seen its line
    params: Params  # of the run on all lines


def deal(tokens: Tokens, folds: int) -> Folds:
    """Deal lines into at most so many folds; equal lines are in one fold, and folds have as many different lines each.

    A hash of the line shuffles them, so that the order of the file does not matter. A line that repeats weighs as much
    as it repeats where it is learned, and once where it is scored.
    """
    spans = zip(tokens.start_N, tokens.length_N, strict=True)
    line_N = [tokens.stream_M[first + 1 : first + 1 + length].astype(np.int32).tobytes() for first, length in spans]
    place = {line: number for number, line in enumerate(line_N)}
    shuffled = sorted(place, key=lambda line: hashlib.blake2b(line).digest())
    fold = {line: i % folds for i, line in enumerate(shuffled)}
    once_N = np.array([place[line] for line in shuffled[:MOST_SCORED]])
    scored, fold_N = select(tokens, once_N), np.array([fold[line] for line in line_N], np.int32)
    return Folds(tokens, fold_N, scored, np.repeat(fold_N[once_N], scored.length_N))


def count_folds(folds: Folds, vocab: int, orders: Sequence[int]) -> dict[int, np.ndarray]:
    """The scores of n-grams with back-off, by order: (M,) the nats of each scored token. One program serves all."""
    longest = backoff.Config(vocab, max(orders))
    pairs_K = [folds.without(fold).pairs for fold in range(folds.count)]
    counted = [backoff.fit(backoff.Config(vocab, order), *pairs) for order in orders for pairs in pairs_K]
    padded, model = backoff.pad(longest, counted), backoff.backoff(longest)
    return {
        order: folds.score(model, padded[i * folds.count : (i + 1) * folds.count]) for i, order in enumerate(orders)
    }


def cross_validate(key: jax.Array, model: Model, folds: Folds, recipe: Recipe, every: int) -> Iterator[Scored]:
    """Train the K + 1 runs to the end of the recipe; yields their scores each `every` steps."""
    by_length, plan = plan_batches(folds.tokens, recipe.batch)
    held_KN = folds.fold_N[np.argsort(folds.tokens.length_N, kind="stable")] == np.arange(folds.count)[:, None]
    # A line of length 0 is padding: it takes part in a batch and counts for nothing.
    length_RN = np.where(np.pad(held_KN, ((0, 1), (0, 0))), 0, by_length.length_N)
    data = jax.device_put(by_length._replace(length_N=length_RN))
    first = first_state(model, recipe, key, recipe.hyper)
    state_R = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(length_RN)), first)
    for step in range(every, recipe.steps + 1, every):
        state_R = _steps(state_R, data, loss=loss_of(model, recipe, plan), recipe=recipe, count=every)
        weights_R = jax.device_get(state_R.weights)
        *without, whole = [jax.tree.map(lambda leaf, r=r: leaf[r], weights_R) for r in range(len(length_RN))]
        yield Scored(step, folds.score(model, without), jax.tree.map(jnp.asarray, whole))


@partial(jax.jit, static_argnames=("loss", "recipe", "count"), donate_argnames="state_R")
def _steps(state_R: TrainState, data: Tokens, *, loss: Loss, recipe: Recipe, count: int) -> TrainState:
    """`count` steps of each run, on a stream that all share and lengths of its own."""
    steps = partial(train_steps, loss=loss, optimizer=optimizer_of(recipe), count=count)
    one = lambda state, length_N: steps(state, data._replace(length_N=length_N))[0]
    return jax.vmap(one)(state_R, data.length_N)
