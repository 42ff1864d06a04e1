"""Make more from a trained run, or from a file of weights.

Run it:   python -m experiments.sample runs/transformer --n 20 --prefix ma --temperature 0.8
"""

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments import cli
from makemore_jax import checkpoint, data
from makemore_jax.errors import InputError, require
from makemore_jax.loss import line_nll
from makemore_jax.model import Model, Params
from makemore_jax.models import build, configure
from makemore_jax.sample import Sampling, novelty, sample


@dataclass(frozen=True)
class Config:
    """Make more of what a run has learned."""

    run: tyro.conf.Positional[Path]
    """Run folder of experiments.train, or a .safetensors file that --export wrote."""
    n: int = 20
    """How many lines to make."""
    prefix: str = ""
    """What every line starts with."""
    seed: int = 1
    """Seed of the samples."""
    greedy: bool = False
    """Always take the likeliest symbol: temperature 0."""
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=Sampling)
    score: tuple[str, ...] = ()
    """Score these words instead of making lines."""
    export: Path | None = None
    """Write the weights, with sizes and vocabulary, to this .safetensors file."""
    json: bool = False
    """Print everything as JSON on the last line."""

    def __post_init__(self):
        require(0 < self.n <= 10**6, f"--n is {self.n}; it must be from 1 to 1,000,000")
        require(0 <= self.seed < 2**32, f"--seed is {self.seed}; it must be from 0 to {2**32 - 1}")


class Trained(NamedTuple):
    """A model with its weights and its vocabulary; `about` is what an export writes into its header."""

    model: Model
    params: Params
    vocab: data.Vocab
    about: dict

    @property
    def config(self) -> Any:
        """The model's sizes."""
        return configure(self.about["model"], self.about["sizes"])

    @property
    def block(self) -> int:
        """The longest line, in tokens, that it was trained on."""
        return self.about["block"]


def load(path: Path) -> Trained:
    """The best weights of a run folder, or those of a safetensors file.

    Raises:
      InputError: there is no run, it is damaged, or its parts do not fit together.
    """
    if path.suffix == ".safetensors":
        leaves, about = checkpoint.import_weights(path)
        vocab = data.Vocab.from_dict(about, str(path))
    else:
        require(path.is_dir(), f"{path}: no such run folder; train one with python -m experiments.train")
        try:
            about = json.loads((path / "model.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(f"{path}: no run to sample from; its model.json is missing or damaged") from None
        vocab = data.Vocab.load(path / "vocab.json")
        leaves = None
    kinds = {"model": str, "sizes": dict, "block": int}
    told = isinstance(about, dict) and all(isinstance(about.get(name), kind) for name, kind in kinds.items())
    require(told and isinstance(about["sizes"].get("vocab"), int), f"{path}: does not say which model it holds")
    model = build(about["model"], about["sizes"])
    require(
        vocab.size == about["sizes"]["vocab"], f"{path}: {vocab.size} symbols for a model of {about['sizes']['vocab']}"
    )
    like = jax.eval_shape(model.init, jax.random.key(0))
    if leaves is None:
        with checkpoint.manager(path / "checkpoints/best", keep=1) as best:
            params = checkpoint.restore(best, like)
    else:
        try:
            params = checkpoint.unflatten(leaves, like)
        except ValueError:
            raise InputError(f"{path}: its weights are not those of a {about['model']} of its sizes") from None
    return Trained(model, jax.tree.map(jnp.asarray, params), vocab, about | vocab.to_dict())


def score(trained: Trained, words: list[str]) -> list[dict]:
    """Nats of each word, its end mark included.

    Raises:
      InputError: a word with a character that the model does not know, or longer than it was trained on.
    """
    words = [data.normalize(word) for word in words]
    for word in words:
        length = len(trained.vocab.encode_line(word))
        require(length < trained.block, f"--score: {word!r} is longer than the {trained.block - 1} symbols it knows")
    tokens = data.tokenize(words, trained.vocab)
    nats = line_nll(trained.model, trained.params, tokens)
    rows = zip(words, nats, tokens.length_N, strict=True)
    return [{"text": word, "nats": nll, f"nats_a_{trained.vocab.level}": nll / length} for word, nll, length in rows]


def inner_values(trained: Trained, line: str) -> tuple[list[str], dict]:
    """The symbols of a line, with the mark before it, and what the model computes on reading them (a batch of one)."""
    x_T = np.concatenate([[data.MARK], trained.vocab.encode_line(line)])
    require(len(x_T) <= trained.block, f"{line!r} is longer than the {trained.block - 1} symbols the model knows")
    _, inner = jax.jit(partial(trained.model.apply, inner=True))(trained.params, x_T[None])
    return [trained.vocab.symbols[i] for i in x_T], jax.tree.map(np.asarray, inner)


def make(trained: Trained, config: Config) -> list[dict]:
    """New lines, each with its log-probability under the model."""
    prefix = trained.vocab.encode_line(config.prefix)
    sampling = Sampling(temperature=0.0) if config.greedy else config.sampling
    key = jax.random.key(config.seed)
    allowed, prefixes = trained.vocab.drawable_V, [prefix] * config.n
    drawn = sample(key, trained.model, trained.params, prefixes, trained.block, sampling, allowed)
    rows = zip(np.asarray(drawn.token_BT), np.asarray(drawn.log_prob_B), np.asarray(drawn.ended_B), strict=True)
    return [
        {"text": trained.vocab.decode(row), "log_prob": float(log_prob), "ended": bool(ended)}
        for row, log_prob, ended in rows
    ]


def run(config: Config) -> dict:
    """Export, score, or make more; returns what was printed."""
    trained = load(config.run)
    if config.export:
        checkpoint.export_weights(config.export, trained.params, trained.about)
        print(f"wrote {config.export}")
    if config.score:
        rows = score(trained, list(config.score))
        for row in rows:
            each = row[f"nats_a_{trained.vocab.level}"]
            print(f"{row['nats']:>10.4f} nats {each:>9.4f} a {trained.vocab.level}   {cli.printable(row['text'])}")
        return {"scores": rows}
    rows = make(trained, config)
    for row in rows:
        print(f"{row['log_prob']:>10.4f}   {cli.printable(row['text'])}{'' if row['ended'] else '…'}")
    return {"samples": rows} | tell_novelty(config.run, trained.vocab, [row["text"] for row in rows])


def tell_novelty(path: Path, vocab: data.Vocab, texts: list[str]) -> dict:
    """How new the samples are, where the run's data is still as it was."""
    try:
        trained_on = json.loads((path / "config.json").read_text(encoding="utf-8"))
        if trained_on["stream"]:  # the data may be larger than memory
            return {}
        lines = data.read_lines(trained_on["data"], trained_on["max_length"], trained_on["fold"])
        same = data.digest(lines) == trained_on["lines_sha256"]
    except (OSError, ValueError, KeyError, TypeError, InputError):
        same = False
    if not same:
        return {}
    train, dev, test = (list(map(vocab.canonical, side)) for side in data.split(lines))
    report = novelty(texts, train, dev + test)
    named = {"new": report["new"], "in train": report["in_train"], "held out": report["in_held_out"]}
    print(f"of {len(texts):,}: " + ", ".join(f"{number:,} {name}" for name, number in named.items()), end="")
    print(f", {report['repeated']:,} repeated")
    return {"novelty": report}


if __name__ == "__main__":
    cli.main(lambda: Config, run)
