"""Gradient descent in two pure functions: `Training(init, steps)`, and the host loop around them.

The batch at step i is a function of the run's key and i alone, so a run continues from its state as if it had never
stopped.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from makemore_jax.data.corpus import Corpus
from makemore_jax.data.tokens import BatchPlan, Tokens, batch, host_batches, plan_batches
from makemore_jax.data.vocab import MARK
from makemore_jax.errors import InputError, require
from makemore_jax.loss import token_nll
from makemore_jax.model import Model, Params, require_block
from makemore_jax.nn import sample_network
from makemore_jax.progress import progress_bar
from makemore_jax.recipe import Recipe, adamw, averaged
from makemore_jax.sharding import data_parallel


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
    state: TrainState, data: Any, *, loss: Callable, optimizer: Callable, count: int
) -> tuple[TrainState, jax.Array]:
    """Take `count` steps; returns the state and the loss before each step, (count,).

    A pure function: jit it for one run, vmap it over `state` for many.

    Args:
      state: from `init_state`, or from the steps before.
      data: whatever `loss` reads.
      loss: (params, data, hyper, key) -> scalar.
      optimizer: (hyper) -> optax.GradientTransformation.
      count: the number of steps.
    """
    transform = optimizer(state.hyper)

    def body(carry, _):
        params, opt_state, step = carry
        value, grads = jax.value_and_grad(loss)(params, data, state.hyper, jax.random.fold_in(state.key, step))
        updates, opt_state = transform.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state, step + 1), value

    carry, losses_N = jax.lax.scan(body, state[:3], length=count)
    return TrainState(*carry, state.key, state.hyper), losses_N


_static = ("loss", "optimizer", "count")
_steps = jax.jit(train_steps, static_argnames=_static)
_steps_in_place = jax.jit(train_steps, static_argnames=_static, donate_argnames="state")


@jax.jit
def _all_finite(params: Params) -> jax.Array:
    return jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()


def steps_on(data: Any, loss: Callable, optimizer: Callable, in_place: bool = False) -> Callable:
    """`train_steps` on this data, compiled: (state, count) -> (state, losses_N).

    `in_place` donates the buffers of the old state to the new one: that saves a copy and invalidates the old state.
    """
    compiled = _steps_in_place if in_place else _steps
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


def draw(key: jax.Array, lines: int, count: int) -> jax.Array:
    """Stratified sampling: (count,) line numbers, one drawn uniformly from each of `count` equal strata.

    The strata divide range(lines): number n is floor((n + u) / count * lines) for u uniform in [0, 1), so every line is
    drawn equally often. A sum over the batch is an unbiased estimate, of less variance than one over independent draws.
    """
    first_N, rest_N = np.divmod(np.arange(count) * lines, count)
    offset_N = jax.random.randint(key, (count,), 0, lines)
    return jnp.int32(first_N) + (jnp.int32(rest_N) + offset_N) // count  # in integers, no rounding


@cache
def batch_loss(model: Model, plan: BatchPlan, recipe: Recipe, get_batch: Callable = batch) -> Callable:
    """The loss of a recipe, (params, tokens, hyper, key) -> mean nats per token, estimated from a random batch.

    `tokens` and `plan` come from `plan_batches`, for the lines of one micro-batch. `get_batch` is `batch`, or
    `host_batches(tokens)` for tokens that stay on the host.
    """
    dtype, packing = jnp.bfloat16 if recipe.bfloat16 else jnp.float32, plan.packing

    def sum_nll(params: Params, tokens: Tokens, line_N: jax.Array, key: jax.Array) -> jax.Array:
        """The sum over the lines of one micro-batch."""
        params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
        x_BT, y_BT, mask_BT = get_batch(tokens, line_N[packing.segment_BT], packing.position_BT)
        if recipe.token_dropout:
            x_BT = replace_some(key, x_BT)
        if recipe.dropout:
            params = sample_network(params, jax.random.fold_in(key, 1), jnp.float32(recipe.dropout))
        logits_BTV = model.apply(params, x_BT).astype(jnp.float32)
        return jnp.where(mask_BT, token_nll(logits_BTV, y_BT), 0).sum()

    def replace_some(key: jax.Array, x_BT: jax.Array) -> jax.Array:
        """Token dropout: replace some symbols with random ones, but never a mark."""
        drop_key, symbol_key = jax.random.split(key)
        drop_BT = jax.random.bernoulli(drop_key, recipe.token_dropout, x_BT.shape) & (x_BT != MARK)
        return jnp.where(drop_BT, jax.random.randint(symbol_key, x_BT.shape, 1, model.vocab), x_BT)

    def loss(params: Params, tokens: Tokens, hyper: dict, key: jax.Array) -> jax.Array:
        line_key, drop_key = jax.random.split(key)
        line_N = draw(line_key, plan.lines, recipe.batch)
        if recipe.micro_batches == 1:
            total = sum_nll(params, tokens, line_N, drop_key)
        else:  # forward and backward for one part at a time; each part has lines of all lengths
            parts = line_N.reshape(-1, recipe.micro_batches).T, jax.random.split(drop_key, recipe.micro_batches)
            total = jax.lax.map(lambda part: jax.checkpoint(sum_nll)(params, tokens, *part), parts).sum()
        return total / (recipe.batch * plan.line_tokens)

    return loss


@cache
def has_dropout(model: Model) -> bool:
    """Whether the model uses dropout: whether any of its operations reads the key of `sample_network`."""
    key = jax.random.key(0)
    apply = lambda key, params, x_BT: model.apply(sample_network(params, key, jnp.float32(0.5)), x_BT)
    program = jax.make_jaxpr(apply)(key, jax.eval_shape(model.init, key), jnp.zeros((1, 2), jnp.int32)).jaxpr
    return any(program.invars[0] in operation.invars for operation in program.eqns)


class Training(NamedTuple):
    """A training run as a pair of pure functions, like `Model` for a network and optax's GradientTransformation.

    Both are jitted. `vmap` them, `init` over its arguments and `steps` over `state`, to train many runs as one program.
    """

    init: Callable  # (key, hyper=recipe.hyper) -> TrainState
    steps: Callable  # (state, count)            -> TrainState, losses_N: the loss before each step


@partial(jax.jit, static_argnames=("model", "recipe"))
def _init(key: jax.Array, hyper: Any, model: Model, recipe: Recipe) -> TrainState:
    init_key, run_key, _ = jax.random.split(key, 3)  # the third is for samples
    return init_state(model.init(init_key), run_key, hyper, adamw(recipe))


def training(
    model: Model, corpus: Corpus, recipe: Recipe = Recipe(), *, devices: int = 1, in_place: bool = False
) -> Training:
    """Train a model on the train lines of a corpus. `devices` share the rows of a batch; for `in_place` see `steps_on`.

    Raises:
      InputError: a batch holds more lines than there are, a line is longer than the model's block, the vocabularies
        differ, the model has no dropout and the recipe asks for it, or there are fewer devices.
    """
    lines = len(corpus.tokens.train.length_N)
    found = corpus.vocab.size
    require(model.vocab == found, f"the model is for {model.vocab} symbols; the data has {found}")
    require(
        recipe.batch <= lines,
        f"a batch holds {recipe.batch} lines, and there are {lines} to train on; add lines, or lower `batch`",
    )
    require(recipe.dropout == 0 or has_dropout(model), "this model has no dropout; set `dropout` to 0")
    require_block(model, corpus.block)
    tokens, plan = plan_batches(corpus.tokens.train, recipe.batch // recipe.micro_batches, rows=devices)
    get_batch, replicate = data_parallel(devices, host_batches(tokens) if corpus.streamed else batch)
    data, loss = () if corpus.streamed else replicate(tokens), batch_loss(model, plan, recipe, get_batch)

    def init(key: jax.Array, hyper: Any = recipe.hyper) -> TrainState:
        state = _init(key, hyper, model, recipe)
        return state if devices == 1 else replicate(state)

    return Training(init, steps_on(data, loss, adamw(recipe), in_place))
