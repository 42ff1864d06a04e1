"""The benchmark's own arithmetic, and that every command runs; what it measures is not a test's business."""

import itertools
import json

import jax
import numpy as np
import pytest

from experiments.benchmark import accelerator, models, reach, scale, turns
from makemore_jax.models import build


@pytest.fixture
def few(tmp_path, names):
    path = tmp_path / "few.txt"
    path.write_text("\n".join(names[:200]))
    return path


def test_our_models_have_the_sizes_of_makemores():
    """The parameters that makemore.py has at its default sizes; what it prints leaves out a head."""
    sizes = {"bigram": 27**2, "transformer": 204_544, "mlp": 28 * 64 + (16 * 64 + 1) * 64 + 65 * 27}
    for name, expected in sizes.items():
        model = build(name, models.sizes_of(name, 27, 16))
        params = jax.eval_shape(model.init, jax.random.key(0))
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


def test_useful_arithmetic_is_six_for_each_weight_of_a_product():
    model = build("gru", {"vocab": 7, "embed": 5, "hidden": 3})
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert models.useful(params) == 6 * (5 * 9 + 3 * 9 + 3 * 7)


def test_turns_alternate_and_ratios_are_of_pairs():
    taken, seconds = [], {"ours": iter([2.0, 3.0, 1.0]), "theirs": iter([4.0, 9.0, 8.0])}

    def turn(name):
        taken.append(name)
        return next(seconds[name])

    found = turns.take_turns({name: lambda name=name: turn(name) for name in seconds}, 3)
    assert taken == ["ours", "theirs"] * 3
    assert turns.ratio(found["theirs"], found["ours"]) == (3.0, 2.0, 8.0)


def test_growth_is_the_power_between_neighbours():
    assert scale.growth([1, 10, 100], [5.0, 5.0, 500.0]).split() == ["0.00", "2.00"]


def test_random_tokens_are_lines_that_fill_the_block():
    tokens = scale.random_tokens(scale.Job(lines=5, block=7, vocab=3))
    assert tokens.stream_M.shape == (36,)
    assert np.flatnonzero(tokens.stream_M == 0).tolist() == [0, 7, 14, 21, 28, 35]
    assert (tokens.stream_M[tokens.start_N + tokens.length_N] == 0).all()
    assert set(tokens.stream_M) == {0, 1, 2}


@pytest.mark.parametrize(
    ("which", "flags", "printed"),
    [
        ("counts", ["--rounds", 1], "scatter-add"),
        ("bigram", ["--rounds", 1], "on the table"),
        ("text", [], "MB of text a second"),
        ("train", ["--models", "bigram", "--rounds", 1], "bigram "),
        ("sample", ["--rows", 3, "--rounds", 1], "names at once"),
        ("profile", ["--model", "bigram"], "us a step unprofiled"),
        ("profile", ["--model", "bigram", "--padded"], "bigram: 32 rows of "),
        ("start", ["--rounds", 1], "experiments.bigram to its first figure, warm compilation cache"),
        ("reach", ["--models", "n-gram", "mlp", "--rounds", 1, "--target", 9], "n-gram "),
    ],
)
def test_the_commands_print_a_table_and_json(command, few, monkeypatch, which, flags, printed):
    monkeypatch.setattr(models, "TAUGHT", 5)
    status, out, err = command("benchmark", which, "--data", few, *flags)
    assert status == 0, err
    assert printed in out
    assert json.loads(out.splitlines()[-1])["benchmark"] == which


def test_the_growth_of_costs_is_drawn(command, tmp_path):
    status, out, err = command("benchmark", "scale", "--axes", "depth", "--most", 2, "--out", tmp_path)
    assert status == 0, err
    assert (tmp_path / "scale.png").stat().st_size > 5_000
    costs = json.loads(out.splitlines()[-1])["axes"]["depth"]
    assert costs["values"] == [1, 2]
    assert costs["memory_mb"][0] < costs["memory_mb"][1]


def test_what_is_for_an_accelerator_runs_without_one(command, tmp_path, few, monkeypatch):
    """On this machine with small sizes; on a GPU it is the same program."""
    monkeypatch.setattr(models, "TAUGHT", 5)
    monkeypatch.setattr(accelerator, "BLOCK", 11)
    monkeypatch.setattr(accelerator, "matrix_rate", lambda *_, **__: 1e9)  # seconds for a CPU in bfloat16
    sizes = [f"--{size}.{name}" for size in ("small", "large") for name in ("layers", "heads", "width")]
    small = [
        *itertools.chain(*zip(sizes, (1, 2, 6, 1, 2, 8), strict=True)),
        "--rows",
        3,
        "--seeds",
        1,
        2,
        "--rounds",
        1,
        "--batch",
        2,
    ]
    (tmp_path / "text.txt").write_text("and God said, let there be light: and there was light.\n" * 20)
    status, out, err = command("benchmark", "accelerator", "--data", few, "--text", tmp_path / "text.txt", *small)
    assert status == 0, err
    assert "it is no accelerator" in out
    found = json.loads(out.splitlines()[-1])
    assert list(found["train"]) == [f"{width} wide, {kind}" for width in (6, 8) for kind in ("float32", "bfloat16")]
    assert found["seconds_a_step"].keys() == {"1", "2"}


FAKE = """import sys, time
print(f"step 500 train loss: 1.0 test loss: 1.5")
time.sleep(2)
print(f"step 1000 train loss: 1.0 test loss: 1.6")
"""


def test_the_peers_best_is_timed_when_it_is_printed(tmp_path, few, monkeypatch):
    """Its process holds nothing back: the best comes first here, and two seconds of work after it."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    (tmp_path / "makemore.py").write_text(FAKE)
    seconds, nats, step = reach.peers(reach.Reach(data=few, peer=tmp_path), str(tmp_path))
    assert (nats, step) == (1.5, 500)
    assert 0 < seconds < 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["scale", "--axes"], "--axes names none; give at least one"),
        (["train", "--models"], "--models names none; give at least one"),
        (["reach", "--peer-steps", 5], "--peer-steps is 5; it must be at least 500"),
        (["reach", "--data", "five.txt"], "five.txt: 5 lines are too few to hold a tenth out; add more"),
        (["accelerator", "--seeds"], "--seeds must be at least 1"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_flags(command, tmp_path, flags, message):
    (tmp_path / "five.txt").write_text("emma\nava\nmia\nzoe\nlea\n")
    flags = [str(tmp_path / flag) if flag == "five.txt" else flag for flag in flags]
    status, _, err = command("benchmark", *flags)
    assert status == 2
    assert err.startswith("error: ")
    assert err.endswith(message + "\n")
    assert err.count("\n") == 1


def test_a_folder_without_the_peer_is_named(command, tmp_path):
    status, _, err = command("benchmark", "train", "--peer", tmp_path)
    assert (status, err) == (2, f"error: {tmp_path}: no makemore.py in it; clone karpathy/makemore\n")
