"""Cross-validation: how lines are dealt, what each run sees, and that the run on all lines is an ordinary one."""

import chex
import jax
import numpy as np
import pytest

from makemore_jax.data.corpus import encode_whole
from makemore_jax.data.tokens import select, tokenize
from makemore_jax.inference.evaluate import stream_nll
from makemore_jax.learning.folds import count_folds, cross_validate, deal
from makemore_jax.learning.training import training
from makemore_jax.models import backoff
from makemore_jax.models.registry import build
from makemore_jax.recipe import Recipe

LINES = ["emma", "ava", "mia", "emma", "zoe", "anna", "maria", "eva", "emma"]
CORPUS = encode_whole(LINES)
VOCAB, TOKENS = CORPUS.vocab, CORPUS.tokens.train
FOLDS = deal(TOKENS, 3)
RECIPE = Recipe(steps=4, batch=len(LINES), warmup=0, average=0.5)
MODEL = build("rnn", vocab=VOCAB.size, embed=3, hidden=5)
KEY = jax.random.key(0)


def texts(tokens):
    spans = zip(tokens.start_N, tokens.length_N, strict=True)
    return [VOCAB.decode(tokens.stream_M[first + 1 : first + 1 + length]) for first, length in spans]


def test_selected_lines_are_those_lines_and_their_pairs():
    some = select(TOKENS, np.array([4, 0, 2]))
    assert texts(some) == ["zoe", "emma", "mia"]
    alone = tokenize(["zoe", "emma", "mia"], VOCAB)
    for found, expected in zip(some.pairs, alone.pairs, strict=True):
        assert sorted(found.tolist()) == sorted(expected.tolist())


def test_windows_are_selected_with_their_cuts():
    windows = tokenize(["emma", "ava"], VOCAB, context_length=2)  # em, ma and the end mark alone, of the first line
    some = select(windows, np.arange(len(windows.length_N)) < 3)
    e, m, a = VOCAB.encode("ema").tolist()
    pairs = list(zip(*(side.tolist() for side in some.pairs), strict=True))
    assert pairs == [(0, e), (e, m), (0, m), (m, a), (0, 0)]


def test_equal_lines_share_a_fold_and_the_folds_share_the_different_ones():
    by_line = dict(zip(LINES, FOLDS.fold_N.tolist(), strict=True))
    assert [by_line[line] for line in LINES] == FOLDS.fold_N.tolist()
    assert sorted(np.bincount(list(by_line.values())).tolist()) == [2, 2, 3]
    assert sorted(texts(FOLDS.scored)) == sorted(set(LINES))
    backwards = deal(tokenize(LINES[::-1], VOCAB), 3)
    assert dict(zip(LINES[::-1], backwards.fold_N.tolist(), strict=True)) == by_line
    assert deal(TOKENS, 99).count == len(set(LINES))


@pytest.mark.slow
def test_the_run_on_all_lines_is_an_ordinary_run():
    init, steps = training(MODEL, CORPUS, RECIPE)
    state, reached = init(KEY), []
    for scored in cross_validate(KEY, MODEL, FOLDS, RECIPE, 2):
        state, _ = steps(state, 2)
        chex.assert_trees_all_close(scored.params, state.weights, rtol=1e-4, atol=1e-6)
        reached.append(scored.step)
    assert reached == [2, 4]


def test_a_line_that_is_left_out_changes_nothing_for_the_others_of_its_fold():
    changed = [*LINES]
    changed[2] = changed[2][::-1]  # mia
    same, other = (
        next(cross_validate(KEY, MODEL, FOLDS._replace(tokens=tokens), RECIPE, 2)).nll_M
        for tokens in (TOKENS, tokenize(changed, VOCAB))
    )
    left_out_M = FOLDS.scored_fold_M == FOLDS.fold_N[2]
    np.testing.assert_array_equal(same[left_out_M], other[left_out_M])
    assert (same[~left_out_M] != other[~left_out_M]).all()


def test_counts_are_scored_by_those_that_have_not_seen_the_line():
    for order, nll_M in count_folds(FOLDS, VOCAB.size, (1, 2)).items():
        config = backoff.Config(VOCAB.size, order)
        for fold in range(3):
            others = [line for line, its in zip(LINES, FOLDS.fold_N, strict=True) if its != fold]
            params = backoff.fit(config, *tokenize(others, VOCAB).pairs)
            expected = stream_nll(backoff.backoff(config), params, FOLDS.scored)
            held_M = FOLDS.scored_fold_M == fold
            np.testing.assert_allclose(nll_M[held_M], expected[held_M], rtol=1e-5)
