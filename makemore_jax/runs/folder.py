"""The folder of a run: its files, and how to read and verify them.

    config.json                   the settings and the digest of the data: the run's identity
    best.safetensors              the best weights on dev so far, as written by `trained.save`
    checkpoints/500.safetensors   the state after that many steps and the best weights until then; the last two are kept
    checkpoints/500.sharded       the same as a folder, for a state too large for one host
    metrics.jsonl, summary.json   measurements; written, never read back
    lock                          held by the process that writes, and names it

One process writes, the first of those that train together. It holds the lock, which is released when the process ends.
Any number of processes may read: readers never change anything, and always find whole files, since each file is synced
and then renamed. A checkpoint has a checksum and the identity of its run. A checkpoint that is damaged or belongs to
another run is reported, and the one before it is used instead.
"""

import json
import os
import re
import warnings
from pathlib import Path

from makemore_jax import checkpoint
from makemore_jax.data.lines import Reading, Split, digest, read_lines, split
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError, require, require_kinds
from makemore_jax.files import read_bytes
from makemore_jax.inference.trained import Trained, restore

FILES = ("summary.json", "metrics.jsonl", "best.safetensors")
# Settings that affect where things are stored or computed, but not the result.
ELSEWHERE = ("data", "files", "tokenizer", "init_from", "devices", "shards", "coordinator", "processes", "process")


def identity(config: dict) -> str:
    """Return the identity of a run: a digest of its configuration and data, wherever the data is stored."""
    kept = {name: value for name, value in config.items() if name not in ELSEWHERE}
    return checkpoint.fingerprint({}, json.dumps(kept, sort_keys=True))


def states(path: Path) -> list[Path]:
    """Return the saved states, newest first: files, or folders if they are sharded."""
    found = [*path.glob("checkpoints/*.safetensors"), *path.glob("checkpoints/*.sharded")]
    found = [state for state in found if re.fullmatch(r"\d{1,18}", state.stem)]
    return sorted(found, key=lambda state: int(state.stem), reverse=True)


def read_config(path: Path) -> dict | None:
    """Return the configuration of a run folder, or None if there is none that can be read."""
    try:
        config = json.loads(read_bytes(path / "config.json"))
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) and "lines_sha256" in config else None


def lines_of(path: Path, vocab: Vocab) -> Split | None:
    """Return the lines of a run's data as the vocabulary spells them.

    Return None if the data has changed, or if it is streamed and may be larger than memory.
    """
    config = read_config(path)
    try:
        if config is None or config["stream"]:
            return None
        lines = read_lines(config["data"], *Reading.of(config))
        same = digest(lines) == config["lines_sha256"]
    except (ValueError, KeyError, TypeError):  # also if the data is gone: an `InputError` is a `ValueError`
        return None
    parts = split(lines) if config.get("held_out", True) else Split(lines, [], [])
    return parts.map(lambda part: list(map(vocab.canonical, part))) if same else None


def open_run(path: str | Path) -> Trained:
    """Open the best weights of a run folder, or of one safetensors file, as a trained model, without writing anything.

    If the best weights are damaged, the newest intact checkpoint is used instead, with a warning.

    Raises:
      InputError: there is no such run, nothing has been saved yet, or nothing in it can be read.
    """
    require_kinds(path=path)
    path = Path(path)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
        files = [file for file in (path / "best.safetensors", *states(path)) if not is_file and file.is_file()]
    except OSError as error:  # before Python 3.14, also for a missing permission
        raise InputError(f"{str(path)!r}: {(error.strerror or 'cannot be read').lower()}") from None
    if is_file:
        leaves, about = checkpoint.read(path)
        return restore(_params(leaves, about), about, str(path))
    require(is_folder, f"{str(path)!r}: no such run folder or safetensors file; check the path")
    require(os.access(path, os.R_OK | os.X_OK), f"{str(path)!r}: permission denied")
    require(bool(files), f"{str(path)!r}: not a run folder, or nothing has been saved yet")
    config, problems = read_config(path), []
    for file in files:
        try:
            leaves, about = checkpoint.read(file)
            ours = config is None or about.get("run") == identity(config)
            require(ours, f"{str(file)!r}: belongs to another run than config.json")
            trained = restore(_params(leaves, about), about, str(file))
        except InputError as error:
            problems.append(str(error))
            continue
        if problems:
            warnings.warn(f"{'; '.join(problems)}; using {file.name} instead", stacklevel=2)
        return trained
    raise InputError("; ".join(problems))


def _params(leaves: dict, about: dict) -> dict:
    """Select the parameters among the arrays of a file: all of them, or the best so far in a saved state."""
    if "step" not in about:
        return leaves
    return {name.removeprefix("best."): leaf for name, leaf in leaves.items() if name.startswith("best.")}
