"""Let one process at a time write to a folder, and report why one cannot."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from makemore_jax.errors import InputError
from makemore_jax.files import is_regular


@contextmanager
def one_writer(folder: Path, report: Callable[[str], object] = lambda message: None) -> Iterator[None]:
    """Hold the lock beside the folder, and remove the partial folders that killed processes left."""
    file = folder.with_name(f"{folder.name}.lock")
    lock = FileLock(file)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            report(f"{folder}: another process is encoding; waiting for it")
            lock.acquire()
    try:
        for part in folder.parent.glob("*.part"):
            if re.fullmatch(re.escape(folder.name) + r"\.[0-9a-f]{8}\.part", part.name):
                shutil.rmtree(part, ignore_errors=True)
        yield
    finally:
        with suppress(OSError):
            if is_regular(file) and file.stat().st_size == 0:
                file.unlink()  # a process that waits for it sees that it is gone and creates another
        lock.release()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a failure to write into an `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{str(folder)!r}: cannot be written ({(error.strerror or str(error)).lower()})") from None
