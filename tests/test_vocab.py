"""What a token is: characters, words and bytes, each there and back."""

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from makemore_jax import data
from makemore_jax.data.vocab import CLOSING, OPENING, join_words, split_words
from makemore_jax.errors import InputError
from tests.conftest import ROOT
from tests.test_data import LINE, LINES

PUNCTUATED = st.text(st.sampled_from("ab É'’-\"().,;:!?«»…¿ 1\t\u0301ा")).map(data.normalize)  # words and marks, often


@given(LINES)
def test_bytes_hold_anything(lines):
    vocab = data.Vocab.of([], "byte")
    assert vocab.size == 256
    for line in lines:
        ids = vocab.encode(line)
        assert len(ids) == len(line.encode())
        assert data.MARK not in ids
        assert vocab.decode(ids) == line
    tokens = data.tokenize(lines, vocab)
    assert tokens.length_N.tolist() == [len(line.encode()) + 1 for line in lines]


def test_bytes_that_are_no_text_show_as_replacement_marks():
    vocab = data.Vocab.of([], "byte")
    assert vocab.decode(vocab.encode("zoë")[:-1]) == "zo\N{REPLACEMENT CHARACTER}"


@given(LINE | PUNCTUATED)
@example('He said, "Let there be light": and (there) was - 3.14, 1,000; the-day\'s end…')
def test_words_joined_split_into_the_same_words(line):
    """The folding is spaces alone: between words as `join_words` says, and what is no space stays, in order."""
    words = split_words(line)
    joined = join_words(words)
    assert split_words(joined) == words
    assert join_words(split_words(joined)) == joined
    assert "".join(joined.split()) == "".join(line.split())
    spaces = re.findall(r"\s+", joined)
    assert set(spaces) <= {" "}
    vocab = data.Vocab.of([line, "a"], "word")
    assert vocab.decode(vocab.encode(line)) == joined


def test_words_are_what_a_reader_calls_words():
    line = "Moses' well-known don't cost 1,000.50 (or \"3\"), naïve हिन्दी."
    words = [
        "Moses",
        "'",
        "well-known",
        "don't",
        "cost",
        "1,000.50",
        "(",
        "or",
        '"',
        "3",
        '"',
        ")",
        ",",
        "naïve",
        "हिन्दी",
        ".",
    ]
    assert split_words(line) == words
    assert join_words(words) == line
    assert not CLOSING & OPENING


def test_nearly_every_verse_comes_back_as_it_was():
    lines = data.read_lines(ROOT / "data/verses.txt")
    changed = [line for line in lines if join_words(split_words(line)) != line]
    assert len(lines) == 31_102
    assert len(changed) == 6  # doubled spaces, a space before a question mark, two hyphens


def test_rare_words_are_unknown_and_never_drawn():
    lines = ["the cat and the dog", "the cat", "a bird"]
    vocab = data.Vocab.of(lines, "word", min_count=2)
    assert vocab.symbols == (".", "<unknown>", "the", "cat")
    assert vocab.encode("the dog\nthe cat").tolist() == [2, data.UNKNOWN, data.MARK, 2, 3]
    assert vocab.drawable_V.tolist() == [True, False, True, True]
    assert data.report(lines, vocab)["unknown"] == pytest.approx(4 / 13)
    with pytest.raises(InputError, match="'dog' is none of the 2 words it knows"):
        vocab.encode_line("the dog")
    with pytest.raises(InputError, match=r"no word comes 4 times or more .*; lower --min-count"):
        data.Vocab.of(lines, "word", min_count=4)
    with pytest.raises(InputError, match="no word comes 1 times"):
        data.Vocab.of(["   "], "word")


def test_folded_letters_are_small():
    for level in ("character", "word", "byte"):
        vocab = data.Vocab.of(["The Cat"], level, fold=True)
        assert vocab.decode(vocab.encode("THE cat")) == "the cat"
        assert data.Vocab.from_dict(vocab.to_dict(), "") == vocab


@pytest.mark.parametrize("level", data.LEVELS)
def test_a_vocab_of_each_level_survives_its_file(tmp_path, level):
    vocab = data.Vocab.of(["emma, ava", "zoë"], level)
    vocab.save(tmp_path / "vocab.json")
    loaded = data.Vocab.load(tmp_path / "vocab.json")
    assert loaded == vocab
    assert np.array_equal(loaded.encode("ava\nzoë"), vocab.encode("ava\nzoë"))


def test_unknown_levels_are_named():
    with pytest.raises(InputError, match="--level is 'letter'; it must be one of character, word, byte"):
        data.Vocab.of(["a"], "letter")
    for broken in (
        {"level": "letter"},
        {"level": "byte"},
        {"level": "word", "symbols": [".", "<unknown>"]},
        {"fold": 1},
    ):
        with pytest.raises(InputError, match="not a vocabulary"):
            data.Vocab.from_dict({"symbols": [".", "a", "b"]} | broken, "vocab.json")
