"""Gradient descent: a state, a run of steps as one pure function, the host loop around it, a recipe for neural models.

The batch at step i is a function of the run's key and i alone, so that a run goes on from its state as if it had never
stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from makemore_jax.data import MARK, Plan, Tokens, batch
from makemore_jax.errors import InputError, check_float, require
from makemore_jax.loss import token_nll
from makemore_jax.model import Model, Params


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
    state: TrainState,
    data: Any,
    hyper: Any,
    *,
    loss: Callable,
    optimizer: Callable,
    count: int,
    chunk: int = 20,
    label: str | None = None,
    on_chunk: Callable[[TrainState, np.ndarray], bool | None] = lambda state, losses: None,
    note: Callable[[], dict] = dict,
) -> TrainState:
    """Go on until `count` steps were taken, in chunks of `chunk`; `state` is consumed.

    After each chunk comes `on_chunk(state, losses of the chunk)`; the run stops where it returns true. A progress bar
    named `label` shows the loss, and what `note()` adds (none without a label, or without a terminal).

    Raises:
      InputError: the loss is no longer finite; says at which step. `on_chunk` has not seen that chunk.
    """
    taken, stop = int(state.step), False
    with tqdm(total=count, initial=taken, desc=label, unit="step", disable=None if label else True, leave=False) as bar:
        while taken < count and not stop:
            some = min(chunk - taken % chunk, count - taken)  # chunks end at multiples, wherever the run began
            state, losses = _chunk(key, state, data, hyper, loss=loss, optimizer=optimizer, count=some)
            losses = np.asarray(losses)
            if (bad := np.flatnonzero(~np.isfinite(losses))).size:
                raise InputError(
                    f"the loss is {losses[bad[0]]} at step {taken + bad[0]}: diverged; "
                    "lower the learning rate or the penalty"
                )
            taken += some
            if taken == count and not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params)):
                raise InputError("the last step diverged; lower the learning rate or the penalty")
            bar.update(some)
            stop = on_chunk(state, losses)
            bar.set_postfix(loss=f"{losses[-1]:.4f}", **note())
    return state


@dataclass(frozen=True)
class Recipe:
    """How a neural model is trained: AdamW on random batches, warm-up and cosine decay of the rate."""

    steps: int = 10_000
    """Steps to take."""
    batch: int = 64
    """Lines a step: one drawn at random from each share of all, in order of length."""
    learning_rate: float = 2e-3
    """The rate after the warm-up."""
    warmup: int = 200
    """Steps in which the rate rises from 0."""
    final: float = 0.05
    """The rate at the end of the cosine decay, as a share of the learning rate; 1 keeps it constant."""
    weight_decay: float = 0.01
    """Decay of the matrices (not of biases, gains and start states), times the rate."""
    clip: float = 1.0
    """Longest gradient, over all parameters together; a longer one is shortened."""
    token_dropout: float = 0.0
    """Share of the input symbols that are replaced by random ones, as a regulariser."""
    micro_batches: int = 1
    """Take each batch in so many parts, for less memory; the gradient is the same."""
    bfloat16: bool = False
    """Compute in bfloat16; parameters and the loss stay float32."""

    def __post_init__(self):
        require(self.steps > 0, f"--steps is {self.steps}; it must be at least 1")
        require(self.batch > 0, f"--batch is {self.batch}; it must be at least 1")
        check_float("--learning-rate", self.learning_rate, zero=False)
        require(self.warmup >= 0, f"--warmup is {self.warmup}; it must be 0 or more")
        require(0 <= self.final <= 1, f"--final is {self.final}; it must be from 0 to 1")
        check_float("--weight-decay", self.weight_decay)
        check_float("--clip", self.clip, zero=False)
        require(0 <= self.token_dropout < 1, f"--token-dropout is {self.token_dropout}; it must be from 0 to below 1")
        require(
            self.micro_batches > 0 and self.batch % self.micro_batches == 0,
            f"--micro-batches is {self.micro_batches}; it must divide --batch {self.batch}",
        )

    @property
    def lines_at_once(self) -> int:
        """Lines that are in memory at once: those of a micro-batch."""
        return self.batch // self.micro_batches

    @property
    def hyper(self) -> dict:
        """The floats that may differ between runs of one program."""
        return {"learning_rate": jnp.float32(self.learning_rate), "weight_decay": jnp.float32(self.weight_decay)}


def is_matrix(path: tuple, leaf: jax.Array) -> bool:
    """Whether a parameter is decayed, by its key: biases `b`, gains `g` and start states `h`, `c` are not."""
    return getattr(path[-1], "key", None) not in ("b", "g", "h", "c")


@cache
def adamw(recipe: Recipe) -> Callable[[dict], optax.GradientTransformation]:
    """The recipe's optimiser: hyper -> AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101)."""
    warmup = min(recipe.warmup, recipe.steps - 1)
    shape = optax.warmup_cosine_decay_schedule(
        0.0 if warmup else 1.0, 1.0, warmup, max(recipe.steps, warmup + 1), recipe.final
    )

    def optimizer(hyper: dict) -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(recipe.clip),
            optax.adamw(
                lambda step: hyper["learning_rate"] * shape(step),
                b2=0.99,
                weight_decay=hyper["weight_decay"],
                mask=lambda params: jax.tree_util.tree_map_with_path(is_matrix, params),
            ),
        )

    return optimizer


