"""The laws that every model obeys, over the table of models. The weights are random, so that no law holds by chance."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from makemore_jax.inference.sampler import sample_tokens
from makemore_jax.models import backoff
from makemore_jax.models.interface import Model, positions, scan_step, shift_in_line, step_prefix, step_window
from makemore_jax.models.registry import MODELS, Entry, build, configure
from makemore_jax.recipe import Recipe

V, B, T = 7, 3, 11  # distinct primes: a transposed axis cannot pass
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order
GPT = {"layers": 2, "heads": 3, "embed": 18}
VARIANTS = {  # small prime sizes; a model that is not listed is tested at its default sizes
    "ngram": [{"order": order} for order in (1, 2, 3, 4)],
    "backoff": [{"order": 4}],
    "mlp": [{"window": window, "embed": 5, "hidden": 17} for window in (3, T + 2)],
    "wavenet": [{"layers": 3, "cycle": 2, "channels": 5, "skip": 13}],
    "bow": [{"embed": 5, "hidden": 13}],
    "rnn": [{"embed": 5, "hidden": 13}],
    "gru": [{"embed": 5, "hidden": 13}],
    "lstm": [{"embed": 5, "hidden": 13}],
    "transformer": [GPT, GPT | {"tied": True}, GPT | {"modern": True}],
    "mixture": [{"components": ("mlp", "lstm", "transformer")}],
    "ensemble": [{"components": ("wavenet",), "members": 3}],
}
CASES = [(name, sizes) for name in MODELS for sizes in VARIANTS.get(name, [{}])]


class Case(NamedTuple):
    """A model with random parameters, tokens, its logits and activations, and its two forms, compiled once."""

    sizes: dict
    model: Model
    params: Any
    x_BT: jax.Array
    logits_BTV: jax.Array
    activations: dict
    forward: Callable
    stepped: Callable

    @property
    def indexes(self) -> bool:
        """Whether the parameters hold indices, which other numbers cannot replace."""
        return any(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in jax.tree.leaves(self.params))


def sizes_of(name, sizes):
    """All sizes of a case; a model with a context reads rows of T; components have their first variant's sizes."""
    decided = {"vocab": V} | ({"context": T} if "context" in inspect.signature(MODELS[name].config).parameters else {})
    sizes = decided | sizes
    if "components" in sizes:
        of_component = [
            sizes_of(component, VARIANTS[component][0] | {"vocab": sizes["vocab"]}) for component in sizes["components"]
        ]
        described = zip(sizes["components"], of_component, strict=True)
        sizes["components"] = [
            {"model": component, "sizes": component_sizes} for component, component_sizes in described
        ]
    return sizes


def make_case(name, sizes):
    model = build(name, **sizes_of(name, sizes))
    random = np.random.default_rng(0)
    params = jax.jit(model.init)(jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.asarray(leaf) + np.float32(0.3 * random.normal(size=leaf.shape)), params)
    if name == "backoff":  # its parameters are a trie: counts of random data are its random weights
        stream = random.integers(0, V, 300)
        params = backoff.fit(model.config, stream[:-1], stream[1:])
    x_BT = np.int32(random.integers(1, V, (B, T)))
    x_BT[[0, 1, 2, 0, 0, 2], [0, 0, 0, 4, 7, 9]] = 0  # lines end to end
    forward, stepped = jax.jit(model.forward), jax.jit(scan_step(model.init_cache, model.step))
    return Case(sizes, model, params, x_BT, *forward(params, x_BT), forward, stepped)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join([case[0], *map(str, case[1].values())]))
def case(request):
    return make_case(*request.param)


def test_logits_of_every_position(case):
    chex.assert_shape(case.logits_BTV, (B, T, V))
    chex.assert_tree_all_finite(case.logits_BTV)
    assert case.model.vocab == V
    assert case.model.context in (None, T)
    if not case.indexes:  # the shapes of a trie depend on the data
        shapes = jax.eval_shape(case.model.init, jax.random.key(1))
        chex.assert_trees_all_equal_shapes_and_dtypes(case.params, shapes)


def test_causality(case):
    """A change of the token at t changes no logits before t, and does change those at t (unless they see no token)."""
    for t in range(1, T):
        changed_BT = np.where(np.arange(T) == t, (case.x_BT + 1) % V, case.x_BT)
        changed_BTV, _ = case.forward(case.params, changed_BT)
        chex.assert_trees_all_equal(changed_BTV[:, :t], case.logits_BTV[:, :t])
        blind = case.sizes.get("order") == 1
        assert blind == np.allclose(changed_BTV[:, t], case.logits_BTV[:, t])


def test_two_forms_are_one_function(case):
    """Scanning `step` gives what `forward` gives; if not: is `window` too small, or does the cache forget?"""
    chex.assert_trees_all_close(case.stepped(case.params, case.x_BT)[0], case.logits_BTV, **CLOSE)


def test_the_mark_starts_a_line(case):
    """Two lines end to end, the second from another step on in each row: its logits are those of it alone.

    If not: do positions count from the mark, and do shifts and states end there?
    """
    begins_B = 2 + np.arange(B)
    row_B1, after_BT = np.arange(B)[:, None], np.arange(T) - begins_B[:, None]
    before_BT = np.where(np.arange(T) > 0, 1 + case.x_BT % (V - 1), 0)
    joined_BT = np.where(after_BT < 0, before_BT, case.x_BT[row_B1, after_BT])
    assert (before_BT[:, 1] > 0).all()
    for form in (case.forward, case.stepped):
        logits_BTV, _ = form(case.params, joined_BT)
        for row, begins in enumerate(begins_B):
            chex.assert_trees_all_close(logits_BTV[row, begins:], case.logits_BTV[row, : T - begins], **CLOSE)


