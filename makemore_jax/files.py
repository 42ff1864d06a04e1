"""Files on disk: strict JSON, and atomic writes, which leave either the whole file or none of it."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np


def to_json(value: Any, indent: int | None = None, ensure_ascii: bool = False) -> str:
    """Strict JSON, for any parser: NumPy and JAX numbers as plain ones, infinities as strings, paths as text."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, str | int | None):
            return value
        if isinstance(value, Path):
            return os.fsencode(value).decode(errors="backslashreplace")
        if np.ndim(value):
            return plain(np.asarray(value).tolist())
        number = np.asarray(value).item()
        return str(number) if isinstance(number, float) and not math.isfinite(number) else number

    return json.dumps(plain(value), allow_nan=False, indent=indent, ensure_ascii=ensure_ascii)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically; see `write_bytes`."""
    write_bytes(path, (to_json(value, indent=2) + "\n").encode())


def write_bytes(path: str | Path, content: bytes) -> None:
    """Replace a file atomically: write a new file beside it, sync, rename. Permissions follow the umask."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)  # so that the rename survives a power cut, too


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
