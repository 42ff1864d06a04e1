"""Graders of lesson 5: a backward rule is right if it agrees with `jax.vjp` of its forward function."""

from collections.abc import Callable, Sequence
from functools import cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np


def _normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _agree(forward: Callable, args: Sequence[jax.Array], given: Callable, hint: str) -> None:
    """`given(g)` must return the gradients of `forward(*args)`, for a gradient g that comes from above."""
    y, backward = jax.vjp(forward, *args)
    g = _normal(99, *y.shape)
    answers, expected = given(g), backward(g)
    answers = answers if isinstance(answers, tuple | list) else (answers,)
    assert len(answers) == len(expected), f"Return {len(expected)} gradients, one for each input."
    for answer, truth in zip(answers, expected, strict=True):
        shape = np.shape(answer)
        assert shape == truth.shape, f"The gradient has shape {shape}; its variable has {truth.shape}. {hint}"
        scale = float(jnp.abs(truth).max())
        worst = float(jnp.abs(jnp.asarray(answer) - truth).max()) / scale
        assert worst < 1e-5, f"A gradient is off by {worst:.1e} of the largest. {hint}"


def log_rule(answer: Callable) -> None:
    """Backward of the logarithm."""
    x = jnp.exp(_normal(0, 4, 5))
    _agree(
        jnp.log, (x,), lambda g: answer(x, g), "The derivative of log x is 1/x; what comes from above multiplies it."
    )


def exp_rule(answer: Callable) -> None:
    """Backward of the exponential."""
    x = _normal(1, 4, 5)
    _agree(jnp.exp, (x,), lambda g: answer(x, g), "The exponential is its own derivative, taken at x.")


def reciprocal_rule(answer: Callable) -> None:
    """Backward of 1/x."""
    x = 1 + jnp.exp(_normal(2, 4, 5))
    _agree(lambda x: 1 / x, (x,), lambda g: answer(x, g), "1/x is x to the power -1: mind the sign.")


def product_rule(answer: Callable) -> None:
    """Backward of a product in which a column is broadcast."""
    a_BV, b_B1 = _normal(3, 4, 5), _normal(4, 4, 1)
    hint = "Each factor hands on the other one; the column was used once per symbol, so its gradients add up."
    _agree(lambda a, b: a * b, (a_BV, b_B1), lambda g: answer(a_BV, b_B1, g), hint)


def sum_rule(answer: Callable) -> None:
    """Backward of a sum over rows."""
    x_BV = _normal(5, 4, 5)
    hint = "Every element of a row has the same share in the sum: the backward pass of a sum is a broadcast."
    _agree(lambda x: x.sum(1, keepdims=True), (x_BV,), lambda g: answer(x_BV, g), hint)


def max_rule(answer: Callable) -> None:
    """Backward of the maximum of each row."""
    x_BV = _normal(6, 4, 5)
    hint = "Only the largest element of a row has a share in its maximum; all others get 0."
    _agree(lambda x: x.max(1, keepdims=True), (x_BV,), lambda g: answer(x_BV, g), hint)


def affine_rule(answer: Callable) -> None:
    """Backward of x @ w + b."""
    x_BD, w_DH, b_H = _normal(7, 6, 3), _normal(8, 3, 4), _normal(9, 4)
    hint = "Write down the shapes: there is one way to multiply them. The bias was broadcast over the batch."
    _agree(lambda x, w, b: x @ w + b, (x_BD, w_DH, b_H), lambda g: answer(x_BD, w_DH, b_H, g), hint)


def tanh_rule(answer: Callable) -> None:
    """Backward of tanh, from its output."""
    x = _normal(10, 4, 5)
    _agree(jnp.tanh, (x,), lambda g: answer(jnp.tanh(x), g), "The first argument is the output, tanh x, and not x.")


def variance_rule(answer: Callable) -> None:
    """Backward of the variance over the batch, with Bessel's correction."""
    x_BH = 3 + _normal(11, 6, 4)
    hint = "Deviations from the mean count, and the divisor is B - 1, as in the forward pass."
    _agree(lambda x: x.var(0, ddof=1, keepdims=True), (x_BH,), lambda g: answer(x_BH, g), hint)


def embedding_rule(answer: Callable) -> None:
    """Backward of a table lookup."""
    table_VE, x_BR = _normal(12, 6, 2), jnp.array([[0, 1, 1], [5, 1, 0]])
    hint = "A row that was looked up several times gets the sum of all its gradients: .at[x].add, not .set."
    _agree(lambda table: table[x_BR], (table_VE,), lambda g: answer(table_VE, x_BR, g), hint)


def cross_entropy_rule(answer: Callable) -> None:
    """Backward of the mean cross-entropy, at once."""
    logits_BV, y_B = 2 * _normal(13, 6, 5), jnp.array([0, 4, 2, 2, 1, 3])

    def loss(z_BV):
        return -jax.nn.log_softmax(z_BV)[jnp.arange(len(y_B)), y_B].mean()

    hint = "Probabilities minus the one-hot of the answer, and a mean divides by the batch."
    _agree(loss, (logits_BV,), lambda g: jnp.asarray(answer(logits_BV, y_B)) * g, hint)


