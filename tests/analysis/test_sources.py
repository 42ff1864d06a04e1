"""Sources: what they write has the form that it should, and their entropy is what a sample says it is."""

import jax
import numpy as np
import pytest

from makemore_jax.analysis.sources import brackets, copy, floor, hidden_markov, languages, markov, sums, write
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import MARK
from makemore_jax.errors import InputError
from makemore_jax.inference.evaluate import line_nll
from makemore_jax.models import ngram

KEY, LINES = jax.random.key(0), 2000
RANDOM = np.random.default_rng(0)


def chain(order, symbols=4):
    """Random transitions; no line is empty."""
    counts = RANDOM.gamma(0.7, size=(symbols + 1,) * (order + 1))
    counts[(MARK,) * (order + 1)] = 0
    return counts


ONE = chain(1)
SOURCES = {
    "markov-1": markov("markov-1", ONE, "abcd", context=11),
    "markov-3": markov("markov-3", chain(3), "abcd", context=13),
    "hidden-markov": hidden_markov(
        "hidden",
        RANDOM.dirichlet([1] * 3),
        RANDOM.dirichlet([1] * 3, 3),
        RANDOM.dirichlet([1] * 5, 3),
        "abcd",
        context=17,
    ),
    "brackets": brackets(context=14),
    "copy": copy(letters="abc", longest=4),
    "reverse": copy(True, letters="abc", longest=4),
    "sums": sums(digits=2),
    "languages": languages("languages", [ONE, ONE.T], "abcd", context=11),
}


@pytest.fixture(scope="module", params=SOURCES)
def written(request):
    source = SOURCES[request.param]
    return request.param, source, write(KEY, source, LINES)


def test_the_entropy_is_what_a_sample_says(written):
    """Within four standard errors, which are small; and the mean length of a line, too."""
    name, source, lines = written
    estimate, found = floor(KEY, source._replace(exact=None), LINES), floor(KEY, source)
    assert (source.exact is None) == (name in ("hidden-markov", "languages"))
    assert found.error < 0.02
    assert abs(found.nats - estimate.nats) <= 4 * estimate.error + 1e-5
    lengths = np.array([len(line) + 1 for line in lines])
    assert abs(found.tokens - lengths.mean()) <= 4 * lengths.std() / LINES**0.5 + 1e-5
    assert "" not in lines
    assert max(lengths) <= source.model.context


def test_a_source_is_certain_of_nothing_that_it_does_not_write(written):
    """The probabilities of all lines up to three symbols sum to the share of such lines in a sample."""
    name, source, lines = written
    grid = [np.array(np.meshgrid(*[range(1, source.vocab.size)] * n)).reshape(n, -1).T for n in (1, 2, 3)]
    every = [source.vocab.decode(row) for rows in grid for row in rows]
    total = np.exp(-line_nll(source.model, {}, tokenize(every, source.vocab))).sum()
    share = np.mean([len(line) <= 3 for line in lines])
    assert abs(total - share) <= 4 * (share * (1 - share) / LINES) ** 0.5 + 1e-6
    assert (total > 0.05) == (name != "sums")


def test_brackets_are_balanced(written):
    name, _, lines = written
    if name != "brackets":
        pytest.skip("other sources")
    for line in lines:
        while (shorter := line.replace("()", "").replace("[]", "")) != line:
            line = shorter
        assert line == ""


def test_words_are_copied_and_sums_are_right():
    for word, again in (line.split("#") for line in write(KEY, SOURCES["copy"], 100)):
        assert word == again
    for word, again in (line.split("#") for line in write(KEY, SOURCES["reverse"], 100)):
        assert word == again[::-1]
    for line in write(KEY, SOURCES["sums"], 100):
        a, b, c = line.replace("=", "+").split("+")
        assert int(a) + int(b) == int(c[::-1])
    with pytest.raises(InputError, match="`lines` is 0"):
        write(KEY, SOURCES["sums"], 0)


def test_the_excess_of_counting_is_its_parameters_over_twice_the_tokens():
    """Wilks 1938: 2 n times the excess nats of a counted bigram is chi-squared with as many degrees as parameters.

    For 40 data sets of two sizes, with the exact excess of each: how often a line visits a symbol, times the
    Kullback-Leibler divergence of the counted row from the true one.
    """
    counts_VV = RANDOM.gamma(9, size=(5, 5))
    counts_VV[MARK, MARK] = 0
    source, prob_VV = markov("even", counts_VV, "abcd", context=64), counts_VV / counts_VV.sum(-1, keepdims=True)
    visits_V = np.linalg.solve(np.eye(5) - np.where(np.arange(5) == MARK, 0, prob_VV).T, np.arange(5) == MARK)
    free, data_sets = (counts_VV > 0).sum() - 5, 40  # every row sums to 1
    lines = write(jax.random.key(1), source, data_sets * 600)
    for size in (300, 600):
        excess = []
        for k in range(data_sets):
            stream_M = tokenize(lines[k * 600 : k * 600 + size], source.vocab).stream_M
            log_prob_VV = ngram.fit(ngram.count_stream(ngram.Config(5), stream_M, chunk=6_000))["log_prob"]
            divergence = np.where(prob_VV > 0, prob_VV * (np.log(np.maximum(prob_VV, 1e-9)) - log_prob_VV), 0).sum(-1)
            excess.append(visits_V @ divergence / visits_V.sum() * 2 * (len(stream_M) - 1))
        assert np.mean(excess) == pytest.approx(free, abs=4 * (2 * free / data_sets) ** 0.5)
        assert np.std(excess) == pytest.approx((2 * free) ** 0.5, rel=0.4)
