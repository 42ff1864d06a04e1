"""Sources: models without parameters, which generate lines and give the exact probability of each.

A source is a `Model` whose `step` gives the true distribution of the next symbol, so it is sampled and evaluated like
any other. Its loss on its own lines is the floor: models can do better only by luck, and the difference is their excess
loss. Every line ends within `context` tokens; if necessary, the distribution forces a mark.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.tokens import tokenize
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.errors import require
from makemore_jax.inference.evaluate import line_nll, standard_error
from makemore_jax.inference.sampler import sample_tokens
from makemore_jax.models.interface import Model, reset_at_mark, scan_step


class Floor(NamedTuple):
    """The entropy of a source."""

    nats: float  # per token, the end mark included
    tokens: float  # mean per line
    error: float = 0.0  # standard error of `nats`; 0 if `nats` is exact


class Source(NamedTuple):
    """A model without parameters, its vocabulary, and its entropy."""

    model: Model
    vocab: Vocab
    exact: Callable[[], Floor] | None  # None if it can only be estimated; see `floor`


@dataclass(frozen=True)
class Config:
    """The name and sizes that identify a source."""

    name: str
    vocab: int
    context: int


class NextSymbol(Protocol):
    """Read a token x, first the mark; return log P of each next symbol, (V,), and the new state."""

    def __call__(self, state: Any, x: jax.Array, /) -> tuple[jax.Array, Any]: ...


def source(
    name: str, symbols: str, context: int, start: Any, step: NextSymbol, exact: Callable[[], Floor] | None = None
) -> Source:
    """Make a source of lines of at most `context` tokens, over the mark and `symbols`, a character each.

    `start` is the state before a line, a pytree; `exact` returns the entropy if it is known.
    """
    vocab = Vocab((".", *symbols))
    end_V = jnp.where(jnp.arange(vocab.size) == MARK, 0, -jnp.inf)

    def init_cache(params: Any, batch: int) -> Any:
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (batch, *jnp.shape(leaf))), (start, jnp.int32(0)))

    def step_batch(params: Any, cache: Any, x_B: jax.Array) -> tuple[jax.Array, Any]:
        state, t_B = reset_at_mark(cache, init_cache(params, len(x_B)), x_B)
        log_prob_BV, state = jax.vmap(step)(state, x_B)
        return jnp.where(t_B[:, None] == context - 1, end_V, log_prob_BV), (state, t_B + 1)

    forward = scan_step(init_cache, step_batch)
    model = Model(Config(name, vocab.size, context), lambda key: {}, forward, init_cache, step_batch)
    return Source(model, vocab, exact)


def write(key: jax.Array, source: Source, lines: int) -> list[str]:
    """Draw lines of a source; line i depends only on the key and i."""
    require(lines > 0, f"`lines` is {lines}; it must be at least 1")
    token_BT = sample_tokens(key, source.model, {}, [[]] * lines, source.model.config.context).token_BT
    # Decode all lines at once: the first mark of each becomes a line end, and the rest are dropped.
    shown_BT = np.cumsum(token_BT == MARK, axis=1) <= 1
    text = "".join(np.array(["\n", *source.vocab.symbols[1:]])[token_BT[shown_BT]].tolist())
    return text.removesuffix("\n").split("\n")


def floor(key: jax.Array, source: Source, lines: int = 10_000) -> Floor:
    """Return the entropy of a source: exact if it is known, otherwise estimated from this many of its lines."""
    if source.exact:
        return source.exact()
    tokens = tokenize(write(key, source, lines), source.vocab)
    nats_N = line_nll(source.model, {}, tokens)
    nats = nats_N.sum() / tokens.length_N.sum()
    return Floor(float(nats), float(tokens.length_N.mean()), standard_error(nats_N, tokens.length_N))


def normalise(counts: np.ndarray) -> np.ndarray:
    """Divide each row of counts by its sum; a row without counts is never reached and stays 0."""
    total = np.sum(counts, axis=-1, keepdims=True, dtype=np.float64)
    return np.divide(counts, total, out=np.zeros(np.shape(counts)), where=total > 0)


def markov(name: str, counts: np.ndarray, symbols: str, context: int = 64) -> Source:
    """Make a Markov chain of order n from counts of shape (V,) * (n + 1), with the next symbol last."""
    counts, prob = np.asarray(counts), normalise(counts)
    order, log_prob = counts.ndim - 1, jnp.log(jnp.float32(prob))

    def step(context_R: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        context_R = jnp.append(context_R[1:], x)
        return log_prob[tuple(context_R)], context_R

    def exact() -> Floor:
        """Follow the distribution of contexts from the start, adding up the entropy of each choice."""
        surprise = -np.sum(prob * np.log(np.where(prob > 0, prob, 1)), axis=-1)
        now, nats, tokens = np.zeros(counts.shape[:-1]), 0.0, 0.0
        now[(MARK,) * order] = 1
        for t in range(context):
            tokens += now.sum()
            nats += (now * surprise).sum() if t < context - 1 else 0
            now = (now[..., None] * prob).sum(0)
            now[..., MARK] = 0  # those lines have ended
        return Floor(float(nats / tokens), float(tokens))

    return source(name, symbols, context, jnp.zeros(order, jnp.int32), step, exact)


def hidden_markov(
    name: str, start_K: np.ndarray, move_KK: np.ndarray, emit_KV: np.ndarray, symbols: str, context: int = 32
) -> Source:
    """Make a hidden Markov model, whose K states move and emit a symbol, or the mark, which ends the line.

    The state of the source is the distribution of the hidden state given the symbols so far, by the forward algorithm
    (Rabiner 1989).
    """
    start_K, move_KK, emit_KV = jnp.float32(start_K), jnp.float32(move_KK), jnp.float32(emit_KV)

    def step(belief_K: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        seen_K = belief_K * emit_KV[:, x]
        next_K = jnp.where(x == MARK, start_K, seen_K @ move_KK / jnp.maximum(seen_K.sum(), 1e-30))
        prob_V = next_K @ emit_KV
        prob_V = jnp.where(x == MARK, prob_V.at[MARK].set(0), prob_V)  # lines are never empty
        return jnp.log(prob_V / prob_V.sum()), next_K

    return source(name, symbols, context, start_K, step)


def brackets(pairs: str = "()[]", p_open: float = 0.45, context: int = 32) -> Source:
    """Make a source of balanced brackets of several kinds; to close them, a model must remember the whole stack.

    With probability `p_open` a bracket opens, all kinds equally likely; otherwise the last one closes, or the line ends
    if none is open. The first bracket always opens, and a bracket opens only if the context leaves room to close it.
    """
    kinds = len(pairs) // 2
    opens = 1 + 2 * np.arange(kinds)  # the tokens ( [ ...; the next token of each closes it

    def p_opens(t: Any, depth: Any) -> Any:
        """Return the probability that the bracket at position t opens, with `depth` open before it."""
        fits = depth + 2 <= context - 1 - t
        return jnp.where(fits, jnp.where(t == 0, 1.0, p_open), 0.0)

    def step(state: tuple, x: jax.Array) -> tuple[jax.Array, tuple]:
        stack_T, depth, t = state
        opened = x % 2 == 1
        stack_T = jnp.where(opened, stack_T.at[depth].set(x + 1), stack_T)
        depth = depth + jnp.where(x == MARK, 0, jnp.where(opened, 1, -1))
        p = p_opens(t, depth)
        closing = jnp.where(depth > 0, stack_T[depth - 1], MARK)
        prob_V = jnp.zeros(1 + 2 * kinds).at[opens].set(p / kinds).at[closing].set(1 - p)
        return jnp.log(prob_V), (stack_T, depth, t + 1)

    def exact() -> Floor:
        """Follow the distribution of the number of open brackets, adding up the entropy of each choice."""
        depth_D, nats, tokens = np.arange(context + 1), 0.0, 0.0
        now_D = (depth_D == 0).astype(float)
        for t in range(context):
            p_D = np.asarray(p_opens(t, depth_D), np.float64)
            choice_D = -sum(np.where(q > 0, q * np.log(np.where(q > 0, q, 1)), 0) for q in (p_D, 1 - p_D))
            tokens, nats = tokens + now_D.sum(), nats + (now_D * (choice_D + p_D * math.log(kinds))).sum()
            now_D = np.append(0, (now_D * p_D)[:-1]) + np.append((now_D * (1 - p_D))[1:], 0)
        return Floor(float(nats / tokens), float(tokens))

    start = (jnp.zeros(context, jnp.int32), jnp.int32(0), jnp.int32(0))
    return source("brackets", pairs, context, start, step, exact)


def copy(backwards: bool = False, letters: str = "abcdefgh", longest: int = 8) -> Source:
    """Make a source of a random word, #, and the word again or backwards, to be predicted from memory.

    The word has 1 to `longest` letters; all lengths are equally likely, and so are all letters.
    """
    hash_token = len(letters) + 1

    def step(state: tuple, x: jax.Array) -> tuple[jax.Array, tuple]:
        word_T, length, copied, half = state
        is_letter, half = (x != MARK) & (x != hash_token), half | (x == hash_token)
        word_T = jnp.where(is_letter & ~half, word_T.at[length].set(x), word_T)
        length, copied = length + (is_letter & ~half), copied + (is_letter & half)
        stop = jnp.where(length > 0, 1 / (longest - length + 1), 0)  # all lengths are equally likely
        first_V = jnp.full(hash_token + 1, (1 - stop) / len(letters)).at[MARK].set(0).at[hash_token].set(stop)
        expected = word_T[length - 1 - copied if backwards else copied]
        second_V = jax.nn.one_hot(jnp.where(copied < length, expected, MARK), hash_token + 1)
        return jnp.log(jnp.where(half, second_V, first_V)), (word_T, length, copied, half)

    def exact() -> Floor:
        """Add ln of the number of lengths, and ln of the number of letters for each letter of the first word."""
        nats, tokens = math.log(longest) + (longest + 1) / 2 * math.log(len(letters)), longest + 3
        return Floor(nats / tokens, tokens)

    start = (jnp.zeros(longest + 1, jnp.int32), jnp.int32(0), jnp.int32(0), jnp.bool_(False))
    name = "reverse" if backwards else "copy"
    return source(name, letters + "#", 2 * longest + 2, start, step, exact)


def sums(digits: int = 3) -> Source:
    """Make a source of sums a+b=c of random numbers of `digits` digits, with c backwards, in the order of carrying."""
    length = 3 * digits + 3  # a + b = c, where c has an additional digit

    def step(state: tuple, x: jax.Array) -> tuple[jax.Array, tuple]:
        read_T, t = state
        read_T = jnp.where(x == MARK, read_T, read_T.at[t - 1].set(x - 1))
        power = 10 ** jnp.arange(digits)[::-1]
        total = (read_T[:digits] * power).sum() + (read_T[digits + 1 : 2 * digits + 1] * power).sum()
        place = t - (2 * digits + 2)  # in c
        digit = total // 10 ** jnp.maximum(place, 0) % 10
        forced = jnp.where(t == digits, 1 + 10, jnp.where(t == 2 * digits + 1, 1 + 11, 1 + digit))
        forced = jnp.where(t == length, MARK, forced)
        free = (t != digits) & (t < 2 * digits + 1)
        any_V = jnp.where((jnp.arange(13) >= 1) & (jnp.arange(13) <= 10), 0.1, 0)
        return jnp.log(jnp.where(free, any_V, jax.nn.one_hot(forced, 13))), (read_T, t + 1)

    def exact() -> Floor:
        """Count the free digits, which are those of a and b."""
        return Floor(2 * digits * math.log(10) / (length + 1), length + 1)

    return source("sums", "0123456789+=", length + 1, (jnp.zeros(length, jnp.int32), jnp.int32(0)), step, exact)


def languages(name: str, counts: list[np.ndarray], symbols: str, context: int = 64) -> Source:
    """Make a source whose lines each come from one of several equally likely Markov chains, which must be inferred."""
    log_prob_LVV = jnp.log(jnp.float32(np.stack([normalise(table) for table in counts])))

    def step(state: tuple, x: jax.Array) -> tuple[jax.Array, tuple]:
        log_belief_L, before = state
        log_belief_L = jnp.where(x == MARK, log_belief_L, log_belief_L + log_prob_LVV[:, before, x])
        log_belief_L = jax.nn.log_softmax(log_belief_L)
        return jax.nn.logsumexp(log_belief_L[:, None] + log_prob_LVV[:, x], axis=0), (log_belief_L, x)

    return source(name, symbols, context, (jnp.zeros(len(counts)), jnp.int32(MARK)), step)
