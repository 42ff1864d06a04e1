"""The recurrent models: one state carried along the line, and gates that say what to keep of it.

The picture shows a line as the model reads it: its state after each symbol, and the gates of a GRU or an LSTM.

Run it:   python -m experiments.rnn --model lstm
Then see: runs/lstm/traces.png
"""

import sys
from dataclasses import dataclass
from typing import Literal

from experiments import cli, sample, train
from experiments.task import config_type, line_to_read, model_flag
from makemore_jax import plot

CELLS = ("rnn", "gru", "lstm")


@dataclass(frozen=True)
class Config(train.Config):
    """Train a recurrent model on the lines of a text file, and draw its state and gates along a line."""

    model: Literal[CELLS] = "rnn"
    """Which cell."""
    read: str = ""
    """The line to draw; without it, the longest of the first hundred."""


def story(config: Config) -> dict:
    """Train, then draw the states and the gates along a line."""
    line = line_to_read(config)
    summary, out = train.run(config), train.folder(config)
    if not config.no_figures:
        symbols, inner = sample.inner_values(sample.load(out), line)
        names = {"h": "state h", "c": "memory c"} | {name: f"{name} gate" for name in inner if len(name) > 1}
        values = {title: inner[name][0] for name, title in names.items() if name in inner}
        plot.traces(values, symbols, out / "traces.png")
        print(f"{line!r} as it reads it: {out / 'traces.png'}")
    return summary


if __name__ == "__main__":
    cli.main(lambda: config_type(Config, model_flag(sys.argv[1:], Config.model, CELLS)), story)
