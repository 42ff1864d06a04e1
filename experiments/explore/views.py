"""Compute what the page shows of a trained model, as values ready for JSON, by the same code for every model.

Programs are compiled for padded lines, so that one more symbol needs no compilation.
"""

from typing import Any

import jax
import numpy as np

from makemore_jax.data.corpus import novelty
from makemore_jax.data.lines import Split
from makemore_jax.data.vocab import MARK
from makemore_jax.errors import require
from makemore_jax.inference.draw import draw
from makemore_jax.inference.reading import Reading, log_probs
from makemore_jax.inference.reading import reading as read
from makemore_jax.inference.sampler import SamplingParams, filter_logits, line_uniforms
from makemore_jax.inference.trained import Trained

from ..shared.symbols import label

BARS = 40  # the most likely symbols of a large vocabulary, whose probabilities are shown
MAX_ALL = 64  # symbols of a vocabulary that is shown whole, in its own order
MAX_TEXT = 5_000  # characters of a typed line
MAX_LINES = 100  # drawn at once


def reading(trained: Trained, text: str) -> Reading:
    """Read a typed text, in which a line end is a space."""
    return read(trained, text.replace("\n", " "))


def type_line(trained: Trained, text: str) -> dict:
    """Compute how surprised a model is by each symbol of a line, and what it expects next at every position.

    `nats` holds the loss of each symbol and `end` that of the end mark, so `total` equals the loss from `mm.score`.
    """
    ids, unread, problem = reading(trained, text)
    log_prob_TV = log_probs(trained, ids)
    nats_T = -log_prob_TV[np.arange(len(ids)), ids]
    end = -log_prob_TV[-1, MARK]
    bars = bar_tokens(np.exp(log_prob_TV[-1]))
    places = range(len(log_prob_TV)) if len(log_prob_TV) * len(bars) <= MAX_TEXT else [len(log_prob_TV) - 1]
    return {
        "symbols": [label(trained.vocab.symbols[i]) for i in ids],
        "nats": rounded(nats_T),
        "end": rounded(end),
        "sum": rounded(nats_T.sum()),
        "total": rounded(nats_T.sum() + end),
        "unread": clip(unread),
        "problem": problem,
        "bars": [[int(i), label(trained.vocab.symbols[i])] for i in bars],
        "first": places[0],
        "prob": [rounded(np.exp(log_prob_TV[place, bars])) for place in places],
    }


def append(trained: Trained, text: str, token: int) -> str:
    """Append one symbol to the text, spaced as the vocabulary spaces it."""
    require(MARK < token < trained.vocab.size, "there is no such symbol")
    ids, _, problem = reading(trained, text)
    require(not problem, problem or "")
    return trained.vocab.decode([*ids, token])


def bar_tokens(prob_V: np.ndarray) -> np.ndarray:
    """The tokens whose bars are shown: all of a small vocabulary, the most likely ones of a large one."""
    if len(prob_V) <= MAX_ALL:
        return np.arange(len(prob_V))
    return np.argsort(-prob_V, kind="stable")[:BARS]


def make(trained: Trained, wanted: dict, lines: Split | None) -> dict:
    """Draw new lines, each with its log-probability and, if the data is available, whether the line is in it.

    `wanted` holds n, prefix, seed, temperature, top_k and top_p.
    """
    drawn = _draw(trained, wanted)
    texts = [trained.vocab.decode(row) for row in np.asarray(drawn.token_BT)]
    where = [None] * len(texts)
    if lines:
        train, held_out = set(lines.train), set(lines.dev) | set(lines.test)
        where = ["train" if text in train else "held out" if text in held_out else "new" for text in texts]
    rows = []
    for token_T, log_prob, ended, place in zip(*drawn, where, strict=True):
        ids = _until_mark(token_T)
        symbols = [label(trained.vocab.symbols[i]) for i in ids]
        rows.append({"symbols": symbols, "log_prob": rounded(log_prob), "ended": bool(ended), "where": place})
    return {"lines": rows, "novelty": novelty(texts, lines.train, lines.dev + lines.test) if lines else None}


def replay(trained: Trained, wanted: dict, index: int) -> dict:
    """Show how line `index` of `make(trained, wanted)` was drawn.

    Each position has its distribution, what the settings leave of it, the random number, and the symbol drawn.
    """
    require(0 <= index < wanted["n"], "there is no such line")
    drawn, sampling = _draw(trained, wanted), _sampling(wanted)
    ids, given = _until_mark(drawn.token_BT[index]), len(trained.vocab.encode_line(wanted["prefix"]))
    line = np.append(ids, MARK) if drawn.ended_B[index] else ids
    log_prob_TV = log_probs(trained, line[:-1])
    allowed_TV = np.where(trained.vocab.sampleable_V, log_prob_TV, -np.inf)
    cut_TV = np.asarray(_cut(np.float32(allowed_TV), *sampling.arrays), np.float64)
    uniform_T = np.asarray(line_uniforms(jax.random.key(wanted["seed"]), index, trained.context))
    steps = []
    for place, token in enumerate(line):
        bars = bar_tokens(np.exp(log_prob_TV[place]))
        bars = bars if token in bars else np.append(bars, token)
        steps.append(
            {
                "symbol": label(trained.vocab.symbols[token]),
                "given": place < given,
                "random": rounded(uniform_T[place], 6),
                "bars": [label(trained.vocab.symbols[i]) for i in bars],
                "prob": rounded(np.exp(log_prob_TV[place, bars])),
                "cut": rounded(cut_TV[place, bars], 6),
                "below": rounded(cut_TV[place, :token].sum(), 6),
                "chosen": int(np.flatnonzero(bars == token)[0]),
            }
        )
    return {"steps": steps}


def _sampling(wanted: dict) -> SamplingParams:
    return SamplingParams(wanted["temperature"], wanted["top_k"], wanted["top_p"])


def _draw(trained: Trained, wanted: dict) -> Any:
    require(1 <= wanted["n"] <= MAX_LINES, f"`n` is {wanted['n']}; it must be from 1 to {MAX_LINES}")
    require(0 <= wanted["seed"] < 2**32, f"`seed` is {wanted['seed']}; it must be from 0 to {2**32 - 1}")
    return draw(jax.random.key(wanted["seed"]), trained, wanted["n"], wanted["prefix"], _sampling(wanted))


@jax.jit
def _cut(log_prob_TV: jax.Array, temperature: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
    cut = jax.vmap(filter_logits, (0, None, None, None))(log_prob_TV, temperature, top_k, top_p)
    return jax.nn.softmax(cut)


def _until_mark(token_T: np.ndarray) -> np.ndarray:
    token_T = np.asarray(token_T)
    ends = np.flatnonzero(token_T == MARK)
    return token_T[: ends[0]] if len(ends) else token_T


def rounded(values: Any, digits: int = 4) -> Any:
    """Round numbers for JSON, with None for an infinite or undefined one."""
    values = np.round(np.asarray(values, np.float64), digits)
    if not np.isfinite(values).all():
        values = np.where(np.isfinite(values), values.astype(object), None)
    return values.tolist()


def clip(text: str, length: int = 200) -> list[str]:
    """The labels of the first characters of a text, and … if there are more."""
    shown = [label(character) for character in text[:length]]
    return [*shown, "…"] if len(text) > length else shown
