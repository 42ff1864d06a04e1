import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from makemore_jax import data
from makemore_jax.errors import InputError

# Any text that can be one line of a file: no line ends, no surrogates, in NFC.
LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])).map(data.normalize)
LINES = st.lists(LINE, min_size=1, max_size=20)


@given(LINES)
def test_encode_and_decode_are_inverse(lines):
    vocab = data.Vocab.of(lines)
    for line in lines:
        ids = vocab.encode(line)
        assert len(ids) == len(line)
        assert data.MARK not in ids
        assert vocab.decode(ids) == line
        assert vocab.decode([*ids, data.MARK, *ids]) == line  # the mark ends a line


@given(LINES)
def test_stream_holds_every_line_between_marks(lines):
    vocab = data.Vocab.of(lines)
    tokens = data.tokenize(lines, vocab)
    expected = [data.MARK]
    for line in lines:
        expected += [*vocab.encode(line), data.MARK]
    assert tokens.stream_M.tolist() == expected
    assert tokens.length_N.tolist() == [len(line) + 1 for line in lines]
    assert (tokens.stream_M[tokens.start_N] == data.MARK).all()


@given(LINES, st.integers(1, 30))
def test_a_batch_of_rows_is_the_lines_padded(lines, width):
    vocab = data.Vocab.of(lines)
    x_BT, y_BT, mask_BT = data.batch(data.tokenize(lines, vocab), np.arange(len(lines))[:, None], np.arange(width))
    for line, x, y, mask in zip(lines, x_BT, y_BT, mask_BT, strict=True):
        ids = vocab.encode(line).tolist()
        count = min(len(ids) + 1, width)
        assert mask.tolist() == [True] * count + [False] * (width - count)
        assert x[mask].tolist() == [data.MARK, *ids][:count]
        assert y[mask].tolist() == [*ids, data.MARK][:count]  # the end mark counts
        assert not x[~mask].any()
        assert not y[~mask].any()


@given(st.lists(st.integers(1, 11), min_size=1, max_size=30), st.integers(1, 4))
def test_packed_lines_lie_whole_in_rows_and_no_two_on_one_another(lengths, multiple):
    layout = data.pack(np.array(lengths), max(lengths), multiple)
    rows, width = layout.line_BT.shape
    assert (width, rows % multiple) == (max(lengths), 0)
    taken_BT = layout.t_BT < np.array(lengths)[layout.line_BT]
    assert taken_BT.sum() == sum(lengths)
    for line, length in enumerate(lengths):
        row_N, column_N = np.nonzero((layout.line_BT == line) & taken_BT)
        assert len(set(row_N)) == 1
        assert np.array_equal(column_N, column_N[0] + np.arange(length))
        assert np.array_equal(layout.t_BT[row_N, column_N], np.arange(length))
    room_B = width - taken_BT.sum(1)
    for row in range(1, rows):  # no line of a later row had room in an earlier one
        assert all(lengths[line] > room_B[:row].max() for line in layout.line_BT[row][taken_BT[row]])


@given(LINES)
def test_a_packed_batch_is_the_lines_end_to_end(lines):
    vocab = data.Vocab.of(lines)
    tokens = data.tokenize(lines, vocab)
    layout = data.pack(tokens.length_N, tokens.length_N.max())
    x_BT, y_BT, mask_BT = data.batch(tokens, *layout)
    for line, text in enumerate(lines):
        ids, its_BT = vocab.encode(text).tolist(), (layout.line_BT == line) & mask_BT
        assert x_BT[its_BT].tolist() == [data.MARK, *ids]
        assert y_BT[its_BT].tolist() == [*ids, data.MARK]
    assert not x_BT[~mask_BT].any()


def test_mark_is_shown_as_something_the_data_lacks():
    assert data.Vocab.of(["ab"]).symbols == (".", "a", "b")
    assert data.Vocab.of(["a.b"]).symbols == ("⏎", ".", "a", "b")
    assert data.Vocab.of(["a.b⏎"]).symbols[0] == "<mark>"
    with_dot = data.Vocab.of(["a.b"])
    assert with_dot.decode(with_dot.encode("a.b")) == "a.b"


def test_unknown_character_is_named_with_the_alphabet():
    with pytest.raises(InputError, match=r"^'q' \(U\+0071\) is not in the data; its characters are: abc$"):
        data.Vocab.of(["abc"]).encode("abq")
    with pytest.raises(InputError, match=r"'\\ud800'.*U\+D800"):
        data.Vocab.of(["abc"]).encode("a\ud800")
    with pytest.raises(InputError, match=r"\(500 in all\)"):
        data.Vocab.of(["".join(map(chr, range(0x4E00, 0x4E00 + 500)))]).encode("a")


