"""What a run starts from: a trained model that it fine-tunes, symbols that are new to it, a run that was shorter."""

import json
from pathlib import Path
from typing import Any

import makemore_jax as mm
from makemore_jax.data.corpus import Encoding
from makemore_jax.data.lines import visible
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError
from makemore_jax.files import to_json
from makemore_jax.inference import gpt2
from makemore_jax.runs.folder import read_config, states

from . import cli
from .argv import as_flags
from .flags import is_ours, read_vocab
from .usage import command_line

SHOWN = 40  # new symbols


def starting_point(config: Any, out: Path) -> tuple[mm.Trained | None, str | None]:
    """The trained model to start from and its digest; a resumed run no longer needs the file."""
    path, kept = config.init_from, None
    if path is None:
        return None, None
    if config.resume and states(out):
        kept = (read_config(out) or {}).get("init_sha256")
    if kept and not path.exists():
        return None, kept
    trained = mm.open(path) if is_ours(path) or not (path / "config.json").exists() else gpt2.open(path)
    return trained, trained.digest


def continued(encoding: Encoding, config: Any, out: Path) -> Encoding:
    """Continue the vocabulary of the model to start from, or of the run in `out`, unless the flags give another."""
    if config.init_from is None or encoding.vocab:
        return encoding
    path = config.init_from if config.init_from.exists() else out
    return encoding._replace(vocab=read_vocab(path, encoding.lowercase), grow=True)


def refuse_longer(config: Any, out: Path) -> None:
    """Raise `InputError` if the folder holds a run of fewer steps; say how another run goes on from its weights.

    A run cannot be made longer itself, since its learning rate has decayed to the end of its schedule.
    """
    kept, steps = read_config(out) or {}, config.recipe.steps
    taken = kept.get("steps")
    if config.overwrite or not states(out) or type(taken) is not int or taken >= steps:
        return
    usual = json.loads(to_json(cli.settings(type(config)(), "")))
    own = {name: kept[name] for name in kept if kept[name] != usual.get(name) and name not in ("steps", "init_from")}
    to = ["--steps", str(steps), "--init-from", out, "--out", f"{out}-longer"]
    again = command_line("train", *as_flags(type(config), own), *to)
    raise InputError(f"{str(out)!r}: a run of {taken:,} steps; to train longer, start from its weights: {again}")


def introduce_new_symbols(old: Vocab, new: Vocab) -> None:
    """Print the symbols that fine-tuning adds, if any."""
    if added := new.symbols[old.size :]:
        shown = " ".join(map(visible, added[:SHOWN])) + " ..." * (len(added) > SHOWN)
        print(f"new symbols, {len(added):,}, each of which begins as the mean of the others: {shown}")
