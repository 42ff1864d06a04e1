"""The recipe for training a neural model: its hyperparameters, and the optimiser built from them."""

import warnings
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from makemore_jax.errors import require, require_float, require_positive
from makemore_jax.muon import orthogonal_momentum


class Default(int):
    """A number that nobody chose: where it does not fit, it is lowered. A plain int is obeyed or refused."""


@dataclass(frozen=True)
class Recipe:
    """Random batches of lines; the learning rate warms up, then decays along a cosine."""

    steps: int = 10_000
    """Optimiser steps."""
    batch: int = Default(64)
    """Batch size, in lines."""
    optimizer: str = "adamw"
    """Optimiser: adamw; or muon, which makes the updates of matrices orthogonal and needs fewer steps, with AdamW for
    embeddings, the output layer and vectors."""
    learning_rate: float = 2e-3
    """Peak learning rate."""
    muon_rate: float | None = None
    """Peak learning rate of the matrices that muon trains; by default 4 times the learning rate."""
    warmup: int = 200
    """Steps of linear warm-up from 0."""
    final: float = 0.05
    """Learning rate at the end of the cosine decay, as a fraction of the peak; 1 keeps it constant."""
    weight_decay: float = 0.01
    """Weight decay, on matrices only (not on biases, gains and initial states)."""
    clip: float = 1.0
    """Clip the gradient to this global norm."""
    dropout: float = 0.0
    """Dropout: zero this fraction of the hidden units, and of recurrent weights, in each training step."""
    average: float = 0.0
    """Evaluate and keep an exponential moving average of the weights with this decay, such as 0.999; 0 turns it off."""
    micro_batches: int = 1
    """Accumulate the gradient over this many micro-batches of each batch, which needs less memory."""
    remat: bool = False
    """Recompute the inside of a transformer's blocks in the backward pass, which needs less memory and about a third
    more time for the same gradient."""
    bfloat16: bool = False
    """Compute in bfloat16; parameters and loss stay in float32."""

    def __post_init__(self):
        require_positive(self, "steps", "batch")
        choices = ", ".join(OPTIMIZERS)
        require(self.optimizer in OPTIMIZERS, f"`optimizer` is {self.optimizer!r}; it must be one of {choices}")
        require_float("learning_rate", self.learning_rate, zero=False)
        if self.muon_rate is not None:
            require(self.optimizer == "muon", "`muon_rate` is for muon; set `optimizer` to muon, or leave it out")
            require_float("muon_rate", self.muon_rate, zero=False)
        require(self.warmup >= 0, f"`warmup` is {self.warmup}; it must be 0 or more")
        require(0 <= self.final <= 1, f"`final` is {self.final}; it must be from 0 to 1")
        require_float("weight_decay", self.weight_decay)
        require_float("clip", self.clip, zero=False)
        for name in ("dropout", "average"):
            value = getattr(self, name)
            require(0 <= value < 1, f"`{name}` is {value}; it must be at least 0 and below 1")
        require(
            self.micro_batches > 0 and self.batch % self.micro_batches == 0,
            f"`micro_batches` is {self.micro_batches}; it must divide the `batch` of {self.batch}",
        )

    def fitted(self, lines: int) -> "Recipe":
        """Return the recipe for this many train lines: itself, unless its batch is too large; see `lower`."""
        return self if self.batch <= lines else lower(self, lines)

    @property
    def hyper(self) -> dict:
        """The floats that may differ between runs, as arrays, so that `vmap` can train many runs as one program."""
        floats = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
        floats |= {} if self.muon_rate is None else {"muon_rate": self.muon_rate}
        return jax.device_put({name: np.float32(value) for name, value in floats.items()})


ENDS = {"embed", "position", "head", "W"}  # parameters of one row or column a symbol or position; W is the bigram's


