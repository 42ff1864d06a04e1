"""A training run as two pure functions, `Training(init, steps)`, closed over the loss, the data and the optimiser.

The batch at step i is a function of the run's key and i only, so a run resumes from its state as if it had never
stopped.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from makemore_jax.data.batches import BatchPlan, draw_batch, plan_batches
from makemore_jax.data.corpus import Corpus
from makemore_jax.data.tokens import Tokens
from makemore_jax.errors import require, require_kinds
from makemore_jax.learning.objective import Loss, Objective, batch_loss, masked_nll
from makemore_jax.learning.transforms import accumulated, bfloat16, dropout, remat
from makemore_jax.models.interface import Model, Params, require_context
from makemore_jax.recipe import Optimizer, Recipe, averaged, optimizer_of


class TrainState(NamedTuple):
    """The state that a run carries from step to step; with the data it determines the rest of the run."""

    params: Params
    opt_state: optax.OptState
    step: jax.Array  # int32: the number of steps taken
    key: jax.Array  # the run's key: step i draws only from `fold_in(key, i)`
    hyper: Any  # a pytree of floats, such as the learning rate, as arrays so that `vmap` can train many at once

    @property
    def weights(self) -> Params:
        """The parameters to evaluate and to keep, or their moving average if the recipe has one."""
        return averaged(self.params, self.opt_state)


class Steps(Protocol):
    """Take `count` steps; return the state and the loss before each step, (count,)."""

    def __call__(self, state: TrainState, count: int) -> tuple[TrainState, jax.Array]: ...


class Start(Protocol):
    """Make the state before the first step; the recipe's `hyper` and random `params` are the defaults."""

    def __call__(self, key: jax.Array, hyper: Any = None, params: Params | None = None) -> TrainState: ...


class Training(NamedTuple):
    """A training run as a pair of pure functions, like `Model` for a network and optax's GradientTransformation.

    Both are compiled. To train many runs at once, `vmap` `init` over its arguments and `steps` over `state`.
    """

    init: Start
    steps: Steps


def init_state(params: Params, key: jax.Array, hyper: Any, optimizer: Optimizer) -> TrainState:
    """Make the state before the first step."""
    # Copy the arguments, since a run may donate its own buffers but not the caller's.
    params, key, hyper = jax.tree.map(jnp.copy, (params, key, hyper))
    with lenient():
        return TrainState(params, optimizer(hyper).init(params), jnp.int32(0), key, hyper)


