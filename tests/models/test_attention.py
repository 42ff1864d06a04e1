"""The fused form of attention against the readable one; the XLA implementation stands in for cuDNN's."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from makemore_jax.errors import InputError
from makemore_jax.models import transformer
from makemore_jax.models.attention import fused
from makemore_jax.models.registry import build
from makemore_jax.models.transformer import attend

B, T, N, K = 2, 7, 3, 8
KEY = jax.random.key(0)


def test_the_fused_form_is_the_readable_one_with_its_gradient_and_under_vmap():
    q, k, v, other_q = jax.random.normal(jax.random.key(0), (4, B, T, N, K))
    visible_B1TS = jnp.eye(T, dtype=bool) | jax.random.bernoulli(jax.random.key(1), shape=(B, 1, T, T))

    def gradients(form):
        loss = lambda q, k, v: jnp.sin(form(q, k, v, visible_B1TS)).sum()
        return jax.jit(jax.vmap(jax.value_and_grad(loss, (0, 1, 2)), (0, None, None)))(jnp.stack([q, other_q]), k, v)

    chex.assert_trees_all_close(
        gradients(partial(fused, implementation="xla")), gradients(lambda *args: attend(*args)[0]), atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "dtype", "calls"), [("gpu", "bfloat16", 2), ("gpu", "float32", 0), ("cpu", "bfloat16", 0)]
)
def test_a_transformer_is_the_same_function_fused(monkeypatch, backend, dtype, calls):
    """On a GPU whose kernel is XLA's, in half precision, it is asked for once a layer; elsewhere never."""
    asked = []
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    by_xla = lambda *args: asked.append(args) or fused(*args, implementation="xla")
    monkeypatch.setattr(transformer, "fused", by_xla)
    sizes = {"vocab": T, "context": T, "layers": 2, "heads": 1, "embed": K}
    plain, other = (build("transformer", **sizes, fused=fused) for fused in (False, True))
    params = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(1), leaf.shape), plain.init(KEY))
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    x_BT = np.int32(np.random.default_rng(0).integers(1, T, (B, T)))
    x_BT[:, [0, 4]] = 0  # two lines in a row
    found, expected = (jax.jit(model.apply)(params, x_BT).astype(jnp.float32) for model in (other, plain))
    assert len(asked) == calls
    assert np.ptp(expected) > 0.5
    chex.assert_trees_all_close(found, expected, atol=0.05)


def test_heads_that_the_kernel_does_not_take_are_refused():
    with pytest.raises(InputError, match=r"`fused` needs heads whose width is a multiple of 8, up to 128; .* is 6"):
        transformer.Config(7, heads=1, embed=6, fused=True)
