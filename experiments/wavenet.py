"""The WaveNet of makemore's last lecture, as in its paper: dilated causal convolutions (van den Oord et al. 2016).

Each cycle of layers doubles how far it sees. The picture measures it: another symbol so many steps back, how much does
the prediction change? Past the receptive field, not at all.

Run it:   python -m experiments.wavenet
Then see: runs/wavenet/reach.png
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments import cli, train
from experiments.sample import Trained, load
from experiments.task import config_type
from makemore_jax import plot


@dataclass(frozen=True)
class Config(train.Config):
    """Train the WaveNet on the lines of a text file, and draw how far back it looks."""

    model: tyro.conf.Suppress[tyro.conf.Fixed[str]] = "wavenet"


def reach(trained: Trained, key: jax.Array, rows: int = 64) -> np.ndarray:
    """(T,) the mean total variation between predictions with and without another symbol 0, 1, ... steps back."""
    symbol_key, change_key = jax.random.split(key)
    length = 2 * trained.config.receptive_field
    x_BT = jax.random.randint(symbol_key, (rows, length), 1, trained.vocab.size)
    other_BT = jax.random.randint(change_key, (rows, length), 1, trained.vocab.size)

    @jax.jit
    def last(x_BT: jax.Array) -> jax.Array:
        return jax.nn.softmax(trained.model.apply(trained.params, x_BT)[:, -1])

    at_T = [x_BT.at[:, -1 - age].set(other_BT[:, -1 - age]) for age in range(length)]
    return np.array([jnp.abs(last(changed_BT) - last(x_BT)).sum(-1).mean() / 2 for changed_BT in at_T])


def story(config: Config) -> dict:
    """Train, then draw how far back it looks."""
    summary, out = train.run(config), train.folder(config)
    if not config.no_figures:
        trained = load(out)
        field = trained.config.receptive_field
        plot.reach(reach(trained, jax.random.key(config.seed)), field, out / "reach.png")
        print(f"it sees {field} symbols; how much each matters: {out / 'reach.png'}")
    return summary


if __name__ == "__main__":
    cli.main(lambda: config_type(Config, Config.model), story)
