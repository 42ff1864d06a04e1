"""Attention fused into one kernel (Dao et al. 2022, arXiv:2205.14135).

The kernel never stores the weights, (T, S) for each head, which take most of the memory and time when rows are long.
The readable form is `transformer.attend`.
"""

from typing import Literal

import jax
import jax.numpy as jnp

FUSED_TYPES = (jnp.bfloat16, jnp.float16)  # the types that cuDNN's kernel accepts
FUSED_WIDTHS = range(8, 129, 8)  # the widths of a head that it accepts


def fusible(dtype: jnp.dtype) -> bool:
    """Whether there is a kernel for this type: cuDNN's, for half precision on a GPU."""
    return jax.default_backend() == "gpu" and dtype in FUSED_TYPES


def fused(
    q: jax.Array, k: jax.Array, v: jax.Array, visible: jax.Array, implementation: Literal["cudnn", "xla"] = "cudnn"
) -> jax.Array:
    """Compute the mean of `attend` by an implementation of `jax.nn.dot_product_attention`.

    Under `vmap` the elements are computed one by one, because cuDNN's kernel cannot be mapped with its gradient.
    """

    def mean(q: jax.Array, k: jax.Array, v: jax.Array, visible: jax.Array) -> jax.Array:
        length, odd = q.shape[1], q.shape[1] % 2  # cuDNN requires rows of even length
        q, k, v = (jnp.pad(x, ((0, 0), (0, odd), (0, 0), (0, 0))) for x in (q, k, v))
        visible = jnp.pad(visible, ((0, 0), (0, 0), (0, odd), (0, odd)))
        mean_BTNK = jax.nn.dot_product_attention(q, k, v, mask=visible, implementation=implementation)
        return mean_BTNK[:, :length].reshape(len(q), length, -1)

    @jax.custom_batching.sequential_vmap
    def gradients(q: jax.Array, k: jax.Array, v: jax.Array, visible: jax.Array, gradient: jax.Array) -> tuple:
        return jax.vjp(lambda q, k, v: mean(q, k, v, visible), q, k, v)[1](gradient)

    one_by_one = jax.custom_batching.sequential_vmap(mean)
    differentiable = jax.custom_vjp(one_by_one)
    differentiable.defvjp(
        lambda *args: (one_by_one(*args), args), lambda args, gradient: (*gradients(*args, gradient), None)
    )
    return differentiable(q, k, v, visible)
