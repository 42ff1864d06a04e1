"""The commands that train, sample, look, sweep and compare, as a shell starts them."""

import dataclasses
import importlib
import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Annotated, get_args, get_origin, get_type_hints

import jax
import numpy as np
import pytest

import makemore_jax as mm
from experiments.shared import cli
from experiments.shared.argv import unescape
from experiments.shared.signals import REQUEST, SIGNALS, Stopped, stop_on_signals
from makemore_jax.analysis.laws import fit_law
from makemore_jax.checkpoint import read
from makemore_jax.data.peer_split import _torch_permutation, makemore_split
from makemore_jax.models.registry import MODELS, build
from makemore_jax.runs.folder import states
from tests.conftest import ROOT, run_command
from tests.tiny_run import RUN, SMALL, contents


@pytest.fixture(scope="module")
def file(tmp_path_factory, names):
    """Short names: dev and test have the same longest line, and share compiled programs."""
    path = tmp_path_factory.mktemp("data") / "few.txt"
    path.write_text("\n".join([name for name in names if len(name) <= 6][:200]))
    return path


@pytest.fixture
def train(command, file, tmp_path):
    return lambda *flags, out="run": command("train", *RUN, "--data", file, "--out", tmp_path / out, *flags)


def process(file, out, *flags):
    return [sys.executable, "-m", "experiments.train", *map(str, [*RUN, "--data", file, "--out", out, *flags])]


@pytest.fixture(scope="module")
def whole(file, tmp_path_factory):
    """The run without a stop."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run_command("train", *RUN, "--data", file, "--out", out) == 0
    return out


@pytest.mark.parametrize(
    ("flags", "cores"),
    [
        ((), False),
        (("--devices", "1"), False),
        (("--devices", "2"), True),
        (("--devices", "2", "--coordinator", "a:1"), False),
    ],
)
def test_on_a_cpu_the_devices_that_are_asked_for_are_cores(monkeypatch, flags, cores):
    @dataclass(frozen=True)
    class Config:
        devices: int | None = None
        coordinator: str | None = None
        json: bool = False

    asked = []
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(jax.config, "update", lambda name, value: asked.append((name, value)))
    monkeypatch.setattr("sys.argv", ["command", *flags])
    cli.main(lambda: Config, lambda config: {})
    assert asked == ([("jax_num_cpu_devices", len(os.sched_getaffinity(0)))] if cores else [])


def test_a_damaged_cache_of_programs_is_named(monkeypatch, capsys):
    """What JAX says of a program that was compiled for other shapes; anything else keeps its traceback."""

    def run(error):
        raise error

    monkeypatch.setattr(cli, "parse", lambda config: config)
    for error in (
        jax.errors.JaxRuntimeError("INVALID_ARGUMENT: E0102: RuntimeProgramInputMismatch:\nExecutable(f) expected"),
        ValueError("One of jit outputs with pytree key path result is incompatible with its layout annotation Layout"),
        ValueError("safe_zip() argument 1 has length 0 but argument 0 has length 1. All lengths: (1, 0, 0)"),
        AssertionError("(2, 1)"),
    ):
        with pytest.raises(SystemExit):
            cli.main(partial(type(error), *error.args), run)
        assert capsys.readouterr().err == (
            f"error: damaged programs in {jax.config.jax_compilation_cache_dir}; delete that folder and start again\n"
        )
    for error in (ValueError("(2, 1, 3)"), AssertionError("two"), KeyError("x")):
        with pytest.raises(type(error)):
            cli.main(partial(type(error), *error.args), run)


MODULES = {path.stem for path in (ROOT / "experiments").glob("*.py")} - {"__init__"}
PACKAGES = {path.parent.name for path in (ROOT / "experiments").glob("*/__main__.py")}
POSITIONAL = {"benchmark", "gpt2", "inspect", "sample"}  # commands that cannot do without an argument


@pytest.mark.parametrize(
    ("typed", "text"),
    [(r"a\nb\n", "a\nb\n"), (r"\t", "\t"), (r"a\\nb", r"a\nb"), (r"\\\n", "\\\n"), (r"\d", r"\d")],
)
def test_escapes_in_text_that_is_typed(typed, text):
    assert unescape(typed) == text


@pytest.mark.parametrize("name", sorted((MODULES | PACKAGES) - {"__main__", "benchmark"}))
def test_every_flag_that_takes_text_takes_escapes(name):
    """Plain strings are only a regular expression, which has escapes of its own, and names of machines and columns."""
    module = importlib.import_module(f"experiments.{name}" + ".__main__" * (name in PACKAGES))
    fields, plain = list(get_type_hints(module.Config, include_extras=True).items()), set()
    for field, kind in fields:
        if dataclasses.is_dataclass(nested := (*get_args(kind), kind)[0]):
            fields += get_type_hints(nested, include_extras=True).items()
        if str in (kind, *get_args(kind)) and get_origin(kind) is not Annotated:
            plain.add(field)
    assert plain <= {"coordinator", "match", "target", "column", "weights", "encoding"}


@pytest.mark.parametrize("name", sorted(MODULES | PACKAGES))
def test_every_command_without_a_flag(command, monkeypatch, name):
    """The first thing that people type: it begins its work, or says in one line what it needs."""
    begun = []

    def parsed(config_type, run, **options):
        main(config_type, lambda config: begun.append(config) or {}, **options)

    main = cli.main
    monkeypatch.setattr(cli, "main", parsed)
    status, _, err = command(name)
    assert len(begun) == (name not in POSITIONAL)
    assert (status, err.count("\n")) == ((2, 1) if name in POSITIONAL else (0, 0)), err


def test_a_run_reports_its_best(whole):
    rows = [json.loads(row) for row in (whole / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["nats"]["dev"] == pytest.approx(min(row["dev"] for row in rows), abs=1e-6)
    assert summary["baselines"]["uniform"] > summary["baselines"]["unigram"]


@pytest.mark.parametrize("sign", ["best.safetensors*", "checkpoints/[0-9]0.safetensors"])
def test_killed_at_any_moment_it_continues_bit_for_bit(train, file, tmp_path, whole, sign):
    """SIGKILL when the first save begins, and when there is a checkpoint; then resume elsewhere: the whole run."""
    out = tmp_path / "run"
    child = subprocess.Popen(process(file, out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None and not list(out.glob(sign)):
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not (out / "summary.json").exists()
    status, said, err = train("--resume")
    assert (status, err) == (0, "")
    assert "continuing from step" in said or "nothing was saved yet" in said
    assert contents(out) == contents(whole)


LONG = ["--steps", 100_000, "--evaluate-every", 200]


def assert_saved(out, said):
    assert f"to continue: python -m experiments.train --out {out} --resume" in said
    assert int(states(out)[0].stem) >= 200
    assert int(states(out)[0].stem) % 50 == 0


def test_a_signal_saves_and_says_how_to_continue(file, tmp_path):
    out = tmp_path / "run"
    child = subprocess.Popen(process(file, out, *LONG), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.lstrip().startswith("200 "):
            break
    child.terminate()
    rest = child.stdout.read()
    child.stdout.close()
    assert child.wait() == 128 + signal.SIGTERM
    assert_saved(out, rest)


def test_so_does_ctrl_c(train, tmp_path):
    """Sent to this process by a thread that waits for the first checkpoint."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored, as under nohup
    done = threading.Event()

    def interrupt():
        while not done.is_set() and not states(tmp_path / "run"):
            time.sleep(0.01)
        if not done.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        status, said, _ = train(*LONG)
    finally:
        done.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert status == 128 + signal.SIGINT
    assert_saved(tmp_path / "run", said)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_where_a_loop_looks_and_raises_elsewhere(number, monkeypatch):
    monkeypatch.setattr(
        signal, "getsignal", lambda number: signal.SIG_DFL
    )  # this process may ignore it, as under nohup
    with stop_on_signals():
        with REQUEST.noted(unless=lambda: False):
            signal.raise_signal(number)
            assert REQUEST.number == number
            with pytest.raises(Stopped):
                signal.raise_signal(number)
        with pytest.raises(Stopped) as stopped:
            signal.raise_signal(number)
    assert stopped.value.status == 128 + number


