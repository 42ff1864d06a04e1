"""The fused form of attention against the readable one; the XLA implementation stands in for cuDNN's."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from makemore_jax import attention
from makemore_jax.attention import attend, find_fused, fused
from makemore_jax.models import build

B, T, N, K = 2, 131, 3, 5  # an odd length is padded
KEY = jax.random.key(0)
BFLOAT16 = jnp.dtype("bfloat16")


@pytest.fixture
def gpu(monkeypatch):
    """A GPU whose kernel is XLA's."""
    kernel = jax.nn.dot_product_attention
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax.nn, "dot_product_attention", lambda *args, implementation, **kw: kernel(*args, **kw))
    forget()
    yield
    forget()


def forget():
    """Forget which shapes were tried, and what JAX traced for them."""
    find_fused.cache_clear()
    fused.cache_clear()


def test_the_fused_form_is_the_readable_one_with_its_gradient_and_under_vmap():
    q, k, v, other_q = jax.random.normal(jax.random.key(0), (4, B, 7, N, K))
    visible_B1TS = jnp.eye(7, dtype=bool) | jax.random.bernoulli(jax.random.key(1), shape=(B, 1, 7, 7))

    def gradients(form):
        loss = lambda q, k, v: jnp.sin(form(q, k, v, visible_B1TS)).sum()
        return jax.jit(jax.vmap(jax.value_and_grad(loss, (0, 1, 2)), (0, None, None)))(jnp.stack([q, other_q]), k, v)

    chex.assert_trees_all_close(gradients(fused("xla")), gradients(lambda *args: attend(*args)[0]), atol=1e-5)


def test_rows_are_fused_where_a_kernel_runs_and_agrees(monkeypatch, gpu):
    """Whatever is wrong with a kernel, the readable form stays."""
    kernel = jax.nn.dot_product_attention
    tried = []

    def raises(*args, **options):
        tried.append(args)
        raise NotImplementedError("The head dim must be a multiple of 8")

    def blind(*args, mask, **options):
        tried.append(args)
        return kernel(*args, mask=jnp.ones_like(mask), **options)

    for wrong in (raises, blind):
        monkeypatch.setattr(jax.nn, "dot_product_attention", wrong)
        forget()
        assert find_fused(T, N, K, BFLOAT16) is None
        assert tried.pop()
    monkeypatch.setattr(jax.nn, "dot_product_attention", kernel)
    forget()
    assert find_fused(T, N, K, BFLOAT16) is fused("cudnn")
    assert find_fused(attention.MIN_FUSED - 1, N, K, BFLOAT16) is None


def test_a_cpu_keeps_the_readable_form():
    assert find_fused(T, N, K, BFLOAT16) is None


def test_a_transformer_is_the_same_function_fused(request):
    model = build("transformer", vocab=7, block=T, layers=1, heads=1, embed=6)
    params = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(1), leaf.shape), model.init(KEY))
    x_BT = np.int32(np.random.default_rng(0).integers(1, 7, (B, T)))
    x_BT[:, [0, 50]] = 0  # two lines in a row
    expected = jax.jit(model.forward)(params, x_BT)
    request.getfixturevalue("gpu")
    found = jax.jit(lambda params: model.forward(params, x_BT))(params)
    hits = find_fused.cache_info().hits
    assert find_fused(T, 1, 6, jnp.dtype("float32"))
    assert find_fused.cache_info().hits == hits + 1  # it was found when the model asked
    chex.assert_trees_all_close(found, expected, atol=1e-4)
