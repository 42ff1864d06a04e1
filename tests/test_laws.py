"""The laws that every model obeys, over the table of models. The weights are random, so that no law holds by chance."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from makemore_jax.model import scan_step, step_prefix
from makemore_jax.models import MODELS

V, B, T = 7, 3, 11  # distinct primes: a transposed axis cannot pass
VARIANTS = {"ngram": [{"order": order} for order in (1, 2, 3, 4)]}
CASES = [(name, options) for name in MODELS for options in VARIANTS.get(name, [{}])]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join([case[0], *map(str, case[1].values())]))
def case(request):
    """A model, parameters in general position, tokens, and its logits at once."""
    name, options = request.param
    config, build = MODELS[name]
    model = build(config(vocab=V, **options))
    key, init_key, token_key = jax.random.split(jax.random.key(0), 3)
    leaves, tree = jax.tree.flatten(model.init(init_key))
    keys = jax.random.split(key, len(leaves))
    params = tree.unflatten([leaf + jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys, strict=True)])
    x_BT = jax.random.randint(token_key, (B, T), 0, V).at[:, 0].set(0)
    return model, params, x_BT, jax.jit(model.apply)(params, x_BT), (name, options)


def test_logits_of_every_position(case):
    model, params, _, logits_BTV, _ = case
    chex.assert_shape(logits_BTV, (B, T, V))
    chex.assert_tree_all_finite(logits_BTV)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, model.init(jax.random.key(1)))


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
        chex.assert_trees_all_close(jax.jit(form)(params, x_BT), logits_BTV, atol=1e-5)


def test_rows_are_independent(case):
    """A row's logits do not depend on the other rows."""
    model, params, x_BT, logits_BTV, _ = case
    assert not np.array_equal(x_BT[0], x_BT[1])
    chex.assert_trees_all_close(jax.jit(model.apply)(params, x_BT[1:2]), logits_BTV[1:2], atol=1e-6)


def test_without_jit_the_same(case):
    model, params, x_BT, logits_BTV, _ = case
    with jax.disable_jit():
        chex.assert_trees_all_close(model.apply(params, x_BT), logits_BTV, atol=1e-6)


def test_runs_vmap_over_parameters(case):
    """Many parameter sets at once, as in a sweep over seeds, are each what it is alone; and they differ."""
    model, params, x_BT, logits_BTV, _ = case
    params_S = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    logits_SBTV = jax.vmap(model.apply, (0, None))(params_S, x_BT)
    chex.assert_trees_all_close(logits_SBTV[0], logits_BTV, atol=1e-5)
    assert not np.allclose(logits_SBTV[0], logits_SBTV[1], atol=1e-2)


def test_equal_configs_give_the_same_functions():
    for name, options in CASES:
        config, build = MODELS[name]
        assert build(config(vocab=V, **options)) is build(config(vocab=V, **options))
        assert build(config(vocab=V, **options)) is not build(config(vocab=V + 1, **options))
