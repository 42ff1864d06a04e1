"""Every flag of every command that takes a number, with numbers that no one should give: each must end in one line.

Run it:   python -m tests.numbers                  (about an hour on two cores)
          python -m tests.numbers --only sample train
Expect:   a line for each number that ended in a traceback or an abort; exit status 1 if there is one

It is no part of the test suite, which holds the numbers that once failed.
"""

import argparse
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

from tests.conftest import ROOT, run_command
from tests.settings import commands

NUMBERS = (0, -1, 2**31, 2**40, 2**63, 2**64, "nan", "inf", "-inf")
SECONDS, MEMORY = 20, 6 * 2**30  # a command may be stopped at its work, and may not ask for more
MORE = {  # commands beside those of `settings`, with flags that keep them short
    "compare": ["--models", "bigram", "--seeds", 1, "--no-figures"],
    "scaling": ["--no-figures"],
    "words": [],
    "excess": ["--no-figures"],
    "digits": ["--no-figures"],
    "memory": [],
    "benchmark": ["scale"],
}


def number_flags(module: str, flags: list[str]) -> list[str]:
    """The flags of a command that take numbers, by its --help."""
    shown = run(module, [*flags, "--help"])[1]
    plain = re.sub(r"\x1b\[[0-9;]*m|[│╭╰╯╮]", " ", shown)
    return sorted(set(re.findall(r"(--[\w-]+) \{?(?:INT|FLOAT|\[?(?:INT|FLOAT)|None\}?\|?(?:INT|FLOAT))", plain)))


def run(module: str, flags: list[str]) -> tuple[int, str]:
    """A command's exit status, or minus the signal that ended it, and what it printed; in a fork of this process."""
    with tempfile.TemporaryFile("w+") as file:
        if not (child := os.fork()):
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            signal.alarm(SECONDS)
            try:
                status = run_command(module, *flags)
            except BaseException:
                traceback.print_exc()
                status = 1
            sys.stdout.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        file.seek(0)
        return status, file.read()


def problem(status: int, printed: str) -> str | None:
    """What is wrong with how a command ended."""
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    if status in (0, -signal.SIGALRM) or (status == 2 and len(lines) == 1 and "Traceback" not in printed):
        return None
    return f"{status} {(printed.strip().splitlines() or [''])[-1][:200]}"


def main() -> int:
    """Try every number; returns the exit status."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--only", nargs="*", help="try only these rows of the table, such as 'train mlp'")
    flags.add_argument("--flags", nargs="*", help="try only these flags, without their dashes")
    config, failed = flags.parse_args(), 0
    warnings.simplefilter("ignore")  # this process forks, and never starts JAX
    with tempfile.TemporaryDirectory(prefix="makemore_jax_numbers_") as name:
        folder = Path(name)
        names = (ROOT / "data/names.txt").read_text().splitlines()
        (folder / "few.txt").write_text("\n".join([name for name in names if len(name) <= 6][:40]))
        rows = {name: (module, flags) for name, (module, *flags) in commands(folder).items()}
        wanted = ["train mlp", "train transformer", "sample mlp", "bigram", "inspect", "sweep", *MORE]
        for name in ("train mlp", "train transformer"):
            run(*rows[name])
        for row in config.only or wanted:
            module, base = rows[row] if row in rows else (row, MORE[row])
            if row in MORE:
                base = [*base, "--out", folder / row] if row != "memory" else base
                base += ["--data", folder / "few.txt"] if row in ("compare", "scaling") else []
            chosen = config.flags and [f"--{name}" for name in config.flags]
            for flag in chosen or number_flags(module, base):
                for value in NUMBERS:
                    again = (
                        ["--overwrite"] if "--overwrite" not in base and "--out" in base and row != "inspect" else []
                    )
                    if wrong := problem(*run(module, [*base, *again, f"{flag}={value}"])):
                        failed += 1
                        print(f"{row} {flag}={value}: {wrong}", flush=True)
            print(f"{row}: done", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