def test_a_signal_during_a_long_compilation_stops_the_process():
    """Python runs no handler while XLA compiles; here, while OpenSSL hashes."""
    code = """
import hashlib, signal, threading
from experiments.shared import signals
signals.GRACE = 0.1
with signals.stop_on_signals():
    threading.Timer(0.1, lambda: signal.raise_signal(signal.SIGTERM)).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr == "stopped while compiling; what was saved before is kept\n"


def test_steps_that_take_longer_than_the_grace_are_not_lost():
    """The loop hears the signal after them, and saves."""
    code = """
import hashlib, signal, threading
from experiments.shared import signals
signals.GRACE = 0.1
with signals.stop_on_signals(), signals.REQUEST.noted(unless=lambda: False, patient=lambda: True):
    threading.Timer(0.1, lambda: signal.raise_signal(signal.SIGTERM)).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 3_000_000)
    print(signals.REQUEST.number)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{signal.SIGTERM.value}\n", "")


def test_reading_a_run_all_the_time_does_it_no_harm(file, tmp_path, whole):
    out = tmp_path / "run"
    child = subprocess.Popen(process(file, out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    read_well = 0
    while child.poll() is None:
        if (out / "best.safetensors").exists():
            assert mm.open(out).vocab.size > 2
            read_well += 1
        else:
            time.sleep(0.01)
    assert child.stderr.read() == ""
    child.stderr.close()
    assert child.returncode == 0
    assert read_well > 0
    assert contents(out) == contents(whole)


def test_resuming_what_is_not_there_or_not_the_same(train, tmp_path, file):
    status, _, err = train("--resume")
    assert status == 2
    assert "there is no run to resume" in err
    assert train()[0] == 0
    status, _, err = train()
    assert status == 2
    assert "holds this run already; continue it with --resume, or choose another --out" in err
    status, _, err = train("--resume", "--hidden", 14, "--batch", 4)
    assert status == 2
    assert "another configuration (batch 8 there, 4 here, hidden 13 there, 14 here)" in err
    status, out, _ = train("--resume")  # a finished run: nothing to do
    assert status == 0
    assert "continuing from step 40" in out


@pytest.mark.parametrize("as_one", [False, True])
def test_resume_alone_is_enough(command, train, whole, tmp_path, as_one):
    """The model, its sizes, the recipe and the data come from the run; a state is lost, and ten steps are repeated."""
    out = shutil.copytree(whole, tmp_path / "run")
    before, config = contents(out), (out / "config.json").read_text()
    states(out)[0].unlink()
    status, said, err = command("train", *([f"--out={out}"] if as_one else ["--out", out]), "--resume", "--no-figures")
    assert (status, err) == (0, "")
    assert "mlp: 726 parameters" in said
    assert "continuing from step 30" in said
    assert (contents(out), (out / "config.json").read_text()) == (before, config)
    status, _, err = command("train", "--out", out, "--resume", "--hidden", 14)
    assert status == 2
    assert "another configuration (hidden 13 there, 14 here)" in err


def test_a_run_is_trained_longer_from_its_weights(command, train, whole, tmp_path):
    """What a longer run is told can be pasted: from another folder with a space in its name, with its own settings."""
    out = shutil.copytree(whole, tmp_path / "a run")
    for flags in (["--out", out, "--resume"], [*RUN, "--data", "moved.txt", "--out", out]):
        status, _, err = command("train", *flags, "--steps", 60)
        assert (status, err.count("\n")) == (2, 1)
        assert "a run of 40 steps; to train longer, start from its weights: python -m experiments.train " in err
    line = err.partition("weights: ")[2]
    module, *pasted = shlex.split(line)[2:]
    assert pasted[-6:] == ["--steps", "60", "--init-from", str(out), "--out", f"{out}-longer"]
    status, said, err = command(module.removeprefix("experiments."), *pasted, "--no-figures")
    assert (status, err) == (0, "")
    assert "mlp: 726 parameters" in said
    assert mm.open(tmp_path / "a run-longer").model is mm.open(out).model


def test_a_diverging_run_keeps_its_checkpoint(train):
    status, _, err = train("--learning-rate", 1e30, "--clip", 1e30, "--evaluate-every", 1)
    assert status == 2
    assert "diverged; lower the learning rate" in err
    assert "is saved" in err


def test_patience_stops_early(train, tmp_path):
    patient = ["--learning-rate", 1e-30, "--patience", 2, "--weight-decay", 0]
    for flags in ([], ["--resume"]):
        assert train(*patient, *flags)[0] == 0
        assert json.loads((tmp_path / "run/summary.json").read_text())["steps"] == 30  # best at 10, then 2 without


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "lstn"], "--model is 'lstn'; it must be one of bigram, mlp"),
        (["--heads", "2"], "Unrecognized options: --heads, 2"),
        (["--window", "0"], "--window is 0; it must be at least 1"),
        (["--batch", "0"], "--batch is 0"),
        (["--micro-batches", "3"], "--micro-batches is 3; it must divide the --batch of 8"),
        (["--dropout", "1"], "--dropout is 1.0; it must be at least 0 and below 1"),
        (["--average", "-0.1"], "--average is -0.1; it must be at least 0 and below 1"),
        (["--optimizer", "sgd"], "--optimizer is 'sgd'; it must be one of adamw, muon"),
        (
            ["--optimizer", "adamw", "--muon-rate", "0.1"],
            "--muon-rate is for muon; set --optimizer to muon, or leave it out",
        ),
        (["--preset", "slow"], "--preset is 'slow'; it must be one of quick, tuned"),
        (["--evaluate-every", "0"], "--evaluate-every is 0"),
        (["--data", "LICENSE", "--max-length", "0"], "--max-length is 0"),
        (["--hidden", "1000000000"], ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_flags(train, flags, message):
    status, out, err = train(*flags)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_a_run_that_cannot_save_keeps_what_it_has(command, train, tmp_path, whole):
    """Files may not grow past 2 KiB: a save fails half-way, in one line, and the run before it can be sampled from."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    states(out)[0].unlink()
    before = {path: path.read_bytes() for path in [*states(out), out / "best.safetensors"]}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
    try:
        status, _, err = train("--resume")  # all compiled already: a new entry of the cache would be too large, too
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 2, err
    assert err.count("\n") == 1
    assert "cannot save" in err
    assert "what was saved before is kept" in err
    assert {path: path.read_bytes() for path in [*states(out), out / "best.safetensors"]} == before
    assert command("sample", out, "--n", 3)[0] == 0


def test_closed_streams_are_no_error(file, tmp_path):
    flags = ["bash", "-c", 'exec "$@" <&- >&- 2>&-', "closed", *process(file, tmp_path / "run")]
    assert subprocess.run(flags, cwd=ROOT, check=False).returncode == 0
    assert mm.open(tmp_path / "run").vocab.size > 2


def test_no_home_is_no_error(command, whole, monkeypatch):
    """No folder where compilations could be kept."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    status, _, err = command("sample", whole, "--n", 2)
    assert (status, err) == (0, "")


def test_large_batches(train):
    status, _, err = train("--batch", 200)
    assert status == 2
    assert "a batch holds 200 lines, but there are 1" in err
    assert "add lines, or lower --batch" in err


@pytest.mark.filterwarnings("default")
def test_a_batch_that_nobody_chose_is_fitted_to_a_short_list(command, names, tmp_path):
    (tmp_path / "towns.txt").write_text("\n".join(names[:40]))
    flags = ("--model", "bigram", "--steps", 2, "--samples", 0, "--no-figures", "--data", tmp_path / "towns.txt")
    status, out, err = command("train", *flags, "--out", tmp_path / "run")
    assert status == 0
    assert f"warning: a batch holds 64 lines, but there are {out.split('train ')[1][:2]} to train on; it is" in err
    assert command("train", *flags, "--batch", 64, "--out", tmp_path / "chosen")[0] == 2


def test_tensorboard_files(train, tmp_path):
    pytest.importorskip("tensorboardX")
    assert train("--tensorboard")[0] == 0
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


def test_two_devices_share_the_batches_and_the_state(train):
    """That the flags reach the program; what it does is tested beside `lay_out`."""
    status, out, err = train("--devices", 2, "--shards", 2, "--steps", 10)
    assert (status, err) == (0, "")
    assert "2 devices share the batches, the state split into 2 shards" in out
    assert "--devices is 3; JAX finds 2" in train("--devices", 3)[2]


def test_muon_says_what_it_trains(command, train, file, tmp_path):
    """The 3 x 5 x 13 weights between embedding and head; of the bigram nothing."""
    status, out, err = train("--optimizer", "muon", "--steps", 3)
    assert status == 0, err
    assert "muon trains the matrices, 195 parameters; adamw trains the rest" in out
    assert json.loads((tmp_path / "run/config.json").read_text())["optimizer"] == "muon"
    short = ["--steps", 3, "--batch", 8, "--samples", 0, "--no-figures", "--data", file, "--out", tmp_path / "bigram"]
    status, out, err = command("train", "--model", "bigram", "--optimizer", "muon", *short)
    assert status == 0, err
    assert "this model has no matrix between its two ends, so adamw trains all of it" in out


def test_a_run_that_names_no_optimiser_goes_on_with_adamw(command, train, tmp_path):
    """Earlier runs did not note it; the recipe of the model may have another one by now."""
    assert mm.MODELS["mlp"].recipe.optimizer == "muon"
    status, _, err = train("--optimizer", "adamw", "--steps", 3)
    assert status == 0, err
    assert "optimizer" not in json.loads((tmp_path / "run/config.json").read_text())
    status, out, err = command("train", "--out", tmp_path / "run", "--resume")
    assert status == 0, err
    assert "continuing from step 3" in out
    assert "muon" not in out


def test_too_few_lines(command, tmp_path):
    (tmp_path / "two.txt").write_text("ab\nba\n")
    status, _, err = command("train", *RUN, "--data", tmp_path / "two.txt", "--out", tmp_path / "run")
    assert status == 2
    assert "2 lines are too few to hold some out" in err


def test_sampling_from_the_folder_alone(command, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "moved")
    flags = ["--n", 7, "--prefix", "ma", "--temperature", 0.8, "--top-k", 10, "--top-p", 0.95, "--seed", 1, "--json"]
    status, out, _ = command("sample", tmp_path / "moved", *flags)
    assert status == 0
    summary = json.loads(out.splitlines()[-1])
    assert len(summary["samples"]) == 7
    assert all(row["text"].startswith("ma") and row["log_prob"] < 0 for row in summary["samples"])
    assert command("sample", tmp_path / "moved", *flags)[1] == out
    greedy = command("sample", whole, "--greedy", "--n", 2)[1].splitlines()
    assert greedy[0].split() == ["log", "prob", "line"]
    assert greedy[1] == greedy[2]
    scores = json.loads(command("sample", whole, "--score", "emma", "mia", "--json")[1].splitlines()[-1])["scores"]
    assert [row["text"] for row in scores] == ["emma", "mia"]
    assert scores[0]["nats_per_character"] == pytest.approx(scores[0]["nats"] / 5)
    assert scores[0]["symbols"] == list("emma.")
    assert sum(scores[0]["symbol_nats"]) == pytest.approx(scores[0]["nats"])


def test_an_impossible_line_spoils_no_other_score(command, whole):
    status, out, err = command("sample", whole, "--score", "emma", "zoé", "a" * 30, "mia", "--json")
    assert (status, err) == (0, "")
    *printed, last = out.splitlines()
    assert [row["nats"] == "inf" for row in json.loads(last)["scores"]] == [False, True, True, False]
    assert printed[:2] == command("sample", whole, "--score", "emma")[1].splitlines()
    assert printed[2].split(maxsplit=5)[-1] == "zoé   (this model does not know the symbol 'é')"
    assert printed[3].split()[-2:] == ["é", "inf"]
    assert "(this model reads up to 6 symbols)" in printed[4]


def test_what_comes_next_is_told_by_name(command, whole):
    status, out, err = command("sample", whole, "--next", "emm", "--json")
    assert (status, err) == (0, "")
    *printed, last = out.splitlines()
    rows, found = json.loads(last)["next"], mm.predict(mm.open(whole), "emm")
    assert {row["symbol"]: row["probability"] for row in rows} == found
    assert [row["symbol"] for row in rows if row["end"]] == ["."]
    assert printed[0].split()[0] == f"{rows[0]['probability']:.4%}"
    assert sum(line.endswith("   end of the line") for line in printed) == 1
    assert len(printed) == len(found)
    assert "'é' (U+00E9) is not in the vocabulary" in command("sample", whole, "--next", "é")[2]


def test_plain_samples_are_lines_alone(command, whole):
    flags = ["sample", whole, "--n", 5, "--prefix", "ma"]
    rows = json.loads(command(*flags, "--json")[1].splitlines()[-1])["samples"]
    status, out, err = command(*flags, "--plain", "--export", whole.parent / "plain.safetensors")
    assert (status, out) == (0, "".join(f"{row['text']}\n" for row in rows))
    assert "wrote" in err
    assert "of 5: " in err
    assert "leave it out with --json" in command(*flags, "--plain", "--json")[2]


@pytest.mark.parametrize(("separator", "between"), [("\\n\\n", "\n\n"), ("%%", "\n%%\n")])
def test_plain_documents_are_documents(command, train, tmp_path, names, separator, between):
    tunes = ["\n".join(names[first : first + 3]) for first in range(0, 180, 3)]
    (tmp_path / "tunes.txt").write_text(separator.replace("\\n", "\n").join(tunes))
    assert train("--data", tmp_path / "tunes.txt", "--separator", separator)[0] == 0
    flags = ["sample", tmp_path / "run", "--n", 3, "--temperature", 0.5]
    texts = [row["text"] for row in json.loads(command(*flags, "--json")[1].splitlines()[-1])["samples"]]
    assert any("\n" in text for text in texts)
    assert command(*flags, "--plain")[1] == between.join(texts) + "\n"


def test_what_a_terminal_would_obey_is_shown(command, tmp_path, names):
    """A text with escape sequences, its lines cut: samples, scores and errors are printed with them spelt out."""
    red, folder = tmp_path / "\x1b[31m.txt", tmp_path / "\x1b[32m"
    red.write_text("\n".join(f"\x1b[31m{name}" for name in names[:100]))
    status, out, err = command("train", *RUN, "--data", red, "--out", folder, "--max-length", 12)
    assert status == 0, err
    assert "lines are cut to 12 characters" in out
    assert "saved in" in out
    assert "\x1b" not in out + err
    folder.rename(tmp_path / "run")
    for more in (["--n", 3, "--prefix", "\x1b[31me"], ["--score", f"\x1b[31m{names[0]}", "\x1b[31mé"]):
        status, out, err = command("sample", tmp_path / "run", *more)
        assert status == 0, err
        assert "\\x1b[31m" in out
        assert "\x1b" not in out
    for more in (["--prefix", "é"], ["--export", tmp_path / "\x1b[2J/none"]):
        status, out, err = command("sample", tmp_path / "run", *more)
        assert status == 2
        assert "\x1b" not in out + err
        assert err.count("\n") == 1
    status, _, err = command("sample", tmp_path / "\x1b[2Jnone")
    assert status == 2
    assert "\\x1b[2Jnone" in err


def test_weights_travel_as_one_file(command, whole, tmp_path):
    path = tmp_path / "weights.safetensors"
    assert command("sample", whole, "--n", 5, "--export", path)[0] == 0
    from_run, from_file = (command("sample", place, "--n", 5)[1].splitlines()[:5] for place in (whole, path))
    assert from_run == from_file
    assert read(path)[1]["model"] == "mlp"
    for target, message in (("none/w.safetensors", "no such file or directory"), ("", "directory")):
        status, _, err = command("sample", whole, "--export", tmp_path / target)
        assert status == 2
        assert "cannot be written" in err
        assert message in err


def test_novelty_is_told_for_the_data_that_it_learned_from(command, train, tmp_path, file):
    own = tmp_path / "own.txt"
    own.write_text(file.read_text())
    assert train("--data", own)[0] == 0
    assert "in train" in command("sample", tmp_path / "run", "--n", 3)[1]
    unseen = command("sample", tmp_path / "run", "--n", 3, "--prefix", "emm", "--unseen")[1]
    assert ", 0 in train" in unseen
    own.write_text(file.read_text() + "\nemmanuelle")
    assert "in train" not in command("sample", tmp_path / "run", "--n", 3)[1]
    assert "its train lines are missing or have changed" in command("sample", tmp_path / "run", "--unseen")[2]
    own.unlink()
    os.mkfifo(own)
    assert command("sample", tmp_path / "run", "--n", 3)[0] == 0


def test_bad_prefixes(command, whole):
    assert "'é' (U+00E9) is not in the vocabulary" in command("sample", whole, "--prefix", "é")[2]
    assert "leaves no room to continue" in command("sample", whole, "--prefix", "a" * 30)[2]
    assert "no such run folder" in command("sample", whole / "none")[2]


@pytest.mark.parametrize("model", ["wavenet", "transformer"])
def test_looking_at_a_run_draws_what_its_model_is_known_for(command, file, tmp_path, model):
    """A run folder, which says what it was trained on, and a file of weights, which does not."""
    run, more = tmp_path / "run", []
    if model == "transformer":
        flags = ["--layers", 1, "--heads", 2, "--embed", 6, "--steps", 2, "--batch", 8, "--samples", 0, "--no-figures"]
        assert command("train", "--model", model, "--data", file, "--out", run, *flags)[0] == 0
    else:
        corpus, run, more = mm.load(file), tmp_path / "run.safetensors", ["--data", file]
        network = build(model, vocab=corpus.vocab.size, layers=2, cycle=2, channels=5, skip=7)
        mm.save(mm.Trained(network, network.init(jax.random.key(0)), corpus.vocab, corpus.context), run)
        assert "does not say what it was trained on" in command("inspect", run)[2]
    before = {path: path.stat().st_mtime_ns for path in [run, *run.rglob("*")]}
    pictures = tmp_path / "pictures"
    status, out, err = command("inspect", run, "--line", "mia", "--lines", 20, "--out", pictures, *more)
    assert status == 0, err
    drawn = {path.name for path in pictures.iterdir()}
    assert drawn >= {"letters.png", "reach.png", "traces.png"}
    assert ("attention.png" in drawn) == (model == "transformer")
    assert all(name in out for name in drawn)
    assert {path: path.stat().st_mtime_ns for path in [run, *run.rglob("*")]} == before
    assert "'ë' (U+00EB) is not in the vocabulary" in command("inspect", run, "--line", "zoë", *more)[2]


def test_a_sweep_is_one_program_with_a_range(command, file, tmp_path, compilations):
    sizes = [*SMALL[2:8], "--batch", 8, "--steps", 20, "--evaluations", 2, "--warmup", 2]
    flags = ["--seeds", 2, "--rates", 1e-3, 1e-2, "--data", file, "--out", tmp_path / "run", "--json"]
    status, out, err = command("sweep", *sizes, *flags)
    assert status == 0, err
    summary = json.loads(out.splitlines()[-1])
    dev = np.array(summary["dev_nats"])
    assert dev.shape == (2, 2)
    assert len(set(dev.ravel())) == 4
    assert summary["best_rate"] == 1e-2
    assert (tmp_path / "run/sweep.png").exists()
    assert "nats per character" in out


def test_a_short_sweep_is_evaluated_after_each_step(command, file, tmp_path):
    flags = ["--model", "bigram", "--steps", 3, "--seeds", 1, "--rates", 0.1, "--no-figures", "--json"]
    status, out, err = command("sweep", *flags, "--data", file, "--out", tmp_path / "run", "--batch", 8)
    assert (status, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["steps"] == [1, 2, 3]


@pytest.mark.parametrize("cut", ["windows", "words"])
def test_looking_at_a_run_whose_lines_do_not_fit_reads_what_fits(command, names, tmp_path, cut):
    """Documents that were read in windows, or lines with an unknown word each: nobody named a line."""
    (tmp_path / "text.txt").write_text("\n".join(f"the {name} {name[::-1]} is here" for name in names[:60]))
    how = ["--context-length", 7] if cut == "windows" else ["--tokens", "word", "--min-count", 9]
    where = ["--data", tmp_path / "text.txt", "--out", tmp_path / "run"]
    assert command("train", *SMALL, "--steps", 2, *how, *where)[0] == 0
    status, out, err = command("inspect", tmp_path / "run", "--lines", 9, "--out", tmp_path / "pictures")
    assert (status, err) == (0, "")
    said = "longer than the 6 symbols" if cut == "windows" else "all have unknown words"
    assert said in out
    assert "as it reads the" in out


def test_a_diverged_run_is_never_the_best(command, file, tmp_path, monkeypatch):
    """Its first evaluation, after one step at a rate that still rises, is the best of all: the others hardly learn."""
    drawn = []
    monkeypatch.setattr(mm.plot, "bands", lambda curves, *_, **__: drawn.append(curves))
    sizes = [*SMALL[2:8], "--batch", 8, "--steps", 5, "--evaluations", 5, "--warmup", 5, "--seeds", 2]
    flags = ["--data", file, "--out", tmp_path / "run", "--json"]
    status, out, err = command("sweep", *sizes, "--rates", 1e-9, 1e4, 1e9, *flags)
    assert status == 0, err
    summary = json.loads(out.splitlines()[-1])
    assert summary["diverged"] == [[False, False], [True, True], [True, True]]
    assert np.isfinite(np.array(summary["dev_curves"][2], float)).all()  # and yet it diverged: at 1e4
    assert summary["best_rate"] == 1e-9
    row = next(line.split() for line in out.splitlines() if line.split()[:1] == ["1e+09"])
    assert row == ["1e+09", "2", "of", "2"]
    assert [np.isfinite(values).all() for _, values in drawn[0].values()] == [True, False, False]
    assert np.nanmax(np.concatenate([values for _, values in drawn[0].values()])) < 10
    status, out, _ = command("sweep", *sizes, "--rates", 1e9, *flags, "--overwrite")
    assert "no best rate: at each of them a run diverged" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rates", -1], "--rates is -1.0"),
        (["--rates", 0], "--rates is 0.0"),
        (["--rates", "nan"], "--rates is nan"),
        (["--rates"], "--rates is empty"),
        (["--seeds", 10**9], "--seeds is 1000000000; it must be from 1 to 1,000"),
        (["--seeds", 900], "--rates x --seeds are 3,600 runs; at most 1,000 are trained at once"),
        (["--steps", 3, "--evaluations", 4], "--evaluations is 4; it must be from 1 to 3"),
    ],
    ids=str,
)
def test_a_sweep_that_cannot_be_is_refused_before_anything_is_read(command, tmp_path, flags, message):
    status, out, err = command("sweep", *flags, "--data", tmp_path / "none.txt", "--out", tmp_path / "run")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def bigrams_for_baseline(monkeypatch):
    """An n-gram of order 2 instead of 5, which compiles sooner."""
    monkeypatch.setattr(mm, "count", partial(mm.count, order=2))


