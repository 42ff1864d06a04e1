# %% [markdown]
# # Lesson 10: Downhill, faster
#
# A gradient times a rate: that was the step of the first lessons. The later ones left the step to the library's
# optimiser, and nobody asked what that does. Now we ask. It turns out that a gradient alone does not say which way is
# down, until someone says how a step is measured. Three rulers give three methods: gradient descent, the heart of Adam,
# and Muon. At the end you will have written Muon in a dozen lines, know where its curious factors come from, and have
# raced it against AdamW. The lectures have no such chapter.
#
# **Time:** 70 minutes, and 50 for the exercises; the cells run in about a minute, the longest under a progress bar.
# **You need** [lesson 1](01_derivatives.ipynb), on gradients, and [lesson 8](08_attention.ipynb), whose model is
# trained here.

# %%
import os
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

import makemore_jax as mm
from makemore_jax.learning.training import init_state, loss_of, plan_of, steps_on
from makemore_jax.lessons.graders import lesson_10
from makemore_jax.lessons.grading import check
from makemore_jax.models.registry import build
from makemore_jax.muon import apart, orthogonal_momentum
from makemore_jax.recipe import Recipe, is_inside, optimizer_of

QUICK = "QUICK" in os.environ  # fewer steps, for the tests

# %% [markdown]
# ## A gradient is not a direction
#
# Seen from close by, any loss is a slope. A small step $D$ of a matrix of weights changes it by
#
# $$L(W + D) - L(W) \approx \langle G, D \rangle = \sum_{ij} G_{ij} D_{ij},$$
#
# where $G$ is the gradient. A slope has no lowest point: twice the step promises twice as much. So the question must be
# which step *of length one* leads down furthest. And how long is a matrix? Here are three answers.
#
# | ruler | length of $D$ | what it limits |
# | --- | --- | --- |
# | Frobenius | root of the sum of all squared entries | the way through the space of all weights |
# | maximum | largest entry, without its sign | the way of each single weight |
# | spectral | largest singular value | how far an input of length one can move the output |
#
# To see them side by side, take the matrices $\begin{pmatrix} a & b \\ b & a \end{pmatrix}$, which fill a plane. For
# each ruler we try all directions in it. **One gradient, three rulers. Do they agree on the best step of length one?**

# %%
# alt: A circle in a diamond in a square, all steps of length one; on the slope each has its lowest point elsewhere.
RULERS = {
    "Frobenius": jnp.linalg.norm,
    "maximum": lambda D_IO: jnp.abs(D_IO).max(),
    "spectral": lambda D_IO: jnp.linalg.norm(D_IO, ord=2),
}
COLOURS = {"Frobenius": "#e6550d", "maximum": "#31a354", "spectral": "#08519c"}


def plane(a, b):
    return jnp.array([[a, b], [b, a]])


def of_length_one(ruler, angle):
    D_IO = plane(jnp.cos(angle), jnp.sin(angle))
    return D_IO / ruler(D_IO)


grad_IO, angle_N = plane(1.0, 0.45), jnp.linspace(0, 2 * jnp.pi, 3601)
found = {}
canvas = mm.plot.figure(5.4, 5.2)
axes = canvas.subplots()
a_M, b_M1 = np.linspace(-1.2, 1.2, 9), np.linspace(-1.2, 1.2, 9)[:, None]
levels = axes.contour(a_M, a_M, 2 * (grad_IO[0, 0] * a_M + grad_IO[0, 1] * b_M1), 12, colors="0.8", linewidths=1)
axes.clabel(levels, fontsize=7)
for name, ruler in RULERS.items():
    step_NIO = jax.vmap(lambda angle, ruler=ruler: of_length_one(ruler, angle))(angle_N)
    change_N = (grad_IO * step_NIO).sum((1, 2))
    found[name] = step_NIO[change_N.argmin()]
    axes.plot(*step_NIO[:, 0].T, color=COLOURS[name], label=f"{name}: the loss changes by {change_N.min():.2f}")
    axes.annotate("", found[name][0], (0, 0), arrowprops={"arrowstyle": "-|>", "color": COLOURS[name], "linewidth": 2})
axes.set(xlabel="a", ylabel="b", aspect="equal")
axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
canvas

# %% [markdown]
# <details><summary>Answer</summary>
#
# No. Every point of a curve has length one by its ruler: the circle is Frobenius, the square the maximum, the diamond
# spectral. Grey lines join points of equal promise. The circle touches its lowest line against the gradient, as one
# expects. The square has corners, and a corner is lowest: it moves *every* entry by one, however small its gradient.
# The diamond has corners as well, at other places. (That the square promises most says nothing: its unit is another
# one.)
#
# </details>
#
# So "against the gradient" is the answer to one ruler only. What are the other two? Any matrix is a turn, a stretch
# along the axes, and another turn, $G = U S V^\top$; the stretches $S$, none of them negative, are its singular values.
# With that, the three best steps can be written down:
#
# $$-\frac{G}{\|G\|}, \qquad -\operatorname{sign}(G), \qquad -U V^\top.$$
#
# The first is the step of gradient descent (SGD). The second sets the size of every *entry* to one. The third keeps
# both turns and sets every *singular value* to one: it is the sign of a matrix in the matrix's own axes.


# %%
def polar(grad_IO):
    """U V^T: both turns of a matrix, without its stretch."""
    U_IR, _, V_RO = jnp.linalg.svd(grad_IO, full_matrices=False)
    return U_IR @ V_RO


