"""Make more of any list, within a minute.

Run it:   python -m experiments.make towns.txt
          python -m experiments.make towns.txt --start B --max-length 8
Again:    the same command answers at once; --seed 1 makes other lines
Then:     python -m experiments.sample runs/make/towns
"""

import json
import sys
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path

import tyro
from tqdm import tqdm

import makemore_jax as mm
from makemore_jax.data.formats import ENDING
from makemore_jax.data.lines import read_lines
from makemore_jax.errors import InputError, require
from makemore_jax.files import embedded, to_json
from makemore_jax.learning.candidates import Deadline, Learned, learn
from makemore_jax.making import (
    DRAWING,
    Made,
    Wanted,
    find_lines,
    first_handful,
    in_pieces,
    known_lines,
    make_more,
    read,
)
from makemore_jax.progress import progress_bar
from makemore_jax.runs.folder import identity, read_config

from .shared import cli
from .shared.flags import Hidden, Output, Seed, Text, Typed
from .shared.reading import File

SHOWN = 5  # lines at each evaluation that finds better weights
NAMES = partial(embedded, "names.txt")
say = partial(print, file=sys.stderr, flush=True)


@dataclass(frozen=True, kw_only=True)
class Learns(Output, Text):
    """The flags on which the model depends."""

    data: tyro.conf.Positional[File] = field(default_factory=NAMES)
    """Text file with one item per line, or CSV, TSV, FASTA or SMILES, also in .gz; - is standard input. By default, the
    embedded names."""
    minutes: float = 1.0
    """Longest time to learn; a short list takes less."""
    out: Path | None = None
    """Folder that keeps the model; by default runs/make/FILE, without its ending."""
    max_length: Hidden = None  # the flag of that name is the one of `Wanted`
    no_figures: Hidden = True  # it draws none
    stream: Hidden = False


@dataclass(frozen=True)
class WantedLines(Wanted):
    """The flags of `Wanted`, with text as it is typed."""

    start: Typed = ""
    """Text that every line starts with."""
    end: Typed = ""
    """Text that every line ends with."""


@dataclass(frozen=True, kw_only=True)
class Config(Learns, Seed):
    """Learn the lines of a text file, and make more of them. Only the new lines go to standard output."""

    n: int = 20
    """Number of lines to make."""
    seed: int = 0
    """Random seed of the lines; another seed makes other lines from the same model."""
    wanted: tyro.conf.OmitArgPrefixes[WantedLines] = field(default_factory=WantedLines)

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.n <= 10**4, f"`n` is {self.n}; it must be from 1 to 10,000")
        Deadline(self.minutes)


def run(config: Config) -> dict:
    """Learn, or find what was learned before, and print new lines."""
    corpus, deadline = read(config.data, config.encoded), Deadline(config.minutes)
    corpus.vocab.encode_line(config.wanted.start)
    introduce(config, corpus)
    out = config.out or Path("runs/make") / Path(config.data.name.removesuffix(".gz")).stem
    depends = Learns(**{one.name: getattr(config, one.name) for one in fields(Learns)})
    held_out = None if corpus.lines.dev else False
    draw = partial(make_more, corpus=corpus, wanted=config.wanted)
    if not config.overwrite and holds(out, cli.settings(depends, corpus.digest, held_out=held_out)):
        say(f"{cli.shown(out)} has learned it already; other lines: --seed {config.seed + 1}")
        return report(draw(mm.open(out), n=config.n, seed=config.seed), config)
    with cli.claim(depends, out, corpus.digest, held_out=held_out) as folder:
        learned = learn_aloud(config, corpus, deadline)
        made = draw(learned.best.trained, n=config.n, seed=config.seed, until=lambda: deadline.left < -DRAWING)
        folder.save_best(made.trained)
        summary = {"experiment": "make", "nats": learned.nats, "chosen": learned.best.name, **cli.environment()}
        summary |= {"step": learned.best.step} | report(made, config)
        folder.write_json("summary.json", summary)
    say(f"kept in {cli.shown(out)}: the same command with --seed {config.seed + 1} makes others at once")
    return summary


