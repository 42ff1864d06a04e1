"""Lines that a condition accepts: the first of those that the key draws, in batches that go on where the last ended."""

import jax
import pytest

import makemore_jax as mm
from makemore_jax.data.corpus import encode_whole
from makemore_jax.errors import InputError
from makemore_jax.inference.draw import BATCH, find, once

TRAINED = mm.count(encode_whole(["abba", "abc", "cab", "a", "bacca"]), 2)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def stream():
    return mm.sample(KEY, TRAINED, 3 * BATCH)


def test_what_is_accepted_is_the_first_of_the_stream_across_batches(stream):
    rare = lambda line: line.startswith("cb")
    expected = [i for i, line in enumerate(stream) if rare(line)]
    assert expected[0] < BATCH < 2 * BATCH < expected[-1]
    found = find(KEY, TRAINED, 10**6, rare, most=3 * BATCH)
    assert [TRAINED.vocab.decode(row) for row in found.samples.token_BT] == [stream[i] for i in expected]
    assert (found.accepted, found.lines) == (len(expected), stream)
    assert mm.sample(KEY, TRAINED, 2, accept=rare) == [stream[i] for i in expected[:2]]


def test_each_line_once(stream):
    found = mm.sample(KEY, TRAINED, 9, accept=once())
    assert found == list(dict.fromkeys(stream))[:9]
    assert found != stream[:9]


def test_the_search_ends_when_it_is_told_to_or_has_enough():
    found = find(KEY, TRAINED, 1, lambda line: False, most=10**9, until=lambda: True)
    assert (len(found.samples.token_BT), found.accepted, len(found.lines)) == (0, 0, BATCH)
    assert len(find(KEY, TRAINED, 1, lambda line: True).lines) == BATCH


def test_whole_lines_have_not_been_cut():
    cut, whole = (find(KEY, TRAINED, BATCH, lambda line: True, most=BATCH, whole=whole) for whole in (False, True))
    assert not cut.samples.ended_B.all()
    assert whole.samples.ended_B.all()
    assert len(whole.samples.ended_B) == cut.samples.ended_B.sum()


def test_too_few_are_refused_in_one_line():
    with pytest.raises(InputError, match="0 of 256 samples are as they should be, of 2 to be drawn"):
        mm.sample(KEY, TRAINED, 2, accept=lambda line: False)


def test_both_conditions_hold():
    kept = mm.sample(KEY, TRAINED, 40, accept=lambda line: len(line) > 1, excluding={"ab", "ac"})
    assert min(map(len, kept)) > 1
    assert not {"ab", "ac"} & set(kept)
