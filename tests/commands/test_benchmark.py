"""The arithmetic of the benchmarks, their processes, and that each command prints its table; speed is not tested."""

import json
import os
import re
import types

import jax
import numpy as np
import pytest

import makemore_jax as mm
from experiments.benchmark import counting, length, models, peer, scale, steps, time_to_loss
from experiments.benchmark import timing as turns
from makemore_jax.inference.baselines import count
from makemore_jax.inference.sampler import Samples
from makemore_jax.learning.fit import Followed, Losses, Progress
from makemore_jax.learning.training import TrainState
from makemore_jax.models.registry import build


@pytest.fixture
def few(tmp_path, names):
    path = tmp_path / "few.txt"
    path.write_text("\n".join(names[:200]))
    return path


@pytest.fixture
def quick(monkeypatch):
    """One call in each turn, small programs, no other processes; JAX's settings are as before afterwards."""
    monkeypatch.setattr(turns, "TURN", 0)
    monkeypatch.setattr(counting, "STEPS", {"on the pairs": 2, "on the table": 3})
    monkeypatch.setattr(counting, "lecture_step", lambda *_: lambda: None)
    monkeypatch.setattr(models, "matrix_rate", lambda dtype: 1e9)
    monkeypatch.setattr(models.Sizes, "build", lambda self, name, corpus: build("bigram", vocab=corpus.vocab.size))
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_default_matmul_precision", None)


def test_our_models_have_the_sizes_of_makemores(few):
    """The parameters that makemore.py has with these sizes."""
    corpus, config = mm.load(few), models.Train(layers=2, heads=3, width=12)
    V, T, D = corpus.vocab.size, corpus.context, 12
    layer = 2 * 2 * D + D * 3 * D + 3 * D + D * D + D + 2 * 4 * D * D + 5 * D
    expected = {
        "bigram": V * V,
        "mlp": (V + 1) * D + T * D * D + D + D * V + V,
        "gru": V * D + D + 3 * (2 * D * D + D) + D * V + V,
        "transformer": V * D + T * D + 2 * layer + 2 * D + D * V,
    }
    for name, size in expected.items():
        params = jax.eval_shape(config.build(name, corpus).init, jax.random.key(0))
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == size, name


def test_model_flops_are_six_for_each_weight_of_a_product():
    params = jax.eval_shape(build("gru", vocab=7, embed=5, hidden=3).init, jax.random.key(0))
    assert models.model_flops(params) == 6 * (5 * 9 + 3 * 9 + 3 * 7)


def test_contestants_alternate(monkeypatch):
    monkeypatch.setattr(turns, "TURN", 0)
    calls = []
    found = turns.take_turns({name: lambda name=name: calls.append(name) for name in ("ours", "theirs")}, 3)
    assert calls[-6:] == ["ours", "theirs"] * 3
    assert {name: values.shape for name, values in found.items()} == {"ours": (3,), "theirs": (3,)}


def test_a_ratio_compares_the_turns_of_a_round():
    found = turns.ratio(np.array([4.0, 9.0, 8.0]), np.array([2.0, 3.0, 1.0]))
    assert found == {"ratio": 3.0, "lowest": 2.0, "highest": 8.0}


def test_a_process_keeps_its_state_and_raises_what_is_raised_there():
    with turns.own_process() as process:
        assert turns.ask(process, os.getpid) == turns.ask(process, os.getpid) != os.getpid()
        with pytest.raises(ValueError, match="Expecting value"):
            turns.ask(process, json.loads, s="?")
        with pytest.raises(mm.InputError, match="_exit: its process was killed"):
            turns.ask(process, os._exit, status=1)


def test_exponents_are_those_between_neighbours():
    assert scale.exponents([1, 10, 100], [5.0, 5.0, 500.0]).split() == ["0.00", "2.00"]


