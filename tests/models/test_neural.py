"""What every neural model must do, over the table: right gradients, padding that changes nothing, learning."""

from functools import cache
from typing import NamedTuple

import chex
import jax
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.data.corpus import Corpus, encode
from makemore_jax.data.lines import Split
from makemore_jax.data.tokens import tokenize
from makemore_jax.errors import InputError
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.models.layers import mark_remat, sample_network
from makemore_jax.models.likelihood import mean_nll
from makemore_jax.models.registry import MODELS, NEURAL, build, sizes_for
from makemore_jax.recipe import Recipe
from tests.cases import CORPUS, NEURAL_CASES, B, T, V, label, on_host, shared_case, variant

REMAT = "remat2"  # what a gradient calls the computing again


@pytest.fixture(scope="module", params=NEURAL_CASES, ids=label)
def case(request):
    return shared_case(request.param)


def rows_of(*lines_of_row):
    """x, y, mask (B, T): the lines of each row end to end, then padding."""
    x_BT, y_BT, mask_BT = np.zeros((B, T), np.int32), np.zeros((B, T), np.int32), np.zeros((B, T), bool)
    for row, lines in enumerate(lines_of_row):
        tokens = [token for line in lines for token in (0, *CORPUS.vocab.encode_line(line))]
        x_BT[row, : len(tokens)], y_BT[row, : len(tokens)] = tokens, [*tokens[1:], 0]
        mask_BT[row, : len(tokens)] = True
    return x_BT, y_BT, mask_BT


ALONE, PACKED = rows_of(["fed"], ["cafe"], ["decade"]), rows_of(["cafe", "fed"], [], ["decade"])


@cache
def gradient_of(model):
    """(params, x, y, mask) -> the loss and its gradient, to be called under `enable_x64`."""
    loss = lambda params, x_BT, y_BT, mask_BT: mean_nll(model.apply(params, x_BT), y_BT, mask_BT)
    return jax.jit(jax.value_and_grad(loss))


def test_gradient_is_the_slope(case):
    """The derivative of the loss along a random direction, against a central difference, in float64."""
    random = np.random.default_rng(1)
    with jax.enable_x64(True):
        params = jax.tree.map(np.float64, case.params)
        direction = jax.tree.map(lambda leaf: random.normal(size=leaf.shape), params)

        def at(distance):
            return gradient_of(case.model)(jax.tree.map(lambda p, d: p + distance * d, params, direction), *ALONE)

        products = jax.tree.map(lambda g, d: np.sum(np.asarray(g) * d), at(0.0)[1], direction)
        slope = sum(jax.tree.leaves(products))
        assert abs(slope) > 1e-3
        assert slope == pytest.approx(float(at(1e-5)[0] - at(-1e-5)[0]) / 2e-5, rel=1e-6)


def test_padding_and_packing_change_neither_loss_nor_gradient(case):
    """The same lines, a row each and end to end, with more and less behind them and with a row that is empty."""
    with jax.enable_x64(True):
        params = jax.tree.map(np.float64, case.params)
        alone, packed = (jax.device_get(gradient_of(case.model)(params, *rows)) for rows in (ALONE, PACKED))
        other = jax.device_get(gradient_of(case.model)(params, *rows_of(["fed"], ["cafe"], ["facade"])))
    chex.assert_trees_all_close(packed, alone, rtol=1e-9, atol=1e-12)
    assert abs(other[0] - alone[0]) > 1e-3


def test_dropout_is_a_random_network_with_the_mean_of_the_whole(case):
    """Each key is a network of its own, the same each time; at a rate of 0 it is the whole network.

    A model that does not say that it supports dropout ignores the key.
    """
    network = on_host(lambda params, x_BT, *noise: case.model.apply(sample_network(params, *noise), x_BT))
    whole, one, again, other = (
        network(case.params, case.x_BT, jax.random.key(seed), rate)
        for seed, rate in ((0, 0.0), (0, 0.5), (0, 0.5), (1, 0.5))
    )
    chex.assert_trees_all_close(whole, case.logits_BTV, rtol=1e-5, atol=1e-5)
    assert np.array_equal(one, again)
    if "dropout" in case.model.supports:
        assert not np.allclose(one, other, atol=1e-2)
        assert not np.allclose(one, whole, atol=1e-2)
    else:
        assert np.array_equal(one, whole)
        assert np.array_equal(other, whole)


