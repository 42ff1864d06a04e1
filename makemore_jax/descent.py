"""Gradient descent on any loss: steps as a pure function of the state, and the host loop around them."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from makemore_jax.errors import InputError
from makemore_jax.model import Params
from makemore_jax.progress import progress_bar
from makemore_jax.recipe import averaged


class TrainState(NamedTuple):
    """Everything that a run carries from step to step; with the data it determines the rest of the run."""

    params: Params
    opt_state: optax.OptState
    step: jax.Array  # int32: steps taken
    key: jax.Array  # the run's key: step i draws from `fold_in(key, i)` alone
    hyper: Any  # a pytree of floats, such as the learning rate; arrays, so `vmap` trains many settings at once

    @property
    def weights(self) -> Params:
        """The parameters to evaluate and to keep: their moving average if the recipe asks for one."""
        return averaged(self.params, self.opt_state)


def init_state(params: Params, key: jax.Array, hyper: Any, optimizer: Callable) -> TrainState:
    """The state before the first step, for an `optimizer`: (hyper) -> optax.GradientTransformation."""
    # Copies, since a run may donate its buffers, and must not donate the caller's.
    params, key, hyper = jax.tree.map(jnp.copy, (params, key, hyper))
    return TrainState(params, optimizer(hyper).init(params), jnp.int32(0), key, hyper)


def train_steps(
    state: TrainState, data: Any, *, loss: Callable, optimizer: Callable, count: int, each: bool = False
) -> tuple[TrainState, jax.Array]:
    """Take `count` steps; returns the state and the loss before each step, (count,).

    A pure function: jit it for one run, vmap it over `state` for many.

    Args:
      state: from `init_state`, or from the steps before.
      data: whatever `loss` reads.
      loss: (params, data, hyper, key) -> scalar.
      optimizer: (hyper) -> optax.GradientTransformation.
      count: the number of steps.
      each: `data` holds the data of each step, stacked along a leading axis of `count`.
    """
    transform = optimizer(state.hyper)

    def body(carry, one):
        params, opt_state, step = carry
        read = one if each else data
        value, grads = jax.value_and_grad(loss)(params, read, state.hyper, jax.random.fold_in(state.key, step))
        updates, opt_state = transform.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state, step + 1), value

    carry, losses_N = jax.lax.scan(body, state[:3], data if each else None, length=count)
    return TrainState(*carry, state.key, state.hyper), losses_N


@cache
def jitted_steps(in_place: bool = False) -> Callable:
    """`train_steps`, compiled. `in_place` donates the buffers of the old state: no copy, and the old state is gone."""
    static = ("loss", "optimizer", "count", "each")
    return jax.jit(train_steps, static_argnames=static, donate_argnames="state" if in_place else ())


@jax.jit
def _all_finite(params: Params) -> jax.Array:
    return jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()


def steps_on(data: Any, loss: Callable, optimizer: Callable, in_place: bool = False) -> Callable:
    """`train_steps` on this data, compiled: (state, count) -> (state, losses_N); for `in_place` see `jitted_steps`."""
    compiled = jitted_steps(in_place)
    return lambda state, count: compiled(state, data, loss=loss, optimizer=optimizer, count=count)


def train_loop(
    steps: Callable,
    state: TrainState,
    until: int,
    *,
    chunk: int = 20,
    label: str | None = None,
    progress: bool = True,
    on_chunk: Callable[[TrainState, np.ndarray], bool | None] = lambda state, losses_N: None,
    note: Callable[[], dict] = dict,
) -> TrainState:
    """Train until state.step == until, `chunk` steps per call of `steps`: (state, count) -> (state, losses_N).

    After each chunk, `on_chunk(state, losses of the chunk)` is called; training stops if it returns true. A progress
    bar named `label` shows the loss and what `note()` returns.

    Raises:
      InputError: the loss is infinite or NaN; the message says at which step. `on_chunk` is not called for that chunk.
    """
    taken, stop = int(state.step), False
    with progress_bar(until, label, progress, initial=taken, unit="step") as bar:
        while taken < until and not stop:
            count = min(chunk - taken % chunk, until - taken)  # chunks end at multiples, wherever it resumed
            state, losses_N = steps(state, count)
            losses_N = np.asarray(losses_N)
            if (bad := np.flatnonzero(~np.isfinite(losses_N))).size:
                raise InputError(
                    f"the loss is {losses_N[bad[0]]} at step {taken + bad[0]}: training diverged; "
                    "lower the learning rate or the penalty"
                )
            taken += count
            if taken == until and not _all_finite(state.params):
                raise InputError("training diverged in the last step; lower the learning rate or the penalty")
            bar.update(count)
            stop = on_chunk(state, losses_N)
            bar.set_postfix(loss=f"{losses_N[-1]:.4f}", **note())
    return state
