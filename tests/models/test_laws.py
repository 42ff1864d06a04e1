"""The laws that every model obeys, over the table of models. The weights are random, so that no law holds by chance."""

import inspect
from dataclasses import dataclass
from functools import cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from makemore_jax.inference.sampler import sample_tokens
from makemore_jax.models.interface import Model, positions, scan_step, shift_in_line, step_prefix, step_window
from makemore_jax.models.registry import MODELS, Entry, configure
from makemore_jax.recipe import Recipe
from tests.cases import CASES, B, T, V, label, make_case, on_host, shared_case, sizes_of, variant

CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order


@pytest.fixture(scope="module", params=CASES, ids=label)
def case(request):
    return shared_case(request.param)


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


def test_drawn_lines_have_the_probability_that_forward_gives_them(case):
    """Drawn token by token from `step`, then read at once: the cache holds all that the prefix says."""
    noise_BTV = np.random.default_rng(0).gumbel(size=(B, T, V))
    x_BT, stepped_BT = np.zeros((B, T + 1), np.int32), np.zeros((B, T))
    for t in range(T):
        log_prob_BV = log_softmax(case.stepped(case.params, x_BT[:, :T])[0][:, t], axis=-1)
        x_BT[:, t + 1] = (log_prob_BV + noise_BTV[:, t]).argmax(-1)
        stepped_BT[:, t] = log_prob_BV[np.arange(B), x_BT[:, t + 1]]
    assert len({tuple(row) for row in x_BT.tolist()}) == B
    chex.assert_trees_all_close(stepped_BT, read_at_once(case, x_BT[:, 1:]), **CLOSE)


def read_at_once(case, y_BT):
    """(B, T) the log-probability of each token after the ones before it, by `forward`."""
    x_BT = np.pad(y_BT, ((0, 0), (1, 0)))[:, :-1]
    log_prob_BTV = log_softmax(case.forward(case.params, x_BT)[0], axis=-1)
    return np.take_along_axis(log_prob_BTV, y_BT[..., None], axis=-1)[..., 0]


def sampled_lines_have_the_probability_that_forward_gives_them(case):
    drawn = sample_tokens(jax.random.key(1), case.model, case.params, [[], [], [2, 3]], T)
    assert len({tuple(row) for row in drawn.token_BT.tolist()}) == B
    assert drawn.token_BT[2, :2].tolist() == [2, 3]
    in_line_BT = np.cumsum(drawn.token_BT == 0, axis=1) - (drawn.token_BT == 0) == 0
    log_prob_BT = read_at_once(case, drawn.token_BT)
    chex.assert_trees_all_close(drawn.log_prob_B, np.where(in_line_BT, log_prob_BT, 0).sum(-1), **CLOSE)


@pytest.mark.parametrize("name", ["mlp", "gru", "transformer"])
def test_sampled_lines_have_the_probability_that_forward_gives_them(name):
    """By the sampler itself, of one model that reads a window, one with a state, and one with a cache of the line."""
    sampled_lines_have_the_probability_that_forward_gives_them(shared_case((name, 0)))


def test_rows_are_independent_and_activations_have_them_first(case):
    """A row among copies of itself has the logits and the activations of that row in the batch."""
    assert not np.array_equal(case.x_BT[0], case.x_BT[1])
    copied = lambda value: np.repeat(value[1:2], B, axis=0)
    logits_BTV, activations = case.forward(case.params, copied(case.x_BT))
    chex.assert_trees_all_close(logits_BTV, copied(case.logits_BTV), **CLOSE)
    chex.assert_tree_all_finite(case.activations)
    assert all(isinstance(name, str) for name in case.activations)
    chex.assert_trees_all_close(activations, jax.tree.map(copied, case.activations), **CLOSE)


def test_runs_vmap_over_parameters(case):
    """Many parameter sets at once, as in a sweep over seeds, are each what it is alone; and they differ."""
    if case.indexes:
        pytest.skip("a trie is not trained")
    params_S = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), case.params)
    logits_SBTV = on_host(jax.vmap(case.model.apply, (0, None)))(params_S, case.x_BT)
    chex.assert_trees_all_close(logits_SBTV[0], case.logits_BTV, **CLOSE)
    assert not np.allclose(logits_SBTV[0], logits_SBTV[1], atol=1e-2)


def test_what_every_model_has_by_its_adapters():
    """`apply` gives the logits of `forward`, and so does running the whole prefix again at each token."""
    case = shared_case(("transformer", 0))
    apply, prefix_form = case.model.apply, on_host(scan_step(*step_prefix(case.model.forward, T)))
    assert apply is case.model.apply  # or jit would compile it again each time
    chex.assert_trees_all_close(jax.jit(apply)(case.params, case.x_BT), case.logits_BTV, **CLOSE)
    chex.assert_trees_all_close(prefix_form(case.params, case.x_BT)[0], case.logits_BTV, **CLOSE)


TESTS = [test for name, test in globals().items() if name.startswith("test_")]
LAWS = [test for test in TESTS if "case" in inspect.signature(test).parameters]


def test_equal_configs_give_the_same_functions():
    for name, number in CASES:
        sizes = [variant((name, number)) | {"vocab": size} for size in (V, V, V + 1)]
        config, again, other = (configure(name, **sizes_of(name, of_case)) for of_case in sizes)
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
        ("forgets", test_drawn_lines_have_the_probability_that_forward_gives_them),
        ("forgets", sampled_lines_have_the_probability_that_forward_gives_them),
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
