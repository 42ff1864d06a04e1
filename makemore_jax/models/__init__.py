"""All models, by name: what configures each and what builds it. A new model is one file and one line here."""

from functools import partial

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
