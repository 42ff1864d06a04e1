"""All models, by name: what configures each and what builds it. A new model is one file and one line here."""

from functools import partial
from typing import Any

from makemore_jax.errors import InputError, require
from makemore_jax.model import Model
from makemore_jax.models import backoff, bigram, bow, mlp, ngram, rnn, transformer, wavenet

MODELS = {
    "ngram": (ngram.Config, ngram.ngram),
    "backoff": (backoff.Config, backoff.backoff),
    "bigram": (bigram.Config, bigram.bigram),
    "mlp": (mlp.Config, mlp.mlp),
    "wavenet": (wavenet.Config, wavenet.wavenet),
    "bow": (bow.Config, bow.bow),
    "rnn": (rnn.Config, rnn.rnn),
    "gru": (partial(rnn.Config, cell="gru"), rnn.rnn),
    "lstm": (partial(rnn.Config, cell="lstm"), rnn.rnn),
    "transformer": (transformer.Config, transformer.transformer),
}
NEURAL = tuple(name for name in MODELS if name not in ("ngram", "backoff"))  # learned by gradient descent


def configure(name: str, sizes: dict) -> Any:
    """The config of the model of this name, with these sizes as they stand in a run folder.

    Raises:
      InputError: there is no such model, or it has no such size.
    """
    require(name in MODELS, f"there is no model {name!r}; there are {', '.join(MODELS)}")
    try:
        return MODELS[name][0](**sizes)
    except TypeError as error:
        raise InputError(f"model {name}: {error}; its sizes are those of another model") from None


def build(name: str, sizes: dict) -> Model:
    """The model of this name and these sizes; raises what `configure` raises."""
    config = configure(name, sizes)
    return MODELS[name][1](config)
