"""A hostile campaign against the run folder: kills, signals, damage, readers, two writers, full disks, another user,
folders that move away, files of other people; and against token files: another text of one size and time, two encoders.

Run it:   python -m tests.campaign --minutes 30 --seed 0
Expect:   how often each was tried and how often it failed; exit status 1 if anything failed

Whatever happens to a run, resuming it must end in the files of the run that nothing happened to, byte for byte, or in
one line that says why not. It is no part of the test suite, which holds a table of such cases; it draws them at random.
"""

import argparse
import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import makemore_jax as mm
from makemore_jax import checkpoint
from makemore_jax.errors import InputError
from makemore_jax.runs.folder import open_run
from tests import tiny_run
from tests.campaign_files import ForeignFiles

ROOT = Path(__file__).parent.parent
SMALL = {"model": "mlp", "window": 3, "embed": 5, "hidden": 13, "batch": 8, "samples": 0}
RECIPE = {"steps": 1200, "evaluate-every": 20, "warmup": 5}
RUN = ["--no-figures", *(f"--{name}={value}" for name, value in (SMALL | RECIPE).items())]


class Campaign(ForeignFiles):
    """The cases, each drawn at random; a case returns what failed, or nothing."""

    def __init__(self, seed: int, folder: Path):
        """Make the runs that nothing happens to."""
        self.random, self.folder, self.number = random.Random(seed), folder, 0
        self.tried, self.failed = collections.Counter(), collections.Counter()
        self.data = folder / "names.txt"
        names = (ROOT / "data/names.txt").read_text().splitlines()
        self.data.write_text("\n".join(names[:200]))
        self.env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
        self.env |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        self.whole = folder / "whole"
        began = time.monotonic()
        assert self.start(self.whole).wait() == 0
        self.seconds = time.monotonic() - began
        self.tiny_whole, self.tiny_half = folder / "tiny", folder / "half"
        tiny_run.train(self.tiny_whole)
        tiny_run.train(self.tiny_half, until=30)
        self.foreign = folder / "foreign"
        tiny_run.train(self.foreign, until=30, seed=1)

    def new(self) -> Path:
        """A folder that is not there yet."""
        self.number += 1
        return self.folder / f"run{self.number}"

    def start(self, out: Path, *flags: str, limit: int | None = None) -> subprocess.Popen:
        """The training command; `limit` is the size in KiB past which no file may grow."""
        command = [sys.executable, "-m", "experiments.train", *RUN, "--data", str(self.data), "--out", str(out), *flags]
        if limit:
            command = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "limited", *command]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=subprocess.DEVNULL, stderr=pipe, text=True)

    def wait(self) -> None:
        """A random moment of a run, its start and its end included."""
        time.sleep(self.random.uniform(0.2, 1.1) * self.seconds)

    def end(self, out: Path) -> str | None:
        """Resume until the run is whole; what differs from the run that nothing happened to."""
        resumed = self.start(out, *(["--resume"] if (out / "config.json").exists() else []))
        errors = resumed.communicate()[1]
        if resumed.returncode:
            return f"resume: {resumed.returncode} {errors[-300:]}"
        same = tiny_run.contents(out) == tiny_run.contents(self.whole)
        shutil.rmtree(out)
        return None if same else "the resumed run is another run"

    def kill(self) -> str | None:
        """SIGKILL, up to three times in a row."""
        out = self.new()
        for _ in range(self.random.randint(1, 3)):
            child = self.start(out, *(["--resume"] if (out / "config.json").exists() else []))
            self.wait()
            child.kill()
            child.communicate()
            self.tried["kills"] += 1
            if (out / "summary.json").exists():
                break
        return self.end(out)

    def term(self) -> str | None:
        """A signal that asks to stop."""
        out, number = self.new(), self.random.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        child = self.start(out)
        time.sleep(self.random.uniform(0.5, 1.1) * self.seconds)
        child.send_signal(number)
        errors = child.communicate()[1]
        if child.returncode not in (0, 128 + number, -number):
            return f"{number}: status {child.returncode} {errors[-300:]}"
        if "Traceback" in errors and (out / "config.json").exists():
            return f"{number}: {errors[-300:]}"
        return self.end(out)

    def two_writers(self) -> str | None:
        """Two processes into one folder at once: one run, one line."""
        out = self.new()
        first, second = self.start(out), None
        time.sleep(self.random.uniform(0, 0.3))
        second = self.start(out)
        results = sorted((child.communicate()[1], child.returncode)[::-1] for child in (first, second))
        if [status for status, _ in results] != [0, 2]:
            return f"two writers: {results}"
        if results[1][1].count("\n") != 1 or not any(w in results[1][1] for w in ("is writing", "holds this run")):
            return f"two writers: {results[1][1]}"
        return self.end(out)

    def full_disk(self) -> str | None:
        """No file may grow past a limit: one line, and what was saved before is kept."""
        out = self.new()
        child = self.start(out, limit=self.random.choice([1, 2, 4, 8, 12, 16, 24]))
        errors = child.communicate()[1]
        lines = [line for line in errors.splitlines() if line.startswith("error: ")]
        if child.returncode not in (0, 2) or (child.returncode == 2 and len(lines) != 1) or "Traceback" in errors:
            return f"full disk: {child.returncode} {errors[-300:]}"
        return self.end(out) if (out / "config.json").exists() else None

    def readers(self) -> str | None:
        """Reading as fast as it goes beside a training run."""
        out = self.new()
        child = self.start(out)
        while child.poll() is None:
            try:
                open_run(out)
                self.tried["reads"] += 1
            except InputError as error:
                if not any(word in str(error) for word in ("nothing has been saved yet", "no such run folder")):
                    child.kill()
                    return f"reader: {error}"
        errors = child.communicate()[1]
        return f"read to death: {errors[-300:]}" if child.returncode else self.end(out)

    def damage(self) -> str | None:
        """Something happens to the files of a run; it is resumed, or read, 20 times over."""
        for _ in range(20):
            self.tried["damages"] += 1
            out = self.new()
            shutil.copytree(self.tiny_half, out)
            what = [self.harm(out) for _ in range(self.random.randint(1, 2))]
            try:
                if self.random.random() < 0.5:
                    own = weights(self.tiny_half) | (weights(self.foreign) if "config.json" in str(what) else set())
                    if fingerprint(open_run(out)) not in own:
                        return f"{what}: the weights of no checkpoint of this run"
                else:
                    tiny_run.train(out, resume=True)
                    if tiny_run.contents(out) != tiny_run.contents(self.tiny_whole):
                        return f"{what}: another run"
            except InputError as error:
                if "\n" in str(error) or "overwrite" in str(error).split("configuration")[0]:
                    return f"{what}: {error}"
            except Exception as error:
                return f"{what}: {type(error).__name__} {error}"
            shutil.rmtree(out)
        return None

    def harm(self, out: Path) -> str:
        """One random damage to one random file; says what it was."""
        files = [file for file in out.rglob("*") if file.is_file() and file.name != "lock"]
        if not files:
            return "nothing left"
        file, draw = self.random.choice(files), self.random
        kind = draw.choice(["flip", "flip", "flip", "cut", "empty", "garbage", "delete", "rename", "swap", "foreign"])
        raw = bytearray(file.read_bytes())
        if kind == "flip" and raw:
            raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
            file.write_bytes(raw)
        elif kind == "cut":
            file.write_bytes(raw[: draw.randrange(len(raw) + 1)])
        elif kind == "empty":
            file.write_bytes(b"")
        elif kind == "garbage":
            file.write_bytes(draw.randbytes(draw.randrange(5000)))
        elif kind == "delete":
            file.unlink()
        elif kind == "rename":
            file.rename(file.with_name(draw.choice(["-5", "99", "2147483647", "x", "9" * 30]) + file.suffix))
        elif kind == "swap":
            other = draw.choice(files)
            theirs = other.read_bytes()
            other.write_bytes(raw)
            file.write_bytes(theirs)
        elif kind == "foreign":
            shutil.copy(draw.choice(list(self.foreign.rglob("*.safetensors"))), file)
        return f"{kind} {file.name}"

    def once(self, only: str | None = None) -> None:
        """One case, drawn at random, or the one of this name."""
        cases = [self.kill] * 6 + [self.term] * 3 + [self.two_writers, self.full_disk, self.readers, self.other_user]
        cases += [self.moved, self.moved, self.planted, self.same_texts, self.two_encoders, self.damage, self.damage]
        case = getattr(self, only) if only else self.random.choice(cases)
        self.tried[case.__name__] += 1
        if problem := case():
            self.failed[case.__name__] += 1
            print(f"FAILED {problem}", flush=True)