def introduce(config: Config, corpus: mm.Corpus) -> None:
    """Say what was read, and show what counting makes of it."""
    lines = [line for part in corpus.lines for line in part]
    units = "documents" if config.separator else "lines"
    symbols = f"{corpus.vocab.size - 1:,} symbols"
    say(f"{cli.shown(config.data)}: {len(lines):,} {units}, {len(set(lines)):,} different, {symbols}")
    if in_pieces(corpus):
        say(f"lines are longer than a window of {corpus.context:,} tokens, so what is made are pieces of that length")
    if blocks := count_blocks(config):
        say(f"{blocks:,} blocks of lines stand between blank lines; to make whole blocks: --separator '\\n\\n'")
    say(f"by counting alone: {joined(first_handful(corpus, SHOWN))}")


def count_blocks(config: Config) -> int:
    """The number of blocks between blank lines, if nearly all of them have several lines; otherwise 0."""
    if config.separator or ENDING.search(str(config.data)):
        return 0
    try:
        blocks = read_lines(config.data, *config.reading._replace(separator="\n\n"))
    except InputError:  # there are no blank lines
        return 0
    return len(blocks) if len(blocks) > 2 and sum("\n" in block for block in blocks) > 0.9 * len(blocks) else 0


def joined(lines: list[str]) -> str:
    """Some lines on one."""
    return "  ".join(cli.clip(line, 24) for line in lines)


def holds(out: Path, settings: dict) -> bool:
    """Whether the folder holds what a run of these settings has learned."""
    kept = read_config(out)
    same = kept is not None and identity(kept) == identity(json.loads(to_json(settings)))
    return same and (out / "summary.json").exists() and (out / "best.safetensors").exists()


def learn_aloud(config: Config, corpus: mm.Corpus, deadline: Deadline) -> Learned:
    """Learn with a bar that counts seconds, and show samples when they get better."""
    best, known = None, known_lines(corpus)
    with progress_bar(round(deadline.seconds), "learning", unit="s") as bar:
        for learned in learn(corpus, deadline):
            bar.update(min(bar.total, round(deadline.seconds - deadline.left)) - bar.n)
            bar.set_postfix(nats=f"{learned.best.nats:.3f}", step=learned.step)
            if best is None or learned.best.nats < best.nats - 0.02:
                best = learned.best
                wanted, found = find_lines(
                    best.trained, corpus, known, SHOWN, config.wanted, config.seed, until=lambda: True
                )
                tqdm.write(f"{best.nats:7.3f}  {joined(wanted or found.lines[:SHOWN])}", file=sys.stderr)
    unit = corpus.vocab.unit
    losses = ", ".join(f"{name} {nats:.3f}" for name, nats in learned.nats.items())
    where = "held-out lines" if corpus.lines.dev else "lines left out in turn"
    say(f"nats per {unit} on {where}: {losses}; the lowest is kept, {learned.best.name}", end="")
    say(f" after {learned.best.step:,} steps" if learned.best.step else "")
    return learned


def report(made: Made, config: Config) -> dict:
    """Print the lines, and say how new they are and how near to the data."""
    for line in made.lines:
        print("\n".join(map(cli.printable, line.split("\n"))))
        if config.separator:
            print(config.separator.strip("\n"))
    sys.stdout.flush()
    say(f"{made.drawn:,} lines were drawn: {made.new:.0%} are new, and {made.accepted:,} are wanted", end="")
    if made.distance and made.usual:
        near = f"{made.distance:g} characters (its own: {made.usual:g})"
        say(f"; distance to the nearest line of the data: {near}", end="")
    say("")
    if len(made.lines) < config.n:
        way_out = "ask for less, or raise --temperature"
        say(f"only {len(made.lines):,} lines of the {config.n:,} could be found; {way_out}")
    if not made.lines:
        sys.exit(1)
    names = ("lines", "drawn", "accepted", "new", "distance", "usual")
    return {name: getattr(made, name) for name in names}


if __name__ == "__main__":
    cli.main(lambda: Config, run)
