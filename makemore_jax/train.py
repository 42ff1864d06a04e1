"""Gradient descent: a state, one step, a run of steps as one program, and the host loop around it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from makemore_jax.errors import InputError
from makemore_jax.model import Params


class TrainState(NamedTuple):
    """All that a run carries from step to step; with the run's key and data it determines the rest of the run."""

    params: Params
    opt_state: optax.OptState
    step: jax.Array  # int32: steps taken


def start(params: Params, hyper: Any, optimizer: Callable) -> TrainState:
    """The state before the first step. It holds copies, so that a run may overwrite it and not `params`."""
    params = jax.tree.map(jnp.copy, params)
    return TrainState(params, optimizer(hyper).init(params), jnp.int32(0))


def run(
    key: jax.Array,
    state: TrainState,
    data: Any,
    hyper: Any,
    *,
    loss: Callable,
    optimizer: Callable,
    count: int,
) -> tuple[TrainState, jax.Array]:
    """Take `count` steps; returns the state and the loss before each step, (count,).

    A pure function: jit it for one run, vmap it over `key`, `state` or `hyper` for many.

    Args:
      key: the run's key; step i draws from `fold_in(key, i)` alone, so a run resumes from its state.
      state: from `start`, or from the steps before.
      data: whatever `loss` reads, as an argument (a closed-over array would be a constant of the program).
      hyper: a pytree of floats (rates, penalties); arrays, so that `vmap` trains many settings as one program.
      loss: (params, data, hyper, key) -> scalar.
      optimizer: (hyper) -> optax.GradientTransformation.
    """
    transform = optimizer(hyper)

    def step(state: TrainState, _):
        value, grads = jax.value_and_grad(loss)(state.params, data, hyper, jax.random.fold_in(key, state.step))
        updates, opt_state = transform.update(grads, state.opt_state, state.params)
        return TrainState(optax.apply_updates(state.params, updates), opt_state, state.step + 1), value

    return jax.lax.scan(step, state, length=count)


# One chunk of a run. The old state is donated: its memory becomes the new state's.
_chunk = jax.jit(run, static_argnames=("loss", "optimizer", "count"), donate_argnames="state")


def fit(
    key: jax.Array,
    params: Params,
    data: Any,
    hyper: Any,
    *,
    loss: Callable,
    optimizer: Callable,
    count: int,
    chunk: int = 20,
    label: str | None = None,
) -> tuple[Params, np.ndarray]:
    """`count` steps in chunks of `chunk`, with a progress bar named `label` (none without it, or without a terminal).

    Returns the parameters and the loss before each step, (count,) float32.

    Raises:
      InputError: the loss is no longer finite; says at which step.
    """
    state = start(params, hyper, optimizer)
    losses = []
    with tqdm(total=count, desc=label, unit="step", disable=None if label else True, leave=False) as bar:
        while (done := int(state.step)) < count:
            some = min(chunk, count - done)
            state, loss_values = _chunk(key, state, data, hyper, loss=loss, optimizer=optimizer, count=some)
            losses.append(np.asarray(loss_values))
            if (bad := np.flatnonzero(~np.isfinite(losses[-1]))).size:
                value, step = losses[-1][bad[0]], done + bad[0]
                raise InputError(
                    f"the loss is {value} at step {step}: diverged; lower the learning rate or the penalty"
                )
            bar.update(some)
            bar.set_postfix(loss=f"{losses[-1][-1]:.4f}")
    return state.params, np.concatenate(losses) if losses else np.zeros(0, np.float32)
