"""What the benchmarks share: contestants that take turns, their ratios, memory, and the rate of the machine."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from makemore_jax.errors import require

TURN = 0.03  # seconds


@dataclass(frozen=True)
class Turns:
    """What every benchmark of contestants is told."""

    data: Path = Path("data/names.txt")
    """Text file in UTF-8, one thing a line."""
    rounds: int = 9
    """How many turns each contestant takes."""

    def __post_init__(self):
        require(self.rounds > 0, f"--rounds is {self.rounds}; it must be at least 1")


@dataclass(frozen=True)
class WithPeer(Turns):
    """The same, where makemore.py can be a contestant."""

    peer: Path | None = None
    """The folder of a clone of karpathy/makemore, to take turns with."""

    def __post_init__(self):
        super().__post_init__()
        there = not self.peer or (self.peer / "makemore.py").is_file()
        require(there, f"{self.peer}: no makemore.py in it; clone karpathy/makemore")


def seconds_of(call: Callable, times: int = 1) -> float:
    """Seconds of `times` calls."""
    began = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - began


def contestant(call: Callable, units: int = 1) -> Callable[[], float]:
    """A turn of it: seconds for each of the `units` of work of a call.

    A turn is as many calls as fill `TURN`, so that waking the threads is not what is measured.
    """
    call()  # compiles
    times = max(1, round(TURN / seconds_of(call)))
    return lambda: seconds_of(call, times) / (times * units)


def take_turns(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, np.ndarray]:
    """What each contestant says of each of its turns, (rounds,), taken one after the other and again."""
    turns = [{name: turn() for name, turn in contestants.items()} for _ in range(rounds)]
    return {name: np.array([turn[name] for turn in turns]) for name in contestants}


class Ratio(NamedTuple):
    """How many times longer another took than ours, turn by turn."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:>8.1f} x  ({self.least:.1f} to {self.most:.1f})"


def ratio(other: np.ndarray, ours: np.ndarray) -> Ratio:
    """Of two contestants' turns, in seconds."""
    longer = other / ours
    return Ratio(float(np.median(longer)), float(longer.min()), float(longer.max()))


def matrix_rate(dtype: jax.typing.DTypeLike = jnp.float32, side: int = 2048) -> float:
    """Float operations a second of a large matrix product, the most that this machine does."""
    a = jnp.ones((side, side), dtype)
    product = jax.jit(lambda a: a @ a)
    turn = contestant(lambda: product(a).block_until_ready(), units=2 * side**3)
    return 1 / float(np.median([turn() for _ in range(5)]))


def last_line(errors: str) -> str:
    """What a process that failed said last."""
    return (errors.strip() or "out of memory?").splitlines()[-1].removeprefix("error: ")


@contextlib.contextmanager
def without_cache() -> Iterator[None]:
    """Inside, compilations that were kept are not used, so that the first call shows what compiling takes."""
    kept = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # JAX asks once only whether there is one
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", kept)
        compilation_cache.reset_cache()
