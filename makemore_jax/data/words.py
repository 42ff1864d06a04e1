"""Split text into words, and join words into text."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

from makemore_jax.errors import require

UNKNOWN, UNKNOWN_SYMBOL = 1, "<unknown>"  # the token of whatever is not in the vocabulary
CLOSING, OPENING = frozenset(".,;:!?%)]}'’”»…"), frozenset("([{“‘«¿¡")  # without a space before; without one after


@cache
def word_pattern() -> re.Pattern:
    """Compile the pattern of a word: a line end, letters (with ' and - inside), a number, or another non-space."""
    combining = "".join(chr(c) for c in range(0x110000) if unicodedata.category(chr(c)).startswith("M"))
    letters = rf"[^\W\d_](?:[^\W\d_]|[{combining}\u200c\u200d])*"
    return re.compile(rf"\n|{letters}(?:['’-]{letters})*|\d+(?:[.,]\d+)*|\S")


def split_words(text: str) -> list[str]:
    """Return the words, numbers, punctuation characters and line ends of a text."""
    return word_pattern().findall(text)


def join_words(words: Iterable[str]) -> str:
    """Join words into well-spaced text, which `split_words` splits into the same words.

    There is one space between two words, but none before `CLOSING`, after `OPENING` or beside a line end. Straight
    double quotes open and close in turn.
    """
    pieces, tight, quoted = [], True, False
    for word in words:
        quote = word == '"'
        closes = word in CLOSING or word == "\n" or (quote and quoted)
        pieces += [word] if tight or closes else [" ", word]
        tight, quoted = word in OPENING or word == "\n" or (quote and not quoted), quoted ^ quote
    return "".join(pieces)


def find_words(texts: Iterable[str], min_count: int) -> list[str]:
    """Return the unknown word and the words that occur at least `min_count` times, the most frequent first."""
    counts = Counter()
    for text in texts:
        counts.update(split_words(text))
    del counts["\n"]
    kept = sorted((-count, word) for word, count in counts.items() if count >= min_count)
    require(bool(kept), f"no word occurs {min_count} times or more in the lines to train on; lower `min_count`")
    return [UNKNOWN_SYMBOL, *(word for _, word in kept)]
