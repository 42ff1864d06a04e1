"""Figures that commands share. They are drawn after results, so one that cannot be drawn is only a warning."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import makemore_jax as mm
from makemore_jax.data.lines import printable
from makemore_jax.errors import InputError


@contextlib.contextmanager
def drawing(path: Path, what: str = "drawn") -> Iterator[Path]:
    """Print the path when the figure in it has been drawn; if drawing fails, for example by a matplotlibrc, warn."""
    shown = printable(str(path))
    try:
        yield path
        print(f"{shown}: {what}")
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(f"{shown}: not drawn ({reason[:200]})", stacklevel=3)


def comparison(loss_S: Mapping[str, np.ndarray], baseline: str, path: Path, unit: str) -> None:
    """Draw the test losses, best first: a dot for each seed, a bar at the mean, a dashed line at the baseline."""
    ranked = sorted(loss_S, key=lambda name: np.mean(loss_S[name]))
    figure = mm.plot.figure(8, 0.4 * len(ranked) + 1.2)
    axes = figure.subplots()
    label = f"{baseline}: counting, without training"
    axes.axvline(float(np.mean(loss_S[baseline])), color="0.5", linestyle="--", linewidth=1, label=label)
    for row, name in enumerate(ranked):
        values = np.asarray(loss_S[name])
        axes.plot(values, np.full(len(values), row), "o", color="C0", alpha=0.5, markersize=5)
        axes.plot([values.mean()], [row], "|", color="C0", markersize=18, markeredgewidth=2)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # over the dashed line
        offset = {"xytext": (10, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"{values.mean():.4f}", (values.max(), row), **offset, bbox=box)
    axes.set_yticks(range(len(ranked)), ranked)
    axes.set_ylim(len(ranked) - 0.4, -0.6)  # the best at the top, and room for every bar
    axes.margins(x=0.12)
    axes.set(xlabel=f"test loss, nats per {unit}")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1))  # above the rows, so that none is covered
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    mm.plot.save(figure, path)


def tensorboard(out: Path) -> Any:
    """Open a writer of TensorBoard event files."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise InputError("`tensorboard` needs another package: pip install '.[tensorboard]'") from None
    return SummaryWriter(str(out))
