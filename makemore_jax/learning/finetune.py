"""Start training from a trained model, optionally cut to a shorter context or grown by new symbols."""

import dataclasses

import jax
import jax.numpy as jnp

from makemore_jax.data.corpus import Corpus
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import require
from makemore_jax.inference.trained import Trained
from makemore_jax.models.interface import Model, Params, require_context, shapes_of
from makemore_jax.models.registry import NEURAL, build_config, describe, name_of

DECIDED = ("vocab", "context")  # sizes that follow from the data


def shorten(trained: Trained, context: int) -> Trained:
    """Cut a model to lines of at most `context` tokens, keeping its parameters for the first positions."""
    require_context(trained.model, context)
    if trained.model.context in (None, context):
        return trained._replace(context=context)
    model = build_config(dataclasses.replace(trained.model.config, context=context))
    like = shapes_of(model.init)
    fit = lambda leaf, to: leaf if leaf.shape == to.shape else leaf[: to.shape[0]]
    return Trained(model, jax.tree.map(fit, trained.params, like), trained.vocab, context)


def grow(trained: Trained, vocab: Vocab) -> Trained:
    """Give a model the symbols of a vocabulary that continues its own; raise `InputError` if it does not.

    An axis of the parameters whose size follows from the vocabulary is found by comparing shapes. There a new symbol
    gets the mean of all old ones, so the logits of the old symbols do not change, and its own are their mean.
    """
    old, new = trained.vocab.size, vocab.size
    what = f"the trained model has {old:,} symbols, and the data has others, {new:,}"
    advice = "to use its vocabulary, leave out `tokenizer`; in Python, load(..., vocab=trained.vocab, grow=True)"
    require(trained.vocab.grown(vocab) == vocab, f"{what}; {advice}")
    if old == new:
        return trained
    require(name_of(trained.model.config) in NEURAL, "a counted or a mixed model cannot take new symbols")
    model = build_config(dataclasses.replace(trained.model.config, vocab=new))

    def widen(leaf: jax.Array, to: jax.ShapeDtypeStruct) -> jax.Array:
        for axis, (size, wanted) in enumerate(zip(leaf.shape, to.shape, strict=True)):
            if size >= old and wanted - size == new - old:
                symbols, rest = jnp.split(leaf, [old], axis)  # the MLP has a blank after the symbols
                mean = jnp.repeat(symbols.mean(axis, keepdims=True), new - old, axis)
                leaf = jnp.concatenate([symbols, mean, rest], axis)
        require(leaf.shape == to.shape, "this model cannot take new symbols")
        return leaf

    return Trained(model, jax.tree.map(widen, trained.params, shapes_of(model.init)), vocab, trained.context)


def initial_params(trained: Trained, model: Model, corpus: Corpus) -> Params:
    """Return the parameters of `trained` as initial ones for `model` on `corpus`; raise `InputError` if they differ."""
    if trained.model.config != model.config:
        there, here = describe(trained.model.config), describe(model.config)
        require(there["model"] == here["model"], f"a {there['model']} was trained; the `model` is {here['model']}")
        sizes = {name: size for name, size in there["sizes"].items() if size != here["sizes"][name]}
        asked = [f"`{name}`" + f" {size}" * (size is not True) for name, size in sizes.items() if name not in DECIDED]
        require(not asked, f"the trained model has other sizes; set {', '.join(asked)}")
    trained = grow(trained, corpus.vocab)
    longest = trained.model.context or corpus.context
    limit = f"longer than the {longest:,} that the trained model can read; lower `context_length`"
    require(corpus.context <= longest, f"a line of the data has {corpus.context:,} tokens, {limit}")
    return (shorten(trained, model.context) if model.context else trained).params
