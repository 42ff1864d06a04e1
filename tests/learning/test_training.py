"""Gradient descent: the two pure functions of a training run, the loop around them, batches, and the recipe."""

from dataclasses import replace
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from makemore_jax.data.batches import plan_batches, stratified
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import Split
from makemore_jax.data.tokens import Tokens, tokenize
from makemore_jax.errors import InputError
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.learning.fit import train_loop
from makemore_jax.learning.training import init_state, loss_of, plan_of, steps_on, train_steps, training
from makemore_jax.models.layers import dropout, sample_network
from makemore_jax.models.registry import build
from makemore_jax.recipe import Recipe, optimizer_of

KEY = jax.random.key(0)
PARAMS = {"w": jnp.array([3.0, -2.0])}
HYPER = {"learning_rate": jnp.float32(0.1)}
DATA = jnp.array([1.0, 1.0])
LINES = ["emma", "ava", "mia", "zoe", "anna", "maria", "eva"]
CORPUS = encode(Split(LINES, ["ava"], ["mia"]), digest="")
MODEL = build("mlp", vocab=CORPUS.vocab.size, window=3, embed=5, hidden=13)
WEIGHTS = jax.tree.map(
    lambda leaf: np.float32(0.5 * np.random.default_rng(0).normal(size=leaf.shape)), jax.eval_shape(MODEL.init, KEY)
)


def quadratic(params, data, hyper, key):
    """A quadratic around a target that is drawn at each step."""
    return jnp.sum((params["w"] - data - jax.random.normal(key, (2,))) ** 2)


def momentum(hyper):
    return optax.sgd(hyper["learning_rate"], momentum=0.9)


def run(until, hyper=HYPER, **options):
    """The parameters and the losses of a run from the start."""
    state, steps = init_state(PARAMS, KEY, hyper, momentum), steps_on(DATA, quadratic, momentum, in_place=True)
    state, loss_N = train_loop(steps, state, until, **options)
    return state.params, loss_N


def test_a_run_is_the_loop_written_out():
    transform = optax.sgd(0.1, momentum=0.9)
    params, opt_state, losses = PARAMS, transform.init(PARAMS), []
    for i in range(11):
        value, grads = jax.value_and_grad(quadratic)(params, DATA, HYPER, jax.random.fold_in(KEY, i))
        updates, opt_state = transform.update(grads, opt_state)
        params = optax.apply_updates(params, updates)
        losses.append(value)
    got_params, got_losses = run(11)
    chex.assert_trees_all_close(got_params, params, rtol=1e-5)
    np.testing.assert_allclose(got_losses, losses, rtol=1e-5)
    assert len(set(got_losses.tolist())) == 11  # each step draws its own


def test_chunks_do_not_matter():
    chex.assert_trees_all_equal(run(11, chunk=11), run(11, chunk=3))
    assert len(run(0)[1]) == 0


def test_the_callers_parameters_and_state_stay():
    run(3)
    chex.assert_trees_all_equal(PARAMS, {"w": jnp.array([3.0, -2.0])})
    state, steps = init_state(PARAMS, KEY, HYPER, momentum), steps_on(DATA, quadratic, momentum)
    once, again = steps(state, 2), steps(state, 2)
    chex.assert_trees_all_equal(once, again)
    assert not np.array_equal(once[0].params["w"], state.params["w"])


def test_many_runs_as_one_program_are_the_runs_alone():
    @jax.jit
    @jax.vmap
    def many(rate):
        state = init_state(PARAMS, KEY, {"learning_rate": rate}, momentum)
        return train_steps(state, DATA, loss=quadratic, optimizer=momentum, count=11)

    states, losses = many(jnp.array([0.1, 0.01]))
    params, alone = run(11)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[0], states.params), params, rtol=1e-5)
    np.testing.assert_allclose(losses[0], alone, rtol=1e-5)
    assert not np.allclose(losses[0], losses[1], rtol=1e-2)


