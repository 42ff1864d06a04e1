"""Text in the cells of a terminal."""

import pytest

from experiments.shared.cells import breadth, clip, clusters, pad

FAMILY, HEART, ENGLAND = "👩‍👩‍👧", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"


@pytest.mark.parametrize(
    "characters",
    [
        ["a", "e\u0301\u0323", "b"],  # marks
        [FAMILY, "👍🏽", HEART, ENGLAND, "🇩🇪", "🇫🇷", "a"],
        ["क्षि", "ना"],  # a virama joins consonants, a vowel sign belongs to the letter before it
        ["م", "ی\u200c", "ش"],  # a joiner stays with the letter before it
        ["\u1112\u119e\u11ab", "가", "나"],  # an old Hangul syllable, spelled as jamo, and new ones
        ["ｶﾞ", "東", "京", "\u3000", "都"],
        ["\u0301", "a"],  # a mark with nothing before it
    ],
)
def test_a_cut_never_falls_inside_a_character(characters):
    text = "".join(characters)
    assert clusters(text) == characters
    for width in range(1, breadth(text)):
        whole, more = clip(text, width)[:-1], clip(text, width)[-1]
        assert more == "…"
        assert breadth(whole) < width
        assert whole in {"".join(characters[:count]) for count in range(len(characters))}
    assert clip(text, breadth(text)) == text


def test_columns_line_up():
    texts = ["東京", "Zoe\u0301", FAMILY, HEART, "a\u00a0b", "可\u3000可"]
    assert [breadth(text) for text in texts] == [4, 3, 2, 2, 3, 6]
    assert pad("東京", 6) + "|" == "東京  |"
    assert pad("東京", 3) == "東京"


def test_an_escape_is_not_cut():
    assert clip("ab\x1bcd", 6) == "ab…"
    assert clip("ab\x1bcd", 7) == r"ab\x1b…"
    assert clip("ab\x1bcd", 8) == r"ab\x1bcd"
