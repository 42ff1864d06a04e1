"""Figures of the first lecture: the table of counts, two probability matrices, smoothing beside a penalty."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from makemore_jax.analysis import plot


def counts(counts_VV: np.ndarray, symbols: Sequence[str], path: Path | None = None) -> Figure:
    """Draw the bigram table as in the lecture: each cell shows a pair and its count, darker for larger counts."""
    shown = plot.shown(counts_VV)
    cells, names = counts_VV[np.ix_(shown, shown)], [plot.label(symbols[int(i)]) for i in shown]
    side = max(4, 0.58 * len(shown) + 1)
    figure = plot.figure(side, side)
    axes = figure.subplots()
    axes.imshow(cells, cmap="Blues")
    for (i, j), count in np.ndenumerate(cells):
        pair, number = names[i] + names[j], str(count)
        style = {"ha": "center", "color": "white" if count > cells.max() / 2 else "#222222", **plot.PLAIN}
        axes.text(j, i - 0.04, pair, va="bottom", fontsize=min(13, 40 / len(pair)), **style)
        axes.text(j, i + 0.04, number, va="top", fontsize=min(14, 56 / len(number)), **style)
    plot.name_axes(axes, names, fontsize=16)
    text = _title("how often the column's symbol follows the row's", shown, symbols)
    axes.set_title(text, fontsize=min(20, 1.7 * side), pad=14)
    return plot.save(figure, path)


def matrices(
    prob_VV: Mapping[str, np.ndarray], counts_VV: np.ndarray, symbols: Sequence[str], path: Path | None = None
) -> Figure:
    """Draw probability matrices side by side on one colour scale; a row is the distribution after its symbol.

    Few pairs are far more probable than all others, as u is after q. So the darkest shade stands for the most probable
    hundredth of the cells, and the others can be told apart.
    """
    shown = plot.shown(counts_VV)
    names, cells = [plot.label(symbols[int(i)]) for i in shown], np.ix_(shown, shown)
    top = max(np.quantile(prob[cells], 0.99) for prob in prob_VV.values())
    figure = plot.figure(7.2 * len(prob_VV), 6.9)
    figure.suptitle("probability of the column's symbol after the row's", fontsize=15)
    for axes, (name, prob) in zip(figure.subplots(1, len(prob_VV), squeeze=False)[0], prob_VV.items(), strict=True):
        image = axes.imshow(prob[cells], cmap="Blues", vmin=0, vmax=top)
        plot.name_axes(axes, names, fontsize=11)
        axes.set_title(_title(name, shown, symbols), fontsize=13)
    figure.colorbar(image, ax=figure.axes, label="probability", shrink=0.8, extend="max")
    return plot.save(figure, path)


def _title(text: str, shown: np.ndarray, symbols: Sequence[str]) -> str:
    if len(shown) == len(symbols):
        return text
    return f"{text}\n(the {len(shown)} most frequent of {len(symbols):,} symbols)"


def regularisers(smoothing: tuple, penalty: tuple, counted_nats: float, path: Path | None = None) -> Figure:
    """Draw what each regulariser costs in loss and gives to unseen pairs: smoothing as a line, penalties as points.

    Each regulariser is three arrays: its strengths, the losses on the data, and the probabilities of unseen pairs.
    `counted_nats` is the loss without regularisation.
    """
    figure = plot.figure(9, 5)
    axes = figure.subplots()
    axes.plot(*smoothing[1:], color="C0", label="smoothing")
    axes.plot(*penalty[1:], "o", color="C1", label="weight penalty (its strength beside it)")
    labelled, size = -np.inf, np.ptp(penalty[1:], axis=1) + 1e-9
    for strength, x, y in zip(*penalty, strict=True):
        if np.max((np.array((x, y)) - labelled) / size) < 0.03:
            continue  # its label would cover the one before
        labelled = np.array((x, y))
        axes.annotate(f"{strength:.2g}", (x, y), (6, -12), textcoords="offset points", color="C1", fontsize=9)
    axes.axvline(counted_nats, color="#555555", linestyle="--", linewidth=1, label=f"counts: {counted_nats:.4f}")
    axes.set(xlabel="loss on the data, nats per character", ylabel="probability of pairs that were never seen")
    axes.set_title("a penalty on weights acts as smoothing does")
    axes.grid(alpha=0.2)
    axes.legend(frameon=False)
    return plot.save(figure, path)
