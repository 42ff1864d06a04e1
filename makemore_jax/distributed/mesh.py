"""The placement of arrays on many devices: data parallelism, with replicas and shards of the training state.

N devices hold `replicas` copies of the training state, each divided into `shards`, and share the rows of a batch. Each
device stores one shard of the state: parameters are gathered when a batch needs them, and gradients are summed and
sharded again (fully sharded data parallelism: ZeRO-3, Rajbhandari et al. 2020, arXiv:1910.02054). The placement follows
from shapes alone, and models need not know about it: each device runs the program for one device on its own rows. The
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
SMALL = 2**14  # numbers; a smaller array is stored whole on every device


class Layout(NamedTuple):
    """A mesh of devices, `replicas` of the training state times `shards` of each; without a mesh, one device."""

    mesh: Mesh | None = None

    @property
    def devices(self) -> int:
        """The number of devices that share the rows of a batch."""
        return self.mesh.size if self.mesh else 1

    @property
    def shards(self) -> int:
        """The number of shards of a state."""
        return self.mesh.shape["shards"] if self.mesh else 1

    def sharding(self, *axes: Any) -> NamedSharding:
        """Divide the axes of an array along these axes of the mesh; without any, every device holds the whole array."""
        if self.mesh is None:
            raise ValueError("arrays cannot be divided over one device; give a mesh")
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def by_rows(self, function: Callable[..., Any], params: Any, *rows: Any) -> Any:
        """Call `function(params, *rows)` inside a program, on each device with its share of the rows.

        The result is divided in the same way. The gradient with respect to `params` is summed over the rows of each
        device first, and over devices once at the end. By default, XLA would sum it over devices inside every loop, for
        example after each time step of a recurrent network.
        """
        if not self.mesh:
            return function(params, *rows)
        share = PartitionSpec(self.mesh.axis_names)
        specs = {"in_specs": (PartitionSpec(), *[share] * len(rows)), "out_specs": share}
        return jax.shard_map(function, mesh=self.mesh, **specs, check_vma=False)(params, *rows)

    def share(self, nll: Objective) -> Objective:
        """Divide the rows of an objective among the devices, and gather the parameters for the batch."""

        def shared(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
            rows = lambda given, *batch: nll(given[0], Batch(*batch), given[1])
            return self.by_rows(rows, (self.gathered(params), key), *batch)

        return shared if self.mesh else nll

    def score_batch(self, model: Model, params: Params, x_BT: np.ndarray, y_BT: np.ndarray) -> np.ndarray:
        """Compute `evaluate.on_one_device` with the rows divided among the devices, after padding."""
        padding = ((0, -len(x_BT) % self.devices), (0, 0))
        rows = jax.device_put((np.pad(x_BT, padding), np.pad(y_BT, padding)), self.rows)
        return fetch(_nll_by_rows(model, params, *rows, self))[: len(x_BT)]

    @property
    def rows(self) -> NamedSharding | None:
        """The sharding of the arrays of a batch: rows divided among the devices."""
        return self.sharding(self.mesh.axis_names) if self.mesh else None

    def copy(self, tree: Any) -> Any:
        """Copy every array, whole, to every device."""
        return jax.device_put(tree, self.sharding() if self.mesh else None)

    def split(self, tree: Any) -> Any:
        """Return the sharding of each array of a state, along its longest axis that divides into `shards`, if any."""

        def place(leaf: Any) -> NamedSharding:
            axis = split_axis(leaf.shape, self.shards)  # if None, name no axes: [None] * n would compile again
            return self.sharding() if axis is None else self.sharding(*[None] * axis, "shards")

        return jax.tree.map(place, tree)

    def make(self, begin: Callable[..., Any], *args: Any) -> Any:
        """Compute the state `begin(*args)`, each device making the shards that it stores."""
        if not self.mesh:
            return begin(*args)
        return jax.jit(begin, out_shardings=self.split(jax.eval_shape(begin, *args)))(*args)

    def gathered(self, params: Any) -> Any:
        """Gather sharded parameters inside a program for one batch; their gradients are summed, then sharded.

        The whole gradients are summed first. If the sum were sharded at once, the sharding would spread into the
        backward pass, and XLA would move activations between devices instead of gradients.
        """
        if not self.mesh:
            return params
        whole = lambda tree: jax.lax.with_sharding_constraint(tree, self.sharding())
        gathered = jax.custom_vjp(whole)
        back = lambda _, grads: (jax.lax.with_sharding_constraint(whole(grads), self.split(grads)),)
        gathered.defvjp(lambda params: (whole(params), None), back)
        return gathered(params)


def split_axis(shape: tuple[int, ...], shards: int) -> int | None:
    """Return the axis along which an array of a state is sharded: the longest that divides into `shards`.

    None means that no axis does or that the array is small: it stays whole.
    """
    fits = [axis for axis, size in enumerate(shape) if size % shards == 0]
    return max(fits, key=shape.__getitem__) if fits and shards > 1 and math.prod(shape) >= SMALL else None


def stored_bytes(tree: Any, shards: int) -> int:
    """Return the bytes of a state that each device stores; `tree` may hold only shapes."""
    size = lambda leaf: math.prod(leaf.shape) * leaf.dtype.itemsize
    leaves = jax.tree.leaves(tree)
    return sum(size(leaf) // (1 if split_axis(leaf.shape, shards) is None else shards) for leaf in leaves)


@cache
def lay_out(devices: int | None = None, shards: int = 1) -> Layout:
    """Lay out the first `devices` devices as replicas of a state that is divided into `shards`.

    The default is one device, or all devices if they belong to several processes.
    """
    found, several = jax.devices(), jax.process_count() > 1
    devices = devices or (len(found) if several else 1)
    simulate = f"; XLA_FLAGS=--xla_force_host_platform_device_count={devices} simulates them"
    hint = simulate if found[0].platform == "cpu" else ""
    require(0 < devices <= len(found), f"`devices` is {devices}; JAX finds {len(found)}{hint}")
    require(not several or devices == len(found), f"`devices` is {devices}; use all {len(found)} of the processes")
    return Layout() if devices == shards == 1 else layout_over(found[:devices], shards)


def layout_over(devices: Sequence[Device], shards: int = 1) -> Layout:
    """Lay out these devices as replicas of a state that is divided into `shards`, which must divide their number."""
    count = len(devices)
    choices = ", ".join(map(str, divisors(count)))
    require(shards > 0 and count % shards == 0, f"`shards` is {shards}; for {count} devices it can be {choices}")
    axes = (count // shards, shards), ("replicas", "shards")
    return Layout(jax.make_mesh(*axes, axis_types=(AxisType.Auto,) * 2, devices=devices))


@partial(jax.jit, static_argnums=(0, 4))
def _nll_by_rows(model: Model, params: Params, x_BT: jax.Array, y_BT: jax.Array, layout: Layout) -> jax.Array:
    return layout.by_rows(partial(batch_nll, model), params, x_BT, y_BT)


@cache  # equal layouts give the same functions, and JAX compiles them once
def placement_on(layout: Layout) -> Placement:
    """Return the functions through which a run uses these devices."""
    return Placement(layout.devices, layout.share, layout.make, layout.copy) if layout.mesh else ONE_DEVICE


def shards_to_fit(state: Any, devices: int) -> int:
    """Return the smallest number of shards at which a state fits, with the whole parameters that a batch needs.

    If none fits, it is the number of shards at which each device needs the least. If devices do not report their
    memory, as CPUs do not, the state stays whole.

    Args:
      state: the shapes of the state of a run, with its parameters as `params`.
      devices: the number of devices.
    """
    memory = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if not memory:
        return 1
    whole = stored_bytes(state.params, 1)  # needed twice: for the computation, and for the gradients
    needed = {n: stored_bytes(state, n) + stored_bytes(state.params, n) + 2 * whole for n in divisors(devices)}
    fits = [shards for shards, size in needed.items() if size < memory / 2]  # the other half is for activations
    return min(fits, default=min(needed, key=needed.__getitem__))


def divisors(count: int) -> list[int]:
    """Return the divisors of the number of devices: the possible numbers of shards."""
    return [n for n in range(1, count + 1) if count % n == 0]


def spread(tree_R: Any) -> Any:
    """Divide independent runs, along the leading axis, among the devices of this process.

    A vmapped program then computes each run on its own device, without communication. If R is not a multiple of the
    number of devices, the last run is repeated until it is.
    """
    devices = jax.local_devices()[: len(jax.tree.leaves(tree_R)[0])]
    if len(devices) == 1:
        return tree_R
    mesh = jax.make_mesh((len(devices),), ("runs",), axis_types=(AxisType.Auto,), devices=devices)
    runs = len(jax.tree.leaves(tree_R)[0])
    run_S = np.minimum(np.arange(runs + -runs % len(devices)), runs - 1)
    return jax.device_put(jax.tree.map(lambda leaf: leaf[run_S], tree_R), NamedSharding(mesh, PartitionSpec("runs")))


def fetch(leaf: Any) -> np.ndarray:
    """Bring an array to the host, wherever its shards are stored; every process must call it."""
    sharding = getattr(leaf, "sharding", None)
    if isinstance(sharding, NamedSharding) and not leaf.is_fully_addressable and not leaf.is_fully_replicated:
        leaf = jax.jit(lambda x: x, out_shardings=NamedSharding(sharding.mesh, PartitionSpec()))(leaf)
    return np.asarray(leaf)


def lay_out_as(whole: np.ndarray, like: Any) -> Any:
    """Store an array that every process has as the array `like` is stored: the inverse of `fetch`."""
    if len(like.sharding.device_set) == 1:
        return whole
    return jax.make_array_from_callback(whole.shape, like.sharding, whole.__getitem__)


def local(tree: Any) -> Any:
    """Bring the whole arrays of a state to the first device of this process, to evaluate and sample a model."""
    on_one = lambda leaf: len(leaf.sharding.device_set) == 1
    return jax.tree.map(lambda leaf: leaf if on_one(leaf) else jnp.asarray(fetch(leaf)), tree)
