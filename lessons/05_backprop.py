# %% [markdown]
# # Lesson 5: Backprop by hand
#
# We take the automatic gradient away and write the backward pass of a whole network ourselves: 26 tensors, from the
# loss back to the embedding. At the end you will know the backward rule of every operation in an MLP with BatchNorm,
# you will have checked each one against JAX, and you will have trained with your own rules. Follows Karpathy's
# [makemore part
# 4](https://github.com/karpathy/nn-zero-to-hero/blob/master/lectures/makemore/makemore_part4_backprop.ipynb).
#
# **Time:** 70 minutes, and 120 for the exercises, which are the core of this lesson; the cells run in a minute, the
# longest under a progress bar. **You need** [lesson 4](04_inside.ipynb), for BatchNorm and taps, and [lesson
# 1](01_derivatives.ipynb), for the rule of a product.

# %%
import os
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

import makemore_jax as mm
from makemore_jax.lessons.graders import lesson_5
from makemore_jax.lessons.grading import check
from makemore_jax.lessons.waiting import in_parts
from makemore_jax.models.interface import Model, num_params, step_window
from makemore_jax.models.ngram import contexts

QUICK = "QUICK" in os.environ  # fewer steps, for the tests

corpus = mm.load()
V, R, E = corpus.vocab.size, 3, 10  # symbols, symbols in the window, width of an embedding
V


# %% [markdown]
# Why do this at all, when `jax.grad` exists? Because backpropagation is a *leaky abstraction*: saturated units, dead
# units, clipped losses and exploding states are facts about the backward pass, and whoever has written one sees them
# coming. It is also fun, in the way that a good crossword is.
#
# **Try it yourself first.** The lecture stops here and asks you to write all 26 gradients. Run the cells up to the
# answer sheet below, then go to the exercises at the end: 5.1 to 5.5 ask for the rules one by one, and 5.6 is the
# whole backward pass, as 26 lines to fill. The sections in between are its solution, step by step.
#
# ## The network, in 26 small steps
#
# The network of the lecture: a window of three symbols, embeddings of width 10, 64 hidden units, BatchNorm. The data
# are windows of the names; before the start of a name the window is filled with the mark.


# %%
def windows(tokens):
    """x_NR and y_N: each symbol of the data, and the R symbols before it."""
    x_M, y_M = tokens.pairs
    return jnp.stack(contexts(x_M[None], R + 1), axis=-1)[0], jnp.asarray(y_M)


train_x_NR, train_y_N = windows(corpus.tokens.train)
for x_R, y in zip(train_x_NR[:6], train_y_N[:6], strict=True):
    print("".join(corpus.vocab.symbols[i] for i in x_R), "->", corpus.vocab.symbols[y])


# %% [markdown]
# The initial values are deliberately odd: biases and gains that are not 0 and 1. At zero, many wrong gradients happen
# to be right.


# %%
def init(seed, hidden, odd=0.1):
    normal = np.random.default_rng(seed).standard_normal
    params = {
        "C": normal((V, E)),
        "W1": normal((R * E, hidden)) * (5 / 3) / (R * E) ** 0.5,
        "b1": normal(hidden) * odd,  # BatchNorm cancels it, as we shall see
        "W2": normal((hidden, V)) * 0.1,
        "b2": normal(V) * odd,
        "bngain": 1 + normal(hidden) * odd,
        "bnbias": normal(hidden) * odd,
    }
    return jax.tree.map(jnp.float32, params)


params = init(5, hidden=64)
print(f"{num_params(params):,} parameters (the lecture: 4,137)")
assert num_params(params) == 4137


# %% [markdown]
# Now the forward pass, cut into the smallest pieces, with the lecture's names. In PyTorch one would call
# `retain_grad()` on each inner tensor. A pure function has no inner tensors that one could ask for later. So we build a
# **tap** into every pipe: each value gets something added, and what we add is zero.


