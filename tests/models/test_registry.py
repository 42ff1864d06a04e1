"""The table of models: from a name and sizes that a person or a file gave to a model, and back."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from makemore_jax.errors import InputError
from makemore_jax.models.bigram import Config, bigram
from makemore_jax.models.interface import num_params
from makemore_jax.models.registry import (
    MAX_NUMBERS,
    MODELS,
    NEURAL,
    Entry,
    build,
    build_config,
    configure,
    configure_described,
    count_numbers,
    describe,
    name_of,
)

COMPONENTS = {  # what a mixture and an ensemble are made of
    "mixture": {
        "components": [configure("gru", vocab=7), configure("bow", vocab=7, context=5), configure("ngram", vocab=7)]
    },
    "ensemble": {"components": [configure("bow", vocab=7, context=5)]},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_config_has_its_name_and_its_sizes(name):
    config = configure(name, vocab=7, **COMPONENTS.get(name, {}))
    assert name_of(config) == name
    described = json.loads(json.dumps(describe(config)))
    assert described["model"] == name
    assert configure_described(described) == config
    model = build_config(config)
    assert (model.config, model.vocab) == (config, 7)
    assert model.context == getattr(config, "context", None) == (5 if name in COMPONENTS else model.context)


@pytest.mark.parametrize(
    ("name", "components", "message"),
    [
        ("mixture", [], "a mixture has no components"),
        (
            "mixture",
            [configure("gru", vocab=8)],
            "a component of 8 symbols in a mixture over 7; all need one vocabulary",
        ),
        ("mixture", 3, "`components` must be a list of models"),
        ("mixture", [3], "does not say which model it is"),
        ("mixture", [{"model": "gru"}], "does not say which model it is"),
        ("mixture", [{"model": "gru", "sizes": {"vocab": 7, "hidden": 0}}], "`hidden` is 0"),
        ("ensemble", [configure("gru", vocab=7)] * 2, "an ensemble has one component"),
    ],
)
def test_parts_that_do_not_fit_are_named(name, components, message):
    with pytest.raises(InputError, match=message):
        build(name, vocab=7, components=components)


def test_names_that_share_a_config_class():
    assert len({type(configure(name, vocab=7)) for name in ("rnn", "gru", "lstm")}) == 1
    assert len({build(name, vocab=7) for name in ("rnn", "gru", "lstm")}) == 3
    with pytest.raises(InputError, match="`cell` must be 'gru' for gru"):
        configure("gru", vocab=7, cell="lstm")
    with pytest.raises(InputError, match="is not in the table of models"):
        name_of(MODELS)


def test_neural_models_have_a_recipe():
    assert {"ngram", "backoff", "mixture", "ensemble"}.isdisjoint(NEURAL)
    assert all((MODELS[name].recipe is not None) == (name in NEURAL) for name in MODELS)


def test_all_of_the_series_but_the_bigram_have_dropout_and_a_best_recipe():
    """It has no units, and can be no better. A model that is added may do without them, too."""
    series = ("bigram", "mlp", "wavenet", "bow", "rnn", "gru", "lstm", "hawk", "transformer")
    assert [name for name in series if MODELS[name].tuned is None] == ["bigram"]
    assert [name for name in series if "dropout" not in build(name, vocab=7).supports] == ["bigram"]


@pytest.mark.parametrize("name", NEURAL)
def test_presets_are_sizes_and_a_recipe(name):
    quick, tuned = MODELS[name].preset("quick"), MODELS[name].preset("tuned")
    assert quick == ({}, MODELS[name].recipe)
    assert (tuned == quick) == (MODELS[name].tuned is None)
    for sizes, recipe in (quick, tuned):
        assert build(name, vocab=7, **sizes).vocab == 7
        assert recipe.dropout == 0 or "dropout" in build(name, vocab=7, **sizes).supports
    with pytest.raises(InputError, match="`preset` is 'slow'; it must be one of quick, tuned"):
        MODELS[name].preset("slow")


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("lstn", {}, "there is no model 'lstn'; there are ngram, backoff"),
        (["mlp"], {}, "there is no model"),
        ("mlp", {"heads": 2}, "mlp has no size 'heads'; its sizes are vocab, window, embed, hidden"),
        ("mlp", {"name": 2}, "mlp has no size 'name'"),
        ("mlp", {"\x1b[31m" * 99: 2}, r"mlp has no size '\\x1b\[31m"),
        ("transformer", {"embed": 12, "heads": 5}, "`embed` is 12; with `heads` 5 it must be divisible by 5"),
        ("mlp", {"hidden": 0}, "`hidden` is 0; it must be at least 1"),
        ("bigram", {"vocab": 0}, "`vocab` is 0"),
        ("mlp", {"hidden": True}, "`hidden` must be of type int; it is of type bool"),
        ("mlp", {"hidden": 8.0}, "`hidden` must be of type int; it is of type float"),
        ("mlp", {"hidden": math.nan}, "of type float"),
        ("mlp", {"hidden": [8]}, "of type list"),
        ("mlp", {"hidden": "8"}, "of type str"),
        ("mlp", {"hidden": None}, "of type NoneType"),
        ("mlp", {"hidden": np.zeros(2)}, "of type ndarray"),
        ("transformer", {"modern": 1}, "`modern` must be of type bool"),
        ("bow", {"context": 10**12}, "`context` is out of range"),
        ("bow", {"context": 10**5000}, "`context` is out of range"),
        ("bow", {"context": np.int64(-(2**63))}, "`context` is out of range"),
        ("bow", {"context": 2**31 - 1}, "bow holds 137,438,9.* numbers with these sizes; the limit is 4,294,967,296"),
        ("mlp", {"hidden": 10**9}, "mlp holds"),
        ("transformer", {"context": 10**9, "modern": True}, "transformer holds"),  # it has no positions, but a cache
        ("transformer", {"layers": 10**9}, "`layers` is 1,000,000,000; it must be at most 1,000"),
        ("wavenet", {"layers": 10**9}, "`layers` is 1,000,000,000; it must be at most 1,000"),
        ("wavenet", {"layers": 99, "cycle": 10**6}, "reach 2\\*\\*31 symbols back"),
        ("mlp", {"window": 10**9}, "`window` is 1,000,000,000; it must be at most 1,000"),
        ("backoff", {"order": 10**6}, "`order` is 1000000; it must be at most 32"),
        ("ngram", {"vocab": 10**9}, "over the limit"),
    ],
    ids=lambda value: ascii(value)[:40] if isinstance(value, str) else "",
)
def test_bad_sizes_are_named(name, sizes, message):
    with pytest.raises(InputError, match=message) as error:
        build(name, **({"vocab": 7} | sizes))
    assert len(str(error.value)) < 200


def test_a_size_without_a_default_is_needed():
    with pytest.raises(InputError, match="bigram needs a value for `vocab`"):
        configure("bigram")


def test_integers_of_numpy_become_plain():
    config = configure("mlp", vocab=np.int64(7))
    assert type(config.vocab) is int


@dataclasses.dataclass(frozen=True)
class FloatConfig(Config):
    """Sizes of a model with a number that is no integer."""

    scale: float = 1.0


def test_floats_are_finite_and_may_be_given_as_integers(monkeypatch):
    monkeypatch.setitem(MODELS, "scaled", Entry(FloatConfig, bigram))
    assert type(configure("scaled", vocab=7, scale=2).scale) is float
    for value in (math.nan, math.inf, 10**400, True, "1"):
        with pytest.raises(InputError, match="`scale` "):
            configure("scaled", vocab=7, scale=value)


def test_numbers_are_those_of_the_parameters_and_the_cache():
    model = build("lstm", vocab=7, embed=5, hidden=13)
    assert count_numbers(MODELS["lstm"].build, model.config) == num_params(model.init(jax.random.key(0))) + 2 * 13
    assert MAX_NUMBERS > 2 * 124_439_808  # GPT-2's parameters and cache