def fingerprint(trained: mm.Trained) -> str:
    """A digest of the weights."""
    leaves = checkpoint.flatten(trained.params)
    return checkpoint.fingerprint({name: np.asarray(leaf) for name, leaf in leaves.items()}, "")


def weights(run: Path) -> set[str]:
    """The digests of all weights that a run has kept."""
    return {fingerprint(open_run(file)) for file in run.rglob("*.safetensors")}


def main() -> int:
    """Draw cases until the time is over; returns the exit status."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--minutes", type=float, default=30, help="how long to go on")
    flags.add_argument("--seed", type=int, default=0, help="which cases are drawn")
    only = ["kill", "term", "damage", "readers", "full_disk", "moved", "planted", "same_texts", "two_encoders"]
    flags.add_argument("--only", choices=only, help="try only these cases")
    config = flags.parse_args()
    warnings.simplefilter("ignore")  # what was passed over, and why
    with tempfile.TemporaryDirectory(prefix="makemore_jax_campaign_") as folder:
        campaign, until = Campaign(config.seed, Path(folder)), time.monotonic() + 60 * config.minutes
        while time.monotonic() < until:
            campaign.once(config.only)
    print(f"{config.minutes:g} minutes, seed {config.seed}, makemore_jax {mm.__version__}")
    for name, count in sorted(campaign.tried.items()):
        print(f"{name:<14}{count:>8,} tried{campaign.failed[name]:>6,} failed")
    return int(bool(campaign.failed))


if __name__ == "__main__":
    sys.exit(main())
