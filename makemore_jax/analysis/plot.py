"""Figures of trained models and of training.

Each function returns a Figure, which a notebook shows, and saves it if `path` is given.

The helpers at the top are for figures of your own: `figure`, `save`, `label`, `shown`, `name_axes`.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from numpy.typing import ArrayLike

from makemore_jax.analysis.influence import Substitution, most_frequent
from makemore_jax.data.vocab import MARK
from makemore_jax.errors import require
from makemore_jax.files import write_bytes
from makemore_jax.inference.trained import Activations

SHOWN = 40  # symbols along a side of a heat map; a larger vocabulary shows the most frequent
DPI, NOTEBOOK_DPI = 150, 110  # of files, and in notebooks, which should stay small
PLAIN = {"parse_math": False}  # for text from the data, in which a dollar sign is not mathematics
TITLES = {"h": "state h", "c": "memory c"}
TITLES |= {gate: f"{gate} gate" for gate in ("reset", "update", "input", "forget", "output")}

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]  # by name: steps, losses


class NotebookFigure(Figure):
    """A figure that a notebook shows as a picture, even if pyplot was not imported."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=NOTEBOOK_DPI)
        return picture.getvalue()


def figure(width: float, height: float) -> Figure:
    """Make an empty figure of this size in inches, without a display or pyplot, which would keep it in memory."""
    return NotebookFigure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: str | Path | None) -> Figure:
    """Write the figure to `path`, if there is one, and return it."""
    if path is not None:
        picture = io.BytesIO()
        figure.savefig(picture, format=Path(path).suffix[1:] or "png", dpi=DPI)
        write_bytes(path, picture.getvalue())
    return figure


def label(symbol: str) -> str:
    """Return the label of a symbol: the symbol itself, or its code points if it is blank or the font lacks it."""
    font = get_font(findfont("DejaVu Sans"))
    if symbol == " ":
        return "␣"
    drawable = all(c.isprintable() and font.get_char_index(ord(c)) for c in symbol)
    return symbol if drawable else "-".join(f"{ord(c):04x}" for c in symbol)


def shown(counts_VV: np.ndarray, most: int | None = None) -> np.ndarray:
    """Return the tokens that fit in a heat map of bigrams: the mark and the most frequent, in vocabulary order."""
    count_V = np.asarray(counts_VV).sum(0).astype(np.float64)
    count_V[MARK] = np.inf
    return most_frequent(count_V, most or SHOWN)


def name_axes(axes: Axes, names: Sequence[str], fontsize: float) -> None:
    """Name the rows and columns of a square heat map, and remove ticks and frame."""
    rotation = 90 if max(map(len, names)) > 2 else 0
    axes.set_xticks(range(len(names)), names, fontsize=fontsize, rotation=rotation, **PLAIN)
    axes.set_yticks(range(len(names)), names, fontsize=fontsize, **PLAIN)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)


def losses(
    curves: Curves,
    levels: Mapping[str, float] = {},
    path: str | Path | None = None,
    log: bool = False,
    unit: str = "character",
) -> Figure:
    """Plot loss against gradient step: a curve for each (steps, losses), and a dashed line at each named level.

    Losses are in nats per `unit`; `log` makes the step axis logarithmic. Earlier curves are wider and paler, so that
    all can be seen where they coincide.
    """
    canvas = figure(9, 5)
    axes = canvas.subplots()
    for number, (name, (steps, values)) in enumerate(curves.items()):
        above = len(curves) - 1 - number
        marker = "o" if len(steps) == 1 else None  # a line through a single point is invisible
        axes.plot(steps, values, label=name, linewidth=1.5 + 2 * above, alpha=1 / (1 + above), marker=marker)
    axes.set(xscale="log" if log else "linear")
    _finish_losses(axes, levels, unit)
    return save(canvas, path)


