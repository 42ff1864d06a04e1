"""What a token is: characters, words and bytes, each there and back."""

import json
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from makemore_jax.data.corpus import Encoding
from makemore_jax.data.lines import normalize, read_lines
from makemore_jax.data.tokenizers import MARK, TOKENIZERS
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.data.words import CLOSING, OPENING, UNKNOWN, join_words, split_words
from makemore_jax.errors import InputError
from tests.cases import LINE, LINES
from tests.conftest import ROOT

PUNCTUATED = st.text(st.sampled_from("ab É'’-\"().,;:!?«»…¿ 1\t\u0301ा")).map(normalize)  # words and marks, often


@given(LINES)
def test_encode_and_decode_are_inverse(lines):
    vocab = Vocab.of(lines)
    for line in lines:
        ids = vocab.encode(line)
        assert len(ids) == len(line)
        assert MARK not in ids
        assert vocab.decode(ids) == line
        assert vocab.decode([*ids, MARK, *ids]) == line  # the mark ends a line


def test_mark_is_shown_as_something_the_data_lacks():
    assert Vocab.of(["ab"]).symbols == (".", "a", "b")
    assert Vocab.of(["a.b"]).symbols == ("⏎", ".", "a", "b")
    assert Vocab.of(["a.b⏎"]).symbols[0] == "<mark>"
    with_dot = Vocab.of(["a.b"])
    assert with_dot.decode(with_dot.encode("a.b")) == "a.b"


def test_a_vocabulary_grows_behind_its_own_symbols():
    old = Vocab.of(["cab"])
    assert old.grown(Vocab.of(["bad.", "⏎"])).symbols == ("<mark>", "a", "b", "c", ".", "d", "⏎")
    assert old.grown(Vocab.of(["ab"])) == old.grown(old) == old
    assert old.grown(Vocab.of(["ab"], multiline=True)).multiline
    words = Vocab.of(["b a"], "word").grown(Vocab.of(["c a"], "word"))
    assert words.symbols == (".", "<unknown>", "a", "b", "c")
    pairs = Vocab.of(["aa"], "bpe")
    assert pairs.grown(Vocab.of(["bb"], "bpe")) is pairs  # it can spell any text


def test_unknown_character_is_named_with_the_alphabet():
    with pytest.raises(InputError, match=r"^'q' \(U\+0071\) is not in the vocabulary; its characters are: abc$"):
        Vocab.of(["abc"]).encode("abq")
    with pytest.raises(InputError, match=r"'\\ud800'.*U\+D800"):
        Vocab.of(["abc"]).encode("a\ud800")
    with pytest.raises(InputError, match=r"\(500 in all\)"):
        Vocab.of(["".join(map(chr, range(0x4E00, 0x4E00 + 500)))]).encode("a")


@pytest.mark.parametrize("typed", ["a\x1b[2Jb", "\u202ea", "a\x00", "a\nb", "a b\u2028", "\x9b"])
@pytest.mark.parametrize("level", ["character", "word"])
def test_messages_hold_no_control_characters(typed, level):
    vocab = Vocab.of(["em\x1b[31mma", "a\x7f\u2028\u202d"], level)
    with pytest.raises(InputError) as error:
        vocab.encode_line(typed)
    assert str(error.value).isprintable()


def test_a_file_of_too_many_characters_is_refused():
    characters = [chr(code) for code in range(0x30000, 0x30000 + 2**16)]
    assert Vocab.of(characters).size == 2**16 + 1
    with pytest.raises(
        InputError, match="65,537 distinct characters, over the limit of 65,536; set `tokens` to byte or"
    ):
        Vocab.of([*characters, "a"])
    assert Vocab.of([*characters, "a"], "byte").size == 256


@given(LINES)
def test_bytes_hold_anything(lines):
    vocab = Vocab.of([], "byte")
    assert vocab.size == 256
    for line in lines:
        ids = vocab.encode(line)
        assert len(ids) == len(line.encode())
        assert MARK not in ids
        assert vocab.decode(ids) == line
    tokens = tokenize(lines, vocab)
    assert tokens.length_N.tolist() == [len(line.encode()) + 1 for line in lines]


