"""Attention (Vaswani et al. 2017, arXiv:1706.03762): as one reads it, and fused into one kernel where there is one.

A fused kernel (Dao et al. 2022, arXiv:2205.14135) never holds the weights, (T, S) for each head, which are most of the
memory and of the time where rows are long.
"""

import math
from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from makemore_jax.nn import upcast

MIN_FUSED = 128  # positions, the width of a kernel's tile: in shorter rows attention is little of the work


def attend(q: jax.Array, k_BSNK: jax.Array, v_BSNK: jax.Array, visible: jax.Array) -> tuple[jax.Array, jax.Array]:
    """For each query, the mean (B, T, D) of the values, weighted by its match with the visible keys; the weights."""
    score_BNTS = upcast(jnp.einsum("btnk,bsnk->bnts", q, k_BSNK)) / math.sqrt(q.shape[-1])
    weight_BNTS = jax.nn.softmax(jnp.where(visible, score_BNTS, -jnp.inf))
    mean_BTNK = jnp.einsum("bnts,bsnk->btnk", weight_BNTS.astype(v_BSNK.dtype), v_BSNK)
    return mean_BTNK.reshape(*mean_BTNK.shape[:2], -1), weight_BNTS


@cache
def fused(implementation: str) -> Callable:
    """The mean of `attend`, from the same arguments, by an implementation of `jax.nn.dot_product_attention`.

    Under `vmap` it computes one element after the other, because cuDNN's kernel cannot be mapped with its gradient.
    """

    def kernel(q: jax.Array, k: jax.Array, v: jax.Array, visible: jax.Array) -> jax.Array:
        length, odd = q.shape[1], q.shape[1] % 2  # cuDNN wants rows of an even length
        q, k, v = (jnp.pad(x, ((0, 0), (0, odd), (0, 0), (0, 0))) for x in (q, k, v))
        visible = jnp.pad(visible, ((0, 0), (0, 0), (0, odd), (0, odd)))
        mean_BTNK = jax.nn.dot_product_attention(q, k, v, mask=visible, implementation=implementation)
        return mean_BTNK[:, :length].reshape(len(q), length, -1)

    @jax.custom_batching.sequential_vmap
    def gradients(q: jax.Array, k: jax.Array, v: jax.Array, visible: jax.Array, gradient: jax.Array) -> tuple:
        return jax.vjp(lambda *qkv: kernel(*qkv, visible), q, k, v)[1](gradient)

    mean = jax.custom_vjp(jax.custom_batching.sequential_vmap(kernel))
    mean.defvjp(lambda *args: (mean(*args), args), lambda args, gradient: (*gradients(*args, gradient), None))
    return mean


@cache
def find_fused(length: int, heads: int, width: int, dtype: jnp.dtype, implementation: str = "cudnn") -> Callable | None:
    """The fused form for rows of this length and heads of this width and type, or None.

    Which of them a kernel takes depends on the GPU and on the version of cuDNN. So it is tried, once: it has to run,
    with its gradient, and to agree with `attend` on lines that lie end to end.
    """
    if length < MIN_FUSED or (implementation == "cudnn" and jax.default_backend() != "gpu"):
        return None
    with jax.ensure_compile_time_eval():  # on numbers, even if it is first asked for inside jit
        qkv = jax.random.normal(jax.random.key(0), (3, 2, length, heads, width), dtype)
        t_T = np.arange(length)
        visible_B1TS = np.stack([(t_T <= t_T[:, None]) & (t_T >= t_T[:, None] // line * line) for line in (37, 101)])
        results = []
        for form in (fused(implementation), lambda *args: attend(*args)[0]):
            loss = lambda qkv, form=form: jnp.sin(upcast(form(*qkv, visible_B1TS[:, None]))).sum()
            try:
                results.append(np.asarray(jax.jit(jax.grad(loss))(qkv), np.float32))
            except (NotImplementedError, RuntimeError, TypeError, ValueError):
                return None
    found, expected = results
    agree = np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected)  # bfloat16 has 8 bits
    return fused(implementation) if agree else None
