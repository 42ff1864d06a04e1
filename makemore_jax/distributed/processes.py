"""Several processes that train one model: who speaks and writes, and how they agree.

Each process has its own devices, and all run the same program on all of them (JAX's multi-controller SPMD). What
involves every device has to be asked for by every process, so no process may leave on its own: whether to stop, to save
or to give up is agreed on at points that all reach. Process 0 alone prints, writes and deletes. With one process, all
of this does nothing.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from makemore_jax.errors import InputError, require

CONNECT = 60  # seconds to wait for the coordinator
HEARTBEAT = 30  # seconds after which a process that is not heard of counts as dead


def join(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Make this process one of several; to be called before JAX uses a device.

    Without arguments, SLURM, Open MPI or a TPU pod say which process this is, if one of them has started several.

    Args:
      coordinator: HOST:PORT, where process 0 listens and the others find it.
      processes: how many there are.
      process: the number of this one, from 0.
    """
    given = [value is not None for value in (coordinator, processes, process)]
    if not any(given) and not _started_by_a_cluster():
        return
    require(all(given) or not any(given), "`coordinator`, `processes` and `process` belong together; give all three")
    if coordinator is not None and processes is not None and process is not None:
        host, _, port = coordinator.rpartition(":")
        valid = bool(host) and port.isdecimal() and int(port) < 2**16
        require(valid, f"`coordinator` is {coordinator!r}; it must be HOST:PORT")
        require(0 < processes < 2**31, f"`processes` is {processes}; it must be at least 1, and below 2**31")
        require(0 <= process < processes, f"`process` is {process}; it must be from 0 to {processes - 1}")
        if process > 0:
            _wait_for(coordinator, host, int(port))
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM away from the commands
    try:
        jax.distributed.initialize(
            coordinator, processes, process, initialization_timeout=CONNECT, heartbeat_timeout_seconds=HEARTBEAT
        )
    except RuntimeError as error:
        where = f"process 0 at {coordinator}" if coordinator else "the coordinator"
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"{where} did not answer within {CONNECT} s, or a process is missing ({reason})") from None
    gather(0)  # the first exchange gives up after 30 s, later ones wait: a process may take minutes to encode data


def _wait_for(coordinator: str, host: str, port: int) -> None:
    """Wait until process 0 listens. JAX would wait as well, but then end the process without a word to the user."""
    until = time.monotonic() + CONNECT
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
            return
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            late = time.monotonic() > until
            require(not late, f"no answer from process 0 at {coordinator} in {CONNECT} s ({reason}); start it, too")
            time.sleep(0.2)


def _started_by_a_cluster() -> bool:
    """Whether a launcher that JAX knows has started several processes."""
    several = any(int(os.environ.get(name) or 1) > 1 for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    return several or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def alone() -> bool:
    """Whether there is one process; found out without starting a device."""
    return not jax.distributed.is_initialized() or jax.process_count() == 1


def is_first() -> bool:
    """Whether this is process 0, which prints, writes and deletes."""
    return alone() or jax.process_index() == 0


def gather(values: Any) -> np.ndarray:
    """(P, ...) the numbers of each process."""
    values = np.asarray(values)
    return values[None] if alone() else multihost_utils.process_allgather(values)


def any_of(*flags: bool) -> list[bool]:
    """For each flag, whether it is true on any process."""
    return [bool(flag_P.any()) for flag_P in gather(np.array(flags)).T]


@contextlib.contextmanager
def agreed() -> Iterator[None]:
    """What is done inside succeeds on every process, or all give up."""
    problem = None
    try:
        yield
    except InputError as error:
        problem = error
    failed_P = gather(problem is not None)
    if problem:
        raise problem
    require(not failed_P.any(), f"process {int(np.argmax(failed_P))} gave up; it says why")


def in_turn(make: Callable[[], Any]) -> Any:
    """`make()`, by process 0 first and then by the others, who find what it has left on a disk that they share."""
    made = None
    for ours in (is_first(), not is_first()):
        with agreed():
            made = make() if ours else made
    return made


def share(value: Any = None) -> Any:
    """What process 0 has, anything that JSON holds, on every process."""
    if alone():
        return value
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    padded = text if is_first() else np.zeros(size, np.uint8)
    return json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded), np.uint8)))


def share_arrays(leaves: dict[str, np.ndarray], like: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays that process 0 has and the others need not, on every process; `like` tells their shapes and types.

    They travel as bytes, one by one: sums, of which a broadcast consists, would turn -0.0 into 0.0.
    """
    if alone():
        return leaves
    found = {}
    for name, leaf in like.items():
        shape, dtype = leaf.shape, np.dtype(leaf.dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        sent = np.ascontiguousarray(leaves[name]).reshape(-1).view(np.uint8) if is_first() else np.zeros(size, np.uint8)
        received = np.asarray(multihost_utils.broadcast_one_to_all(sent), np.uint8)
        found[name] = received.view(dtype).reshape(shape)
    return found


def require_same(digest: str) -> None:
    """Check that every process was started with the same flags on the same data, of which this is a SHA-256."""
    digest_P = gather(np.frombuffer(bytes.fromhex(digest), np.uint8))
    differs_P = (digest_P != digest_P[0]).any(-1)
    wrong = f"process {int(np.argmax(differs_P))} has other flags or other data than process 0; start all alike"
    require(not differs_P.any(), wrong)
