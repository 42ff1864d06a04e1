"""What a model makes of a typed line: the cost of each symbol, and why a line is impossible."""

import jax
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import Split
from makemore_jax.errors import InputError
from makemore_jax.inference.baselines import count_table
from makemore_jax.models.registry import build

CORPUS = encode(Split(["emma", "ava", "mia", "zoe"], ["ava"], ["mia"]), digest="")


def untrained(name, corpus=CORPUS, **sizes):
    model = build(name, vocab=corpus.vocab.size, **sizes)
    return mm.Trained(model, model.init(jax.random.key(0)), corpus.vocab, corpus.context)


MLP = untrained("mlp", window=3, embed=5, hidden=7)


@pytest.mark.parametrize("line", ["emma", "", "zoe"])
def test_a_line_costs_what_its_symbols_cost(line):
    (found,) = mm.score(MLP, [line])
    x_T = np.append(0, MLP.vocab.encode(line))
    log_prob_TV = jax.nn.log_softmax(MLP.model.apply(MLP.params, x_T[None])[0])
    expected_T = [-log_prob_TV[t, y] for t, y in enumerate(np.append(x_T[1:], 0))]
    np.testing.assert_allclose(found.nats_T, expected_T, rtol=1e-5)
    assert found.symbols == [*line, "."]
    assert found.nats == pytest.approx(np.mean(expected_T), rel=1e-5)
    assert (found.tokens, found.problem) == (len(line) + 1, None)


def test_an_impossible_line_is_infinite_and_says_why():
    """The others are scored as without it, but for rounding: they are packed into rows of another length."""
    lines = ["emma", "emXma", "ava", "emmaem", "em\nma"]
    found = mm.score(MLP, lines)
    alone = [one.nats for one in mm.score(MLP, ["emma", "ava"])]
    assert [one.nats for one in found[::2][:2]] == pytest.approx(alone, rel=1e-6)
    assert [np.isinf(one.nats) for one in found] == [False, True, False, True, True]
    assert [one.problem for one in found[1::2]] == [
        "this model does not know the symbol 'X'",
        "this model reads up to 4 symbols",
    ]
    assert found[1].symbols == ["e", "m", "X"]
    assert np.isfinite(found[1].nats_T).tolist() == [True, True, False]
    assert found[4].problem == r"this model does not know the symbol '\n'"
    with pytest.raises(InputError, match="no lines"):
        mm.score(MLP, [])


def test_a_line_of_probability_0_says_where():
    counted = count_table(CORPUS, smoothing=0.0)
    found = mm.score(counted, ["mia", "emz", "em"])
    assert np.isfinite(found[0].nats)
    assert [one.problem for one in found[1:]] == [
        "'z' has probability 0 after 'em'",
        "the end has probability 0 after 'em'",
    ]
    assert found[1].symbols == ["e", "m", "z"]


@pytest.mark.parametrize("name", ["mlp", "transformer"])
@pytest.mark.parametrize("prefix", ["", "em", "emma"])
def test_what_comes_next_is_sorted_and_costs_what_score_says(name, prefix):
    """A transformer has no position to spare after its longest line."""
    sizes = {"context": CORPUS.context, "layers": 1, "heads": 1, "embed": 5} if name == "transformer" else {"embed": 5}
    trained = untrained(name, **sizes)
    found = mm.predict(trained, prefix)
    assert set(found) == set(trained.vocab.symbols)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    (scored,) = mm.score(trained, [prefix])
    assert found["."] == pytest.approx(np.exp(-scored.nats_T[-1]), rel=1e-4)


def test_what_follows_an_impossible_prefix_is_not_asked():
    for prefix, message in (("emX", "'X'"), ("emmae", "up to 4")):
        with pytest.raises(InputError, match=message):
            mm.predict(MLP, prefix)


def test_words_are_read_one_by_one():
    corpus = encode(
        Split(["in the light", "in the dark"], ["the dark"], ["in the"]), "", mm.data.corpus.Encoding("word")
    )
    (found,) = mm.score(untrained("bigram", corpus), ["in the zebra dark"])
    assert (found.symbols, found.problem) == (["in", "the", "zebra"], "this model does not know the word 'zebra'")