def test_the_comparison_is_one_table(command, file, tmp_path, bigrams_for_baseline):
    flags = ["--models", "bigram", "--steps", 20, "--seeds", 2, "--samples", 20, "--data", file]
    status, out, err = command("compare", *flags, "--out", tmp_path / "run", "--json")
    assert status == 0, err
    summary = json.loads(out.splitlines()[-1])
    rows = summary["rows"]
    assert list(rows) == ["backoff", "bigram", "2 x bigram", "mixture of all"]
    assert list(summary["weights"]) == ["backoff", "2 x bigram"]
    assert [len(row["nats"]["test"]) for row in rows.values()] == [1, 2, 1, 1]
    for row in rows.values():  # one number per seed, as the gain depends on the seed
        assert len(row["nats"]["unseen"]) == len(row["nats"]["test"])
        assert all(np.less(row["nats"]["unseen"], row["nats"]["test"]))
    assert rows["mixture of all"]["nats"]["dev"][0] <= min(row["nats"]["dev"][0] for row in rows.values())
    assert sum(summary["weights"].values()) == pytest.approx(1, abs=1e-5)
    assert command("sample", tmp_path / "run", "--n", 3)[0] == 0
    assert rows["bigram"]["parameters"] == len({*"\n".join(file.read_text())}) ** 2
    assert len(set(rows["bigram"]["nats"]["test"])) == 2  # seeds differ
    printed = [line.split() for line in out.splitlines() if line.startswith("bigram ")]
    assert len(printed) == 1
    assert f"{np.mean(rows['bigram']['nats']['test']):.4f}" in printed[0]
    assert (tmp_path / "run/compare.png").exists()
    status, out, err = command("compare", *flags, "--makemore-split", "--out", tmp_path / "its", "--json")
    assert (status, err) == (0, "")
    its = json.loads(out.splitlines()[-1])["rows"]
    assert list(its) == ["backoff", "bigram", "2 x bigram"]  # no weights are chosen on what is held out
    assert its["bigram"]["nats"]["dev"] == its["bigram"]["nats"]["test"] != rows["bigram"]["nats"]["test"]
    for bad in (["--seeds", 0], ["--models", "rnm"], ["--models"]):
        assert command("compare", *bad)[0] == 2


