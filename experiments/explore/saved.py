"""Save the Table view as one file with its style, scripts and data, which opens without a server or a network."""

import base64
import hashlib
from pathlib import Path

from makemore_jax.errors import InputError
from makemore_jax.files import to_json, write_bytes

from .table import Table

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("common.js", "table.js", "saved.js")


def saved_page(table: Table) -> str:
    """Make the whole file; its policy allows only its own style and scripts, by their hashes."""
    style = (PAGE / "style.css").read_text(encoding="utf-8")
    script = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    data = to_json(table.values | {"examples": table.examples()}).replace("<", "\\u003c")  # no tag can end the data
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'"
    return (PAGE / "saved.txt").read_text(encoding="utf-8").format(policy=policy, style=style, script=script, data=data)


def write_page(table: Table, path: Path) -> None:
    """Write the page into a file."""
    try:
        write_bytes(path, saved_page(table).encode("utf-8", "replace"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{str(path)!r}: cannot be written ({reason}); choose another `save`") from None


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
