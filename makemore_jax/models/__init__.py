"""All models, by name: what configures each and what builds it. A new model is one file and one line here."""

from makemore_jax.models import bigram, ngram

MODELS = {
    "ngram": (ngram.Config, ngram.ngram),
    "bigram": (bigram.Config, bigram.bigram),
}
