"""Estimate whether a model would train on a machine that you do not have, and how fast, by compiling for it.

Run it:   python -m experiments.memory --model transformer --layers 12 --heads 12 --embed 768 --context 1024
              --vocab 50257 --batch 64 --bfloat16 --target h100:8 --shards 8
Needs:    pip install '.[memory]', which brings the compilers for TPU and GPU
Expect:   for each target: whether the model fits, what takes the memory of a chip, what the chips exchange in a step,
          and the least time that a step can take at the published rates, which is an estimate and not a measurement
"""

import math
import os
import re
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax

from makemore_jax.data.batches import BatchPlan
from makemore_jax.distributed.feed import fed_loss, fed_shapes
from makemore_jax.distributed.mesh import Layout, divisors, layout_over, placement_on, stored_bytes
from makemore_jax.errors import require_nonempty, require_positive
from makemore_jax.learning.training import first_state, jitted_steps
from makemore_jax.models.interface import Model, num_params
from makemore_jax.models.registry import MODELS, NEURAL, build
from makemore_jax.recipe import Recipe, optimizer_of

from ..shared import cli
from ..shared.flags import Trains, chosen_sizes, one_of, with_model
from . import chips as targets
from .chips import CHIPS, GIB

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"f64": 8, "s64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s8": 1, "u8": 1, "pred": 1}


@dataclass(frozen=True, kw_only=True)
class Config(Trains):
    """Compile the training step of a model for machines that you do not have, and print whether it fits."""

    model: Annotated[str, one_of(NEURAL)] = "transformer"
    """Model to compile. The flags below are for its sizes and recipe; see --model NAME --help for those of another."""
    vocab: int = 50257
    """Number of symbols in the vocabulary."""
    context: int = 1024
    """Number of tokens in each line; every line of a batch has this length."""
    target: tuple[str, ...] = ("h100:1",)
    """Machines as CHIP:SHAPE, such as h100:8, a100:1, v5e:4x4, v6e:2x4, v5p:2x2x2, v4:2x2x1; v5e:1 is one chip."""
    shards: int | None = None
    """Split the training state among this many chips; by default, each chip holds the whole state."""
    json: bool = False
    """Print the summary as JSON on the last line."""

    def __post_init__(self):
        require_positive(self, "vocab", "context", "shards")
        require_nonempty(self, "target")
        for target in self.target:
            targets.parse(target)


class Fit(NamedTuple):
    """The memory and the work of a training step on one chip, in bytes and floating-point operations."""

    chips: int
    state: int  # parameters, optimiser and average
    batch: int  # tokens and masks
    temporary: int | None  # activations, gradients, gathered parameters; None if the program does not fit
    flops: float  # 6 for each weight and token, plus attention's
    moved: float | None  # bytes read and written in the chip's memory; None if the compiler does not tell
    collectives: dict[str, tuple[int, int]]  # their number and bytes; one inside a loop counts once
    seconds: float  # to compile
    leanest: int = 1  # the number of shards at which each chip stores the least

    @property
    def peak(self) -> int | None:
        """The most memory that a step needs at once."""
        return None if self.temporary is None else self.state + self.batch + self.temporary


def run(config: Any) -> dict:
    """Compile for each target, and print the result."""
    os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")  # compiling for a GPU does not need its driver
    with targets.quiet():  # the compilers complain that their chips are missing
        jax.devices()
    decided = {"vocab": config.vocab, "context": config.context}
    decided = {name: size for name, size in decided.items() if name in MODELS[config.model].config.__dataclass_fields__}
    model = build(config.model, **decided, **chosen_sizes(config))
    parameters = num_params(jax.eval_shape(model.init, jax.random.key(0)))
    print(f"{config.model}: {parameters:,} parameters; batches of {config.recipe.batch} x {config.context:,} tokens")
    summary = {"parameters": parameters, "targets": {}}
    for target in config.target:
        layout = layout_over(targets.devices(target), config.shards or 1)
        cli.title(
            f"{target}: {layout.devices} chips, {layout.devices // layout.shards} replicas x {layout.shards} shards"
        )
        fit = measure(model, config.recipe, config.context, layout)
        report(fit, target, config)
        summary["targets"][target] = fit._asdict() | {"estimate": estimate(fit, target)}
    return summary


