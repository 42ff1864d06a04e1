"""One training run on many layouts of devices and processes: the same batches, the same losses, and nobody hangs.

Run it:   python -m tests.layouts --seed 0
          python -m tests.layouts --only devices      8 simulated devices in one process: every model, every layout
          python -m tests.layouts --only gigabyte     a file of 1 GB, streamed by 2 processes: the memory of each
Expect:   the largest differences found, the seconds until every process had ended, and exit status 1 if a limit was
          exceeded

It is no part of the test suite, which holds a small case of each. Losses are compared, and not states: a parameter
whose gradient is 0 but for rounding, such as the bias of attention's keys, drifts under Adam.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import load_file

ROOT = Path(__file__).parent.parent
LAYOUTS = {"8 replicas": (8, 1), "8 shards": (8, 8), "2 x 4": (8, 4)}
SIZES = {
    "mlp": {"hidden": 512},
    "wavenet": {"layers": 3, "channels": 64},
    "bow": {"embed": 128},
    "rnn": {"hidden": 128},
    "gru": {"hidden": 128},
    "lstm": {"hidden": 128},
    "hawk": {"hidden": 128},
    "transformer": {"layers": 2},
}
LIMIT = {"float32": 3e-6, "float64": 1e-13}  # of the loss, over 20 steps
HANG = 60  # seconds
FLAGS = ["--model", "gru", "--hidden", "128", "--batch", "32", "--steps", "120", "--evaluate-every", "40", "--warmup"]
FLAGS += ["10", "--samples", "0", "--no-figures", "--dropout", "0.1", "--micro-batches", "2"]


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def losses(out: Path) -> np.ndarray:
    """The train loss of each chunk of a run, and the dev losses."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return np.array([value for row in rows for name, value in row.items() if name != "step"])


def devices(seed: int) -> list[str]:
    """Every model on 8 simulated devices, in float32 and float64; returns what failed."""
    import makemore_jax as mm
    from makemore_jax.distributed.mesh import lay_out, placement_on
    from makemore_jax.models.registry import resolve

    corpus, failed = mm.load(ROOT / "data/names.txt"), []
    options = {"batch": 32, "micro_batches": 2, "dropout": 0.1, "steps": 20, "warmup": 5}
    for precision, limit in LIMIT.items():
        jax.config.update("jax_enable_x64", precision == "float64")
        for name, sizes in SIZES.items():
            model, recipe = resolve(name, corpus.sizes, None, sizes | options)

            def train(layout, model=model, recipe=recipe):
                init, steps = mm.training(model, corpus, recipe, placement=placement_on(layout))
                state = init(jax.random.key(seed))
                if jax.config.jax_enable_x64:
                    wide = lambda leaf: leaf.astype(np.float64) if leaf.dtype == np.float32 else leaf
                    state = jax.tree.map(wide, state)
                return np.asarray(steps(state, 20)[1])

            one = train(lay_out(1))
            for label, arranged in LAYOUTS.items():
                found = [train(lay_out(*arranged)) for _ in range(2)]
                error, again = np.abs(found[0] - one).max(), np.array_equal(*found)
                print(f"{precision} {name:<12} {label:<10} {error:.1e} {'same bits twice' if again else 'OTHER BITS'}")
                if not (error <= limit and again and np.ptp(one) > 0.1):
                    failed.append(f"{precision} {name} {label}")
    return failed


class Processes:
    """Runs of `experiments.train` in folders of their own, with one process or more."""

    def __init__(self, folder: Path, seed: int):
        """For runs of this seed."""
        self.folder, self.seed = folder, seed

    def start(self, out: str, *flags: str, processes: int = 2, devices: int = 2, limit: int | None = None) -> list:
        """Start the processes of a run; `limit` bounds the size of a file that process 0 writes, in KiB."""
        port = free_port()
        env = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        started = []
        for number in range(processes):
            command = [sys.executable, "-m", "experiments.train", *FLAGS, *flags, "--out", str(self.folder / out)]
            command += ["--seed", str(self.seed)]
            if processes > 1:
                command += ["--coordinator", f"localhost:{port}", "--processes", str(processes)]
                command += ["--process", str(number)]
            else:
                command += ["--devices", str(devices)]
            if limit and number == 0:
                command = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "limited", *command]
            pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            started.append(subprocess.Popen(command, cwd=ROOT, env=env, text=True, **pipe))
        return started

    def end(self, started: list) -> tuple[list[int], list[str]]:
        """Wait for all; returns exit statuses and outputs. A process that hangs is killed, with status None."""
        statuses, outputs = [], []
        for process in started:
            try:
                outputs.append(process.communicate(timeout=600)[0])
                statuses.append(process.returncode)
            except subprocess.TimeoutExpired:
                process.kill()
                outputs.append(process.communicate()[0])
                statuses.append(None)
        return statuses, outputs

    def wait_for(self, out: str, step: int, started: list) -> None:
        """Wait until the run has saved this step, or has ended."""
        saved = self.folder / out / f"checkpoints/{step}.safetensors"
        while not saved.exists() and all(process.poll() is None for process in started):
            time.sleep(0.1)

    def losses(self, out: str) -> np.ndarray:
        """`losses` of a run."""
        return losses(self.folder / out)

    def weights(self, out: str) -> dict[str, bytes]:
        """The bits of the best weights; none where there are none."""
        best = self.folder / out / "best.safetensors"
        return {name: leaf.tobytes() for name, leaf in load_file(best).items()} if best.exists() else {}


