"""Sample from a trained run or from a weight file.

Run it:   python -m experiments.sample runs/transformer --n 20 --prefix ma --temperature 0.8
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro

import makemore_jax as mm
from makemore_jax.data.corpus import novelty as count_new
from makemore_jax.data.lines import Split
from makemore_jax.errors import require
from makemore_jax.inference import gpt2_export
from makemore_jax.inference.draw import draw
from makemore_jax.inference.sampler import SamplingParams
from makemore_jax.inference.trained import Trained
from makemore_jax.runs.folder import lines_of, read_config

from .shared import cli
from .shared.flags import Seed, Typed, one_of
from .shared.symbols import label

FORMATS = {"makemore": mm.save, "gpt2": gpt2_export.export}
MOST_LIKELY = 64  # symbols printed of a large vocabulary


@dataclass(frozen=True, kw_only=True)
class Config(Seed):
    """Sample new lines from a trained model, score given lines, ask what comes next, or export the model's weights."""

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
    next: Typed | None = None
    """Print the probability of each symbol that may follow this text instead of sampling; "" starts a line."""
    export: Path | None = None
    """Write the weights, sizes and vocabulary into this .safetensors file or, with --format gpt2, into this folder."""
    format: Annotated[str, one_of(FORMATS)] = "makemore"
    """Format of --export: makemore, which every command opens; or gpt2, which the package transformers opens."""
    plain: bool = False
    """Print only the sampled lines, for a file or another program; the notes go to standard error."""
    json: bool = False
    """Print everything as JSON on the last line."""

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.n <= 10**6, f"`n` is {self.n}; it must be from 1 to 1,000,000")
        require(self.export is not None or self.format == "makemore", "`format` is for `export`; name a folder there")
        alone = not (self.plain and (self.json or self.score or self.next is not None))
        require(alone, "`plain` prints sampled lines alone; leave it out with `json`, `score` and `next`")


def run(config: Config) -> dict:
    """Export, score or sample; return what was printed."""
    trained, say = mm.open(config.run), partial(print, file=sys.stderr if config.plain else sys.stdout)
    if config.export:
        FORMATS[config.format](trained, config.export)
        say(f"wrote {cli.shown(config.export)}")
    answers = {"scores": score(trained, config.score)} if config.score else {}
    answers |= {} if config.next is None else {"next": predict(trained, config.next)}
    if answers:
        return answers
    sampling = SamplingParams(temperature=0.0) if config.greedy else config.sampling
    lines = lines_of(config.run, trained.vocab)
    known = f"{config.run}: its train lines are missing or have changed; sample without `unseen`"
    require(lines is not None or not config.unseen, known)
    excluding = set(lines.train) if lines and config.unseen else ()
    drawn = draw(jax.random.key(config.seed), trained, config.n, config.prefix, sampling, excluding=excluding)
    rows = [
        {"text": trained.vocab.decode(token_T), "log_prob": float(log_prob), "ended": bool(ended)}
        for token_T, log_prob, ended in zip(*map(np.asarray, drawn), strict=True)
    ]
    texts = [row["text"] for row in rows]
    if config.plain:
        print_plain(texts, separator(config.run))
        if cut := sum(not row["ended"] for row in rows):
            say(f"of {len(rows):,}: {cut:,} cut at the length of the longest line in the data")
    else:
        print_table(rows)
    return {"samples": rows} | (novelty(lines, texts, say) if lines else {})


def print_table(rows: list[dict]) -> None:
    """Print each sample after its log-probability, with … if it was cut."""
    print("  log prob   line")
    for row in rows:
        print(f"{row['log_prob']:>10.4f}   {cli.printable(row['text'])}{'' if row['ended'] else '…'}")


def print_plain(texts: list[str], separator: str | None) -> None:
    """Print texts as they are: one on each line, or documents with the separator or a blank line between them.

    Control characters are escaped if a terminal would obey them.
    """
    if separator is None:
        separator = "\n\n" if any("\n" in text for text in texts) else "\n"
    whole = (separator if "\n" in separator else f"\n{separator}\n").join(texts)
    print("\n".join(map(cli.printable, whole.split("\n"))) if sys.stdout.isatty() else whole)


def separator(run: Path) -> str | None:
    """The text between two documents in the data of a run; None if its items are lines, or if it does not say."""
    found = (read_config(run) or {}).get("separator")
    return found if isinstance(found, str) else None


def score(trained: Trained, lines: tuple[str, ...]) -> list[dict]:
    """Print the loss of each line, in total and per token, and below it that of each symbol."""
    rows, unit = [], trained.vocab.unit
    for line, found in zip(lines, mm.score(trained, lines), strict=True):
        total, costs = found.nats_T.sum(), zip(found.symbols, found.nats_T, strict=True)
        rows.append({"text": line, "nats": total, f"nats_per_{unit}": found.nats})
        rows[-1] |= {"symbols": found.symbols, "symbol_nats": found.nats_T, "problem": found.problem}
        why = f"   ({found.problem})" if found.problem else ""
        print(f"{total:>10.4f} nats {found.nats:>9.4f} per {unit}   {cli.printable(line + why)}")
        print(" " * 14, "  ".join(f"{label(symbol)} {nats:.2f}" for symbol, nats in costs))
    return rows


def predict(trained: Trained, prefix: str) -> list[dict]:
    """Print the most likely symbols after a prefix with their probabilities; return all of them."""
    end, found = trained.vocab.symbols[0], mm.predict(trained, prefix)
    rows = [{"symbol": symbol, "end": symbol == end, "probability": prob} for symbol, prob in found.items()]
    for row in rows[:MOST_LIKELY]:
        print(f"{row['probability']:>10.4%}   {'end of the line' if row['end'] else label(row['symbol'])}")
    if rest := rows[MOST_LIKELY:]:
        print(f"{sum(row['probability'] for row in rest):>10.4%}   {len(rest):,} others")
    return rows


def novelty(lines: Split, texts: list[str], say: Callable[..., None]) -> dict:
    """Say how many samples are new."""
    report = count_new(texts, lines.train, lines.dev + lines.test)
    say(f"of {len(texts):,}: {report['new']:,} new, {report['in_train']:,} in train,", end=" ")
    say(f"{report['in_held_out']:,} held out, {report['repeated']:,} repeated")
    return {"novelty": report}


if __name__ == "__main__":
    cli.main(lambda: Config, run)
