"""The quantity that training minimises: the mean nats per token of a random batch of lines.

An objective is a function (params, batch, key) -> (B, T) nats. Options of a recipe, such as dropout, and the division
among devices are functions of an objective, as `jax.grad` is a function of a function; see `transforms`.
"""

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from makemore_jax.data.batches import Batch
from makemore_jax.models.interface import Model, Params
from makemore_jax.models.likelihood import batch_nll


class Objective(Protocol):
    """Return the nats of each token of a batch, (B, T), 0 where the mask is false; the key is for random numbers."""

    def __call__(self, params: Params, batch: Batch, key: jax.Array, /) -> jax.Array: ...


class Draw(Protocol):
    """Draw a batch of the data with the key, or return the data itself if batches are made elsewhere."""

    def __call__(self, data: Any, key: jax.Array, /) -> Batch: ...


class Loss(Protocol):
    """Compute the number that training minimises; `hyper` holds the floats that may differ between runs."""

    def __call__(self, params: Params, data: Any, hyper: Any, key: jax.Array, /) -> jax.Array: ...


def masked_nll(model: Model) -> Objective:
    """Make the plain objective: the negative log-likelihood of each token, which uses no random numbers."""

    def nll(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
        return jnp.where(batch.mask_BT, batch_nll(model, params, batch.x_BT, batch.y_BT), 0)

    return nll


def batch_loss(nll: Objective, draw: Draw, tokens: float) -> Loss:
    """Make the mean of an objective over a random batch, in which `tokens` is the expected number of tokens."""

    def loss(params: Params, data: Any, hyper: Any, key: jax.Array) -> jax.Array:
        draw_key, noise_key = jax.random.split(key)
        nll_BT = nll(params, draw(data, draw_key), noise_key)
        return nll_BT.sum((-2, -1)).sum() / tokens

    return loss
