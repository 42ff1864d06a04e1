"""What the bigram's story is about: the data in the forms that it needs, counted in the lecture's way and in ours."""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from makemore_jax import data
from makemore_jax.model import Model
from makemore_jax.models import ngram


class Corpus(NamedTuple):
    """The data in the forms that the story needs."""

    lines: list[str]
    vocab: data.Vocab
    tokens: data.Tokens
    counts_VV: jax.Array
    model: Model  # of any table of log-probabilities over this vocabulary


def count(vocab: data.Vocab, tokens: data.Tokens) -> jax.Array:
    """(V, V) int32: the bigram table of a token stream."""
    x_N, y_N = tokens.pairs
    return ngram.count(ngram.Config(vocab.size), x_N[None], y_N[None])


def count_dict(lines: Sequence[str], mark: str) -> dict[tuple[str, str], int]:
    """The lecture's first count, in plain Python: slow, plainly right, and the oracle for the table."""
    counts = {}
    for line in lines:
        symbols = [mark, *line, mark]
        for first, second in zip(symbols, symbols[1:]):  # noqa: B905, RUF007 (as in the lecture)
            counts[first, second] = counts.get((first, second), 0) + 1
    return counts
