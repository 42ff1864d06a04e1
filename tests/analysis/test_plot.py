import io
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.image import imread

from experiments import excess
from experiments.benchmark import scale
from experiments.shared import figures
from makemore_jax.analysis import plot
from makemore_jax.analysis.influence import Substitution
from makemore_jax.errors import InputError
from makemore_jax.inference.trained import Activations

AWKWARD = (".", " ", "$", "\\", "_", "^", "\t", "\u0301", "東", "😀", "أ")
STEPS = np.arange(1, 6)
LINE = [".", "a", "$", "東"]
RNG = np.random.default_rng(0)


def texts(figure):
    """Everything that is written in a figure."""
    written = [
        text.get_text() for axes in figure.axes for text in axes.findobj(lambda artist: hasattr(artist, "get_text"))
    ]
    return [text for text in written if text]


def test_a_large_alphabet_shows_the_mark_and_the_most_frequent():
    counts_VV = np.zeros((97, 97), int)
    counts_VV[:, 50:] = 3
    shown = plot.shown(counts_VV)
    assert len(shown) == plot.SHOWN
    assert shown[0] == 0
    assert (shown[1:] >= 50).all()


def test_labels():
    assert [plot.label(symbol) for symbol in AWKWARD[:2]] == [".", "␣"]
    assert plot.label("\t") == "0009"
    assert plot.label("東") == "6771"
    assert plot.label("<mark>") == "<mark>"


def test_a_figure_is_saved_only_where_asked_and_shown_by_a_notebook(tmp_path):
    curve = {"a": (STEPS, STEPS)}
    figure = plot.losses(curve)
    assert not list(tmp_path.iterdir())
    assert plot.losses(curve, path=tmp_path / "loss.png").axes
    picture = imread(tmp_path / "loss.png")
    assert picture.std() > 0.01
    shown = imread(io.BytesIO(figure._repr_png_()))
    assert shown.std() > 0.01
    assert picture.shape[1] / shown.shape[1] == plot.DPI / plot.NOTEBOOK_DPI


def test_losses_shows_curves_levels_and_a_single_point():
    figure = plot.losses({"a": (STEPS, STEPS / 2), "b": (STEPS[:1], STEPS[:1])}, {"level": 2.0}, unit="word")
    (axes,) = figure.axes
    first, second, level = axes.lines
    np.testing.assert_array_equal(first.get_ydata(), STEPS / 2)
    assert first.get_linewidth() > second.get_linewidth()
    assert (first.get_marker(), second.get_marker()) == ("None", "o")
    assert set(level.get_ydata()) == {2.0}
    assert axes.get_ylabel() == "loss, nats per word"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b", "level: 2.0000"]


def test_a_band_may_have_more_runs_at_one_place_than_at_another():
    axes = plot.figure(4, 3).subplots()
    plot.band(axes, [1, 2], [[3.0, 5.0], [7.0]], "counted once")
    assert axes.lines[0].get_ydata().tolist() == [4, 7]


def test_bands_show_mean_and_range():
    loss_SE = np.array([[5, 4, 3], [7, 4, 2], [6, 7, 1.0]])
    (axes,) = plot.bands({"rate": (STEPS[:3], loss_SE)}).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [6, 5, 2])
    (band,) = axes.collections
    assert {tuple(vertex) for vertex in band.get_paths()[0].vertices} >= {
        (1, 5),
        (1, 7),
        (2, 4),
        (2, 7),
        (3, 1),
        (3, 3),
    }


def test_substitution_puts_symbols_that_are_alike_side_by_side(tmp_path):
    kind_K = np.arange(11) % 2
    change_KK = np.where(kind_K[:, None] == kind_K, 0.1, 0.9) + 0.1 * RNG.random((11, 11))
    np.fill_diagonal(change_KK, 0)
    figure = plot.substitution(Substitution(np.arange(11), change_KK), AWKWARD, tmp_path / "letters.png")
    names = [tick.get_text() for tick in figure.axes[1].get_xticklabels()]
    assert sorted(names) == sorted(map(plot.label, AWKWARD))
    even = [name in map(plot.label, AWKWARD[::2]) for name in names]
    assert sum(a != b for a, b in pairwise(even)) == 1  # two blocks, no more
    written = {text.get_position(): text.get_text() for text in figure.axes[1].texts}
    order = [list(map(plot.label, AWKWARD)).index(name) for name in names]
    for row, column in [(0, 1), (1, 0), (3, 9)]:
        assert written[column, row] == f"{100 * change_KK[order[row], order[column]]:.0f}"
    assert any("tree: correlation 1.00" in text for text in texts(figure))
    assert imread(tmp_path / "letters.png").std() > 0.01