def test_a_diverging_run_stops_and_says_where():
    with pytest.raises(InputError, match=r"the loss is (inf|nan) at step \d+: training diverged; lower the"):
        run(100, {"learning_rate": jnp.float32(1e9)})


def test_a_second_run_compiles_nothing(compilations):
    with compilations() as first:
        run(8, chunk=4)
    with compilations() as second:
        run(8, chunk=4)
    assert first
    assert not second


def test_a_second_training_compiles_nothing(compilations):
    recipe = Recipe(steps=4, batch=3, warmup=1)
    for number in range(2):
        with compilations() as programs:
            init, steps = training(MODEL, CORPUS, recipe)
            steps(init(jax.random.key(number)), 2)
        assert bool(programs) == (number == 0)


def test_no_bar_without_a_terminal(capfd):
    run(3, label="descent")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("lines", "rows"), [(13, 5), (5, 13), (7, 7), (11, 1)])
def test_a_batch_holds_every_line_equally_often(monkeypatch, lines, rows):
    """Over everything that the generator can give, exactly; and line b is no longer than its slot."""
    drawn = []
    for offset in range(lines):
        monkeypatch.setattr(jax.random, "randint", lambda key, shape, low, high, u=offset: np.full(shape, u))
        drawn.append(np.asarray(stratified(None, lines, rows)))
    assert np.array_equal(np.bincount(np.ravel(drawn), minlength=lines), [rows] * lines)
    lengths = np.sort(np.random.default_rng(0).integers(2, 9, lines)).astype(np.int32)
    _, plan = plan_batches(Tokens(np.zeros(99, np.int32), np.zeros(lines, np.int32), lengths[::-1]), rows)
    assert len(plan.widths) == rows
    assert np.array_equal(plan.widths, lengths[drawn].max(0))


def test_the_mean_over_batches_is_the_loss_of_the_data():
    """The estimator is unbiased: over 4,000 batches its mean is within 4 standard errors of the exact loss."""
    params = jax.tree.map(lambda leaf: 3 * leaf, MODEL.init(jax.random.key(0)))
    lines = tokenize([*LINES, "a", "e", "i"], CORPUS.vocab)
    tokens, plan = plan_batches(lines, 5)
    assert len(plan.packing.segment_BT) < 5  # lines are packed
    loss, on_device = loss_of(MODEL, Recipe(batch=5), plan), jax.device_put(tokens)
    loss_K = jax.jit(jax.vmap(lambda key: loss(params, on_device, {}, key)))(jax.random.split(KEY, 4000))
    error = loss_K.std() / 4000**0.5
    assert 0 < error < 0.02
    assert abs(loss_K.mean() - exact_loss(MODEL, params, lines).nats) < 4 * error


def three_steps(recipe, seed=0, rate=0.01):
    """The state and the losses after three steps."""
    init, steps = training(MODEL, CORPUS, recipe)
    return steps(init(jax.random.key(seed), recipe.hyper | {"learning_rate": jnp.float32(rate)}), 3)


def test_vmap_over_the_two_functions_trains_seeds_and_rates_at_once():
    recipe = Recipe(steps=20, batch=5, warmup=2)
    init, steps = training(MODEL, CORPUS, recipe)
    seeds, rates = [0, 1, 0], jnp.float32([0.01, 0.01, 0.1])
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    state_R = jax.vmap(lambda key, rate: init(key, recipe.hyper | {"learning_rate": rate}))(keys, rates)
    state_R, loss_RN = jax.vmap(partial(steps, count=3))(state_R)
    for r in range(3):
        state, alone = three_steps(recipe, seeds[r], rates[r])
        np.testing.assert_allclose(loss_RN[r], alone, rtol=1e-5)
        params = jax.tree.map(lambda leaf, r=r: leaf[r], state_R.params)
        chex.assert_trees_all_close(params, state.params, atol=1e-5)
    assert loss_RN[0, 0] != loss_RN[1, 0]  # seeds differ from the start
    assert loss_RN[0, 0] == loss_RN[2, 0]
    assert abs(loss_RN[0, 2] - loss_RN[2, 2]) > 1e-3  # rates differ after it


