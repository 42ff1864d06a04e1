"""Every figure, drawn without a display and saved as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from makemore_jax.data import MARK

SHOWN = 40  # symbols along a side of a heat map; of a larger alphabet the most frequent are shown
PLAIN = {"parse_math": False}  # a dollar sign in the data is a dollar sign


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: str | Path) -> None:
    figure.savefig(path, dpi=110)


def _label(symbol: str) -> str:
    """What stands for a symbol in a figure: itself, or its code point where it is blank or the font lacks it."""
    font = get_font(findfont("DejaVu Sans"))
    if symbol == " ":
        return "␣"
    drawable = all(c.isprintable() and font.get_char_index(ord(c)) for c in symbol)
    return symbol if drawable else "-".join(f"{ord(c):04x}" for c in symbol)


def _shown(counts_VV: np.ndarray) -> np.ndarray:
    """The symbols that a heat map has room for: the mark and the most frequent, in their own order."""
    frequency = np.asarray(counts_VV).sum(0).astype(np.float64)
    frequency[MARK] = np.inf
    return np.sort(np.argsort(-frequency, kind="stable")[:SHOWN])


def counts(counts_VV: np.ndarray, symbols: Sequence[str], path: str | Path) -> None:
    """The bigram table as in the lecture: each cell holds the pair and its count, the darker the more."""
    counts_VV = np.asarray(counts_VV)
    shown = _shown(counts_VV)
    cells = counts_VV[np.ix_(shown, shown)]
    names = [_label(symbols[i]) for i in shown]
    side = max(4, 0.58 * len(shown) + 1)
    figure = _figure(side, side)
    axes = figure.subplots()
    axes.imshow(cells, cmap="Blues")
    dark = cells.max() / 2
    for i, first in enumerate(names):
        for j, second in enumerate(names):
            style = {"ha": "center", "color": "white" if cells[i, j] > dark else "#555555", **PLAIN}
            axes.text(j, i - 0.06, first + second, va="bottom", fontsize=min(12, 40 / len(first + second)), **style)
            axes.text(j, i + 0.06, f"{cells[i, j]}", va="top", fontsize=8.5, **style)
    _name_axes(axes, names, fontsize=13)
    axes.set_title(
        _title("how often the column's symbol follows the row's", len(shown), len(symbols)),
        fontsize=min(16, 1.7 * side),
        pad=14,
    )
    _save(figure, path)


def matrices(
    prob_VV: Mapping[str, np.ndarray], counts_VV: np.ndarray, symbols: Sequence[str], path: str | Path
) -> None:
    """Probability matrices side by side on one colour scale; a row is the distribution after its symbol."""
    shown = _shown(counts_VV)
    names = [_label(symbols[i]) for i in shown]
    cells = {name: np.asarray(prob)[np.ix_(shown, shown)] for name, prob in prob_VV.items()}
    top = max(block.max() for block in cells.values())
    figure = _figure(7.2 * len(cells), 6.6)
    for axes, (name, block) in zip(figure.subplots(1, len(cells), squeeze=False)[0], cells.items(), strict=True):
        image = axes.imshow(block, cmap="Blues", vmin=0, vmax=top)
        _name_axes(axes, names, fontsize=9)
        axes.set_title(_title(name, len(shown), len(symbols)), fontsize=13)
    figure.colorbar(image, ax=figure.axes, label="probability of the column's symbol after the row's", shrink=0.8)
    _save(figure, path)


def _name_axes(axes, names: Sequence[str], fontsize: float) -> None:
    for set_ticks in (axes.set_xticks, axes.set_yticks):
        set_ticks(range(len(names)), names, fontsize=fontsize, **PLAIN)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)


def _title(text: str, shown: int, all_symbols: int) -> str:
    return text if shown == all_symbols else f"{text} (the {shown} most frequent of {all_symbols:,} symbols)"


def losses(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    levels: Mapping[str, float],
    path: str | Path,
    log: bool = False,
    unit: str = "character",
) -> None:
    """Loss, in nats a `unit`, against step: a curve each of (steps, losses), with named levels to measure it by.

    `log` is the step axis. Of curves that coincide, all show: earlier ones are wider and paler.
    """
    figure = _figure(9, 5)
    axes = figure.subplots()
    for number, (name, (steps, values)) in enumerate(curves.items()):
        under = len(curves) - 1 - number
        marker = "o" if len(steps) == 1 else None  # a line of one point would not show
        axes.plot(steps, values, label=name, linewidth=1.5 + 2 * under, alpha=1 / (1 + under), marker=marker)
    axes.set(xscale="log" if log else "linear")
    _finish_losses(figure, levels, path, unit)


def _finish_losses(figure: Figure, levels: Mapping[str, float], path: str | Path, unit: str) -> None:
    (axes,) = figure.axes
    for shade, (name, level) in zip(np.linspace(0.25, 0.75, len(levels)), levels.items(), strict=True):
        axes.axhline(level, color=str(shade), linestyle="--", linewidth=1, label=f"{name}: {level:.4f}")
    axes.set(xlabel="gradient step", ylabel=f"loss, nats a {unit}")
    axes.grid(alpha=0.2)
    axes.legend(frameon=False)
    _save(figure, path)


def spread(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], levels: Mapping[str, float], path: str | Path, unit: str
) -> None:
    """Curves of (steps (E,), losses (seeds, E)): the mean over seeds in a band from the least to the most."""
    figure = _figure(9, 5)
    axes = figure.subplots()
    for name, (steps, loss_SE) in curves.items():
        (line,) = axes.plot(steps, loss_SE.mean(0), label=name)
        axes.fill_between(steps, loss_SE.min(0), loss_SE.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    _finish_losses(figure, levels, path, unit)


def comparison(loss_S: Mapping[str, np.ndarray], yardstick: str, path: str | Path, unit: str) -> None:
    """Losses of models, best first: a dot a seed, a bar at the mean, and a dashed line at the yardstick."""
    ranked = sorted(loss_S, key=lambda name: np.mean(loss_S[name]))
    figure = _figure(8, 0.4 * len(ranked) + 1.2)
    axes = figure.subplots()
    axes.axvline(np.mean(loss_S[yardstick]), color="0.5", linestyle="--", linewidth=1)
    for row, name in enumerate(ranked):
        values = np.asarray(loss_S[name])
        axes.plot(values, np.full(len(values), row), "o", color="C0", alpha=0.5, markersize=5)
        axes.plot([values.mean()], [row], "|", color="C0", markersize=18, markeredgewidth=2)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # over the dashed line
        place = {"xytext": (10, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"{values.mean():.4f}", (values.max(), row), **place, bbox=box)
    axes.set_yticks(range(len(ranked)), ranked)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel=f"test loss, nats a {unit} (dashed: {yardstick})")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    _save(figure, path)


def growth(found: Mapping[str, Mapping[str, Sequence[float]]], path: str | Path) -> None:
    """How costs grow with each of some sizes: a panel a size, with `values` and the costs at them, as multiples."""
    columns = min(4, len(found))
    figure = _figure(3.2 * columns, 3 * -(-len(found) // columns))
    for number, (name, costs) in enumerate(found.items()):
        axes = figure.add_subplot(-(-len(found) // columns), columns, number + 1)
        x = np.array(costs["values"])
        for cost, label, style in (("us_a_token", "time a token", "o-"), ("memory_mb", "memory", "s--")):
            axes.plot(x, np.array(costs[cost]) / costs[cost][0], style, markersize=4, label=label)
        axes.plot(x, x / x[0], color="0.7", linewidth=1, label="in proportion")
        axes.set(xscale="log", yscale="log", xlabel=name, ylim=(0.2, None))
        axes.set_xticks(x, [f"{value:.4g}".replace("e+0", "e") for value in x], fontsize=8)
        axes.set_xticks([], minor=True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("times the first")
    figure.axes[0].legend(frameon=False, fontsize=8)
    _save(figure, path)


def regularisers(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], level: float, path: str | Path
) -> None:
    """What each regulariser pays and buys, one curve each of (strength, loss on the data, probability of the unseen).

    The first curve is a line, the others are points with their strengths beside them; `level` is the loss without.
    """
    figure = _figure(9, 5)
    axes = figure.subplots()
    for number, (name, (strength, loss, unseen)) in enumerate(curves.items()):
        axes.plot(loss, unseen, "o" if number else "-", label=name, color=f"C{number}")
        for x, y, text in zip(loss, unseen, strength, strict=True) if number else ():
            axes.annotate(f"{text:.2g}", (x, y), (6, -12), textcoords="offset points", color=f"C{number}", fontsize=9)
    axes.axvline(level, color="#555555", linestyle="--", linewidth=1, label=f"counts: {level:.4f}")
    axes.set(xlabel="loss on the data, nats a character", ylabel="probability given to pairs never seen")
    axes.grid(alpha=0.2)
    axes.legend(frameon=False)
    _save(figure, path)


def embeddings(embed_VD: np.ndarray, symbols: Sequence[str], path: str | Path) -> None:
    """The two directions in which the symbols' embeddings differ most (principal components), a label a symbol."""
    centred_VD = np.asarray(embed_VD, np.float64) - np.mean(embed_VD, 0)
    left, scale, _ = np.linalg.svd(centred_VD, full_matrices=False)
    points_V2 = (left * scale)[:, :2]
    figure = _figure(7, 7)
    axes = figure.subplots()
    axes.scatter(*points_V2.T, s=260, color="#c6dbef")
    for symbol, (x, y) in zip(symbols, points_V2, strict=True):
        axes.text(x, y, _label(symbol), ha="center", va="center", fontsize=12, **PLAIN)
    share = (scale[:2] ** 2).sum() / (scale**2).sum()
    axes.set_title(f"embeddings, two principal components ({share:.0%} of their variance)")
    axes.set(xticks=[], yticks=[])
    _save(figure, path)


