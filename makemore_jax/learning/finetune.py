"""Start training from a trained model, optionally cut to a shorter context."""

import dataclasses

import jax

from makemore_jax.data.corpus import Corpus
from makemore_jax.errors import require
from makemore_jax.inference.trained import Trained
from makemore_jax.models.interface import Model, Params, require_context, shapes_of
from makemore_jax.models.registry import build_config, describe

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


def initial_params(trained: Trained, model: Model, corpus: Corpus) -> Params:
    """Return the parameters of `trained` as initial ones for `model` on `corpus`; raise `InputError` if they differ."""
    if trained.model.config != model.config:
        there, here = describe(trained.model.config), describe(model.config)
        require(there["model"] == here["model"], f"a {there['model']} was trained; the `model` is {here['model']}")
        sizes = {name: size for name, size in there["sizes"].items() if size != here["sizes"][name]}
        asked = [f"`{name}`" + f" {size}" * (size is not True) for name, size in sizes.items() if name not in DECIDED]
        require(not asked, f"the trained model has other sizes; set {', '.join(asked)}")
    same, counts = trained.vocab == corpus.vocab, (trained.vocab.size, corpus.vocab.size)
    advice = "use its vocabulary for the data, as `tokenizer`"
    require(same, f"the trained model has {counts[0]:,} symbols, and the data has others, {counts[1]:,}; {advice}")
    longest = trained.model.context or corpus.context
    limit = f"longer than the {longest:,} that the trained model can read; lower `context_length`"
    require(corpus.context <= longest, f"a line of the data has {corpus.context:,} tokens, {limit}")
    return (shorten(trained, model.context) if model.context else trained).params