def gradients(recipe, keys=3, corpus=CORPUS):
    """The loss of a recipe and its gradient, of the batches that a few keys draw, (keys, ...)."""
    tokens, plan = plan_of(MODEL, corpus, recipe)
    loss, tokens = loss_of(MODEL, recipe, plan), jax.device_put(tokens)
    gradient = jax.jit(jax.vmap(lambda key: jax.value_and_grad(loss)(WEIGHTS, tokens, {}, key)))
    return jax.device_get(gradient(jax.random.split(KEY, keys)))


def test_micro_batches_and_bfloat16():
    whole, parts, low = (
        gradients(Recipe(batch=6, **options)) for options in ({}, {"micro_batches": 3}, {"bfloat16": True})
    )
    assert len(set(whole[0].tolist())) == 3
    chex.assert_trees_all_close(whole, parts, rtol=1e-4, atol=1e-6)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(low))
    np.testing.assert_allclose(low[0], whole[0], rtol=0.03)
    chex.assert_trees_all_close(low[1], whole[1], atol=0.05)
    assert not np.array_equal(low[0], whole[0])


def test_dropout_scales_up_what_it_keeps():
    ones = jnp.ones((100, 100))
    kept = dropout(sample_network({}, KEY, jnp.float32(0.2)))(ones)
    assert set(np.unique(kept)) == {0.0, 1.25}
    assert float(kept.mean()) == pytest.approx(1, abs=0.03)
    drop = dropout(sample_network({}, KEY, jnp.float32(0.2)))
    assert not np.array_equal(drop(ones), drop(ones))  # each call draws anew
    assert dropout({})(ones) is ones


def test_dropout_is_drawn_anew_in_each_step():
    """The key of a step draws what is dropped, and not the batch alone: here all batches are the same."""
    corpus = CORPUS._replace(tokens=CORPUS.tokens._replace(train=tokenize(["emma"] * 7, CORPUS.vocab)))
    for rate in (0.0, 0.5):
        losses_N, _ = gradients(Recipe(batch=5, dropout=rate), corpus=corpus)
        assert len(set(losses_N.tolist())) == (1 if rate == 0 else 3)


@pytest.mark.slow
def test_a_model_computes_its_blocks_again_with_the_same_gradient():
    """With dropout, whose masks must be the same too; the memory no longer grows with the activations of all layers."""
    model, programs = build("transformer", vocab=CORPUS.vocab.size, context=7, layers=5, heads=1, embed=6), []
    tokens, plan = plan_batches(CORPUS.tokens.train, 5)
    params, tokens = jax.tree.map(lambda leaf: leaf + 0.1, model.init(KEY)), jax.device_put(tokens)
    for remat in (False, True):
        loss = loss_of(model, Recipe(batch=5, dropout=0.5, remat=remat), plan)
        gradient = jax.jit(jax.value_and_grad(lambda params, loss=loss: loss(params, tokens, {}, KEY)))
        programs.append(gradient.lower(params).compile())
    chex.assert_trees_all_close(programs[0](params), programs[1](params), rtol=1e-4, atol=1e-7)
    kept, again = (program.memory_analysis().temp_size_in_bytes for program in programs)
    assert again < 0.6 * kept


def test_a_model_without_blocks_refuses_to_compute_them_again():
    with pytest.raises(InputError, match="this model has no blocks to recompute; set `remat` to False"):
        training(MODEL, CORPUS, Recipe(batch=5, remat=True))


def test_a_model_without_units_refuses_dropout():
    with pytest.raises(InputError, match="this model has no dropout; set `dropout` to 0"):
        training(build("bigram", vocab=CORPUS.vocab.size), CORPUS, Recipe(batch=5, dropout=0.1))