# %%
def forward(params, taps, x_BR, y_B):
    """The loss, and every value on the way to it."""
    inner, n = {}, len(y_B)

    def tap(name, value):
        inner[name] = value + taps.get(name, 0.0)
        return inner[name]

    # embedding and first layer
    emb = tap("emb", params["C"][x_BR])
    embcat = tap("embcat", emb.reshape(n, -1))
    hprebn = tap("hprebn", embcat @ params["W1"] + params["b1"])
    # BatchNorm
    bnmeani = tap("bnmeani", hprebn.sum(0, keepdims=True) / n)
    bndiff = tap("bndiff", hprebn - bnmeani)
    bndiff2 = tap("bndiff2", bndiff**2)
    bnvar = tap("bnvar", bndiff2.sum(0, keepdims=True) / (n - 1))  # Bessel's correction, as in the lecture
    bnvar_inv = tap("bnvar_inv", (bnvar + 1e-5) ** -0.5)
    bnraw = tap("bnraw", bndiff * bnvar_inv)
    hpreact = tap("hpreact", params["bngain"] * bnraw + params["bnbias"])
    # second layer
    h = tap("h", jnp.tanh(hpreact))
    logits = tap("logits", h @ params["W2"] + params["b2"])
    # cross-entropy
    logit_maxes = tap("logit_maxes", logits.max(1, keepdims=True))
    norm_logits = tap("norm_logits", logits - logit_maxes)
    counts = tap("counts", jnp.exp(norm_logits))
    counts_sum = tap("counts_sum", counts.sum(1, keepdims=True))
    counts_sum_inv = tap("counts_sum_inv", 1 / counts_sum)
    probs = tap("probs", counts * counts_sum_inv)
    logprobs = tap("logprobs", jnp.log(probs))
    return -logprobs[jnp.arange(n), y_B].mean(), inner


x_BR, y_B = train_x_NR[:32], train_y_N[:32]
loss, inner = jax.jit(forward)(params, {}, x_BR, y_B)
print(f"loss {loss:.4f}; {len(inner)} inner values + {len(params)} parameters = {len(inner) + len(params)}")
assert len(inner) + len(params) == 26

# %% [markdown]
# **What is the derivative of the loss with respect to a zero that is added to `h`?**
#
# <details><summary>Answer</summary>
#
# It is the derivative with respect to `h` itself: nudge the zero or nudge `h`, the loss cannot tell the difference.
#
# </details>
#
# So one call of `jax.grad`, with respect to the parameters *and the taps*, returns the gradient at every point inside
# the network. Nothing is retained, nothing is hooked, and nothing has to be reset before the next call.

# %%
taps = jax.tree.map(jnp.zeros_like, inner)
everything = jax.jit(jax.grad(lambda params, taps: forward(params, taps, x_BR, y_B)[0], argnums=(0, 1)))
of_params, of_taps = everything(params, taps)
truth = jax.tree.map(np.asarray, of_params | of_taps)
for name in ("h", "bnvar", "C"):
    print(f"{name:6} {truth[name].shape!s:9} largest gradient {np.abs(truth[name]).max():.6f}")


# %% [markdown]
# And there is our answer sheet: 26 gradients. From here on, `v` holds values, `d` the gradients that we derive, and
# `compare` puts each beside JAX's. All of them are NumPy arrays: there is no autograd that could help us in secret.
#
# We do not ask for equal bits. The lecture's own cell for `dhpreact` says `exact: False` on newer versions of PyTorch,
# because sums are rounded in another order there. We ask that the largest difference be below a hundred-thousandth of
# the largest gradient.

# %%
v = SimpleNamespace(**jax.tree.map(np.asarray, inner | params), x=np.asarray(x_BR), y=np.asarray(y_B))
d, differences = SimpleNamespace(), {}


def compare(*names):
    for name in names:
        ours, theirs = getattr(d, name), truth[name]
        assert ours.shape == theirs.shape, f"{name}: shape {ours.shape}, and it should be {theirs.shape}"
        differences[name] = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-6)
        print(f"{name:15}{ours.shape!s:13}exact {np.array_equal(ours, theirs)!s:6} difference {differences[name]:.1e}")
        assert differences[name] < 1e-5, name


# %% [markdown]
# ## All 26, from the end to the start
#
# Two facts carry you through all of it (the lecture's exercise 1; ours is 5.6):
#
# - **A gradient has the shape of its variable.** For a matrix product that alone is nearly the proof.
# - **Where a value fans out, gradients add.** Broadcasting fans out, so its backward pass is a sum; a sum's backward
#   pass is a broadcast.
#
# **The cross-entropy.** The loss is the mean of 32 of the $32 \times 27$ log-probabilities, so those get $-1/32$ and
# all others 0. The logarithm passes on $g/p$: it boosts the gradient of examples whose answer was thought unlikely.

# %%
n = len(v.y)
d.logprobs = np.zeros_like(v.logprobs)
d.logprobs[np.arange(n), v.y] = -1 / n
d.probs = d.logprobs / v.probs
compare("logprobs", "probs")