def reach(change_T: np.ndarray, receptive_field: int, path: str | Path) -> None:
    """How much another symbol so many steps back changes a prediction, and where the receptive field ends."""
    figure = _figure(9, 4)
    axes = figure.subplots()
    axes.bar(range(len(change_T)), change_T, color="#6baed6")
    axes.axvline(
        receptive_field - 0.5, color="#555555", linestyle="--", linewidth=1, label="end of the receptive field"
    )
    axes.set(xlabel="steps back", ylabel="change of the prediction\n(total variation)")
    axes.legend(frameon=False)
    _save(figure, path)


def traces(values: Mapping[str, np.ndarray], symbols: Sequence[str], path: str | Path) -> None:
    """States and gates along a line: an image each of (time, units), units ordered by their mean."""
    figure = _figure(1.6 + 0.45 * len(symbols) * len(values), 5)
    for axes, (name, value_TH) in zip(figure.subplots(1, len(values), squeeze=False)[0], values.items(), strict=True):
        value_TH = np.asarray(value_TH)[:, np.argsort(np.asarray(value_TH).mean(0))]
        signed, most = value_TH.min() < 0, max(1, np.abs(value_TH).max())
        style = {"cmap": "RdBu", "vmin": -most, "vmax": most} if signed else {"cmap": "Blues", "vmin": 0, "vmax": 1}
        image = axes.imshow(value_TH.T, aspect="auto", **style)
        axes.set_xticks(range(len(symbols)), [_label(symbol) for symbol in symbols], **PLAIN)
        axes.set(title=name, yticks=[])
        figure.colorbar(image, ax=axes, shrink=0.6)
    _save(figure, path)


