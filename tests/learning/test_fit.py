"""A run as values: one after each chunk of steps. To stop, leave the loop; to continue, give the last value back."""

from itertools import islice

import chex
import jax
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.learning.fit import begin, fit
from makemore_jax.learning.training import training
from makemore_jax.models.registry import build
from makemore_jax.recipe import Recipe
from tests.cases import CORPUS, V

KEY, EVERY, CHUNK = jax.random.key(3), 60, 10  # a chunk divides the steps between evaluations, and 50
EVALUATED = (60, 120, 130)
MODEL = build("mlp", vocab=V, window=3, embed=5, hidden=13)
RECIPE = Recipe(steps=130, batch=5, warmup=5, average=0.9)


def dev_loss(params):
    return exact_loss(MODEL, params, CORPUS.tokens.dev).nats


def values(run=None, dev_loss=dev_loss, in_place=False):
    """The values of a run, from the start or from where it is."""
    init, steps = training(MODEL, CORPUS, RECIPE, in_place=in_place)
    return fit(steps, run or begin(init, KEY), RECIPE.steps, dev_loss, EVERY)


def assert_equal(one, other):
    """Two runs are in the same place, bit for bit, and came there by the same losses."""
    chex.assert_trees_all_equal(one.state._replace(key=0), other.state._replace(key=0))
    assert one.state.key == other.state.key
    chex.assert_trees_all_equal(one.best, other.best)
    assert one.losses == other.losses


@pytest.fixture(scope="module")
def whole():
    """All values of a run."""
    return list(values())


def test_a_value_after_each_chunk_and_after_each_evaluation(whole):
    expected = [(step, False) for step in range(CHUNK, RECIPE.steps + 1, CHUNK)]
    expected += [(step, True) for step in EVALUATED]
    assert [(run.step, run.dev is not None) for run in whole] == sorted(expected)
    assert [row.step for row in whole[-1].losses] == list(range(CHUNK, RECIPE.steps + 1, CHUNK))
    for run in whole:  # each is the run up to there
        assert run.losses[:-1] == whole[-1].losses[: len(run.losses) - 1]
        assert run.losses[-1].train == whole[-1].losses[len(run.losses) - 1].train
        assert run.dev in (None, dev_loss(run.state.weights))
    assert whole[-1].best_dev == min(run.dev for run in whole if run.dev is not None)
    assert whole[-1].losses[-1].train < whole[0].losses[0].train - 0.1


def test_train_returns_the_best_of_these_values(whole):
    trained = mm.train(KEY, MODEL, CORPUS, RECIPE, evaluate_every=EVERY, progress=False)
    chex.assert_trees_all_equal(trained.params, whole[-1].best)


@pytest.mark.parametrize("number", [1, 6, 7, 15])
@pytest.mark.parametrize("in_place", [False, True])
def test_who_leaves_the_loop_and_gives_the_last_value_back_continues_bit_for_bit(whole, number, in_place):
    """After a chunk, before an evaluation, after it, and before the last."""
    *_, left = islice(values(in_place=in_place), number)
    assert (left.step, left.dev) == (whole[number - 1].step, whole[number - 1].dev)
    rest = list(values(left))
    assert len(rest) == len(whole) - number
    assert_equal(rest[-1], whole[-1])


@pytest.mark.parametrize("evaluation", [0, 1, 2])
def test_an_exception_inside_an_evaluation_loses_nothing(whole, evaluation):
    calls, kept = [], []

    def interrupted(params):
        calls.append(params)
        if len(calls) > evaluation:
            raise KeyboardInterrupt
        return dev_loss(params)

    with pytest.raises(KeyboardInterrupt):
        kept.extend(values(dev_loss=interrupted))
    assert kept[-1].step == EVALUATED[evaluation]
    assert kept[-1].dev is None
    *_, last = values(kept[-1])
    assert_equal(last, whole[-1])


def test_a_finished_run_has_no_more_values(whole):
    assert list(values(whole[-1])) == []


def test_the_best_weights_are_not_overwritten():
    """The second of three evaluations finds the lowest loss; the steps after it overwrite the buffers of the state."""
    found = iter([2.0, 1.0, 3.0])
    copies = []
    for run in values(dev_loss=lambda params: next(found), in_place=True):
        if run.dev is not None:
            copies.append((run, jax.tree.map(np.array, run.best), jax.tree.map(np.array, run.state.weights)))
    for run, best, _ in copies:
        chex.assert_trees_all_equal(run.best, best)
    (_, first, _), (_, second, reached), (last, final, weights) = copies
    chex.assert_trees_all_equal(final, second, reached)
    assert not np.array_equal(first["embed"], second["embed"])
    assert not np.array_equal(final["embed"], weights["embed"])
    assert (last.best_dev, last.best_step) == (1.0, EVALUATED[1])