def test_makemores_split_holds_out_random_lines_of_the_file(names, tmp_path):
    """Shuffled as PyTorch does, whose `manual_seed(0); randperm(10)` is known."""
    assert _torch_permutation(0, 10) == [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]
    path = tmp_path / "names.txt"
    path.write_text("\n".join(names))
    lines, _ = makemore_split(path)
    assert [len(part) for part in lines] == [len(names) - 1000, 1000, 1000]
    assert sorted(lines.train + lines.test) == sorted(names)
    assert 80 < len(set(lines.test) & set(lines.train)) < 220  # which the clean split avoids


def test_a_mixture_of_runs_is_a_run(command, train, whole, file, tmp_path):
    """The parts and their weights are printed; the mixture is sampled from, and is refused as any run is."""
    assert train("--seed", 1)[0] == 0
    flags = [whole, tmp_path / "run", "--count", 2, "--out", tmp_path / "mixture", "--json"]
    status, out, err = command("mix", *flags)
    assert status == 0, err
    assert out.startswith("losses in nats per character; weights sum to 1\n")
    components = json.loads(out.splitlines()[-1])["components"]
    assert [row["component"] for row in components] == ["2 x mlp", "backoff", "mixture"]
    assert sum(row["weight"] for row in components[:2]) == pytest.approx(1, abs=1e-5)
    assert components[2]["dev"] <= min(row["dev"] for row in components[:2]) + 1e-6
    assert command("sample", tmp_path / "mixture", "--n", 3)[0] == 0
    other = tmp_path / "other.txt"
    other.write_text(file.read_text().replace("emma", "amme"))
    assert train("--data", other, out="other")[0] == 0
    copy, damaged = (shutil.copytree(whole, tmp_path / name) for name in ("copy", "damaged"))
    for path in damaged.rglob("*.safetensors"):
        os.truncate(path, path.stat().st_size - 1)
    for bad, message in (
        ([whole, tmp_path / "none"], "none: no such run folder"),
        ([whole, tmp_path / "other"], "was trained on other data than"),
        ([whole, "--weights", 0.5], "--weights sum to 0.5; they must sum to 1"),
        ([whole, "--weights", 0.5, 0.5], "--weights has 2 numbers for 1 components"),
        ([whole, "--count", 0], "--count is 0"),
        ([damaged], "damaged"),
        ([whole, "--data", other], "is no longer the data that"),
        ([], "at least one"),
        ([whole, tmp_path / "run", whole], "the same model as"),
        ([whole, copy], "copy: the same model as"),
    ):
        status, _, err = command("mix", *bad, "--out", tmp_path / "bad")
        assert (status, err.count("\n")) == (2, 1)
        assert message in err


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({}, "does not say where its data lies; name the file with --data"),
        ({"data": 5}, "does not say where its data lies"),
        ({"data": "a\0b"}, "does not say where its data lies"),
        ({"data": "none\x1b[31m.txt"}, "no such file"),
        ({"max_length": "x"}, "config.json: max_length must be of type int; it is of type str"),
        ({"min_count": "a"}, "config.json: min_count must be of type int"),
        ({"lowercase": "no"}, "config.json: lowercase must be of type bool"),
        ({"tokens": [1]}, "config.json: tokens must be of type str"),
        ({"tokens": "verse"}, "it must be one of character, word, byte"),
    ],
    ids=str,
)
def test_odd_run_folders_are_not_mixed(command, file, tmp_path, about, message):
    settings = {"data": str(file)} if about and "data" not in about else {}
    (tmp_path / "config.json").write_text(json.dumps({"lines_sha256": "x"} | settings | about))
    status, out, err = command("mix", tmp_path, "--out", tmp_path / "mixture")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert "\x1b" not in err