def attention(weight_LNTS: np.ndarray, symbols: Sequence[str], path: str | Path) -> None:
    """Where each position (row) of each head looks (column); a row of panels a layer."""
    layers, heads, *_ = np.shape(weight_LNTS)
    names = [_label(symbol) for symbol in symbols]
    figure = _figure(2.4 * heads, 2.5 * layers)
    for (layer, head), axes in np.ndenumerate(figure.subplots(layers, heads, squeeze=False)):
        axes.imshow(weight_LNTS[layer][head], cmap="Blues", vmin=0, vmax=1)
        _name_axes(axes, names, fontsize=7)
        axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=8)
    _save(figure, path)


def sheet(picture_RCHW: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str, path: str | Path) -> None:
    """Pictures in a grid, paper white and ink black, with the names of rows and columns."""
    gap, (height, width) = 2, picture_RCHW.shape[2:]
    padded = np.pad(np.asarray(picture_RCHW, np.float64), ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=np.nan)
    grid = np.concatenate(np.concatenate(padded, 1), 1)[:-gap, :-gap]
    figure = _figure(0.75 * picture_RCHW.shape[1] + 1, 0.75 * picture_RCHW.shape[0] + 0.6)
    axes = figure.subplots()
    axes.imshow(grid, cmap="gray_r", vmin=0, vmax=np.max(picture_RCHW))
    at = lambda count, size: [number * (size + gap) + (size - 1) / 2 for number in range(count)]
    axes.set_yticks(at(len(rows), height), rows)
    axes.set_xticks(at(len(columns), width), columns)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=11)
    _save(figure, path)
