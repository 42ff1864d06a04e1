"""makemore_jax: learn a model of the lines of a text file, and make more of them.

import jax, makemore_jax as mm
corpus = mm.load("names.txt")
gru = mm.train(jax.random.key(0), "gru", corpus)
print(mm.evaluate(gru, corpus.tokens.test))
print(mm.sample(jax.random.key(1), gru, 10, prefix="ma"))
mm.plot.traces(mm.activations(gru, "charlotte"))

The folders, in the order to read them. The first four and `recipe` are the core; the others are attached from outside:

data         text -> tokens -> batches: `corpus.load` reads, splits and encodes; `batches` draws a batch with a key
models       `interface` says what a model is; each model is a file, built from `layers`; `registry` lists them by name
recipe       how to train: `Recipe`, and the table of optimisers; `muon` is one that needs some lines of its own
learning     `objective` is the quantity to minimise, `transforms` add options of a recipe to it (such as dropout),
             `training` is a run as two pure functions, `fit` the loop over them; `sweep` trains many runs at once
inference    `trained` is a model with its weights and vocabulary: `evaluate` it, draw from it (`sampler`), mix it
analysis     what a prediction depends on (`influence`), data of known entropy (`sources`), figures (`plot`)
distributed  many devices (`mesh`) and processes; batches made on the host (`feed`)
runs         a run on disk: `saved_run` trains it, `writer` writes its checkpoints, `folder` reads them

`checkpoint` stores a pytree in one file, `files` writes files atomically, and `errors` has the exception for mistakes
of the user.
"""

import importlib
from typing import TYPE_CHECKING, Any

from makemore_jax.data.corpus import Corpus, load
from makemore_jax.errors import InputError
from makemore_jax.inference.baselines import baselines, count
from makemore_jax.inference.draw import sample
from makemore_jax.inference.evaluate import evaluate, mass
from makemore_jax.inference.mixing import ensemble, mix
from makemore_jax.inference.reading import predict, score
from makemore_jax.inference.trained import Trained, activations, save
from makemore_jax.learning.fit import train
from makemore_jax.learning.sweep import SweepResult, sweep
from makemore_jax.learning.training import Training, training
from makemore_jax.making import Made, Wanted, make
from makemore_jax.models.interface import Model
from makemore_jax.models.registry import MODELS, Entry
from makemore_jax.recipe import Recipe
from makemore_jax.runs.folder import open_run as open

if TYPE_CHECKING:
    from makemore_jax.analysis import plot

__version__ = "0.1.0"
__all__ = [
    "MODELS",
    "Corpus",
    "Entry",
    "InputError",
    "Made",
    "Model",
    "Recipe",
    "SweepResult",
    "Trained",
    "Training",
    "Wanted",
    "activations",
    "baselines",
    "count",
    "ensemble",
    "evaluate",
    "load",
    "make",
    "mass",
    "mix",
    "open",
    "plot",
    "predict",
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
        return importlib.import_module("makemore_jax.analysis.plot")
    raise AttributeError(f"module 'makemore_jax' has no attribute {name!r}")