# %% [markdown]
# Then `probs = counts * counts_sum_inv`, a product of a (32, 27) and a (32, 1). The column was broadcast, that is, used
# 27 times, so its gradient is the sum over the row. And `counts` is used twice, in the product and in the sum below it:
# its gradient is the sum of what comes back along the two branches.

# %%
d.counts_sum_inv = (v.counts * d.probs).sum(1, keepdims=True)
d.counts_sum = -(v.counts_sum**-2) * d.counts_sum_inv
d.counts = v.counts_sum_inv * d.probs + np.ones_like(v.counts) * d.counts_sum  # two branches: add
d.norm_logits = v.counts * d.counts  # the derivative of exp is exp, which we already have
compare("counts_sum_inv", "counts_sum", "counts", "norm_logits")

# %% [markdown]
# **We subtract the row's maximum only so that `exp` cannot overflow. What is its gradient?**

# %%
d.logit_maxes = -d.norm_logits.sum(1, keepdims=True)
print(
    f"largest gradient at logit_maxes: ours {np.abs(d.logit_maxes).max():.1e}, "
    f"JAX's {np.abs(truth['logit_maxes']).max():.1e}"
)
assert np.abs(d.logit_maxes).max() < 1e-7 > np.abs(truth["logit_maxes"]).max()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Nothing but rounding: the softmax does not change when all logits of a row are shifted together, so the shift has
# gradient 0. (That is why `compare` has a floor of $10^{-6}$: relative to nothing, everything is large.)
#
# </details>
#
# `logits` has two branches again, itself and its maximum. The backward pass of `max` sends the gradient to the place of
# the maximum, and nowhere else.

# %%
one_hot_of = np.eye(V, dtype=np.float32)
is_max = one_hot_of[v.logits.argmax(1)]
d.logits = d.norm_logits + is_max * d.logit_maxes
compare("logits")

# %% [markdown]
# **The second layer.** `logits = h @ W2 + b2`. Nobody remembers this rule. Shapes remember it for you: `d.h` must be
# (32, 64); at hand are `d.logits` (32, 27) and `W2` (64, 27); there is one way to multiply them. The bias was broadcast
# over the batch, so its gradient is a sum over the batch.

# %%
d.h = d.logits @ v.W2.T
d.W2 = v.h.T @ d.logits
d.b2 = d.logits.sum(0)
d.hpreact = (1 - v.h**2) * d.h  # tanh: at a saturated unit this is 0, and nothing passes
compare("h", "W2", "b2", "hpreact")

# %% [markdown]
# **BatchNorm.** Gain and bias first, then down into the normalisation. `bndiff` has two branches, as a factor of
# `bnraw` and through the variance.

# %%
d.bngain = (v.bnraw * d.hpreact).sum(0)
d.bnbias = d.hpreact.sum(0)
d.bnraw = v.bngain * d.hpreact
d.bnvar_inv = (v.bndiff * d.bnraw).sum(0, keepdims=True)
d.bnvar = -0.5 * (v.bnvar + 1e-5) ** -1.5 * d.bnvar_inv
d.bndiff2 = np.ones_like(v.bndiff2) / (n - 1) * d.bnvar  # backward of a sum: a broadcast
d.bndiff = v.bnvar_inv * d.bnraw + 2 * v.bndiff * d.bndiff2  # two branches: add
compare("bngain", "bnbias", "bnraw", "bnvar_inv", "bnvar", "bndiff2", "bndiff")

# %%
d.bnmeani = -d.bndiff.sum(0, keepdims=True)
d.hprebn = d.bndiff + np.ones_like(v.hprebn) / n * d.bnmeani
compare("bnmeani", "hprebn")

# %% [markdown]
# A word on $n - 1$. Divided by $n$, the variance of a sample is too small on average; Bessel's correction, $n - 1$,
# makes it unbiased. The BatchNorm paper uses $n$ in training and $n - 1$ at inference, and `BatchNorm1d` does the same:
# a mismatch that the lecture calls a bug. `jnp.var` and `np.var` divide by $n$ unless you say `ddof=1`.

# %%
sample = np.array([1.0, 2.0, 4.0])
print(f"by n: {sample.var():.4f}   by n - 1: {sample.var(ddof=1):.4f}")

# %% [markdown]
# **The first layer and the embedding.** `emb = C[x]` looks rows up. A row that was looked up five times fanned out five
# times, so five gradients add up in it. PyTorch's loop over positions is one scatter-add here: `.at[x].add(g)`.

