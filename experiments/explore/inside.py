"""Show what a model computes as it reads a line: attention, states, embeddings, how far back it looks."""

from functools import partial
from typing import Any

import jax
import numpy as np

from makemore_jax.analysis import influence, plot
from makemore_jax.inference.reading import padded
from makemore_jax.inference.trained import Trained
from makemore_jax.models.interface import Model, Params

from ..shared.symbols import label
from .views import reading, rounded

UNITS = 96  # shown of a layer; of a wider layer, those that vary most along the line
POINTS = 150  # embeddings in the plane
LONGEST = 64  # symbols that are read of a line


def inside(trained: Trained, text: str) -> dict:
    """Compute the activations along a line and how far back the model looks, ready for JSON."""
    ids, _, problem = reading(trained, text)
    if len(ids) >= LONGEST:
        ids, problem = ids[: LONGEST - 1], f"the first {LONGEST - 1} symbols are shown"
    x_T, length = padded(trained, ids), len(ids) + 1
    values = activations(trained, ids)
    reach_TT = influence.along_line(trained.model, trained.params, x_T)[:length, :length]
    return {
        "symbols": [label(trained.vocab.symbols[i]) for i in x_T[:length]],
        "problem": problem,
        "attention": rounded(values["attention"], 3) if "attention" in values else None,
        "panels": [panel(title, value_TH) for title, value_TH in plot.panels(values, length).items()],
        "plane": plane(trained),
        "reach": rounded(reach_TT, 4),
    }


@partial(jax.jit, static_argnames="model")
def _forward(model: Model, params: Params, x_T: jax.Array) -> dict:
    return model.forward(params, x_T[None])[1]


def activations(trained: Trained, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Compute what `mm.activations` returns, but on a padded line, so that the next symbol needs no compilation.

    Time is the first of two axes, the second of three axes, and both last ones of four axes.
    """
    values = _forward(trained.model, trained.params, padded(trained, ids))
    part = slice(len(ids) + 1)
    where = {2: np.s_[part], 3: np.s_[:, part], 4: np.s_[:, :, part, part]}
    found = {name: np.asarray(value[0], np.float64) for name, value in values.items()}
    return {name: value[where[value.ndim]] for name, value in found.items() if value.ndim in where}


def panel(title: str, value_TH: np.ndarray) -> dict:
    """Make a heat map of (time, units), with the units in order of their mean."""
    most = np.sort(np.argsort(-value_TH.std(0), kind="stable")[:UNITS])
    shown_TH = value_TH[:, most]
    shown_TH = shown_TH[:, np.argsort(shown_TH.mean(0), kind="stable")]
    scale = max(1.0, float(np.quantile(np.abs(value_TH), 0.99)))  # so that a few large units do not make the rest pale
    signed = bool(value_TH.min() < 0)
    return {"title": title, "units": value_TH.shape[1], "scale": scale, "signed": signed, "value": rounded(shown_TH, 3)}


def plane(trained: Trained) -> dict | None:
    """Project the symbols' embeddings onto the two directions in which they differ most (PCA).

    Two-dimensional embeddings are shown as they are. Return None for a model without a table named `embed`.
    """
    table = _embedding(trained.params, trained.vocab.size)
    if table is None:
        return None
    shown_P = np.arange(min(len(table), trained.vocab.size, POINTS))
    centred_PD = table[shown_P] - table[shown_P].mean(0)
    if centred_PD.shape[1] == 2:
        flat_P2, share = centred_PD, 1.0
    else:
        _, scale_D, axes_DD = np.linalg.svd(centred_PD, full_matrices=False)
        flat_P2 = centred_PD @ axes_DD[:2].T
        share = float((scale_D[:2] ** 2).sum() / max((scale_D**2).sum(), 1e-30))
    labels = [label(trained.vocab.symbols[i]) for i in shown_P]
    return {"points": rounded(flat_P2, 4), "labels": labels, "share": share, "width": table.shape[1]}


def _embedding(params: Any, vocab: int) -> np.ndarray | None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        named = getattr(path[-1], "key", None) == "embed"
        if named and leaf.ndim == 2 and leaf.shape[0] in (vocab, vocab + 1) and leaf.shape[1] >= 2:
            return np.asarray(leaf, np.float64)
    return None
