"""What a person asks for, a name, sizes and numbers, as a model and a recipe that fit a corpus."""

import dataclasses

from makemore_jax.data.corpus import Corpus
from makemore_jax.errors import require
from makemore_jax.model import Model
from makemore_jax.models import MODELS, build
from makemore_jax.recipe import Recipe


def resolve(
    model: str | Model, corpus: Corpus, recipe: Recipe | None = None, overrides: dict | None = None, preset="quick"
) -> tuple[Model, Recipe]:
    """Build a model from its name, or take a built one, and find its recipe.

    `overrides` are sizes of the model and fields of the recipe. Whatever is not given, sizes or `recipe`, comes from
    the model's `preset`, "quick" or "best".

    Raises:
      InputError: there is no such model, or it has no such size.
    """
    overrides, fields = overrides or {}, [field.name for field in dataclasses.fields(Recipe)]
    changes = {name: value for name, value in overrides.items() if name in fields}
    sizes = {name: value for name, value in overrides.items() if name not in fields}
    if isinstance(model, str):
        decided = sizes_for(model, corpus)
        preset_sizes, default = MODELS[model].preset(preset)
        model = build(model, **(preset_sizes | decided | sizes))
    else:
        require(not sizes, f"{', '.join(sizes)}: this model is built already; set its sizes in its config")
        default = next((entry.recipe for entry in MODELS.values() if type(model.config) is entry.config), None)
    recipe = recipe or default or Recipe()
    return model, dataclasses.replace(recipe, **changes)


def sizes_for(name: str, corpus: Corpus) -> dict:
    """The sizes of a model that the data decides: the vocabulary, and the block where it has one."""
    require(name in MODELS, f"there is no model {name!r}; there are {', '.join(MODELS)}")
    decided = {"vocab": corpus.vocab.size, "block": corpus.block}
    return {size: value for size, value in decided.items() if size in MODELS[name].config.__dataclass_fields__}
