"""Coordinate several processes that train one model.

Each process has its own devices, and all run the same program on all of them (JAX's multi-controller SPMD). Every
process must take part in an operation that involves all devices, so no process may leave on its own: they decide
together whether to stop, save or give up, at points that all reach. Only process 0 prints, writes and deletes. With one
process, these functions do nothing.
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
HEARTBEAT = 30  # seconds of silence after which a process counts as dead


def join(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Make this process one of several; call it before JAX uses a device.

    Without arguments, the settings come from SLURM, Open MPI or a TPU pod if one of them started several processes.

    Args:
      coordinator: HOST:PORT, where process 0 listens and the others find it.
      processes: the number of processes.
      process: the number of this process, from 0.
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
    jax.config.update("jax_enable_preemption_service", False)  # it would intercept SIGTERM, which commands handle
    try:
        jax.distributed.initialize(
            coordinator, processes, process, initialization_timeout=CONNECT, heartbeat_timeout_seconds=HEARTBEAT
        )
    except RuntimeError as error:
        where = f"process 0 at {coordinator}" if coordinator else "the coordinator"
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"{where} did not answer within {CONNECT} s, or a process is missing ({reason})") from None
    gather(0)  # only the first exchange times out (30 s), and a process may later take minutes to encode data


def _wait_for(coordinator: str, host: str, port: int) -> None:
    """Wait until process 0 listens; JAX would wait as well, but then end the process without an error message."""
    until = time.monotonic() + CONNECT
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
            return
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            late = time.monotonic() > until
            require(not late, f"no answer from process 0 at {coordinator} in {CONNECT} s ({reason}); start it as well")
            time.sleep(0.2)


def _started_by_a_cluster() -> bool:
    """Whether a launcher that JAX knows has started several processes."""
    several = any(int(os.environ.get(name) or 1) > 1 for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    return several or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def alone() -> bool:
    """Whether there is only one process; the check does not start a device."""
    return not jax.distributed.is_initialized() or jax.process_count() == 1


def is_first() -> bool:
    """Whether this is process 0, which prints, writes and deletes."""
    return alone() or jax.process_index() == 0


def gather(values: Any) -> np.ndarray:
    """Gather (P, ...) the numbers of each process."""
    values = np.asarray(values)
    return values[None] if alone() else multihost_utils.process_allgather(values)


def any_of(*flags: bool) -> list[bool]:
    """Return for each flag whether it is true on any process."""
    return [bool(flag_P.any()) for flag_P in gather(np.array(flags)).T]


@contextlib.contextmanager
def agreed() -> Iterator[None]:
    """Raise `InputError` on every process if the body of the `with` raises it on any."""
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
    """Call `make()` on process 0, then on the others, which can reuse the files it wrote to a shared disk."""
    made = None
    for ours in (is_first(), not is_first()):
        with agreed():
            made = make() if ours else made
    return made


def share(value: Any = None) -> Any:
    """Return the value of process 0, which must be valid JSON, on every process."""
    if alone():
        return value
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    padded = text if is_first() else np.zeros(size, np.uint8)
    return json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded), np.uint8)))


def share_arrays(leaves: dict[str, np.ndarray], like: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of process 0 on every process; `like` gives their shapes and types.

    They are sent as bytes, one by one, because a broadcast is a sum and would turn -0.0 into 0.0.
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
    """Raise `InputError` unless `digest`, the SHA-256 of settings and data, is the same on every process."""
    digest_P = gather(np.frombuffer(bytes.fromhex(digest), np.uint8))
    differs_P = (digest_P != digest_P[0]).any(-1)
    wrong = f"process {int(np.argmax(differs_P))} differs from process 0 in its settings or data; start all alike"
    require(not differs_P.any(), wrong)
