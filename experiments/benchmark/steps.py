"""Measure what a training step costs with Muon instead of AdamW, and on several devices instead of one.

Every model has the sizes, the batch and the recipe of its quick preset. The contestants take turns in one process.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import jax
import numpy as np

import makemore_jax as mm
from makemore_jax.distributed.mesh import lay_out, placement_on
from makemore_jax.models.registry import NEURAL, resolve
from makemore_jax.recipe import OPTIMIZERS, Recipe

from ..shared import cli
from ..shared.flags import one_of
from .timing import Contest, ratio, take_turns

MODELS = tuple(name for name in NEURAL if name != "bigram")  # it has no matrix inside for Muon to train
COUNT = 20  # steps in a call


@dataclass(frozen=True)
class Steps(Contest):
    """Measure the milliseconds of AdamW's step, and the time of a step with Muon, or on several devices, beside it."""

    models: tuple[Annotated[str, one_of(MODELS)], ...] = MODELS
    """Models to measure."""
    devices: int = 1
    """Measure AdamW on this many devices, too; each core of a CPU is one."""


def step_call(model: mm.Model, corpus: mm.Corpus, recipe: Recipe, devices: int) -> Callable[[], None]:
    """Make a call that takes `COUNT` training steps on so many devices."""
    placement = placement_on(lay_out(devices))
    init, steps = mm.training(model, corpus, recipe, placement=placement, in_place=True)
    state = init(jax.random.key(0))

    def call() -> None:
        nonlocal state
        state, losses = steps(state, COUNT)
        losses.block_until_ready()

    return call


def benchmark_steps(config: Steps) -> dict:
    """Print the milliseconds of AdamW's step for each model, and the times of the other steps relative to it."""
    corpus, rows = mm.load(config.data), {}
    kinds = {optimizer: (optimizer, 1) for optimizer in OPTIMIZERS}
    if config.devices > 1:
        kinds[f"{config.devices} devices"] = "adamw", config.devices
    others = [title for title in kinds if title != "adamw"]
    print(f"ms: a step of adamw, the median of {config.rounds} turns; then the time of other steps relative to it,")
    print("turn by turn: the median, and the lowest and the highest of the turns\n")
    table = cli.Table(model="<12", batch=">6", ms=">9.3f", **dict.fromkeys(others, ">22"))
    for name in config.models:
        model, recipe = resolve(name, corpus.sizes)
        calls = {}
        for title, (optimizer, devices) in kinds.items():
            chosen = replace(recipe, optimizer=optimizer, muon_rate=None)
            calls[title] = step_call(model, corpus, chosen, devices)
        turns = take_turns(calls, config.rounds)
        ratios = {title: ratio(turns[title], turns["adamw"]) for title in others}
        row = {"batch": int(recipe.batch), "ms": 1e3 * float(np.median(turns["adamw"])) / COUNT}
        shown = {
            title: "{ratio:.2f} ({lowest:.2f} to {highest:.2f})".format(**found) for title, found in ratios.items()
        }
        table.row(model=name, **row, **shown)
        rows[name] = row | ratios
    return {"steps": rows}
