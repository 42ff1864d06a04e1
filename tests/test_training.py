"""The training and sampling commands: resumed runs equal whole ones, stopped and killed runs lose nothing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import chex
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from experiments import logbook
from experiments import sample as sample_command
from makemore_jax import checkpoint
from makemore_jax import train as library
from makemore_jax.models import build
from tests.conftest import ROOT

SMALL = ["--model", "mlp", "--window", 3, "--embed", 5, "--hidden", 13, "--batch", 8, "--no-figures"]
RUN = [*SMALL, "--steps", 40, "--evaluate-every", 10, "--warmup", 5]


@pytest.fixture(scope="module")
def file(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("data") / "few.txt"
    path.write_text("\n".join(names[:200]))
    return path


@pytest.fixture
def train(command, file, tmp_path):
    return lambda *flags, out="run": command("train", *RUN, "--data", file, "--out", tmp_path / out, *flags)


def contents(run):
    """What a run leaves behind that must not depend on how often it was stopped."""
    trained = sample_command.load(run)
    with checkpoint.manager(run / "checkpoints/last") as last:
        state = load_file(run / f"checkpoints/last/{last.latest_step()}/default" / checkpoint.FILE)
    summary = json.loads((run / "summary.json").read_text())
    return trained.params, state, (run / "metrics.jsonl").read_text(), summary


def assert_equal(some, others):
    for one, other in zip(some[:2], others[:2], strict=True):
        flat, flat_other = ([np.asarray(leaf) for leaf in jax.tree.leaves(tree)] for tree in (one, other))
        assert len(flat) == len(flat_other) > 3
        assert all(np.array_equal(a, b) for a, b in zip(flat, flat_other, strict=True))
    assert some[2:] == others[2:]


@pytest.fixture(scope="module")
def whole(file, tmp_path_factory):
    """The run without a stop, made in a process of its own."""
    out = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run(process(file, out), cwd=ROOT, check=True, capture_output=True)
    return out


def process(file, out, *flags):
    return [sys.executable, "-m", "experiments.train", *map(str, [*RUN, "--data", file, "--out", out, *flags])]


def test_a_run_leaves_what_it_says(whole):
    rows = [json.loads(row) for row in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30, 40]
    assert rows[-1]["dev"] < rows[0]["dev"]
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["nats"]["dev"] == pytest.approx(min(row["dev"] for row in rows), abs=1e-6)
    assert summary["dev_nats_to_beat"]["uniform"] > summary["dev_nats_to_beat"]["unigram"]
    assert {"config.json", "model.json", "vocab.json", "checkpoints"} <= {path.name for path in whole.iterdir()}


@pytest.mark.parametrize("sign", ["checkpoints/last/*", "checkpoints/last/[0-9]0"])
def test_killed_at_any_moment_it_goes_on_bit_for_bit(file, tmp_path, whole, sign):
    """SIGKILL at the sign of a first save under way, and of a saved checkpoint; then resume: the whole run."""
    out = tmp_path / "run"
    child = subprocess.Popen(process(file, out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None and not list(out.glob(sign)):
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not (out / "summary.json").exists()
    resumed = subprocess.run(process(file, out, "--resume"), cwd=ROOT, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert "going on from step" in resumed.stdout
    assert_equal(contents(out), contents(whole))


def test_ctrl_c_saves_and_says_how_to_go_on(file, tmp_path):
    flags = ["--steps", 100_000, "--evaluate-every", 200]
    out = tmp_path / "run"
    child = subprocess.Popen(process(file, out, *flags), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if line.lstrip().startswith("200 "):
            break
    child.send_signal(signal.SIGINT)
    rest = child.stdout.read()
    child.stdout.close()
    assert child.wait() == 130
    assert "to go on, run the same command with --resume" in rest
    with checkpoint.manager(out / "checkpoints/last") as last:
        assert last.latest_step() >= 200


def test_stopped_between_evaluations_it_goes_on_bit_for_bit(train, tmp_path, monkeypatch, whole):
    """Ctrl-C at step 15: the mean train loss since step 10 goes on as well."""
    fit, call = library.fit, logbook.Logbook.__call__

    def stop_at_15(self, state, losses):
        self.interrupted = int(state.step) == 15
        return call(self, state, losses)

    with monkeypatch.context() as patch:
        patch.setattr(logbook.Logbook, "__call__", stop_at_15)
        patch.setattr(library, "fit", lambda *args, **options: fit(*args, **(options | {"chunk": 5})))
        assert train()[0] == 130
    status, out, _ = train("--resume")
    assert status == 0
    assert "going on from step 15" in out
    assert_equal(contents(tmp_path / "run"), contents(whole))


def test_resume_of_what_is_not_there_or_not_the_same(train, tmp_path):
    status, _, err = train("--resume")
    assert status == 2
    assert "there is no run to resume" in err
    assert train()[0] == 0
    status, _, err = train()
    assert status == 2
    assert "holds this run already; go on with --resume" in err
    status, _, err = train("--resume", "--hidden", 14, "--batch", 4)
    assert status == 2
    assert "another configuration (batch 8 there, 4 here, hidden 13 there, 14 here)" in err
    assert train("--resume")[0] == 0  # a finished run: nothing to do
    vocab = tmp_path / "run/vocab.json"
    vocab.write_text(vocab.read_text().replace('"z"', '"1"').replace('"y"', '"2"'))
    status, _, err = train("--resume")
    assert status == 2
    assert "vocab.json: not the vocabulary of" in err


def test_a_damaged_checkpoint_falls_back_and_two_are_refused(whole, tmp_path, train, file):
    shutil.copytree(whole, tmp_path / "run")
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["data"] == str(file)
    steps = sorted((tmp_path / "run/checkpoints/last").glob("[0-9]*"), key=lambda path: int(path.name))
    assert len(steps) == 2
    ruin(steps[1])
    status, out, err = train("--resume")
    assert status == 0, err
    assert "trying the one before" in out
    assert "going on from step 30" in out
    mended, expected = (
        load_file(run / "checkpoints/last/40/default" / checkpoint.FILE) for run in (steps[1].parents[2], whole)
    )
    assert all(np.array_equal(mended[name], expected[name]) for name in expected)
    for step in (tmp_path / "run/checkpoints/last").glob("[0-9]*"):
        ruin(step)
    status, _, err = train("--resume")
    assert status == 2
    assert "no checkpoint can be read" in err


def ruin(folder):
    """Cut every file of a checkpoint short."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)


