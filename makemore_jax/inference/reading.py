"""What a trained model makes of a line that somebody typed: how much each symbol of it costs, and what comes next."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from makemore_jax.data.lines import normalize
from makemore_jax.data.tokens import Tokens
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.data.words import split_words
from makemore_jax.errors import InputError, require_kinds, require_lists
from makemore_jax.inference.evaluate import mean_loss, stream_nll
from makemore_jax.inference.trained import Trained
from makemore_jax.models.interface import Model, Params, require_context


class Reading(NamedTuple):
    """The beginning of a text that a model can read, and the rest."""

    ids: np.ndarray  # its tokens, without marks
    unread: str  # the rest
    problem: str | None  # why the reading stops there, in one line


def reading(trained: Trained, text: str) -> Reading:
    """Read a text up to the first symbol that the model does not know, or up to the length of its context."""
    require_kinds(line=text)
    vocab, limit = trained.vocab, min(trained.context, trained.model.context or trained.context) - 1
    text = normalize(text, vocab.lowercase)
    try:
        ids, unread, problem = vocab.encode_line(text), "", None
    except InputError:
        ids, unread, problem = _known_part(vocab, text)
    if len(ids) > limit:
        unread = vocab.decode(ids[limit:]) + unread
        ids, problem = ids[:limit], f"this model reads up to {limit:,} symbols"
    return Reading(ids, unread, problem)


def _known_part(vocab: Vocab, text: str) -> tuple[np.ndarray, str, str]:
    pieces, kind, between = (split_words(text), "word", " ") if vocab.tokens == "word" else (text, "symbol", "")
    ids = [np.zeros(0, np.int32)]
    for number, piece in enumerate(pieces):
        try:
            ids.append(vocab.encode_line(piece))
        except InputError:
            problem = f"this model does not know the {kind} {piece!r:.60}"
            return np.concatenate(ids), between.join(pieces[number:]), problem
    return np.concatenate(ids), "", ""


class Score(NamedTuple):
    """The loss of one line, as a `MeanLoss` and symbol by symbol."""

    nats: float  # per token; inf if the line is impossible, as are the next two
    bits: float
    perplexity: float
    tokens: int  # of the line, its end mark included; of an impossible line, up to the first impossible symbol
    symbols: list[str]  # these tokens as text; the end mark is `vocab.symbols[0]`
    nats_T: np.ndarray  # the nats of each
    problem: str | None = None  # why the line is impossible, in one line


def score(trained: Trained, lines: Sequence[str]) -> list[Score]:
    """Compute the loss of each line, its end mark included, in total and symbol by symbol.

    A line is impossible if it has a symbol that the model does not know, is longer than the lines it was trained on, or
    has probability 0. Its loss is inf, `problem` says why, and the other lines are scored as if it were not there.

    Raises:
      InputError: there are no lines, or one string instead of a list of lines.
    """
    require_kinds(trained=trained)
    require_lists(lines=lines)
    read = [reading(trained, line) for line in lines]
    length_N = np.array([len(one.ids) + 1 for one in read], np.int32)
    stream_M = np.concatenate([[MARK], *(np.append(one.ids, MARK) for one in read)]).astype(np.int32)
    tokens = Tokens(stream_M, np.cumsum(length_N, dtype=np.int32) - length_N, length_N)
    nats_M = stream_nll(trained.model, trained.params, tokens).astype(np.float64)
    parts = np.split(nats_M, np.cumsum(length_N)[:-1])
    return [_score(trained.vocab, one, nats_T) for one, nats_T in zip(read, parts, strict=True)]


def _score(vocab: Vocab, read: Reading, nats_T: np.ndarray) -> Score:
    """The score of one line from the nats of what was read of it and of the end mark after that."""
    symbols, problem = [vocab.symbols[i] for i in (*read.ids, MARK)], read.problem
    if problem:
        symbols[-1] = (split_words(read.unread) if vocab.tokens == "word" else read.unread)[0]
        nats_T[-1] = math.inf
    elif not np.isfinite(nats_T).all():
        end = int(np.argmin(np.isfinite(nats_T)))
        symbols, nats_T = symbols[: end + 1], nats_T[: end + 1]
        what = "the end" if end == len(read.ids) else repr(symbols[end])
        problem = f"{what} has probability 0 after {vocab.decode(read.ids[:end])!r:.60}"
    return Score(*mean_loss(nats_T.sum(), len(nats_T)), symbols, nats_T, problem)


def predict(trained: Trained, prefix: str = "") -> dict[str, float]:
    """Compute the probability of each symbol after `prefix`, the most likely first; they sum to 1.

    The end of the line is the symbol `trained.vocab.symbols[0]`, usually ".".

    Raises:
      InputError: the prefix has a symbol that the model does not know, or is longer than the lines it was trained on.
    """
    require_kinds(trained=trained, prefix=prefix)
    ids = trained.encode(prefix)
    require_context(trained.model, len(ids) + 1)
    prob_V = np.exp(log_probs(trained, ids)[-1])
    return {trained.vocab.symbols[i]: float(prob_V[i]) for i in np.argsort(-prob_V, kind="stable")}


def log_probs(trained: Trained, ids: np.ndarray) -> np.ndarray:
    """Return (T + 1, V) log-probabilities of the symbol after the mark and after each of the T symbols of a line."""
    return np.asarray(_log_probs(trained.model, trained.params, padded(trained, ids)), np.float64)[: len(ids) + 1]


def padded(trained: Trained, ids: np.ndarray) -> np.ndarray:
    """Pad the mark and a line with marks to one of a few lengths, so that one more symbol needs no compilation.

    By causality this changes no logits of the line.
    """
    width = min(max(16, 2 ** len(ids).bit_length()), trained.context)
    return np.pad(ids, (1, width - 1 - len(ids)), constant_values=MARK).astype(np.int32)


@partial(jax.jit, static_argnames="model")
def _log_probs(model: Model, params: Params, x_T: jax.Array) -> jax.Array:
    return jax.nn.log_softmax(model.apply(params, x_T[None])[0])
