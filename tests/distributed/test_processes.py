"""Several processes that train one model; `tests/layouts.py` tries more of them, and disturbs them."""

import contextlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from makemore_jax.distributed import processes
from makemore_jax.errors import InputError
from tests.conftest import ROOT, run_command
from tests.layouts import free_port, losses

SMALL = ["--model", "gru", "--embed", "5", "--hidden", "13", "--batch", "8", "--steps", "20", "--evaluate-every", "10"]
SMALL += ["--no-figures", "--samples", "3"]
GLOO = "[Gloo] Rank 1 is connected to 3 peer ranks. Expected number of connected peer ranks is : 3"  # from its threads


def start(data, out, *flags):
    """A process that trains in this folder."""
    command = [sys.executable, "-m", "experiments.train", *SMALL, "--data", str(data), "--out", str(out), *flags]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def words(text):
    """A set, since threads that print at once break each other's lines."""
    return set(re.findall("[A-Za-z]+", text))


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path, names):
    """Two with two devices each, the state split, streamed: equal losses, and only process 0 speaks and writes."""
    data = tmp_path / "names.txt"
    data.write_text("\n".join(names[:200]))
    together = ["--coordinator", f"localhost:{free_port()}", "--processes", "2", "--shards", "2", "--stream"]
    both = [start(data, tmp_path / f"run{i}", *together, "--process", str(i)) for i in range(2)]
    (out, err), (other, other_err) = (process.communicate() for process in both)
    assert [process.returncode for process in both] == [0, 0], err + other_err
    assert "4 devices of 2 processes share the batches, the state split into 2 shards" in out
    assert "encoding" in out
    assert words(other) <= words(GLOO)
    assert not words(out) <= words(GLOO)
    assert not (tmp_path / "run1").exists()
    together[1] = f"localhost:{free_port()}"
    both = [start(data, tmp_path / "run0", *together, "--process", str(i), "--resume") for i in range(2)]
    (out, err), (_, other_err) = (process.communicate() for process in both)
    assert [process.returncode for process in both] == [0, 0], err + other_err
    assert "continuing from step 20" in out
    assert run_command("train", *SMALL, "--data", data, "--out", tmp_path / "alone") == 0
    one, two = losses(tmp_path / "alone"), losses(tmp_path / "run0")
    assert len(set(one.tolist())) == len(one) == 4
    np.testing.assert_allclose(one, two, rtol=1e-5)
    kept = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("alone", "run0")]
    differing = {name for name in kept[0] if kept[0][name] != kept[1][name]}
    assert differing == {"stream", "shards", "coordinator", "processes", "process"} & set(kept[0])


@pytest.mark.parametrize("first", [True, False])
def test_the_first_process_makes_what_the_others_then_find(first, monkeypatch):
    """Such as the files of streamed data."""
    events = []

    @contextlib.contextmanager
    def together():
        yield
        events.append("all wait")

    monkeypatch.setattr(processes, "agreed", together)
    monkeypatch.setattr(processes, "is_first", lambda: first)
    assert processes.in_turn(lambda: events.append("make") or "made") == "made"
    assert events == (["make", "all wait", "all wait"] if first else ["all wait", "make", "all wait"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("localhost:1", None, None), "`coordinator`, `processes` and `process` belong together; give all three"),
        ((None, 2, 0), "belong together"),
        (("localhost", 2, 0), "`coordinator` is 'localhost'; it must be HOST:PORT"),
        (("localhost:1", 0, 0), "`processes` is 0; it must be at least 1"),
        (("localhost:1", 2, 2), "`process` is 2; it must be from 0 to 1"),
    ],
)
def test_flags_that_make_no_sense_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        processes.join(*given)


def test_a_coordinator_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(processes, "CONNECT", 0)
    with pytest.raises(InputError, match=r"no answer from process 0 at localhost:1 in 0 s \(.*\); start it as well"):
        processes.join("localhost:1", 2, 1)


def test_a_launcher_is_recognised(monkeypatch):
    monkeypatch.setattr(processes.jax.distributed, "initialize", lambda *args, **options: started.append(args))
    for name, value, several in (
        ("SLURM_STEP_NUM_TASKS", "1", False),
        ("SLURM_STEP_NUM_TASKS", "8", True),
        ("OMPI_COMM_WORLD_SIZE", "2", True),
        ("TPU_WORKER_HOSTNAMES", "localhost", False),
        ("TPU_WORKER_HOSTNAMES", "a,b", True),
    ):
        with monkeypatch.context() as patch:
            started = []
            patch.setitem(os.environ, name, value)
            processes.join()
            assert started == ([(None, None, None)] if several else [])


def test_alone_there_is_nothing_to_agree_on():
    assert processes.is_first()
    assert processes.any_of(True, False) == [True, False]
    assert processes.share({"a": 1}) == {"a": 1}
    with pytest.raises(InputError, match="no room"), processes.agreed():
        raise InputError("no room")