def test_random_tokens_are_lines_that_fill_the_block():
    tokens = scale.random_tokens(lines=5, context=7, vocab=3)
    assert tokens.stream_M.shape == (36,)
    assert np.flatnonzero(tokens.stream_M == 0).tolist() == [0, 7, 14, 21, 28, 35]
    assert (tokens.stream_M[tokens.start_N + tokens.length_N] == 0).all()
    assert set(tokens.stream_M) == {0, 1, 2}


@pytest.mark.parametrize(
    ("name", "flags", "printed"),
    [
        ("counts", ["--rounds", 1], "scatter-add"),
        ("bigram", ["--rounds", 1], "on the table"),
        ("text", [], "read twice, write token files"),
        ("train", ["--models", "bigram", "--batch", 7, "--steps", 2, "--rounds", 1], "bigram "),
        ("train", ["--models", "bigram", "--seeds", 3, "--bfloat16", "--steps", 2, "--rounds", 1], "bigram "),
        ("sample", ["--rows", 3, "--steps", 2, "--rounds", 1], "names at once"),
    ],
)
def test_the_commands_print_a_table_and_json(command, few, quick, name, flags, printed):
    status, out, err = command("benchmark", name, "--data", few, *flags, "--json")
    assert status == 0, err
    assert printed in out
    assert out.startswith(f"on {turns.processor()}\n")
    assert json.loads(out.splitlines()[-1])["benchmark"] == name


@pytest.mark.parametrize(("target", "reached"), [(2.0, (1.9, 200)), (1.0, None)])
def test_a_recipe_is_trained_until_the_target(names, monkeypatch, target, reached):
    losses, asked = [Losses(50, 0.0), Losses(100, 0.0, 3.0), Losses(200, 0.0, 1.9), Losses(300, 0.0, 1.8)], []

    def follow(key, name, corpus, *, evaluate_every, **overrides):
        asked.append((name, evaluate_every, overrides))
        state = TrainState({}, (), 0, key, {})
        return Followed(None, None, (Progress(state._replace(step=row.step), {}, (row,)) for row in losses))

    monkeypatch.setattr(time_to_loss, "follow", follow)
    lines = {"train": names[:50], "test": names[50:70]}
    assert time_to_loss.train_until(target, **lines, name="modern-transformer", seed=1) == reached
    assert asked == [("transformer", 100, time_to_loss.SHORT["modern-transformer"])]
    assert asked[0][-1]["modern"]


def test_counting_reaches_a_loss_or_does_not(names, monkeypatch):
    monkeypatch.setattr(mm, "count", lambda corpus: count(corpus, order=1))
    lines = {"train": names[:50], "test": names[50:70]}
    nats, step = time_to_loss.train_until(9, **lines, name="backoff", seed=0)
    assert (step, 1 < nats < 9) == (0, True)
    assert time_to_loss.train_until(1, **lines, name="backoff", seed=0) is None


def test_times_to_a_loss_are_a_table(command, few, quick, monkeypatch):
    answers = {"backoff": [(1.9, 0)], "gru": [(1.8, 300), (1.7, 500)], "mlp": [None, (1.9, 100)]}
    ask = lambda process, function, name, seed, **_: answers[name][seed]
    monkeypatch.setattr(time_to_loss, "ask", ask)
    status, out, err = command(
        "benchmark", "reach", "--data", few, "--models", "backoff", "gru", "mlp", "--rounds", 2, "--json"
    )
    assert status == 0, err
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    assert rows["backoff"][-2:] == ["0", "1.9000"]
    assert rows["gru"][-2:] == ["400", "1.7500"]
    assert rows["mlp"][2] == "inf"  # the highest
    assert json.loads(out.splitlines()[-1])["models"].keys() == {"backoff", "gru", "mlp"}


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_cost_of_a_job_is_per_token_and_seed(monkeypatch, seeds):
    take_turns = lambda calls, rounds: calls["ours"]() or {"ours": np.array([1.0, 6.0, 7.0])}
    monkeypatch.setattr(scale, "take_turns", take_turns)
    monkeypatch.setattr(scale, "build", lambda name, vocab, **_: build("bigram", vocab=vocab))
    job = {"batch": 2, "context": 5, "width": 8, "layers": 1, "vocab": 7, "lines": 11, "seeds": seeds, "devices": 1}
    found = scale.measure(simulated=False, job=job)
    assert found["us/token"] == pytest.approx(6e6 / (scale.STEPS * 2 * 5 * seeds))
    assert found["MB"] > seeds * 3 * 4 * 7**2 / 1e6  # the weights and two moments of each


