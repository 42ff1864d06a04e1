"""Sample from a trained run or from a weight file.

Run it:   python -m experiments.sample runs/transformer --n 20 --prefix ma --temperature 0.8
"""

from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
import tyro

import makemore_jax as mm
from makemore_jax.data.corpus import novelty as count_new
from makemore_jax.data.lines import Split
from makemore_jax.errors import require
from makemore_jax.inference.draw import draw
from makemore_jax.inference.sampler import SamplingParams
from makemore_jax.inference.trained import Trained
from makemore_jax.runs.folder import lines_of

from .shared import cli
from .shared.flags import Seed, Typed


@dataclass(frozen=True, kw_only=True)
class Config(Seed):
    """Sample new lines from a trained model, score given lines, or export the model's weights."""

    run: tyro.conf.Positional[Path]
    """Run folder that the train command wrote, or a .safetensors file that --export wrote."""
    n: int = 20
    """Number of lines to sample; a line that ends in … was cut at the length of the longest line in the data."""
    prefix: Typed = ""
    """Text that every sampled line starts with."""
    seed: int = 1
    """Random seed; the same seed gives the same lines."""
    greedy: bool = False
    """Always take the most likely token; the same as --temperature 0."""
    sampling: tyro.conf.OmitArgPrefixes[SamplingParams] = field(default_factory=SamplingParams)
    unseen: bool = False
    """Sample only lines that are not in the run's train data, by drawing again in place of those that are."""
    score: tuple[Typed, ...] = ()
    """Print the loss of these lines instead of sampling."""
    export: Path | None = None
    """Write the weights, sizes and vocabulary into this .safetensors file."""
    json: bool = False
    """Print everything as JSON on the last line."""

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.n <= 10**6, f"`n` is {self.n}; it must be from 1 to 1,000,000")


def run(config: Config) -> dict:
    """Export, score or sample; return what was printed."""
    trained = mm.open(config.run)
    if config.export:
        mm.save(trained, config.export)
        print(f"wrote {cli.shown(config.export)}")
    if config.score:
        return {"scores": score(trained, config.score)}
    sampling = SamplingParams(temperature=0.0) if config.greedy else config.sampling
    lines = lines_of(config.run, trained.vocab)
    known = f"{config.run}: its train lines are missing or have changed; sample without `unseen`"
    require(lines is not None or not config.unseen, known)
    excluding = set(lines.train) if lines and config.unseen else ()
    drawn = draw(jax.random.key(config.seed), trained, config.n, config.prefix, sampling, excluding=excluding)
    rows = []
    print("  log prob   line")
    for token_T, log_prob, ended in zip(*map(np.asarray, drawn), strict=True):
        rows.append({"text": trained.vocab.decode(token_T), "log_prob": float(log_prob), "ended": bool(ended)})
        print(f"{log_prob:>10.4f}   {cli.printable(rows[-1]['text'])}{'' if ended else '…'}")
    return {"samples": rows} | (novelty(lines, [row["text"] for row in rows]) if lines else {})


def score(trained: Trained, lines: tuple[str, ...]) -> list[dict]:
    """Print the loss of each line, in total and per token."""
    rows, unit = [], trained.vocab.unit
    for line, quality in zip(lines, mm.score(trained, lines), strict=True):
        nats = quality.nats * quality.tokens
        rows.append({"text": line, "nats": nats, f"nats_per_{unit}": quality.nats})
        print(f"{nats:>10.4f} nats {quality.nats:>9.4f} per {unit}   {cli.printable(line)}")
    return rows


def novelty(lines: Split, texts: list[str]) -> dict:
    """Print how many samples are new."""
    report = count_new(texts, lines.train, lines.dev + lines.test)
    print(f"of {len(texts):,}: {report['new']:,} new, {report['in_train']:,} in train,", end=" ")
    print(f"{report['in_held_out']:,} held out, {report['repeated']:,} repeated")
    return {"novelty": report}


if __name__ == "__main__":
    cli.main(lambda: Config, run)
