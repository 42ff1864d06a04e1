"""Save a page as one file with its style, scripts and data, which opens without a server or a network.

A page of models holds each of them as a program: its jaxprs, which page/interpret.js runs, and its arrays.
"""

import base64
import gzip
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from makemore_jax.analysis.program import trace
from makemore_jax.errors import InputError, require
from makemore_jax.files import to_json, write_bytes
from makemore_jax.models.interface import num_params

from .open_runs import Shelf
from .table import Table

PAGE = Path(__file__).parent / "page"
TABLE = ("common.js", "chart.js", "large.js", "table.js", "saved.js")
MODELS = ("common.js", "large.js", "address.js", "tabs.js", "type.js", "make.js")
MODELS += ("interpret.js", "vocabulary.js", "local.js", "models.js")
MOST_PARAMETERS = 10_000_000  # of all models on a page: some 50 MB, and a tenth of a second for a letter


def table_page(table: Table) -> str:
    """Make the page of a table."""
    return _page("The table of bigrams", TABLE, table.values | {"examples": table.examples()})


def models_page(shelf: Shelf) -> str:
    """Make the page on which one types into these models and draws from them.

    Raises:
      InputError: a model is too large, or has an operation that the page cannot run.
    """
    return _page("A trained model", MODELS, [model | _runnable(shelf, model["name"]) for model in shelf.describe()])


def _runnable(shelf: Shelf, name: str) -> dict:
    """What the page needs to run a model, ready for JSON."""
    model, params, vocab, context = shelf.find(name).trained
    size = num_params(params)
    require(size <= MOST_PARAMETERS, f"{name} has {size:,} parameters; a page can hold {MOST_PARAMETERS:,}")
    try:
        traced = trace(model, params, operations())
    except InputError as error:
        raise InputError(f"{name}: {error}; leave out `save` to explore it with a server") from None
    return {
        "init_cache": traced.init_cache,
        "step": traced.step,
        "constants": base64.b64encode(gzip.compress(traced.constants, mtime=0)).decode(),
        "vocabulary": vocab.to_dict(),
        "barred": np.flatnonzero(~vocab.sampleable_V).tolist(),  # symbols that are never drawn
        "context": min(context, model.context or context),
    }


@cache
def operations() -> frozenset[str]:
    """The names of the operations in the dictionary of interpret.js."""
    dictionary = _read("interpret.js").partition("const OPERATIONS = {")[2].partition("\n};")[0]
    return frozenset(re.findall(r'(?:^  |, )"?([\w-]+)"?: (?:\w+\(|copy\b|\()', dictionary, re.MULTILINE))


def _page(title: str, scripts: tuple[str, ...], data: Any) -> str:
    """Make the whole file; its policy allows only its own style and scripts, by their hashes."""
    style, script = _read("style.css"), "\n".join(map(_read, scripts))
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    )
    shown = to_json(data).replace("<", "\\u003c")  # no tag can end the data
    return _read("saved.txt").format(title=title, policy=policy, style=style, script=script, data=shown)


def write_page(page: str, path: Path) -> None:
    """Write a page into a file."""
    try:
        write_bytes(path, page.encode("utf-8", "replace"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{str(path)!r}: cannot be written ({reason}); choose another `save`") from None


def _read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
