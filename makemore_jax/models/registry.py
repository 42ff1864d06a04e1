"""The table of models by name. To add a model, write a file with its Config, RECIPE and functions, and a line here."""

import dataclasses
import inspect
from collections.abc import Callable
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import jax

from makemore_jax.errors import InputError, require, require_kinds
from makemore_jax.models import backoff, bigram, bow, hawk, mixture, mlp, ngram, rnn, transformer, wavenet
from makemore_jax.models.interface import Model, num_params, shapes_of
from makemore_jax.recipe import Recipe

PRESETS = ("quick", "tuned")  # seconds of training, for a class; minutes of training, for the lowest loss
MAX_NUMBERS = 2**32  # in the parameters and in the cache of one line: 16 GiB in float32


class Entry(NamedTuple):
    """The model that a name stands for, with its recipes."""

    config: type  # a frozen dataclass: `vocab`, and sizes with defaults (int, float, bool, str or a Literal of strings)
    build: Callable[[Any], Model]  # makes the model of a config; cached
    recipe: Recipe | None = None  # None: the model is counted, not trained
    fixed: dict[str, Any] = {}  # sizes that the name determines  # noqa: RUF012 (never written to)
    tuned: tuple[dict, Recipe] | None = None  # sizes and a recipe for the lowest loss, however long it takes

    def covers(self, config: Any) -> bool:
        """Whether this is the entry of a config: it has the type and the sizes that the name determines."""
        same = (getattr(config, size) == value for size, value in self.fixed.items())
        return type(config) is self.config and all(same)

    def preset(self, name: str) -> tuple[dict, Recipe]:
        """Return the sizes that differ from the defaults of `config`, and the recipe, of one of `PRESETS`."""
        require(name in PRESETS, f"`preset` is {name!r}; it must be one of {', '.join(PRESETS)}")
        if self.recipe is None:
            raise InputError("this model is counted, not trained; use makemore_jax.count")
        return self.tuned if self.tuned and name == "tuned" else ({}, self.recipe)


def _mixture(config: mixture.Config) -> Model:
    return mixture.mixture(tuple(build_config(component) for component in config.components))


def _ensemble(config: mixture.EnsembleConfig) -> Model:
    return mixture.ensemble(build_config(config.components[0]), config.members)


MODELS = {
    "ngram": Entry(ngram.Config, ngram.ngram),
    "backoff": Entry(backoff.Config, backoff.backoff),
    "bigram": Entry(bigram.Config, bigram.bigram, bigram.RECIPE),
    "mlp": Entry(mlp.Config, mlp.mlp, mlp.RECIPE, tuned=mlp.TUNED),
    "wavenet": Entry(wavenet.Config, wavenet.wavenet, wavenet.RECIPE, tuned=wavenet.TUNED),
    "bow": Entry(bow.Config, bow.bow, bow.RECIPE, tuned=bow.TUNED),
    "rnn": Entry(rnn.Config, rnn.rnn, rnn.RECIPES["rnn"], {"cell": "rnn"}, rnn.TUNED["rnn"]),
    "gru": Entry(rnn.Config, rnn.rnn, rnn.RECIPES["gru"], {"cell": "gru"}, rnn.TUNED["gru"]),
    "lstm": Entry(rnn.Config, rnn.rnn, rnn.RECIPES["lstm"], {"cell": "lstm"}, rnn.TUNED["lstm"]),
    "hawk": Entry(hawk.Config, hawk.hawk, hawk.RECIPE, tuned=hawk.TUNED),
    "transformer": Entry(transformer.Config, transformer.transformer, transformer.RECIPE, tuned=transformer.TUNED),
    "mixture": Entry(mixture.Config, _mixture),
    "ensemble": Entry(mixture.EnsembleConfig, _ensemble),
}
NEURAL = tuple(name for name, entry in MODELS.items() if entry.recipe)  # learned by gradient descent


def configure(name: str, /, **sizes: Any) -> Any:
    """Make the config of the model of this name from sizes that a user or a file gave; check them first."""
    require(isinstance(name, str) and name in MODELS, f"there is no model {name!r:.60}; there are {', '.join(MODELS)}")
    entry = MODELS[name]
    fields, types = inspect.signature(entry.config).parameters, get_type_hints(entry.config)
    for size, value in sizes.items():
        require(size in fields, f"{name} has no size {size!r:.60}; its sizes are {', '.join(fields)}")
        sizes[size] = check_type(size, value, types[size])
    for size, value in entry.fixed.items():
        require(sizes.setdefault(size, value) == value, f"`{size}` must be {value!r} for {name}")
    for size, field in fields.items():
        require(size in sizes or field.default is not field.empty, f"{name} needs a value for `{size}`")
    config = entry.config(**sizes)
    numbers = count_numbers(entry.build, config)
    require(numbers <= MAX_NUMBERS, f"{name} holds {numbers:,} numbers with these sizes; the limit is {MAX_NUMBERS:,}")
    return config


