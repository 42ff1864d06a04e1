"""A tiny run in a folder: what tests train, damage and continue."""

import warnings

import jax

from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import Split
from makemore_jax.models.registry import build
from makemore_jax.recipe import Recipe
from makemore_jax.runs.folder import states
from makemore_jax.runs.lock import claim
from makemore_jax.runs.saved_run import SavedRun

LINES = ["emma", "ava", "mia", "zoe", "anna", "maria", "eva"]
CORPUS = encode(Split(LINES, ["ava"], ["mia"]), digest="d")
MODEL = build("mlp", vocab=CORPUS.vocab.size, window=3, embed=5, hidden=13)
RECIPE = Recipe(steps=40, batch=5, warmup=5)
CONFIG = {"model": "mlp", "seed": 0, "lines_sha256": "d", "data": "names.txt"}
# The same as flags of the train command.
SMALL = ["--model", "mlp", "--window", 3, "--embed", 5, "--hidden", 13, "--batch", 8, "--no-figures", "--samples", 0]
RUN = [*SMALL, "--steps", 40, "--evaluate-every", 10, "--warmup", 5]


def train(path, until=40, seed=0, resume=False, overwrite=False, **options):
    """Train into a folder, up to a step at which it is interrupted; returns the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with claim(path, CONFIG | {"seed": seed}, ("loss.png",), resume=resume, overwrite=overwrite) as folder:
            run = SavedRun(jax.random.key(seed), MODEL, CORPUS, RECIPE, folder)
            run.train(evaluate_every=10, progress=False, should_stop=lambda: run.now.step >= until, **options)
    return [str(warning.message) for warning in caught]


def contents(path):
    """What a run leaves behind that must not depend on how often it was stopped."""
    files = (states(path)[0], path / "best.safetensors", path / "metrics.jsonl")
    return [file.name for file in files], [file.read_bytes() for file in files]
