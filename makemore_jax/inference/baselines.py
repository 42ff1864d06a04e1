"""Baselines for neural models: models that are counted instead of trained."""

import math
import random
from collections import defaultdict
from collections.abc import Iterator

import jax
import numpy as np

from makemore_jax.data.corpus import Corpus
from makemore_jax.data.tokens import Tokens
from makemore_jax.data.vocab import MARK
from makemore_jax.errors import require_float, require_kinds
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.inference.trained import Trained
from makemore_jax.models import backoff, ngram


def count(corpus: Corpus, order: int = 5) -> Trained:
    """Count an n-gram with back-off (Kneser-Ney) on the train lines: the strongest of the counting models."""
    require_kinds(corpus=corpus)
    config = backoff.Config(corpus.vocab.size, order)
    params = backoff.fit(config, *corpus.tokens.train.pairs)
    return Trained(backoff.backoff(config), params, corpus.vocab, corpus.context)


def count_table(corpus: Corpus, order: int = 2, smoothing: float = 1.0) -> Trained:
    """Count a dense n-gram on the train lines, in chunks, and add `smoothing` to each count."""
    require_float("smoothing", smoothing)
    config, tokens = ngram.Config(corpus.vocab.size, order), corpus.tokens.train
    counts = ngram.count_stream(config, tokens.stream_M, cuts=tokens.cuts)
    return Trained(
        ngram.ngram(config), ngram.fit(*jax.device_put((counts, np.float32(smoothing)))), corpus.vocab, corpus.context
    )


def baselines(corpus: Corpus) -> dict[str, float]:
    """Return dev losses, in nats per token, of models that need no training: uniform, and n-grams of orders 1, 2 and 5.

    The n-grams back off to shorter contexts, as in `count`; for streamed data they are dense tables of orders 1 and 2.
    """
    require_kinds(corpus=corpus)
    dev, losses = corpus.judged, {"uniform": math.log(corpus.vocab.size)}
    for name, order in (("unigram", 1), ("bigram", 2), ("backoff", 5)):
        fits = order <= 2 and corpus.vocab.size**order <= ngram.MAX_CELLS
        if corpus.streamed and not fits:
            continue
        model, params, *_ = count_table(corpus, order) if corpus.streamed else count(corpus, order)
        losses[name] = exact_loss(model, params, dev).nats
    return losses


def shannon(tokens: Tokens, order: int = 3, seed: int = 0, most: int = 20_000) -> Iterator[list[int]]:
    """Lines without end, by the method of Shannon (1948): find the last order - 1 symbols in the data, copy the next.

    It draws from an n-gram's counts without a probability being computed, or anything compiled. Of long data it reads
    the first lines. Where the data was cut into windows, so are these lines: their end may be out of reach.
    """
    following, choose = defaultdict(list), random.Random(seed)
    longest = order - 1 + int(tokens.length_N.max()) if len(tokens.cuts) else math.inf
    for first, length in zip(tokens.start_N[:most].tolist(), tokens.length_N[:most].tolist(), strict=True):
        line = [MARK] * (order - 1) + tokens.stream_M[first + 1 : first + 1 + length].tolist()
        for t in range(length):
            following[tuple(line[t : t + order - 1])].append(line[t + order - 1])
    while True:
        line = [MARK] * (order - 1)
        while len(line) < longest and (not line[order - 1 :] or line[-1] != MARK):
            if not (found := following[tuple(line[len(line) - order + 1 :])]):
                break  # a window of the data ended here
            line.append(choose.choice(found))
        yield line[order - 1 :]
