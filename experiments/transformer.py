"""The transformer of GPT-2 on lines of text: each position looks back at those it needs (Vaswani et al. 2017).

The picture shows where: for a line, the attention of every head of every layer.

Run it:   python -m experiments.transformer
Then see: runs/transformer/attention.png
"""

from dataclasses import dataclass

import tyro

from experiments import cli, sample, train
from experiments.task import config_type, line_to_read
from makemore_jax import plot


@dataclass(frozen=True)
class Config(train.Config):
    """Train the transformer on the lines of a text file, and draw its attention along a line."""

    model: tyro.conf.Suppress[tyro.conf.Fixed[str]] = "transformer"
    read: str = ""
    """The line to draw; without it, the longest of the first hundred."""


def story(config: Config) -> dict:
    """Train, then draw where each head looks."""
    line = line_to_read(config)
    summary, out = train.run(config), train.folder(config)
    if not config.no_figures:
        symbols, inner = sample.inner_values(sample.load(out), line)
        plot.attention(inner["attention"][:, 0], symbols, out / "attention.png")
        print(f"where each head looks in {line!r}: {out / 'attention.png'}")
    return summary


if __name__ == "__main__":
    cli.main(lambda: config_type(Config, Config.model), story)
