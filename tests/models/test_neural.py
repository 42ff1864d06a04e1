"""What every neural model must do, over the table: right gradients, padding that changes nothing, learning."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.data.batches import gather
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import Split
from makemore_jax.data.tokens import tokenize
from makemore_jax.errors import InputError
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.models.layers import sample_network
from makemore_jax.models.likelihood import mean_nll
from makemore_jax.models.registry import MODELS, NEURAL, build, sizes_for
from makemore_jax.recipe import Recipe

LINES = ["emma", "ava", "mia", "zoe", "anna", "maria", "eva"]
CORPUS = encode(Split(LINES, ["ava"], ["mia"]), digest="")
WIDTH = 7  # of the batches; lines have up to 6 tokens
SMALL = {  # a model that is not here is tested at its default sizes
    "mlp": {"window": 3, "embed": 5, "hidden": 13},
    "wavenet": {"layers": 3, "cycle": 2, "channels": 7, "skip": 11},
    "bow": {"embed": 11, "hidden": 13},
    "rnn": {"embed": 5, "hidden": 13},
    "gru": {"embed": 5, "hidden": 13},
    "lstm": {"embed": 5, "hidden": 13},
    "transformer": {"layers": 2, "heads": 2, "embed": 12},
}


def small(name, corpus, **sizes):
    """The model at a tiny size, for the vocabulary of a corpus."""
    return build(name, **(sizes_for(name, corpus) | SMALL.get(name, {}) | sizes))


def rows(width):
    """The first five lines, a row each."""
    return np.arange(5)[:, None], np.arange(width)


@pytest.fixture(scope="module", params=NEURAL)
def case(request):
    model = small(request.param, CORPUS)
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))  # `init` itself runs where models train
    return (
        request.param,
        model,
        jax.tree.map(lambda leaf: jnp.asarray(0.4 * random.normal(size=leaf.shape), jnp.float32), shapes),
    )


@pytest.fixture(scope="module")
def few(names):
    """2,000 names, and the dev losses of counting on them, by order."""
    corpus = encode(Split(names[::16], names[5::64], names[7::64]), digest="")
    return corpus, {order: mm.evaluate(mm.count(corpus, order), corpus.tokens.dev).nats for order in (1, 2)}


def test_gradient_is_the_slope(case):
    """The derivative of the loss along a random direction, against a central difference, in float64."""
    _, model, params = case
    random = np.random.default_rng(1)
    with jax.enable_x64(True):
        params = jax.tree.map(np.float64, params)
        direction = jax.tree.map(lambda leaf: random.normal(size=leaf.shape), params)
        x_BT, y_BT, mask_BT = gather(CORPUS.tokens.train, *rows(WIDTH - 1))
        loss = jax.jit(jax.value_and_grad(lambda params: mean_nll(model.apply(params, x_BT), y_BT, mask_BT)))

        def at(distance):
            return loss(jax.tree.map(lambda p, d: p + distance * d, params, direction))

        products = jax.tree.map(lambda g, d: np.sum(np.asarray(g) * d), at(0.0)[1], direction)
        slope = sum(jax.tree.leaves(products))
        assert abs(slope) > 1e-3
        assert slope == pytest.approx(float(at(1e-5)[0] - at(-1e-5)[0]) / 2e-5, rel=1e-6)


def test_dropout_is_a_random_network_with_the_mean_of_the_whole(case):
    """Each key is a network of its own, the same each time; at a rate of 0 it is the whole network."""
    _, model, params = case
    x_BT, _, _ = gather(CORPUS.tokens.train, *rows(WIDTH))
    apply = jax.jit(lambda key, rate: model.apply(sample_network(params, key, rate), x_BT))
    whole, one, again, other = (
        apply(jax.random.key(seed), rate) for seed, rate in ((0, 0.0), (0, 0.5), (0, 0.5), (1, 0.5))
    )
    chex.assert_trees_all_close(whole, jax.jit(model.apply)(params, x_BT), rtol=1e-5, atol=1e-5)
    assert np.array_equal(one, again)
    if "dropout" in model.supports:
        assert not np.allclose(one, other, atol=1e-2)
        assert not np.allclose(one, whole, atol=1e-2)


def test_padding_changes_neither_loss_nor_gradient(case):
    _, model, params = case

    @partial(jax.jit, static_argnums=1)
    def loss_and_gradient(params, width):
        x_BT, y_BT, mask_BT = gather(jax.tree.map(jnp.asarray, CORPUS.tokens.train), *rows(width))
        return jax.value_and_grad(lambda p: mean_nll(model.apply(p, x_BT), y_BT, mask_BT))(params)

    assert gather(CORPUS.tokens.train, *rows(6))[2].shape != gather(CORPUS.tokens.train, *rows(7))[2].shape
    chex.assert_trees_all_close(loss_and_gradient(params, 6), loss_and_gradient(params, 7), rtol=1e-4, atol=1e-6)


def test_overfits_a_few_lines(case):
    """To the entropy that is left: what the first letter is, of 7 lines (and for some models, more)."""
    name, model, _ = case
    init, steps = mm.training(model, CORPUS, Recipe(steps=300, batch=7, learning_rate=0.03, warmup=10, weight_decay=0))
    _, losses_N = steps(init(jax.random.key(0)), 300)
    assert losses_N[0] > 2
    assert losses_N[-20:].mean() < (1.0 if name == "bigram" else 0.6)


def test_a_short_run_beats_counting_single_symbols(case, few):
    """300 steps on 2,000 names: each model beats unigram counts, the recurrent ones bigram counts."""
    (name, *_), (corpus, counted) = case, few
    recipe = Recipe(steps=300, batch=32, learning_rate=0.02 if name != "bigram" else 0.3, warmup=10)
    trained = mm.train(jax.random.key(0), small(name, corpus), corpus, recipe, evaluate_every=300)
    reached = mm.evaluate(trained, corpus.tokens.dev).nats
    assert reached < counted[1] - 0.1
    if name in ("rnn", "gru", "lstm"):
        assert reached < counted[2]


@pytest.mark.parametrize("name", [name for name in NEURAL if "context" in MODELS[name].config.__dataclass_fields__])
def test_lines_past_the_block_are_refused_at_every_door(name):
    """At the context a line is scored; one token more, and each function says so instead of reusing a position."""
    model = small(name, CORPUS, context=4)
    params = model.init(jax.random.key(0))
    fits, longer = tokenize(["mia"], CORPUS.vocab), tokenize(["emma"], CORPUS.vocab)
    assert np.isfinite(exact_loss(model, params, fits).nats)
    trained = mm.Trained(model, params, CORPUS.vocab, 5)
    doors = [
        lambda: exact_loss(model, params, longer),
        lambda: mm.training(model, CORPUS, Recipe(batch=5)),
        lambda: mm.sample(jax.random.key(0), trained, 3),
        lambda: mm.score(trained, ["emma"]),
        lambda: mm.activations(trained, "emma"),
    ]
    for door in doors:
        with pytest.raises(InputError, match="context"):
            door()


def test_unknown_models_and_sizes():
    with pytest.raises(InputError, match="there is no model 'lstn'; there are ngram, backoff"):
        build("lstn")
    with pytest.raises(InputError, match="heads"):
        build("mlp", vocab=3, heads=2)
    with pytest.raises(InputError, match="`embed` is 12; with"):
        build("transformer", vocab=3, embed=12, heads=5)
    assert set(MODELS) > set(NEURAL)