@pytest.mark.parametrize("count", [2, 3])
def test_substitution_of_few_symbols(count):
    found = Substitution(np.arange(count), 1.0 - np.eye(count))
    assert len(plot.substitution(found, AWKWARD).axes[1].get_xticklabels()) == count
    with pytest.raises(InputError, match="no two symbols"):
        plot.substitution(Substitution(np.arange(1), np.zeros((1, 1))), AWKWARD)


def test_reach_marks_the_receptive_field_if_there_is_one():
    change_T = np.array([0.5, 0.2, 0.0])
    (axes,) = plot.reach(change_T, receptive_field=2).axes
    assert [bar.get_height() for bar in axes.patches] == change_T.tolist()
    assert axes.lines[0].get_xdata()[0] == 1.5
    assert not plot.reach(change_T).axes[0].lines


def test_traces_draws_every_value_of_time_and_units():
    values = {"gate": RNG.random((3, 4, 5)), "h": RNG.normal(size=(4, 7)), "attention": RNG.random((2, 2, 4, 4))}
    figure = plot.traces(Activations(LINE, values))
    panels = [axes for axes in figure.axes if axes.images and axes.get_title()]
    titles = ["state h (7 units)", *(f"gate, layer {layer} (5 units)" for layer in (1, 2, 3))]
    assert [axes.get_title() for axes in panels] == titles
    assert [tick.get_text() for tick in panels[0].get_xticklabels()] == [".", "a", "$", "6771"]
    image_HT = np.asarray(panels[0].images[0].get_array())
    assert (np.diff(image_HT.mean(1)) > 0).all()
    np.testing.assert_array_equal(np.sort(image_HT[:, 2]), np.sort(values["h"][2]))


def test_attention_draws_a_panel_for_each_head():
    weight_LNTS = RNG.random((2, 3, 4, 4))
    figure = plot.attention(Activations(LINE, {"attention": weight_LNTS}))
    assert len(figure.axes) == 7
    assert figure.axes[6].get_ylabel() == "attention weight"
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("symbol that is looked at", "symbol that looks")
    np.testing.assert_array_equal(figure.axes[5].images[0].get_array(), weight_LNTS[1, 2])
    assert figure.axes[5].get_title() == "layer 2, head 3"


def test_nothing_to_draw_is_refused():
    with pytest.raises(InputError, match="no activations"):
        plot.traces(Activations(LINE, {"attention": RNG.random((2, 3, 4, 4))}))
    with pytest.raises(InputError, match="no attention"):
        plot.attention(Activations(LINE, {"h": RNG.random((4, 7))}))


def test_integers_have_whole_ticks_and_nothing_stands_before_0():
    loss = np.array([[3.3, 3.2, 3.1]])
    for drawn in (plot.bands({"a": (np.arange(1, 4), loss)}), plot.losses({"a": (np.arange(1, 4), loss[0])})):
        assert all(tick == round(tick) for tick in drawn.axes[0].get_xticks())
    (axes,) = plot.reach(np.array([0.5, 0.3, 0.2])).axes
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [0, 1, 2]


def test_nothing_that_a_study_draws_is_cut(monkeypatch):
    """Bars and markers have their size around their points; panels belong to what was measured."""
    drawn = []
    monkeypatch.setattr(plot, "save", lambda figure, path: drawn.append(figure))
    figures.comparison({"backoff": np.array([2.0]), "mlp": np.array([2.1, 2.0])}, "backoff", None, "character")
    bottom, top = drawn[-1].axes[0].get_ylim()
    assert (bottom, top) == (pytest.approx(1.6), pytest.approx(-0.6))
    for values in ([0.61, 0.6, 0.59], [1.2, 0.2, 1e-6]):
        excess.picture({"mlp": np.array(values)[:, None]}, (100, 130, 170), {}, "copy", None)
        low, high = drawn[-1].axes[0].get_ylim()
        lowest = max(1e-4, min(values))
        assert lowest / 1.5 < low < lowest / 1.1
        assert 1.1 * max(values) < high < 1.5 * max(values)
    scale.growth({"vocab": {"values": [1, 1000], "us/token": [1.0, 2.0], "MB": [1.0, 3.0]}})
    assert drawn[-1].axes[0].get_ylim()[1] < 5  # and not 1000, to which the straight line goes


def test_long_lines_have_no_labels_that_overlap():
    line = ["a"] * (plot.SHOWN + 1)
    figure = plot.attention(Activations(line, {"attention": RNG.random((1, 1, len(line), len(line)))}))
    assert not any(tick.get_text() for tick in figure.axes[0].get_xticklabels())
    assert any(tick.get_text() for tick in plot.traces(Activations(LINE, {"h": np.eye(4)})).axes[0].get_xticklabels())
