"""Text in the cells of a terminal: which code points are one character to a reader, and how wide that is."""

import unicodedata
from bisect import bisect_right
from itertools import accumulate

from makemore_jax.data.lines import printable

JOINER, EMOJI_STYLE, VIRAMA = "\u200d", "\ufe0f", 9  # the last is a combining class: the sign joins two consonants
JAMO, SKIN_TONES, TAGS = range(0x1160, 0x1200), range(0x1F3FB, 0x1F400), range(0xE0020, 0xE0080)
EXTENDING = {*"\u200c\u200d\uff9e\uff9f", *map(chr, (*JAMO, *SKIN_TONES, *TAGS))}  # besides marks


def clusters(text: str) -> list[str]:
    """Split a text into what a reader calls characters: nearly Unicode's grapheme clusters (Annex 29).

    A cluster is a character with its marks, an emoji with what is joined to it, a flag, or a Hangul syllable.
    """
    found = []
    for character in text:
        if found and belongs(character, found[-1]):
            found[-1] += character
        else:
            found.append(character)
    return found


def belongs(character: str, cluster: str) -> bool:
    """Whether a character continues this cluster."""
    flag = "🇦" <= character <= "🇿" and "🇦" <= cluster <= "🇿" and len(cluster) == 1  # a flag is two such letters
    joined = cluster[-1] == JOINER or unicodedata.combining(cluster[-1]) == VIRAMA
    return flag or joined or character in EXTENDING or unicodedata.category(character).startswith("M")


def breadth(text: str) -> int:
    """The number of cells that a text fills: two for a wide character, such as 東 or an emoji."""
    wide = lambda cluster: EMOJI_STYLE in cluster or any(unicodedata.east_asian_width(c) in "WF" for c in cluster)
    return sum(2 if wide(cluster) else 1 for cluster in clusters(text))


def clip(text: str, width: int = 40) -> str:
    """The text, made printable and cut to `width` cells, never inside a cluster or an escape."""
    pieces = [printable(cluster) for cluster in clusters(text)]
    ends = list(accumulate(map(breadth, pieces), initial=0))
    return "".join(pieces) if ends[-1] <= width else "".join(pieces[: bisect_right(ends, width - 1) - 1]) + "…"


def pad(text: str, width: int) -> str:
    """The text with spaces after it, up to `width` cells."""
    return text + " " * (width - breadth(text))
