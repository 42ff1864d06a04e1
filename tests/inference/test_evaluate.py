import math
from itertools import pairwise

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from makemore_jax.data.batches import plan_batches
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError
from makemore_jax.inference import evaluate as loss
from makemore_jax.inference.evaluate import exact_loss, line_nll
from makemore_jax.learning.training import loss_of
from makemore_jax.models import bigram, likelihood, ngram
from makemore_jax.models.likelihood import batch_nll, mean_nll, table_nll, token_nll
from makemore_jax.models.registry import build
from makemore_jax.recipe import Recipe

V = 5
KEY = jax.random.key(0)
LINES = ["abba", "c", "", "dada", "bc"]
VOCAB = Vocab((".", "a", "b", "c", "d"))


@pytest.fixture(scope="module")
def batch():
    logits_BTV = jax.random.normal(jax.random.key(0), (3, 7, V))
    y_BT = jax.random.randint(jax.random.key(1), (3, 7), 0, V)
    mask_BT = jnp.arange(7) < jnp.array([[2], [7], [4]])
    return logits_BTV, y_BT, mask_BT


def test_mean_nll_is_the_definition(batch):
    logits_BTV, y_BT, mask_BT = map(np.asarray, batch)
    prob_BTV = np.exp(logits_BTV.astype(np.float64))
    prob_BTV /= prob_BTV.sum(-1, keepdims=True)
    terms = [-np.log(prob_BTV[b, t, y_BT[b, t]]) for b in range(3) for t in range(7) if mask_BT[b, t]]
    assert mean_nll(*batch) == pytest.approx(np.mean(terms), abs=1e-6)
    assert mean_nll(*batch[:2]) != pytest.approx(np.mean(terms), abs=1e-3)  # the mask matters


def test_what_is_masked_changes_neither_loss_nor_gradient(batch):
    logits_BTV, y_BT, mask_BT = batch
    other_BTV = jnp.where(mask_BT[..., None], logits_BTV, -99.0)
    other_BT = jnp.where(mask_BT, y_BT, 0)
    assert not np.array_equal(y_BT, other_BT)
    chex.assert_trees_all_close(mean_nll(other_BTV, other_BT, mask_BT), mean_nll(*batch))
    gradient = jax.grad(mean_nll)(logits_BTV, y_BT, mask_BT)
    chex.assert_trees_all_close(jax.grad(mean_nll)(other_BTV, other_BT, mask_BT), gradient, atol=1e-6)
    assert not gradient[~mask_BT].any()


def test_all_masked_is_zero(batch):
    logits_BTV, y_BT, mask_BT = batch
    value, gradient = jax.value_and_grad(mean_nll)(logits_BTV, y_BT, jnp.zeros_like(mask_BT))
    assert value == 0
    assert not np.asarray(gradient).any()


def test_impossible_is_infinite_and_possible_is_finite():
    log_prob_BTV = jnp.log(jnp.array([[[1.0, 0.0], [1.0, 0.0]]]))
    np.testing.assert_array_equal(token_nll(log_prob_BTV, jnp.array([[0, 1]])), [[0, np.inf]])


def test_table_form_is_the_pair_form():
    """Loss and gradient from counts equal those from the pairs, whatever the weights."""
    model = bigram.bigram(bigram.Config(V))
    params = model.init(jax.random.key(0))
    x_N = jax.random.randint(jax.random.key(1), (199,), 0, V)
    y_N = (x_N * 2 + jax.random.randint(jax.random.key(2), (199,), 0, 2)) % V
    counts_VV = ngram.count(ngram.Config(V), x_N[None], y_N[None])
    assert (counts_VV == 0).any()

    def on_pairs(params):
        return mean_nll(model.apply(params, x_N[None]), y_N[None])

    def on_table(params, counts_VV):
        return table_nll(model.apply(params, jnp.arange(V)[None])[0], counts_VV)

    expected = jax.value_and_grad(on_pairs)(params)
    chex.assert_trees_all_close(jax.value_and_grad(on_table)(params, counts_VV), expected, atol=1e-6)
    transposed = jax.value_and_grad(on_table)(params, counts_VV.T)
    assert not np.allclose(transposed[1]["W"], expected[1]["W"], atol=1e-3)


def test_counts_past_int32_are_summed():
    counts_VV = jnp.array([[2**30, 2**30], [2**30, 5]])
    assert table_nll(jnp.zeros((2, 2)), counts_VV) == pytest.approx(math.log(2))


def test_a_large_vocabulary_is_gathered_to_the_same_loss(batch, monkeypatch):
    expected_BT = token_nll(*batch[:2])
    monkeypatch.setattr(likelihood, "MAX_ONE_HOT", V - 1)
    monkeypatch.setattr(jax.nn, "one_hot", None)  # it would fail if it were called
    chex.assert_trees_all_close(token_nll(*batch[:2]), expected_BT)


@pytest.mark.slow
def test_a_large_vocabulary_is_scored_in_chunks(monkeypatch):
    """Same loss, same gradient, and never all logits in memory; the last of 8 chunks is padded."""
    model = build("transformer", vocab=1009, context=37, layers=1, heads=1, embed=5, tied=True)
    x_BT, y_BT = jax.random.randint(jax.random.key(1), (2, 3, 37), 0, 1009)
    params = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(KEY, leaf.shape), model.init(KEY))

    def compiled():
        mean = lambda params: batch_nll(model, params, x_BT, y_BT).mean()
        return jax.jit(jax.value_and_grad(mean)).lower(params).compile()

    at_once = compiled()
    monkeypatch.setattr(likelihood, "CHUNK_LOGITS", 3 * 5 * 1009)
    in_chunks = compiled()
    chex.assert_trees_all_close(in_chunks(params), at_once(params), rtol=1e-5, atol=1e-7)
    logits_bytes = 4 * 3 * 37 * 1009
    assert at_once.memory_analysis().temp_size_in_bytes > logits_bytes
    assert in_chunks.memory_analysis().temp_size_in_bytes < 0.7 * logits_bytes