def test_bytes_that_are_no_text_show_as_replacement_marks():
    vocab = Vocab.of([], "byte")
    assert vocab.decode(vocab.encode("zoë")[:-1]) == "zo\N{REPLACEMENT CHARACTER}"
    assert vocab.symbols[:12] == ("⏎", *(rf"\x{b:02x}" for b in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11)))
    assert [vocab.symbols[i] for i in vocab.encode("az~\x7fë")] == ["a", "z", "~", r"\x7f", r"\xc3", r"\xab"]


@given(LINE | PUNCTUATED)
@example('He said, "Let there be light": and (there) was - 3.14, 1,000; the-day\'s end…')
def test_words_joined_split_into_the_same_words(line):
    """Only spaces change: `join_words` decides on those between words, and everything else stays, in order."""
    words = split_words(line)
    joined = join_words(words)
    assert split_words(joined) == words
    assert join_words(split_words(joined)) == joined
    assert "".join(joined.split()) == "".join(line.split())
    spaces = re.findall(r"\s+", joined)
    assert set(spaces) <= {" "}
    vocab = Vocab.of([line, "a"], "word")
    assert vocab.decode(vocab.encode(line)) == vocab.canonical(line) == joined


def test_words_are_what_a_reader_calls_words():
    line = "Moses' well-known don't cost 1,000.50 (or \"3\"), naïve हिन्दी."
    words = ["Moses", "'", "well-known", "don't", "cost", "1,000.50", "(", "or", '"', "3", '"', ")", ","]
    words += ["naïve", "हिन्दी", "."]
    assert split_words(line) == words
    assert join_words(words) == line
    assert not CLOSING & OPENING


@pytest.mark.slow
def test_nearly_every_verse_comes_back_as_it_was():
    lines = read_lines(ROOT / "data/verses.txt")
    changed = [line for line in lines if join_words(split_words(line)) != line]
    assert len(lines) == 31_102
    assert len(changed) == 6  # doubled spaces, a space before a question mark, two hyphens


def test_rare_words_are_unknown_and_never_drawn():
    lines = ["the cat and the dog", "the cat", "a bird"]
    vocab = Vocab.of(lines, "word", min_count=2)
    assert vocab.symbols == (".", "<unknown>", "the", "cat")
    assert vocab.encode("the dog\nthe cat").tolist() == [2, UNKNOWN, MARK, 2, 3]
    assert vocab.sampleable_V.tolist() == [True, False, True, True]
    assert Vocab.of(lines).sampleable_V.all()
    with pytest.raises(InputError, match="'dog' is not one of the 2 words in the vocabulary"):
        vocab.encode_line("the dog")
    assert vocab.canonical("the  dog") == "the dog"
    with pytest.raises(InputError, match=r"no word occurs 4 times or more .*; lower `min_count`"):
        Vocab.of(lines, "word", min_count=4)
    with pytest.raises(InputError, match="no word occurs 1 times"):
        Vocab.of(["   "], "word")
    with pytest.raises(InputError, match="`min_count` is 0; it must be at least 1"):
        Vocab.of(lines, "word", min_count=0)


