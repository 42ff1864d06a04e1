"""Muon: its update, which parameters it trains, and that a run with it is a run like any other."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optax.contrib import MuonDimensionNumbers, scale_by_muon

import makemore_jax as mm
from makemore_jax import checkpoint
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import Split
from makemore_jax.distributed import mesh
from makemore_jax.distributed.mesh import lay_out, placement_on
from makemore_jax.errors import InputError
from makemore_jax.learning.training import training
from makemore_jax.models.interface import shapes_of
from makemore_jax.models.registry import build
from makemore_jax.muon import orthogonal_momentum
from makemore_jax.recipe import Recipe, is_inside, optimizer_of
from tests.cases import NEURAL_CASES, label, sizes_of, variant

LINES = ["emma", "ava", "mia", "zoe", "anna", "maria", "eva"]
CORPUS = encode(Split(LINES, ["ava"], ["mia"]), digest="")
MODEL = build("mlp", vocab=CORPUS.vocab.size, window=3, embed=5, hidden=16)
RECIPE = Recipe(steps=8, batch=6, warmup=2, learning_rate=0.01, optimizer="muon")


def random_tree(shapes, seed):
    random = np.random.default_rng(seed)
    return {name: jnp.float32(random.normal(size=shape)) for name, shape in shapes.items()}


def test_stacks_of_one_shape_are_updated_as_optax_updates_each_matrix():
    """Wide, tall, square, in equal shapes and alone, and matrices that are stacked already; over several steps."""
    shapes = {"a": (5, 17), "b": (17, 5), "c": (5, 17), "d": (7, 7), "e": (2, 5, 17), "f": (2, 5, 17), "g": (3, 5, 17)}
    axes = dict.fromkeys(shapes, MuonDimensionNumbers(-2, -1))
    ours, theirs = orthogonal_momentum(steps=4), scale_by_muon(ns_steps=4, weight_dimension_numbers=axes)
    params = random_tree(shapes, 0)
    state, other = ours.init(params), theirs.init(params)
    for step in range(3):
        grads = random_tree(shapes, 1 + step)
        updates, state = jax.jit(ours.update)(grads, state)
        expected, other = jax.jit(theirs.update)(grads, other)
        scaled = {name: 0.2 * max(leaf.shape[-2:]) ** 0.5 * leaf for name, leaf in expected.items()}
        chex.assert_trees_all_close(updates, scaled, rtol=1e-4, atol=1e-5)


def test_square_maps_side_by_side_are_updated_each_by_itself():
    """As optax updates each; as one matrix, it would update them otherwise."""
    grads = random_tree({"gates": (5, 15), "stack": (2, 5, 10), "tall": (11, 5), "square": (5, 5)}, 0)
    maps = {f"gate{k}": part for k, part in enumerate(jnp.split(grads["gates"], 3, axis=1))}
    maps |= {"left": grads["stack"][..., :5], "right": grads["stack"][..., 5:]}
    ours, theirs = orthogonal_momentum(), scale_by_muon(ns_steps=3)
    update, _ = ours.update(grads, ours.init(grads))
    alone = {name: ours.update({name: part}, ours.init({name: part}))[0][name] for name, part in maps.items()}
    expected = {
        "gates": jnp.hstack([alone[f"gate{k}"] for k in range(3)]),
        "stack": jnp.concatenate([alone["left"], alone["right"]], axis=-1),
    }
    chex.assert_trees_all_close({name: update[name] for name in expected}, expected, rtol=1e-4, atol=1e-5)
    whole, _ = theirs.update(grads["gates"], theirs.init(grads["gates"]))
    gate, _ = theirs.update(maps["gate1"], theirs.init(maps["gate1"]))
    assert not np.allclose(update["gates"], 0.2 * 15**0.5 * whole, rtol=0.1)
    np.testing.assert_allclose(update["gates"][:, 5:10], 0.2 * 5**0.5 * gate, rtol=1e-4, atol=1e-5)


def test_an_update_has_singular_values_near_one_whatever_those_of_the_gradient():
    u, _, vt = np.linalg.svd(np.random.default_rng(0).normal(size=(8, 31)), full_matrices=False)
    grads = {"w": jnp.float32(u * np.geomspace(1, 0.1, 8) @ vt)}
    update, _ = orthogonal_momentum().update(grads, orthogonal_momentum().init(grads))
    values = np.linalg.svd(np.asarray(update["w"]), compute_uv=False) / (0.2 * 31**0.5)
    assert values.min() > 0.5
    assert values.max() < 1.3


@pytest.mark.parametrize("case", NEURAL_CASES, ids=label)
def test_muon_trains_the_matrices_that_do_not_grow_with_the_vocabulary_or_the_context(case):
    """If not: do the parameters that read symbols or positions, or give logits, have names of `ENDS`?"""
    name, sizes = case[0], sizes_of(case[0], variant(case))
    larger = sizes | {size: value + 2 for size, value in sizes.items() if size in ("vocab", "context")}
    leaves, others = (
        jax.tree_util.tree_leaves_with_path(shapes_of(build(name, **each).init)) for each in (sizes, larger)
    )
    for (path, leaf), (_, other) in zip(leaves, others, strict=True):
        expected = len(leaf.shape) >= 2 and leaf.shape == other.shape
        assert is_inside(path, leaf) == expected, jax.tree_util.keystr(path)
    found = sum(is_inside(path, leaf) for path, leaf in leaves)
    assert (found == 0) == (name == "bigram")


def updates_of(recipe, params, grads):
    """The updates of the second step, when the rate is at its peak."""
    transform = optimizer_of(recipe)(recipe.hyper)
    _, state = transform.update(grads, transform.init(params), params)
    return transform.update(grads, state, params)[0]


@pytest.mark.slow
def test_each_optimiser_has_its_rate_and_decay_is_for_both():
    recipe = Recipe(steps=9, warmup=1, final=1, weight_decay=0.5, learning_rate=0.01, optimizer="muon")
    params = {
        "embed": jnp.ones((3, 5)),
        "hidden": {"w": jnp.ones((5, 5)), "b": jnp.ones(5)},
        "start": {"h": jnp.ones(5)},
    }
    still = updates_of(recipe, params, jax.tree.map(jnp.zeros_like, params))
    expected = {"embed": -0.005, "hidden": {"w": -0.02, "b": 0.0}, "start": {"h": 0.0}}
    chex.assert_trees_all_close(still, jax.tree.map(lambda p, e: jnp.full_like(p, e), params, expected), rtol=1e-5)
    grads = jax.tree.map(lambda leaf: jnp.float32(np.random.default_rng(0).normal(size=leaf.shape)), params)
    by_default, slower = (
        updates_of(dataclasses.replace(recipe, muon_rate=rate), params, grads) for rate in (None, 0.004)
    )
    adamw = updates_of(dataclasses.replace(recipe, optimizer="adamw"), params, grads)
    chex.assert_trees_all_close(10 * slower["hidden"]["w"], by_default["hidden"]["w"], rtol=1e-4)
    assert not np.allclose(adamw["hidden"]["w"], by_default["hidden"]["w"], rtol=0.1)
    for updates in (by_default, slower):
        updates["hidden"]["w"] = adamw["hidden"]["w"]
        chex.assert_trees_all_close(updates, adamw, rtol=1e-5)


@pytest.mark.slow
def test_seeds_and_rates_at_once_are_the_runs_alone():
    options = {"recipe": dataclasses.replace(RECIPE, average=0.9), "evaluations": 1, "progress": False}
    runs = mm.sweep(MODEL, CORPUS, [0, 1], [0.01, 0.1], **options)
    assert len(set(runs.train_RE[:, 0].tolist())) == 4
    for r in range(4):
        alone = mm.sweep(MODEL, CORPUS, [int(runs.seed_R[r])], [float(runs.rate_R[r])], **options)
        np.testing.assert_allclose(runs.train_RE[r], alone.train_RE[0], rtol=1e-5)
        chex.assert_trees_all_close(runs.best[r].params, alone.best[0].params, atol=1e-5)


@pytest.mark.slow
def test_a_run_that_is_saved_and_resumed_is_the_run_bit_for_bit():
    """With all options that a recipe has for this model."""
    options = {"dropout": 0.1, "average": 0.9, "micro_batches": 2, "bfloat16": True, "muon_rate": 0.02}
    init, steps = training(MODEL, CORPUS, dataclasses.replace(RECIPE, **options))
    state, losses_N = steps(init(jax.random.key(0)), 4)
    state, more_N = steps(checkpoint.unflatten(jax.device_get(checkpoint.flatten(state)), state), 4)
    whole, whole_N = steps(steps(init(jax.random.key(0)), 4)[0], 4)
    chex.assert_trees_all_equal(checkpoint.flatten(state), checkpoint.flatten(whole))
    assert np.array_equal(more_N, whole_N)
    assert np.isfinite(losses_N).all()
    assert not np.allclose(state.weights["hidden"]["w"], state.params["hidden"]["w"], atol=1e-4)


@pytest.mark.slow
def test_the_run_on_two_shards_is_the_run_on_one_device(monkeypatch):
    """A shard is a part of every matrix, and an update needs the whole."""
    monkeypatch.setattr(mesh, "SMALL", 2)
    states = []
    for layout in (lay_out(1), lay_out(2, 2)):
        init, steps = training(MODEL, CORPUS, RECIPE, placement=placement_on(layout))
        states.append(steps(init(jax.random.key(0)), 3)[0])
    weights = states[1].params["hidden"]["w"]
    assert [shard.data.size for shard in weights.addressable_shards] == [weights.size // 2] * 2
    chex.assert_trees_all_close(*(jax.device_get(state.params) for state in states), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_recompiled_block_has_the_same_update():
    model = build("transformer", vocab=CORPUS.vocab.size, context=7, layers=2, heads=1, embed=6)
    states = []
    for remat in (False, True):
        init, steps = training(model, CORPUS, dataclasses.replace(RECIPE, remat=remat))
        states.append(steps(init(jax.random.key(0)), 2)[0].params)
    chex.assert_trees_all_close(*states, rtol=1e-3, atol=1e-5)


def test_a_model_without_matrices_is_trained_by_adamw():
    bigram, states = build("bigram", vocab=CORPUS.vocab.size), []
    for optimizer in ("adamw", "muon"):
        init, steps = training(bigram, CORPUS, dataclasses.replace(RECIPE, optimizer=optimizer))
        states.append(steps(init(jax.random.key(0)), 3)[0].params)
    chex.assert_trees_all_close(*states, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "sgd"}, "`optimizer` is 'sgd'; it must be one of adamw, muon"),
        ({"muon_rate": 0.1}, "`muon_rate` is for muon; set `optimizer` to muon, or leave it out"),
        ({"optimizer": "muon", "muon_rate": 0.0}, "`muon_rate` is 0.0; it must be from"),
    ],
)
def test_what_does_not_fit_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Recipe(**fields)
