"""Checks of the exercises of lesson 3."""

import jax
import jax.numpy as jnp
import numpy as np


def _params(embed=4, hidden=20, window=3):
    """Parameters in the form of the lesson, of the lecture's noisy start."""
    shapes = {"embed": (27, embed), "w1": (window * embed, hidden), "b1": hidden, "w2": (hidden, 27), "b2": 27}
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=True)}


def _hidden(params, x_NR):
    e_NE = params["embed"][x_NR].reshape(len(x_NR), -1)
    return e_NE, jnp.tanh(e_NE @ params["w1"] + params["b1"])


def _loss(params, x_NR, y_N):
    logits_NV = _hidden(params, x_NR)[1] @ params["w2"] + params["b2"]
    return -jnp.take_along_axis(jax.nn.log_softmax(logits_NV), y_N[:, None], 1).mean()


def _examples(count=400):
    x_key, y_key = jax.random.split(jax.random.key(1))
    return jax.random.randint(x_key, (count, 3), 0, 27), jax.random.randint(y_key, (count,), 0, 27)


def lowest_loss(answer):
    """The lowest loss that a function of the window can have."""
    one = answer(jnp.array([[0, 0], [0, 1]]), jnp.array([3, 4]))
    assert np.isclose(one, 0, atol=1e-6), f"two windows, each seen once: 0 is possible; yours is {one:.4f}"
    two = answer(jnp.array([[0, 1], [0, 1]]), jnp.array([3, 4]))
    assert np.isclose(two, np.log(2), atol=1e-5), f"one window with two different answers: ln 2, and not {two:.4f}"
    x_NR, y_N = jnp.array([[0, 0]] * 5 + [[1, 2]] * 3 + [[3, 4]] * 24), jnp.array([1, 2, 3, 4, 5, 6, 6, 6] + [7] * 24)
    found = answer(x_NR, y_N)
    assert np.isclose(found, 5 * np.log(5) / 32, atol=1e-5), f"5 ln 5 / 32 = 0.25147 is right; not {found:.5f}"
    uneven = answer(jnp.array([[0]] * 4), jnp.array([1, 1, 1, 2]))
    right = -(3 * np.log(3 / 4) + np.log(1 / 4)) / 4
    assert np.isclose(uneven, right, atol=1e-5), f"answers in shares of 3/4 and 1/4: {right:.4f}, and not {uneven:.4f}"


def calm(answer):
    """Parameters whose first loss is that of a uniform guess, and that can still learn."""
    params, data = _params(hidden=100), _examples()
    calmed = answer(params)
    for name in ("embed", "w1", "b1"):
        assert (calmed[name] == params[name]).all(), f"leave {name} as it is"
    start = float(_loss(calmed, *data))
    assert abs(start - np.log(27)) < 0.05, f"the first loss is {start:.4f}; ln 27 is {np.log(27):.4f}"
    largest = jnp.abs(jax.grad(_loss)(calmed, *data)["w1"]).max()
    assert largest > 0, "the first layer gets no gradient: w2 is exactly 0"


def gradient_spread(answer):
    """The standard deviation of each parameter's gradient over the examples."""
    loss = lambda params, x, y: (params["w"] * x + params["b"] - y) ** 2
    params = {"w": jnp.array(2.0), "b": jnp.array(-1.0)}
    x_N, y_N = jnp.array([1.0, 2.0, -1.0, 0.5]), jnp.array([0.0, 1.0, 3.0, -2.0])
    error_N = np.asarray(2 * (2 * x_N - 1 - y_N))
    found = answer(loss, params, x_N, y_N)
    assert set(found) == {"w", "b"}, "return a pytree like the parameters"
    for name, grad_N in (("b", error_N), ("w", error_N * np.asarray(x_N))):
        assert jnp.shape(found[name]) == (), f"{name} is one number, so its spread is one number"
        spread = grad_N.std()
        assert np.isclose(found[name], spread, rtol=1e-4), f"for {name} it is {spread:.3f}, not {found[name]:.3f}"


def direct_logits(answer):
    """The network with direct connections from the embeddings to the logits."""
    params, (x_NR, _) = _params(), _examples(8)
    params["direct"] = jax.random.normal(jax.random.key(2), (12, 27))
    e_NE, hidden_NH = _hidden(params, x_NR)
    found_NV = answer(params, x_NR)
    assert found_NV.shape == (8, 27), f"the shape is {found_NV.shape}; it should be (8, 27)"
    plain_NV = hidden_NH @ params["w2"] + params["b2"]
    assert not np.allclose(found_NV, plain_NV), "params['direct'] makes no difference"
    assert np.allclose(found_NV, plain_NV + e_NE @ params["direct"], atol=1e-4), "not hidden @ w2 + b2 + e @ direct"
