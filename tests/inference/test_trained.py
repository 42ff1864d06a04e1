"""Lines that are known not to occur: what their probability is, and where it goes."""

import itertools
import pickle
from collections import Counter

import jax
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import Split
from makemore_jax.data.tokens import tokenize
from makemore_jax.errors import InputError
from makemore_jax.inference import evaluate
from makemore_jax.inference.baselines import count_table
from makemore_jax.models import ngram

CORPUS = encode(Split(["a", "ab", "a", "", "b"], ["ba"], ["aa", "bb", "aa"]), digest="")
CONFIG = ngram.Config(CORPUS.vocab.size, order=3)
LOGITS = jax.random.normal(jax.random.key(0), CONFIG.shape).at[..., 0].add(1.0)
TRAINED = mm.Trained(ngram.ngram(CONFIG), {"log_prob": jax.nn.log_softmax(LOGITS)}, CORPUS.vocab, 9)
SHORT = ["".join(letters) for length in range(8) for letters in itertools.product("ab", repeat=length)]


def probabilities(lines):
    return np.array([np.exp(-one.nats * one.tokens) for one in mm.score(TRAINED, lines)])


def test_the_mass_of_lines_is_the_sum_over_different_ones():
    train = CORPUS.tokens.train
    assert mm.mass(TRAINED, train) == pytest.approx(probabilities(["a", "ab", "", "b"]).sum(), rel=1e-6)
    assert mm.mass(TRAINED, tokenize(SHORT, CORPUS.vocab)) == pytest.approx(probabilities(SHORT).sum(), rel=1e-6)
    assert 0.3 < mm.mass(TRAINED, train) < 0.9


def test_what_is_excluded_leaves_its_probability_to_the_others():
    test, train = CORPUS.tokens.test, CORPUS.tokens.train
    others = [line for line in SHORT if line not in CORPUS.lines.train]
    mass, tail = probabilities(CORPUS.lines.train[1:]).sum(), 1 - probabilities(SHORT).sum()
    gained = [mm.evaluate(TRAINED, tokenize([line], CORPUS.vocab), excluding=train) for line in others]
    assert sum(np.exp(-one.nats * one.tokens) for one in gained) + tail / (1 - mass) == pytest.approx(1, abs=1e-5)
    expected = -np.log(probabilities(["aa", "bb", "aa"]) / (1 - mass)).sum() / 9
    assert mm.evaluate(TRAINED, test, excluding=train).nats == pytest.approx(expected, rel=1e-5)
    assert mm.evaluate(TRAINED, train, excluding=train).nats == np.inf


def test_samples_without_some_lines_are_the_others_as_often_as_their_probability_says():
    excluding, key = set(CORPUS.lines.train), jax.random.key(3)
    found = mm.sample(key, TRAINED, 4000, excluding=excluding)
    assert len(found) == 4000
    assert not excluding & set(found)
    assert found[:50] == [line for line in mm.sample(key, TRAINED, 400) if line not in excluding][:50]
    others = [line for line in SHORT[:31] if line not in excluding]
    expected = 4000 * probabilities(others) / (1 - probabilities(sorted(excluding)).sum())
    counted, counts = Counter(found), np.sqrt(expected)
    assert all(
        abs(counted[line] - mean) < 5 * deviation + 1
        for line, mean, deviation in zip(others, expected, counts, strict=True)
    )


def test_too_many_lines_to_exclude():
    with pytest.raises(InputError, match="0 of 256 samples are not among the excluded lines, of 2 to be drawn"):
        mm.sample(jax.random.key(0), TRAINED, 2, temperature=0, excluding=set(SHORT) | {"a" * 8, "b" * 8})


def test_lines_that_hold_all_probability_leave_nothing_for_the_others():
    lines = Split(["ab", "ab", "ba"], ["aa"], ["bb"])
    corpus = encode(lines, digest="")
    counted = count_table(corpus, 3, smoothing=0)
    assert 1 - 1e-6 < mm.mass(counted, corpus.tokens.train) <= 1
    for part in ("dev", "test"):
        assert mm.evaluate(counted, getattr(corpus.tokens, part), excluding=corpus.tokens.train).nats == np.inf


def test_a_mass_is_at_most_one(monkeypatch):
    tokens = tokenize(SHORT, CORPUS.vocab)
    monkeypatch.setattr(evaluate, "line_nll", lambda *args: np.full(len(SHORT), np.log(len(SHORT)) - 1e-9))
    assert mm.mass(TRAINED, tokens) == 1.0
    other = encode(Split(["aaaaaaaaab"], ["b"], ["b"]), digest="").tokens.train
    assert mm.evaluate(TRAINED, other, excluding=tokens).nats == np.inf


def test_a_mixture_that_was_pickled_is_the_same_model():
    """As it passes from one process to another; the model is found again in the cache of its builder."""
    mixture = mm.mix([TRAINED, mm.count(CORPUS, 2)], CORPUS.tokens.dev)
    copy = pickle.loads(pickle.dumps(mixture))
    assert copy.model is mixture.model
    assert copy.params is not mixture.params
    assert copy.digest == mixture.digest