# %%
d.embcat = d.hprebn @ v.W1.T
d.W1 = v.embcat.T @ d.hprebn
d.b1 = d.hprebn.sum(0)
d.emb = d.embcat.reshape(v.emb.shape)
d.C = np.asarray(jnp.zeros_like(v.C).at[v.x].add(d.emb))
compare("embcat", "W1", "emb", "C")
print(f"\nlargest gradient of b1: ours {np.abs(d.b1).max():.1e}, JAX's {np.abs(truth['b1']).max():.1e}")
assert np.abs(d.b1).max() < 1e-7 > np.abs(truth["b1"]).max()

# %% [markdown]
# `b1` gets no gradient at all, only rounding: BatchNorm subtracts the mean of the batch, and a bias is a part of that
# mean. A layer before a BatchNorm needs no bias.
#
# Here are 24 of the 26 in one picture. (The other two, `logit_maxes` and `b1`, are zero in exact arithmetic, so their
# rounding can't be compared with the size of a gradient.) Single precision has about seven digits, and that is where
# the bars end.

# %%
# alt: 24 bars, one for each tensor: all differences are near the spacing of float32, and one tensor has equal bits.
canvas = mm.plot.figure(9, 3.6)
axes = canvas.subplots()
names = list(differences)
exact = [name for name in names if differences[name] == 0]
axes.bar(names, [max(differences[name], 1e-9) for name in names], color="#6baed6")
axes.bar(exact, 1e-9, color="#08519c", label="equal bits")
axes.axhline(np.finfo(np.float32).eps, color="0.4", linestyle="--", linewidth=1, label="spacing of float32 near 1")
axes.set(yscale="log", ylim=(5e-10, 1e-4), ylabel="difference / largest gradient")
axes.set_title("our gradient beside JAX's, tensor by tensor", fontsize=11)
axes.tick_params(axis="x", rotation=90)
axes.legend(frameon=False, loc="upper right", ncols=2)
canvas

# %% [markdown]
# ## The cross-entropy at once
#
# Eight gradients led from the loss back to the logits. On paper they collapse (the lecture's exercise 2; ours is 5.4).
# For one example with answer $y$,
#
# $$\ell = \log \sum_j e^{z_j} - z_y, \qquad \frac{\partial \ell}{\partial z_i} = p_i - [i = y],$$
#
# and the mean over the batch divides by $n$: the probabilities, with 1 subtracted at the right answer.

# %%
at_once = (v.probs - one_hot_of[v.y]) / n
print(f"largest difference from JAX: {np.abs(at_once - truth['logits']).max():.1e} (the lecture: 5.1e-9)")
print(f"sum over a row, at most:     {np.abs(at_once.sum(1)).max():.1e} (the lecture: 1.4e-9)")
assert np.abs(at_once - truth["logits"]).max() < 5e-8

# %% [markdown]
# Look at it. One row per example, one column per symbol, scaled by $n$. The dark cell is the right answer.

# %%
# alt: Gradient at the logits: in every row one dark red cell at the right answer, and pale blue elsewhere.
canvas = mm.plot.figure(7.5, 7)
axes = canvas.subplots()
image = axes.imshow(at_once * n, cmap="RdBu", vmin=-1, vmax=1)
axes.set_xticks(range(V), corpus.vocab.symbols)
axes.set_yticks(
    range(n), ["".join(corpus.vocab.symbols[i] for i in row) for row in v.x], family="monospace", fontsize=8
)
axes.set(xlabel="symbol", ylabel="window of the example")
axes.tick_params(length=0)
axes.set_title("gradient at the logits: red is pushed up, blue down", fontsize=11)
canvas.colorbar(image, ax=axes, shrink=0.5)
canvas

# %% [markdown]
# Think of forces. In every row one cell is pulled up, and all the others are pushed down, each in proportion to the
# probability that it wrongly holds; the forces of a row are in balance. This network knows nothing yet, so the right
# answers are pulled with nearly the full force. Once it is sure of a right answer, that row turns pale.
#
# ## BatchNorm at once
#
# The lecture's exercise 3 is our 5.5. With $\hat x = (x - \mu)/\sqrt{\sigma^2 + \epsilon}$ and
# $g = \gamma \, \partial \ell / \partial y$, three paths lead from one input to the loss: straight through, through
# the mean, and through the variance. Together they simplify to
#
# $$\frac{\partial \ell}{\partial x_i} = \frac{1}{\sqrt{\sigma^2+\epsilon}}
#   \Big( g_i - \frac1n \sum_j g_j - \frac{1}{n-1} \, \hat x_i \sum_j g_j \hat x_j \Big).$$

