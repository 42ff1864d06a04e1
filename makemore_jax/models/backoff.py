"""The n-gram with back-off, of any order: the best of the counting models, and so the baseline for neural models.

A long context is more informative but was seen less often. Interpolation mixes the predictions from contexts of all
lengths:

    P_k(y | c) = seen_k(y | c) + rest_k(c) P_{k-1}(y | c without its oldest symbol),    P_{-1} = 1 / V

where rest_k(c) is the probability that discounting took from the counts. This is modified Kneser-Ney (Chen and Goodman
1999, section 3): counts of 1, 2 and more are discounted by estimated amounts, and below the full order a symbol counts
once for each distinct symbol that came before its context.

The contexts that were seen are stored as a trie: a context of k symbols is a node at depth k, and its children are the
contexts that go one symbol further back. The children and successors of a node are contiguous and sorted by symbol.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.errors import require, require_positive
from makemore_jax.models.interface import Model, step_window
from makemore_jax.models.ngram import contexts

MAX_ORDER = 32  # each context length is unrolled into the program and takes a third of a second to compile


@dataclass(frozen=True)
class Config:
    """Sizes of the n-gram with back-off."""

    vocab: int
    """V: number of symbols, the mark included."""
    order: int = 5
    """The longest n-gram: its context and the symbol that it predicts."""

    def __post_init__(self):
        require_positive(self, "vocab", "order")
        require(self.order <= MAX_ORDER, f"`order` is {self.order}; it must be at most {MAX_ORDER}")


class Contexts(NamedTuple):
    """The C contexts of one length, and the G distinct n-grams that start with them."""

    parent_C: np.ndarray  # the number, one level up, of the context without its oldest symbol
    oldest_C: np.ndarray  # the oldest symbol
    context_G: np.ndarray  # the number of the context
    symbol_G: np.ndarray  # the symbol that follows it
    count_G: np.ndarray  # the number of occurrences

    def total_C(self, value_G: np.ndarray) -> np.ndarray:
        """Return (C,) the sum of a value over the n-grams of each context."""
        return np.bincount(self.context_G, value_G, len(self.parent_C))


def fit(config: Config, x_N: np.ndarray, y_N: np.ndarray) -> dict:
    """Compute the parameters from the tokens x_N of a stream and the tokens y_N that follow them (`Tokens.pairs`)."""
    levels = count(config, np.asarray(x_N), np.asarray(y_N, np.int64))
    params = {}
    for depth, level in enumerate(levels):
        count_G = level.count_G
        if depth + 1 < config.order:
            count_G = count_continuations(level, levels[depth + 1], config.vocab, depth)
        params[f"level{depth}"] = to_arrays(config, level, count_G, parents=len(levels[depth - 1].parent_C))
    return jax.device_put(params)


_contexts = jax.jit(contexts, static_argnums=1)


def pad(config: Config, fitted: Sequence[dict]) -> list[dict]:
    """The same n-grams, of the order of `config` or lower, as parameters of one shape: one program serves all of them.

    What is added is never read: contexts without children, and levels without contexts.
    """
    empty = fit(config, np.zeros(0, np.int32), np.zeros(0, np.int32))

    whole, padded = [empty | params for params in fitted], [{} for _ in fitted]
    for level, arrays in empty.items():
        for name in arrays:
            leaves = [params[level][name] for params in whole]
            longest = max(map(len, leaves))
            for target, leaf in zip(padded, leaves, strict=True):
                wide = np.arange(longest) if name == "slot" else np.pad(leaf, (0, longest - len(leaf)), "edge")
                target.setdefault(level, {})[name] = jnp.asarray(wide, leaf.dtype)
    return padded


def count(config: Config, x_N: np.ndarray, y_N: np.ndarray) -> list[Contexts]:
    """Find the distinct contexts of each length, 0 to order - 1, and count their n-grams."""
    columns = _contexts(jax.device_put(np.asarray(x_N)[None]), config.order)
    newest_first = [column_1N[0] for column_1N in reversed(jax.device_get(columns))]
    context_N, parent_C, oldest_C = np.zeros(len(y_N), np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)
    levels = []
    for depth in range(config.order):
        if depth:
            key_C, context_N = np.unique(context_N * config.vocab + newest_first[depth - 1], return_inverse=True)
            parent_C, oldest_C = np.divmod(key_C, config.vocab)
        key_G, count_G = np.unique(context_N * config.vocab + y_N, return_counts=True)
        levels.append(Contexts(parent_C, oldest_C, *np.divmod(key_G, config.vocab), count_G))
    return levels


def count_continuations(level: Contexts, longer: Contexts, vocab: int, depth: int) -> np.ndarray:
    """Return (G,) the number of distinct symbols that come before each n-gram.

    Only marks come before the start of a line, so n-grams that begin there keep their counts.
    """
    key_G = level.context_G * vocab + level.symbol_G
    suffix = np.searchsorted(key_G, longer.parent_C[longer.context_G] * vocab + longer.symbol_G)
    at_start_G = (level.oldest_C[level.context_G] == 0) & (depth > 0)
    return np.where(at_start_G, level.count_G, np.bincount(suffix, minlength=len(key_G)))


def discount(count_G: np.ndarray) -> np.ndarray:
    """Return (G,) the discount to subtract from each count."""
    n1, n2, n3, n4 = (max(1, int((count_G == c).sum())) for c in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2)
    amount = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    # With little data these estimates may leave their range: always subtract something, but never the whole count.
    return np.clip(amount, 0.05, np.arange(4) - 0.05)[np.minimum(count_G, 3)]


def to_arrays(config: Config, level: Contexts, count_G: np.ndarray, parents: int) -> dict:
    """Build the arrays that the model reads: the children and successors of each node, and where they start.

    Each array has one element more than needed, so that it is never empty.
    """
    taken_G = discount(count_G)
    visits_C = level.total_C(count_G)
    start = np.searchsorted(level.context_G, np.arange(len(level.parent_C) + 2))
    seen_G = (count_G - taken_G) / np.maximum(visits_C, 1)[level.context_G]
    rest_C = np.where(visits_C > 0, level.total_C(taken_G) / np.maximum(visits_C, 1), 1)
    return {
        "child_start": np.searchsorted(level.parent_C, np.arange(parents + 1)).astype(np.int32),
        "child_symbol": np.append(level.oldest_C, config.vocab).astype(np.int32),
        "start": start.astype(np.int32),
        "symbol": np.append(level.symbol_G, 0).astype(np.int32),
        "seen": np.append(seen_G, 0).astype(np.float32),
        "rest": np.append(rest_C, 1).astype(np.float32),
        "slot": np.arange(max(1, np.diff(start).max()), dtype=np.int32),  # as long as the longest list of successors
    }


def find_child(level: dict, node_BT: jax.Array, symbol_BT: jax.Array, vocab: int) -> jax.Array:
    """Find the context that goes one symbol further back, by binary search; -1 if it was never seen."""
    start, end = level["child_start"][node_BT], level["child_start"][node_BT + 1]

    def halve(_: int, span: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = span
        middle = (low + high) // 2
        less = (low < high) & (level["child_symbol"][middle] < symbol_BT)
        return jnp.where(less, middle + 1, low), jnp.where(less, high, middle)

    low, _ = jax.lax.fori_loop(0, math.ceil(math.log2(vocab)) + 1, halve, (start, end))
    found = (node_BT >= 0) & (low < end) & (level["child_symbol"][low] == symbol_BT)
    return jnp.where(found, low, -1)


def interpolate(level: dict, node_BT: jax.Array, shorter_BTV: jax.Array) -> jax.Array:
    """Compute P_k from P_{k-1}, the prediction from the shorter context; P_{k-1} itself if the longer one is unseen."""
    index_BTS = level["start"][node_BT][..., None] + level["slot"][None, None]
    seen_BTS = jnp.where(index_BTS < level["start"][node_BT + 1][..., None], level["seen"][index_BTS], 0)
    row_BT1, column_BT1 = (axis[..., None] for axis in jnp.indices(node_BT.shape, sparse=False))
    prob_BTV = shorter_BTV * level["rest"][node_BT][..., None]
    prob_BTV = prob_BTV.at[row_BT1, column_BT1, level["symbol"][index_BTS]].add(seen_BTS)
    return jnp.where(node_BT[..., None] >= 0, prob_BTV, shorter_BTV)


@cache
def backoff(config: Config) -> Model:
    """Build the model of this order; `init` gives uniform parameters, `fit` computes them from data."""
    uniform = fit(config, np.zeros(0, np.int32), np.zeros(0, np.int32))

    def init(key: jax.Array) -> dict:
        return uniform

    def forward(params: dict, x_BT: jax.Array) -> tuple[jax.Array, dict]:
        node_BT = jnp.zeros_like(x_BT)  # the empty context
        prob_BTV = jnp.full((*x_BT.shape, config.vocab), 1 / config.vocab)
        prob_BTV = interpolate(params["level0"], node_BT, prob_BTV)
        for depth, symbol_BT in enumerate(reversed(contexts(x_BT, config.order)), 1):
            level = params[f"level{depth}"]
            node_BT = find_child(level, node_BT, symbol_BT, config.vocab)
            prob_BTV = interpolate(level, node_BT, prob_BTV)
        return jnp.log(prob_BTV), {}

    return Model(config, init, forward, *step_window(forward, max(1, config.order - 1)))
