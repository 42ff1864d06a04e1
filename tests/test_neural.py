"""What every neural model must do, over the table: right gradients, padding that changes nothing, overfitting."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from makemore_jax import data, train
from makemore_jax.errors import InputError
from makemore_jax.loss import evaluate, mean_nll
from makemore_jax.models import MODELS, NEURAL, backoff, build

LINES = ["emma", "ava", "mia", "zoe", "anna", "maria", "eva"]
VOCAB = data.Vocab.of(LINES)
TOKENS = data.tokenize(LINES, VOCAB)
WIDTH = 7  # of the batches; lines have up to 6 tokens
SMALL = {
    "bigram": {},
    "mlp": {"window": 3, "embed": 5, "hidden": 13},
    "wavenet": {"layers": 3, "cycle": 2, "channels": 7, "skip": 11},
    "bow": {"block": WIDTH, "embed": 11, "hidden": 13},
    "rnn": {"embed": 5, "hidden": 13},
    "gru": {"embed": 5, "hidden": 13},
    "lstm": {"embed": 5, "hidden": 13},
    "transformer": {"block": WIDTH, "layers": 2, "heads": 2, "embed": 12},
}


def rows(width):
    """The first five lines, a row each."""
    return np.arange(5)[:, None], np.arange(width)


def test_every_neural_model_is_here():
    assert set(SMALL) == set(NEURAL)


@pytest.fixture(scope="module", params=NEURAL)
def case(request):
    model = build(request.param, {"vocab": VOCAB.size, **SMALL[request.param]})
    random = np.random.default_rng(0)
    params = jax.jit(model.init)(jax.random.key(0))
    return model, jax.tree.map(lambda leaf: leaf + jnp.float32(0.3 * random.normal(size=leaf.shape)), params)


def test_gradient_is_the_slope(case):
    """The derivative of the loss along a random direction, against a central difference, in float64."""
    model, params = case
    random = np.random.default_rng(1)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), params)
        direction = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape)), params)
        x_BT, y_BT, mask_BT = data.batch(TOKENS, *rows(WIDTH))

        @jax.jit
        def loss(params):
            return mean_nll(model.apply(params, x_BT), y_BT, mask_BT)

        def at(distance):
            return loss(jax.tree.map(lambda p, d: p + distance * d, params, direction))

        products = jax.tree.map(lambda g, d: (g * d).sum(), jax.grad(loss)(params), direction)
        slope = sum(jax.tree.leaves(products))
        assert abs(slope) > 1e-3
        assert float(slope) == pytest.approx(float(at(1e-5) - at(-1e-5)) / 2e-5, rel=1e-6)


def test_padding_changes_neither_loss_nor_gradient(case):
    model, params = case

    @partial(jax.jit, static_argnums=1)
    def loss_and_gradient(params, width):
        x_BT, y_BT, mask_BT = data.batch(jax.tree.map(jnp.asarray, TOKENS), *rows(width))
        return jax.value_and_grad(lambda p: mean_nll(model.apply(p, x_BT), y_BT, mask_BT))(params)

    assert data.batch(TOKENS, *rows(6))[2].shape != data.batch(TOKENS, *rows(7))[2].shape
    chex.assert_trees_all_close(loss_and_gradient(params, 6), loss_and_gradient(params, 7), rtol=1e-4, atol=1e-6)


def test_overfits_a_few_lines(case):
    """To the entropy that is left: what the first letter is, of 7 lines (and for some models, more)."""
    model, _ = case
    recipe = train.Recipe(steps=300, batch=16, learning_rate=0.03, warmup=10, weight_decay=0.0)
    state = train.start(jax.jit(model.init)(jax.random.key(0)), recipe.hyper, train.adamw(recipe))
    tokens, plan = data.plan(TOKENS, recipe.lines_at_once)
    loss = train.batch_loss(model, VOCAB.size, plan, recipe)
    losses = []
    train.fit(
        jax.random.key(1),
        state,
        jax.device_put(tokens),
        recipe.hyper,
        loss=loss,
        optimizer=train.adamw(recipe),
        count=300,
        chunk=100,
        on_chunk=lambda state, chunk: losses.append(chunk),
    )
    sees_one_symbol = build("bigram", {"vocab": VOCAB.size}) is model
    assert losses[0][0] > 2
    assert losses[-1][-20:].mean() < (1.0 if sees_one_symbol else 0.6)


@pytest.mark.parametrize(("lines", "rows"), [(13, 5), (5, 13), (7, 7), (11, 1)])
def test_a_batch_holds_every_line_equally_often(monkeypatch, lines, rows):
    """Over all that the generator can give, exactly; and line b is no longer than its place."""
    drawn = []
    for offset in range(lines):
        monkeypatch.setattr(jax.random, "randint", lambda key, shape, low, high, u=offset: np.full(shape, u))
        drawn.append(np.asarray(train.draw(None, lines, rows)))
    assert np.array_equal(np.bincount(np.ravel(drawn), minlength=lines), [rows] * lines)
    lengths = np.sort(np.random.default_rng(0).integers(2, 9, lines)).astype(np.int32)
    _, plan = data.plan(data.Tokens(np.zeros(99, np.int32), np.zeros(lines, np.int32), lengths[::-1]), rows)
    assert len(plan.widths) == rows
    assert np.array_equal(plan.widths, lengths[drawn].max(0))


def test_the_mean_over_batches_is_the_loss_of_the_data():
    """The estimator is unbiased: over 4,000 batches its mean is within 4 standard errors of the exact loss."""
    model = build("mlp", {"vocab": VOCAB.size, **SMALL["mlp"]})
    params = jax.tree.map(lambda leaf: 3 * leaf, model.init(jax.random.key(0)))
    recipe, lines = train.Recipe(batch=5), data.tokenize([*LINES, "a", "e", "i"], VOCAB)
    tokens, plan = data.plan(lines, recipe.lines_at_once)
    assert len(plan.layout.line_BT) < recipe.lines_at_once
    loss = train.batch_loss(model, VOCAB.size, plan, recipe)
    on_device = jax.device_put(tokens)
    every = jax.jit(jax.vmap(lambda key: loss(params, on_device, {}, key)))(jax.random.split(jax.random.key(0), 4000))
    error = every.std() / 4000**0.5
    assert 0 < error < 0.02
    assert abs(every.mean() - evaluate(model, params, lines).nats) < 4 * error


def test_a_short_run_beats_counting_single_symbols(case, names, vocab):
    """300 steps on 2,000 names: each model beats unigram counts, the recurrent ones bigram counts."""
    name = next(name for name in NEURAL if build(name, {"vocab": VOCAB.size, **SMALL[name]}) is case[0])
    sizes = SMALL[name] | {"vocab": vocab.size} | ({"block": 16} if "block" in SMALL[name] else {})
    model, some, held_out = build(name, sizes), names[::16], names[5::64]
    recipe = train.Recipe(steps=300, batch=32, learning_rate=0.02 if name != "bigram" else 0.3, warmup=10)
    tokens, plan = data.plan(data.tokenize(some, vocab), recipe.lines_at_once)
    optimizer, loss = train.adamw(recipe), train.batch_loss(model, vocab.size, plan, recipe)
    state = train.start(jax.jit(model.init)(jax.random.key(0)), recipe.hyper, optimizer)
    state, _ = jax.jit(partial(train.run, loss=loss, optimizer=optimizer, count=300))(
        jax.random.key(1), state, jax.device_put(tokens), recipe.hyper
    )
    reached = evaluate(model, state.params, data.tokenize(held_out, vocab)).nats
    counted = {}
    for order in (1, 2):
        config = backoff.Config(vocab.size, order)
        params = backoff.fit(config, *data.tokenize(some, vocab).pairs)
        counted[order] = evaluate(backoff.backoff(config), params, data.tokenize(held_out, vocab)).nats
    assert reached < counted[1] - 0.1
    if name in ("rnn", "gru", "lstm"):
        assert reached < counted[2]


def small_run(recipe, rate, seed):
    """A run of three steps as a pure function of its rate and its seed."""
    model = build("mlp", {"vocab": VOCAB.size, **SMALL["mlp"]})
    init_key, run_key = jax.random.split(jax.random.key(seed))
    hyper = recipe.hyper | {"learning_rate": rate}
    optimizer = train.adamw(recipe)
    state = train.start(model.init(init_key), hyper, optimizer)
    tokens, plan = data.plan(TOKENS, recipe.lines_at_once)
    loss = train.batch_loss(model, VOCAB.size, plan, recipe)
    return train.run(run_key, state, jax.device_put(tokens), hyper, loss=loss, optimizer=optimizer, count=3)


def test_seeds_and_rates_as_one_program_are_the_runs_alone():
    recipe = train.Recipe(steps=20, batch=5, warmup=2)
    rates, seeds = jnp.float32([0.01, 0.01, 0.1]), jnp.array([0, 1, 0])
    states, losses = jax.jit(jax.vmap(partial(small_run, recipe)))(rates, seeds)
    for s in range(3):
        state, alone = jax.jit(partial(small_run, recipe))(rates[s], seeds[s])
        np.testing.assert_allclose(losses[s], alone, rtol=1e-5)
        chex.assert_trees_all_close(jax.tree.map(lambda leaf, s=s: leaf[s], states.params), state.params, atol=1e-5)
    assert losses[0, 0] != losses[1, 0]  # seeds differ from the start
    assert losses[0, 0] == losses[2, 0]
    assert abs(losses[0, 2] - losses[2, 2]) > 1e-3  # rates differ after it


def test_micro_batches_and_bfloat16():
    whole, parts, low = (
        jax.jit(partial(small_run, train.Recipe(steps=20, batch=6, warmup=0, **options), 0.01, 0))()
        for options in ({}, {"micro_batches": 3}, {"bfloat16": True})
    )
    chex.assert_trees_all_close(whole, parts, rtol=1e-4, atol=1e-6)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(low[0].params))
    np.testing.assert_allclose(low[1], whole[1], rtol=0.03)
    assert not np.array_equal(low[1], whole[1])


def test_token_dropout_changes_inputs_and_only_in_training():
    recipes = [train.Recipe(steps=20, batch=6, warmup=0, token_dropout=share) for share in (0.0, 0.5)]
    plain, dropped = (jax.jit(partial(small_run, recipe, 0.01, 0))()[1] for recipe in recipes)
    assert not np.allclose(plain, dropped, rtol=1e-3)


def test_decay_is_for_matrices_only_and_the_rate_follows_the_schedule():
    recipe = train.Recipe(steps=100, warmup=10, final=0.1, learning_rate=1.0, weight_decay=0.5)
    params = {
        "w": jnp.ones(3),
        "b": jnp.ones(3),
        "start": {"h": jnp.ones(3)},
        "norm": {"g": jnp.ones(3)},
        "more": [jnp.ones(3)],
    }
    transform = train.adamw(recipe)(recipe.hyper)
    opt_state, zero = transform.init(params), jax.tree.map(jnp.zeros_like, params)
    rates = []
    for _ in range(100):
        updates, opt_state = transform.update(zero, opt_state, params)
        assert not any(updates[name].any() for name in ("b",))
        assert not updates["start"]["h"].any()
        assert not updates["norm"]["g"].any()
        assert np.array_equal(updates["more"][0], updates["w"])
        rates.append(-float(updates["w"][0]) / 0.5)
    assert (rates[0], rates[5], rates[10]) == pytest.approx((0, 0.5, 1.0), abs=1e-6)
    assert rates[99] == pytest.approx(0.1, abs=0.01)
    assert sorted(rates[10:], reverse=True) == rates[10:]


def test_unknown_models_and_sizes():
    with pytest.raises(InputError, match="there is no model 'lstn'; there are ngram, backoff"):
        build("lstn", {})
    with pytest.raises(InputError, match="its sizes are those of another model"):
        build("mlp", {"vocab": 3, "heads": 2})
    with pytest.raises(InputError, match="--embed is 12; with --heads 5 it must divide by 5"):
        build("transformer", {"vocab": 3, "embed": 12, "heads": 5})
    assert set(MODELS) > set(NEURAL)
