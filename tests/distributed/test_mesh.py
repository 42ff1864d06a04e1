"""Batches and states divided among devices; there are two simulated ones. `tests/layouts.py` tries eight."""

from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.data.batches import gather, plan_batches
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import Split
from makemore_jax.distributed import mesh as sharding
from makemore_jax.distributed.mesh import lay_out, placement_on, shards_to_fit, spread, stored_bytes
from makemore_jax.errors import InputError
from makemore_jax.inference.evaluate import line_nll
from makemore_jax.learning.training import loss_of, train_steps
from makemore_jax.models.registry import build
from makemore_jax.recipe import Recipe, optimizer_of

LAYOUTS = {"one": (1, 1), "replicas": (2, 1), "shards": (2, 2)}


@pytest.fixture(scope="module")
def corpus(names):
    return encode(Split(names[:300], names[300:310], names[310:320]), "")


@pytest.fixture(scope="module")
def runs(corpus):
    """Three steps of a run on one device, on two replicas, and on two shards: state, losses, and the program."""
    model = build("gru", vocab=corpus.vocab.size, embed=5, hidden=14)
    recipe, found = Recipe(batch=26, micro_batches=2, dropout=0.1, average=0.9), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "SMALL", 2)
        for name, (devices, shards) in LAYOUTS.items():
            place = lay_out(devices, shards)
            state = mm.training(model, corpus, recipe, placement=placement_on(place)).init(jax.random.key(0))
            tokens, plan = plan_batches(corpus.tokens.train, 26, devices, micro_batches=2)
            options = {
                "loss": loss_of(model, recipe, plan, placement_on(place).share),
                "optimizer": optimizer_of(recipe),
                "count": 3,
            }
            run, data = jax.jit(partial(train_steps, **options)), place.copy(tokens)
            program = run.lower(state, data).compile()
            found[name] = program(state, data), program.as_text()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["replicas", "shards"])
def test_the_run_on_two_devices_is_the_run_on_one(runs, name):
    (one, _), (two, _) = runs["one"], runs[name]
    assert len(one[1].devices()) == 1
    assert len(two[1].devices()) == 2
    assert not np.array_equal(one[1][0], one[1][1])
    chex.assert_trees_all_close(jax.device_get(one[0].params), jax.device_get(two[0].params), rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(jax.device_get(one[1]), jax.device_get(two[1]), rtol=1e-4, atol=1e-6)


def test_gradients_are_summed_over_devices_once_for_each_batch(runs):
    """Inside the loops over steps and micro-batches, and not inside the one over time."""
    assert "all-reduce" not in runs["one"][1]
    sums = [line for line in runs["replicas"][1].splitlines() if " all-reduce(" in line]
    assert any("transpose" in line for line in sums)
    assert {line.split('op_name="')[1].split('"')[0].count("while/body") for line in sums} <= {1, 2}


def test_each_device_stores_its_part_of_the_state(runs):
    """Of replicas everything, of shards half of the recurrent weights and of all that belongs to them."""
    for name, share in (("replicas", 1), ("shards", 2)):
        (state, _), _ = runs[name]
        for tree in (state.params, state.opt_state, state.weights):
            leaf = max(jax.tree.leaves(tree), key=lambda leaf: leaf.size)
            assert [shard.data.size for shard in leaf.addressable_shards] == [leaf.size // share] * 2
    assert "all-gather" in runs["shards"][1]


def test_each_device_has_half_of_the_rows(corpus):
    tokens, plan = plan_batches(corpus.tokens.train, 13, rows=2)
    _, odd = plan_batches(corpus.tokens.train, 13)
    assert len(odd.packing.segment_BT) % 2 == 1
    place = lay_out(2)
    share = lambda *args: place.by_rows(lambda _, x_BT: x_BT, (), gather(*args)[0])
    x_BT = jax.jit(share)(place.copy(tokens), *plan.packing)
    assert len(x_BT) == len(odd.packing.segment_BT) + 1  # a row more, so that they can be shared out
    assert [shard.data.shape for shard in x_BT.addressable_shards] == [(len(x_BT) // 2, x_BT.shape[1])] * 2


def test_evaluation_is_shared_out_and_exact(runs, corpus):
    """A model whose parameters lie on two devices scores on both."""
    (state, _), _ = runs["shards"]
    model = build("gru", vocab=corpus.vocab.size, embed=5, hidden=14)
    shared = line_nll(model, state.weights, corpus.tokens.dev, lay_out(2, 2).score_batch)
    alone = line_nll(model, sharding.local(state.weights), corpus.tokens.dev)
    assert np.ptp(alone) > 1
    np.testing.assert_allclose(shared, alone, rtol=1e-5)


@pytest.mark.slow
def test_runs_are_divided_among_devices_which_exchange_nothing(corpus):
    """Three runs on two devices: the third is repeated; each run is as it is alone."""
    recipe = Recipe(batch=13, steps=3, warmup=0)
    options = {"recipe": recipe, "embed": 5, "hidden": 14, "evaluations": 1, "progress": False}
    runs = mm.sweep("gru", corpus, [0, 1, 2], spread=spread, **options)
    assert len(set(runs.train_RE[:, 0].tolist())) == 3
    alone = mm.sweep("gru", corpus, [2], **options)
    np.testing.assert_allclose(runs.train_RE[2], alone.train_RE[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("devices", "shards", "message"),
    [
        (3, 1, "`devices` is 3; JAX finds 2; XLA_FLAGS="),
        (2, 3, "`shards` is 3; for 2 devices it can be 1, 2"),
        (2, 0, "`shards` is 0; for 2 devices it can be 1, 2"),
    ],
)
def test_what_does_not_fit_is_refused(devices, shards, message):
    with pytest.raises(InputError, match=message):
        lay_out(devices, shards)


def test_what_a_device_stores_is_its_share_of_what_divides(monkeypatch):
    """Arrays of 96 and of 100 rows: 3 shards divide the first alone, and 2 or 4 both."""
    monkeypatch.setattr(sharding, "SMALL", 1)
    state = {"params": jnp.zeros((96, 5)), "moments": jnp.zeros((100, 7), jnp.bfloat16)}
    stored = {shards: stored_bytes(state, shards) for shards in (1, 2, 3, 4)}
    assert stored == {1: 1920 + 1400, 2: 960 + 700, 3: 640 + 1400, 4: 480 + 350}
    layout = lay_out(2, 2)
    placed = jax.device_put(state, layout.split(state))
    assert sum(leaf.addressable_shards[1].data.nbytes for leaf in placed.values()) == stored[2]


@pytest.mark.parametrize(("memory", "shards"), [(None, 1), (22_000, 1), (15_000, 2), (12_000, 4), (1, 4)])
def test_a_state_is_split_as_far_as_memory_asks_for(monkeypatch, memory, shards):
    """Of 12 devices: 3, 6 and 12 shards would divide fewer of its arrays."""

    class Device:
        def memory_stats(self):
            return memory and {"bytes_limit": memory}

    class State(NamedTuple):
        params: Any
        moments: Any

    monkeypatch.setattr(sharding, "SMALL", 1)
    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    state = State(jnp.zeros((100, 5)), jnp.zeros((100, 7)))
    assert shards_to_fit(state, 12) == shards
