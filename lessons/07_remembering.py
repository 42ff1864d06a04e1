# %% [markdown]
# # Lesson 7: Remembering
#
# A window forgets on schedule: after eight letters, exactly. A recurrent network reads one letter at a time and carries
# a state along, for as long as it likes. At the end you will know why the plain cell does not remember what it could,
# what gates change about that, and how to tell whether a network uses its memory at all. The lectures skip this
# chapter; it follows `RNNCell` and `GRUCell` in Karpathy's
# [makemore.py](https://github.com/karpathy/makemore/blob/master/makemore.py).
#
# **Time:** 60 minutes, and 40 for the exercises; the cells run in two minutes, the longest under a progress bar. **You
# need** [lesson 4](04_inside.ipynb), on gradients that fade, and [lesson 5](05_backprop.ipynb), for taps.

# %%
import math
import os
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import makemore_jax as mm
from makemore_jax.learning.training import init_state, steps_on
from makemore_jax.lessons.graders import lesson_7
from makemore_jax.lessons.grading import check
from makemore_jax.lessons.waiting import watch
from makemore_jax.models.likelihood import token_nll
from makemore_jax.models.rnn import Config, rnn
from makemore_jax.recipe import Recipe, optimizer_of

QUICK = "QUICK" in os.environ  # fewer steps, for the tests

corpus = mm.load()
V = corpus.vocab.size

# %% [markdown]
# ## One cell, again and again
#
# The whole idea is a function with two inputs. It takes the letter that is read now and the previous state, and makes
# the next state:
#
# $$h_t = \tanh(x_t W_x + h_{t-1} W_h + b).$$
#
# From the state a linear layer predicts the next letter. The parameters are the same at every step, so a line may be of
# any length.


# %%
def rnn_step(params, h_H, symbol):
    input_H = params["embed"][symbol] @ params["from_x"]["w"] + params["from_x"]["b"]
    return jnp.tanh(input_H + h_H @ params["from_h"])


plain = rnn(Config(V, "rnn", embed=16, hidden=32))
params = jax.jit(plain.init)(jax.random.key(0))
line = [0, *corpus.vocab.encode_line("charlotte")]

h_H = params["start"]["h"]
for symbol in line:
    h_H = rnn_step(params, h_H, symbol)
h_H.shape

# %% [markdown]
# The loop in Python is the definition. `jax.lax.scan` is the same loop as one program: a function from (state, input)
# to (state, output), and an array of inputs.


# %%
def run_through(params, x_T):
    def body(h_H, symbol):
        h_H = rnn_step(params, h_H, symbol)
        return h_H, h_H

    _, h_TH = jax.lax.scan(body, params["start"]["h"], x_T)
    return h_TH @ params["head"]["w"] + params["head"]["b"], h_TH


logits_TV, h_TH = jax.jit(run_through)(params, jnp.array(line))
np.testing.assert_allclose(h_TH[-1], h_H, atol=1e-6)

# %% [markdown]
# And it is the library's. Its `forward` takes the product with $W_x$ out of the loop, one matrix product for the whole
# line, because that part does not wait for the state; only the rest is sequential. The numbers agree.

# %%
library_logits_TV = plain.apply(params, jnp.array([line]))[0]
print(f"largest difference {jnp.abs(library_logits_TV - logits_TV).max():.1e}")
np.testing.assert_allclose(library_logits_TV, logits_TV, atol=1e-6)


# %% [markdown]
# ## Depth in time is depth
#
# Unroll the loop over 50 letters, and you look at a network of 50 layers that share one matrix. Lesson 4 spoke of what
# deep networks do to gradients when the weights are a little too small or too large, and how careful initialisation and
# BatchNorm keep the balance, layer by layer. Here the same matrix is applied every time. There is no second one to
# compensate.
#
# **Take a state 50 steps ago. If each step multiplies by a matrix of gain 0.9, what is left of its influence? And what
# if the gain is 1.1?**