# %%
g = v.bngain * d.hpreact
straight = v.bnvar_inv * g
through_mean = -v.bnvar_inv * g.mean(0, keepdims=True) * np.ones_like(g)
through_variance = -v.bnvar_inv * v.bnraw * (g * v.bnraw).sum(0) / (n - 1)
at_once = straight + through_mean + through_variance
print(f"largest difference from JAX: {np.abs(at_once - truth['hprebn']).max():.1e} (the lecture: 9.3e-10)")
assert np.abs(at_once - truth["hprebn"]).max() < 5e-8

# %% [markdown]
# **The variance depends on the mean, too. Why does the path x, mean, variance, output not appear?**

# %%
of_mean_through_variance = (2 * v.bndiff * d.bndiff2).sum(0)
print(f"largest gradient along that path: {np.abs(of_mean_through_variance).max():.1e}")
assert np.abs(of_mean_through_variance).max() < 1e-7

# %% [markdown]
# <details><summary>Answer</summary>
#
# Deviations from the mean sum to zero, and that sum is a factor of the path: at the mean, the sum of squares is at its
# minimum, so to first order it does not move.
#
# </details>
#
# Here are the three paths for one hidden unit, one in which both the mean and the variance matter. The gradient that
# arrives (pale) loses its mean, and then whatever is left of it in the direction of $\hat x$.

# %%
# alt: Four curves over 32 examples: the gradient that arrives, its two corrections, and their sum.
share_of = lambda path: np.abs(path).sum(0) / np.abs(straight).sum(0)
unit = np.minimum(share_of(through_mean), share_of(through_variance)).argmax()
canvas = mm.plot.figure(9, 3.6)
axes = canvas.subplots()
order = np.argsort(v.bnraw[:, unit])
axes.axhline(0, color="0.8", linewidth=1)
for values, name, style in [
    (straight, "straight through", {"color": "#9ecae1", "linewidth": 4}),
    (through_mean, "through the mean", {"color": "#fd8d3c"}),
    (through_variance, "through the variance", {"color": "#74c476"}),
    (at_once, "sum: the gradient", {"color": "black", "linewidth": 1.2}),
]:
    axes.plot(values[order, unit], label=name, **style)
axes.set(xlabel=f"the 32 examples, in order of unit {unit}'s normalised input", ylabel="gradient at the input")
canvas.legend(frameon=False, loc="outside upper center", ncols=4)
canvas

# %% [markdown]
# **A slip: divide by n where the variance was divided by n - 1. Would anyone notice?**

# %%
slip = straight + through_mean - v.bnvar_inv * v.bnraw * (g * v.bnraw).sum(0) / n
size = float(np.abs(truth["hprebn"]).max())
error = float(np.abs(slip - truth["hprebn"]).max())
print(f"the slip is wrong by {error:.1e}, where the largest gradient is {size:.1e}: {error / size:.2%}")
assert 1e-5 < error / size < 0.05

# %% [markdown]
# <details><summary>Answer</summary>
#
# Not by the loss: a network would train with it and never complain. But the error is thousands of times larger than
# rounding, so a check against a trusted gradient finds it at once. This is why the exercises are graded by gradients.
#
# </details>
#
# ## Your rule, in JAX's hands
#
# So far we had rules on the side. `jax.custom_vjp` puts a rule into the machine: here is the function, here is what it
# should remember, here is its backward pass; use these in every `grad`, `vmap` and `jit` from now on.


# %%
@jax.custom_vjp
def cross_entropy(logits_BV, y_B):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits_BV), y_B[:, None], axis=1).mean()


def cross_entropy_forward(logits_BV, y_B):
    return cross_entropy(logits_BV, y_B), (jax.nn.softmax(logits_BV), y_B)  # the loss, and what to remember


def cross_entropy_backward(kept, g):
    prob_BV, y_B = kept
    return g * (prob_BV - jax.nn.one_hot(y_B, V)) / len(y_B), None  # None: y_B is no number to nudge


cross_entropy.defvjp(cross_entropy_forward, cross_entropy_backward)


# %%
def moments(x_BH):
    return x_BH.mean(0), x_BH.var(0, ddof=1)


@jax.custom_vjp
def batch_norm(x_BH, gain_H, bias_H):
    mean_H, var_H = moments(x_BH)
    return gain_H * (x_BH - mean_H) * jax.lax.rsqrt(var_H + 1e-5) + bias_H


