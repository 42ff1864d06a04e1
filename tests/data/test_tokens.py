"""The token stream, batches of its lines, and how they are packed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore_jax.data.batches import gather, pack, plan_batches
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.errors import InputError
from tests.cases import LINES


@given(LINES)
def test_stream_holds_every_line_between_marks(lines):
    vocab = Vocab.of(lines)
    tokens = tokenize(lines, vocab)
    expected = [MARK]
    for line in lines:
        expected += [*vocab.encode(line), MARK]
    assert tokens.stream_M.tolist() == expected
    assert tokens.length_N.tolist() == [len(line) + 1 for line in lines]
    assert (tokens.stream_M[tokens.start_N] == MARK).all()
    x_M, y_M = tokens.pairs
    assert [*x_M, y_M[-1]] == [x_M[0], *y_M] == expected


def test_line_end_inside_a_line_is_refused():
    with pytest.raises(InputError, match="line end"):
        tokenize(["a\nb"], Vocab.of(["ab"]))
    assert [len(part) for part in tokenize([], Vocab.of(["ab"]))] == [1, 0, 0]


@given(LINES, st.integers(1, 30))
def test_a_batch_of_rows_is_the_lines_padded(lines, width):
    vocab = Vocab.of(lines)
    x_BT, y_BT, mask_BT = gather(tokenize(lines, vocab), np.arange(len(lines))[:, None], np.arange(width))
    for line, x, y, mask in zip(lines, x_BT, y_BT, mask_BT, strict=True):
        ids = vocab.encode(line).tolist()
        count = min(len(ids) + 1, width)
        assert mask.tolist() == [True] * count + [False] * (width - count)
        assert x[mask].tolist() == [MARK, *ids][:count]
        assert y[mask].tolist() == [*ids, MARK][:count]  # the end mark counts
        assert not x[~mask].any()
        assert not y[~mask].any()


@given(st.lists(st.integers(1, 11), min_size=1, max_size=30), st.integers(1, 4), st.integers(0, 3))
def test_packed_lines_lie_whole_in_rows_and_no_two_on_one_another(lengths, multiple, spare):
    width = max(lengths) + spare
    segment_BT, position_BT = pack(np.array(lengths), width, multiple)
    rows = len(segment_BT)
    assert segment_BT.shape == (rows, width)
    assert rows % multiple == 0
    taken_BT = position_BT < np.array(lengths)[segment_BT]
    assert taken_BT.sum() == sum(lengths)
    for line, length in enumerate(lengths):
        row_N, column_N = np.nonzero((segment_BT == line) & taken_BT)
        assert len(set(row_N)) == 1
        assert np.array_equal(column_N, column_N[0] + np.arange(length))
        assert np.array_equal(position_BT[row_N, column_N], np.arange(length))
    free_B = width - taken_BT.sum(1)
    for row in range(1, rows):  # no line of a later row had room in an earlier one
        assert all(lengths[line] > free_B[:row].max() for line in segment_BT[row][taken_BT[row]])


def test_lines_wider_than_a_row_are_refused():
    with pytest.raises(InputError, match="`width` is 3; it must be at least the longest line"):
        pack(np.array([2, 4]), 3)


@given(LINES)
def test_a_packed_batch_is_the_lines_end_to_end(lines):
    vocab = Vocab.of(lines)
    tokens = tokenize(lines, vocab)
    packing = pack(tokens.length_N, tokens.length_N.max())
    x_BT, y_BT, mask_BT = gather(tokens, *packing)
    for line, text in enumerate(lines):
        ids, own_BT = vocab.encode(text).tolist(), (packing.segment_BT == line) & mask_BT
        assert x_BT[own_BT].tolist() == [MARK, *ids]
        assert y_BT[own_BT].tolist() == [*ids, MARK]
    assert not x_BT[~mask_BT].any()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 7), st.integers(1, 3))
def test_a_plan_has_a_slot_as_wide_as_each_stratum(lengths, slots, rows):
    lines = ["a" * length for length in lengths]
    tokens, plan = plan_batches(tokenize(lines, Vocab.of(["a"])), slots, rows)
    assert (plan.lines, plan.rows) == (len(lines), rows)
    assert plan.line_tokens == pytest.approx(np.mean(lengths) + 1)
    assert tokens.length_N.tolist() == sorted(length + 1 for length in lengths)
    assert (np.diff(tokens.start_N[tokens.length_N == tokens.length_N[0]]) > 0).all()  # equal ones in file order
    for slot in range(slots):
        numbers = {(slot * 1000 + u) * len(lines) // (slots * 1000) for u in range(1000)}  # as `draw` picks them
        assert plan.widths[slot] == tokens.length_N[max(numbers)]
    taken_BT = plan.packing.position_BT < np.array(plan.widths)[plan.packing.segment_BT]
    assert taken_BT.sum() == sum(plan.widths)
    assert len(taken_BT) % rows == 0