def test_the_average_of_the_weights_is_what_is_evaluated():
    """Against the recurrence, in NumPy, over the weights after each of 30 steps; the decay grows from 0 to 0.9."""
    recipe = Recipe(steps=30, batch=5, warmup=2, average=0.9)
    init, steps = training(MODEL, CORPUS, recipe)
    state = init(KEY)
    expected = average = np.asarray(state.params["embed"])
    for t in range(1, 31):
        state, _ = steps(state, 1)
        share = max(0.1, 9 / (9 + t))
        average = (1 - share) * average + share * np.asarray(state.params["embed"])
    np.testing.assert_allclose(state.weights["embed"], average, rtol=1e-4, atol=1e-6)
    assert not np.allclose(state.weights["embed"], state.params["embed"], atol=1e-4)
    assert not np.allclose(state.weights["embed"], expected, atol=1e-2)
    plain, _ = training(MODEL, CORPUS, Recipe(steps=30, batch=5))
    state = plain(KEY)
    assert state.weights is state.params


def test_decay_is_for_matrices_only_and_the_rate_follows_the_schedule():
    recipe = Recipe(steps=100, warmup=10, final=0.1, learning_rate=1.0, weight_decay=0.5)
    ones = jnp.ones(3)
    params = {"w": ones, "b": ones, "start": {"h": ones, "c": ones}, "norm": {"g": ones}, "more": [ones]}
    transform = optimizer_of(recipe)(recipe.hyper)
    opt_state, zero, rates = transform.init(params), jax.tree.map(jnp.zeros_like, params), []
    update = jax.jit(transform.update)
    for _ in range(100):
        updates, opt_state = jax.device_get(update(zero, opt_state, params))
        for kept in (updates["b"], *updates["start"].values(), updates["norm"]["g"]):
            assert not kept.any()
        assert np.array_equal(updates["more"][0], updates["w"])
        rates.append(-float(updates["w"][0]) / 0.5)
    assert (rates[0], rates[5], rates[10]) == pytest.approx((0, 0.5, 1.0), abs=1e-6)
    assert rates[99] == pytest.approx(0.1, abs=0.01)
    assert sorted(rates[10:], reverse=True) == rates[10:]


def test_a_default_batch_that_does_not_fit_is_lowered_and_said():
    for recipe, batch in ((Recipe(), 7), (replace(Recipe(), micro_batches=2), 6)):
        with pytest.warns(UserWarning, match=f"holds 64 lines, but there are 7 to train on; it is lowered to {batch}"):
            assert recipe.fitted(7) == replace(recipe, batch=batch)
    assert Recipe().fitted(64) == Recipe()  # without a warning
    with pytest.raises(InputError, match="a batch holds 64 lines"):
        Recipe(micro_batches=8).fitted(7)
    with pytest.warns(UserWarning, match="it is lowered to 7"):
        _, plan = plan_of(MODEL, CORPUS, Recipe())
    assert plan == plan_of(MODEL, CORPUS, Recipe(batch=7))[1]


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="a batch holds 64 lines, but there are 7 to train on; add lines, or"):
        training(MODEL, CORPUS, Recipe(batch=64))  # the default, but chosen
    with pytest.raises(InputError, match="a batch holds 8 lines, but there are 7 to train on; add lines, or"):
        training(MODEL, CORPUS, Recipe(batch=8))
    with pytest.raises(
        InputError, match=f"the model is for 3 symbols; build it for the {CORPUS.vocab.size} of the data"
    ):
        training(build("bigram", vocab=3), CORPUS)
    short = build("bow", vocab=CORPUS.vocab.size, context=4, embed=5, hidden=7)
    with pytest.raises(InputError, match="lines of 6 tokens, the end mark included, exceed the model's context of 4"):
        training(short, CORPUS, Recipe(batch=5))
