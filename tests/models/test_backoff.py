from collections import Counter, defaultdict

import jax
import numpy as np
import pytest

from makemore_jax.data.batches import gather
from makemore_jax.data.lines import split
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.models import backoff

VOCAB = Vocab((".", "a", "b", "c"))
LINES = ["abba", "abc", "cab", "a", "bacca", "abab", "cc", "abba"]
V = VOCAB.size


def grams(order):
    """Counts of the n-grams of each order, in plain Python; marks fill the left."""
    counts = [Counter() for _ in range(order + 1)]
    for line in LINES:
        padded = [0] * (order - 1) + [*VOCAB.encode(line).tolist(), 0]
        for end in range(order - 1, len(padded)):
            for n in range(1, order + 1):
                counts[n][tuple(padded[end - n + 1 : end + 1])] += 1
    return counts


def kneser_ney(counts, context, symbol, order):
    n = len(context) + 1
    tables = dict(counts[n])
    if n < order:
        before = defaultdict(set)
        for gram in counts[n + 1]:
            before[gram[1:]].add(gram[0])
        tables = {g: c if n > 1 and g[0] == 0 else len(before[g]) for g, c in counts[n].items()}
    n1, n2, n3, n4 = (max(1, sum(c == k for c in tables.values())) for k in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2)
    amount = np.clip([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3], 0.05, np.arange(4) - 0.05)
    lower = kneser_ney(counts, context[1:], symbol, order) if context else 1 / V
    row = {g[-1]: c for g, c in tables.items() if g[:-1] == context}
    if not row:
        return lower
    total, taken = sum(row.values()), sum(amount[min(c, 3)] for c in row.values())
    kept = row[symbol] - amount[min(row[symbol], 3)] if symbol in row else 0
    return (kept + taken * lower) / total


@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_are_the_definition(order):
    config = backoff.Config(V, order)
    params = backoff.fit(config, *tokenize(LINES, VOCAB).pairs)
    counts = grams(order)
    lines = ["abcabc", "cccc", "bb"]  # contexts that were seen, and some that were not
    x_BT, _, mask_BT = gather(tokenize(lines, VOCAB), np.arange(3)[:, None], np.arange(7))
    prob_BTV = np.exp(backoff.backoff(config).apply(params, x_BT))
    for b, t in np.argwhere(mask_BT):
        context = tuple([0] * order + x_BT[b, : t + 1].tolist())[-(order - 1) :] if order > 1 else ()
        for symbol in range(V):
            expected = kneser_ney(counts, context, symbol, order)
            assert prob_BTV[b, t, symbol] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(prob_BTV.sum(-1), 1, rtol=1e-5)


def test_it_beats_shorter_contexts_on_held_out_names(names, vocab):
    lines = split(names)
    train, dev = tokenize(lines.train, vocab), tokenize(lines.dev, vocab)
    nats = {}
    for order in (2, 5):
        config = backoff.Config(vocab.size, order)
        nats[order] = exact_loss(backoff.backoff(config), backoff.fit(config, *train.pairs), dev).nats
    assert nats[5] == pytest.approx(2.0307, abs=2e-4)
    assert nats[5] < nats[2]


def test_without_data_it_is_uniform():
    model = backoff.backoff(backoff.Config(V, 3))
    logits = jax.jit(model.apply)(jax.jit(model.init)(jax.random.key(0)), np.array([[0, 1, 2, 3]]))
    np.testing.assert_allclose(logits, -np.log(V), rtol=1e-6)


def test_order_zero_is_refused():
    with pytest.raises(InputError, match="`order` is 0"):
        backoff.Config(V, 0)


@pytest.mark.slow
def test_padded_parameters_are_the_same_models_in_one_shape():
    longest, orders = backoff.Config(V, 4), (1, 3, 4)
    data = [tokenize(lines, VOCAB).pairs for lines in (LINES, LINES[:3], ["cc"])]
    plain = [(order, backoff.fit(backoff.Config(V, order), *pairs)) for pairs in data for order in orders]
    padded = backoff.pad(longest, [params for _, params in plain])
    assert len({str(jax.tree.map(np.shape, params)) for params in padded}) == 1
    x_BT, _, mask_BT = gather(tokenize(["abcabc", "cccc", "bb"], VOCAB), np.arange(3)[:, None], np.arange(7))
    for (order, params), wide in zip(plain, padded, strict=True):
        expected = backoff.backoff(backoff.Config(V, order)).apply(params, x_BT)
        found = backoff.backoff(longest).apply(wide, x_BT)
        np.testing.assert_allclose(np.asarray(found)[mask_BT], np.asarray(expected)[mask_BT], rtol=1e-6)
