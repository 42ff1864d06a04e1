"""What the benchmarks share: contestants that take turns, separate processes, and the speed of the machine."""

import importlib.util
import multiprocessing
import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.errors import InputError, require
from makemore_jax.files import embedded

TURN = 0.5  # seconds
RATIO_NOTE = "ratio: time relative to ours, turn by turn: the median, the lowest and the highest of the turns"
RATIO = {"ratio": ">9.1f", "lowest": ">9.1f", "highest": ">9.1f"}  # columns of a table


@dataclass(frozen=True)
class Benchmark:
    """The flags of a benchmark; numbers must be at least 1, and lists must not be empty."""

    json: bool = False
    """Print the summary as JSON on the last line."""

    def __post_init__(self):
        for name, value in vars(self).items():
            values = value if isinstance(value, tuple) else (value,)
            require(len(values) > 0, f"`{name}` is empty; give at least one")
            for number in values:
                require(type(number) is not int or number > 0, f"`{name}` is {number}; it must be at least 1")


@dataclass(frozen=True)
class Contest(Benchmark):
    """The flags of a benchmark whose contestants take turns."""

    data: Path = field(default_factory=partial(embedded, "names.txt"))
    """Text file in UTF-8, one item per line."""
    rounds: int = 9
    """Number of turns for each contestant; the table shows medians."""


@dataclass(frozen=True)
class PeerContest(Contest):
    """The flags of a contest in which makemore.py can take part."""

    peer: Path | None = None
    """Clone of github.com/karpathy/makemore, to measure makemore.py as well; this needs PyTorch."""

    def __post_init__(self):
        super().__post_init__()
        if self.peer:
            found = (self.peer / "makemore.py").is_file()
            require(found, f"{self.peer}: has no makemore.py; clone karpathy/makemore")
            require(importlib.util.find_spec("torch") is not None, "`peer` needs PyTorch: pip install torch==2.13.0")


def seconds(call: Callable[[], object], times: int = 1) -> float:
    """The mean seconds per call over this many calls."""
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times


def take_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Measure the seconds per call of each contestant, (rounds,), in alternation, so that all see the same machine.

    A turn repeats the call for about `TURN` seconds, since one short call would mostly measure how threads wake up.
    """
    times = {}
    for name, call in calls.items():
        call()  # compiles
        times[name] = max(1, round(TURN / seconds(call)))
    turns = [[seconds(call, times[name]) for name, call in calls.items()] for _ in range(rounds)]
    return dict(zip(calls, np.array(turns).T, strict=True))


def ratio(other: np.ndarray, ours: np.ndarray) -> dict[str, float]:
    """The other's time relative to ours, turn by turn: the median, the lowest and the highest."""
    ratios = other / ours
    return dict(zip(RATIO, map(float, (np.median(ratios), ratios.min(), ratios.max())), strict=True))


def own_process() -> ProcessPoolExecutor:
    """Make a Python process for a `with`; it starts at the first call and keeps its state between calls."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def ask(process: ProcessPoolExecutor, function: Callable[..., Any], **arguments: Any) -> Any:
    """Call a module's function in a process of `own_process`, and raise what it raises."""
    try:
        return process.submit(function, **arguments).result()
    except BrokenProcessPool:
        raise InputError(f"{function.__name__}: its process was killed; out of memory?") from None


def processor() -> str:
    """The name of the accelerator that JAX uses, or of the CPU with its number of cores."""
    device, cpuinfo = jax.devices()[0], Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text() if cpuinfo.exists() else "")
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores" if device.platform == "cpu" else device.device_kind


def matrix_rate(dtype: jax.typing.DTypeLike) -> float:
    """FLOP per second of a large matrix product, in practice the most that the machine reaches."""
    side = 2048 if jax.default_backend() == "cpu" else 8192
    a, product = jnp.ones((side, side), dtype), jax.jit(jnp.matmul)
    turns = take_turns({"product": lambda: product(a, a).block_until_ready()}, rounds=5)
    return 2 * side**3 / float(np.median(turns["product"]))
