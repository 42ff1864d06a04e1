"""Gather batches on the host, one chunk ahead, for data that does not fit on a device.

The batch of a step is a function of the run's key and the step, so there is no iterator whose state would have to be
saved: any chunk can be made at any time, and each process makes the rows of its own devices. While the devices take the
steps of one chunk, a thread makes the next.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.batches import Batch, BatchPlan, draw_lines, gather
from makemore_jax.data.corpus import Corpus
from makemore_jax.data.tokens import Tokens
from makemore_jax.distributed.mesh import Device, Layout, placement_on
from makemore_jax.learning.objective import Loss, Objective, batch_loss
from makemore_jax.learning.training import Training, TrainState, jitted_steps, objective_of, plan_of, start_of
from makemore_jax.models.interface import Model
from makemore_jax.recipe import Recipe, optimizer_of


def training(
    model: Model, corpus: Corpus, recipe: Recipe, *, layout: Layout = Layout(), in_place: bool = False
) -> Training:
    """Make the two functions of `learning.training` for streamed data; `steps` is not pure, since it reads ahead."""
    placement = placement_on(layout)
    tokens, plan = plan_of(model, corpus, recipe, placement.rows)
    feed, compiled = Feed(tokens, plan, recipe.steps, layout), jitted_steps(in_place)
    loss, optimizer = fed_loss(model, recipe, plan, placement.share), optimizer_of(recipe)

    def steps(state: TrainState, count: int) -> tuple[TrainState, jax.Array]:
        batches = feed(state.key, int(state.step), count)
        return compiled(state, batches, loss=loss, optimizer=optimizer, count=count, stacked=True)

    return Training(start_of(model, recipe, placement), steps)


@cache  # equal plans give the same function, and JAX compiles it once
def fed_loss(model: Model, recipe: Recipe, plan: BatchPlan, share: Callable[[Objective], Objective]) -> Loss:
    """Make the loss of a recipe on batches that are made outside the program."""
    return batch_loss(objective_of(model, recipe, share), lambda batch, key: batch, plan.tokens)


class Feed:
    """The batches of a run: `feed(key, first, count)` returns those of `count` steps from step `first` on."""

    def __init__(self, tokens: Tokens, plan: BatchPlan, steps: int, layout: Layout):
        """Feed batches of tokens by a plan from `plan_batches`, with rows divided among the devices of the layout."""
        self.tokens, self.plan, self.steps, self.layout = tokens, plan, steps, layout
        self.thread, self.ahead = ThreadPoolExecutor(1, thread_name_prefix="feed"), {}

    def __call__(self, key: jax.Array, first: int, count: int) -> Batch:
        """Return the batches, stacked along a leading axis of `count`, and begin to make the next."""
        data = np.asarray(jax.random.key_data(key))
        asked = data.tobytes(), first, count
        ready = self.ahead.pop(asked, None) or self._later(data, first, count)
        first, count = first + count, min(count, self.steps - first - count)
        self.ahead = {(data.tobytes(), first, count): self._later(data, first, count)} if count > 0 else {}
        return ready.result()

    def _later(self, key_data: np.ndarray, first: int, count: int) -> Future:
        return self.thread.submit(self._make, key_data, first, count)

    def _make(self, key_data: np.ndarray, first: int, count: int) -> Batch:
        with jax.default_device(_host()):  # random bits are the same on any device
            lines = np.asarray(_draw_steps(self.plan, key_data, first + np.arange(count)))
        packing, made = self.plan.packing, {}
        rows = len(packing.segment_BT)

        def for_rows(field: int, index: Any) -> np.ndarray:
            """Return a field of the batches for the rows of one device, given as a slice of each axis."""
            start, stop, _ = index[lines.ndim - 1].indices(rows)
            if (start, stop) not in made:
                segment_BT, position_BT = packing.segment_BT[start:stop], packing.position_BT[start:stop]
                x, y, mask = gather(self.tokens, lines[..., segment_BT], position_BT)
                row = np.broadcast_to(np.arange(start, stop, dtype=np.int32), x.shape[:-1])
                made[start, stop] = np.int32(x), np.int32(y), mask, row
            return made[start, stop][field]

        shapes = fed_shapes(self.plan, self.layout, count)
        make = jax.make_array_from_callback
        if self.layout.mesh:
            return Batch(*(make(leaf.shape, leaf.sharding, partial(for_rows, n)) for n, leaf in enumerate(shapes)))
        everything = (slice(None),) * 4
        return Batch(*(jax.device_put(for_rows(n, everything)) for n in range(len(shapes))))


def fed_shapes(plan: BatchPlan, layout: Layout, count: int) -> Batch:
    """Return the shapes of the batches of `count` steps, with the division of their rows among the devices."""
    leading = (count,) if plan.micro_batches == 1 else (count, plan.micro_batches)
    rows, width = plan.packing.segment_BT.shape
    over = layout.sharding(*[None] * len(leading), layout.mesh.axis_names) if layout.mesh else None

    def shape(dtype: Any, *size: int) -> Any:  # a placeholder for an array
        return jax.ShapeDtypeStruct((*leading, rows, *size), dtype, sharding=over)

    return Batch(shape(np.int32, width), shape(np.int32, width), shape(bool, width), shape(np.int32))


def _host() -> Device:
    """Return the CPU, or the first device if JAX_PLATFORMS excludes the CPU."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]


@partial(jax.jit, static_argnums=0)
def _draw_steps(plan: BatchPlan, key_data: np.ndarray, step_S: np.ndarray) -> jax.Array:
    """Draw the lines of each of these steps: (S, N), or (S, K, N) for micro-batches."""
    key = jax.random.wrap_key_data(jnp.asarray(key_data))
    draw_key = lambda step: jax.random.split(jax.random.fold_in(key, step))[0]
    return jax.vmap(lambda step: draw_lines(plan, draw_key(step)))(step_S)
