"""makemore_jax: learn a model of the lines of a text file, and make more of them.

import jax, makemore_jax as mm
corpus = mm.load("names.txt")
gru = mm.train(jax.random.key(0), "gru", corpus)
print(mm.evaluate(gru, corpus.tokens.test))
print(mm.sample(jax.random.key(1), gru, 10, prefix="ma"))
mm.plot.traces(mm.activations(gru, "charlotte"))
"""

import importlib
from typing import Any

from makemore_jax.counting import baselines, count
from makemore_jax.data.corpus import Corpus, load
from makemore_jax.errors import InputError
from makemore_jax.mixing import ensemble, mix
from makemore_jax.model import Model
from makemore_jax.models import MODELS, Entry
from makemore_jax.recipe import Recipe
from makemore_jax.run_folder import open_run as open
from makemore_jax.runs import train
from makemore_jax.sweeps import Runs, sweep
from makemore_jax.trained import Trained, activations, evaluate, mass, sample, save, score
from makemore_jax.trainer import Training, training

__version__ = "0.1.0"
__all__ = [
    "MODELS",
    "Corpus",
    "Entry",
    "InputError",
    "Model",
    "Recipe",
    "Runs",
    "Trained",
    "Training",
    "activations",
    "baselines",
    "count",
    "ensemble",
    "evaluate",
    "load",
    "mass",
    "mix",
    "open",
    "plot",
    "sample",
    "save",
    "score",
    "sweep",
    "train",
    "training",
]


def __getattr__(name: str) -> Any:
    """Import `mm.plot` on first use, since matplotlib is slow to import."""
    if name == "plot":
        return importlib.import_module("makemore_jax.plot")
    raise AttributeError(f"module 'makemore_jax' has no attribute {name!r}")
