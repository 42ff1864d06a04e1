"""A trained model with its vocabulary: text in, text and numbers out."""

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from makemore_jax import checkpoint, loss
from makemore_jax.data.lines import normalize
from makemore_jax.data.tokens import Tokens, distinct, tokenize
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.errors import InputError, require
from makemore_jax.model import Model, Params, require_block
from makemore_jax.models import build_config, configure_described, counted, describe
from makemore_jax.sampler import Samples, SamplingParams, sample_tokens

MAX_BLOCK = 2**20  # tokens; a file that asks for longer lines is damaged


class Trained(NamedTuple):
    """A model, its parameters, its vocabulary, and the longest line of its data."""

    model: Model
    params: Params
    vocab: Vocab
    block: int  # the longest line that it reads, and the longest sample, in tokens with the end mark

    @property
    def digest(self) -> str:
        """SHA-256 of the weights and of what they are."""
        leaves = {name: np.asarray(leaf) for name, leaf in checkpoint.flatten(self.params).items()}
        return checkpoint.fingerprint(leaves, json.dumps(self.about, sort_keys=True))

    @property
    def about(self) -> dict:
        """What a file stores beside the parameters, ready for JSON."""
        return {**describe(self.model.config), "block": self.block, **self.vocab.to_dict()}


def restore(leaves: dict[str, np.ndarray], about: Any, source: str) -> Trained:
    """Rebuild a trained model from its arrays by name and its `Trained.about`.

    Raises:
      InputError: they do not fit together; the message names `source`.
    """
    complete = isinstance(about, dict) and type(about.get("block")) is int
    require(complete, f"{source}: does not say which model it holds")
    vocab = Vocab.from_dict(about, source)
    try:
        model = build_config(configure_described(about))
    except InputError as error:
        raise InputError(f"{source}: {str(error).replace('`', '')}") from None
    except RecursionError:
        raise InputError(f"{source}: its description is nested too deeply") from None
    require(vocab.size == model.vocab, f"{source}: a vocabulary of {vocab.size} symbols for a model of {model.vocab}")
    fits = 0 < about["block"] <= (model.block or MAX_BLOCK)
    require(fits, f"{source}: lines of {about['block']} tokens are longer than the model can read")
    any_shape, like = counted(model.config), jax.eval_shape(model.init, jax.random.key(0))
    try:
        params = checkpoint.unflatten(leaves, like, lambda name: name.startswith(any_shape))
    except ValueError:
        raise InputError(f"{source}: its weights do not fit a {about['model']} of the sizes that it names") from None
    bad = next((name for name, leaf in leaves.items() if np.isnan(leaf).any()), None)  # counts may hold -inf
    require(bad is None, f"{source}: {bad} holds NaN")
    return Trained(model, params, vocab, about["block"])


def save(trained: Trained, path: str | Path) -> None:
    """Write a trained model into one safetensors file, which `open` reads.

    Raises:
      InputError: the model is not in the table of models, or the file cannot be written.
    """
    about = trained.about
    try:
        checkpoint.write(path, trained.params, about)
    except OSError as error:
        raise InputError(f"{str(path)!r}: cannot be written ({(error.strerror or str(error)).lower()})") from None


def evaluate(trained: Trained, tokens: Tokens, excluding: Tokens | None = None) -> loss.Quality:
    """The exact loss over a data set, such as `corpus.tokens.test`; every token is scored once.

    `excluding` are lines that are known not to occur in it, such as `corpus.tokens.train` where the split keeps equal
    lines together. Their probability goes to all others, P(line) / (1 - `mass`); if one does occur, the loss is inf.

    Raises:
      InputError: there are no lines, or one is longer than the model can read.
    """
    quality = loss.evaluate(trained.model, trained.params, tokens)
    if excluding is None:
        return quality
    if distinct(tokens).keys() & distinct(excluding).keys():
        return loss.quality(math.inf, quality.tokens)
    gain = -math.log1p(-mass(trained, excluding))  # nats per line
    return loss.quality(quality.nats * quality.tokens - gain * len(tokens.length_N), quality.tokens)