def test_line_end_inside_a_line_is_refused():
    with pytest.raises(InputError, match="line end"):
        data.tokenize(["a\nb"], data.Vocab.of(["ab"]))


@given(LINES)
def test_vocab_survives_its_file(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("vocab") / "vocab.json"
    vocab = data.Vocab.of([*lines, "x"])
    vocab.save(path)
    assert data.Vocab.load(path) == vocab


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"symbols": ["."]}', '{"symbols": [".", "a", "a"]}', '{"symbols": 3}']
)
def test_damaged_vocab_is_refused(tmp_path, text):
    (tmp_path / "vocab.json").write_text(text)
    with pytest.raises(InputError, match="not a vocabulary"):
        data.Vocab.load(tmp_path / "vocab.json")
    with pytest.raises(InputError, match="no such file"):
        data.Vocab.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (b"\xef\xbb\xbfemma\nava\n", ["emma", "ava"]),  # byte-order mark
        (b"emma\r\nava\r\n", ["emma", "ava"]),
        (b"emma\rava", ["emma", "ava"]),
        (b"\n\n emma \t\n\n\n", ["emma"]),
        (b"mary ann", ["mary ann"]),
        ("Zo\u0065\u0308\nZo\u00eb".encode(), ["Zo\u00eb", "Zo\u00eb"]),  # two spellings of one name
        ("東京\nМосква\nأحمد".encode(), ["東京", "Москва", "أحمد"]),
        ("a\u2028b\x0bc\x85d".encode(), ["a\u2028b\x0bc\x85d"]),  # line ends of other worlds are characters
        (b"$x$\n\\alpha", ["$x$", "\\alpha"]),
    ],
)
def test_read_lines(tmp_path, raw, lines):
    (tmp_path / "file.txt").write_bytes(raw)
    assert data.read_lines(tmp_path / "file.txt") == lines
    assert all(unicodedata.is_normalized("NFC", line) for line in lines)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "empty file"),
        (b" \n\t\r\n\n", "only blank lines"),
        (b"emma\nava\r\nol\xffivia\n", r"line 3: not UTF-8 \(byte 0xff\)"),
        ("emma".encode("utf-16"), "line 1: not UTF-8"),
        (b"emma\n" + b"a" * 1_000_000, r"line 2: 1,000,000 characters.*--max-length N"),
    ],
)
def test_bad_files_are_named(tmp_path, raw, message):
    path = tmp_path / "file.txt"
    path.write_bytes(raw)
    with pytest.raises(InputError, match=message) as error:
        data.read_lines(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        data.read_lines(tmp_path / "none.txt")
    with pytest.raises(InputError, match="is a directory"):
        data.read_lines(tmp_path)


def test_max_length_cuts_lines(tmp_path):
    (tmp_path / "file.txt").write_bytes(b"emma\n" + b"ab " * 500_000)
    assert data.read_lines(tmp_path / "file.txt", max_length=6) == ["emma", "ab ab"]
    with pytest.raises(InputError, match="--max-length is 0"):
        data.read_lines(tmp_path / "file.txt", max_length=0)


def test_split_keeps_equal_lines_together_and_does_not_move_lines(names):
    sides = data.split(names)
    assert sum(map(len, sides)) == len(names)
    assert not (
        set(sides.train) & set(sides.dev) | set(sides.train) & set(sides.test) | set(sides.dev) & set(sides.test)
    )
    assert len(set(names)) < len(names)  # otherwise the line above would be easy
    fewer = data.split(names[::7])
    assert all(set(some) <= set(side) for some, side in zip(fewer, sides, strict=True))
    assert len(sides.dev) / len(names) == pytest.approx(0.1, abs=0.01)
    assert len(sides.test) / len(names) == pytest.approx(0.1, abs=0.01)


def test_split_is_stable_across_machines():
    lines = ["emma", "olivia", "amelia", "abigail", "emily", "Zoë", "東京"]
    assert data.split(lines) == (["emma", "olivia", "Zoë", "東京"], ["amelia"], ["abigail", "emily"])


def test_report(names, vocab):
    report = data.report(names, vocab)
    assert json.dumps(report)
    assert report == {
        "lines": 32178,
        "distinct": 29619,
        "repeated": 2559,
        "shortest": "an",
        "longest": "muhammadibrahim",
        "alphabet": "abcdefghijklmnopqrstuvwxyz",
        "symbols": 27,
        "bigrams": 229201,
        "unknown": 0.0,
    }
