"""The benchmark's own arithmetic; what it measures is not a test's business."""

import json

import jax
import pytest

from experiments import benchmark_models
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
        model = build(name, benchmark_models.sizes_of(name, 27, 16))
        params = jax.eval_shape(model.init, jax.random.key(0))
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


def test_useful_arithmetic_is_six_for_each_weight_of_a_product():
    model = build("gru", {"vocab": 7, "embed": 5, "hidden": 3})
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert benchmark_models.useful(params) == 6 * (5 * 9 + 3 * 9 + 3 * 7)


def test_turns_are_ratios_of_pairs():
    ours, theirs = iter([4.0, 9.0, 8.0]), iter([2.0, 3.0, 1.0])
    found = benchmark_models.take_turns(lambda: next(ours), lambda: next(theirs), 3)
    assert found == {"ours": 8.0, "theirs": 2.0, "ratio": 3.0, "least": 2.0, "most": 8.0}


@pytest.mark.parametrize(
    ("which", "flags", "printed"),
    [
        ("train", ["--models", "bigram", "--rounds", 1], "bigram "),
        ("text", [], "MB of text a second"),
        ("start", ["--rounds", 1], "experiments.bigram to its first figure, warm compilation cache"),
    ],
)
def test_the_commands_print_a_table_and_json(command, few, which, flags, printed):
    status, out, err = command("benchmark", which, "--data", few, *flags)
    assert status == 0, err
    assert printed in out
    assert json.loads(out.splitlines()[-1])["benchmark"] == which


def test_a_folder_without_the_peer_is_named(command, tmp_path):
    status, _, err = command("benchmark", "train", "--peer", tmp_path)
    assert (status, err) == (2, f"error: {tmp_path}: no makemore.py in it; clone karpathy/makemore\n")