def test_a_diverging_run_keeps_its_checkpoint(train):
    status, _, err = train("--learning-rate", 1e30, "--clip", 1e30, "--evaluate-every", 1)
    assert status == 2
    assert "diverged; lower the learning rate" in err
    assert "is saved" in err


def test_patience_stops_early(train, tmp_path):
    status, _, _ = train("--learning-rate", 1e-30, "--patience", 2, "--weight-decay", 0)
    assert status == 0
    assert json.loads((tmp_path / "run/summary.json").read_text())["steps"] == 30  # best at 10, then 2 without


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "lstn"], "--model is 'lstn'; it must be one of bigram, mlp"),
        (["--heads", "2"], "Unrecognized options: --heads, 2"),
        (["--window", "0"], "--window is 0; it must be at least 1"),
        (["--batch", "0"], "--batch is 0"),
        (["--micro-batches", "3"], "--micro-batches is 3; it must divide --batch 8"),
        (["--token-dropout", "1"], "--token-dropout is 1.0"),
        (["--evaluate-every", "0"], "--evaluate-every is 0"),
        (["--data", "LICENSE", "--max-length", "0"], "--max-length is 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_flags(train, flags, message):
    status, out, err = train(*flags)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_a_run_that_cannot_save_keeps_what_it_has(command, file, tmp_path):
    """Files may not grow past 2 KiB: a save fails half-way, in one line, and the run before it can be sampled from."""
    out, flags = tmp_path / "run", ["--steps", 100_000]
    child = subprocess.Popen(process(file, out, *flags), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None and not list(out.glob("checkpoints/last/[0-9]0")):
        time.sleep(0.01)
    child.kill()
    child.wait()
    alone = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}  # it would say that it cannot write, too
    limited = ["bash", "-c", 'ulimit -f 2; exec "$@"', "limited", *process(file, out, *flags, "--resume")]
    full = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, env=alone)
    assert full.returncode == 2, full.stderr
    assert full.stderr.count("\n") == 1
    assert "cannot save" in full.stderr
    assert "earlier checkpoints are kept" in full.stderr
    assert command("sample", out, "--n", 3)[0] == 0


def test_what_a_command_does_with_long_lines_and_large_batches(train):
    assert "lines are cut to 5 characters" in train("--max-length", 5, "--steps", 10)[1]
    status, _, err = train("--batch", 200, out="other")
    assert status == 2
    assert re.search(r"a batch holds 200 lines, and there are 1\d\d to train on; add lines, or lower --batch", err)


def test_tensorboard_files(train, tmp_path):
    pytest.importorskip("tensorboardX")
    assert train("--steps", 10, "--tensorboard")[0] == 0
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


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
    assert greedy[0] == greedy[1]
    scores = json.loads(command("sample", whole, "--score", "emma", "mia", "--json")[1].splitlines()[-1])["scores"]
    assert [row["text"] for row in scores] == ["emma", "mia"]
    assert scores[0]["nats_a_character"] == pytest.approx(scores[0]["nats"] / 5)