def test_gradients_are_summed_over_chunks_in_float32(monkeypatch):
    """Weights in bfloat16: a sum of equal terms in it would end at 256 of them, and there are 1021."""
    monkeypatch.setattr(likelihood, "CHUNK_LOGITS", V)
    model = build("mlp", vocab=V, window=1, embed=3, hidden=7)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model.init(KEY))
    x_BT = jnp.ones((1, 1021), int)
    gradient = jax.jit(jax.grad(lambda params: batch_nll(model, params, x_BT, x_BT).mean()))(params)
    prob_V = jax.nn.softmax(model.apply(params, x_BT)[0, -1].astype(jnp.float32))
    np.testing.assert_allclose(gradient["head"]["b"].astype(jnp.float32), prob_V - jnp.eye(V)[1], rtol=0.02)


@pytest.mark.slow
def test_training_and_evaluation_go_in_chunks(monkeypatch):
    shapes, model = [], build("gru", vocab=V, embed=3, hidden=7)
    spy = model._replace(head=lambda params, hidden: shapes.append(hidden.shape) or model.head(params, hidden))
    params, tokens = model.init(KEY), tokenize(LINES, VOCAB)
    batches, plan = plan_batches(tokens, 5)
    on_device = jax.device_put(batches)
    expected = loss_of(model, Recipe(batch=5), plan)(params, on_device, {}, KEY), exact_loss(model, params, tokens)
    monkeypatch.setattr(likelihood, "CHUNK_LOGITS", 2 * V)
    found = loss_of(spy, Recipe(batch=5), plan)(params, on_device, {}, KEY), exact_loss(spy, params, tokens)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    assert found[1].nats == pytest.approx(expected[1].nats, rel=1e-5)
    assert {shape[1:] for shape in shapes} == {(1, 7)}


def test_evaluation_is_exact_and_in_three_units():
    model, params, expected = scored_by_hand()
    quality = exact_loss(model, params, tokenize(LINES, VOCAB))
    assert quality.tokens == 16
    assert quality.nats == pytest.approx(sum(expected) / 16, abs=1e-6)
    assert quality.bits == pytest.approx(quality.nats / math.log(2))
    assert quality.perplexity == pytest.approx(math.exp(quality.nats))


@pytest.mark.parametrize(
    ("pack_tokens", "batch_tokens", "batches"),
    [(2**20, 1, 4), (2**20, 11, 2), (2**20, 16, 2), (5, 11, 3), (2**20, 2**16, 1)],
    ids=["a row at a time", "two rows", "three rows and padding", "chunks", "all at once"],
)
def test_however_lines_are_batched_each_is_scored_once(monkeypatch, pack_tokens, batch_tokens, batches):
    model, params, expected = scored_by_hand()
    shapes, batch_nll = [], loss._batch_nll
    monkeypatch.setattr(loss, "PACK_TOKENS", pack_tokens)
    monkeypatch.setattr(loss, "BATCH_TOKENS", batch_tokens)
    monkeypatch.setattr(loss, "_batch_nll", lambda *args: shapes.append(args[2].shape) or batch_nll(*args))
    np.testing.assert_allclose(line_nll(model, params, tokenize(LINES, VOCAB)), expected, atol=1e-5)
    assert len(shapes) == batches
    assert all(rows * width <= max(batch_tokens, width) for rows, width in shapes)


def scored_by_hand():
    """A bigram model, its parameters, and the nats of each line from its table."""
    model = bigram.bigram(bigram.Config(V))
    params = model.init(jax.random.key(0))
    log_prob_VV = np.asarray(jax.nn.log_softmax(params["W"]), np.float64)
    marked = [[0, *VOCAB.encode(line), 0] for line in LINES]
    expected = [-sum(log_prob_VV[a, b] for a, b in pairwise(line)) for line in marked]
    assert len({round(nats, 3) for nats in expected}) == len(LINES)
    return model, params, expected


def test_evaluations_of_one_size_compile_once(compilations):
    model = ngram.ngram(ngram.Config(V))
    params, others = ngram.fit(jnp.ones((V, V))), ngram.fit(jnp.eye(V))
    with compilations() as first:
        exact_loss(model, params, tokenize(LINES, VOCAB))
    with compilations() as second:
        exact_loss(model, others, tokenize([line for line in LINES if line], VOCAB))  # three rows, not four
    assert first
    assert not second


def test_a_line_longer_than_the_block_is_refused():
    model = build("transformer", vocab=V, context=4, layers=1, heads=1, embed=3)
    params = model.init(jax.random.key(0))
    assert exact_loss(model, params, tokenize(["abb"], VOCAB)).tokens == 4
    with pytest.raises(InputError, match="lines of 5 tokens, the end mark included, exceed the model's context of 4"):
        exact_loss(model, params, tokenize(["a", "abba"], VOCAB))


def test_no_lines_are_refused():
    model, params, _ = scored_by_hand()
    with pytest.raises(InputError, match="no lines"):
        line_nll(model, params, tokenize([], VOCAB))
