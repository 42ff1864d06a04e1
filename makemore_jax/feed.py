"""Which lines make up a batch, and batches gathered on the host for tokens that are too many for a device.

The batch of a step is a function of the run's key and the step, so there is no iterator and nothing to save: any chunk
can be made at any time, and every process makes the rows of its own devices. While the devices take the steps of one
chunk, a thread makes the next.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.data.tokens import BatchPlan, Tokens, batch
from makemore_jax.recipe import Recipe
from makemore_jax.sharding import Layout


def draw(key: jax.Array, lines: int, count: int) -> jax.Array:
    """Stratified sampling: (count,) line numbers, one drawn uniformly from each of `count` equal strata.

    The strata divide range(lines): number n is floor((n + u) / count * lines) for u uniform in [0, 1), so every line is
    drawn equally often. A sum over the batch is an unbiased estimate, of less variance than one over independent draws.
    """
    first_N, rest_N = np.divmod(np.arange(count) * lines, count)
    offset_N = jax.random.randint(key, (count,), 0, lines)
    return jnp.int32(first_N) + (jnp.int32(rest_N) + offset_N) // count  # in integers, no rounding


def draw_lines(key: jax.Array, lines: int, count: int, micro_batches: int) -> jax.Array:
    """(K, N) the `count` lines of a batch, for the key of a step: N for each of K micro-batches, short and long."""
    return draw(jax.random.split(key)[0], lines, count).reshape(-1, micro_batches).T


class Feed:
    """The batches of a run: `feed(key, first, count)` has those of `count` steps from step `first` on."""

    def __init__(self, tokens: Tokens, plan: BatchPlan, recipe: Recipe, layout: Layout):
        """For tokens and a plan from `plan_batches`; the rows are divided among the devices of the layout."""
        self.tokens, self.plan, self.recipe, self.layout = tokens, plan, recipe, layout
        self.thread, self.ahead = ThreadPoolExecutor(1, thread_name_prefix="feed"), {}

    def __call__(self, key: jax.Array, first: int, count: int) -> tuple[jax.Array, ...]:
        """x, y (int32) and mask (bool), each (count, K, B, T): K micro-batches of B rows for each step."""
        data = np.asarray(jax.random.key_data(key))
        asked = data.tobytes(), first, count
        ready = self.ahead.pop(asked, None) or self._later(data, first, count)
        first, count = first + count, min(count, self.recipe.steps - first - count)
        self.ahead = {(data.tobytes(), first, count): self._later(data, first, count)} if count > 0 else {}
        return ready.result()

    def _later(self, key_data: np.ndarray, first: int, count: int) -> Future:
        return self.thread.submit(self._make, key_data, first, count)

    def _make(self, key_data: np.ndarray, first: int, count: int) -> tuple[jax.Array, ...]:
        sizes = self.plan.lines, self.recipe.batch, self.recipe.micro_batches
        with jax.default_device(_host()):  # random bits are the same on any device
            line_SKN = np.asarray(_draw_steps(key_data, first + np.arange(count), *sizes))
        packing, made = self.plan.packing, {}
        shape = (count, self.recipe.micro_batches, *packing.segment_BT.shape)

        def part(which: int, index: tuple[slice, ...]) -> np.ndarray:
            """One of the three arrays, for the rows of one device."""
            rows = index[2].indices(shape[2])[:2]
            if rows not in made:
                cells = packing.segment_BT[slice(*rows)], packing.position_BT[slice(*rows)]
                x, y, mask = batch(self.tokens, line_SKN[..., cells[0]], cells[1])
                made[rows] = np.int32(x), np.int32(y), mask
            return made[rows][which]

        if not self.layout.mesh:
            return jax.device_put(tuple(part(which, (slice(None),) * 4) for which in range(3)))
        over = self.layout.sharding(None, None, self.layout.mesh.axis_names)
        return tuple(jax.make_array_from_callback(shape, over, partial(part, which)) for which in range(3))


def _host() -> jax.Device:
    """The CPU, unless JAX_PLATFORMS leaves it out."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]


@partial(jax.jit, static_argnums=(2, 3, 4))
def _draw_steps(key_data: np.ndarray, step_S: np.ndarray, *sizes: int) -> jax.Array:
    """(S, K, N) the lines of each of these steps."""
    key = jax.random.wrap_key_data(jnp.asarray(key_data))
    return jax.vmap(lambda step: draw_lines(jax.random.fold_in(key, step), *sizes))(step_S)
