"""Use every core of a CPU, as JAX devices or as processes, and keep compiled programs between runs."""

import contextlib
import io
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TypeVar

import jax

from makemore_jax.errors import InputError

T = TypeVar("T")
U = TypeVar("U")


def count_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_cores_devices() -> None:
    """Make one CPU device for each core that this process may use, unless XLA_FLAGS sets their number."""
    if "device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # JAX has already started and keeps its devices
            jax.config.update("jax_num_cpu_devices", count_cores())


def on_every_core(function: Callable[[T], U], items: Sequence[T]) -> Iterator[U]:
    """Yield `function(item)` for each item in order, each computed in its own process, as many at once as cores.

    The output of each process is printed when it ends. A process has one thread: sharing small operations between two
    threads takes a third more processor time. Items and results are pickled, so the function must belong to a module.
    A single item is computed in this process; so are all items on an accelerator, one after another.
    """
    if len(items) == 1 or jax.default_backend() != "cpu":
        for item in items:
            yield function(item)
            jax.clear_caches()  # each program maps memory, and the system limits the maps of a process
        return
    os.environ["NPROC"] = "1"  # XLA's threads; read when JAX starts in the new process
    spawned, children = multiprocessing.get_context("spawn"), set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count_cores(), spawned, _begin_process, max_tasks_per_child=1)
    try:
        for printed, result in pool.map(partial(_captured, function), items):
            print(printed, end="", flush=True)
            yield result
    except BrokenProcessPool:
        raise InputError("one of the processes was killed; out of memory?") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in {*multiprocessing.active_children()} - children:
            child.terminate()


def _begin_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    keep_compilations()


def _captured(function: Callable[[T], U], item: T) -> tuple[str, U]:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = function(item)
    return printed.getvalue(), result


def cache_folder() -> str | None:
    """The folder in which JAX keeps compiled programs."""
    return jax.config.values["jax_compilation_cache_dir"]


def is_misfit(error: Exception) -> bool:
    """Whether this error says that a file in the cache folder holds a different program than its name says."""
    said = r"RuntimeProgramInputMismatch|incompatible with its layout annotation|^safe_zip\(\)|^\(\d+, \d+\)$"
    return bool(cache_folder() and re.search(said, str(error)))


def keep_compilations() -> None:
    """Keep compiled programs in the user's cache folder, so that the next run starts at once.

    JAX_COMPILATION_CACHE_DIR names another folder; JAX_ENABLE_COMPILATION_CACHE=false turns this off.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    with contextlib.suppress(OSError, RuntimeError):  # without a home folder or a writable disk, nothing is kept
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = home / "makemore_jax"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