def batch_norm_rule(answer: Callable) -> None:
    """Backward of BatchNorm with Bessel's correction, at once."""
    x_BH, gain_H = 2 + 3 * _normal(14, 8, 4), 1 + 0.1 * _normal(15, 4)

    def batch_norm(x_BH):
        return gain_H * (x_BH - x_BH.mean(0)) * jax.lax.rsqrt(x_BH.var(0, ddof=1) + 1e-5)

    hint = "Three paths: straight, through the mean (divided by B), through the variance (divided by B - 1)."
    _agree(batch_norm, (x_BH,), lambda g: answer(x_BH, gain_H, g), hint)


_STEPS = {  # the lesson's forward pass, for the values in `v`
    "emb": lambda v: v.C[v.x],
    "embcat": lambda v: v.emb.reshape(len(v.x), -1),
    "hprebn": lambda v: v.embcat @ v.W1 + v.b1,
    "bnmeani": lambda v: v.hprebn.mean(0, keepdims=True),
    "bndiff": lambda v: v.hprebn - v.bnmeani,
    "bndiff2": lambda v: v.bndiff**2,
    "bnvar": lambda v: v.bndiff2.sum(0, keepdims=True) / (len(v.x) - 1),
    "bnvar_inv": lambda v: (v.bnvar + 1e-5) ** -0.5,
    "bnraw": lambda v: v.bndiff * v.bnvar_inv,
    "hpreact": lambda v: v.bngain * v.bnraw + v.bnbias,
    "h": lambda v: jnp.tanh(v.hpreact),
    "logits": lambda v: v.h @ v.W2 + v.b2,
    "logit_maxes": lambda v: v.logits.max(1, keepdims=True),
    "norm_logits": lambda v: v.logits - v.logit_maxes,
    "counts": lambda v: jnp.exp(v.norm_logits),
    "counts_sum": lambda v: v.counts.sum(1, keepdims=True),
    "counts_sum_inv": lambda v: 1 / v.counts_sum,
    "probs": lambda v: v.counts * v.counts_sum_inv,
    "logprobs": lambda v: jnp.log(v.probs),
}
_SHAPES = {"C": (5, 2), "W1": (6, 4), "b1": (4,), "bngain": (4,), "bnbias": (4,), "W2": (4, 5), "b2": (5,)}
_NAMES = (  # from the loss back to the embedding
    *("logprobs", "probs", "counts_sum_inv", "counts_sum", "counts", "norm_logits", "logit_maxes", "logits"),
    *("h", "W2", "b2", "hpreact", "bngain", "bnbias", "bnraw", "bnvar_inv", "bnvar", "bndiff2", "bndiff"),
    *("bnmeani", "hprebn", "embcat", "W1", "b1", "emb", "C"),
)


def _values(added: dict, x_BR: np.ndarray, y_B: np.ndarray) -> SimpleNamespace:
    """All values of a small network, with something added to each: nothing, or a zero to differentiate by."""
    v = SimpleNamespace(x=x_BR, y=y_B)
    for seed, (name, shape) in enumerate(_SHAPES.items(), 20):
        setattr(v, name, _normal(seed, *shape) + added.get(name, 0.0))
    for name, step in _STEPS.items():
        setattr(v, name, step(v) + added.get(name, 0.0))
    return v


@cache
def _network() -> tuple[dict, dict]:
    """The values of a small network, and its gradients."""
    data = np.random.default_rng(30).integers(0, 5, (8, 3)), np.arange(8) % 5
    values = {name: np.asarray(value) for name, value in vars(_values({}, *data)).items()}
    taps = {name: jnp.zeros(values[name].shape) for name in _NAMES}
    loss = lambda taps: -_values(taps, *data).logprobs[jnp.arange(8), data[1]].mean()
    return values, jax.device_get(jax.jit(jax.grad(loss))(taps))


def gradients(answer: Callable) -> None:
    """All 26 gradients of the lesson's network, compared one by one."""
    values, truth = _network()
    given, stopped = SimpleNamespace(), None
    try:
        answer(SimpleNamespace(**values), given)
    except (TypeError, ValueError, AttributeError, IndexError) as error:  # what came before it can be compared
        stopped = error
    for right, name in enumerate(_NAMES):
        found = getattr(given, name, None)
        if found is None and stopped:
            raise stopped
        if found is None or found is ...:
            if not right:
                raise NotImplementedError
            raise AssertionError(f"{right} of {len(_NAMES)} are right. Now `{name}`.")
        shape, expected = np.shape(found), truth[name]
        said = f"{right} of {len(_NAMES)} are right. `{name}`"
        assert shape == expected.shape, f"{said} has shape {shape}; its variable has {expected.shape}."
        off, largest = np.abs(found - expected).max(), np.abs(expected).max()
        hint = "Where a value was broadcast or used twice, its gradients add."
        assert off < 1e-5 * largest + 1e-6, f"{said} is off by {off:.1e}; its largest is {largest:.1e}. {hint}"
