"""Where arrays lie on many devices: data parallelism with replicas of the state, and states that are split.

N devices are `replicas` of the training state times `shards` of it. All of them share the rows of a batch. Of the
state, each device of a replica stores a shard: parameters are gathered when a batch needs them, and gradients are
summed and split again (fully sharded data parallelism: ZeRO-3, Rajbhandari et al. 2020, arXiv:1910.02054). Everything
follows from shapes, and models need not know about it: each device runs the program of a single one on its rows. The
devices may belong to several processes, which all run the same program; see `processes`.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from makemore_jax.data.batches import Batch
from makemore_jax.errors import require
from makemore_jax.learning.objective import Objective
from makemore_jax.learning.training import ONE_DEVICE, Placement
from makemore_jax.models.interface import Model, Params
from makemore_jax.models.likelihood import batch_nll

Device: TypeAlias = jax.Device  # pyright: ignore[reportInvalidTypeForm]  # JAX declares the class as a variable
SMALL = 2**14  # numbers; a smaller array is whole on every device


class Layout(NamedTuple):
    """Devices as `replicas` of the training state times `shards` of it; None for the mesh is one device."""

    mesh: Mesh | None = None

    @property
    def devices(self) -> int:
        """How many devices share the rows of a batch."""
        return self.mesh.size if self.mesh else 1

    @property
    def shards(self) -> int:
        """Among how many devices a state is split."""
        return self.mesh.shape["shards"] if self.mesh else 1

    def sharding(self, *axes: Any) -> NamedSharding:
        """An array divided by these axes of the mesh, one for each axis of the array; without any, whole everywhere."""
        if self.mesh is None:
            raise ValueError("one device has no mesh to divide arrays over")
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def by_rows(self, function: Callable[..., Any], params: Any, *rows: Any) -> Any:
        """Inside a program: `function(params, *rows)`, each device on its share of the rows.

        The result is divided alike. The gradient by `params` is summed over the rows of a device first, and once over
        devices at the end. Left to itself, XLA would sum it over devices inside every loop: after each time step of a
        recurrent network, say.
        """
        if not self.mesh:
            return function(params, *rows)
        share = PartitionSpec(self.mesh.axis_names)
        specs = {"in_specs": (PartitionSpec(), *[share] * len(rows)), "out_specs": share}
        return jax.shard_map(function, mesh=self.mesh, **specs, check_vma=False)(params, *rows)

    def share(self, nll: Objective) -> Objective:
        """An objective whose rows are divided among the devices, on parameters made whole for the batch."""

        def shared(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
            rows = lambda given, *batch: nll(given[0], Batch(*batch), given[1])
            return self.by_rows(rows, (self.gathered(params), key), *batch)

        return shared if self.mesh else nll

    def score_batch(self, model: Model, params: Params, x_BT: np.ndarray, y_BT: np.ndarray) -> np.ndarray:
        """`evaluate.on_one_device`, the rows divided among the devices; a multiple of them after padding."""
        padding = ((0, -len(x_BT) % self.devices), (0, 0))
        rows = jax.device_put((np.pad(x_BT, padding), np.pad(y_BT, padding)), self.rows)
        return fetch(_nll_by_rows(model, params, *rows, self))[: len(x_BT)]

    @property
    def rows(self) -> NamedSharding | None:
        """The arrays of a batch, their rows divided among the devices."""
        return self.sharding(self.mesh.axis_names) if self.mesh else None

    def copy(self, tree: Any) -> Any:
        """The whole of every array on every device."""
        return jax.device_put(tree, self.sharding() if self.mesh else None)

    def split(self, tree: Any) -> Any:
        """The sharding of each array of a state: its longest axis that divides into `shards`, or whole without one."""

        def place(leaf: Any) -> NamedSharding:
            axis = split_axis(leaf.shape, self.shards)  # where it is None: without axes, or all would compile twice
            return self.sharding() if axis is None else self.sharding(*[None] * axis, "shards")

        return jax.tree.map(place, tree)

    def make(self, begin: Callable[..., Any], *args: Any) -> Any:
        """`begin(*args)`, a state; each device makes the shards that it stores."""
        if not self.mesh:
            return begin(*args)
        return jax.jit(begin, out_shardings=self.split(jax.eval_shape(begin, *args)))(*args)

    def gathered(self, params: Any) -> Any:
        """Inside a program: split parameters, made whole for one batch; their gradients are summed, then split.

        Summed whole first: if the sum were split at once, the split would spread into the backward pass, and XLA would
        move activations between devices instead of gradients.
        """
        if not self.mesh:
            return params
        whole = lambda tree: jax.lax.with_sharding_constraint(tree, self.sharding())
        gathered = jax.custom_vjp(whole)
        back = lambda _, grads: (jax.lax.with_sharding_constraint(whole(grads), self.split(grads)),)
        gathered.defvjp(lambda params: (whole(params), None), back)
        return gathered(params)


def split_axis(shape: tuple[int, ...], shards: int) -> int | None:
    """The axis along which an array of a state is split: the longest that divides into `shards`; None if none does.

    Small arrays stay whole.
    """
    fits = [axis for axis, size in enumerate(shape) if size % shards == 0]
    return max(fits, key=shape.__getitem__) if fits and shards > 1 and math.prod(shape) >= SMALL else None


def stored_bytes(tree: Any, shards: int) -> int:
    """What one of the devices that share a state stores of it; `tree` may hold shapes alone."""
    size = lambda leaf: math.prod(leaf.shape) * leaf.dtype.itemsize
    leaves = jax.tree.leaves(tree)
    return sum(size(leaf) // (1 if split_axis(leaf.shape, shards) is None else shards) for leaf in leaves)


@cache
def lay_out(devices: int | None = None, shards: int = 1) -> Layout:
    """The first `devices` devices, as replicas of a state that is split into `shards`.

    By default it is one device; or all, if they belong to several processes.
    """
    found, several = jax.devices(), jax.process_count() > 1
    devices = devices or (len(found) if several else 1)
    simulate = f"; XLA_FLAGS=--xla_force_host_platform_device_count={devices} simulates them"
    hint = simulate if found[0].platform == "cpu" else ""
    require(0 < devices <= len(found), f"`devices` is {devices}; JAX finds {len(found)}{hint}")
    require(not several or devices == len(found), f"`devices` is {devices}; the processes have {len(found)}: take all")
    return Layout() if devices == shards == 1 else layout_over(found[:devices], shards)


def layout_over(devices: Sequence[Device], shards: int = 1) -> Layout:
    """These devices, as replicas of a state that is split into `shards`, which must divide them."""
    count = len(devices)
    choices = ", ".join(map(str, divisors(count)))
    require(shards > 0 and count % shards == 0, f"`shards` is {shards}; of {count} devices it can be {choices}")
    axes = (count // shards, shards), ("replicas", "shards")
    return Layout(jax.make_mesh(*axes, axis_types=(AxisType.Auto,) * 2, devices=devices))


@partial(jax.jit, static_argnums=(0, 4))
def _nll_by_rows(model: Model, params: Params, x_BT: jax.Array, y_BT: jax.Array, layout: Layout) -> jax.Array:
    return layout.by_rows(partial(batch_nll, model), params, x_BT, y_BT)


@cache  # equal layouts give the same functions, and JAX compiles them once
def placement_on(layout: Layout) -> Placement:
    """What a run has to know about these devices."""
    return Placement(layout.devices, layout.share, layout.make, layout.copy) if layout.mesh else ONE_DEVICE


def shards_to_fit(state: Any, devices: int) -> int:
    """Into how few shards a state must be split so that it fits, with the whole parameters that a batch needs.

    Where devices do not say how much memory they have (a CPU), the state stays whole.

    Args:
      state: the shapes of the state of a run, of which `params` are the parameters.
      devices: how many there are.
    """
    memory = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if not memory:
        return 1
    whole = stored_bytes(state.params, 1)  # once in the type of the computation, and once as gradients
    needed = {n: stored_bytes(state, n) + stored_bytes(state.params, n) + 2 * whole for n in divisors(devices)}
    fits = [shards for shards, size in needed.items() if size < memory / 2]  # half: activations
    return min(fits, default=min(needed, key=needed.__getitem__))


def divisors(count: int) -> list[int]:
    """Into how many shards this many devices can split a state."""
    return [n for n in range(1, count + 1) if count % n == 0]


def spread(tree_R: Any) -> Any:
    """Independent runs along the leading axis, divided among the devices of this process.

    A vmapped program then computes each run where it lies, and devices have nothing to tell each other. If the devices
    do not divide R, the last run is repeated until they do.
    """
    devices = jax.local_devices()[: len(jax.tree.leaves(tree_R)[0])]
    if len(devices) == 1:
        return tree_R
    mesh = jax.make_mesh((len(devices),), ("runs",), axis_types=(AxisType.Auto,), devices=devices)
    runs = len(jax.tree.leaves(tree_R)[0])
    run_S = np.minimum(np.arange(runs + -runs % len(devices)), runs - 1)
    return jax.device_put(jax.tree.map(lambda leaf: leaf[run_S], tree_R), NamedSharding(mesh, PartitionSpec("runs")))


def fetch(leaf: Any) -> np.ndarray:
    """An array on the host, from wherever its shards lie; every process has to ask for it."""
    sharding = getattr(leaf, "sharding", None)
    if isinstance(sharding, NamedSharding) and not leaf.is_fully_addressable and not leaf.is_fully_replicated:
        leaf = jax.jit(lambda x: x, out_shardings=NamedSharding(sharding.mesh, PartitionSpec()))(leaf)
    return np.asarray(leaf)


def lay_out_as(whole: np.ndarray, like: Any) -> Any:
    """An array that every process has, stored where the array `like` is: the inverse of `fetch`."""
    if len(like.sharding.device_set) == 1:
        return whole
    return jax.make_array_from_callback(whole.shape, like.sharding, whole.__getitem__)


def local(tree: Any) -> Any:
    """The arrays of a state, whole, on the first device of this process: what models are evaluated and sampled with."""
    on_one = lambda leaf: len(leaf.sharding.device_set) == 1
    return jax.tree.map(lambda leaf: leaf if on_one(leaf) else jnp.asarray(fetch(leaf)), tree)