STEEPEST = {
    "Frobenius": lambda grad_IO: -grad_IO / jnp.linalg.norm(grad_IO),
    "maximum": lambda grad_IO: -jnp.sign(grad_IO),
    "spectral": lambda grad_IO: -polar(grad_IO),
}
for name, steepest in STEEPEST.items():
    print(f"{name:10}step by the formula {np.asarray(steepest(grad_IO)[0]).round(2)}, found {found[name][0].round(2)}")
    np.testing.assert_allclose(steepest(grad_IO), found[name], atol=2e-3)

# %% [markdown]
# That a choice of ruler gives these methods was worked out by Bernstein and Newhouse (2024, arXiv:2409.20325).
#
# ## Three walks on one hill
#
# A slope is all that one step sees. Does it matter over many? Here is the smallest hill on which it does: a linear
# layer with two inputs that say nearly the same (their correlation is 0.95), whose best weights are 0. The loss is
# steep where the inputs agree, and 39 times flatter where they differ. Each method takes 15 steps. SGD multiplies the
# gradient by a rate, so its steps shrink by themselves; the others keep their length, so we let the rate fall to 0
# along a line. Each has the best of 200 rates. **Which of the three walks will be straight?**

# %%
# alt: Contours of a narrow valley; SGD zigzags into it and stops early, the sign hops along it, spectral takes stairs.
WALK, start_IO, cov_II = 15, plane(1.0, -0.35), plane(1.0, 0.95)


def hill(W_IO):
    return (W_IO * (cov_II @ W_IO)).sum() / 2


def walk(move, rate):
    """(1 + WALK, 2, 2) the places on the way."""

    def body(W_IO, i):
        W_IO = W_IO + rate * move(jax.grad(hill)(W_IO), 1 - i / WALK)
        return W_IO, W_IO

    return jnp.concatenate([start_IO[None], jax.lax.scan(body, start_IO, jnp.arange(WALK))[1]])


moves = {
    "Frobenius": lambda grad_IO, left: -grad_IO,
    "maximum": lambda grad_IO, left: left * STEEPEST["maximum"](grad_IO),
    "spectral": lambda grad_IO, left: left * STEEPEST["spectral"](grad_IO),
}
rate_R = jnp.geomspace(0.01, 10, 200)
a_M, b_M1 = np.linspace(-1.1, 1.1, 99), np.linspace(-1.1, 1.1, 99)[:, None]
height_MM = (1.95 * (a_M + b_M1) ** 2 + 0.05 * (a_M - b_M1) ** 2) / 2
canvas, ends = mm.plot.figure(10, 3.8), {}
for axes, (name, move) in zip(canvas.subplots(1, 3, sharey=True), moves.items(), strict=True):
    way_RNIO = jax.jit(jax.vmap(lambda rate, move=move: walk(move, rate)))(rate_R)
    end_R = jax.vmap(hill)(way_RNIO[:, -1])
    way_NIO, ends[name] = way_RNIO[jnp.nanargmin(end_R)], float(jnp.nanmin(end_R))
    axes.contour(a_M, a_M, height_MM, np.geomspace(0.001, 4, 12), colors="0.8", linewidths=1)
    axes.plot(*way_NIO[:, 0].T, "o-", markersize=3, color=COLOURS[name])
    axes.set(title=f"{name}: ends at {ends[name]:.0e}", xlabel="a", aspect="equal")
canvas.axes[0].set(ylabel="b")
assert np.isclose(np.linalg.cond(cov_II), 39)
assert ends["spectral"] < ends["maximum"] < ends["Frobenius"] / 100
canvas

# %% [markdown]
# <details><summary>Answer</summary>
#
# None. SGD bounces across the valley, because its rate must not be too large for the steep side, and along the valley
# it has hardly begun to walk: the gradient there is small, so its steps are. The sign and the spectral step do not care
# how small a gradient is. They only know the directions of their corners: the sign walks diagonally, and the spectral
# step walks along the axes of this picture, in stairs. Both arrive.
#
# </details>
#
# (On this hill the spectral walk wins because all its singular values shrink at one speed, steep or flat. Don't take
# that for a law yet.)
#
# ## Turn the axes
#
# The sign looks at entries, one by one, and entries depend on coordinates. Take a larger hill: a layer with 16 inputs
# and 24 outputs. The inputs are independent, and their variances fall from 1 to 0.001. Now turn them: mix the first
# with the ninth, the second with the tenth and so on, by an angle. It is the same problem, in other coordinates. Each
# method gets the best of ten rates at each angle. **Whose loss depends on the angle?**

