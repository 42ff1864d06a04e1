"""The laws that every model obeys, over the table of models. The weights are random, so that no law holds by chance."""

import inspect
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from makemore_jax.model import Model, scan_step, step_prefix
from makemore_jax.models import MODELS, backoff
from makemore_jax.sample import sample

V, B, T = 7, 3, 11  # distinct primes: a transposed axis cannot pass
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order
GPT = {"block": T, "layers": 2, "heads": 3, "embed": 18}
VARIANTS = {  # small prime sizes; the default of each is named by its model alone
    "ngram": [{"order": order} for order in (1, 2, 3, 4)],
    "backoff": [{"order": 4}, {"order": 3, "discount": "witten-bell"}],
    "mlp": [{"window": window, "embed": 5, "hidden": 17} for window in (3, T + 2)],
    "wavenet": [{"layers": 3, "cycle": 2, "channels": 5, "skip": 13}],
    "bow": [{"block": T, "embed": 5, "hidden": 13}],
    "rnn": [{"embed": 5, "hidden": 13}],
    "gru": [{"embed": 5, "hidden": 13}],
    "lstm": [{"embed": 5, "hidden": 13}],
    "transformer": [GPT, GPT | {"tied": True}, GPT | {"modern": True}],
}
CASES = [(name, options) for name in MODELS for options in VARIANTS.get(name, [{}])]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join([case[0], *map(str, case[1].values())]))
def case(request):
    """A model, parameters in general position, tokens, and its logits at once."""
    name, options = request.param
    config, build = MODELS[name]
    model = build(config(vocab=V, **options))
    random = np.random.default_rng(0)
    params = jax.jit(model.init)(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + jnp.float32(0.3 * random.normal(size=leaf.shape)), params)
    if name == "backoff":  # its parameters are a trie: those of random data stand for random weights
        stream = random.integers(0, V, 300)
        params = backoff.fit(config(vocab=V, **options), stream[:-1], stream[1:])
    x_BT = jnp.int32(random.integers(1, V, (B, T))).at[:, 0].set(0).at[[0, 0, 2], [4, 7, 9]].set(0)  # lines end to end
    return model, params, x_BT, jax.jit(model.apply)(params, x_BT), (name, options)


def test_logits_of_every_position(case):
    model, params, _, logits_BTV, (name, _) = case
    chex.assert_shape(logits_BTV, (B, T, V))
    chex.assert_tree_all_finite(logits_BTV)
    if name != "backoff":
        chex.assert_trees_all_equal_shapes_and_dtypes(params, jax.eval_shape(model.init, jax.random.key(1)))


def test_causality(case):
    """A change of the token at t changes no logits before t, and does change those at t (but for order 1)."""
    model, params, x_BT, logits_BTV, (name, options) = case
    apply = jax.jit(model.apply)
    for t in range(1, T):
        changed_BTV = apply(params, x_BT.at[:, t].set((x_BT[:, t] + 1) % V))
        chex.assert_trees_all_equal(changed_BTV[:, :t], logits_BTV[:, :t])
        blind = name == "ngram" and options["order"] == 1
        assert blind == np.allclose(changed_BTV[:, t], logits_BTV[:, t])


def test_two_forms_are_one_function(case):
    """Scanning `step` gives what `apply` gives, and so does running the whole prefix again at each token."""
    model, params, x_BT, logits_BTV, _ = case
    prefix_form = scan_step(*step_prefix(model.apply, T))
    for form in (scan_step(model.init_cache, model.step), prefix_form):
        chex.assert_trees_all_close(jax.jit(form)(params, x_BT), logits_BTV, **CLOSE)


def test_the_mark_starts_a_line(case):
    """Two lines end to end, the second from another step on in each row: its logits are those of it alone."""
    model, params, x_BT, logits_BTV, (name, options) = case
    begins_B = 2 + np.arange(B)
    row_B1, after_BT = np.arange(B)[:, None], np.arange(T) - begins_B[:, None]
    joined_BT = jnp.where(after_BT < 0, 1 + x_BT % (V - 1), x_BT[row_B1, after_BT]).at[:, 0].set(0)
    unmarked_BT = joined_BT.at[row_B1[:, 0], begins_B].set(1)
    for form in (model.apply, scan_step(model.init_cache, model.step)):
        logits, unmarked = jax.jit(form)(params, joined_BT), jax.jit(form)(params, unmarked_BT)
        for row, begins in enumerate(begins_B):
            chex.assert_trees_all_close(logits[row, begins:], logits_BTV[row, : T - begins], **CLOSE)
            follows = begins + 1  # what an order of 2 or less predicts is the same again, one later
            looks_back = name not in ("bigram", "ngram", "backoff") or options.get("order", 2) > 2
            assert looks_back != np.allclose(unmarked[row, follows], logits[row, follows], atol=1e-3)


def test_cached_sampling_is_sampling_by_the_whole_prefix(case):
    """Token by token, and in one program each: the cache holds all that the prefix says."""
    model, params, *_ = case
    oracle = Model(model.init, model.apply, *step_prefix(model.apply, T))
    drawn, expected = (sample(jax.random.key(0), form, params, [[]] * 5 + [[2, 3]], T) for form in (model, oracle))
    assert len({tuple(row) for row in drawn.token_BT.tolist()}) > 2
    assert np.array_equal(drawn.token_BT, expected.token_BT)
    chex.assert_trees_all_close(drawn.log_prob_B, expected.log_prob_B, **CLOSE)


def test_rows_are_independent(case):
    """A row's logits do not depend on the other rows."""
    model, params, x_BT, logits_BTV, _ = case
    assert not np.array_equal(x_BT[0], x_BT[1])
    chex.assert_trees_all_close(jax.jit(model.apply)(params, x_BT[1:2]), logits_BTV[1:2], **CLOSE)


def test_without_jit_the_same(case):
    model, params, x_BT, logits_BTV, _ = case
    with jax.disable_jit():
        chex.assert_trees_all_close(model.apply(params, x_BT), logits_BTV, **CLOSE)


def test_runs_vmap_over_parameters(case):
    """Many parameter sets at once, as in a sweep over seeds, are each what it is alone; and they differ."""
    model, params, x_BT, logits_BTV, (name, _) = case
    if name == "backoff":
        pytest.skip("it is not trained")
    params_S = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    logits_SBTV = jax.jit(jax.vmap(model.apply, (0, None)))(params_S, x_BT)
    chex.assert_trees_all_close(logits_SBTV[0], logits_BTV, **CLOSE)
    assert not np.allclose(logits_SBTV[0], logits_SBTV[1], atol=1e-2)


def test_inner_values_come_with_the_same_logits(case):
    """`inner=True` adds a dict of what the forward pass made on its way; one of its axes is time."""
    model, params, x_BT, logits_BTV, _ = case
    if "inner" not in inspect.signature(model.apply).parameters:
        pytest.skip("its logits are all there is")
    same_BTV, inner = jax.jit(partial(model.apply, inner=True))(params, x_BT)
    chex.assert_trees_all_close(same_BTV, logits_BTV, **CLOSE)
    assert all({B, T} <= set(value.shape) for value in inner.values())


def test_equal_configs_give_the_same_functions():
    for name, options in CASES:
        config, build = MODELS[name]
        assert build(config(vocab=V, **options)) is build(config(vocab=V, **options))
        assert build(config(vocab=V, **options)) is not build(config(vocab=V + 1, **options))