def test_the_growth_of_costs_is_drawn(command, quick, tmp_path, monkeypatch):
    jobs = []

    def ask(process, function, simulated, job):
        jobs.append((simulated, job))
        return {"us/token": float(job["batch"] * job["devices"]), "MB": float(job["context"] ** 2)}

    monkeypatch.setattr(scale, "ask", ask)
    flags = ["--axes", "context", "devices", "--most", 64, "--out", tmp_path, "--json"]
    status, out, err = command("benchmark", "scale", *flags)
    assert status == 0, err
    assert [(simulated, job["context"], job["devices"]) for simulated, job in jobs] == [
        *((False, context, 1) for context in (16, 64)),
        *((True, 16, devices) for devices in (1, 2, 4, 8)),
    ]
    assert (tmp_path / "scale.png").stat().st_size > 5_000
    found = json.loads(out.splitlines()[-1])["axes"]
    assert found["context"] == {"values": [16, 64], "us/token": [8, 8], "MB": [256, 4096]}
    assert "exponents of MB         2.00\n" in out


def test_the_time_for_a_token_is_drawn_against_the_length(command, quick, tmp_path, monkeypatch):
    """The time of a turn by its tokens; a program that needs too much memory is a dash, and its curve ends."""
    take_turns = lambda calls, rounds: {name: [call() and 3e-3] * rounds for name, call in calls.items()}
    monkeypatch.setattr(length, "take_turns", take_turns)
    flags = ["--models", "bigram", "mlp", "--lengths", 4, 500, "--batch", 3, "--memory", 0.002]
    status, out, err = command("benchmark", "length", *flags, "--out", tmp_path, "--json")
    assert status == 0, err
    rows = [line.split() for line in out.splitlines()]
    assert ["4", "250.00", "250.00"] in rows
    assert ["500", "2.00", "-"] in rows
    assert json.loads(out.splitlines()[-1])["us/token"] == {"4": {"bigram": 250, "mlp": 250}, "500": {"bigram": 2}}
    assert (tmp_path / "length.png").stat().st_size > 5_000


def test_a_step_is_compared_between_optimisers_and_numbers_of_devices(command, quick, few, monkeypatch):
    """Each contestant trains with its own optimiser, on its own devices, in a program of its own."""
    asked = []

    def step_call(model, corpus, recipe, devices):
        asked.append((model.config.vocab, recipe.optimizer, devices))
        return steps_of_run(model, corpus, recipe, 1)

    steps_of_run = steps.step_call
    monkeypatch.setattr(steps, "step_call", step_call)
    seconds = {"adamw": 0.1, "muon": 0.12, "2 devices": 0.05}
    turns = lambda calls, rounds: {name: call() or np.full(rounds, seconds[name]) for name, call in calls.items()}
    monkeypatch.setattr(steps, "take_turns", turns)
    flags = ["--models", "rnn", "--data", few, "--rounds", 3, "--devices", 2, "--json"]
    status, out, err = command("benchmark", "steps", *flags)
    assert status == 0, err
    assert [row[1:] for row in asked] == [("adamw", 1), ("muon", 1), ("adamw", 2)]
    (row,) = [line.split() for line in out.splitlines() if line.startswith("rnn")]
    assert row == ["rnn", "64", "5.000", "1.20", "(1.20", "to", "1.20)", "0.50", "(0.50", "to", "0.50)"]
    assert json.loads(out.splitlines()[-1])["steps"]["rnn"]["muon"]["ratio"] == pytest.approx(1.2)


