from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from makemore_jax import train
from makemore_jax.errors import InputError

KEY = jax.random.key(0)
PARAMS = {"w": jnp.array([3.0, -2.0])}
HYPER = {"learning_rate": jnp.float32(0.1)}


def loss(params, data, hyper, key):
    """A quadratic around a target that is drawn anew at each step."""
    return jnp.sum((params["w"] - data - jax.random.normal(key, (2,))) ** 2)


def momentum(hyper):
    return optax.sgd(hyper["learning_rate"], momentum=0.9)


DATA = jnp.array([1.0, 1.0])


def fit(count, hyper=HYPER, state=None, **options):
    """Parameters and losses of a run from the start, or from `state`."""
    chunks = [np.zeros(0)]
    state = train.start(PARAMS, hyper, momentum) if state is None else state
    keep = lambda state, losses: chunks.append(losses)
    state = train.fit(KEY, state, DATA, hyper, loss=loss, optimizer=momentum, count=count, on_chunk=keep, **options)
    return state.params, np.concatenate(chunks)


def test_run_is_the_loop_written_out():
    transform = optax.sgd(0.1, momentum=0.9)
    params, opt_state, losses = PARAMS, transform.init(PARAMS), []
    for i in range(11):
        value, grads = jax.value_and_grad(loss)(params, DATA, HYPER, jax.random.fold_in(KEY, i))
        updates, opt_state = transform.update(grads, opt_state)
        params = optax.apply_updates(params, updates)
        losses.append(value)
    got_params, got_losses = fit(count=11)
    chex.assert_trees_all_close(got_params, params, rtol=1e-5)
    np.testing.assert_allclose(got_losses, losses, rtol=1e-5)
    assert len(set(got_losses.tolist())) == 11  # each step draws anew


def test_chunks_do_not_matter():
    whole, chunked = fit(count=11, chunk=11), fit(count=11, chunk=3)
    chex.assert_trees_all_equal(whole, chunked)
    assert len(fit(count=0)[1]) == 0


def test_the_callers_parameters_stay():
    fit(count=3)
    chex.assert_trees_all_equal(PARAMS, {"w": jnp.array([3.0, -2.0])})


def test_many_runs_as_one_program_are_the_runs_alone():
    rates = jnp.array([0.1, 0.01])
    one = partial(train.run, loss=loss, optimizer=momentum, count=11)

    @jax.jit
    @jax.vmap
    def many(rate):
        hyper = {"learning_rate": rate}
        return one(KEY, train.start(PARAMS, hyper, momentum), DATA, hyper)

    states, losses = many(rates)
    params, alone = fit(count=11)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[0], states.params), params, rtol=1e-5)
    np.testing.assert_allclose(losses[0], alone, rtol=1e-5)
    assert not np.allclose(losses[0], losses[1], rtol=1e-2)


def test_a_diverging_run_stops_and_says_where():
    hyper = {"learning_rate": jnp.float32(1e9)}
    with pytest.raises(InputError, match=r"the loss is (inf|nan) at step \d+: diverged; lower the learning rate"):
        fit(100, hyper)


def test_second_run_compiles_nothing(compilations):
    with compilations() as first:
        fit(count=8, chunk=4)
    with compilations() as second:
        fit(count=8, chunk=4)
    assert first
    assert not second


def test_no_bar_without_a_terminal(capfd):
    fit(count=3, label="descent")
    assert capfd.readouterr() == ("", "")