def layouts(runs: Processes) -> list[str]:
    """One device, and two processes of two, in memory and streamed, replicas and shards; twice the same bits."""
    failed = []
    runs.end(runs.start("one", processes=1, devices=1))
    for name, flags in {"replicas": [], "again": [], "shards": ["--shards", "2"], "stream": ["--stream"]}.items():
        statuses, outputs = runs.end(runs.start(name, *flags))
        error = np.abs(runs.losses(name) - runs.losses("one")).max() if statuses == [0, 0] else np.inf
        print(f"2 processes x 2 devices, {name}: {error:.1e} from one device, exit {statuses}")
        if not error < 2e-5:  # after 120 steps
            failed.append(f"{name}: {outputs}")
    for name in ("again", "stream"):
        if runs.weights(name) != runs.weights("replicas"):
            failed.append(f"{name}: other bits than the same layout before")
    return failed


def stops(runs: Processes) -> list[str]:
    """A process that dies, signals to one of them, a full disk; then on with other devices."""
    failed, (whole, *_) = [], [runs.losses("one")]
    disturbances = {
        "kill -9 of process 1": (1, signal.SIGKILL),
        "kill -9 of process 0": (0, signal.SIGKILL),
        "TERM to process 1": (1, signal.SIGTERM),
        "Ctrl-C to process 0": (0, signal.SIGINT),
        "a full disk": (None, None),
    }
    resumed_on = [(1, 1), (1, 2), (1, 4), (2, 2), (1, 1)]  # processes, devices of each
    for number, (name, (victim, sent)) in enumerate(disturbances.items()):
        out = f"stopped{number}"
        started = runs.start(out, limit=None if sent else 200)
        if sent:
            runs.wait_for(out, 40, started)
            time.sleep(1)
            started[victim].send_signal(sent)
        began = time.monotonic()
        if not sent:
            started[0].wait()
            began = time.monotonic()
        statuses, outputs = runs.end(started)
        seconds = time.monotonic() - began
        last = [output.strip().splitlines()[-1][:160] if output.strip() else "" for output in outputs]
        print(f"{name}: ended after {seconds:.0f} s with {statuses}; they say {last}")
        if seconds > HANG or None in statuses or 0 in statuses:
            failed.append(name)
        processes, devices = resumed_on[number]
        again = ["--resume"] if (runs.folder / out / "checkpoints").exists() else []
        statuses, outputs = runs.end(runs.start(out, *again, processes=processes, devices=devices))
        error = np.abs(runs.losses(out) - whole).max() if set(statuses) == {0} else np.inf
        print(f"    resumed on {processes} x {devices} devices: {error:.1e} from the whole run, exit {statuses}")
        if not error < 2e-5:
            failed.append(f"{name}, resumed: {outputs}")
    return failed


def gigabyte(runs: Processes) -> list[str]:
    """Two processes stream a file of 1 GB; neither may hold as much memory of its own as the file has."""
    text, size = runs.folder / "gigabyte.txt", 10**9
    lines, random = (ROOT / "data/verses.txt").read_text().splitlines(), np.random.default_rng(runs.seed)
    with text.open("w") as file:
        while file.tell() < size:
            file.write("".join(f"{lines[i]}\n" for i in random.integers(len(lines), size=50_000)))
    began, peak_P = time.monotonic(), [0, 0]
    started = runs.start("gigabyte", "--stream", "--data", str(text), "--evaluate-every", "120", devices=1)
    while any(process.poll() is None for process in started):
        for number, process in enumerate(started):
            peak_P[number] = max(peak_P[number], own_memory(process.pid))
        time.sleep(0.2)
    statuses, outputs = runs.end(started)
    seconds, gib = time.monotonic() - began, [round(peak / 2**30, 2) for peak in peak_P]
    print(
        f"{text.stat().st_size / 1e9:.2f} GB by --stream: {seconds:.0f} s, GiB of each process {gib}, exit {statuses}"
    )
    return [] if statuses == [0, 0] and 0 < max(peak_P) < size else [f"gigabyte: {outputs}"]


def own_memory(pid: int) -> int:
    """The resident bytes of a process that are its own: without mapped files, which the system can drop at any time."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))


def main() -> None:
    """Run the shards that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["devices", "processes", "gigabyte"])
    chosen, failed = parser.parse_args(), []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # runs would inherit that a shell lets it be ignored
    if chosen.only in (None, "devices"):
        jax.config.update("jax_num_cpu_devices", 8)
        failed += devices(chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        runs = Processes(Path(folder), chosen.seed)
        if chosen.only in (None, "processes"):
            failed += layouts(runs) + stops(runs)
        if chosen.only in (None, "gigabyte"):
            failed += gigabyte(runs)
    print("\n".join(failed) if failed else "nothing failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
