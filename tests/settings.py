"""A table of JAX's own settings and commands: each command must end well under each setting.

Run it:   python -m tests.settings                       (about fifteen minutes on two cores)
          python -m tests.settings --only JAX_ENABLE_X64=1
Expect:   a row for each setting, a column for each command; exit status 1 if anything failed

Sizes are tiny. A process for each setting runs every command in turn, since starting JAX takes seconds. It is no part
of the test suite, which holds a few of its cells.
"""

import argparse
import collections
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from tests.conftest import ROOT, run_command

SETTINGS = (
    "",
    "JAX_ENABLE_X64=1",
    "JAX_DISABLE_JIT=1",
    "JAX_NUMPY_RANK_PROMOTION=raise",
    "JAX_NUMPY_DTYPE_PROMOTION=strict",
    "JAX_DEBUG_KEY_REUSE=1",
    "JAX_TRANSFER_GUARD=disallow",
    "JAX_DEBUG_NANS=1",
    "JAX_CHECK_TRACER_LEAKS=1",
    "JAX_DEFAULT_PRNG_IMPL=rbg",
    "JAX_THREEFRY_PARTITIONABLE=0",
    "JAX_DEFAULT_MATMUL_PRECISION=highest",
)
SIZES = {
    "bigram": {},
    "mlp": {"window": 3, "embed": 5, "hidden": 7},
    "wavenet": {"layers": 2, "channels": 5, "skip": 7},
    "bow": {"embed": 5, "hidden": 7},
    "rnn": {"embed": 5, "hidden": 7},
    "gru": {"embed": 5, "hidden": 7},
    "lstm": {"embed": 5, "hidden": 7},
    "hawk": {"embed": 5, "hidden": 7},
    "transformer": {"embed": 6, "layers": 1, "heads": 2},
}


def commands(folder: Path) -> dict[str, list]:
    """Every command of the table, by its name in it."""
    data, none = ["--data", folder / "few.txt"], "--no-figures"
    short = ["--steps", 3, "--warmup", 1, "--batch", 5, none, *data]
    table = {}
    for model, sizes in SIZES.items():
        flags = [f"--{name}={value}" for name, value in sizes.items()]
        made = ["--model", model, *flags, *short, "--evaluate-every", 2, "--samples", 3, "--out", folder / model]
        table[f"train {model}"] = ["train", *made]
        table[f"sample {model}"] = ["sample", folder / model, "--n", 3, "--top-k", 5]
    table["resume"] = ["train", *made, "--resume"]
    table["score"] = ["sample", folder / "mlp", "--score", "ava"]
    table["unseen"] = ["sample", folder / "mlp", "--n", 3, "--unseen", "--temperature", 0]
    table["recipe"] = ["train", *made[:2], *flags, *short, "--out", folder / "recipe", "--dropout", 0.1, "--remat"]
    table["recipe"] += ["--bfloat16", "--micro-batches", 2, "--batch", 4, "--average", 0.5]
    table["bigram"] = ["bigram", *data, "--steps", 3, "--samples", 2, none, "--out", folder / "counts"]
    table["inspect"] = ["inspect", folder / "transformer", "--lines", 7, "--out", folder / "inside"]
    table["sweep"] = ["sweep", "--model", "mlp", "--window", 3, "--embed", 5, "--hidden", 7, *short, "--seeds", 2]
    table["sweep"] += ["--rates", 0.01, 0.1, "--evaluations", 2, "--out", folder / "sweep"]
    return table


def row(folder: Path) -> int:
    """Run every command in this process, under the settings of its environment; prints what failed."""
    failed = collections.defaultdict(list)
    for name, (module, *flags) in commands(folder).items():
        said = io.TextIOWrapper(io.BytesIO())
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                status = run_command(module, *flags)
            said.flush()
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)
            ours = [
                f"{Path(f.filename).name}:{f.lineno}"
                for f in where
                if str(ROOT) in f.filename and "/.venv/" not in f.filename
            ][-3:]
            status = f"{type(error).__name__} {str(error)[:160]!r} at {' '.join(ours)}"
        if status:
            last = said.buffer.getvalue().decode().strip().splitlines()[-1:] if status == 2 else []
            failed[" ".join([str(status), *last])].append(name)
    for what, names in failed.items():
        print(f"  {', '.join(names)}: {what}", flush=True)
    return int(bool(failed))


def main() -> int:
    """Fill the table; returns the exit status."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--only", nargs="*", default=SETTINGS, help="try only these settings, as NAME=VALUE")
    flags.add_argument("--row", type=Path, help=argparse.SUPPRESS)
    config = flags.parse_args()
    if config.row:
        return row(config.row)
    failed = 0
    for setting in config.only:
        with tempfile.TemporaryDirectory(prefix="makemore_jax_settings_") as folder:
            names = (ROOT / "data/names.txt").read_text().splitlines()
            (Path(folder) / "few.txt").write_text("\n".join([name for name in names if len(name) <= 6][:40]))
            env = os.environ | dict([setting.split("=")] if setting else ())
            command = [sys.executable, "-m", "tests.settings", "--row", folder]
            print(setting or "(none)", flush=True)
            failed += bool(subprocess.run(command, cwd=ROOT, env=env).returncode)
    print(f"{len(config.only)} settings, {failed} with failures")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