@contextlib.contextmanager
def lenient() -> Iterator[None]:
    """Allow JAX's default promotion of ranks and types, on which optax relies, even if the caller forbids it."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def train_steps(
    state: TrainState, data: Any, *, loss: Loss, optimizer: Optimizer, count: int, stacked: bool = False
) -> tuple[TrainState, jax.Array]:
    """Take `count` steps; return the state and the loss before each step, (count,).

    This is a pure function: jit it for one run, vmap it over `state` for many.

    Args:
      state: from `init_state` or from earlier steps.
      data: the data that `loss` reads.
      loss: the quantity to minimise.
      optimizer: builds the gradient transformation.
      count: the number of steps.
      stacked: `data` holds the data of each step, stacked along a leading axis of `count`.
    """
    transform = optimizer(state.hyper)

    def body(carry: tuple, slice_of_data: Any) -> tuple[tuple, jax.Array]:
        params, opt_state, step = carry
        read = slice_of_data if stacked else data
        value, grads = jax.value_and_grad(loss)(params, read, state.hyper, jax.random.fold_in(state.key, step))
        with lenient():
            updates, opt_state = transform.update(grads, opt_state, params)
            params = optax.apply_updates(params, updates)
        return (params, opt_state, step + 1), value

    carry, losses_N = jax.lax.scan(body, state[:3], data if stacked else None, length=count)
    return TrainState(*carry, state.key, state.hyper), losses_N


@cache
def jitted_steps(in_place: bool = False) -> Callable[..., tuple[TrainState, jax.Array]]:
    """Compile `train_steps`; `in_place` donates the buffers of the old state, which saves a copy but destroys it."""
    static = ("loss", "optimizer", "count", "stacked")
    return jax.jit(train_steps, static_argnames=static, donate_argnames="state" if in_place else ())


def steps_on(data: Any, loss: Loss, optimizer: Optimizer, in_place: bool = False) -> Steps:
    """Bind compiled `train_steps` to this data; for `in_place` see `jitted_steps`."""
    compiled = jitted_steps(in_place)

    def steps(state: TrainState, count: int) -> tuple[TrainState, jax.Array]:
        return compiled(state, data, loss=loss, optimizer=optimizer, count=count)

    return steps


def unchanged(nll: Objective) -> Objective:
    """Return the objective itself, as one device needs it."""
    return nll


class Placement(NamedTuple):
    """The functions through which a run uses its devices; the defaults are for one, `distributed.mesh` has others."""

    rows: int = 1  # the rows of a batch are a multiple of this
    share: Callable[[Objective], Objective] = unchanged  # divides the rows among the devices
    make: Callable[..., TrainState] = lambda begin, *args: begin(*args)  # makes a state where it is stored
    copy: Callable[[Any], Any] = jax.device_put  # puts a whole tree on every device


ONE_DEVICE = Placement()


def training(
    model: Model, corpus: Corpus, recipe: Recipe = Recipe(), *, placement: Placement = ONE_DEVICE, in_place=False
) -> Training:
    """Make the two functions that train a model on the train lines of a corpus; for `in_place` see `steps_on`.

    Raises:
      InputError: the recipe's batch was chosen and holds more lines than there are, a line is longer than the model's
        context, the vocabularies differ, or the model does not support an option of the recipe.
    """
    require_kinds(model=model, corpus=corpus, recipe=recipe)
    streamed = "streamed data needs distributed.feed.training; use that, or load the data into memory"
    require(not corpus.streamed, streamed)
    tokens, plan = plan_of(model, corpus, recipe, placement.rows)
    loss = loss_of(model, recipe, plan, placement.share)
    steps = steps_on(placement.copy(tokens), loss, optimizer_of(recipe), in_place)
    return Training(start_of(model, recipe, placement), steps)


def plan_of(model: Model, corpus: Corpus, recipe: Recipe, rows: int = 1) -> tuple[Tokens, BatchPlan]:
    """Return the train lines sorted by length, and the plan of their batches; raise `InputError` as `training` does."""
    lines, found = len(corpus.tokens.train.length_N), corpus.vocab.size
    require(model.vocab == found, f"the model is for {model.vocab} symbols; build it for the {found} of the data")
    require_context(model, corpus.context)
    return plan_batches(corpus.tokens.train, recipe.fitted(lines).batch, rows, recipe.micro_batches)


@cache  # equal recipes give the same function, and JAX compiles it once
def objective_of(model: Model, recipe: Recipe, share: Callable[[Objective], Objective] = unchanged) -> Objective:
    """Make the objective of a recipe; `share` divides the rows of a micro-batch among devices."""
    dropped = recipe.dropout == 0 or "dropout" in model.supports
    require(dropped, "this model has no dropout; set `dropout` to 0")
    blocks = not recipe.remat or "remat" in model.supports
    require(blocks, "this model has no blocks to recompute; set `remat` to False")
    nll = masked_nll(model)
    if recipe.dropout:
        nll = dropout(nll, recipe.dropout)
    if recipe.remat:
        nll = remat(nll)
    nll = share(nll)
    if recipe.bfloat16:
        nll = bfloat16(nll)
    return accumulated(nll) if recipe.micro_batches > 1 else nll


@cache  # equal plans give the same function, and JAX compiles it once
def loss_of(model: Model, recipe: Recipe, plan: BatchPlan, share: Callable[[Objective], Objective] = unchanged) -> Loss:
    """Make the loss of a recipe on batches that are drawn inside the program."""
    return batch_loss(objective_of(model, recipe, share), partial(draw_batch, plan), plan.tokens)


def start_of(model: Model, recipe: Recipe, placement: Placement = ONE_DEVICE) -> Start:
    """Make the `init` of a `Training`."""

    def init(key: jax.Array, hyper: Any = None, params: Params | None = None) -> TrainState:
        hyper = recipe.hyper if hyper is None else hyper
        return placement.make(partial(first_state, model, recipe), key, hyper, params)

    return init


def first_state(model: Model, recipe: Recipe, key: jax.Array, hyper: Any, params: Params | None = None) -> TrainState:
    """Make the state of a run before its first step; parameters are random by default."""
    init_key, run_key, _ = jax.random.split(key, 3)  # the third is for samples
    return _with_optimizer(_random(init_key, model) if params is None else params, run_key, hyper, recipe)


@partial(jax.jit, static_argnames="model")
def _random(key: jax.Array, model: Model) -> Params:
    """Draw random parameters in a separate program: it takes long to compile, and other recipes can reuse it."""
    return model.init(key)


@partial(jax.jit, static_argnames="recipe")
def _with_optimizer(params: Params, key: jax.Array, hyper: Any, recipe: Recipe) -> TrainState:
    return init_state(params, key, hyper, optimizer_of(recipe))
