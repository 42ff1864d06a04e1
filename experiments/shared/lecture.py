"""The first lecture's code that its command, `experiments.bigram`, and its benchmark share."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from makemore_jax.data.tokens import Tokens
from makemore_jax.data.vocab import Vocab
from makemore_jax.models import ngram
from makemore_jax.models.interface import Model, Params
from makemore_jax.models.likelihood import mean_nll, table_nll


class Sample(Protocol):
    """Draw `n` lines, by default as many as the flags ask for, always with the same random key."""

    def __call__(self, model: Model, params: Params, n: int = ..., /) -> list[str]: ...


class Lecture(NamedTuple):
    """The data in every form that the lecture needs, and its way of sampling."""

    lines: list[str]
    vocab: Vocab
    symbols: list[str]  # of the vocabulary, made printable
    tokens: Tokens
    counts_VV: jax.Array
    model: Model  # the bigram whose parameters are a table of log-probabilities
    sample: Sample


def count_dict(lines: Sequence[str], mark: str) -> dict[tuple[str, str], int]:
    """Count bigrams as the lecture does first, in plain Python: slow, obviously correct, and the table's oracle."""
    counts = {}
    for line in lines:
        symbols = [mark, *line, mark]
        for first, second in zip(symbols, symbols[1:]):  # noqa: B905, RUF007 (as in the lecture)
            counts[first, second] = counts.get((first, second), 0) + 1
    return counts


def count_table(vocab: Vocab, tokens: Tokens) -> jax.Array:
    """Count the bigrams of a token stream by one scatter-add; (V, V) int32."""
    x_N, y_N = tokens.pairs
    return ngram.count(ngram.Config(vocab.size), x_N[None], y_N[None])


def pair_loss(model: Model, params: Params, pairs: tuple[jax.Array, jax.Array], hyper: dict, key=None) -> jax.Array:
    """The lecture's loss over all N pairs (x_N, y_N) of the data."""
    x_N, y_N = pairs
    return mean_nll(model.apply(params, x_N[None]), y_N[None]) + penalty(params, hyper)


def table_loss(params: Params, counts_VV: jax.Array, hyper: dict, key=None) -> jax.Array:
    """The same loss from the count table; the one-hots of all symbols are the identity, so the logits are W."""
    return table_nll(params["W"], counts_VV) + penalty(params, hyper)


def penalty(params: Params, hyper: dict) -> jax.Array:
    """The regulariser, which pulls W towards 0, where every row is uniform, as heavy smoothing does."""
    return hyper["penalty"] * jnp.mean(params["W"] ** 2)


def descent(hyper: dict) -> optax.GradientTransformation:
    """Plain gradient descent."""
    return optax.sgd(hyper["learning_rate"])
