from collections import Counter
from itertools import pairwise

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore_jax.data.batches import gather
from makemore_jax.data.corpus import load
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError
from makemore_jax.inference.baselines import count_table
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.models import ngram

V = 5  # the mark and abcd
LINES = st.lists(st.text("abcd", max_size=6), min_size=1, max_size=8)
VOCAB = Vocab((".", "a", "b", "c", "d"))


def count_joined(lines, order):
    x_N, y_N = tokenize(lines, VOCAB).pairs
    return np.asarray(ngram.count(ngram.Config(V, order), x_N[None], y_N[None]))


def count_rows(lines, order):
    x_BT, y_BT, mask_BT = gather(tokenize(lines, VOCAB), np.arange(len(lines))[:, None], np.arange(7))
    return np.asarray(ngram.count(ngram.Config(V, order), x_BT, y_BT, mask_BT))


def count_slowly(lines, order):
    """Plain Python: pad each line with marks on the left, slide a window over it."""
    counts = Counter()
    for line in lines:
        padded = [0] * (order - 1) + [*VOCAB.encode(line).tolist(), 0]
        counts.update(tuple(padded[i : i + order]) for i in range(len(line) + 1))
    table = np.zeros((V,) * order, int)
    for cell, n in counts.items():
        table[cell] = n
    return table


@given(LINES)
@settings(deadline=None, max_examples=25)
def test_counts_are_those_of_the_lectures_loop(lines):
    table, expected = count_joined(lines, 2), {}
    for line in lines:
        symbols = [".", *line, "."]
        for pair in pairwise(symbols):
            expected[pair] = expected.get(pair, 0) + 1
    assert expected == {(VOCAB.symbols[i], VOCAB.symbols[j]): n for (i, j), n in np.ndenumerate(table) if n}


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@given(lines=LINES)
@settings(deadline=None, max_examples=15)
def test_counts_of_stream_and_of_padded_rows_are_the_windows(order, lines):
    expected = count_slowly(lines, order)
    np.testing.assert_array_equal(count_joined(lines, order), expected)
    np.testing.assert_array_equal(count_rows(lines, order), expected)
    assert expected.sum() == sum(map(len, lines)) + len(lines)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("chunk", [2, 7, 10**3])
def test_counts_of_a_long_stream_in_chunks(order, chunk):
    lines = ["abcd", "a", "", "ddcab", "bb"]
    stream = tokenize(lines, VOCAB).stream_M
    assert (len(stream) > 2 * chunk) == (chunk < 10)
    counts = ngram.count_stream(ngram.Config(V, order), stream, chunk)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, count_slowly(lines, order))


@given(LINES, LINES)
@settings(deadline=None, max_examples=15)
def test_counts_of_shards_add(some, others):
    np.testing.assert_array_equal(count_joined(some, 3) + count_joined(others, 3), count_joined(some + others, 3))


def test_row_of_probabilities_needs_keepdims():
    """Without keepdims the sums of the rows would divide the columns, as the lecture warns."""
    counts = jnp.array([[1, 3], [30, 10]])
    prob = jnp.exp(ngram.fit(counts)["log_prob"])
    chex.assert_trees_all_close(prob, jnp.array([[0.25, 0.75], [0.75, 0.25]]))
    wrong = counts / counts.sum(-1)
    assert not np.allclose(prob, wrong)
    assert not np.allclose(wrong.sum(-1), 1)


def test_smoothing_leaves_no_zero_and_none_leaves_infinity():
    counts = jnp.array([[0, 4], [0, 0]])
    unsmoothed = ngram.fit(counts)["log_prob"]
    np.testing.assert_array_equal(unsmoothed[0], [-np.inf, 0])
    chex.assert_trees_all_close(jnp.exp(unsmoothed[1]), jnp.array([0.5, 0.5]))  # a context never seen says nothing
    chex.assert_trees_all_close(jnp.exp(ngram.fit(counts, 1)["log_prob"][0]), jnp.array([1 / 6, 5 / 6]))


def test_more_order_fits_better_and_uniform_is_ln_v(tokens, vocab):
    x_N, y_N = tokens.pairs
    nats = []
    for order in (1, 2, 3, 4):
        config = ngram.Config(vocab.size, order)
        params = ngram.fit(ngram.count(config, x_N[None], y_N[None]))
        nats.append(exact_loss(ngram.ngram(config), params, tokens).nats)
    assert nats == sorted(nats, reverse=True)
    model = ngram.ngram(ngram.Config(vocab.size))
    assert exact_loss(model, model.init(jax.random.key(0)), tokens).nats == pytest.approx(np.log(27), abs=1e-6)


def test_sizes_out_of_reach_are_refused():
    for order in (0, 5):
        with pytest.raises(InputError, match=f"`order` is {order}; a dense table"):
            ngram.Config(V, order)
    with pytest.raises(InputError, match="over the limit"):
        ngram.Config(1000, 3)


def test_small_integers_do_not_overflow():
    x_1N = np.random.default_rng(0).integers(0, 27, (1, 99))
    for order in (2, 3):
        wide, small = (ngram.count(ngram.Config(27, order), x_1N.astype(t), x_1N.astype(t)) for t in (int, np.uint8))
        np.testing.assert_array_equal(wide, small)
        assert wide.sum() == 99


def test_second_count_compiles_nothing(compilations):
    x, y = jnp.zeros((2, 13), int), jnp.ones((2, 13), int)
    with compilations() as first:
        ngram.count(ngram.Config(V), x, y)
    with compilations() as second:
        ngram.count(ngram.Config(V), x, y)
    assert len(first) == 1
    assert not second


@pytest.mark.parametrize("smoothing", [-1.0, float("nan"), float("inf")])
def test_a_smoothing_that_is_none_is_named(tmp_path, smoothing):
    path = tmp_path / "few.txt"
    path.write_text("\n".join(f"{first}{second}" for first in "abcde" for second in "abcd"))
    corpus = load(path)
    with pytest.raises(InputError, match=f"`smoothing` is {smoothing}; it must be 0 or from 1e-30 to 1e30"):
        count_table(corpus, smoothing=smoothing)
