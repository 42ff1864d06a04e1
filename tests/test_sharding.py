"""Batches shared out among devices; there are two simulated ones."""

import json

import chex
import jax
import numpy as np
import pytest

from makemore_jax import data, sharding, train
from makemore_jax.errors import InputError
from makemore_jax.models import build


@pytest.fixture(scope="module")
def runs(names, vocab):
    """Three steps of a run on one device and on two: state, losses and batches of each."""
    recipe, found = train.Recipe(batch=13, warmup=0), []
    model = build("gru", {"vocab": vocab.size, "embed": 5, "hidden": 7})
    for devices in (1, 2):
        tokens, plan = data.plan(data.tokenize(names[:300], vocab), recipe.lines_at_once, rows=devices)
        state = train.start(model.init(jax.random.key(0)), recipe.hyper, train.adamw(recipe))
        gather, place = sharding.spread(devices)
        state, tokens = place((state, tokens))
        loss = train.batch_loss(model, vocab.size, plan, recipe, gather)
        run = jax.jit(train.run, static_argnames=("loss", "optimizer", "count"))
        args = jax.random.key(1), state, tokens, recipe.hyper
        options = {"loss": loss, "optimizer": train.adamw(recipe), "count": 3}
        program = run.lower(*args, **options).compile().as_text()
        found.append((run(*args, **options), program, jax.jit(gather)(tokens, *plan.layout)))
    return found


def test_the_run_on_two_devices_is_the_run_on_one(runs):
    (one, *_), (two, *_) = runs
    assert len(one[1].devices()) == 1
    assert len(two[1].devices()) == 2
    assert not np.array_equal(one[1][0], one[1][1])
    chex.assert_trees_all_close(jax.device_get(one), jax.device_get(two), rtol=1e-4, atol=1e-6)


def test_each_device_has_half_of_the_rows_and_gradients_are_added_up(runs):
    (_, alone, one), (_, shared, two) = runs
    assert len(one[0]) % 2 == 1
    assert len(two[0]) == len(one[0]) + 1  # a row more, so that they can be shared out
    half = (len(two[0]) // 2, two[0].shape[1])
    assert [shard.data.shape for shard in two[0].addressable_shards] == [half, half]
    assert "all-reduce" in shared
    assert "all-reduce" not in alone


def test_more_devices_than_there_are():
    with pytest.raises(InputError, match="--devices is 3; JAX finds 2 here; XLA_FLAGS="):
        sharding.spread(3)


def test_the_command(command, tmp_path, names):
    """The best checkpoint of a run on two devices is that of the same run on one, but for rounding."""
    (tmp_path / "few.txt").write_text("\n".join(names[:300]))
    small = ["--model", "mlp", "--hidden", 7, "--steps", 10, "--evaluate-every", 10, "--batch", 8, "--no-figures"]
    nats = []
    for devices in (1, 2):
        out = tmp_path / f"run{devices}"
        status, _, err = command("train", *small, "--data", tmp_path / "few.txt", "--out", out, "--devices", devices)
        assert status == 0, err
        nats.append(json.loads((out / "summary.json").read_text())["nats"]["test"])
    assert nats[0] == pytest.approx(nats[1], rel=1e-4)
