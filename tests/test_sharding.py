"""Batches shared among devices; there are two simulated ones."""

import chex
import jax
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import Split
from makemore_jax.data.tokens import batch, plan_batches
from makemore_jax.errors import InputError
from makemore_jax.models import build
from makemore_jax.recipe import Recipe, adamw
from makemore_jax.sharding import data_parallel
from makemore_jax.trainer import batch_loss, train_steps


@pytest.fixture(scope="module")
def runs(names):
    """Three steps of a run on one device and on two: state, losses, the program, and a batch of each."""
    corpus, recipe, found = encode(Split(names[:300], names[300:310], names[310:320]), ""), Recipe(batch=13), []
    model = build("gru", vocab=corpus.vocab.size, embed=5, hidden=7)
    for devices in (1, 2):
        init, steps = mm.training(model, corpus, recipe, devices=devices)
        state = init(jax.random.key(0))
        tokens, plan = plan_batches(corpus.tokens.train, recipe.batch, rows=devices)
        get_batch, replicate = data_parallel(devices, batch)
        loss = batch_loss(model, plan, recipe, get_batch)
        options = {"loss": loss, "optimizer": adamw(recipe), "count": 3}
        run = jax.jit(lambda state, tokens, options=options: train_steps(state, tokens, **options))
        program = run.lower(state, replicate(tokens)).compile().as_text()
        found.append((steps(state, 3), program, jax.jit(get_batch)(replicate(tokens), *plan.packing)))
    return found


def test_the_run_on_two_devices_is_the_run_on_one(runs):
    (one, *_), (two, *_) = runs
    assert len(one[1].devices()) == 1
    assert len(two[1].devices()) == 2
    assert not np.array_equal(one[1][0], one[1][1])
    chex.assert_trees_all_close(jax.device_get(one[0].params), jax.device_get(two[0].params), rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(jax.device_get(one[1]), jax.device_get(two[1]), rtol=1e-4, atol=1e-6)


def test_each_device_has_half_of_the_rows_and_gradients_are_added_up(runs):
    (_, alone, one), (_, shared, two) = runs
    assert len(one[0]) % 2 == 1
    assert len(two[0]) == len(one[0]) + 1  # a row more, so that they can be shared out
    half = (len(two[0]) // 2, two[0].shape[1])
    assert [shard.data.shape for shard in two[0].addressable_shards] == [half, half]
    assert "all-reduce" in shared
    assert "all-reduce" not in alone


def test_more_devices_than_there_are():
    with pytest.raises(InputError, match="`devices` is 3; JAX finds 2"):
        data_parallel(3, batch)
