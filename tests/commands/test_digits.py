"""Pictures are lines: always 64 levels, in the right places."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

import makemore_jax as mm
from experiments import digits
from makemore_jax.data.lines import read_lines
from makemore_jax.inference.trained import Trained
from makemore_jax.models.registry import build, configure
from makemore_jax.recipe import Recipe
from tests.conftest import ROOT

PICTURES = ROOT / "data/digits.txt"
CONFIG = digits.Config(data=PICTURES)


@pytest.fixture(scope="module")
def corpus():
    return digits.load(PICTURES)


def uniform(corpus):
    """A model that knows nothing: without the grammar, its lines are no pictures."""
    model = build("backoff", vocab=corpus.vocab.size, order=1)
    return Trained(model, model.init(None), corpus.vocab, corpus.context)


def test_the_file_holds_the_pictures(corpus):
    sklearn = pytest.importorskip("sklearn.datasets")
    pictures, labels = sklearn.load_digits(return_X_y=True)
    lines = read_lines(PICTURES)
    assert np.array_equal(digits.pixels(lines).reshape(len(lines), -1), pictures)
    assert [int(line[0]) for line in lines] == labels.tolist()
    assert corpus.vocab.size == 1 + 10 + 17
    assert sum(map(len, corpus.lines)) == len(lines)


def test_a_drawn_picture_is_a_picture_whatever_the_model(corpus):
    starts = ["", "7", "3abq"] * 5
    drawn = digits.draw("any", uniform(corpus), starts, CONFIG)
    for start, line in zip(starts, drawn, strict=True):
        assert line.startswith(start)
        assert len(line) == 65
        assert line[0] in digits.LABELS
        assert set(line[1:]) <= set(digits.GREYS)
    assert len(set(drawn)) == 15


def test_each_sheet_is_drawn_with_a_key_of_its_own(corpus):
    """Else a picture without a label is the labelled one that happens to have its row and its label."""
    model = uniform(corpus)
    labelled, free, again = (digits.draw(use, model, [""] * 7, CONFIG) for use in ("classes", "samples", "samples"))
    assert not set(labelled) & set(free)
    assert free == again


def test_bits_are_those_of_the_levels_alone(corpus):
    assert digits.bits_per_pixel(uniform(corpus), corpus.tokens.dev) == pytest.approx(np.log2(28), abs=1e-5)
    counted = digits.bits_per_pixel(mm.count(corpus, 1), corpus.tokens.dev)
    levels = np.bincount(digits.pixels(corpus.lines.train).ravel(), minlength=17)
    prob = levels * 64 / 66 / levels.sum()  # a label and an end for 64 levels
    held_out = np.bincount(digits.pixels(corpus.lines.dev).ravel(), minlength=17)
    assert counted == pytest.approx(-(held_out * np.log2(prob)).sum() / held_out.sum(), abs=0.01)


def test_the_nearest_train_picture(corpus):
    train = corpus.lines.train
    pictures, levels = digits.nearest(corpus, [train[7], train[3][:-1] + ("b" if train[3][-1] == "a" else "a")])
    assert np.array_equal(pictures, digits.pixels([train[7], train[3]]))
    assert levels[0] == 0 < levels[1] <= 2


def test_the_quick_command_draws_four_sheets(tmp_path, monkeypatch):
    """On some of the pictures, with a small model; its sheets follow the sizes that they are given."""
    lines = read_lines(PICTURES)
    (tmp_path / "few.txt").write_text("\n".join(lines[:450]))
    monkeypatch.setattr(digits, "NEURAL", {"bigram": ({}, Recipe(batch=16, learning_rate=0.3))})
    monkeypatch.setattr(digits, "ORDERS", (1, 2))
    monkeypatch.setattr(digits, "COLUMNS", 4)
    monkeypatch.setattr(digits, "SHOWN", 12)
    config = digits.Config(data=tmp_path / "few.txt", quick=True, drawn=5, out=tmp_path / "run")
    summary = digits.run(config)
    bits = {name: row["bits_per_pixel"] for name, row in summary["rows"].items()}
    assert list(bits) == ["uniform", "backoff 1", "backoff 2", "bigram"]
    assert bits["backoff 2"] < bits["backoff 1"] < bits["uniform"] == pytest.approx(np.log2(17))
    assert bits["bigram"] < bits["uniform"]
    assert {path.name for path in config.out.glob("*.*")} == {
        "config.json",
        "summary.json",
        "bigram.safetensors",
        *digits.SHEETS,
    }
    assert all(imread(config.out / name).std() > 0.01 for name in digits.SHEETS)
    assert summary["recognised"]["real"] > 0.9
    assert [line[0] for line in summary["samples"]] == digits.LABELS
    assert json.loads((config.out / "summary.json").read_text())["copies"] == summary["copies"] == 0


def test_the_models_of_the_command_have_sizes_that_fit():
    assert set(digits.NEURAL) == {"lstm", "transformer"}
    for name, (sizes, _) in digits.NEURAL.items():
        configure(name, vocab=28, **sizes, **({"context": 66} if name == "transformer" else {}))


def test_a_sheet_is_a_grid_of_pictures():
    picture_RCHW = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    (axes,) = digits.sheet(picture_RCHW, ["a", "b"], ["x", "y", "z"], "title").axes
    grid = axes.images[0].get_array()
    assert grid.shape == (2 * 4 + 2, 3 * 5 + 2 * 2)
    assert np.array_equal(grid[6:, 7:12], picture_RCHW[1, 1])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["x" + "a" * 64], "picture 2: starts with 'x'; it should be its label"),
        (["1" + "a" * 63], "picture 2: has 63 levels; it should have 64"),
        (["1" + "a" * 63 + "z"], "picture 2: 'z' is not a grey level; they are a to q"),
        (["1" + "a" * 63 + grey for grey in "abcdefghijklmnopq"], "has no train pictures of 2, 3, 4, 5, 6, 7, 8, 9"),
        (
            [f"{label}{'a' * 62}{x}{y}" for label in range(10) for x in "abc" for y in "abcd"],
            "a sheet shows 40; add more",
        ),
    ],
)
def test_what_is_no_picture_is_named(command, tmp_path, lines, message):
    path = tmp_path / "pictures.txt"
    path.write_text("\n".join(["0" + "a" * 64, *lines]))
    status, _, err = command("digits", "--data", path, "--out", tmp_path / "run")
    assert status == 2
    assert message in err
    assert not (tmp_path / "run").exists()


def test_names_by_sex_are_the_names_with_a_label():
    labelled, names = read_lines(ROOT / "data/names-by-sex.txt"), read_lines(ROOT / "data/names.txt")
    assert {line[0] for line in labelled} == {"F", "M"}
    assert sorted(line[1:] for line in labelled) == sorted(names)