def test_rare_characters_are_unknown_and_never_drawn():
    lines = ["abba", "ab", "aqb", "bab>"]
    vocab = Vocab.of(lines, min_count=2)
    assert vocab.symbols == (".", "<unknown>", "a", "b")
    assert vocab.encode("aq\nb>").tolist() == [2, UNKNOWN, MARK, 3, UNKNOWN]
    assert vocab.sampleable_V.tolist() == [True, False, True, True]
    assert Vocab.of(lines, min_count=1).sampleable_V.all()
    assert Vocab.of(["abab"], min_count=2).symbols == (".", "a", "b")  # none is rare
    assert Vocab.from_dict(json.loads(json.dumps(vocab.to_dict())), "") == vocab
    assert Vocab.of(["ab\nab", "c"], min_count=2, multiline=True).symbols == (".", "<unknown>", "a", "b", "\n")
    with pytest.raises(InputError, match="'q' is not one of the 2 characters in the vocabulary"):
        vocab.encode_line("abq")
    with pytest.raises(InputError, match="no character occurs 9 times or more; lower `min_count`"):
        Vocab.of(lines, min_count=9)
    for level in ("byte", "bpe"):
        with pytest.raises(InputError, match=f"`min_count` is 2; it needs `tokens` character or word, .* are {level}"):
            Vocab.of(lines, level, min_count=2)
    with pytest.raises(InputError, match="`min_count` is for making a vocabulary"):
        Encoding(min_count=2, vocab=vocab).require_consistent()


@pytest.mark.parametrize("level", TOKENIZERS)
def test_text_is_normalized_wherever_it_comes_in(level):
    composed, typed = "Zoë J\u030c", "Zoe\u0308 J\u030c"
    assert composed != typed
    vocab = Vocab.of([typed], level)
    assert vocab == Vocab.of([composed], level)
    assert vocab.encode(typed).tolist() == vocab.encode_line(composed).tolist()
    assert vocab.decode(vocab.encode(typed)) == vocab.canonical(typed) == composed
    small = Vocab.of([typed], level, lowercase=True)
    assert small == Vocab.of(["zoë ǰ"], level, lowercase=True)
    assert small.decode(small.encode("ZOE\u0308 J\u030c")) == small.canonical("ZOË ǰ") == "zoë ǰ"


@pytest.mark.parametrize("level", TOKENIZERS)
@pytest.mark.parametrize("lowercase", [False, True])
def test_a_vocab_comes_back_from_its_dict(level, lowercase):
    vocab = Vocab.of(["emma, ava", "zoë"], level, lowercase)
    value = vocab.to_dict()
    loaded = Vocab.from_dict(value | {"symbols": list(value["symbols"])}, "")  # as JSON has it
    assert loaded == vocab == Vocab.from_dict(value, "")
    assert np.array_equal(loaded.encode("ava\nzoë"), vocab.encode("ava\nzoë"))


GOOD = {"tokens": "character", "lowercase": False, "symbols": [".", "a", "b"]}
BYTES = list(Vocab.of([], "byte").symbols)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        3,
        GOOD | {"symbols": []},
        GOOD | {"symbols": [".", "a", "a"]},
        GOOD | {"symbols": [".", "ab"]},
        GOOD | {"symbols": [".", ""]},
        GOOD | {"symbols": [".", "\n\n"]},
        GOOD | {"symbols": [".", 1]},
        GOOD | {"symbols": [".", []]},
        GOOD | {"symbols": "abc"},
        GOOD | {"symbols": 3},
        GOOD | {"lowercase": 1},
        GOOD | {"tokens": "letter"},
        GOOD | {"tokens": []},
        GOOD | {"tokens": "byte"},
        GOOD | {"tokens": "byte", "symbols": BYTES[:-1]},
        GOOD | {"tokens": "byte", "symbols": [*BYTES[:-2], BYTES[-1], BYTES[-2]]},
        GOOD | {"tokens": "word", "symbols": [".", "<unknown>"]},
        GOOD | {"tokens": "word", "symbols": [".", "<unknown>", "a\nb"]},
        {"symbols": [".", "a", "b"], "tokens": "character"},
    ],
)
def test_what_is_no_vocabulary_is_refused(value):
    assert Vocab.from_dict(GOOD, "vocab.json").size == 3
    with pytest.raises(InputError, match=r"^vocab.json: not a vocabulary$"):
        Vocab.from_dict(value, "vocab.json")


def test_unknown_levels_are_named():
    for make in (lambda: Vocab.of(["a"], "letter"), lambda: Vocab((".", "a"), "letter")):
        with pytest.raises(InputError, match="`tokens` is 'letter'; it must be one of character, word, byte"):
            make()