def test_excess_over_the_floor(command, tmp_path):
    flags = ["--sources", "copy", "--models", "ngram", "bigram", "--lines", 50, 100, "--steps", 5, "--seeds", 1]
    status, out, err = command("excess", *flags, "--out", tmp_path / "run", "--json")
    assert status == 0, err
    found = json.loads(out.splitlines()[-1])["rows"]["copy"]
    assert found["floor"]["nats"] == pytest.approx(1.0397, abs=1e-4)  # (ln 8 + 4.5 ln 8) / 11
    assert np.array(found["excess"]["bigram"]).shape == (2, 1)
    assert np.min(found["excess"]["ngram"]) > 0.5  # an n-gram does not learn to copy
    assert (tmp_path / "run/copy.png").exists()
    written = tmp_path / "copies.txt"
    assert command("excess", "--sources", "copy", "--lines", 20, "--write", written)[0] == 0
    words = [line.split("#") for line in written.read_text().splitlines()]
    assert len(words) == 20
    assert all(word == again for word, again in words)
    for bad in (["--lines", 0], ["--sources"], ["--models"], ["--write", written], ["--seeds", 0]):
        status, _, err = command("excess", *bad)
        assert (status, err.count("\n")) == (2, 1)


def test_laws_of_scaling(command, file, tmp_path, bigrams_for_baseline):
    n = np.array([500.0, 1000, 2000, 4000, 8000, 16_000])
    law = fit_law(n, 1.5 + 8 * n**-0.4)
    assert (law.floor, law.scale, law.exponent) == pytest.approx((1.5, 8, 0.4), rel=1e-3)
    assert law(320_000) == pytest.approx(1.5 + 8 * 320_000**-0.4, rel=1e-4)
    noisy = fit_law(n, 1.5 + 8 * n**-0.4 + 0.01 * np.array([1, -1, 1, -1, 1, -1]))
    assert noisy.interval(320_000) > 10 * law.interval(320_000)
    assert fit_law(n, n) is None  # a loss that rises
    assert fit_law(n[:4], n[:4] ** -0.4) is None  # too few points to see how well it fits
    width = MODELS["mlp"].config.hidden  # as in the first half: on all lines it is the same program
    flags = ["--models", "mlp", "--lines", 50, "--widths", width, "--seeds", 1, "--steps", 5]
    status, out, err = command("scaling", *flags, "--data", file, "--out", tmp_path / "run")
    assert status == 0, err
    assert "no laws: a fit needs at least 5 numbers of lines, and there are 2" in out
    assert (tmp_path / "run/scaling.png").exists()
    assert command("scaling", "--widths", 0)[0] == 2
