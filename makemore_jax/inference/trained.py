"""A trained model with its vocabulary, as one value that can be saved, opened and inspected."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from makemore_jax import checkpoint
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.errors import InputError, require, require_kinds
from makemore_jax.models.interface import Model, Params, require_context, shapes_of
from makemore_jax.models.registry import build_config, configure_described, counted, describe

MAX_CONTEXT = 2**20  # tokens; a file with longer lines is damaged


class Trained(NamedTuple):
    """A model with its parameters, its vocabulary and the length of the longest line of its data."""

    model: Model
    params: Params
    vocab: Vocab
    context: int  # the longest line that it reads and the longest sample, in tokens with the end mark

    @property
    def digest(self) -> str:
        """SHA-256 of the weights and of `about`."""
        leaves = {name: np.asarray(leaf) for name, leaf in checkpoint.flatten(self.params).items()}
        return checkpoint.fingerprint(leaves, json.dumps(self.about, sort_keys=True))

    def __reduce__(self) -> tuple:
        """Pickle the model by its description, since functions cannot be pickled."""
        return rebuild, (self.about, self.params)

    def encode(self, line: str) -> np.ndarray:
        """Return the tokens of a line; raise `InputError` if the line is too long for the model."""
        ids, longest = self.vocab.encode_line(line), self.context - 1
        require(
            len(ids) <= longest,
            f"{line!r} has {len(ids)} symbols; the model was trained on up to {longest}: shorten it",
        )
        return ids

    @property
    def about(self) -> dict:
        """The description that a file stores beside the parameters, ready for JSON."""
        return {**describe(self.model.config), "context": self.context, **self.vocab.to_dict()}


def rebuild(about: dict, params: Params) -> Trained:
    """Join parameters with the model and the vocabulary that `Trained.about` describes."""
    model = build_config(configure_described(about))
    return Trained(model, params, Vocab.from_dict(about, "a trained model"), about["context"])


def restore(leaves: dict[str, np.ndarray], about: Any, source: str) -> Trained:
    """Rebuild a trained model from its arrays by name and its `Trained.about`."""
    complete = isinstance(about, dict) and type(about.get("context")) is int
    require(complete, f"{source}: does not say which model it holds")
    vocab = Vocab.from_dict(about, source)
    try:
        model = build_config(configure_described(about))
    except InputError as error:
        raise InputError(f"{source}: {str(error).replace('`', '')}") from None
    except RecursionError:
        raise InputError(f"{source}: its description is nested too deeply") from None
    require(vocab.size == model.vocab, f"{source}: a vocabulary of {vocab.size} symbols for a model of {model.vocab}")
    fits = 0 < about["context"] <= (model.context or MAX_CONTEXT)
    require(fits, f"{source}: lines of {about['context']} tokens are longer than the model can read")
    any_shape, like = counted(model.config), shapes_of(model.init)
    try:
        params = checkpoint.unflatten(leaves, like, lambda name: name.startswith(any_shape))
    except ValueError:
        raise InputError(f"{source}: its weights do not fit a {about['model']} of the sizes that it names") from None
    bad = next((name for name, leaf in leaves.items() if not _is_legal(name, leaf)), None)
    require(bad is None, f"{source}: {bad} holds numbers that are not finite; it cannot be used")
    return Trained(model, params, vocab, about["context"])


def _is_legal(name: str, leaf: np.ndarray) -> bool:
    """Whether all numbers are finite; a log-probability may be -inf, but not all of them in a distribution."""
    if name.rpartition(".")[2] in ("log_prob", "log_weight"):
        leaf = leaf.max(axis=-1)
    return bool(np.isfinite(leaf).all())


def save(trained: Trained, path: str | Path) -> None:
    """Write a trained model to one safetensors file, which `open` reads.

    Raises:
      InputError: the model is not in the table of models, or the file cannot be written.
    """
    require_kinds(trained=trained)
    about = trained.about
    try:
        checkpoint.write(path, trained.params, about)
    except OSError as error:
        raise InputError(f"{str(path)!r}: cannot be written ({(error.strerror or str(error)).lower()})") from None


class Activations(NamedTuple):
    """The values that a model computes as it reads a line, for plots and for study."""

    symbols: list[str]  # T symbols: the mark, then those of the line
    values: dict[str, np.ndarray]  # by the names that the model gives them, without a batch axis


def activations(trained: Trained, line: str) -> Activations:
    """Return the activations of a model as it reads a line: states and gates (T, H), attention (L, N, T, T), and so on.

    Raises:
      InputError: the line has a character that the model does not know, or is longer than the lines it was trained on.
    """
    require_kinds(trained=trained, line=line)
    x_T = np.concatenate([[MARK], trained.encode(line)]).astype(np.int32)
    require_context(trained.model, len(x_T))
    _, values = jax.jit(trained.model.forward)(trained.params, jax.device_put(x_T[None]))
    return Activations([trained.vocab.symbols[i] for i in x_T], {k: v[0] for k, v in jax.device_get(values).items()})
