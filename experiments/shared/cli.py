"""What every command shares: its main function, one-line errors, the run folder, and printing."""

import contextlib
import dataclasses
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import makemore_jax
from makemore_jax.data.formats import Source
from makemore_jax.data.lines import printable
from makemore_jax.distributed.processes import alone, is_first, join
from makemore_jax.errors import InputError, require
from makemore_jax.files import to_json
from makemore_jax.models.interface import Model, shapes_of
from makemore_jax.recipe import Recipe, is_inside
from makemore_jax.runs.lock import claim as claim_folder
from makemore_jax.runs.writer import RunFolder

from .argv import DECIDING, UNSAID, flag_types, spelled
from .cells import clip, pad
from .cores import cache_folder, is_misfit, keep_compilations, make_cores_devices
from .flags import parse
from .reading import is_standard_input
from .signals import Stopped, stop_on_signals

# Flags that affect where a run is stored or how it is computed, but not its result.
VIEW = ("out", "overwrite", "resume", "json", "no_figures", "tensorboard", "save_every", "preset", "pause", "section")
# JAX's own settings that change random numbers, with their defaults; a run records those that differ.
RANDOM = {"jax_enable_x64": False, "jax_default_prng_impl": "threefry2x32", "jax_threefry_partitionable": True}
# Flags that are recorded only if they differ from these defaults, so that earlier runs can be resumed.
ADDED = dict.fromkeys(
    ("vocab_size", "tokenizer", "separator", "context_length", "init_from", "muon_rate", "holdout", *Source._fields)
)
ADDED |= UNSAID


def main(config_type: Callable[[], Any], run: Callable[[Any], dict], every_core: bool = False) -> None:
    """Parse the flags into the type that `config_type()` returns, run, and print the summary if `--json` is given.

    A user's mistake prints one line on standard error and exits with status 2; a signal exits with 128 plus its number.

    `every_core` is for commands that train many models: on a CPU, JAX gets one device for each core, and the devices
    share the runs. A command whose `--devices` is above 1 gets these devices as well.
    """
    flags = DECIDING
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):  # a terminal without Unicode shows escapes instead of failing
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    spell = lambda message: printable(spelled(str(message), flags))
    warnings.showwarning = lambda message, *_: print(f"warning: {spell(message)}", file=sys.stderr)
    keep_compilations()
    try:
        with stop_on_signals():
            flags = set(flag_types(wanted := config_type()))
            config = parse(wanted)
            in_one_process = not getattr(config, "coordinator", None)
            several_devices = (getattr(config, "devices", None) or 1) > 1
            if every_core or (several_devices and in_one_process):
                make_cores_devices()
            with jax.transfer_guard("allow"):  # a command may copy data to and from the device
                summary = run(config)
            if getattr(config, "json", True) and is_first():
                print_json(summary)
            sys.stdout.flush()
    except InputError as error:
        fail(spelled(str(error), flags))
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        fail(f"{error.filename or 'output'}: {error.strerror or error}")
    except (MemoryError, ValueError, AssertionError, jax.errors.JaxRuntimeError) as error:
        if is_misfit(error):
            fail(f"damaged programs in {cache_folder()}; delete that folder and start again")
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            fail("out of memory; choose smaller sizes, or cut the data")
        if alone() or not re.search("Gloo|NCCL|UNAVAILABLE|DEADLINE", str(error)):
            raise
        reason = printable(str(error).splitlines()[0][:200])
        message = f"another process ended, or cannot be reached ({reason}); use --resume"
        print(f"error: {message}", file=sys.stderr, flush=True)
        os._exit(2)  # JAX would wait for that process, then end this one with a stack trace
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.status)