def test_what_a_terminal_would_obey_is_shown(command, tmp_path, names):
    """A text with escape sequences: samples and scores are printed with them spelt out."""
    (tmp_path / "red.txt").write_text("\n".join(f"\x1b[31m{name}" for name in names[:100]))
    flags = ["--data", tmp_path / "red.txt", "--out", tmp_path / "run", "--steps", 10]
    assert command("train", *RUN, *flags)[0] == 0
    for more in (["--n", 3, "--prefix", "\x1b[31me"], ["--score", f"\x1b[31m{names[0]}"]):
        status, out, err = command("sample", tmp_path / "run", *more)
        assert status == 0, err
        assert "\\x1b[31m" in out
        assert "\x1b" not in out


def test_weights_travel_as_one_file(command, whole, tmp_path):
    path = tmp_path / "weights.safetensors"
    assert command("sample", whole, "--n", 5, "--export", path)[0] == 0
    from_run, from_file = (command("sample", place, "--n", 5)[1].splitlines()[:5] for place in (whole, path))
    assert from_run == from_file
    leaves, about = checkpoint.import_weights(path)
    assert about["model"] == "mlp"
    checkpoint.export_weights(path, leaves, about | {"model": "gru"})
    status, _, err = command("sample", path)
    assert status == 2
    assert "its sizes are those of another model" in err
    checkpoint.export_weights(path, {"other": leaves}, about)
    status, _, err = command("sample", path)
    assert status == 2
    assert "its weights are not those of a mlp of its sizes" in err
    path.write_bytes(path.read_bytes()[:100])
    assert "not a safetensors file" in command("sample", path)[2]


def test_layers_that_repeat_travel_in_their_order(tmp_path):
    """Eleven of them: `blocks.10` comes before `blocks.2` in a file."""
    params = build("transformer", {"vocab": 3, "layers": 11, "heads": 1, "embed": 2}).init(jax.random.key(0))
    checkpoint.export_weights(tmp_path / "weights.safetensors", params, {})
    leaves, _ = checkpoint.import_weights(tmp_path / "weights.safetensors")
    assert list(leaves) != list(checkpoint.flatten(params))
    chex.assert_trees_all_equal(checkpoint.unflatten(leaves, params), params)
    with pytest.raises(ValueError, match="other names, shapes or types"):
        checkpoint.unflatten(leaves, {"more": np.zeros(1)} | params)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.json", "no run to sample from; its model.json is missing or damaged"),
        ("vocab.json", "vocab.json: no such file"),
        ("checkpoints", "there is no checkpoint"),
    ],
)
def test_sampling_from_a_broken_folder(command, whole, tmp_path, name, message):
    shutil.copytree(whole, tmp_path / "run", ignore=shutil.ignore_patterns(name))
    status, out, err = command("sample", tmp_path / "run")
    assert (status, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    "text", ["5", "[]", '["model", "sizes", "block"]', '{"model": ["mlp"], "sizes": {}, "block": 3}']
)
def test_sampling_from_a_damaged_model_file(command, whole, tmp_path, text):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run/model.json").write_text(text)
    status, out, err = command("sample", tmp_path / "run")
    assert (status, out) == (2, "")
    assert "does not say which model it holds" in err


def test_novelty_is_told_of_the_data_that_it_learned_from(command, train, tmp_path, file):
    own = tmp_path / "own.txt"
    own.write_text(file.read_text())
    assert train("--data", own)[0] == 0
    assert "in train" in command("sample", tmp_path / "run", "--n", 3)[1]
    own.write_text(file.read_text() + "\nemmanuelle")
    assert "in train" not in command("sample", tmp_path / "run", "--n", 3)[1]


def test_bad_prefixes(command, whole):
    assert "'é' (U+00E9) is not in the data" in command("sample", whole, "--prefix", "é")[2]
    assert "leaves no room to go on" in command("sample", whole, "--prefix", "a" * 30)[2]
    assert "longer than the" in command("sample", whole, "--score", "a" * 30)[2]
    assert "no such run folder" in command("sample", whole / "none")[2]


@pytest.mark.parametrize(
    ("module", "flags", "picture"),
    [
        ("mlp", ["--window", 3, "--embed", 5, "--hidden", 13], "embeddings.png"),
        ("wavenet", ["--layers", 2, "--cycle", 2, "--channels", 5, "--skip", 7], "reach.png"),
        ("rnn", ["--model", "lstm", "--embed", 5, "--hidden", 13, "--read", "mia"], "traces.png"),
        ("transformer", ["--layers", 1, "--heads", 2, "--embed", 6], "attention.png"),
    ],
)
def test_each_model_has_its_story_and_its_picture(command, file, tmp_path, module, flags, picture):
    run = ["--data", file, "--out", tmp_path / "run", "--steps", 2, "--batch", 8]
    status, out, err = command(module, *run, *flags)
    assert status == 0, err
    assert picture in out.splitlines()[-1]
    assert (tmp_path / "run" / picture).read_bytes().startswith(b"\x89PNG")


