"""Each model's logits and activations against its equations, written out in NumPy one line and one step at a time."""

import jax
import numpy as np
import pytest

from makemore_jax.models.interface import num_params
from makemore_jax.models.registry import build
from tests.cases import B, T, V, label, shared_case


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def affine(p, x):
    return x @ p["w"] + p.get("b", 0)


def mlp(p, x, window):
    rows = []
    for t in range(len(x)):
        seen = [x[t - age] if t >= age else V for age in range(window)]  # the blank before the line
        e = np.concatenate([p["embed"][symbol] for symbol in seen])
        rows.append(affine(p["head"], np.tanh(affine(p["hidden"], e))))
    return rows


def bow(p, x):
    e = np.stack([p["embed"][symbol] + p["position"][t] for t, symbol in enumerate(x)])
    rows = []
    for t in range(len(x)):
        u = e[t] + e[: t + 1].mean(0)
        rows.append(affine(p["head"], u + affine(p["out"], np.tanh(affine(p["hidden"], u)))))
    return rows


def recurrent(p, x, cell):
    h, c, rows = p["start"]["h"], p["start"].get("c"), []
    width, w_h = len(h), p["from_h"]
    for symbol in x:
        u = affine(p["from_x"], p["embed"][symbol])
        if cell == "rnn":
            h = np.tanh(u + h @ w_h)
        elif cell == "gru":
            r = sigmoid(u[:width] + h @ w_h[:, :width])
            z = sigmoid(u[width : 2 * width] + h @ w_h[:, width : 2 * width])
            n = np.tanh(u[2 * width :] + (r * h) @ w_h[:, 2 * width :])
            h = (1 - z) * h + z * n
        else:
            i, f, g, o = np.split(u + h @ w_h, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        rows.append(affine(p["head"], h))
    return rows


def wavenet(p, x, dilations):
    now, skip = p["embed"][x], 0
    for number, dilation in enumerate(dilations):
        q = p["layers"][number]
        out = []
        for t in range(len(x)):
            past = now[t - dilation] if t >= dilation else np.zeros_like(now[0])
            f, g = np.split(affine(q["gate"], np.concatenate([past, now[t]])), 2)
            out.append(np.tanh(f) * sigmoid(g))
        now, skip = now + affine(q["residual"], np.stack(out)), skip + affine(q["skip"], np.stack(out))
    return affine(p["head"], np.maximum(affine(p["hidden"], np.maximum(skip, 0)), 0))


def gelu(e):
    return 0.5 * e * (1 + np.tanh(np.sqrt(2 / np.pi) * (e + 0.044715 * e**3)))


def rms_norm(p, e):
    return p["g"] * e / np.sqrt((e**2).mean(-1, keepdims=True) + 1e-5)


def hawk(p, x, layers, conv):
    e = p["embed"][x]
    for number in range(layers):
        q = p["blocks"][number]
        gate, v = np.split(affine(q["input"], rms_norm(q["norm1"], e)), 2, axis=-1)
        h, out = np.zeros_like(v[0]), []
        for t in range(len(x)):
            u = sum(q["conv"][age] * v[t - age] for age in range(min(conv, t + 1)))
            r, i = np.split(sigmoid(affine(q["gates"], u)), 2)
            a = np.exp(-8 * np.log1p(np.exp(q["decay"]["b"])) * r) if t else np.zeros_like(r)
            h = a * h + np.sqrt(1 - a**2) * i * u
            out.append(gelu(gate[t]) * h)
        e = e + affine(q["out"], np.stack(out))
        left, right = np.split(affine(q["up"], rms_norm(q["norm2"], e)), 2, axis=-1)
        e = e + affine(q["down"], gelu(left) * right)
    return affine(p["head"], rms_norm(p["norm"], e))


def transformer(p, x, layers, heads, modern=False, tied=False):
    def norm(q, e):
        if modern:
            return rms_norm(q, e)
        return q["g"] * (e - e.mean(-1, keepdims=True)) / np.sqrt(e.var(-1, keepdims=True) + 1e-5) + q["b"]

    def rotate(e, t):
        half = len(e) // 2
        turned = np.empty_like(e)
        for i in range(half):  # a pair as a complex number, turned by its angle
            pair = (e[i] + 1j * e[half + i]) * np.exp(1j * t * 10_000 ** (-i / half))
            turned[i], turned[half + i] = pair.real, pair.imag
        return turned

    e = p["embed"][x] + (0 if modern else p["position"][: len(x)])
    for number in range(layers):
        q = p["blocks"][number]
        query, key, value = np.split(affine(q["qkv"], norm(q["norm1"], e)), 3, axis=-1)
        out = np.zeros_like(e)
        width = e.shape[1] // heads
        for head in range(heads):
            a, b, v = (part[:, head * width : (head + 1) * width] for part in (query, key, value))
            if modern:
                a, b = (np.stack([rotate(row, t) for t, row in enumerate(part)]) for part in (a, b))
            for t in range(len(x)):
                out[t, head * width : (head + 1) * width] = softmax(b[: t + 1] @ a[t] / np.sqrt(width)) @ v[: t + 1]
        e = e + affine(q["out"], out)
        y = norm(q["norm2"], e)
        up = affine(q["up"], y)
        gate = affine(q["gate"], y) if modern else None
        e = e + affine(q["down"], gate * sigmoid(gate) * up if modern else gelu(up))
    return norm(p["norm"], e) @ (p["embed"].T if tied else p["head"])


EQUATIONS = {
    ("mlp", 0): lambda p, x: mlp(p, x, 3),
    ("mlp", 1): lambda p, x: mlp(p, x, T + 2),  # a window over the line
    ("bow", 0): bow,
    ("rnn", 0): lambda p, x: recurrent(p, x, "rnn"),
    ("gru", 0): lambda p, x: recurrent(p, x, "gru"),
    ("lstm", 0): lambda p, x: recurrent(p, x, "lstm"),
    ("wavenet", 0): lambda p, x: wavenet(p, x, (1, 2, 1)),
    ("hawk", 0): lambda p, x: hawk(p, x, 2, 3),
    ("transformer", 0): lambda p, x: transformer(p, x, 2, 3),
    ("transformer", 1): lambda p, x: transformer(p, x, 1, 3, tied=True),
    ("transformer", 2): lambda p, x: transformer(p, x, 2, 3, modern=True),
}


def lines_of(x_T):
    """The lines of a row that are packed end to end."""
    return np.split(x_T, np.flatnonzero(x_T == 0)[1:])


@pytest.mark.parametrize("case", EQUATIONS, ids=label)
def test_logits_are_the_equations(case):
    equations, case = EQUATIONS[case], shared_case(case)
    params = jax.tree.map(np.float64, case.params)
    rows = [[logits for line in lines_of(x_T) for logits in equations(params, line)] for x_T in case.x_BT]
    expected = np.array(rows)
    assert expected.std() > 0.1
    np.testing.assert_allclose(case.logits_BTV, expected, rtol=2e-5, atol=2e-5)


STATES = {"h": (B, T, 13)}
ACTIVATIONS = {  # the shapes of the activations, and the logits that follow from those
    ("mlp", 0): ({"embed": (B, T, 5), "hidden": (B, T, 17)}, lambda p, a: affine(p["head"], a["hidden"])),
    ("rnn", 0): (STATES, lambda p, a: affine(p["head"], a["h"])),
    ("gru", 0): (
        STATES | {"reset": (B, T, 13), "update": (B, T, 13)},
        lambda p, a: affine(p["head"], a["h"]),
    ),
    ("lstm", 0): (
        STATES | dict.fromkeys(("c", "input", "forget", "output"), (B, T, 13)),
        lambda p, a: affine(p["head"], a["output"] * np.tanh(a["c"])),
    ),
    ("wavenet", 0): (
        {"gate": (B, 3, T, 5), "skip": (B, T, 13)},
        lambda p, a: affine(p["head"], np.maximum(affine(p["hidden"], np.maximum(a["skip"], 0)), 0)),
    ),
    ("hawk", 0): (
        dict.fromkeys(("state", "decay", "recurrence", "input"), (B, T, 13)) | {"residual": (B, T, 5)},
        lambda p, a: affine(p["head"], rms_norm(p["norm"], a["residual"])),
    ),
    ("transformer", 2): (
        {"attention": (B, 2, 3, T, T), "residual": (B, T, 18)},
        lambda p, a: p["norm"]["g"] * a["residual"] / np.sqrt((a["residual"] ** 2).mean(-1, keepdims=True)) @ p["head"],
    ),
}


@pytest.mark.parametrize("case", ACTIVATIONS, ids=label)
def test_activations(case):
    """Their names and shapes; and the logits follow from them."""
    (shapes, read_out), case = ACTIVATIONS[case], shared_case(case)
    assert {key: value.shape for key, value in case.activations.items()} == shapes
    np.testing.assert_allclose(read_out(case.params, case.activations), case.logits_BTV, rtol=1e-4, atol=1e-4)


def test_the_mean_of_the_bag_of_words():
    case = shared_case(("bow", 0))
    embed, position = case.params["embed"], case.params["position"]
    for row, x_T in enumerate(case.x_BT):
        lines = [embed[line] + position[: len(line)] for line in lines_of(x_T)]
        means = [np.cumsum(e, axis=0) / np.arange(1, len(e) + 1)[:, None] for e in lines]
        np.testing.assert_allclose(case.activations["mean"][row], np.concatenate(means), rtol=1e-5, atol=1e-6)
    assert case.activations["hidden"].shape == (B, T, 13)


def test_the_state_of_hawk_decays_and_starts_anew_at_the_mark():
    """What it keeps follows from a gate: above 0 and below 1 inside a line, and 0 at the mark."""
    case = shared_case(("hawk", 0))
    block, seen, starts_BT = case.params["blocks"][-1], case.activations, case.x_BT == 0
    kept = np.exp(-8 * np.log1p(np.exp(block["decay"]["b"])) * seen["recurrence"])
    np.testing.assert_allclose(seen["decay"], np.where(starts_BT[..., None], 0, kept), rtol=1e-5)
    for value in (seen["decay"][~starts_BT], seen["recurrence"], seen["input"]):
        assert 0 < value.min() < value.max() < 1


def test_attention_is_a_distribution_over_the_past_of_the_line():
    case = shared_case(("transformer", 2))
    weight_BLNTS = case.activations["attention"]
    np.testing.assert_allclose(weight_BLNTS.sum(-1), 1, rtol=1e-5)
    line_BT = np.cumsum(case.x_BT == 0, axis=1)
    past_BTS = np.tril(line_BT[:, :, None] == line_BT[:, None])
    assert ((weight_BLNTS > 0) == past_BTS[:, None, None]).all()


def test_transformer_has_the_peers_size_and_gpt2s_scales():
    """makemore.py's default on the lecture's names: 204,544 parameters with the head (202,816 without)."""
    params = jax.eval_shape(build("transformer", vocab=27, context=16).init, jax.random.key(0))
    assert num_params(params) == 204_544
    params = jax.jit(build("transformer", vocab=97, context=16, embed=128).init)(jax.random.key(0))
    for name, deviation in (("qkv", 0.02), ("up", 0.02), ("out", 0.02 / 8**0.5), ("down", 0.02 / 8**0.5)):
        weights = np.stack([block[name]["w"] for block in params["blocks"]])
        assert weights.std() == pytest.approx(deviation, rel=0.03)
    assert params["embed"].std() == pytest.approx(0.02, rel=0.03)
