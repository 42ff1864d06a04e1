"""Transforms that a recipe applies to the objective: functions of an objective, as `jax.grad` is of a function.

They are not needed to understand `objective`, and each can be read on its own.
"""

import jax
import jax.numpy as jnp

from makemore_jax.data.batches import Batch
from makemore_jax.learning.objective import Objective
from makemore_jax.models.interface import Params
from makemore_jax.models.layers import mark_remat, sample_network


def dropout(nll: Objective, rate: float) -> Objective:
    """Compute on a random thinned network, which the key picks (Srivastava et al. 2014, JMLR 15:1929)."""

    def thinned(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
        network = sample_network(params, jax.random.fold_in(key, 1), jnp.float32(rate), batch.row_B)
        return nll(network, batch, key)

    return thinned


def remat(nll: Objective) -> Objective:
    """Recompute the inside of each block in the backward pass, which needs less memory (Chen et al. 2016)."""

    def recomputed(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
        return nll(mark_remat(params), batch, key)

    return recomputed


def bfloat16(nll: Objective) -> Objective:
    """Compute in bfloat16; the parameters to update and their gradients stay in float32."""

    def rounded(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
        return nll(jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params), batch, key)

    return rounded


def accumulated(nll: Objective) -> Objective:
    """Compute micro-batches, (K, B, T), one after the other, forward and backward, with the memory of one."""

    def in_turn(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
        keys_K = jax.random.split(key, len(batch.x_BT))
        one = jax.checkpoint(lambda params, micro_batch, key: nll(params, micro_batch, key))
        return jax.lax.map(lambda micro: one(params, *micro), (batch, keys_K))

    return in_turn
