import numpy as np
import pytest
from matplotlib.image import imread

from makemore_jax import plot

AWKWARD = (".", " ", "$", "\\", "_", "^", "\t", "\u0301", "東", "😀", "أ")


@pytest.mark.parametrize("symbols", [(".", "a"), AWKWARD, tuple(map(chr, range(0x100, 0x100 + 97)))], ids=len)
def test_heat_maps_of_any_alphabet(tmp_path, monkeypatch, symbols):
    """No warning (they are errors here), no mathtext, and no more cells than fit."""
    monkeypatch.setattr(plot, "SHOWN", 13)
    counts_VV = np.arange(len(symbols) ** 2).reshape(len(symbols), -1)
    plot.counts(counts_VV, symbols, tmp_path / "counts.png")
    plot.matrices({"one": counts_VV / 3, "$two$": counts_VV / 2}, counts_VV, symbols, tmp_path / "matrices.png")
    height, width, _ = imread(tmp_path / "counts.png").shape
    assert height == width
    assert width <= 110 * (0.58 * plot.SHOWN + 1) + 1
    assert imread(tmp_path / "counts.png").std() > 0.01


def test_a_large_alphabet_shows_the_mark_and_the_most_frequent():
    counts_VV = np.zeros((97, 97), int)
    counts_VV[:, 50:] = 3
    shown = plot._shown(counts_VV)
    assert len(shown) == plot.SHOWN
    assert shown[0] == 0
    assert (shown[1:] >= 50).all()


def test_labels():
    assert [plot._label(symbol) for symbol in AWKWARD[:2]] == [".", "␣"]
    assert plot._label("\t") == "0009"
    assert plot._label("<mark>") == "<mark>"


def test_curves(tmp_path):
    steps = np.arange(1, 6)
    plot.losses({"a": (steps, np.ones(5)), "b": (steps[::2], steps[::2])}, {"level": 2.0}, tmp_path / "loss.png")
    curve = (np.array([1.0, 2.0]), np.array([2.0, 3.0]), np.array([0.1, 0.2]))
    plot.regularisers({"line": curve, "points": curve}, 2.0, tmp_path / "penalty.png")
    assert imread(tmp_path / "loss.png").std() > 0.01
    assert imread(tmp_path / "penalty.png").std() > 0.01