def check_type(name: str, value: Any, kind: Any) -> Any:
    """Return `value` as the type that the field declares; raise `InputError` if it is of another type."""
    if get_origin(kind) is tuple:  # the components of a mixture: configs, or descriptions of them
        require(isinstance(value, list | tuple), f"`{name}` must be a list of models")
        return tuple(
            component if dataclasses.is_dataclass(component) else configure_described(component) for component in value
        )
    if get_origin(kind) is Literal:
        choices = ", ".join(map(repr, get_args(kind)))
        require(isinstance(value, str) and value in get_args(kind), f"`{name}` must be one of {choices}")
        return value
    number = {int: Integral, float: Real}.get(kind, kind)
    fits = isinstance(value, number) and (kind is bool or not isinstance(value, bool))
    require(fits, f"`{name}` must be of type {kind.__name__}; it is of type {type(value).__name__}")
    limit = {int: 2**31 - 1, float: 1e300}.get(kind)  # int32; NaN is not below any limit
    require(limit is None or -limit <= value <= limit, f"`{name}` is out of range; it must be at most {limit}")
    return kind(value)


@cache
def count_numbers(builder: Callable[[Any], Model], config: Any) -> int:
    """Count the numbers in a model's parameters and in the cache of one line, without allocating them."""
    model = builder(config)
    params = shapes_of(model.init)
    return num_params((params, jax.eval_shape(lambda params: model.init_cache(params, 1), params)))


def describe(config: Any) -> dict[str, Any]:
    """Describe a config by the name of its model and its sizes, ready for JSON, down to the components of mixtures."""
    sizes = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    sizes |= {
        name: [describe(component) for component in size] for name, size in sizes.items() if isinstance(size, tuple)
    }
    return {"model": name_of(config), "sizes": sizes}


def configure_described(about: Any) -> Any:
    """Make the config that `describe` described; raise `InputError` as `configure` does."""
    kinds = {"model": str, "sizes": dict}
    complete = isinstance(about, dict) and all(isinstance(about.get(name), kind) for name, kind in kinds.items())
    require(complete, "does not say which model it is")
    return configure(about["model"], **about["sizes"])


def build_config(config: Any) -> Model:
    """Build the model of a config, which is found by its type."""
    return MODELS[name_of(config)].build(config)


def counted(config: Any, prefix: str = "") -> tuple[str, ...]:
    """Return the prefixes of the names of counted parameters, whose shapes depend on the data."""
    if isinstance(config, backoff.Config):
        return (prefix,)
    if isinstance(config, mixture.EnsembleConfig):  # one stacked tree
        return counted(config.components[0], prefix)
    components = config.components if isinstance(config, mixture.Config) else ()
    return tuple(
        name for k, component in enumerate(components) for name in counted(component, f"{prefix}components.{k}.")
    )


def build(name: str, /, **sizes: Any) -> Model:
    """Build the model of this name with these sizes; raise `InputError` as `configure` does."""
    config = configure(name, **sizes)
    return MODELS[name].build(config)


def name_of(config: Any) -> str:
    """Return the name in MODELS of a config; raise `InputError` if there is none."""
    for name, entry in MODELS.items():
        if entry.covers(config):
            return name
    raise InputError(
        f"the model of {type(config).__module__} is not in the table of models; there are {', '.join(MODELS)}"
    )


def resolve(
    model: str | Model,
    decided: dict[str, int],
    recipe: Recipe | None = None,
    overrides: dict | None = None,
    preset: str = "quick",
) -> tuple[Model, Recipe]:
    """Build a model from its name, or take a built one, and find its recipe.

    `decided` holds the sizes that follow from the data, `Corpus.sizes`; `overrides` holds sizes of the model and fields
    of the recipe. All others come from the model's `preset`, "quick" or "tuned".
    """
    overrides, fields = overrides or {}, [field.name for field in dataclasses.fields(Recipe)]
    changes = {name: value for name, value in overrides.items() if name in fields}
    sizes = {name: value for name, value in overrides.items() if name not in fields}
    if isinstance(model, str):
        decided = sizes_for(model, decided)
        preset_sizes, default = MODELS[model].preset(preset)
        model = build(model, **(preset_sizes | decided | sizes))
    else:
        require_kinds(model=model)
        require(not sizes, f"{', '.join(sizes)}: this model is built already; set its sizes in its config")
        default = next((entry.recipe for entry in MODELS.values() if entry.covers(model.config)), None)
    recipe = recipe or default or Recipe()
    require_kinds(recipe=recipe)
    return model, dataclasses.replace(recipe, **changes)


def sizes_for(name: str, decided: dict[str, int]) -> dict[str, int]:
    """Select the sizes that this model has among those that follow from the data: `vocab`, and usually `context`."""
    require(name in MODELS, f"there is no model {name!r}; there are {', '.join(MODELS)}")
    return {size: value for size, value in decided.items() if size in MODELS[name].config.__dataclass_fields__}
