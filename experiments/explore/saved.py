"""The Table view as one file: page, style, scripts and data in it, so that it opens without a server or a network."""

import base64
import hashlib
from pathlib import Path

from experiments.explore.table import Table
from makemore_jax.errors import InputError
from makemore_jax.files import to_json, write_bytes

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("common.js", "table.js", "saved.js")


def saved_page(table: Table) -> str:
    """The whole file. Its policy lets in nothing but the style and the scripts that it holds, by their hashes."""
    style = (PAGE / "style.css").read_text(encoding="utf-8")
    script = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    data = to_json(table.values | {"examples": table.examples()}).replace("<", "\\u003c")  # no tag can end it
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'"
    return (PAGE / "saved.txt").read_text(encoding="utf-8").format(policy=policy, style=style, script=script, data=data)


def write_page(table: Table, path: Path) -> None:
    """Write the page."""
    try:
        write_bytes(path, saved_page(table).encode("utf-8", "replace"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{str(path)!r}: cannot be written ({reason}); choose another `save`") from None


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