# %%
# alt: Loss over the angle: SGD and spectral are level lines; the sign is best at 0 and 90 degrees, and worst between.
inputs, outputs, STEPS = 16, 24, 10 if QUICK else 60
target_IO = jnp.float32(np.random.default_rng(0).normal(size=(inputs, outputs)))
variance_I = jnp.geomspace(1, 0.001, inputs)
swap_II = jnp.kron(jnp.array([[0.0, -1.0], [1.0, 0.0]]), jnp.eye(inputs // 2))  # a quarter turn of each pair


def turned_loss(move, rate, angle):
    """The loss after STEPS steps from 0, with all inputs turned."""
    turn_II = jnp.cos(angle) * jnp.eye(inputs) + jnp.sin(angle) * swap_II
    cov_II, goal_IO = turn_II @ (variance_I[:, None] * turn_II.T), turn_II @ target_IO

    def body(W_IO, i):
        return W_IO + rate * move(cov_II @ (W_IO - goal_IO), 1 - i / STEPS), None

    W_IO, _ = jax.lax.scan(body, jnp.zeros((inputs, outputs)), jnp.arange(STEPS))
    return ((W_IO - goal_IO) * (cov_II @ (W_IO - goal_IO))).sum() / 2


degree_A, rate_R = jnp.linspace(0, 90, 5 if QUICK else 19), jnp.geomspace(0.03, 3, 10)
canvas = mm.plot.figure(8, 3.8)
axes = canvas.subplots()
turned = {}
for name, move in moves.items():
    by_angle = jax.vmap(lambda rate, angle, move=move: turned_loss(move, rate, angle), (None, 0))
    loss_RA = jax.jit(jax.vmap(by_angle, (0, None)))(rate_R, jnp.radians(degree_A))
    turned[name] = np.nanmin(loss_RA, axis=0)
    axes.semilogy(degree_A, turned[name], "o-", markersize=4, color=COLOURS[name], label=name)
axes.set(xlabel="angle by which the inputs are turned, degrees", ylabel=f"loss after {STEPS} steps")
axes.set_xticks(range(0, 91, 15))
axes.grid(alpha=0.2)
axes.legend(frameon=False)
canvas

# %%
for name, loss_A in turned.items():
    print(f"{name:10}from {loss_A.min():.5f} to {loss_A.max():.5f}")
    assert (np.ptp(loss_A) < 1e-3 * loss_A.min()) == (name != "maximum")
if not QUICK:
    assert turned["maximum"][0] < turned["spectral"][0] < turned["maximum"][9]

# %% [markdown]
# <details><summary>Answer</summary>
#
# Only that of the sign. Its corners lie on the diagonals of the coordinates, so it matters which coordinates those are.
# At 0 degrees each row of weights has an input of its own, and the sign is the best of the three. A turn of ten degrees
# spoils that, and at 90 degrees axes lie on axes again. The other two rulers are round: turn the problem, and their
# walk turns with it.
#
# </details>
#
# Keep this picture in mind, for it says which ruler belongs where. The rows of an embedding are letters. A letter is an
# axis that means something: 0 degrees. Between the layers of a network flows a stream of numbers whose axes nobody has
# chosen. There a method had better not depend on them. (That is a rough picture: the units behind a nonlinearity are
# axes, too.)
#
# ## Adam begins with signs
#
# So much for hills. From here on the model is a small transformer, the library's, and the data are names.

# %%
corpus = mm.load()
model = build("transformer", **corpus.sizes, layers=2, heads=4, embed=32)
recipe = Recipe(steps=20 if QUICK else 200, batch=32)
tokens, plan = plan_of(model, corpus, recipe)
tokens, loss_of_batch = jax.device_put(tokens), loss_of(model, recipe, plan)
params = jax.jit(model.init)(jax.random.key(0))
params_P, unflatten = ravel_pytree(params)  # all weights as one vector


@jax.jit
def gradient(params_P, seed):
    """(P,) the gradient on 32 random names."""
    loss = lambda params_P: loss_of_batch(unflatten(params_P), tokens, recipe.hyper, jax.random.key(seed))
    return jax.grad(loss)(params_P)


print(f"{params_P.size:,} parameters")

# %% [markdown]
# Adam (Kingma and Ba 2015, arXiv:1412.6980) knows nothing of matrices, so we give it all weights as one vector. It
# keeps two running means, of the gradient and of its square, and divides the first by the root of the second. Both
# begin at 0, and are scaled up to make good for that.


# %%
@jax.jit
def adam(memory, grad_P, t, b1=0.9, b2=0.99, eps=1e-8):
    """The update of step t = 1, 2, ..., for a rate of 1, and the memory."""
    m_P, v_P = memory
    m_P = b1 * m_P + (1 - b1) * grad_P
    v_P = b2 * v_P + (1 - b2) * grad_P**2
    return m_P / (1 - b1**t) / (jnp.sqrt(v_P / (1 - b2**t)) + eps), (m_P, v_P)


rule = optax.scale_by_adam(b2=0.99)
weights_P, memory, state, update_NP = params_P, (0 * params_P, 0 * params_P), rule.init(params_P), []
for t in range(1, recipe.steps + 1):
    grad_P = gradient(weights_P, t)
    update_P, memory = adam(memory, grad_P, t)
    if t <= 3:  # it is optax's
        expected_P, state = rule.update(grad_P, state)
        np.testing.assert_allclose(update_P, expected_P, atol=1e-4)
    weights_P -= 0.01 * update_P
    update_NP.append(np.asarray(update_P))

# %% [markdown]
# **At a rate of 1, how far does Adam move a weight in its very first step? And in step 200?**

# %%
# alt: Left: updates of step 1 are two spikes at -1 and 1, later ones a hump. Right: their size falls to 0.2.
masks = jax.tree_util.tree_map_with_path(lambda path, leaf: jnp.full(leaf.shape, is_inside(path, leaf)), params)
update_NP = np.stack(update_NP)[:, ravel_pytree(masks)[0]]  # of the matrices inside the model
rms_N, noise = np.sqrt((update_NP**2).mean(1)), np.sqrt((1 - 0.9) / (1 + 0.9))
canvas = mm.plot.figure(10, 3.6)
left, right = canvas.subplots(1, 2)
for t in (1, 10, recipe.steps):
    left.hist(update_NP[t - 1], np.linspace(-1.2, 1.2, 49), histtype="step", label=f"step {t}", log=True)
left.set(xlabel="update of a weight", ylabel="weights")
left.legend(frameon=False, loc="lower center")
right.plot(range(1, recipe.steps + 1), rms_N, color="#756bb1")
right.axhline(noise, color="0.4", linestyle="--", linewidth=1, label=f"if gradients were noise: {noise:.3f}")
right.set(xlabel="step", ylabel="root mean square of the update", ylim=(0, 1.05))
right.grid(alpha=0.2)
right.legend(frameon=False)
canvas

# %%
share, late = (np.abs(update_NP[0]) > 0.99).mean(), rms_N[recipe.steps // 2 :].mean()
print(f"step 1: {share:.1%} of the updates are -1 or 1, to a hundredth")
print(f"second half: root mean square {late:.2f}; noise would give {noise:.3f}")
assert share > 0.98
assert QUICK or 0.1 < late < 0.25

# %% [markdown]
# <details><summary>Answer</summary>
#
# By 1, up or down, nearly every weight: the mean of one gradient is the gradient, the root of the mean of one square is
# its size, and $g / |g|$ is the sign. So Adam begins as steepest descent under the maximum. Later it moves a weight by
# less than 0.2, in the root mean square. Where successive gradients agree, the update stays near 1. Where they are
# noise, the upper mean cancels, and the lower one doesn't.
#
# </details>
#
# Pure noise would give 0.229 (exercise 10.2 asks why). Remember this "about 0.2": it comes back.
#
# ## Momentum is a mean
#
# The upper mean of Adam is called momentum, and nearly every optimiser has one. What is it good for? We stay where Adam
# has arrived, and take the gradients of 80 more batches there. Forty of them are the judge: the direction of their mean
# is compared with that of one gradient, and with momentum over the other forty. **A cosine of 1 is the same direction,
# and 0 is unrelated. What is it for the gradient of one batch?**


# %%
def momentum(M_P, grad_P, beta=0.95):
    return beta * M_P + (1 - beta) * grad_P


def cosine(a_P, b_P):
    return float(a_P @ b_P / jnp.linalg.norm(a_P) / jnp.linalg.norm(b_P))


grad_KP = jnp.stack([gradient(weights_P, 1000 + k) for k in range(16 if QUICK else 80)])
sample_KP, judge_KP = jnp.split(grad_KP, 2)
M_P, rule = 0 * params_P, optax.ema(0.95, debias=False)
state = rule.init(M_P)
for grad_P in sample_KP:
    M_P = momentum(M_P, grad_P)
    expected_P, state = rule.update(grad_P, state)
np.testing.assert_allclose(M_P, expected_P, atol=1e-6)  # it is optax's
one = np.mean([cosine(grad_P, judge_KP.mean(0)) for grad_P in sample_KP])
print(f"cosine with the judge: one batch {one:.2f}, momentum {cosine(M_P, judge_KP.mean(0)):.2f}")
assert one + 0.1 < cosine(M_P, judge_KP.mean(0))

# %% [markdown]
# <details><summary>Answer</summary>
#
# About a half: most of what one batch says is its own. Momentum, which costs one number more for each weight, points
# nearly where the judge does.
#
# </details>
#
# It matters when the mean is taken, because the sign of a sum is not the sum of the signs. Average first: in a sign,
# noise is as large as anything else.
#
# ## The sign of a matrix, without taking it apart
#
# Now for the third ruler. Take the momentum $M = U S V^\top$ of a matrix and step along $U V^\top$. To find $U$ and $V$
# takes a long computation that does not suit an accelerator. Products of matrices do suit it, and here they are enough.
# An odd polynomial in $M$,
#
# $$p(M) = a M + b\,(M M^\top) M + c\,(M M^\top)^2 M = U\,p(S)\,V^\top,$$
#
# leaves both turns alone and acts on each singular value by itself, $p(s) = a s + b s^3 + c s^5$. So divide $M$ by its
# Frobenius norm, after which no singular value is above 1, and then apply, several times, a polynomial that pulls
# numbers between 0 and 1 towards 1. That is a Newton-Schulz iteration; its classical polynomial is $(3s - s^3) / 2$.
# Muon (Jordan et al. 2024) takes $a = 3.4445$, $b = -4.7750$ and $c = 2.0315$. **Apply Muon's polynomial again and
# again. To which number do the singular values converge?**

# %%
# alt: What becomes of a singular value: Muon's curves rise early and then wobble about 1, the classical one rises late.
A, B, C = 3.4445, -4.7750, 2.0315


def of_muon(s, times):
    for _ in range(times):
        s = A * s + B * s**3 + C * s**5
    return s


def classical(s, times):
    for _ in range(times):
        s = 1.5 * s - 0.5 * s**3
    return s


s_N = np.geomspace(0.001, 1, 2000)
canvas = mm.plot.figure(8, 3.8)
axes = canvas.subplots()
axes.axhspan(0.68, 1.21, color="0.93", zorder=0)
for times, colour in [(1, "#9ecae1"), (3, "#4292c6"), (5, "#08519c")]:
    axes.semilogx(s_N, of_muon(s_N, times), color=colour, label=f"Muon's, applied {times} x")
axes.semilogx(s_N, classical(s_N, 5), "--", color="#e6550d", label="classical, applied 5 x")
axes.set(xlabel="singular value before, as a share of the Frobenius norm", ylabel="after", ylim=(0, 1.3))
axes.legend(frameon=False, loc="lower right")
canvas

# %%
for s in (0.001, 0.01, 0.1, 1.0):
    after = ", ".join(f"{of_muon(s, times):.2f}" for times in (1, 3, 5, 6, 7))
    print(f"{s:5}: applied 1, 3, 5, 6, 7 x: {after}; classical, 5 x: {classical(s, 5):.2f}")
wide_N = of_muon(s_N[s_N > 0.002], 5)
print(f"from 0.002 to 1, after 5: between {wide_N.min():.2f} and {wide_N.max():.2f}; p(1) = {A + B + C:.3f}")
assert 0.68 < wide_N.min() < wide_N.max() < 1.21

# %% [markdown]
# <details><summary>Answer</summary>
#
# To none. Not even 1 stays where it is: $p(1) = 0.701$. The values wander between 0.68 and 1.21 for ever, and that is a
# bargain. Nobody needs exactly 1. What counts is that *small* ones rise fast, and near 0 each application multiplies by
# $a$, more than twice the 1.5 of the classical polynomial.
#
# </details>
#
# ## Muon in a dozen lines


# %%
def newton_schulz(X_IO, steps):
    """A matrix with the same turns, and singular values near 1."""
    if X_IO.shape[0] > X_IO.shape[1]:  # the square of the smaller side is cheaper
        return newton_schulz(X_IO.T, steps).T
    X_IO = X_IO / jnp.linalg.norm(X_IO)
    for _ in range(steps):
        square_II = X_IO @ X_IO.T
        X_IO = A * X_IO + (B * square_II + C * square_II @ square_II) @ X_IO
    return X_IO


@partial(jax.jit, static_argnames="steps")
def muon(M_IO, grad_IO, t, steps=5, beta=0.95):
    """The update of step t = 1, 2, ..., for a rate of 1, and momentum."""
    M_IO = momentum(M_IO, grad_IO, beta)
    ahead_IO = momentum(M_IO / (1 - beta ** (t + 1)), grad_IO / (1 - beta**t), beta)
    return newton_schulz(ahead_IO, steps), M_IO


# %% [markdown]
# The line `ahead_IO` is Nesterov's trick: it lets the newest gradient count twice, as if momentum were one step ahead.
# Both terms are scaled up for having begun at 0, as in Adam. That is all. Is it Muon? optax has one, and the library
# has one, which applies the polynomial three times instead of five, and has a factor that we come to below.

# %%
down_KIO = jax.vmap(unflatten)(sample_KP)["blocks"][0]["down"]["w"]  # the gradients of one matrix
rows, columns = down_KIO[0].shape
axes_of_inputs_and_outputs = optax.contrib.MuonDimensionNumbers(0, 1)
theirs = optax.contrib.scale_by_muon(weight_dimension_numbers=axes_of_inputs_and_outputs)
ours = orthogonal_momentum()
M_IO, their_state, our_state = 0 * down_KIO[0], theirs.init(down_KIO[0]), ours.init(down_KIO[0])
for t, grad_IO in enumerate(down_KIO[:3], 1):
    three_IO, _ = muon(M_IO, grad_IO, t, steps=3)
    five_IO, M_IO = muon(M_IO, grad_IO, t, steps=5)
    optax_IO, their_state = jax.jit(theirs.update)(grad_IO, their_state)
    library_IO, our_state = jax.jit(ours.update)(grad_IO, our_state)
    np.testing.assert_allclose(five_IO, optax_IO, atol=1e-4)
    np.testing.assert_allclose(0.2 * np.sqrt(max(rows, columns)) * three_IO, library_IO, atol=1e-4)
assert jnp.abs(five_IO - three_IO).max() > 0.01
print(f"a matrix of {rows} x {columns}, 3 steps: ours is optax's with 5 applications, and the library's with 3")

# %% [markdown]
# In a training run it is `Recipe(optimizer="muon")`. Muon takes the matrices inside the model. The embedding, the
# positions, the output layer and all vectors stay with AdamW: there the axes mean something, as at 0 degrees above.
# (AdamW is Adam with weight decay; it is 0 here.) By default the rate of the matrices is 4 times the other. And a
# matrix that holds square maps side by side, such as the one that gives queries, keys and values, is taken apart first:
# each map gets a step of its own.

# %%
first = Recipe(optimizer="muon", warmup=0, final=1.0, weight_decay=0.0, clip=1e6, learning_rate=0.01)
transform, grads = optimizer_of(first)(first.hyper), unflatten(sample_KP[0])
update, _ = jax.jit(transform.update)(grads, transform.init(params), params)
by_adam = unflatten(-0.01 * adam((0 * params_P, 0 * params_P), sample_KP[0], 1)[0])


def by_hand(path, grad, by_adam):
    if not is_inside(path, grad):
        return by_adam
    step = lambda grad_IO: 0.2 * np.sqrt(max(grad_IO.shape)) * muon(0 * grad_IO, grad_IO, 1, steps=3)[0]
    maps = jnp.split(grad, len(apart(grad)), axis=1)  # side by side
    return -4 * 0.01 * jnp.hstack([step(grad_IO) for grad_IO in maps])


expected = jax.tree_util.tree_map_with_path(by_hand, grads, by_adam)
update_P, expected_P, by_adam_P = (ravel_pytree(tree)[0] for tree in (update, expected, by_adam))
np.testing.assert_allclose(update_P, expected_P, atol=1e-5)
inside = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if is_inside(path, leaf)]
size = sum(leaf.size for leaf in inside)
print(f"Muon has {len(inside)} matrices, {size:,} of {params_P.size:,} parameters")
assert (jnp.abs(update_P - by_adam_P) > 1e-4).sum() > size / 2

# %% [markdown]
# ## What it does to a gradient
#
# The matrix `down` of the first block has 128 inputs and 32 outputs. So a step has 32 directions to go in, and its
# singular values say how far it goes in each. Four rules see the same 40 gradients, and we look at the step that each
# takes next. **In how many of the 32 directions does it go at least a tenth as far as in the first?**

# %%
# alt: Singular values by rank, as shares of the largest: momentum's fall at once, Adam's hardly later, Muon's late.
RULES = {
    "SGD, with momentum": optax.ema(0.95),
    "sign of the momentum": optax.chain(optax.ema(0.95), optax.scale_by_sign()),
    "Adam": optax.scale_by_adam(b2=0.99),
    "Muon": orthogonal_momentum(),
}
SHADES = dict(zip(RULES, ("#e6550d", "#31a354", "#756bb1", "#08519c"), strict=True))


@partial(jax.jit, static_argnames="rule")
def last_step(rule, grad_KIO):
    """The update of a rule after so many gradients."""
    body = lambda state, grad_IO: rule.update(grad_IO, state)[::-1]
    return jax.lax.scan(body, rule.init(grad_KIO[0]), grad_KIO)[1][-1]


canvas, count = mm.plot.figure(8, 3.8), {}
axes = canvas.subplots()
for name, rule in RULES.items():
    s_R = np.linalg.svd(last_step(rule, down_KIO), compute_uv=False)
    count[name] = int((s_R > s_R[0] / 10).sum())
    axes.semilogy(range(1, 33), s_R / s_R[0], "o-", markersize=3, color=SHADES[name], label=name)
axes.axhline(0.1, color="0.4", linestyle="--", linewidth=1)
axes.set(xlabel="direction", ylabel="singular value,\nas a share of the largest", ylim=(1e-5, 1.5))
axes.grid(alpha=0.2)
axes.legend(frameon=False, loc="lower left")
canvas

# %%
U_IR, _, V_RO = np.linalg.svd(last_step(RULES["SGD, with momentum"], down_KIO), full_matrices=False)
for name, rule in RULES.items():
    step_IO = np.asarray(last_step(rule, down_KIO))
    own = (np.diag(U_IR.T @ step_IO @ V_RO.T) ** 2).sum() / (step_IO**2).sum()
    print(f"{name:21}{count[name]:3} directions; {own:4.0%} of the step lies in those of the momentum")
np.testing.assert_allclose(np.abs(V_RO[-1]), 1 / np.sqrt(columns), atol=1e-3)  # direction 32: all outputs alike
print(f"a small singular value grows by a factor of up to {A**3:.0f} in three applications, and {A**5:.0f} in five")
if not QUICK:
    assert count["SGD, with momentum"] < count["Adam"] < count["Muon"] < count["sign of the momentum"]

# %% [markdown]
# <details><summary>Answer</summary>
#
# SGD in five: a few directions hold nearly all of a gradient, and SGD spends its step on them. Adam, which has a scale
# for every single weight, gets to six. Muon gets to thirteen. Why not to all 32? Because three applications multiply a
# small singular value by 41 at most.
#
# </details>
#
# The sign goes in even more. But the second column says where: most of its step lies in directions that momentum does
# not have. Looking entry by entry, it makes up directions of its own. Muon keeps those of the momentum, and evens them
# out.
#
# (Why do two curves drop at the end? Direction 32 moves all outputs alike, and the layer norms further on subtract it,
# so the loss can't notice. The gradient has nothing there. Adam and the sign go there all the same.)
#
# ## Why the rates differ
#
# Anyone who changes the optimiser has to find a new rate. There are three reasons, and the first is a matter of units.
# **Count the loss in thousandths of a nat, so that all gradients grow a thousandfold. Whose steps grow?**

# %%
for name, rule in RULES.items():
    once_IO, scaled_IO = last_step(rule, down_KIO), last_step(rule, 1000 * down_KIO)
    growth = float(jnp.linalg.norm(scaled_IO) / jnp.linalg.norm(once_IO))
    print(f"{name:21}grows by a factor of {growth:.1f}")
    assert np.isclose(growth, 1000 if name.startswith("SGD") else 1, rtol=0.01)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Only those of SGD. Its rate carries the unit of the loss, so it fits one problem. The rate of the others says how far
# to go, and the loss has no say in that.
#
# </details>
#
# The second reason is what "far" means: the sign moves every weight by one rate, Adam by about 0.2 of it. The third is
# the shape of the matrix. If $U V^\top$ has $r$ rows and $c$ columns, its $\min(r, c)$ singular values are 1. The sum
# of their squares is the sum of the squares of all entries, so the root mean square of an entry is
#
# $$\sqrt{\frac{\min(r, c)}{r c}} = \frac{1}{\sqrt{\max(r, c)}}.$$
#
# A large matrix would move less than a small one. Liu et al. (2025, arXiv:2502.16982) therefore multiply by
# $0.2 \sqrt{\max(r, c)}$: now an entry moves by 0.2 of the rate in every matrix, as it does with Adam. That is the
# library's factor, and there the 0.2 is back.

# %%
for r, c in sorted({leaf.shape for leaf in inside}):
    orthogonal_IO, factor = polar(jax.random.normal(jax.random.key(0), (r, c))), 0.2 * np.sqrt(max(r, c))
    plain, scaled = (float(jnp.sqrt((x**2).mean())) for x in (orthogonal_IO, factor * orthogonal_IO))
    print(f"{r:4} x {c:<4}root mean square of U V^T {plain:.4f}, with the factor {scaled:.4f}")
    assert np.isclose(scaled, 0.2, rtol=1e-3)
rms = {name: float(jnp.sqrt((last_step(rule, down_KIO) ** 2).mean())) for name, rule in RULES.items()}
print(f"the step of Muon in the picture above: {rms['Muon']:.2f}")
assert rms["Muon"] < 0.2

# %% [markdown]
# (A real step of Muon is about half as large, because its small singular values do not reach 1.)
#
# Now train with all four rules, each at five rates. The weights outside of the matrices inside go by Adam when Muon is
# in charge of the others, at a quarter of its rate, as in the library. All twenty runs see the same batches. The rule
# is a number like the rate: each run computes the steps of all four and takes one, so that `vmap` can train them as one
# program.

# %%
# alt: Loss over the rate: SGD far right and highest, sign and Adam at the left and lower, Muon between and lowest.
RACE = 5 if QUICK else 80
schedule = optax.warmup_cosine_decay_schedule(0.0, 1.0, RACE // 10, RACE, 0.05)
rest = optax.chain(optax.scale_by_adam(b2=0.99), optax.scale(0.25))
kinds = lambda tree: jax.tree_util.tree_map_with_path(is_inside, tree)
contestants = RULES | {"Muon": optax.partition({True: orthogonal_momentum(), False: rest}, kinds)}
middle = dict(zip(RULES, (0.6, 0.002, 0.006, 0.03), strict=True))
rate_CR = np.float32(list(middle.values()))[:, None] * np.float32([0.1, 0.3, 1, 3, 10])


def one_of(rules, chosen):
    """The steps of one rule; `chosen` is its number, which may differ between runs."""

    def update(grads, states, params=None):
        found = [rule.update(grads, state, params) for rule, state in zip(rules, states, strict=True)]
        updates, states = zip(*found, strict=True)
        return jax.tree.map(lambda *leaves: jnp.stack(leaves)[chosen], *updates), states

    return optax.GradientTransformation(lambda params: tuple(rule.init(params) for rule in rules), update)


def optimizer(hyper):
    rate = lambda step: hyper["rate"] * schedule(step)
    return optax.chain(one_of(contestants.values(), hyper["rule"]), optax.scale_by_learning_rate(rate))


hyper = {"rate": jnp.asarray(rate_CR).reshape(-1), "rule": jnp.repeat(jnp.arange(len(RULES)), rate_CR.shape[1])}
states = jax.vmap(lambda hyper: init_state(params, jax.random.key(1), hyper, optimizer))(hyper)
steps = steps_on(tokens, loss_of_batch, optimizer)
_, loss_RN = jax.vmap(lambda state: steps(state, RACE))(states)
loss_CR = np.asarray(loss_RN)[:, -20:].mean(1).reshape(rate_CR.shape)
canvas = mm.plot.figure(8, 3.8)
axes = canvas.subplots()
for name, rate_R, loss_R in zip(RULES, rate_CR, loss_CR, strict=True):
    axes.semilogx(rate_R, loss_R, "o-", color=SHADES[name], label=name)
axes.set(xlabel="peak rate", ylabel=f"loss over the last steps of {RACE},\nnats per character", ylim=(2.2, 3.3))
axes.grid(alpha=0.2)
axes.legend(frameon=False, loc="upper center")
canvas

# %%
for name, rate_R, loss_R in zip(RULES, rate_CR, loss_CR, strict=True):
    print(f"{name:21}best rate {rate_R[np.nanargmin(loss_R)]:<6.2g} loss {np.nanmin(loss_R):.4f}")
floor_C, best_C = np.nanmin(loss_CR, axis=1), np.nanargmin(loss_CR, axis=1)
best_rate_C = np.take_along_axis(rate_CR, best_C[:, None], 1)
if not QUICK:
    assert (np.diff(floor_C) < 0).all()
    assert best_rate_C.max() > 200 * best_rate_C.min()
    assert not loss_CR[0, -1] < 3.3

# %% [markdown]
# (The largest rate of SGD is off the picture: it diverged.) The best rates lie hundreds of times apart: a rate means
# nothing without its rule. And the floors of the valleys lie in the order in which we met their rulers.
#
# ## The race
#
# Eighty steps with one seed are a sprint. Now AdamW and Muon train the same model for longer, by the library, on the
# same batches, with a rate of 0.01, which is near the floors of both valleys (4 times that for Muon's matrices). Each
# has three seeds, as lesson 9 wants it. **Does the lead last?**

# %%
# alt: Dev loss over the steps, mean and range of three seeds: the band of Muon lies below that of AdamW everywhere.
SEEDS, STEPS = range(3), 10 if QUICK else 320
curves = {}
for name in ("adamw", "muon"):
    long = Recipe(steps=STEPS, batch=32, warmup=STEPS // 10, optimizer=name, learning_rate=0.01)
    runs = mm.sweep(model, corpus, SEEDS, recipe=long, evaluations=4)
    curves[name] = runs.step_E, runs.dev_RE
mm.plot.bands(curves)

# %%
last = {name: dev_SE[:, -1] for name, (_, dev_SE) in curves.items()}
for name, dev_S in last.items():
    print(f"{name:6} dev after {STEPS} steps: {dev_S.mean():.4f} ±{np.ptp(dev_S) / 2:.4f}")
step_E, dev_SE = curves["muon"]
ahead_E = dev_SE.max(0) < last["adamw"].min()
print(f"Muon's worst run is below AdamW's best last loss from step {step_E[ahead_E.argmax()]} on")
if not QUICK:
    assert last["muon"].max() < last["adamw"].min()
    assert ahead_E[2:].all()  # from step 240 on
    lead = last["adamw"].mean() - last["muon"].mean()
    assert round(lead, 2) == 0.06
    assert lead > 4 * max(np.ptp(dev_S) for dev_S in last.values())

# %% [markdown]
# <details><summary>Answer</summary>
#
# Here it does. The bands don't touch, and at step 240 the worst run of Muon has passed the best that AdamW reaches in
# 320. After the same number of steps it is ahead by 0.06 nats per character, several times the range over seeds. (Both
# are still far above counting, as lesson 9 would ask: this is a race, not a record.)
#
# </details>
#
# But are equal steps an equal price? A step of Muon computes more. How much more can be counted: the gradient takes
# about three multiplications for each weight and each letter of the batch. An application of the polynomial to a matrix
# whose sides are $m \leq n$ takes $2 m^2 n + m^3$.

# %%
maps = [map_IO for w in inside for map_IO in apart(w)]
polynomial = 3 * sum(2 * min(w.shape) ** 2 * max(w.shape) + min(w.shape) ** 3 for w in maps)
for lines in (32, 320):
    gradients = 3 * params_P.size * plan.tokens * lines / 32
    print(f"{lines:3} names a step: {gradients / 1e6:5.1f} million for the gradient, {polynomial / 1e6:.1f} for Muon")

# %% [markdown]
# A third more here, and next to nothing with large batches, because the polynomial is applied once a step, however many
# letters were read. So the lead is real, on this model, at this length. Don't carry it elsewhere without a measurement:
# it is one small transformer, far from the end of its training, and regularisation and longer runs can change the
# order. The library's quick recipes train nearly all models with Muon. For an evening: give one of them AdamW back, at
# several rates, `mm.sweep("gru", corpus, range(3), [0.002, 0.005, 0.01], optimizer="adamw")`, and see how much it
# loses.
#
# **What to keep.** A step needs a ruler. The Euclidean one follows the gradient, and its pace is set by the steepest
# direction. The maximum gives the sign, which is where Adam begins, and belongs where axes mean something. The spectral
# norm gives $U V^\top$, the sign of a matrix in its own axes, and five lines of products compute it. And whichever you
# choose, look for its rate anew.
#
# ## Exercises
#
# About 50 minutes. Each exercise is a cell to fill, and a check below it that says "right!", or "not yet" and why. The
# solutions, and how one gets there: [solutions/lesson_10.py](solutions/lesson_10.py).
#
# **Exercise 10.1.** A ruler of your own. The rows of an embedding are letters, so let the length of a step be the
# Euclidean length of its longest *row*. Write the best step of length one. A row without a gradient stays where it is.


# %%
def row_step(grad_VE):
    raise NotImplementedError


check(lesson_10.row_step, row_step)

# %% [markdown]
# **Exercise 10.2.** The gradients of a weight are pure noise: independent numbers with mean 0 and variance 1. What is
# the root mean square of their momentum, $m \leftarrow \beta m + (1 - \beta) g$, after many steps? (With 0.9 it is
# 0.229.)


# %%
def size_of_noise(beta):
    raise NotImplementedError


check(lesson_10.size_of_noise, size_of_noise)

# %% [markdown]
# **Exercise 10.3.** Sometimes a matrix must be orthogonal exactly. Write $U V^\top$ to three digits, for a matrix of
# any shape whose singular values are at least a hundredth of its Frobenius norm. Use nothing but products of matrices.


# %%
def orthogonal(grad_IO):
    raise NotImplementedError


check(lesson_10.orthogonal, orthogonal)

# %% [markdown]
# **Exercise 10.4.** Which factor gives $U V^\top$ of so many rows and columns a root mean square of `rms`?


# %%
def factor_of_shape(rows, columns, rms=0.2):
    raise NotImplementedError


check(lesson_10.factor_of_shape, factor_of_shape)

# %% [markdown]
# **Exercise 10.5.** Turn the second picture of the hills into a test. `rule(grad_IO)` is the step of some rule. Return
# `True` if it turns with the inputs: if $\mathrm{rule}(R G) = R\,\mathrm{rule}(G)$ for every turn $R$ of the inputs.


# %%
def turns_along(rule):
    raise NotImplementedError


check(lesson_10.turns_along, turns_along)

# %% [markdown]
# Next: [a recurrence in parallel](11_parallel.ipynb).