@pytest.mark.slow
def test_remat_computes_again_with_the_same_gradient(case):
    """Marked, the gradient of a model that supports it holds a checkpoint; that of another is what it was."""
    with jax.enable_x64(True):
        params = jax.tree.map(np.float64, case.params)
        loss = lambda params: mean_nll(case.model.apply(mark_remat(params), ALONE[0]), *ALONE[1:])
        marked = jax.jit(jax.value_and_grad(loss)).trace(params)
        plain = gradient_of(case.model).trace(params, *ALONE)
        assert REMAT not in str(plain.jaxpr)
        assert (REMAT in str(marked.jaxpr)) == ("remat" in case.model.supports)
        if "remat" in case.model.supports:
            found, expected = jax.jit(jax.value_and_grad(loss))(params), gradient_of(case.model)(params, *ALONE)
            chex.assert_trees_all_close(found, expected, rtol=1e-9, atol=1e-12)


class Learning(NamedTuple):
    """2,000 names; a few lines in their place, of the same lengths; the dev losses of counting names, by order."""

    names: Corpus
    few: Corpus
    counted: dict


@pytest.fixture(scope="module")
def learning(names):
    lines = Split(names[::16], names[5::64], names[7::64])
    by_length = {len(line): line for part in lines for line in part}  # the last of each length
    few = lines.map(lambda part: [by_length[len(line)] for line in part])
    corpus = encode(lines, digest="")
    tokens = few.map(lambda part: tokenize(part, corpus.vocab))
    counted = {order: mm.evaluate(mm.count(corpus, order), corpus.tokens.dev).nats for order in (1, 2)}
    return Learning(corpus, corpus._replace(in_memory=few, tokens=tokens), counted)


def trained(name, corpus):
    """A short run, and its dev loss; on both corpora it is one program."""
    model = build(name, **(sizes_for(name, corpus.sizes) | variant((name, 0))))
    recipe = Recipe(steps=300, batch=32, learning_rate=0.02 if name != "bigram" else 0.3, warmup=10)
    run = mm.train(jax.random.key(0), model, corpus, recipe, evaluate_every=300, progress=False)
    return mm.evaluate(run, corpus.tokens.dev).nats


@pytest.mark.slow
@pytest.mark.parametrize("name", NEURAL)
def test_learning(name, learning):
    """300 steps: each model learns a few lines by heart; of 2,000 names it learns more than the counts of symbols.

    What is left of the lines is which one it is: 0.3 nats per token (and for bigrams, more). The recurrent models learn
    more of the names than the counts of bigrams.
    """
    assert trained(name, learning.few) < (1.0 if name == "bigram" else 0.6)
    reached = trained(name, learning.names)
    assert reached < learning.counted[1] - 0.1
    if name in ("rnn", "gru", "lstm", "hawk"):
        assert reached < learning.counted[2]


@pytest.mark.parametrize("name", [name for name in NEURAL if "context" in MODELS[name].config.__dataclass_fields__])
def test_lines_past_the_block_are_refused_at_every_door(name):
    """At the context a line is scored; one token more, and each function says so instead of reusing a position."""
    model = build(name, vocab=V, context=4, **variant((name, 0)))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(model.init, jax.random.key(0)))
    fits, longer = tokenize(["fed"], CORPUS.vocab), tokenize(["cafe"], CORPUS.vocab)
    assert np.isfinite(exact_loss(model, params, fits).nats)
    trained = mm.Trained(model, params, CORPUS.vocab, 5)
    doors = [
        lambda: exact_loss(model, params, longer),
        lambda: mm.training(model, CORPUS, Recipe(batch=5)),
        lambda: mm.sample(jax.random.key(0), trained, 3),
        lambda: mm.activations(trained, "cafe"),
    ]
    for door in doors:
        with pytest.raises(InputError, match="context"):
            door()
    assert [np.isfinite(one.nats) for one in mm.score(trained, ["fed", "cafe"])] == [True, False]


def test_unknown_models_and_sizes():
    with pytest.raises(InputError, match="there is no model 'lstn'; there are ngram, backoff"):
        build("lstn")
    with pytest.raises(InputError, match="heads"):
        build("mlp", vocab=3, heads=2)
    with pytest.raises(InputError, match="`embed` is 12; with"):
        build("transformer", vocab=3, embed=12, heads=5)
    assert set(MODELS) > set(NEURAL)
