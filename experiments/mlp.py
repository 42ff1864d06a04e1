"""The second lecture of makemore: a window of embeddings and a hidden layer (Bengio et al. 2003).

The embedding gives each symbol a place, and training moves together those that behave alike. The picture shows the two
directions in which the places differ most.

Run it:   python -m experiments.mlp
Then see: runs/mlp/embeddings.png
"""

from dataclasses import dataclass

import tyro

from experiments import cli, train
from experiments.sample import load
from experiments.task import config_type
from makemore_jax import plot


@dataclass(frozen=True)
class Config(train.Config):
    """Train the MLP on the lines of a text file, and draw its embeddings."""

    model: tyro.conf.Suppress[tyro.conf.Fixed[str]] = "mlp"


def story(config: Config) -> dict:
    """Train, then draw the symbols' embeddings in the plane that shows most of them."""
    summary, out = train.run(config), train.folder(config)
    if not config.no_figures:
        trained = load(out)
        embed_VD = trained.params["embed"][: trained.vocab.size]  # without the blank before a line
        plot.embeddings(embed_VD, trained.vocab.symbols, out / "embeddings.png")
        print(f"embeddings of the symbols: {out / 'embeddings.png'}")
    return summary


if __name__ == "__main__":
    cli.main(lambda: config_type(Config, Config.model), story)
