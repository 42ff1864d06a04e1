"""The n-gram with back-off, of any order: as good as counting gets, and so the yardstick for neural models.

A long context says more and was seen less. Interpolation mixes what each length of context says:

    P_k(y | c) = seen_k(y | c) + rest_k(c) P_{k-1}(y | c without its oldest symbol),    P_{-1} = 1 / V

where rest_k(c) is the probability that discounting took from what was seen. Two ways of discounting:

- modified Kneser-Ney (Chen and Goodman 1999, section 3): counts of 1, 2 and more are discounted by estimated amounts,
  and below the full order a symbol counts once for each distinct symbol that came before its context;
- Witten-Bell (Chen and Goodman 1999, section 2.5): a context of n visits and u distinct successors leaves u / (n + u).

Only contexts that were seen are kept, as a trie: a context of k symbols is a node of level k, and its children are the
contexts that reach one symbol further back. Children, and successors, of a node lie side by side in order of symbol.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.errors import require
from makemore_jax.model import Model, step_window
from makemore_jax.models.ngram import contexts, tally


@dataclass(frozen=True)
class Config:
    """Order and discounting of the n-gram with back-off."""

    vocab: int
    """V: how many symbols there are, the mark included."""
    order: int = 5
    """The longest n-gram: its context and the symbol that it predicts."""
    discount: Literal["kneser-ney", "witten-bell"] = "kneser-ney"
    """How probability is taken from what was seen."""

    def __post_init__(self):
        require(self.order > 0, f"--order is {self.order}; it must be at least 1")


class Level(NamedTuple):
    """The contexts of one length: nodes C, and the distinct n-grams G that start with them."""

    parent_C: np.ndarray  # node of the level above, without the oldest symbol
    oldest_C: np.ndarray  # that symbol
    node_G: np.ndarray
    symbol_G: np.ndarray
    count_G: np.ndarray


def fit(config: Config, x_N: np.ndarray, y_N: np.ndarray) -> dict:
    """Count a token stream and discount: parameters from x_N and the symbols y_N that follow (`Tokens.pairs`)."""
    levels = count(config, np.asarray(x_N), np.asarray(y_N, np.int64))
    params = {}
    for number, level in enumerate(levels):
        counts_G = level.count_G
        if config.discount == "kneser-ney" and number + 1 < config.order:
            counts_G = continuations(level, levels[number + 1], config.vocab, number)
        params[f"level{number}"] = pack(config, level, counts_G, len(levels[number - 1].parent_C))
    return jax.tree.map(jnp.asarray, params)


def count(config: Config, x_N: np.ndarray, y_N: np.ndarray) -> list[Level]:
    """The trie: one level for each length of context, 0 to order - 1. Distinct n-grams are tallied by scatter-add."""
    ages = [np.asarray(age_1N[0]) for age_1N in reversed(contexts(jnp.asarray(x_N)[None], config.order))]
    node_N, parent_C, oldest_C = np.zeros(len(y_N), np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)
    levels = []
    for number in range(config.order):
        if number:
            key_C, node_N = np.unique(node_N * config.vocab + ages[number - 1], return_inverse=True)
            parent_C, oldest_C = np.divmod(key_C, config.vocab)
        key_G, gram_N = np.unique(node_N * config.vocab + y_N, return_inverse=True)
        count_G = np.asarray(tally(jnp.asarray(gram_N), len(key_G)))
        levels.append(Level(parent_C, oldest_C, *np.divmod(key_G, config.vocab), count_G))
    return levels


def continuations(level: Level, longer: Level, vocab: int, number: int) -> np.ndarray:
    """(G,) how many distinct symbols come before each n-gram. Nothing but the mark comes before the start of a line,
    so n-grams that reach it keep their counts."""
    key_G = level.node_G * vocab + level.symbol_G
    shorter = np.searchsorted(key_G, longer.parent_C[longer.node_G] * vocab + longer.symbol_G)
    types_G = np.asarray(tally(jnp.asarray(shorter), len(key_G)))
    at_start_G = (level.oldest_C[level.node_G] == 0) & (number > 0)
    return np.where(at_start_G, level.count_G, types_G)


def discounts(config: Config, level: Level, counts_G: np.ndarray) -> np.ndarray:
    """(G,) what is taken from each count, in counts; for Witten-Bell so that what is left is n / (n + u) of it."""
    visits_C, kinds_C = sums(level, counts_G), sums(level, np.ones_like(counts_G))
    if config.discount == "witten-bell":
        return counts_G * (kinds_C / np.maximum(visits_C + kinds_C, 1))[level.node_G]
    n1, n2, n3, n4 = (max(1, int((counts_G == c).sum())) for c in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2)
    amount = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    # On little data the estimates stray; something is always taken, and something always left.
    return np.clip(amount, 0.05, np.arange(4) - 0.05)[np.minimum(counts_G, 3)]


def sums(level: Level, value_G: np.ndarray) -> np.ndarray:
    """(C,) the sum over each node's n-grams."""
    return np.bincount(level.node_G, value_G, len(level.parent_C))


