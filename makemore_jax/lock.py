"""The lock of a run folder: one process writes, and says who it is; the lock ends with the process."""

import os
import socket
import time
import warnings
from pathlib import Path
from typing import TextIO

from makemore_jax.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None


def take(lock: TextIO, path: Path) -> None:
    """Lock the file for this process and say in it who holds it; the lock ends with the process, however that ends."""
    if fcntl is None:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read(200).strip() or "another process"
        raise InputError(f"{str(path)!r}: {holder} is writing to it; wait for it, or choose another `out`") from None
    except OSError as error:  # some network file systems have none
        reason = (error.strerror or "no locks").lower()
        warnings.warn(f"{str(path)!r} cannot be locked ({reason}); let one process at a time write to it", stacklevel=2)
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')},\n")
    lock.flush()