def band(axes: Axes, x: ArrayLike, values: Iterable[Any], name: str, **style: Any) -> None:
    """Draw the values of the runs at each x, of which there may be more at one x than at another.

    Their mean is a line, and their range a band of its color.
    """
    mean, lowest, highest = np.array([(np.mean(runs), np.min(runs), np.max(runs)) for runs in values]).T
    (line,) = axes.plot(x, mean, label=name, **style)
    axes.fill_between(x, lowest, highest, color=line.get_color(), alpha=0.2, linewidth=0)


def bands(
    curves: Curves, levels: Mapping[str, float] = {}, path: str | Path | None = None, unit: str = "character"
) -> Figure:
    """Plot losses of many runs against gradient step: mean and range of each (steps (E,), losses (seeds, E))."""
    canvas = figure(9, 5)
    axes = canvas.subplots()
    for name, (steps, loss_SE) in curves.items():
        band(axes, steps, np.asarray(loss_SE).T, name)
    _finish_losses(axes, levels, unit)
    return save(canvas, path)


def _finish_losses(axes: Axes, levels: Mapping[str, float], unit: str) -> None:
    for shade, (name, level) in zip(np.linspace(0.25, 0.75, len(levels)), levels.items(), strict=True):
        axes.axhline(level, color=str(shade), linestyle="--", linewidth=1, label=f"{name}: {level:.4f}")
    if axes.get_xscale() == "linear":
        axes.locator_params("x", integer=True)
    axes.set(xlabel="gradient step", ylabel=f"loss, nats per {unit}")
    axes.grid(alpha=0.2)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)  # outside, where it hides nothing


def substitution(found: Substitution, symbols: Sequence[str], path: str | Path | None = None) -> Figure:
    """Plot which symbols are interchangeable for a model.

    The heat map shows `influence.substitution` in percent, darker if the model hardly notices. `symbols` is the full
    vocabulary. Rows and columns are in the order of a tree that joins the most similar symbols first (hierarchical
    clustering, average linkage, on the mean of both directions). Its cophenetic correlation measures how well the tree
    represents the matrix: 1 is perfect.
    """
    from scipy.cluster import hierarchy  # here, since its import takes as long as the rest of this file
    from scipy.spatial.distance import squareform

    change_KK = np.asarray(found.change_KK)
    require(len(change_KK) > 1, "there are no two symbols to compare")
    distance = squareform((change_KK + change_KK.T) / 2, checks=False)
    linkage = hierarchy.linkage(distance, "average", optimal_ordering=True)
    agreement = hierarchy.cophenet(linkage, distance)[0] if np.ptp(distance) > 0 else 1.0
    tree = hierarchy.dendrogram(linkage, no_plot=True)
    percent_KK = 100 * change_KK[np.ix_(tree["leaves"], tree["leaves"])]
    side = max(6.5, 0.34 * len(percent_KK) + 1)
    canvas = figure(side, 1.2 * side)
    above, axes = canvas.subplots(2, 1, height_ratios=(1, 7))
    for x, height in zip(tree["icoord"], tree["dcoord"], strict=True):
        above.plot(x, height, color="#555555", linewidth=1)
    above.set(xlim=(0, 10 * len(percent_KK)))  # SciPy's leaves are 10 apart
    above.set_axis_off()
    title = "how much (%) the next-symbol distribution changes\nwhen the column's symbol replaces the row's"
    above.set_title(f"{title} (tree: correlation {agreement:.2f})", fontsize=11)
    axes.imshow(percent_KK, cmap="Blues_r", vmin=0, vmax=100, aspect="auto")
    for (i, j), percent in np.ndenumerate(percent_KK):
        style = {"color": "white" if percent < 45 else "#333333", "fontsize": 8, "ha": "center", "va": "center"}
        axes.text(j, i, f"{percent:.0f}" if i != j else "", **style)
    name_axes(axes, [label(symbols[int(found.symbols_K[k])]) for k in tree["leaves"]], fontsize=12)
    return save(canvas, path)


