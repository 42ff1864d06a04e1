"""Pictures are lines: always 64 levels, in the right places."""

import json

import numpy as np
import pytest

from experiments import digits
from experiments.task import Text, count, load
from makemore_jax import data
from makemore_jax.models import backoff
from tests.conftest import ROOT

CONFIG = digits.Config(data=ROOT / "data/digits.txt")


@pytest.fixture(scope="module")
def corpus():
    return load(Text(CONFIG.data))


def test_the_file_holds_the_pictures(corpus):
    sklearn = pytest.importorskip("sklearn.datasets")
    pictures, labels = sklearn.load_digits(return_X_y=True)
    lines = data.read_lines(CONFIG.data)
    assert np.array_equal(digits.pixels(lines).reshape(len(lines), -1), pictures)
    assert [int(line[0]) for line in lines] == labels.tolist()
    assert corpus.vocab.size == 1 + 10 + 17


def test_a_drawn_picture_is_a_picture_whatever_the_model(corpus):
    """From a model that knows nothing: without the grammar its lines are none."""
    config = backoff.Config(corpus.vocab.size, 1)
    model, params = backoff.backoff(config), backoff.backoff(config).init(None)
    starts = ["", "7", "3abq"] * 5
    drawn = digits.draw(corpus, model, params, starts, CONFIG)
    for start, line in zip(starts, drawn, strict=True):
        assert line.startswith(start)
        assert len(line) == 65
        assert line[0] in digits.LABELS
        assert set(line[1:]) <= set(digits.LEVELS)
    assert len(set(drawn)) == 15


def test_bits_are_those_of_the_levels_alone(corpus):
    config = backoff.Config(corpus.vocab.size, 1)
    uniform = backoff.backoff(config).init(None)
    bits = digits.bits_a_pixel(backoff.backoff(config), uniform, corpus.tokens["dev"])
    assert bits == pytest.approx(np.log2(28), abs=1e-5)
    seen = digits.bits_a_pixel(*count(corpus, 1), corpus.tokens["dev"])
    levels = np.bincount(digits.pixels(corpus.sides.train).ravel(), minlength=17)
    prob = levels * 64 / 66 / levels.sum()  # a label and an end for 64 levels
    held_out = np.bincount(digits.pixels(corpus.sides.dev).ravel(), minlength=17)
    assert seen == pytest.approx(-(held_out * np.log2(prob)).sum() / held_out.sum(), abs=0.01)


def test_the_quick_command_draws_four_sheets(command, tmp_path):
    status, out, err = command("digits", "--quick", "--drawn", 10, "--out", tmp_path / "run", "--json")
    assert status == 0, err
    summary = json.loads(out.splitlines()[-1])
    bits = {name: row["bits_a_pixel"] for name, row in summary["models"].items()}
    assert bits["n-gram of 4"] < bits["unigram"] < bits["uniform"] == pytest.approx(np.log2(17))
    assert bits["transformer"] < bits["uniform"]
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == {
        "classes.png",
        "samples.png",
        "ends.png",
        "nearest.png",
    }
    assert summary["recognised"]["real"] > 0.95
    assert all(len(line) == 65 for line in summary["samples"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x" + "a" * 64, "picture 2: starts with 'x'; it should be its label"),
        ("1" + "a" * 63, "picture 2: has 63 levels; it should have 64"),
        ("1" + "a" * 63 + "z", "picture 2: 'z' is no grey level; those are a to q"),
    ],
)
def test_what_is_no_picture_is_named(command, tmp_path, line, message):
    path = tmp_path / "pictures.txt"
    path.write_text("0" + "a" * 64 + "\n" + line + "\n")
    status, _, err = command("digits", "--data", path, "--out", tmp_path / "run")
    assert status == 2
    assert message in err


def test_a_label_is_a_prefix_and_so_is_a_sex(command, tmp_path):
    lines = data.read_lines(ROOT / "data/names-by-sex.txt")
    assert {line[0] for line in lines} == {"F", "M"}
    assert sorted(line[1:] for line in lines) == sorted(data.read_lines(ROOT / "data/names.txt"))