def draw(key: jax.Array, lines: int, count: int) -> jax.Array:
    """(N,) `count` random numbers of lines in rising order: one from each of so many equal shares of 0 ... `lines` - 1.

    Number n is floor((n + u) / count * lines) for u uniform in [0, 1), so that every line is drawn equally often: a sum
    over the batch is an unbiased estimate, and of less variance than one over lines drawn without order.
    """
    first_N, rest_N = np.divmod(np.arange(count) * lines, count)
    offset_N = jax.random.randint(key, (count,), 0, lines)
    return jnp.int32(first_N) + (jnp.int32(rest_N) + offset_N) // count  # in integers, no rounding


@cache
def batch_loss(model: Model, vocab: int, plan: Plan, recipe: Recipe, gather: Callable = batch) -> Callable:
    """The recipe's loss: (params, tokens, hyper, key) -> an estimate of the mean nats a token, from a random batch.

    `tokens` and `plan` come from `data.plan`, for the lines of a micro-batch. Of tokens that stay on the host, `gather`
    is `data.from_host(tokens)`, and `tokens` here nothing.
    """
    dtype, layout = jnp.bfloat16 if recipe.bfloat16 else jnp.float32, plan.layout

    def nats(params: Params, tokens: Tokens, line_N: jax.Array, key: jax.Array) -> jax.Array:
        """The sum over the lines of one micro-batch."""
        params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
        x_BT, y_BT, mask_BT = gather(tokens, line_N[layout.line_BT], layout.t_BT)
        if recipe.token_dropout:
            x_BT = drop(key, x_BT)
        logits_BTV = model.apply(params, x_BT).astype(jnp.float32)
        return jnp.where(mask_BT, token_nll(logits_BTV, y_BT), 0).sum()

    def drop(key: jax.Array, x_BT: jax.Array) -> jax.Array:
        """Put random symbols in place of some; the marks that start lines stay."""
        drop_key, symbol_key = jax.random.split(key)
        drop_BT = jax.random.bernoulli(drop_key, recipe.token_dropout, x_BT.shape) & (x_BT != MARK)
        return jnp.where(drop_BT, jax.random.randint(symbol_key, x_BT.shape, 1, vocab), x_BT)

    def loss(params: Params, tokens: Tokens, hyper: dict, key: jax.Array) -> jax.Array:
        line_key, drop_key = jax.random.split(key)
        line_N = draw(line_key, plan.lines, recipe.batch)
        if recipe.micro_batches == 1:
            total = nats(params, tokens, line_N, drop_key)
        else:  # forward and backward of one part at a time; each part has lines of every length
            parts = line_N.reshape(-1, recipe.micro_batches).T, jax.random.split(drop_key, recipe.micro_batches)
            total = jax.lax.map(lambda part: jax.checkpoint(nats)(params, tokens, *part), parts).sum()
        return total / (recipe.batch * plan.line_tokens)

    return loss
