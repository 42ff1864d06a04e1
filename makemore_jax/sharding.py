"""Several devices: placement, outside of the models.

Data parallelism: every device holds the parameters and the tokens, and the rows of each batch are shared out among
them. The program stays the one for a single device; XLA divides it, and adds up the gradients.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from makemore_jax.data import batch
from makemore_jax.errors import require


@cache
def spread(devices: int, gather: Callable = batch) -> tuple[Callable, Callable]:
    """`gather` whose batches are shared out by rows, for `train.batch_loss`, and what puts a tree on every device.

    Of one device, `gather` itself and `jax.device_put`.

    Raises:
      InputError: there are fewer devices.
    """
    there = jax.devices()
    simulate = f"; XLA_FLAGS=--xla_force_host_platform_device_count={devices} simulates them"
    hint = simulate if there[0].platform == "cpu" else ""
    require(0 < devices <= len(there), f"--devices is {devices}; JAX finds {len(there)} here{hint}")
    if devices == 1:
        return gather, jax.device_put
    mesh = jax.make_mesh((devices,), ("rows",), axis_types=(AxisType.Auto,), devices=there[:devices])
    rows, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["rows"], []))

    def share(*args: Any) -> tuple[jax.Array, ...]:
        return jax.lax.with_sharding_constraint(gather(*args), rows)

    return share, partial(jax.device_put, device=whole)
