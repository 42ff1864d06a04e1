"""Files on disk: strict JSON, and atomic writes, which leave either the whole file or nothing."""

import errno
import json
import math
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Any

import numpy as np


def embedded(name: str) -> Path:
    """The path of a text that comes with the project, such as "names.txt", as seen from the current folder.

    In a clone the texts lie in data/; a wheel holds them inside the package.
    """
    package = Path(__file__).parent
    installed = package / "texts" / name
    path = installed if installed.exists() else package.parent / "data" / name
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def to_json(value: Any, indent: int | None = None, ensure_ascii: bool = False) -> str:
    """Return strict JSON for any parser: NumPy and JAX numbers become plain ones, infinities and paths strings."""

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
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return the contents of a JSON file, indented for people to read."""
    return (to_json(value, indent=2) + "\n").encode()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Replace a file atomically: write a new file beside it, sync, rename. Permissions follow the umask.

    A link is replaced as well, and the file that it points to stays unchanged; a pipe or a device is refused.
    """
    path = Path(path)
    if path.exists():
        require_regular(path.stat(), path)
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    new = part.open("xb")  # fails if a file or a link of that name exists already
    try:
        with new as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync(path.parent)  # so that the rename survives a power cut as well


def begun(folder: Path, names: str) -> list[Path]:
    """Return the partial files that killed processes left, for files whose names match the pattern `names`."""
    return [part for part in folder.glob("*.part") if re.fullmatch(rf"({names})\.[0-9a-f]{{16}}\.part", part.name)]


def read_bytes(path: str | Path) -> bytes:
    """Return the contents of a regular file; raise `OSError` for a pipe, which would block, or an endless device."""
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        require_regular(os.fstat(file.fileno()), path)
        return file.read()


def require_regular(status: os.stat_result, path: str | Path) -> None:
    """Raise `OSError` unless this is the status of a regular file."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))


def is_regular(path: Path) -> bool:
    """Whether this is a regular file, not a link to one."""
    return path.is_file() and not path.is_symlink()


def inode(path: Path) -> tuple[int, int] | None:
    """Return the device and inode numbers of a file, which distinguish it from a later file at the same path.

    They do so as long as the file is open. Return None if there is no file.
    """
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def sync(path: Path) -> None:
    """Wait until a file, or the list of files in a folder, is on the disk."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