def test_sampled_lines_have_the_probability_that_forward_gives_them(case):
    """Drawn token by token with the cache, then read at once: the cache holds all that the prefix says."""
    drawn = sample_tokens(jax.random.key(0), case.model, case.params, [[], [], [2, 3]], T)
    assert len({tuple(row) for row in drawn.token_BT.tolist()}) == B
    assert drawn.token_BT[2, :2].tolist() == [2, 3]
    x_BT = np.pad(drawn.token_BT, ((0, 0), (1, 0)))[:, :-1]
    log_prob_BTV = log_softmax(case.forward(case.params, x_BT)[0], axis=-1)
    log_prob_BT = np.take_along_axis(log_prob_BTV, drawn.token_BT[..., None], axis=-1)[..., 0]
    in_line_BT = (x_BT != 0) | (np.arange(T) == 0)
    chex.assert_trees_all_close(drawn.log_prob_B, np.where(in_line_BT, log_prob_BT, 0).sum(-1), **CLOSE)


def test_rows_are_independent_and_activations_have_them_first(case):
    """A row alone has the logits and the activations of that row in the batch."""
    assert not np.array_equal(case.x_BT[0], case.x_BT[1])
    logits_1TV, activations = case.forward(case.params, case.x_BT[1:2])
    chex.assert_trees_all_close(logits_1TV, case.logits_BTV[1:2], **CLOSE)
    chex.assert_tree_all_finite(case.activations)
    assert all(isinstance(name, str) for name in case.activations)
    chex.assert_trees_all_close(activations, {name: value[1:2] for name, value in case.activations.items()}, **CLOSE)


def test_runs_vmap_over_parameters(case):
    """Many parameter sets at once, as in a sweep over seeds, are each what it is alone; and they differ."""
    if case.indexes:
        pytest.skip("a trie is not trained")
    params_S = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), case.params)
    logits_SBTV = jax.jit(jax.vmap(case.model.apply, (0, None)))(params_S, case.x_BT)
    chex.assert_trees_all_close(logits_SBTV[0], case.logits_BTV, **CLOSE)
    assert not np.allclose(logits_SBTV[0], logits_SBTV[1], atol=1e-2)


def test_what_every_model_has_by_its_adapters():
    """`apply` gives the logits of `forward`, and so does running the whole prefix again at each token."""
    case = make_case("transformer", GPT)
    apply, prefix_form = case.model.apply, jax.jit(scan_step(*step_prefix(case.model.forward, T)))
    assert apply is case.model.apply  # or jit would compile it again each time
    chex.assert_trees_all_close(jax.jit(apply)(case.params, case.x_BT), case.logits_BTV, **CLOSE)
    chex.assert_trees_all_close(prefix_form(case.params, case.x_BT)[0], case.logits_BTV, **CLOSE)


TESTS = [test for name, test in globals().items() if name.startswith("test_")]
LAWS = [test for test in TESTS if "case" in inspect.signature(test).parameters]


def test_equal_configs_give_the_same_functions():
    for name, sizes in CASES:
        config, again, other = (configure(name, **sizes_of(name, {**sizes, "vocab": size})) for size in (V, V, V + 1))
        assert config is not again
        assert MODELS[name].build(config) is MODELS[name].build(again)
        assert MODELS[name].build(config) is not MODELS[name].build(other)


@dataclass(frozen=True)
class PairConfig:
    """Sizes of a toy model that embeds the last two symbols."""

    vocab: int
    embed: int = 5


@cache
def pair(config, fault=None):
    def init(key):
        return {"embed": jax.random.normal(key, (2, config.vocab, config.embed)), "head": jnp.ones((config.embed, V))}

    def forward(params, x_BT):
        before_BT = shift_in_line(x_BT, 1, positions(x_BT))
        if fault == "looks ahead":
            before_BT = jnp.roll(x_BT, -1, axis=1)
        if fault == "looks past the mark":
            before_BT = jnp.pad(x_BT, ((0, 0), (1, 0)))[:, :-1]
        hidden_BTD = jnp.tanh(params["embed"][0, x_BT] + params["embed"][1, before_BT])
        if fault == "mixes rows":
            hidden_BTD = hidden_BTD - hidden_BTD.mean(0)
        activation = jnp.swapaxes(hidden_BTD, 0, 1) if fault == "time axis first" else hidden_BTD
        return hidden_BTD @ params["head"], {"hidden": activation}

    return Model(config, init, forward, *step_window(forward, 1 if fault == "forgets" else 2))


def test_a_new_model_is_one_line_in_the_table(monkeypatch):
    monkeypatch.setitem(MODELS, "pair", Entry(PairConfig, pair, Recipe()))
    case = make_case("pair", {})
    for law in LAWS:
        law(case)


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        ("looks ahead", test_causality),
        ("forgets", test_two_forms_are_one_function),
        ("forgets", test_sampled_lines_have_the_probability_that_forward_gives_them),
        ("looks past the mark", test_the_mark_starts_a_line),
        ("mixes rows", test_rows_are_independent_and_activations_have_them_first),
        ("time axis first", test_rows_are_independent_and_activations_have_them_first),
    ],
)
def test_a_model_that_breaks_a_law_is_found(monkeypatch, fault, law):
    monkeypatch.setitem(MODELS, "pair", Entry(PairConfig, cache(partial(pair, fault=fault))))
    case = make_case("pair", {})
    with pytest.raises(AssertionError):
        law(case)