def mass(trained: Trained, tokens: Tokens) -> float:
    """The probability that a sample is one of these lines, such as `corpus.tokens.train`: the sum over different ones.

    Raises:
      InputError: there are no lines, or one is longer than the model can read.
    """
    line_N = list(distinct(tokens).values())
    once = Tokens(tokens.stream_M, tokens.start_N[line_N], tokens.length_N[line_N])
    return float(np.exp(-loss.line_nll(trained.model, trained.params, once)).sum())


def score(trained: Trained, lines: Sequence[str]) -> list[loss.Quality]:
    """The loss of each line, its end mark included: nats, bits and perplexity per token, and the number of tokens.

    Raises:
      InputError: a line with a character that the model does not know, or a line longer than it was trained on.
    """
    lines = [normalize(line, trained.vocab.lowercase) for line in lines]
    for line in lines:
        _encode(trained, line)
    tokens = tokenize(lines, trained.vocab)
    nats_N = loss.line_nll(trained.model, trained.params, tokens)
    return [loss.quality(nats, count) for nats, count in zip(nats_N, tokens.length_N, strict=True)]


def _encode(trained: Trained, line: str) -> np.ndarray:
    """The tokens of a line that the model can read whole."""
    ids = trained.vocab.encode_line(line)
    longest = trained.block - 1
    require(len(ids) <= longest, f"{line!r} has {len(ids)} symbols; the model was trained on up to {longest}")
    return ids


class Activations(NamedTuple):
    """What a model computes on reading a line: for plots and for looking inside."""

    symbols: list[str]  # T of them: the mark, then the line's
    values: dict[str, np.ndarray]  # by the names that the model gives them, without a batch axis


def activations(trained: Trained, line: str) -> Activations:
    """The activations of a model as it reads a line: states and gates (T, H), attention (L, N, T, T), and so on.

    Raises:
      InputError: a line with a character that the model does not know, or a line longer than it was trained on.
    """
    x_T = np.concatenate([[MARK], _encode(trained, line)]).astype(np.int32)
    require_block(trained.model, len(x_T))
    _, values = jax.jit(trained.model.forward)(trained.params, x_T[None])
    return Activations([trained.vocab.symbols[i] for i in x_T], {k: np.asarray(v[0]) for k, v in values.items()})


def draw(
    key: jax.Array,
    trained: Trained,
    n: int,
    prefix: str = "",
    sampling: SamplingParams = SamplingParams(),
    excluding: Collection[str] = (),
) -> Samples:
    """`n` lines as tokens, each with its log-probability; line i of all that are drawn depends on the key and i alone.

    Lines in `excluding` are rejected, and others drawn in their place. The log-probabilities stay the model's own.

    Raises:
      InputError: a prefix with a character that the model does not know, or one that leaves no room; or too many lines
        are in `excluding`.
    """
    require(n > 0, f"`n` is {n}; it must be at least 1")
    prefix_T, allowed = trained.vocab.encode_line(prefix), trained.vocab.sampleable_V
    first = lambda n: sample_tokens(
        key, trained.model, trained.params, [prefix_T] * n, trained.block, sampling, allowed
    )
    if not excluding:
        return first(n)
    for count in (n * 2**doubled for doubled in range(1, 8)):
        drawn = first(count)
        kept = [i for i, row in enumerate(drawn.token_BT) if trained.vocab.decode(row) not in excluding][:n]
        if len(kept) == n:
            return Samples(*(leaf[np.array(kept)] for leaf in drawn))
    raise InputError(f"{len(kept)} of {count} samples are not in `excluding`, of {n} to be drawn; raise `temperature`")


def sample(
    key: jax.Array,
    trained: Trained,
    n: int = 1,
    *,
    prefix: str = "",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    excluding: Collection[str] = (),
) -> list[str]:
    """`n` lines that start with `prefix`; none is in `excluding`, such as `set(corpus.lines.train)`.

    Use `draw` to learn which ended by themselves and which were cut.

    Raises:
      InputError: as for `draw` and `SamplingParams`.
    """
    drawn = draw(key, trained, n, prefix, SamplingParams(temperature, top_k, top_p), excluding)
    return [trained.vocab.decode(row) for row in np.asarray(drawn.token_BT)]