def lower(recipe: Recipe, lines: int) -> Recipe:
    """Lower a default batch to so many lines, with a warning; raise `InputError` if the batch was chosen."""
    what = f"a batch holds {recipe.batch} lines, but there are {lines} to train on"
    free = isinstance(recipe.batch, Default) and lines >= recipe.micro_batches
    require(free, f"{what}; add lines, or lower `batch`")
    batch = lines - lines % recipe.micro_batches
    warnings.warn(f"{what}; it is lowered to {batch}", stacklevel=2)
    return replace(recipe, batch=batch)


def is_matrix(path: tuple, leaf: jax.Array) -> bool:
    """Whether weight decay applies to a parameter: all but biases `b`, gains `g` and initial states `h`, `c`."""
    return getattr(path[-1], "key", None) not in ("b", "g", "h", "c")


def is_inside(path: tuple, leaf: Any) -> bool:
    """Whether Muon applies to a parameter: a matrix, or a stack of them, that is not at an end of its model."""
    names = {getattr(entry, "key", None) for entry in path}
    return is_matrix(path, leaf) and len(leaf.shape) >= 2 and not names & ENDS


class AverageState(NamedTuple):
    """The state of `average_weights`."""

    average: Any  # like the parameters
    count: jax.Array


def average_weights(decay: float) -> optax.GradientTransformation:
    """Keep an exponential moving average of the weights; updates pass through unchanged (Polyak and Juditsky 1992).

    The decay rises from 0.1 to `decay`, so that the random initial weights are soon forgotten.
    """

    def init(params: Any) -> AverageState:
        return AverageState(params, jnp.int32(0))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, AverageState]:
        new, count = optax.apply_updates(params, updates), state.count + 1
        share = jnp.maximum(1 - decay, 9 / (9 + count))
        return updates, AverageState(optax.incremental_update(new, state.average, share), count)

    return optax.GradientTransformation(init, update)


def averaged(params: Any, opt_state: optax.OptState) -> Any:
    """Return the moving average of the weights if the optimiser keeps one, otherwise the weights themselves."""
    return optax.tree_utils.tree_get(opt_state, "average", params)


class Optimizer(Protocol):
    """Build the gradient transformation of a run from its floats, which do not change its structure."""

    def __call__(self, hyper: Any, /) -> optax.GradientTransformation: ...


@cache
def optimizer_of(recipe: Recipe) -> Optimizer:
    """Build the optimiser of a recipe."""
    warmup = min(recipe.warmup, recipe.steps - 1)
    start, steps = 0.0 if warmup else 1.0, max(recipe.steps, warmup + 1)
    schedule = optax.warmup_cosine_decay_schedule(start, 1.0, warmup, steps, recipe.final)

    def optimizer(hyper: dict) -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(recipe.clip),
            OPTIMIZERS[recipe.optimizer](hyper, schedule),
            *([average_weights(recipe.average)] if recipe.average else []),
        )

    return optimizer


def adamw(hyper: dict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101); the schedule scales the learning rate."""
    rate = lambda step: hyper["learning_rate"] * schedule(step)
    decays = partial(jax.tree_util.tree_map_with_path, is_matrix)
    return optax.adamw(rate, b2=0.99, weight_decay=hyper["weight_decay"], mask=decays)


def muon(hyper: dict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Muon (Jordan et al. 2024) for the matrices between the two ends of a model, and AdamW for the rest."""
    peak = hyper.get("muon_rate", 4 * hyper["learning_rate"])
    matrices = optax.chain(
        orthogonal_momentum(),
        optax.add_decayed_weights(hyper["weight_decay"]),
        optax.scale_by_learning_rate(lambda step: peak * schedule(step)),
    )
    kind = lambda path, leaf: "matrix" if is_inside(path, leaf) else "rest"
    kinds = partial(jax.tree_util.tree_map_with_path, kind)
    return optax.partition({"matrix": matrices, "rest": adamw(hyper, schedule)}, kinds)


OPTIMIZERS = {"adamw": adamw, "muon": muon}  # to add one, write such a function and name it here
