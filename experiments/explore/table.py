"""The bigram table of the page: its counts, the loss as smoothing grows, and the same table learned."""

from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.analysis import plot
from makemore_jax.data.lines import split
from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import require
from makemore_jax.inference.sampler import line_uniforms
from makemore_jax.learning.training import TrainState, init_state, train_steps
from makemore_jax.models import ngram
from makemore_jax.models.likelihood import table_nll
from makemore_jax.models.registry import build

from ..shared.lecture import count_table, descent, table_loss
from ..shared.symbols import label

SHOWN = 60  # symbols along a side; of a larger vocabulary, the most frequent are shown
STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)  # after which the learned table is shown
RATE = 50.0  # of gradient descent, as in the lecture
MAX_LEARNED = 512  # symbols: beyond this, learning the table takes too long
MAX_SCORED = 4096  # symbols: beyond this, scoring many smoothings takes too long
SMOOTHINGS = 41
MAX_WORK = 2**28  # smoothings x cells
KEYS, DRAWS = 50, 40  # random numbers: this many names, this many symbols each
LISTED = 100  # lines that hold a pair
WINDOW = 60  # symbols of a long line, on each side of the pair
EXAMPLES, EXAMPLE_SYMBOLS = 12, 400_000  # most lines for each pair in a saved page, and most symbols of all