def test_makemore_is_asked_for_the_same_work(command, quick, few, monkeypatch):
    """For the same lines, sizes and precision; of a sampler, for the same number of names."""
    asked = []
    monkeypatch.setattr(turns.PeerContest, "__post_init__", lambda self: None)  # no clone is here, and maybe no PyTorch
    monkeypatch.setattr(models, "ask", lambda process, function, **arguments: asked.append((function, arguments)))
    monkeypatch.setattr(models, "training_call", lambda *_: lambda: None)
    training = lambda key: None, lambda state, count: (TrainState(*[None] * 5), None)
    monkeypatch.setattr(mm, "training", lambda *_: training)
    monkeypatch.setattr(models, "draw", lambda *_: Samples(*[None] * len(Samples._fields)))
    both = ["--data", few, "--peer", "clone", "--layers", 1, "--heads", 2, "--width", 6, "--rounds", 1]
    sizes = {"folder": "clone", "data": str(few), "device": "cpu", "layers": 1, "heads": 2, "width": 6}
    flags = ["--models", "rnn", "--batch", 5, "--steps", 3, "--seeds", 2, "--bfloat16", "--compiled"]
    status, out, err = command("benchmark", "train", *both, *flags, "--json")
    assert status == 0, err
    more = {"model": "rnn", "batch": 5, "count": 6, "bfloat16": True, "compiled": True}
    assert asked[0] == (peer.steps, sizes | more)
    assert json.loads(out.splitlines()[-1])["models"]["rnn"].keys() >= {"makemore.py", "ratio", "lowest", "MFU"}
    status, _, err = command("benchmark", "sample", *both, "--rows", 4, "--steps", 2)
    assert status == 0, err
    assert asked[-1] == (peer.names, sizes | {"model": "transformer", "count": 4})


FAKE = """import pathlib, time
print("step 500 train loss: 1.0 test loss: 1.6")
print("step 1000 train loss: 1.0 test loss: 1.5")
for _ in range(1000):
    if pathlib.Path({seen!r}).exists():
        break
    time.sleep(0.01)
else:
    raise SystemExit("nobody has read the lines")
print("step 1500 train loss: 1.0 test loss: 1.7")
"""


def test_the_best_of_makemores_evaluations_is_timed_at_once(tmp_path, few, monkeypatch):
    """It prints, then waits until the line was read: were lines buffered, neither would go on."""
    seen = tmp_path / "seen"
    match = lambda pattern, line: re.match(pattern, line) and (seen.touch() or re.match(pattern, line))
    monkeypatch.setattr(time_to_loss, "re", types.SimpleNamespace(match=match))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    (tmp_path / "makemore.py").write_text(FAKE.format(seen=str(seen)))
    _, nats, step = time_to_loss.run_peer(tmp_path, few, 1500)
    assert (nats, step) == (1.5, 1000)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["scale", "--axes"], "--axes is empty; give at least one"),
        (["scale", "--most", 1], "--most 1 leaves fewer than two values of batch; raise it"),
        (["length", "--lengths", 0], "--lengths is 0; it must be at least 1"),
        (["length", "--memory", 0], "--memory is 0.0; it must be above 0"),
        (["train", "--seeds", 0], "--seeds is 0; it must be at least 1"),
        (["sample", "--rows", 3, 0], "--rows is 0; it must be at least 1"),
        (["counts", "--rounds", -1], "--rounds is -1; it must be at least 1"),
        (["reach", "--data", "five.txt"], "five.txt': 5 lines are too few to hold a tenth out; add more"),
        (["train", "--peer", "."], ".: has no makemore.py; clone karpathy/makemore"),
    ],
)
def test_bad_flags(command, tmp_path, flags, message):
    (tmp_path / "five.txt").write_text("emma\nava\nmia\nzoe\nlea\n")
    flags = [str(tmp_path / flag) if flag == "five.txt" else flag for flag in flags]
    status, _, err = command("benchmark", *flags)
    assert status == 2
    assert err.startswith("error: ")
    assert err.endswith(message + "\n")
    assert err.count("\n") == 1