def measure(model: Model, recipe: Recipe, context: int, layout: Layout) -> Fit:
    """Compile a training step on lines of full length, and measure what it needs."""
    lines = recipe.batch // recipe.micro_batches
    plan = BatchPlan(lines, float(context), (context,) * lines, layout.devices, recipe.micro_batches)
    loss = fed_loss(model, recipe, plan, placement_on(layout).share)
    place = lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)
    state = jax.eval_shape(lambda key: first_state(model, recipe, key, recipe.hyper), jax.random.key(0))
    state = jax.tree.map(place, state, layout.split(state))
    batches = fed_shapes(plan, layout, count=1)
    own = sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in batches)
    known: dict[str, Any] = {"chips": layout.devices, "state": stored_bytes(state, layout.shards), "batch": own}
    known["leanest"] = min(divisors(layout.devices), key=partial(stored_bytes, state))
    known["flops"] = operations(model, state.params, recipe.batch * context, context) / layout.devices
    began = time.perf_counter()
    try:
        steps, how = (
            jitted_steps(in_place=True),
            {"loss": loss, "optimizer": optimizer_of(recipe), "count": 1, "stacked": True},
        )
        program = steps.lower(state, batches, **how).compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Fit(**known, temporary=None, moved=None, collectives={}, seconds=time.perf_counter() - began)
    seconds, memory = time.perf_counter() - began, program.memory_analysis()
    moved = (program.cost_analysis() or {}).get("bytes accessed")
    found = collectives(program.as_text())
    return Fit(**known, temporary=memory.temp_size_in_bytes, moved=moved, collectives=found, seconds=seconds)


def operations(model: Model, params: Any, tokens: int, context: int) -> float:
    """Floating-point operations of a step: 6 for each weight and token (Kaplan et al. 2020), plus attention's 12 T D L.

    Embeddings are looked up rather than multiplied, except in a tied head.
    """
    config = model.config
    leaves = jax.tree_util.tree_leaves_with_path(params)
    looked_up = sum(leaf.size for path, leaf in leaves if getattr(path[-1], "key", None) in ("embed", "position"))
    weights = num_params(params) - (0 if getattr(config, "tied", False) else looked_up)
    attention = 12 * context * config.embed * config.layers if hasattr(config, "heads") else 0
    return float(tokens) * (6 * weights + attention)


def collectives(text: str) -> dict[str, tuple[int, int]]:
    """Count each collective operation of a compiled program, and the bytes of its results."""
    found = {}
    for kind in COLLECTIVES:
        results = re.findall(rf"= (.*?) {kind}(?:-start)?\(", text)
        sizes = [
            BYTES.get(dtype, 4) * math.prod(int(size) for size in shape.split(",") if size)
            for result in results
            for dtype, shape in re.findall(r"(\w+)\[([\d,]*)\]", result)
        ]
        if results:
            found[kind] = len(results), sum(sizes)
    return found


def estimate(fit: Fit, target: str) -> dict[str, float]:
    """The least seconds of a step at the published rates, for each limit: a roofline (Williams et al. 2009)."""
    chip = CHIPS[targets.parse(target)[0]]
    sent = sum(size * (2 if kind == "all-reduce" else 1) for kind, (_, size) in fit.collectives.items())
    moved = fit.moved or 2 * (fit.peak or fit.state)  # at least everything is read once and written once
    return {"computing": fit.flops / chip.flops, "memory": moved / chip.bandwidth, "links": sent / chip.link}


def report(fit: Fit, target: str, config: Any) -> None:
    """Print the verdict and the numbers behind it."""
    memory, peak = CHIPS[targets.parse(target)[0]].memory, fit.peak
    gib = lambda size: f"{size / GIB:.2f} GiB"
    fits = peak is not None and peak <= memory * GIB
    needed = f"more than {memory:.2f} GiB a chip" if peak is None else f"{gib(peak)} of {memory:.2f} GiB a chip"
    print(f"{'fits' if fits else 'DOES NOT FIT'}: {needed} (compiled in {fit.seconds:.0f} s)")
    rest = "" if fit.temporary is None else f", activations and gradients {gib(fit.temporary)}"
    print(f"    state {gib(fit.state)}, batch {gib(fit.batch)}{rest}")
    if peak is None or not fits:
        shards, micro = (config.shards or 1), config.recipe.micro_batches
        ways = [f"--shards {fit.leanest}"] if fit.leanest != shards else []
        ways += [f"--micro-batches {2 * micro}"] if config.recipe.batch % (2 * micro) == 0 else []
        print(f"    try {' or '.join([*ways, 'a smaller --batch', 'more chips'])}")
        return
    told = ", ".join(f"{count} {kind} ({gib(size)})" for kind, (count, size) in fit.collectives.items())
    print(f"    the chips exchange {told or 'nothing'}")
    times = estimate(fit, target)
    limit, seconds = max(times.items(), key=lambda item: item[1])
    shards = ", ".join(f"{name} {1e3 * least:.1f}" for name, least in times.items())
    print(f"    {fit.flops / 1e12:.2f} TFLOP a chip; intensity {fit.flops / (fit.moved or 2 * peak):.0f} FLOP/byte")
    print(f"    estimate: {1e3 * seconds:.1f} ms a step or more ({shards}; {limit} decides),", end=" ")
    print(f"at most {config.recipe.batch * config.context / seconds:,.0f} tokens/s")


if __name__ == "__main__":
    cli.main(lambda: with_model(Config, sys.argv[1:]), run)