def batch_norm_forward(x_BH, gain_H, bias_H):
    mean_H, var_H = moments(x_BH)
    inv_H = jax.lax.rsqrt(var_H + 1e-5)
    raw_BH = (x_BH - mean_H) * inv_H
    return gain_H * raw_BH + bias_H, (raw_BH, inv_H, gain_H)


def batch_norm_backward(kept, dy_BH):
    raw_BH, inv_H, gain_H = kept
    g_BH, n = gain_H * dy_BH, len(dy_BH)
    dx_BH = inv_H * (g_BH - g_BH.mean(0) - raw_BH * (g_BH * raw_BH).sum(0) / (n - 1))
    return dx_BH, (raw_BH * dy_BH).sum(0), dy_BH.sum(0)


batch_norm.defvjp(batch_norm_forward, batch_norm_backward)

# %% [markdown]
# `check_grads` compares a rule with difference quotients in random directions; it knows no calculus. It must accept our
# rules, and it must refuse the slip.

# %%
small_BH, gain_H, bias_H = v.hprebn[:4, :3], v.bngain[:3], v.bnbias[:3]
check_grads(batch_norm, (small_BH, gain_H, bias_H), order=1, modes=["rev"], atol=0.02, rtol=0.02)
check_grads(lambda z_BV: cross_entropy(z_BV, y_B), (v.logits,), order=1, modes=["rev"], atol=0.02, rtol=0.02)


def slipped_backward(kept, dy_BH):
    raw_BH, inv_H, gain_H = kept
    g_BH = gain_H * dy_BH
    dx_BH = inv_H * (g_BH - g_BH.mean(0) - raw_BH * (g_BH * raw_BH).mean(0))
    return dx_BH, (raw_BH * dy_BH).sum(0), dy_BH.sum(0)


slipped = jax.custom_vjp(batch_norm.fun)
slipped.defvjp(batch_norm_forward, slipped_backward)
try:
    check_grads(slipped, (small_BH, gain_H, bias_H), order=1, modes=["rev"], atol=0.02, rtol=0.02)
    refused = False
except AssertionError as error:
    refused = True
    print("refused:", str(error).strip().splitlines()[0])
assert refused

# %% [markdown]
# ## Train without autograd
#
# The lecture's exercise 4. Here are three ways to the same gradient, for the lecture's network of 200 hidden units:
# JAX's own; JAX with our two rules inside; and no autograd at all, with our backward pass as twenty lines of code.


# %%
def plain_batch_norm(x_BH, gain_H, bias_H):
    mean_H, var_H = moments(x_BH)
    return gain_H * (x_BH - mean_H) * jax.lax.rsqrt(var_H + 1e-5) + bias_H


def plain_cross_entropy(logits_BV, y_B):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits_BV), y_B[:, None], axis=1).mean()


def network_loss(params, x_BR, y_B, batch_norm, cross_entropy):
    embcat = params["C"][x_BR].reshape(len(y_B), -1)
    h = jnp.tanh(batch_norm(embcat @ params["W1"] + params["b1"], params["bngain"], params["bnbias"]))
    return cross_entropy(h @ params["W2"] + params["b2"], y_B)


automatic = jax.value_and_grad(partial(network_loss, batch_norm=plain_batch_norm, cross_entropy=plain_cross_entropy))
our_rules = jax.value_and_grad(partial(network_loss, batch_norm=batch_norm, cross_entropy=cross_entropy))


def by_hand(params, x_BR, y_B):
    """The loss and its gradient, without autograd."""
    p = SimpleNamespace(**params)
    emb = p.C[x_BR]
    embcat = emb.reshape(len(y_B), -1)
    hpreact, kept = batch_norm_forward(embcat @ p.W1 + p.b1, p.bngain, p.bnbias)
    h = jnp.tanh(hpreact)
    loss, kept_loss = cross_entropy_forward(h @ p.W2 + p.b2, y_B)

    dlogits, _ = cross_entropy_backward(kept_loss, 1.0)
    dhprebn, dbngain, dbnbias = batch_norm_backward(kept, (1 - h**2) * (dlogits @ p.W2.T))
    return loss, {
        "C": jnp.zeros_like(p.C).at[x_BR].add((dhprebn @ p.W1.T).reshape(emb.shape)),
        "W1": embcat.T @ dhprebn,
        "b1": dhprebn.sum(0),
        "W2": h.T @ dlogits,
        "b2": dlogits.sum(0),
        "bngain": dbngain,
        "bnbias": dbnbias,
    }


