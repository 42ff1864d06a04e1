"""How good the counts are: on the data, on single words, and on held-out lines."""

import jax.numpy as jnp
import numpy as np

from makemore_jax.data.corpus import novelty
from makemore_jax.data.lines import normalize, split
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import MARK
from makemore_jax.inference.evaluate import exact_loss, line_nll
from makemore_jax.models import ngram

from ..shared import cli
from ..shared.cli import clip
from ..shared.lecture import Lecture, count_table

NOVELTY_SAMPLES = 1000


def tell(lecture: Lecture, words: tuple[str, ...], smoothing: float) -> dict:
    """6. Measure the mean negative log-likelihood of the data, of single words and of held-out lines."""
    model, counts_VV = lecture.model, lecture.counts_VV
    tables = {f"counts + {k:g}": ngram.fit(counts_VV, k) for k in sorted({0.0, 0.1, 1.0, 5.0, smoothing})}
    tables["uniform"] = ngram.fit(jnp.zeros_like(counts_VV))
    columns = {"nats per character": ">20.6f", "bits": ">10.4f", "perplexity": ">13.3f"}
    table = cli.Table(**{"all the data": "<24"}, **columns)
    qualities = {name: exact_loss(model, params, lecture.tokens)._asdict() for name, params in tables.items()}
    for name, quality in qualities.items():
        table.row(**{"all the data": name, "nats per character": quality["nats"], **quality})

    scored = [normalize(word) for word in words] or unlikely(lecture)
    tokens, names = tokenize(scored, lecture.vocab), ("counts + 0", f"counts + {smoothing:g}", "uniform")
    scores = {name: line_nll(model, tables[name], tokens) / tokens.length_N for name in names}
    print("\nsingle words, in nats per character; inf where a bigram was never seen")
    table = cli.Table(word="<24", **dict.fromkeys(names, ">18.4f"))
    for word, *nats in zip(scored, *scores.values(), strict=True):
        table.row(word=clip(word, 23), **dict(zip(names, nats, strict=True)))
    return {"data": qualities, "words": scored, "scores": scores, **tell_held_out(lecture, smoothing)}


def unlikely(lecture: Lecture) -> list[str]:
    """Find a line of the data that an unseen bigram can extend; return both, or the first line if there is none."""
    for line in lecture.lines:
        unseen = np.flatnonzero(np.asarray(lecture.counts_VV)[lecture.vocab.encode(line)[-1]] == 0)
        if len(unseen) and (symbol := unseen[-1]) != MARK:
            return [line, line + lecture.vocab.symbols[symbol]]
    return [lecture.lines[0]]


def tell_held_out(lecture: Lecture, smoothing: float) -> dict:
    """Count only the train lines, and score lines that the counts have not seen: the honest score."""
    parts = split(lecture.lines)
    if not all(parts):
        print("\ntoo few lines to hold some out")
        return {}
    tokens = parts.map(lambda lines: tokenize(lines, lecture.vocab))
    params = ngram.fit(count_table(lecture.vocab, tokens.train), smoothing)
    nats = {name: exact_loss(lecture.model, params, part).nats for name, part in tokens.items()}
    new = novelty(lecture.sample(lecture.model, params, NOVELTY_SAMPLES), parts.train, parts.dev + parts.test)
    print("\nthe honest score: count the train lines only, and score lines never seen")
    table = cli.Table(**{f"train counts + {smoothing:g}": "<24", "lines": ">18,", "nats per character": ">20.4f"})
    for name, lines in parts.items():
        table.row(**{f"train counts + {smoothing:g}": name, "lines": len(lines), "nats per character": nats[name]})
    print(f"of {NOVELTY_SAMPLES:,} samples, {new['new']} are new, {new['in_held_out']} are held-out lines,", end=" ")
    print(f"and {new['repeated']} repeat another;\n{new['in_train']} are train lines", end=" ")
    print(f"(about {new['expected_in_train']} if nothing is copied)")
    return {"split": {name: len(lines) for name, lines in parts.items()}, "held_out": nats, "novelty": new}
