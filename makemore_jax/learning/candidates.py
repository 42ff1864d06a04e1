"""Learn a list within a time limit: score candidates on held-out lines, and keep the best.

The candidates are n-grams with back-off, a small LSTM with much dropout, with more time a transformer, and their
mixture. A corpus that holds lines out is scored on its dev lines; one that holds none out, by cross-validation.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from makemore_jax.data.corpus import Corpus
from makemore_jax.data.tokens import Tokens
from makemore_jax.errors import require_float
from makemore_jax.inference.baselines import count
from makemore_jax.inference.evaluate import stream_nll
from makemore_jax.inference.mixing import mix
from makemore_jax.inference.trained import Trained
from makemore_jax.learning.fit import chunks, keep
from makemore_jax.learning.folds import count_folds, cross_validate, deal
from makemore_jax.learning.training import training
from makemore_jax.models import backoff
from makemore_jax.models.interface import Model
from makemore_jax.models.mixture import fit_weights
from makemore_jax.models.registry import build, sizes_for
from makemore_jax.recipe import Recipe

FOLDS = 5
ORDERS = (2, 3, 4, 5, 6)  # of n-grams
EVERY = 20  # steps between two looks at the clock
MOST_STEPS = 100_000
BATCH_TOKENS = 2048  # lines of a batch are fewer where they are long
MOST_DEV = 4000  # lines that are scored
FITTED = 1000  # dev lines from which a mixture's weights are fitted; with fewer, they are equal
PATIENCE = 6  # evaluations without a better mixture
COMPILING = 10.0  # seconds: with less time left, no network is begun
TWO_NETWORKS = 100.0  # seconds: with less time left, there is one
clock = time.monotonic


class Deadline:
    """The time at which to stop."""

    def __init__(self, minutes: float):
        """Start the clock."""
        require_float("minutes", minutes, zero=False)
        self.seconds = 60 * minutes
        self.end = clock() + self.seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - clock()


class Candidate(NamedTuple):
    """A model, and its score."""

    name: str
    trained: Trained
    nll_M: np.ndarray  # nats of each held-out token
    step: int = 0  # of training

    @property
    def nats(self) -> float:
        """Per held-out token."""
        return float(np.mean(self.nll_M, dtype=np.float64))


class Learned(NamedTuple):
    """Where learning is."""

    best: Candidate
    nats: dict[str, float]  # the lowest of each candidate so far, by name
    step: int = 0  # of the network that is trained


def learn(corpus: Corpus, deadline: Deadline) -> Iterator[Learned]:
    """Learn a corpus before the deadline; yields after each evaluation. To stop, leave the loop."""
    cross = not corpus.lines.dev
    best, train = on_folds(corpus) if cross else on_dev(corpus)
    kept, nats = [best], {best.name: best.nats}
    yield Learned(best, nats)
    if deadline.left < COMPILING:
        return
    networks = ("lstm",) if cross or deadline.left < TWO_NETWORKS else ("lstm", "transformer")
    for number, name in enumerate(networks):
        until = deadline.end - deadline.left * (1 - 1 / (len(networks) - number)) - min(5, deadline.seconds / 10)
        lowest, since = None, 0  # the mixture that scores best and its network, and the evaluations since then
        for candidate in in_time(train(name), until):
            mixture = blend([*kept, candidate], fitted=len(corpus.lines.dev) >= FITTED)
            nats = nats | {one.name: min(one.nats, nats.get(one.name, np.inf)) for one in (candidate, mixture)}
            best = min(best, candidate, mixture, key=lambda one: one.nats)
            better = lowest is None or mixture.nats < lowest[0].nats
            lowest, since = ((mixture, candidate), 0) if better else (lowest, since + 1)
            yield Learned(best, nats, candidate.step)
            if since == PATIENCE:
                break
        kept += [lowest[1]] if lowest else []


def in_time(candidates: Iterator[Candidate], until: float) -> Iterator[Candidate]:
    """Candidates as long as the next will probably be there in time: it takes as long as the one before."""
    began = clock()
    for candidate in candidates:
        took = clock() - began
        yield candidate
        if clock() + took > until:
            return
        began = clock()


def blend(candidates: Sequence[Candidate], fitted: bool) -> Candidate:
    """The mixture of candidates, with equal weights or with those that fit the held-out tokens best."""
    log_prob_KM = -np.stack([candidate.nll_M for candidate in candidates]).astype(np.float64)
    weight_K = np.full(len(candidates), 1 / len(candidates))
    if fitted:
        weight_K = np.exp(np.asarray(fit_weights(log_prob_KM.astype(np.float32)), np.float64))
        weight_K /= weight_K.sum()
    with np.errstate(divide="ignore"):
        nll_M = -np.logaddexp.reduce(np.log(weight_K)[:, None] + log_prob_KM)
    mixed = mix([candidate.trained for candidate in candidates], weights=weight_K.tolist())
    return Candidate("mixture", mixed, nll_M, candidates[-1].step)


class Measured(NamedTuple):
    """What is learned without steps, and what learns in steps."""

    counted: Candidate  # the best n-gram
    train: Callable[[str], Iterator[Candidate]]  # a network by its name, at each evaluation


def on_folds(corpus: Corpus) -> Measured:
    """Scores by cross-validation, of models that learn all lines."""
    folds = deal(corpus.tokens.train, FOLDS)

    def train(name: str) -> Iterator[Candidate]:
        model, recipe = network(name, corpus, hidden=64)
        for scored in cross_validate(jax.random.key(0), model, folds, recipe, EVERY):
            trained = Trained(model, scored.params, corpus.vocab, corpus.context)
            yield Candidate(name, trained, scored.nll_M, scored.step)

    return Measured(best_count(corpus, count_folds(folds, corpus.vocab.size, ORDERS)), train)


def on_dev(corpus: Corpus) -> Measured:
    """Scores on dev lines, of models that learn the train lines."""
    dev = Tokens(corpus.tokens.dev.stream_M, *(side[:MOST_DEV] for side in corpus.tokens.dev[1:]))
    longest = backoff.Config(corpus.vocab.size, max(ORDERS))
    fitted = [count(corpus, order).params for order in ORDERS]
    scores = [stream_nll(backoff.backoff(longest), params, dev) for params in backoff.pad(longest, fitted)]

    def train(name: str) -> Iterator[Candidate]:
        model, recipe = network(name, corpus, hidden=128)
        init, steps = training(model, corpus, recipe, in_place=True)
        evaluated, cost = -np.inf, 0.0
        for state, _ in chunks(steps, init(jax.random.key(0)), recipe.steps, EVERY):
            if clock() - evaluated < 10 * cost:
                continue
            began = clock()
            trained = Trained(model, keep(state.weights), corpus.vocab, corpus.context)
            candidate = Candidate(name, trained, stream_nll(model, trained.params, dev), int(state.step))
            evaluated, cost = clock(), clock() - began
            yield candidate

    return Measured(best_count(corpus, dict(zip(ORDERS, scores, strict=True))), train)


def best_count(corpus: Corpus, nll_M: dict[int, np.ndarray]) -> Candidate:
    """The n-gram of the order that scores best; `nll_M` holds the scores by order."""
    order = min(nll_M, key=lambda order: nll_M[order].mean(dtype=np.float64))
    return Candidate(f"n-gram of order {order}", count(corpus, order), nll_M[order])


def network(name: str, corpus: Corpus, hidden: int) -> tuple[Model, Recipe]:
    """A small network and how it is trained: much dropout, a constant rate, and the average of the weights."""
    sizes = {"lstm": {"embed": 32, "hidden": hidden}, "transformer": {"embed": 64, "layers": 3, "modern": True}}[name]
    dropout, rate = {"lstm": (0.3, 4e-3), "transformer": (0.1, 3e-3)}[name]
    lengths = corpus.tokens.train.length_N
    batch = min(len(lengths), int(np.clip(BATCH_TOKENS // lengths.mean(), 1, 64)))
    steps = {"steps": MOST_STEPS, "warmup": EVERY, "final": 1.0}  # until patience or time ends
    recipe = Recipe(**steps, batch=batch, learning_rate=rate, dropout=dropout, average=0.99)
    return build(name, **sizes_for(name, corpus.sizes), **sizes), recipe
