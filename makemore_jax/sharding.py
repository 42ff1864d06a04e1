"""Data parallelism: the rows of each batch are divided among devices; models need not know about it.

Every device holds the parameters and the tokens. The program is the one for a single device; XLA partitions it and
sums the gradients.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from makemore_jax.data.tokens import batch
from makemore_jax.errors import require


@cache
def data_parallel(devices: int, get_batch: Callable = batch) -> tuple[Callable, Callable]:
    """Returns (get_batch, replicate): `get_batch` with its rows sharded, and a function that copies a pytree.

    `replicate(tree)` puts a copy on each of the devices. With one device these are `get_batch` itself and
    `jax.device_put`.

    Raises:
      InputError: JAX finds fewer devices.
    """
    found = jax.devices()
    simulate = f"; XLA_FLAGS=--xla_force_host_platform_device_count={devices} simulates them"
    hint = simulate if found[0].platform == "cpu" else ""
    require(0 < devices <= len(found), f"`devices` is {devices}; JAX finds {len(found)}{hint}")
    if devices == 1:
        return get_batch, jax.device_put
    mesh = jax.make_mesh((devices,), ("rows",), axis_types=(AxisType.Auto,), devices=found[:devices])
    sharded, replicated = NamedSharding(mesh, PartitionSpec("rows")), NamedSharding(mesh, PartitionSpec())

    def get_sharded_batch(*args: Any) -> tuple[jax.Array, ...]:
        return jax.lax.with_sharding_constraint(get_batch(*args), sharded)

    return get_sharded_batch, partial(jax.device_put, device=replicated)