def test_a_line_that_cannot_be_read_stops_before_the_training(command, file, tmp_path):
    status, out, err = command("transformer", "--data", file, "--out", tmp_path / "run", "--read", "zoë")
    assert (status, out) == (2, "")
    assert "'ë' (U+00EB) is not in the data" in err
    status, out, err = command("transformer", "--data", file, "--out", tmp_path / "run", "--read", "a" * 30)
    assert (status, out) == (2, "")
    assert "--read has 30 symbols" in err
    assert "must be one of rnn, gru, lstm" in command("rnn", "--model", "mlp")[2]


def test_a_sweep_is_one_program_with_a_spread(command, file, tmp_path):
    flags = [
        "--window",
        3,
        "--embed",
        5,
        "--hidden",
        13,
        "--batch",
        8,
        "--steps",
        20,
        "--evaluations",
        2,
        "--warmup",
        2,
    ]
    flags += ["--seeds", 2, "--rates", 1e-3, 1e-2, "--data", file, "--out", tmp_path / "run", "--json"]
    status, out, err = command("sweep", *flags)
    assert status == 0, err
    summary = json.loads(out.splitlines()[-1])
    dev = np.array(summary["dev_nats"])
    assert dev.shape == (2, 2)
    assert len(set(dev.ravel())) == 4
    assert summary["best_rate"] == 1e-2
    assert (tmp_path / "run/sweep.png").exists()
    assert "--rates holds" not in err
    assert "error: --rates is -1.0" in command("sweep", "--rates", -1)[2]


def test_a_sweeps_run_is_the_training_command_alone(command, file, tmp_path):
    """Seed 1 of a sweep ends at the dev loss of the run made alone with seed 1."""
    sizes = ["--window", 3, "--embed", 5, "--hidden", 13, "--batch", 8, "--steps", 20, "--warmup", 2, "--no-figures"]
    sweep = ["--seeds", 2, "--rates", 0.01, "--evaluations", 1, "--out", tmp_path / "sweep"]
    assert command("sweep", *sizes, *sweep, "--data", file)[0] == 0
    alone = ["--model", "mlp", "--learning-rate", 0.01, "--seed", 1, "--out", tmp_path / "alone"]
    assert command("train", *sizes, *alone, "--data", file)[0] == 0
    swept = json.loads((tmp_path / "sweep/summary.json").read_text())["dev_nats"][0]
    assert swept[1] == pytest.approx(json.loads((tmp_path / "alone/summary.json").read_text())["nats"]["dev"], abs=1e-5)
    assert swept[0] != pytest.approx(swept[1], abs=1e-4)


def test_the_comparison_is_one_table(command, file, tmp_path):
    flags = ["--models", "bigram", "--steps", 20, "--seeds", 2, "--peer-data", file, "--out", tmp_path / "run"]
    status, out, err = command("compare", "--data", file, *flags, "--json")
    assert status == 0, err
    summary = json.loads(out.splitlines()[-1])
    rows = summary["split"]
    assert list(rows) == list(summary["peer"]) == ["n-gram", "bigram"]
    assert [len(row["nats"]["test"]) for row in rows.values()] == [1, 2]
    assert rows["bigram"]["parameters"] == len({*"\n".join(file.read_text())}) ** 2
    assert len(set(rows["bigram"]["nats"]["test"])) == 2  # seeds differ
    assert rows["bigram"]["nats"]["test"] != summary["peer"]["bigram"]["nats"]["test"]  # and so do the splits
    printed = [line.split() for line in out.splitlines() if line.startswith("bigram ")]
    assert len(printed) == 1
    assert f"{np.mean(rows['bigram']['nats']['test']):.4f}" in printed[0]
    assert (tmp_path / "run/compare.png").exists()
    for bad in (["--seeds", 0], ["--models", "rnm"], ["--models"]):
        assert command("compare", *bad)[0] == 2


def test_makemores_split_holds_out_random_lines_of_the_file(names, tmp_path):
    from experiments.compare import Config, peer_corpus

    path = tmp_path / "names.txt"
    path.write_text("\n".join(names))
    corpus = peer_corpus(Config(peer_data=path))
    assert [len(side) for side in corpus.sides] == [len(names) - 1000, 1000, 1000]
    assert sorted(corpus.sides.train + corpus.sides.test) == sorted(names)
    assert 80 < len(set(corpus.sides.test) & set(corpus.sides.train)) < 220  # what the clean split does away with