@contextlib.contextmanager
def join_processes(config: Any) -> Iterator[None]:
    """Join the other processes if the flags or the launcher ask for several; only the first one prints."""
    if config.coordinator and config.process == 0:
        print(f"waiting at {config.coordinator} for {config.processes} processes to come together", flush=True)
    join(config.coordinator, config.processes, config.process)
    if is_first():
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def open_closed_streams() -> None:
    """Open the null device in place of each closed standard stream (`>&-`), so that no file gets its number."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout, sys.stderr = sys.stdout or open(1, "w"), sys.stderr or open(2, "w")  # noqa: SIM115


def fail(message: str) -> None:
    """Print what is wrong in one line and exit with status 2."""
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(2)


def claim(
    config: Any, out: Path, digest: str, files: tuple[str, ...] = (), resume: bool = False, **more: Any
) -> contextlib.AbstractContextManager[RunFolder]:
    """Lock the folder `out` for a run with these flags, on lines with this digest; see `makemore_jax.runs.lock`."""
    inside = out.absolute() in Path(config.data).absolute().parents
    require(not inside, f"{config.data}: lies in the run folder {out}; choose another `out`")
    return claim_folder(out, settings(config, digest, **more), files, resume=resume, overwrite=config.overwrite)


def settings(config: Any, digest: str, **more: Any) -> dict[str, Any]:
    """What a run of these flags on the lines of this digest depends on, as its config.json notes it.

    `more` is what it depends on besides, such as the digest of a file; None is not noted.
    """
    fields = dataclasses.asdict(config)
    nested = {name: value for part in fields.values() if isinstance(part, dict) for name, value in part.items()}
    fields = {name: value for name, value in fields.items() if name not in VIEW and not isinstance(value, dict)}
    noted = {**fields, **nested, "lines_sha256": digest}
    noted = {name: value for name, value in noted.items() if name not in ADDED or value != ADDED[name]}
    noted |= {name: value for name, value in more.items() if value is not None}
    chosen = {name: getattr(jax.config, name) for name in RANDOM}
    noted |= {name: value for name, value in chosen.items() if value != RANDOM[name]}
    if fields.get("tokenizer"):
        noted["tokenizer_sha256"] = config.encoded.vocab.digest
    return noted


def tell_optimizer(recipe: Recipe, model: Model) -> None:
    """Print how much of a model Muon trains, if the recipe says Muon."""
    if recipe.optimizer == "muon":
        leaves = jax.tree_util.tree_leaves_with_path(shapes_of(model.init))
        inside = sum(leaf.size for path, leaf in leaves if is_inside(path, leaf))
        share = f"muon trains the matrices, {inside:,} parameters; adamw trains the rest"
        print(share if inside else "this model has no matrix between its two ends, so adamw trains all of it")


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, with escapes for characters that the stream cannot encode."""
    text = to_json(value)
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        text = to_json(value, ensure_ascii=True)
    print(text)


def environment() -> dict:
    """The versions and the device that a run uses."""
    device = jax.devices()[0]
    versions = {"makemore_jax": makemore_jax.__version__, "python": sys.version.split()[0]}
    versions |= {module.__name__: module.__version__ for module in (jax, np, optax)}
    return {"versions": versions, "device": {"platform": device.platform, "kind": device.device_kind}}


def title(text: str) -> None:
    """Print the heading of a section."""
    print(f"\n{text}\n{'-' * len(text)}")


def shown(path: Path) -> str:
    """The path as printable text, or what it stands for."""
    return "standard input" if is_standard_input(path) else printable(str(path))


def columns(texts: dict[str, list[str]]) -> None:
    """Print lists of texts side by side, each under its name, in at most 80 characters."""
    width = min(32, 80 // len(texts))
    for row in zip(*([name, *column] for name, column in texts.items()), strict=True):
        print("".join(pad(clip(text or "(empty)", width - 2), width) for text in row).rstrip())


def mean_and_range(values: Sequence[float]) -> str:
    """The mean over several runs, with half the range between the lowest and the highest."""
    return f"{np.mean(values):.4f}" + (f" ±{(max(values) - min(values)) / 2:.4f}" if len(values) > 1 else "")


class Table:
    """A table that is printed row by row; each column has a name and a format for its values, such as ">9.4f"."""

    def __init__(self, **columns: str):
        """Print the heading, with spaces for underscores; a column is as wide as its name and its format need."""
        self.formats = {}  # by column: the alignment and width, and the format of a number
        for name, style in columns.items():
            _, side, width, kind = re.split(r"([<>])(\d+)", style)
            self.formats[name] = f"{side}{max(len(name) + 2, int(width))}", kind
        self.row(**{name: name.replace("_", " ") for name in columns})

    def row(self, **values: Any) -> None:
        """Print a row; a column whose value is None or missing stays empty."""
        texts = []
        for name, (place, kind) in self.formats.items():
            value = values.get(name)
            text = "" if value is None else value if isinstance(value, str) else format(value, kind)
            texts.append(format(text, place))
        print("".join(texts).rstrip(), flush=True)
