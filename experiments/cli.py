"""What every command shares: flags from a dataclass, errors as one line, and the run folder."""

import contextlib
import dataclasses
import io
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import tyro

import makemore_jax
from makemore_jax.errors import InputError, require

VIEW = ("out", "overwrite", "resume", "json", "no_figures", "tensorboard")  # flags that change where and how, not what


def main(config_type: Callable[[], Any], run: Callable[[Any], dict]) -> None:
    """Parse the flags as the type that `config_type()` gives, run, and print the summary as JSON if `--json` asks so.

    A mistake in the input ends in one line on standard error and exit status 2.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a terminal without Unicode shows escapes, and no traceback
        stream.reconfigure(errors="backslashreplace")
    keep_compilations()
    try:
        config = parse(config_type())
        summary = run(config)
        if getattr(config, "json", True):
            print(to_json(summary))
        if sys.stdout:
            sys.stdout.flush()
    except InputError as error:
        fail(str(error))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        fail(f"{error.filename or 'output'}: {error.strerror or error}")
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        fail("out of memory; ask for less, or cut the data")
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def keep_compilations() -> None:
    """Keep what XLA compiles in the user's cache folder, so that the next run starts at once.

    JAX_COMPILATION_CACHE_DIR names another folder; JAX_ENABLE_COMPILATION_CACHE=false keeps nothing.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "makemore_jax"
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    with contextlib.suppress(OSError):  # no place to keep anything: nothing is kept
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def fail(message: str) -> None:
    """Say what is wrong in one line and exit with status 2."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def parse(config_type: Any) -> Any:
    """The flags as a `config_type`; tyro's boxed message about a wrong flag becomes one line.

    Raises:
      InputError: an unknown flag or a value that does not fit.
    """
    path = Path(sys.argv[0])
    prog = f"python -m experiments.{path.parent.name if path.stem == '__main__' else path.stem}"
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(config_type, prog=prog, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as stop:
        if not stop.code:
            raise
    # A title, a rule, the message, a rule, hints; the frame and its rules are of dashes where there is no UTF-8.
    text = re.sub(r"\x1b\[[0-9;]*m|[│╰╯]", "", box.getvalue()).replace("─", "-")
    message, *hints = re.split(r"(?m)^\s*-{5,}\s*$", re.sub("╭.*╮", "-----", text))[1:]
    near = re.search(r"Perhaps you meant:\s+(--[\w-]+)", " ".join(hints))
    what = " ".join(message.split()).rstrip(".")
    raise InputError(f"{what}; {f'did you mean {near[1]}? ' if near else ''}see {prog} --help")


def title(text: str) -> None:
    """The heading of a section of a command's story."""
    print(f"\n{text}\n{'-' * len(text)}")


def printable(text: str) -> str:
    """`text` with escapes for what a terminal would obey and not show."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def clip(text: str, width: int = 40) -> str:
    """`text`, printable and cut to `width` characters for a line of the story."""
    text = printable(text)
    return text if len(text) <= width else text[: width - 1] + "…"


def columns(texts: dict[str, list[str]]) -> None:
    """Print lists of texts side by side under their names."""
    for row in zip(*([name, *column] for name, column in texts.items()), strict=True):
        print("".join(clip(text, 30).ljust(32) for text in row).rstrip())


def open_run(config: Any, out: Path, digest: str, resume: bool = False) -> None:
    """Claim the folder `out` for this configuration of the lines of this digest, or find it, to resume.

    Its `config.json` is written. What an earlier run left there is cleared away: an unfinished one, one of the same
    configuration, or, where `config.overwrite` says so, any other.

    Raises:
      InputError: the folder cannot be written, or it holds a run of another configuration, or files that are no run,
        and `config.overwrite` is not set. Nothing in it is touched then.
    """
    fields = dataclasses.asdict(config)
    nested = {name: value for part in fields.values() if isinstance(part, dict) for name, value in part.items()}
    fields = {name: value for name, value in fields.items() if name not in VIEW and not isinstance(value, dict)}
    fields = json.loads(to_json({**fields, **nested, "lines_sha256": digest}))
    inside = out.resolve() in Path(config.data).resolve().parents
    require(not inside, f"{config.data}: lies in the run folder {out}; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if resume or not config.overwrite:
            refuse_other_run(out, fields, resume)
        if not resume:
            shutil.rmtree(out / "checkpoints", ignore_errors=True)
            for path in (out / "summary.json", out / "metrics.jsonl", *out.glob("*.png")):
                path.unlink(missing_ok=True)
        write_json(out / "config.json", fields)
    except OSError as error:
        raise InputError(f"{out}: {(error.strerror or 'cannot be written').lower()}; choose another --out") from None


def refuse_other_run(out: Path, fields: dict, resume: bool = False) -> None:
    """Raise `InputError` if the folder `out` holds something that a run of `fields` would overwrite, or not resume."""
    way_out = "choose another --out, or say --overwrite"
    if not any(out.iterdir()):
        require(not resume, f"{out}: there is no run to resume; start it without --resume")
        return
    try:
        held = json.loads((out / "config.json").read_text(encoding="utf-8"))
        differing = sorted(name for name in fields.keys() | held.keys() if fields.get(name) != held.get(name))
    except (OSError, ValueError, AttributeError, RecursionError):
        held, differing = {}, []
    require("lines_sha256" in held, f"{out}: the folder holds files that are not a run's; {way_out}")
    to_lose = (out / "summary.json").exists() or (out / "checkpoints").exists()  # else a run that never got far
    if differing and (to_lose or resume):
        what = ", ".join(f"{name} {held.get(name)!r} there, {fields.get(name)!r} here" for name in differing)
        raise InputError(f"{out}: holds a run of another configuration ({what}); {way_out}")
    if (out / "checkpoints").exists() and not resume:
        raise InputError(f"{out}: holds this run already; go on with --resume, or start anew with --overwrite")


def environment() -> dict:
    """The versions and the device behind a run's figures."""
    device = jax.devices()[0]
    versions = {"makemore_jax": makemore_jax.__version__, "python": sys.version.split()[0]}
    versions |= {module.__name__: module.__version__ for module in (jax, np, optax)}
    return {"versions": versions, "device": {"platform": device.platform, "kind": device.device_kind}}


def to_json(value: Any, **style: Any) -> str:
    """JSON that every reader takes: NumPy and JAX numbers as plain ones, infinities as strings, paths as text."""

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

    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, **style)


def write_json(path: Path, value: Any) -> None:
    """Replace the file in one move, so that a reader never finds half of it."""
    part = path.with_name(path.name + ".part")
    part.write_text(to_json(value, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
