"""Tokens in files, for data that memory does not hold: encoded in two passes over the text, and mapped, not read.

A folder holds, for each of train, dev and test, the three arrays of `Tokens`, beside `vocab.json`, and `about.json`,
which says what they were made from.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from makemore_jax.data.lines import Split, read_chunks, split
from makemore_jax.data.tokens import Tokens, tokenize
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError, require


class Recipe(NamedTuple):
    """What the tokens of a file depend on."""

    level: str = "character"
    fold: bool = False
    min_count: int = 1
    max_length: int | None = None


class Stored(NamedTuple):
    """What a folder holds; the arrays of the tokens are maps of its files."""

    vocab: Vocab
    tokens: dict[str, Tokens]  # of train, dev and test
    digest: str  # SHA-256 of the lines


def source(path: Path, recipe: Recipe) -> dict:
    """What tells whether tokens are those of this file as it is now."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or 'cannot be read').lower()}; name a text file") from None
    return {"file": path.name, "bytes": status.st_size, "changed": status.st_mtime_ns, **recipe._asdict()}


def arrays(folder: Path, side: str, kind: str) -> dict[str, tuple[Path, np.dtype]]:
    """File and type of each array of a side; `kind` is that of the stream, the smallest that holds the vocabulary."""
    kinds = {"stream": kind, "start": "int64", "length": "int32"}
    return {name: (folder / f"{side}.{name}", np.dtype(kind)) for name, kind in kinds.items()}


def open_store(folder: Path, path: Path, recipe: Recipe = Recipe()) -> Stored:
    """Map the tokens of `path` that `write_store` put into `folder`.

    Raises:
      InputError: there are none, they are of another file or of other settings, or a file was cut short.
    """
    made_from = source(path, recipe)
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        require(about["source"] == made_from, f"{folder}: tokens of another file, or of other settings")
        tokens = {}
        for side in Split._fields:
            maps = []
            for name, (file, kind) in arrays(folder, side, about["kind"]).items():
                elements = about["elements"][side][name]
                require(file.stat().st_size == elements * kind.itemsize, f"{file}: cut short, or not whole")
                maps.append(np.memmap(file, kind, "r") if elements else np.zeros(0, kind))
            tokens[side] = Tokens(*maps)
        return Stored(Vocab.load(folder / "vocab.json"), tokens, about["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder}: no tokens that can be read") from None


def write_store(
    folder: Path, path: Path, recipe: Recipe = Recipe(), progress: Callable[[int], object] = lambda size: None
) -> Stored:
    """Encode `path` into `folder`, in memory that does not grow with the file, and map the result.

    What `folder` held is replaced when all is written, and not before.

    Two passes over the text: the vocabulary, then the tokens; `progress` gets the bytes of each chunk of each pass.
    """
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True, exist_ok=True)
    try:
        _write(part, path, recipe, progress)
        if (folder / "about.json").exists():  # tokens of before; a run that has mapped them keeps them
            shutil.rmtree(folder)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return open_store(folder, path, recipe)


def _write(folder: Path, path: Path, recipe: Recipe, progress: Callable[[int], object]) -> None:
    def chunks():
        for text in read_chunks(path, recipe.max_length, recipe.fold):
            yield text
            progress(len(text.encode()) + 1)

    made_from = source(path, recipe)
    words = recipe.level == "word"
    texts = ("\n".join(split(text.split("\n")).train) for text in chunks()) if words else chunks()
    vocab = Vocab.of(texts, recipe.level, recipe.fold, recipe.min_count)
    vocab.save(folder / "vocab.json")
    kind, digest = np.min_scalar_type(vocab.size - 1).name, hashlib.sha256()
    elements = {side: {"stream": 0, "start": 0, "length": 0} for side in Split._fields}
    with ExitStack() as stack:
        files = {
            side: {name: stack.enter_context(file.open("wb")) for name, (file, _) in arrays(folder, side, kind).items()}
            for side in Split._fields
        }
        for text in chunks():
            digest.update(text.encode() + b"\n")
            for side, lines in split(text.split("\n"))._asdict().items():
                tokens, written = tokenize(lines, vocab), elements[side]["stream"]
                again = int(written > 0)  # the mark that ends the chunk before starts this one
                parts = {
                    "stream": tokens.stream_M[again:],
                    "start": tokens.start_N.astype(np.int64) + written - again,
                    "length": tokens.length_N,
                }
                for name, (_, to) in arrays(folder, side, kind).items():
                    files[side][name].write(parts[name].astype(to).tobytes())
                    elements[side][name] += len(parts[name])
    about = {"source": made_from, "kind": kind, "elements": elements, "digest": digest.hexdigest()}
    (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