def pack(config: Config, level: Level, counts_G: np.ndarray, parents: int) -> dict:
    """The arrays that the model reads: where each node's children and successors begin, and what they are.

    One element more than needed ends each array, so that none is empty.
    """
    nodes, taken_G = len(level.parent_C), discounts(config, level, counts_G)
    visits_C = sums(level, counts_G)
    start = np.searchsorted(level.node_G, np.arange(nodes + 2))
    seen_G = (counts_G - taken_G) / np.maximum(visits_C, 1)[level.node_G]
    rest_C = np.where(visits_C > 0, sums(level, taken_G) / np.maximum(visits_C, 1), 1)
    return {
        "child_start": np.searchsorted(level.parent_C, np.arange(parents + 1)).astype(np.int32),
        "child_symbol": np.append(level.oldest_C, config.vocab).astype(np.int32),
        "start": start.astype(np.int32),
        "symbol": np.append(level.symbol_G, 0).astype(np.int32),
        "seen": np.append(seen_G, 0).astype(np.float32),
        "rest": np.append(rest_C, 1).astype(np.float32),
        "slot": np.arange(max(1, np.diff(start).max()), dtype=np.int32),  # as long as the most successors of a node
    }


def child(level: dict, node_BT: jax.Array, symbol_BT: jax.Array, vocab: int) -> jax.Array:
    """The node that reaches one symbol further back, by binary search among the children; -1 where it was not seen."""
    low, end = level["child_start"][node_BT], level["child_start"][node_BT + 1]
    high = end
    for _ in range(math.ceil(math.log2(vocab)) + 1):
        middle = (low + high) // 2
        less = (low < high) & (level["child_symbol"][middle] < symbol_BT)
        low, high = jnp.where(less, middle + 1, low), jnp.where(less, high, middle)
    found = (node_BT >= 0) & (low < end) & (level["child_symbol"][low] == symbol_BT)
    return jnp.where(found, low, -1)


def mix(level: dict, node_BT: jax.Array, prob_BTV: jax.Array) -> jax.Array:
    """What a context says, with the rest given to the shorter one; the shorter one's alone where it was not seen."""
    index_BTS = level["start"][node_BT][..., None] + level["slot"]
    seen_BTS = jnp.where(index_BTS < level["start"][node_BT + 1][..., None], level["seen"][index_BTS], 0)
    row_BT1, column_BT1 = (axis[..., None] for axis in jnp.indices(node_BT.shape, sparse=False))
    mixed_BTV = prob_BTV * level["rest"][node_BT][..., None]
    mixed_BTV = mixed_BTV.at[row_BT1, column_BT1, level["symbol"][index_BTS]].add(seen_BTS)
    return jnp.where(node_BT[..., None] >= 0, mixed_BTV, prob_BTV)


@cache
def backoff(config: Config) -> Model:
    """The model of this order; `init` is the uniform one, `fit` makes one from data."""
    uniform = fit(config, np.zeros(0, np.int32), np.zeros(0, np.int32))

    def init(key: jax.Array) -> dict:
        return uniform

    def apply(params: dict, x_BT: jax.Array) -> jax.Array:
        node_BT = jnp.zeros_like(x_BT)
        prob_BTV = jnp.full((*x_BT.shape, config.vocab), 1 / config.vocab)
        for number, symbol_BT in enumerate([None, *reversed(contexts(x_BT, config.order))]):
            level = params[f"level{number}"]
            node_BT = node_BT if symbol_BT is None else child(level, node_BT, symbol_BT, config.vocab)
            prob_BTV = mix(level, node_BT, prob_BTV)
        return jnp.log(prob_BTV)

    return Model(init, apply, *step_window(apply, max(1, config.order - 1)))
