import jax
import numpy as np
import pytest

from makemore_jax.analysis import influence
from makemore_jax.analysis.influence import reach, substitution
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError
from makemore_jax.models.registry import build

LINES = ["abcab", "cde", "", "bbbb", "adeda", "ec"]
VOCAB = Vocab((".", "a", "b", "c", "d", "e", "f"))  # f does not occur
TOKENS = tokenize(LINES, VOCAB)
KEY = jax.random.key(0)
V = VOCAB.size


def make(name, **sizes):
    model = build(name, vocab=V, **sizes)
    return model, model.init(KEY)


def changes(model, params, line, start, symbols):
    """(symbols, T) total variation along a line when each of these symbols stands at `start`: one row for each."""
    x_BT = np.tile(line, (1 + len(symbols), 1))
    x_BT[1:, start] = symbols
    x_BT = np.pad(x_BT, ((0, 0), (0, 6 - len(line))))  # one shape; what follows the line changes nothing in it
    prob_BTV = np.asarray(jax.nn.softmax(model.apply(params, x_BT)), np.float64)[:, : len(line)]
    return np.abs(prob_BTV[1:] - prob_BTV[0]).sum(-1) / 2


@pytest.mark.slow
def test_substitution_is_its_definition(monkeypatch):
    """One line, one place, one replacement at a time, by the parallel form of the model."""
    model, params = make("gru", embed=5, hidden=11)
    total_VV, count_V = np.zeros((V, V)), np.zeros(V)
    for line in LINES:
        x_T = np.array([0, *VOCAB.encode(line)])
        for t, symbol in enumerate(x_T):
            total_VV[symbol] += changes(model, params, x_T, t, range(V))[:, t]
        count_V += np.bincount(x_T, minlength=V)
    expected_KK = (total_VV[:6] / count_V[:6, None])[:, :6]
    assert (expected_KK[~np.eye(6, dtype=bool)] > 1e-3).all()
    assert not np.allclose(expected_KK, expected_KK.T, atol=1e-3)
    for batch_logits in (1, 100, 2**22):  # a line at a time, two lines, all
        monkeypatch.setattr(influence, "BATCH_LOGITS", batch_logits)
        found = substitution(model, params, TOKENS)
        assert found.symbols_K.tolist() == [0, 1, 2, 3, 4, 5]  # without f
        np.testing.assert_allclose(found.change_KK, expected_KK, atol=1e-6)


def test_the_most_frequent_symbols_are_compared():
    found = substitution(*make("bigram"), TOKENS, max_symbols=3)
    assert found.symbols_K.tolist() == [0, 1, 2]  # the mark 6 times, b 6, a 4, c 3
    everything = substitution(*make("bigram"), TOKENS)
    np.testing.assert_allclose(found.change_KK, everything.change_KK[:3, :3], atol=1e-6)


def test_lines_are_spread_over_the_data():
    few = substitution(*make("bigram"), TOKENS, lines=2)  # the first and the last
    assert few.symbols_K.tolist() == [0, 1, 2, 3, 5]


@pytest.mark.slow
def test_reach_is_its_definition(monkeypatch):
    """With two symbols, equally frequent, each is replaced by the other or not at all, and places can be enumerated."""
    monkeypatch.setattr(influence, "BATCH_LOGITS", 900)
    vocab, lines = Vocab((".", "a", "b")), ["abba", "ab", "b", "aab"]
    model = build("gru", vocab=3, embed=5, hidden=11)
    params = jax.tree.map(lambda leaf: 3 * leaf, model.init(KEY))
    by_distance = {}
    for line in lines:
        x_T = np.array([0, *vocab.encode(line)])
        for start in range(1, len(x_T)):
            (change_T,) = changes(model, params, x_T, start, [3 - x_T[start]])
            assert not change_T[:start].any()
            for distance, change in enumerate(change_T[start:]):
                by_distance.setdefault(distance, []).append(change)
    expected = [np.mean(by_distance[distance]) for distance in range(4)]
    found = reach(jax.random.key(1), model, params, tokenize(lines * 100, vocab), lines=400)
    assert len(found) == 4
    assert abs(np.diff(expected)).max() > 0.05
    np.testing.assert_allclose(found, expected, atol=0.01)  # which places are replaced is random


@pytest.mark.parametrize(
    ("name", "sizes", "field"), [("mlp", {"window": 3, "embed": 5, "hidden": 11}, 3), ("bigram", {}, 1)]
)
def test_reach_ends_with_the_receptive_field(name, sizes, field):
    change_T = reach(KEY, *make(name, **sizes), TOKENS)
    assert len(change_T) > field
    assert (change_T[:field] > 1e-3).all()
    assert not change_T[field:].any()


def test_a_second_look_compiles_nothing(compilations):
    model, params = make("gru", embed=5, hidden=13)
    with compilations() as first:
        substitution(model, params, TOKENS)
        reach(KEY, model, params, TOKENS)
    with compilations() as second:
        substitution(model, params, TOKENS)
        reach(KEY, model, params, TOKENS)
    assert first
    assert not second


def test_what_cannot_be_measured_is_refused():
    model, params = make("transformer", context=5, layers=1, heads=1, embed=3)
    for look in (lambda *args: reach(KEY, *args), substitution):
        with pytest.raises(InputError, match="lines of 6 tokens"):
            look(model, params, TOKENS)
        with pytest.raises(InputError, match="no lines"):
            look(model, params, tokenize([], VOCAB))
    with pytest.raises(InputError, match="fewer than two different symbols"):
        reach(KEY, model, params, tokenize(["aa", "a"], VOCAB))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sizes"), [("gru", {"embed": 5, "hidden": 11}), ("bigram", {})])
def test_along_a_line_is_its_definition(name, sizes):
    model, params = make(name, **sizes)
    x_T = np.array([0, 1, 2, 2, 5])
    found_TT = influence.along_line(model, params, x_T)
    for start in range(1, len(x_T)):
        others = [symbol for symbol in range(1, V) if symbol != x_T[start]]
        expected_T = changes(model, params, x_T, start, others).mean(0)
        np.testing.assert_allclose(found_TT[start:, start], expected_T[start:], atol=1e-6)
        assert found_TT[start, start] > 1e-3
    assert (np.triu(found_TT, 1) == 0).all()
    assert (found_TT[:, 0] == 0).all()
    padded_TT = influence.along_line(model, params, np.pad(x_T, (0, 4)))
    np.testing.assert_allclose(padded_TT[:5, :5], found_TT, atol=1e-6)
    assert (padded_TT[:, 5:] == 0).all()
    few_TT = influence.along_line(model, params, x_T, max_symbols=2)  # the first and the last: a and f
    np.testing.assert_allclose(few_TT[4, 4], changes(model, params, x_T, 4, [1, 6])[:, 4].mean(), atol=1e-6)
