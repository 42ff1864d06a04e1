"""Machines that JAX can compile for without having them: their chips and their devices."""

import contextlib
import os
from collections.abc import Sequence
from typing import NamedTuple

from makemore_jax.distributed.mesh import Device
from makemore_jax.errors import InputError, require

GIB = 2**30


class Chip(NamedTuple):
    """The published rates of one chip."""

    memory: float  # GiB that a program can use
    flops: float  # dense, bfloat16, per second
    bandwidth: float  # bytes per second between the chip and its memory
    link: float  # bytes per second to other chips, in one direction
    shapes: tuple[str, ...] = ()  # topologies of a TPU; a GPU has any number up to 8


# Google Cloud's pages on TPU versions, and NVIDIA's data sheets (SXM; links by NVLink).
CHIPS = {
    "v4": Chip(31.25, 275e12, 1228e9, 150e9, ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")),
    "v5e": Chip(15.75, 197e12, 819e9, 100e9, ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")),
    "v5p": Chip(95.0, 459e12, 2765e9, 300e9, ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")),
    "v6e": Chip(31.25, 918e12, 1640e9, 224e9, ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")),
    "a100": Chip(79.3, 312e12, 2039e9, 300e9),
    "h100": Chip(79.1, 989e12, 3352e9, 450e9),
}
# What XLA's compiler must know about a GPU: the fields of its GpuTargetConfigProto, from the same data sheets.
GPU = """
gpu_device_info {{
  threads_per_block_limit: 1024  threads_per_warp: 32  threads_per_core_limit: 2048
  shared_memory_per_block: 49152  shared_memory_per_core: {shared}  shared_memory_per_block_optin: {optin}
  core_count: {cores}  fpus_per_core: {fpus}  clock_rate_ghz: {clock}  cuda_compute_capability {{ major: {major} }}
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  thread_dim_limit_x: 1024  thread_dim_limit_y: 1024  thread_dim_limit_z: 64
  registers_per_core_limit: 65536  registers_per_block_limit: 65536
  memory_bandwidth: {bandwidth:.0f}  device_memory_size: {memory:.0f}  l2_cache_size: {cache}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{name}"
"""
GPUS = {
    "a100": {"shared": 167936, "cores": 108, "fpus": 64, "clock": 1.41, "major": 8, "cache": 41943040},
    "h100": {"shared": 233472, "cores": 132, "fpus": 128, "clock": 1.98, "major": 9, "cache": 52428800},
}


def parse(target: str) -> tuple[str, str]:
    """The chip and the shape of a target such as v5e:4x4 or h100:8."""
    chip, _, shape = target.partition(":")
    require(chip in CHIPS, f"`target` {target!r}: unknown chip; choose one of {', '.join(CHIPS)}")
    if chip in GPUS:
        require(shape.isdigit() and 1 <= int(shape) <= 8, f"`target` {target!r}: give {chip}:1 to {chip}:8")
        return chip, shape
    shapes = ("1", *CHIPS[chip].shapes)
    require(shape in shapes, f"`target` {target!r}: unknown shape; for {chip}, choose one of {', '.join(shapes)}")
    return chip, shape


def devices(target: str) -> Sequence[Device]:
    """Describe the devices of a target, so that JAX can compile for them; they need not exist."""
    from jax.experimental import topologies

    chip, shape = parse(target)
    try:
        if chip in GPUS:
            published = {"bandwidth": CHIPS[chip].bandwidth, "memory": CHIPS[chip].memory * GIB, "name": chip}
            published["optin"] = GPUS[chip]["shared"] - 1024  # CUDA keeps a KiB of each block for itself
            described = {"target_config": GPU.format(**GPUS[chip], **published), "topology": f"1x1x{shape}"}
            return topologies.get_topology_desc(platform="cuda", **described).devices
        os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # do not ask a cloud which machine this is
        os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # no chip is used, and an interrupted call would leave its lock
        smallest = CHIPS[chip].shapes[0]
        with quiet():
            name = f"{chip}:{smallest if shape == '1' else shape}"
            found = topologies.get_topology_desc(platform="tpu", topology_name=name)
        return found.devices[:1] if shape == "1" else found.devices
    except (RuntimeError, ImportError, NotImplementedError, KeyError) as error:
        package = "jax[cuda13] with nvidia-cuda-nvcc" if chip in GPUS else "jax[tpu]"
        reason = str(error).splitlines()[0][:200]
        wanted = f"`target` {target!r} needs another package, {package}: pip install '.[memory]'"
        raise InputError(f"{wanted} ({reason})") from None


@contextlib.contextmanager
def quiet():
    """Silence standard error, where compilers log which chips they do not find."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