class Table:
    """The bigram table of a file's lines."""

    def __init__(self, lines: list[str], name: str):
        """Count the bigrams of these lines; `name` is their name on the page."""
        self.lines, self.name, self.vocab = lines, name, Vocab.of(lines)
        self.tokens = tokenize(lines, self.vocab)
        self.config = ngram.Config(self.vocab.size)
        self.counts_VV = np.asarray(count_table(self.vocab, self.tokens))
        self.labels = list(map(label, self.vocab.symbols))

    @cached_property
    def shown_K(self) -> np.ndarray:
        """The tokens that the table shows."""
        return plot.shown(self.counts_VV, SHOWN)

    @cached_property
    def values(self) -> dict:
        """Everything that the page shows of the table, ready for JSON."""
        cells = np.ix_(self.shown_K, self.shown_K)
        seen = np.sort(self.counts_VV[self.counts_VV > 0])
        rank_KK = 1 + len(seen) - np.searchsorted(seen, self.counts_VV[cells], side="right")
        return {
            "name": self.name,
            "lines": len(self.lines),
            "vocab": self.vocab.size,
            "symbols": [self.labels[token] for token in self.shown_K],
            "counts": self.counts_VV[cells].tolist(),
            "rank": rank_KK.tolist(),
            "total": self.counts_VV.sum(1)[self.shown_K].tolist(),
            "smoothing": self._smoothing(),
            "learned": self._learned(cells),
            "uniform": np.round(first_lines(KEYS, DRAWS).astype(np.float64), 8).tolist(),
        }

    def _smoothing(self) -> dict | None:
        """The loss of the train counts on train and dev for many smoothings, or None without dev lines."""
        parts = split(self.lines)
        if self.vocab.size > MAX_SCORED or not (parts.train and parts.dev):
            return None
        train_VV, dev_VV = (count_table(self.vocab, tokenize(part, self.vocab)) for part in parts[:2])
        points = int(np.clip(MAX_WORK // train_VV.size, 9, SMOOTHINGS))
        smoothings = [0.0, *(float(f"{value:.2g}") for value in np.geomspace(1e-2, 1e4, points - 1))]
        nats_G2 = np.asarray(_losses(np.array(smoothings, np.float32), train_VV, dev_VV))
        return {
            "smoothing": smoothings,
            "train": finite(nats_G2[:, 0]),
            "dev": finite(nats_G2[:, 1]),
            "lines": [len(parts.train), len(parts.dev)],
        }

    def _learned(self, cells: tuple) -> dict | None:
        """The neural bigram after more and more steps of gradient descent, or None for a large vocabulary."""
        if self.vocab.size > MAX_LEARNED:
            return None
        counts_VV = jnp.asarray(self.counts_VV)
        W_SVV = learn(counts_VV)
        nats_S = [float(table_nll(W_VV, counts_VV)) for W_VV in W_SVV]
        counted = float(table_nll(ngram.fit(counts_VV)["log_prob"], counts_VV))
        log_prob_SKK = np.asarray(jax.nn.log_softmax(jnp.stack(W_SVV)))[:, *cells]
        return {"steps": STEPS, "nats": nats_S, "counted": counted, "log_prob": np.round(log_prob_SKK, 3).tolist()}

    def lines_with(self, first: int, second: int, limit: int = LISTED) -> dict:
        """Find the lines that hold this pair of shown symbols: their number, and the first ones in file order.

        A line is given as the symbols to show, marks included, and the positions of the pair among them.
        """
        shown = len(self.shown_K)
        require(0 <= first < shown and 0 <= second < shown, "there is no such pair")
        order_N, sorted_N = self._by_pair
        pair = int(self.shown_K[first]) * self.vocab.size + int(self.shown_K[second])
        at_M = order_N[slice(*np.searchsorted(sorted_N, [pair, pair + 1]))]
        line_M = np.searchsorted(self.tokens.start_N, at_M, side="right") - 1
        found = np.unique(line_M)
        rows = [self._line(line, at_M[line_M == line]) for line in found[:limit]]
        return {"total": len(found), "lines": rows}

    @cached_property
    def _by_pair(self) -> tuple[np.ndarray, np.ndarray]:
        """The positions in the stream, sorted by the pair that starts there, and these pairs as numbers."""
        x_N, y_N = self.tokens.pairs
        pair_N = x_N.astype(np.int64) * self.vocab.size + y_N
        order_N = np.argsort(pair_N, kind="stable")
        return order_N, pair_N[order_N]

    def _line(self, line: int, at_M: np.ndarray) -> dict:
        start, length = int(self.tokens.start_N[line]), int(self.tokens.length_N[line])
        where = at_M - start
        begin, end = max(0, int(where[0]) - WINDOW), min(length + 1, int(where[0]) + WINDOW)
        ids = self.tokens.stream_M[start + begin : start + end]
        cut = ("…" if begin else "", "…" if end <= length else "")
        at = [int(place) - begin for place in where if place < end - 1]
        return {"symbols": [self.labels[i] for i in ids], "at": at, "cut": cut}

    def examples(self) -> list[dict | None]:
        """Call `lines_with` for every pair of shown symbols, row by row, for a page without a server."""
        side = len(self.shown_K)
        pairs = int((self.counts_VV[np.ix_(self.shown_K, self.shown_K)] > 0).sum())
        symbols = min(np.mean(self.tokens.length_N), 2 * WINDOW) + 1
        limit = int(np.clip(EXAMPLE_SYMBOLS / (pairs * symbols), 1, EXAMPLES))
        return [self.lines_with(*divmod(cell, side), limit=limit) for cell in range(side * side)]


@jax.jit
def _losses(smoothing_G: jax.Array, train_VV: jax.Array, dev_VV: jax.Array) -> jax.Array:
    """The loss of the train counts on train and on dev with each smoothing, (G, 2)."""

    def point(smoothing: jax.Array) -> jax.Array:
        log_prob_VV = ngram.fit(train_VV, smoothing)["log_prob"]
        return jnp.stack([table_nll(log_prob_VV, train_VV), table_nll(log_prob_VV, dev_VV)])

    return jax.lax.map(point, smoothing_G)


def learn(counts_VV: jax.Array) -> list[jax.Array]:
    """Learn W of the neural bigram by plain gradient descent, as in the lecture; return it after each of `STEPS`."""
    init_key, run_key = jax.random.split(jax.random.key(0))
    model = build("bigram", vocab=len(counts_VV))
    state = init_state(model.init(init_key), run_key, {"learning_rate": RATE, "penalty": 0.0}, descent)
    found = []
    for count in np.diff(STEPS, prepend=0).tolist():
        state = _descend(state, counts_VV, count)
        found.append(state.params["W"])
    return found


@jax.jit
def _descend(state: TrainState, counts_VV: jax.Array, count: jax.Array) -> TrainState:
    """Take `count` steps; as `count` is an array, one program serves all numbers of steps."""
    step = lambda _, state: train_steps(state, counts_VV, loss=table_loss, optimizer=descent, count=1)[0]
    return jax.lax.fori_loop(0, count, step, state)


def first_lines(seeds: int, count: int) -> np.ndarray:
    """The random numbers of the first line that `mm.sample` draws with each seed, (S, T)."""
    return np.asarray(jax.vmap(lambda seed: line_uniforms(jax.random.key(seed), 0, count))(jnp.arange(seeds)))


def finite(values: np.ndarray) -> list[float | None]:
    """Convert numbers for JSON, with None for an infinite one."""
    return [float(value) if np.isfinite(value) else None for value in values]