# %%
print(f"0.9 ** 50 = {0.9**50:.4f}    1.1 ** 50 = {1.1**50:.1f}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# With 0.9, half a percent. With 1.1, its influence has grown more than a hundredfold.
#
# </details>
#
# Let us measure. We add a zero to the state at each step, as in lesson 5, and take the gradient of a number at the
# last step with respect to all those zeros: one call gives the gradient at every time. One `vmap` gives it for many
# gains of the matrix. The random inputs are the same for all.

# %%
# alt: Size of the gradient over steps back: straight lines by gain; with tanh none grows, and most fall.
T, H, GAINS = 50, 64, jnp.array([0.5, 0.8, 1.0, 1.2, 1.5])
draw = np.random.default_rng(0).standard_normal
w_HH, input_TH, direction_H = (jnp.float32(a) for a in (draw((H, H)) / H**0.5, 0.5 * draw((T, H)), draw(H) / H**0.5))


def at_the_end(taps_TH, gain, squash):
    def body(h_H, inputs):
        input_H, tap_H = inputs
        return squash(input_H + gain * h_H @ w_HH) + tap_H, None

    h_H, _ = jax.lax.scan(body, jnp.zeros(H), (input_TH, taps_TH))
    return direction_H @ h_H


def gradient_sizes(squash):
    grads_GTH = jax.vmap(jax.grad(lambda taps, gain: at_the_end(taps, gain, squash)), (None, 0))(
        jnp.zeros((T, H)), GAINS
    )
    return np.asarray(jnp.linalg.norm(grads_GTH, axis=-1))


linear_GT, tanh_GT = gradient_sizes(lambda x: x), gradient_sizes(jnp.tanh)
canvas = mm.plot.figure(10, 3.8)
for axes, size_GT, title in zip(
    canvas.subplots(1, 2, sharey=True), (linear_GT, tanh_GT), ("linear", "tanh"), strict=True
):
    for gain, size_T in zip(GAINS, size_GT, strict=True):
        axes.semilogy(np.arange(T)[::-1], size_T, label=f"gain {gain:.1f}")
    axes.set(xlabel="steps back", title=title)
    axes.grid(alpha=0.2)
canvas.axes[0].set(ylabel="size of the gradient", ylim=(1e-12, 1e10))
canvas.axes[1].legend(frameon=False, loc="upper right", ncols=2)
canvas

# %%
steps_back = 40
shrunk = dict(zip([f"{gain:.1f}" for gain in GAINS], tanh_GT[:, T - 1 - steps_back] / tanh_GT[:, -1], strict=True))
print({gain: f"{ratio:.0e}" for gain, ratio in shrunk.items()})
assert shrunk["0.5"] < 1e-9 < 1 < linear_GT[-1, T - 1 - steps_back]

# %% [markdown]
# Straight lines on a logarithmic axis: a power of the gain. Below 1 the gradient **vanishes**, above 1 it **explodes**,
# and only a knife's edge lies between them. The tanh tames explosions, because a saturated unit passes nothing; for the
# same reason it makes small gradients smaller.
#
# An explosion is loud: the loss becomes nan. The remedy is crude and works: if the gradient is too long, shorten it
# (exercise 7.2). A vanishing gradient is silent. The network trains, the loss falls, and it learns only what the last
# few letters can teach.
#
# ## A test of memory
#
# Names are short, and a letter 20 steps back does not matter to them. So here is a task in which nothing else matters:
# a line of 20 random letters, and at its end the question *what was the first one?* Eight letters are possible, so a
# guess costs $\ln 8$.
#
# The cells are the library's `rnn`, `gru` and `lstm`: the cell above, and two cells with gates, which the next section
# explains. All have the same width, each with three seeds. The seeds are a `vmap` over the state of the run. The LSTM
# takes part twice: its forget gate has a bias that says how much it remembers before it has learned anything, and we
# try 1, which is the library's choice and the usual one, and 3.
#
# **Which of them will answer? And does the bias matter, although training can change it?**

# %%
# alt: Loss over 600 steps: rnn stays at a guess, gru and the lstm with bias 3 fall to 0, the plain lstm is spread wide.
LAG, LETTERS, STEPS = 20, 8, 10 if QUICK else 600
recipe = Recipe(steps=STEPS, learning_rate=1e-2, warmup=20, weight_decay=0.0)


def lines(key, count):
    return jax.random.randint(key, (count, LAG), 1, LETTERS + 1)


def recall_loss(model):
    def loss(params, data, hyper, key):
        x_BT = lines(key, 32)
        return token_nll(model.apply(params, x_BT), jnp.broadcast_to(x_BT[:, :1], x_BT.shape))[:, -1].mean()

    return loss


def first_symbols(params_S, model, x_BT):
    """(S, B) what each seed answers."""
    return jax.vmap(lambda params: model.apply(params, x_BT)[:, -1].argmax(-1))(params_S)


def seeds(model):
    """The states of three runs before their first step, stacked."""

    def state(seed):
        params, key = model.init(jax.random.key(seed)), jax.random.key(100 + seed)
        return init_state(params, key, recipe.hyper, optimizer_of(recipe))

    return jax.jit(jax.vmap(state))(jnp.arange(3))


def remember_more(model):
    """The same LSTM with a bias of 3 at the forget gate: the library's init has 1 there, and 0 elsewhere."""

    def init(key):
        params = model.init(key)
        return params | {"from_x": params["from_x"] | {"b": 3 * params["from_x"]["b"]}}

    return model._replace(init=init)


models = {
    cell: rnn(Config(LETTERS + 1, cell, embed=16, hidden=32))
    for cell in (("lstm",) if QUICK else ("rnn", "gru", "lstm"))
}
models["lstm, bias 3"] = remember_more(models["lstm"])
test_BT = lines(jax.random.key(1), 1000)
curves, recalled, before, after = {}, {}, {}, {}
for cell, model in watch(models.items()):
    states, steps = seeds(model), steps_on((), recall_loss(model), optimizer_of(recipe))
    before[cell] = jax.tree.map(lambda leaf: leaf[0], jax.device_get(states.params))
    states, loss_SN = jax.vmap(lambda state, steps=steps: steps(state, STEPS))(states)
    after[cell] = jax.tree.map(lambda leaf: leaf[0], jax.device_get(states.params))
    curves[cell] = np.arange(10, STEPS + 1, 10), np.asarray(loss_SN).reshape(3, -1, 10).mean(-1)
    recalled[cell] = np.asarray((first_symbols(states.params, model, test_BT) == test_BT[:, 0]).mean(1))
    print(
        f"{cell:13} loss {curves[cell][1][:, -1].mean():.3f}   right: {', '.join(f'{r:.1%}' for r in recalled[cell])}"
    )
if not QUICK:
    assert recalled["rnn"].max() < 0.3
    assert min(recalled["gru"].min(), recalled["lstm, bias 3"].min()) > 0.99
    assert recalled["lstm"].min() < 0.9
mm.plot.bands(curves, {"a guess among eight": math.log(LETTERS)})

# %% [markdown]
# <details><summary>Answer</summary>
#
# The plain cell guesses, and never does better. It is not too small: with 32 numbers it *could* hold a letter for as
# long as it likes. It does not *learn* to. The GRU learns it, whatever the seed. And the LSTM, the champion of memory,
# depends on luck, unless one number is set with some thought.
#
# </details>
#
# ## What a gate does
#
# A gated recurrent unit makes a proposal $n$ for its new state, and an update gate $z$, a number between 0 and 1 for
# each unit (exercise 7.1 has all its equations). Its last line is
#
# $$h' = (1 - z) \odot h + z \odot n.$$
#
# Where $z$ is near 0, the new state *is* the old one: not a squashed product of it, but the old one itself. The
# derivative along that path is $1 - z$, near 1, and so is its 20th power. It is the residual connection of lesson 6,
# laid along time; and the network decides, letter by letter, whether to use it.
#
# In the LSTM the path is $c' = f \odot c + i \odot g$, with a forget gate $f$. Its bias is what decided above:

# %%
for bias in (0, 1, 3):
    forget = 1 / (1 + math.exp(-bias))
    print(f"forget bias {bias}: the gate stands at {forget:.2f}; after {LAG} letters {forget**LAG:.0e} is left")

# %% [markdown]
# A signal of a thousandth can be found, with luck and patience; one of a third cannot be missed. Gers, Schmidhuber and
# Cummins (2000) proposed the bias for this reason.
#
# Now measure that path: how far do the logits at the end of a line move with the embedding of a letter k steps back,
# before training on the memory task and after?


# %%
# alt: Influence over steps back, before and after training: afterwards the gru and lstm keep it, the rnn does not.
def influence_by_lag(params, model, x_T):
    """(T,) the size of the Jacobian of the last logits by the embedding of the letter k steps back."""

    def last_logits(rows_TE):
        rows = jnp.concatenate([params["embed"][:1], rows_TE])  # a row for each position, after the mark's
        return model.apply(params | {"embed": rows}, 1 + jnp.arange(len(x_T))[None])[0, -1]

    return jnp.linalg.norm(jax.jacrev(last_logits)(params["embed"][x_T]), axis=(0, 2))[::-1]


@partial(jax.jit, static_argnames="model")
def mean_influence(params, model, x_BT):
    return jax.vmap(lambda x_T: influence_by_lag(params, model, x_T))(x_BT).mean(0)


canvas = mm.plot.figure(10, 3.8)
left = {}
for axes, (title, of_cell) in zip(
    canvas.subplots(1, 2, sharey=True), {"before": before, "after": after}.items(), strict=True
):
    for cell, model in models.items():
        size_T = np.asarray(mean_influence(of_cell[cell], model, test_BT[:64]))
        left[title, cell] = size_T[-1] / size_T[0]
        axes.semilogy(size_T, label=f"{cell}: oldest / newest letter = {left[title, cell]:.1g}")
    axes.set(xlabel="steps back", title=f"{title} training", xticks=range(0, LAG, 5))
    axes.grid(alpha=0.2)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
canvas.axes[0].set(ylabel="size of the Jacobian")
if not QUICK:
    assert left["after", "gru"] > 0.1 > 0.01 > left["after", "rnn"]
canvas

# %% [markdown]
# **Before training, the influence of old letters fades in the GRU as fast as in the plain cell. Why can the GRU learn,
# and the plain cell not?**
#
# <details><summary>Answer</summary>
#
# Because it has a knob. With a little less $z$, more of the old state survives; that makes the gradient larger, and a
# larger gradient turns the knob further. The path builds itself, and at the end the first letter counts more than the
# last. The plain cell would have to change a whole matrix, and keep it on the knife's edge. After the same training
# its influence fades as fast as before.
#
# </details>
#
# ## Back to names
#
# How much does all this matter for names? Train the three on the same lines, each with its own recipe, for as
# many steps.

# %%
sizes = {"embed": 24, "hidden": 64, "steps": 10 if QUICK else 1000}
dev = {"n-gram with back-off": mm.evaluate(mm.count(corpus, order=2 if QUICK else 5), corpus.tokens.dev).nats}
for cell in ("gru",) if QUICK else ("rnn", "gru", "lstm"):
    trained = mm.train(jax.random.key(0), cell, corpus, **sizes)
    dev[cell] = mm.evaluate(trained, corpus.tokens.dev).nats
    if cell == "gru":
        gru = trained
for name, nats in dev.items():
    print(f"{name:22}{nats:.4f}")
if not QUICK:
    assert dev["gru"] < dev["rnn"]

# %% [markdown]
# The differences are small: a name is short, and its last letters say most of what there is to say. (In the full
# comparison, with larger networks and longer training, they are further apart, and the LSTM is the best model of all.)
# The counting model in the first line is not a network at all. Lesson 9 comes back to it.
#
# What does a trained GRU do? Here it reads *charlotte*, time from left to right, one row per unit. In the update gate,
# blue means write, and white means keep.

# %%
# alt: The state and both gates of the GRU's units, letter by letter, as it reads charlotte.
mm.plot.traces(mm.activations(gru, "charlotte"))

# %% [markdown]
# Many units keep their colour over several letters; some flip at every one. The mark in the first column resets all of
# them: lines lie end to end in the batches, and a state must not leak from one name into the next.
#
# ## Two forms, one function
#
# For training, a recurrent network reads a whole line in one `scan`. For sampling it makes one step at a time, and the
# state is all that it keeps. Both are the same function; the library asks that of every model, and tests it. Here it is
# in three lines.


# %%
def by_steps(model, params, x_BT):
    def body(cache, x_B):
        logits_BV, cache = model.step(params, cache, x_B)
        return cache, logits_BV

    return jnp.swapaxes(jax.lax.scan(body, model.init_cache(params, len(x_BT)), x_BT.T)[1], 0, 1)


x_BT = jnp.array([line, [0, *corpus.vocab.encode_line("christine")]])
difference = jnp.abs(
    jax.jit(by_steps, static_argnums=0)(gru.model, gru.params, x_BT) - gru.model.apply(gru.params, x_BT)
)
cache = gru.model.init_cache(gru.params, 1)
print(f"largest difference {difference.max():.1e}; remembered per line: {cache['h'].size} numbers, however long it is")
assert difference.max() < 1e-5

# %%
mm.sample(jax.random.key(4), gru, 8)

# %% [markdown]
# ## Does it use its memory at all?
#
# makemore.py once had a bug: the loop over time passed the *start* state to the cell at every step, not the state of
# the step before. The model trained, its loss fell, it made names. It was fixed by someone who had compared it with the
# bigram ([makemore, pull request 3](https://github.com/karpathy/makemore/pull/3)).
#
# **How would you catch this without training anything?**


# %%
# alt: Two Jacobians: the proper network has a lower triangle, the one with the bug only the diagonal.
def forgetful(params, x_TE):
    """The bug: every step starts from the start state."""
    step = lambda x_E: jnp.tanh(
        x_E @ params["from_x"]["w"] + params["from_x"]["b"] + params["start"]["h"] @ params["from_h"]
    )
    return jax.vmap(step)(x_TE) @ params["head"]["w"] + params["head"]["b"]


def proper(params, x_TE):
    rows = params | {"embed": x_TE}
    return run_through(rows, jnp.arange(len(x_TE)))[0]


x_TE = params["embed"][jnp.array(line)]
canvas = mm.plot.figure(8, 3.8)
for axes, (title, network) in zip(canvas.subplots(1, 2), [("proper", proper), ("the bug", forgetful)], strict=True):
    size_TT = jnp.linalg.norm(jax.jacrev(lambda x_TE, f=network: f(params, x_TE))(x_TE), axis=(1, 3))
    log_TT = np.where(size_TT > 0, np.log10(np.maximum(size_TT, 1e-30)), np.nan)
    axes.imshow(log_TT, cmap="Blues", vmin=np.nanmin(log_TT) - 1)
    axes.set_xticks(range(len(line)), ".charlotte")
    axes.set_yticks(range(len(line)), ".charlotte")
    axes.set(title=title, xlabel="embedding at", ylabel="logits at")
canvas

# %% [markdown]
# <details><summary>Answer</summary>
#
# By its Jacobian. The proper network has a lower triangle: each prediction depends on everything before it. The buggy
# one has a diagonal, and a diagonal is a bigram. (The colours are logarithmic; white is exactly zero.)
#
# </details>
#
# **What to keep.** A state makes depth out of time, and depth makes gradients vanish or explode. Gates open a path
# along which they pass. But the whole past still has to fit into one vector, and every letter has to travel every step
# of the way. What if the network could just look back?
#
# ## Exercises
#
# About 40 minutes. Each exercise is a cell to fill, and a check below it that says "right!", or "not yet" and why. The
# solutions, and how one gets there: [solutions/lesson_7.py](solutions/lesson_7.py).
#
# **Exercise 7.1.** Write the step of a gated recurrent unit (Cho et al. 2014, arXiv:1409.1259). With `u = [x, h]`, the
# concatenation, and $\sigma$ the sigmoid,
#
# $$r = \sigma(u W_r + b_r), \quad z = \sigma(u W_z + b_z), \quad n = \tanh([x, r \odot h] W_n + b_n), \quad
#   h' = (1 - z) \odot h + z \odot n.$$


# %%
def gru_step(params, h_H, x_E):
    """`params` has `Wr`, `Wz`, `Wn` of shape (E + H, H), and `br`, `bz`, `bn` of shape (H,)."""
    raise NotImplementedError


check(lesson_7.gru_step, gru_step)

# %% [markdown]
# **Exercise 7.2.** Write the remedy for gradients that explode: scale a pytree of gradients so that its global norm,
# over all leaves together, is at most `limit`. The direction must not change, and short gradients stay as they are.


# %%
def clip(grads, limit):
    raise NotImplementedError


check(lesson_7.clip, clip)

# %% [markdown]
# **Exercise 7.3.** A unit's update gate stands at $z$ all the time, and nothing new comes in. After how many steps has
# its memory faded to a half?


# %%
def half_life(z):
    raise NotImplementedError


check(lesson_7.half_life, half_life)

# %% [markdown]
# **Exercise 7.4.** Turn the last picture, of the bug in makemore.py, into a test. `logits_of(x_TE)` gives (T, V)
# logits for (T, E) embeddings. Return `True` if no prediction depends on any *earlier* position.


# %%
def ignores_the_past(logits_of, x_TE):
    raise NotImplementedError


check(lesson_7.ignores_the_past, ignores_the_past)

# %% [markdown]
# Next: [looking back](08_attention.ipynb).