def reach(change_T: np.ndarray, receptive_field: int | None = None, path: str | Path | None = None) -> Figure:
    """Plot how far back a model looks: `influence.reach`, and the end of its receptive field if it has one."""
    canvas = figure(9, 4)
    axes = canvas.subplots()
    axes.bar(range(len(change_T)), change_T, color="#6baed6")
    if receptive_field is not None:
        style = {"color": "#555555", "linestyle": "--", "linewidth": 1}
        axes.axvline(receptive_field - 0.5, **style, label=f"end of the receptive field of {receptive_field} symbols")
        axes.legend(frameon=False)
    axes.locator_params("x", integer=True, nbins=20)
    axes.set_xlim(-0.6, max(len(change_T), receptive_field or 0) - 0.4)
    axes.set(xlabel="steps back", ylabel="change of the prediction when the symbol\nis replaced (total variation)")
    return save(canvas, path)


def panels(values: Mapping[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
    """Return the panels of `traces`, (time, units) each, by title.

    There is one for each array of shape (time, units), and one for each layer of an array (layers, time, units).
    """
    found = {}
    for name in sorted(values, key=[*TITLES, *values].index):
        title, value = TITLES.get(name, name), values[name]
        if value.ndim == 2 and len(value) == length:
            found[title] = value
        elif value.ndim == 3 and value.shape[1] == length:
            found |= {f"{title}, layer {number}": layer for number, layer in enumerate(value, 1)}
    return found


def traces(activations: Activations, path: str | Path | None = None) -> Figure:
    """Plot states, gates and other activations along a line: time from left to right, units ordered by their mean."""
    length = len(activations.symbols)
    by_title = panels(activations.values, length)
    require(len(by_title) > 0, "this model has no activations of (time, units) to draw")
    columns = min(3, len(by_title))
    rows = -(-len(by_title) // columns)
    canvas = figure(columns * min(12, 1.6 + 0.35 * length), 3.4 * rows)
    for number, (title, value_TH) in enumerate(by_title.items(), 1):
        axes = canvas.add_subplot(rows, columns, number)
        value_TH = np.asarray(value_TH)[:, np.argsort(np.asarray(value_TH).mean(0))]
        signed, most = value_TH.min() < 0, max(1, np.abs(value_TH).max())
        style = {"cmap": "RdBu" if signed else "Blues", "vmin": -most if signed else 0, "vmax": most}
        image = axes.imshow(value_TH.T, aspect="auto", interpolation="none", **style)
        axes.set_xticks(range(length), _names(activations.symbols), **PLAIN)
        axes.set(title=f"{title} ({value_TH.shape[1]} units)", yticks=[])
        canvas.colorbar(image, ax=axes, shrink=0.6)
    return save(canvas, path)


def attention(activations: Activations, path: str | Path | None = None) -> Figure:
    """Plot attention weights: where each position (row) looks (column); a row of panels per layer, one per head."""
    require("attention" in activations.values, "this model has no attention to draw; a transformer has")
    weight_LNTS = np.asarray(activations.values["attention"])
    layers, heads, length, _ = weight_LNTS.shape
    side = np.clip(0.16 * length, 1.9, 6)
    canvas = figure((side + 0.5) * heads + 1.2, (side + 0.6) * layers + 0.3)
    panels_LN = canvas.subplots(layers, heads, squeeze=False)
    for (layer, head), axes in np.ndenumerate(panels_LN):
        image = axes.imshow(weight_LNTS[layer, head], cmap="Blues", vmin=0, vmax=1)
        name_axes(axes, _names(activations.symbols), fontsize=7)
        axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=8)
    canvas.colorbar(image, ax=panels_LN, label="attention weight", fraction=0.05, aspect=30)
    canvas.supxlabel("symbol that is looked at", fontsize=9)
    canvas.supylabel("symbol that looks", fontsize=9)
    return save(canvas, path)


def _names(symbols: Sequence[str]) -> list[str]:
    """Return the labels along a line, empty where they would overlap."""
    return [label(symbol) if len(symbols) <= SHOWN else "" for symbol in symbols]