start = init(7, hidden=200)
print(f"{num_params(start):,} parameters (the lecture: 12,297)")
assert num_params(start) == 12297
# %% [markdown]
# The loop of the lecture: minibatches of 32, a rate of 0.1 for the first half and 0.01 for the second. The gradient is
# an argument like any other.


# %%
@partial(jax.jit, static_argnames="gradient")
def descend(params, x_SBR, y_SB, rate_S, gradient):
    def step(params, inputs):
        x_BR, y_B, rate = inputs
        loss, grads = gradient(params, x_BR, y_B)
        return jax.tree.map(lambda p, g: p - rate * g, params, grads), loss

    return jax.lax.scan(step, params, (x_SBR, y_SB, rate_S))


STEPS = 400 if QUICK else 40_000
line_SB = np.random.default_rng(0).integers(0, len(train_y_N), (STEPS, 32))
batches = train_x_NR[line_SB], train_y_N[line_SB], jnp.where(jnp.arange(STEPS) < STEPS // 2, 0.1, 0.01)
runs = {
    name: in_parts(lambda params, part, gradient=gradient: descend(params, *part, gradient), start, batches)
    for name, gradient in {"jax.grad": automatic, "jax.grad, our two rules": our_rules, "by hand": by_hand}.items()
}
loss_N = {name: np.asarray(losses) for name, (_, losses) in runs.items()}
for name, losses in loss_N.items():
    apart = np.abs(losses - loss_N["jax.grad"])
    print(
        f"{name:24} first loss {losses[0]:.4f}   last {losses[-STEPS // 80 :].mean():.4f}   "
        f"off jax.grad by at most {apart.max():.0e}"
    )
    assert apart.max() < 1e-4

# %% [markdown]
# The same batches and the same rule give the same training. The bits are not the same: sums are taken in another
# order, and the last digit of a loss differs now and then. But the difference does not grow, not in all those steps.


# %%
# alt: Three curves of the loss over 40,000 steps, which lie on top of one another.
def smooth(losses, width=STEPS // 40):
    return np.arange(width, STEPS + 1, width), losses.reshape(-1, width).mean(1)


mm.plot.losses({name: smooth(losses) for name, losses in loss_N.items()})


# %% [markdown]
# ## Calibrate, evaluate, sample
#
# A trained BatchNorm needs a mean and a variance that do not depend on who else is in the batch. We take those of the
# whole train set once, and fold them into the first layer: after that, BatchNorm is gone. What remains is an MLP, a
# pure function of one window, and so it can be a `Model` of the library, with its exact evaluation and its sampler.


# %%
def fold(params):
    embcat = params["C"][train_x_NR].reshape(len(train_y_N), -1)
    mean_H, var_H = moments(embcat @ params["W1"] + params["b1"])
    scale_H = params["bngain"] * jax.lax.rsqrt(var_H + 1e-5)
    return {
        "C": params["C"],
        "W1": params["W1"] * scale_H,
        "b1": (params["b1"] - mean_H) * scale_H + params["bnbias"],
        "W2": params["W2"],
        "b2": params["b2"],
    }


class Sizes(NamedTuple):
    vocab: int


def window_forward(params, x_BT):
    x_BTR = jnp.stack(contexts(x_BT, R + 1), axis=-1)
    h_BTH = jnp.tanh(params["C"][x_BTR].reshape(*x_BT.shape, -1) @ params["W1"] + params["b1"])
    return h_BTH @ params["W2"] + params["b2"], {}


ninja = Model(Sizes(V), None, window_forward, *step_window(window_forward, R))
trained = mm.Trained(ninja, fold(runs["by hand"][0]), corpus.vocab, corpus.context)
part = {name: mm.evaluate(trained, tokens).nats for name, tokens in corpus.tokens.items()}
print(f"{STEPS:,} steps: train {part['train']:.4f}, dev {part['dev']:.4f}")
print("the lecture, 200,000 steps, on its own names and split: 2.0705 and 2.1099")
assert part["dev"] < (2.6 if QUICK else 2.2)

# %%
mm.sample(jax.random.key(0), trained, 10)

# %% [markdown]
# Those names came out of a network that was trained without autograd. You could now write it in C.
#
# **What we did not need.** `retain_grad`, `zero_grad`, hooks, `.grad` fields: those are answers to the question of
# where a gradient *lives*. In JAX a gradient is a result, and if you want one more result, you add one more zero.
#
# ## Exercises
#
# About two hours. Each exercise is a cell to fill, and a check below it that says "right!", or "not yet" and why. The
# solutions, and how one gets there: [solutions/lesson_5.py](solutions/lesson_5.py).
#
# A rule takes what the forward pass knew, and `g`, the gradient of the loss with respect to the *output*; it returns
# the gradient with respect to the *input*. (The rule of the cross-entropy takes no `g`: its output is the loss
# itself.)
#
# **Exercise 5.1.** $y = \log x$, $y = e^x$ and $y = 1/x$.


# %%
def log_rule(x, g):
    raise NotImplementedError


def exp_rule(x, g):
    raise NotImplementedError


def reciprocal_rule(x, g):
    raise NotImplementedError


check(lesson_5.log_rule, log_rule)
check(lesson_5.exp_rule, exp_rule)
check(lesson_5.reciprocal_rule, reciprocal_rule)


# %% [markdown]
# **Exercise 5.2.** `y_BV = a_BV * b_B1`, where the column `b` is broadcast over the row (return both gradients);
# `y_B1 = x_BV.sum(1, keepdims=True)`; `y_B1 = x_BV.max(1, keepdims=True)`, where no row has two equal maxima.


# %%
def product_rule(a_BV, b_B1, g_BV):
    raise NotImplementedError


def sum_rule(x_BV, g_B1):
    raise NotImplementedError


def max_rule(x_BV, g_B1):
    raise NotImplementedError


check(lesson_5.product_rule, product_rule)
check(lesson_5.sum_rule, sum_rule)
check(lesson_5.max_rule, max_rule)


# %% [markdown]
# **Exercise 5.3.** `y_BH = x_BD @ w_DH + b_H` (return three gradients); $y = \tanh x$, given `y` and not `x`; the
# variance of each column with Bessel's correction, `y_1H = ((x_BH - x_BH.mean(0))**2).sum(0) / (B - 1)`; and the
# embedding `y_BRE = table_VE[x_BR]`, where a symbol may occur many times.


# %%
def affine_rule(x_BD, w_DH, b_H, g_BH):
    raise NotImplementedError


def tanh_rule(y, g):
    raise NotImplementedError


def variance_rule(x_BH, g_1H):
    raise NotImplementedError


def embedding_rule(table_VE, x_BR, g_BRE):
    raise NotImplementedError


check(lesson_5.affine_rule, affine_rule)
check(lesson_5.tanh_rule, tanh_rule)
check(lesson_5.variance_rule, variance_rule)
check(lesson_5.embedding_rule, embedding_rule)

# %% [markdown]
# **Exercise 5.4.** Now a whole block at once, on paper, and simplified: the mean cross-entropy of a batch with respect
# to the logits.


# %%
def cross_entropy_rule(logits_BV, y_B):
    raise NotImplementedError


check(lesson_5.cross_entropy_rule, cross_entropy_rule)

# %% [markdown]
# **Exercise 5.5.** The same for BatchNorm, $y = \gamma \, (x - \mu) / \sqrt{\sigma^2 + 10^{-5}} + \beta$ with Bessel's
# correction in $\sigma^2$, with respect to $x$.


# %%
def batch_norm_rule(x_BH, gain_H, g_BH):
    raise NotImplementedError


check(lesson_5.batch_norm_rule, batch_norm_rule)

# %% [markdown]
# **Exercise 5.6.** (The lecture's exercise 1.) All 26, from the loss back to the embedding. `v` holds the values, with
# the names of the forward pass, and NumPy is enough. Replace the `...` line by line, and run the cell after each: the
# check compares one gradient after the other, on a small network of its own, and says how many are right.


# %%
def gradients(v, d):
    d.logprobs = ...
    d.probs = ...
    d.counts_sum_inv = ...
    d.counts_sum = ...
    d.counts = ...
    d.norm_logits = ...
    d.logit_maxes = ...
    d.logits = ...
    d.h = ...
    d.W2 = ...
    d.b2 = ...
    d.hpreact = ...
    d.bngain = ...
    d.bnbias = ...
    d.bnraw = ...
    d.bnvar_inv = ...
    d.bnvar = ...
    d.bndiff2 = ...
    d.bndiff = ...
    d.bnmeani = ...
    d.hprebn = ...
    d.embcat = ...
    d.W1 = ...
    d.b1 = ...
    d.emb = ...
    d.C = ...
    return d


check(lesson_5.gradients, gradients)

# %% [markdown]
# Next: [a tree of letters](06_tree.ipynb).
