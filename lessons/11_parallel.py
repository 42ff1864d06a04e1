# %% [markdown]
# # Lesson 11: A recurrence in parallel
#
# Lesson 7 carried a state and had to read letter by letter. Lesson 8 read all letters at once and carried no state. Can
# one have both? At the end you will know which recurrences compute all their steps together, how they do it and what it
# costs, and what a network gives up for it. The lectures have no such chapter; it follows Blelloch's scan
# ([1990](https://www.cs.cmu.edu/~guyb/papers/Ble93.pdf)) and Hawk (De et al. 2024, arXiv:2402.19427).
#
# **Time:** 60 minutes, and 50 for the exercises; the cells run in two minutes, the longest under a progress bar. **You
# need** [lesson 7](07_remembering.ipynb), for states and gates, and the tree of [lesson 6](06_tree.ipynb).

# %%
import math
import os
import time
from collections import Counter
from functools import partial
from itertools import accumulate

import jax
import jax.numpy as jnp
import numpy as np

import makemore_jax as mm
from makemore_jax.analysis import sources
from makemore_jax.learning.training import init_state, steps_on
from makemore_jax.lessons.graders import lesson_11
from makemore_jax.lessons.grading import check
from makemore_jax.lessons.waiting import watch
from makemore_jax.models import hawk, rnn
from makemore_jax.models.interface import num_params
from makemore_jax.models.likelihood import mean_nll
from makemore_jax.recipe import Recipe, optimizer_of

QUICK = "QUICK" in os.environ  # fewer steps, for the tests

corpus = mm.load()
V = corpus.vocab.size

# %% [markdown]
# ## A step is a map
#
# Take the simplest recurrence that remembers anything, for one unit:
#
# $$h_t = a_t h_{t-1} + b_t.$$
#
# The numbers $a_t$ and $b_t$ may depend on the inputs in any way you like. They must not depend on the state.
#
# **Every state waits for the state before it. Can anything about step 8 be computed before step 7 is known?**


# %%
def compose(first, then):
    """The map h -> a h + b, followed by another one: both are pairs (a, b), and so is the result."""
    (a, b), (c, d) = first, then
    return c * a, c * b + d  # c (a h + b) + d


def matrix(step):
    return np.array([[step[0], step[1]], [0, 1]])


step_1, step_2, step_3 = (2, 3), (-1, 5), (4, 1)
both = compose(step_1, step_2)
print(f"first h -> 2 h + 3, then h -> -1 h + 5: together h -> {both[0]} h + {both[1]}")
assert (matrix(both) == matrix(step_2) @ matrix(step_1)).all()
assert compose(compose(step_1, step_2), step_3) == compose(step_1, compose(step_2, step_3))
assert compose(step_1, step_2) != compose(step_2, step_1)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Not the state, but what will be done to it. A step is a map, and the map is known as soon as the input is. Two maps one
# after the other are again such a map, again two numbers. So somebody may compose steps 5 to 8 into one while the first
# four are still being worked on.
#
# </details>
#
# A step is also a matrix, and "first this, then that" is a product, written from right to left:
#
# $$\begin{pmatrix} h_t \\ 1 \end{pmatrix} = \begin{pmatrix} a_t & b_t \\ 0 & 1 \end{pmatrix}
#   \begin{pmatrix} h_{t-1} \\ 1 \end{pmatrix}, \qquad
#   \begin{pmatrix} c & d \\ 0 & 1 \end{pmatrix} \begin{pmatrix} a & b \\ 0 & 1 \end{pmatrix}
#   = \begin{pmatrix} ca & cb + d \\ 0 & 1 \end{pmatrix}.$$
#
# Products of matrices are **associative**: it does not matter where the brackets stand. The order of the steps does
# matter, as the last line of the cell says. Associative is all that we need.
#
# ## A tree of steps
#
# We want every state, so we want the product of the first step, of the first two, of the first three, and so on: all
# **prefixes**. Here is a recursion that finds them. Join the steps in pairs, and solve the problem of half the length.
# That gives each second prefix. The others are one step longer than a prefix that is known by then.


# %%
def scan(combine, x):
    """All prefixes of x, a pytree of arrays whose first axis is time."""
    steps = len(jax.tree.leaves(x)[0])
    if steps == 1:
        return x
    cut = lambda tree, *where: jax.tree.map(lambda leaf: leaf[slice(*where)], tree)
    pairs = combine(cut(x, 0, steps - 1, 2), cut(x, 1, None, 2))
    second = scan(combine, pairs)  # the prefixes that end with a pair
    others = combine(cut(second, 0, (steps - 1) // 2), cut(x, 2, None, 2))  # a step more
    return jax.tree.map(lambda x, s, o: x.at[1::2].set(s).at[2::2].set(o), x, second, others)


# %% [markdown]
# **One after the other, 8 steps take 7 compositions in 7 rounds. What does the recursion take?** A round is whatever can
# be done at the same time.
#
# The scan can tell us by itself, because it does not care what it combines. Give it ranges instead of numbers: steps
# `first` to `last`, and the round in which their product is ready.

# %%
# alt: Eight steps: on the left a staircase of 7 rounds; on the right a tree that has all prefixes after 4.
made = []


def watched(first, then):
    """Join two ranges, (first step, last step, round in which it is ready), and note what was joined."""
    (start, middle, early), (after, end, late) = first, then
    assert (after == middle + 1).all()  # neighbours, in their order
    ready = 1 + jnp.maximum(early, late)
    made.extend(zip(*(np.ravel(v).tolist() for v in (start, middle, early, after, end, late, ready)), strict=True))
    return start, end, ready


def rounds(how, steps):
    """What is made in each round: {round: number of compositions}."""
    made.clear()
    how(watched, (jnp.arange(steps), jnp.arange(steps), jnp.zeros(steps, int)))
    return Counter(ready for *_, ready in made)


def one_by_one(combine, x):
    return list(accumulate(zip(*x, strict=True), combine))


canvas = mm.plot.figure(10, 4)
for axes, (title, how) in zip(
    canvas.subplots(1, 2, sharey=True), {"one after the other": one_by_one, "as a tree": scan}.items(), strict=True
):
    of_round = rounds(how, 8)
    for _, middle, early, _, end, late, ready in made:
        axes.plot([middle, end], [early, ready], color="#6baed6", zorder=1)
        axes.plot([end, end], [late, ready], color="#6baed6", zorder=1)
    nodes = [(step, step, 0) for step in range(8)] + [(start, end, ready) for start, *_, end, _, ready in made]
    for start, end, ready in nodes:
        done = start == 0
        axes.scatter(end, ready, s=500, color="#08519c" if done else "white", edgecolor="#08519c", zorder=2)
        name = f"{start + 1}" if start == end else f"{start + 1}–{end + 1}"
        axes.text(end, ready, name, ha="center", va="center", fontsize=8, color="white" if done else "black")
    axes.set(title=f"{title}: {max(of_round)} rounds, {len(made)} compositions", xticks=[], ylim=(-0.6, 7.6))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
canvas.axes[0].set(ylabel="round")
canvas

# %% [markdown]
# <details><summary>Answer</summary>
#
# Four rounds and eleven compositions. Dark nodes are prefixes, which is what we want; white ones are products on the
# way. The tree does more work than the staircase, and is ready sooner.
#
# </details>
#
# Eight steps are a toy. How do the two numbers grow?

# %%
print(f"{'steps':>6}{'rounds':>20}{'compositions':>18}{'as a tree':>12}{'and':>7}")
for steps in (8, 64, 512):
    of_round = rounds(scan, steps)
    log, work = int(math.log2(steps)), sum(of_round.values())
    print(f"{steps:6}{steps - 1:20}{steps - 1:18}{max(of_round):12}{work:7}")
    assert max(of_round) == 2 * log - 2
    assert work == 2 * steps - log - 2
assert rounds(scan, 64) == rounds(jax.lax.associative_scan, 64)

# %% [markdown]
# The rounds grow with the logarithm, and the work is about twice as much. The last line asserts that JAX's own
# `jax.lax.associative_scan` builds the same tree. It belongs to Blelloch (1990).
#
# Now with numbers. The state before the first step is 0, so the state after a step is the $b$ of its prefix.


# %%
def by_loop(a_T, b_T):
    """The definition, one step after the other."""

    def body(h, step):
        h = step[0] * h + step[1]
        return h, h

    return jax.lax.scan(body, jnp.zeros_like(b_T[0]), (a_T, b_T))[1]


def by_tree(a_T, b_T):
    return jax.lax.associative_scan(compose, (a_T, b_T))[1]


def draw(*shape):
    random = np.random.default_rng(0)
    return jnp.float32(random.uniform(0.5, 1, shape)), jnp.float32(random.normal(size=shape))


for steps in (1, 2, 7, 100):
    a_T, b_T = draw(steps)
    ours_T = jax.jit(partial(scan, compose))((a_T, b_T))[1]
    for other in (by_loop, by_tree):
        np.testing.assert_allclose(ours_T, jax.jit(other)(a_T, b_T), rtol=1e-4, atol=1e-5)
print(f"after {steps} steps the loop says {by_loop(a_T, b_T)[-1]:.6f}, and the tree {ours_T[-1]:.6f}")

# %% [markdown]
# ## Fewer rounds, more work
#
# **For 4,096 steps the tree takes 22 rounds and the loop 4,095. How much faster is the tree on this machine?** It is a
# question for a clock. The two take turns, and the quickest of several turns counts, since other programs run here as
# well.


# %%
def ratio(one, other, *args, turns=5):
    """How many times as long the first takes as the second."""
    quickest = {}
    for call in (one, other):
        jax.block_until_ready(call(*args))  # compiled before the clock runs
    for call in (one, other) * turns:
        began = time.perf_counter()
        for _ in range(20):
            made = call(*args)
        jax.block_until_ready(made)
        quickest[call] = min(time.perf_counter() - began, quickest.get(call, math.inf))
    return quickest[one] / quickest[other]


for steps in (64, 512) if QUICK else (64, 512, 4096):
    times = ratio(jax.jit(by_loop), jax.jit(by_tree), *draw(steps, 16))
    print(f"{steps:5} steps of 16 units: the loop takes {times:.2g} times as long as the tree")

# %% [markdown]
# <details><summary>Answer</summary>
#
# On the two cores that this page was built on it is *slower*. Two cores pay for work, and the tree has twice as much of
# it, in 22 pieces which all go through memory. The loop is compiled, too, and its state never leaves the processor.
#
# </details>
#
# So when does the tree pay? Count. A machine with $p$ lanes does $p$ multiplications at a time. In a step of the loop
# there are as many as there are units, and lanes beyond those stand idle.

# %%
steps, units = 512, 64
of_round = rounds(scan, steps)
print(f"{steps} steps of {units} units")
for lanes in (1, 64, 1024, 16_384):
    loop = steps * math.ceil(units / lanes)
    tree = sum(math.ceil(count * units / lanes) for count in of_round.values())
    print(f"{lanes:6,} lanes: loop {loop:6,} rounds, tree {tree:6,}   ratio {loop / tree:.2f}")

# %% [markdown]
# A processor with few lanes pays for work, and one with thousands, such as a GPU, pays for rounds. **Depth is what the
# tree saves, and depth costs only those who have lanes to spare.**
#
# ## What cannot be composed
#
# **Why not do this with lesson 7's cell, $h_t = \tanh(w h_{t-1} + u_t)$?** It is one line to try. Nobody stops us.

# %%
w, u_T = 0.9, draw(100)[1]
step = lambda h, u: jnp.tanh(w * h + u)
truth_T = jax.lax.scan(lambda h, u: (step(h, u),) * 2, jnp.float32(0), u_T)[1]
wrong_T = jax.jit(partial(jax.lax.associative_scan, step))(u_T)
print(f"the states lie between -1 and 1, and the scan is off by up to {jnp.abs(wrong_T - truth_T).max():.2f}")
assert jnp.abs(wrong_T - truth_T).max() > 0.5

# %% [markdown]
# <details><summary>Answer</summary>
#
# Because the function is not associative, and JAX does not check that. It joins $u_3$ and $u_4$ as if $u_3$ were a state.
# Two steps of tanh are not a step of tanh: one reaches from -1 to 1, and two in a row from $\tanh(u - w)$ to
# $\tanh(u + w)$. To describe two steps one needs both of their numbers, to describe a hundred all hundred. A line of
# length 100 through 100 kinks saves nothing.
#
# </details>
#
# A GRU is no better: its gates read the state, so $a_t$ isn't known before $h_{t-1}$. What can be scanned? Anything
# associative whose products stay small: sums, maxima, matrices, our lines $ah + b$, and the tables of a finite automaton
# (exercise 11.3). For tanh there is a way round, by Newton (exercise 11.5).
#
# ## Hawk: gates that do not look at the state
#
# So let the gates read the input alone. The recurrent unit of Hawk, the RG-LRU, has an input $u_t$ for each unit, two
# gates and a rate $s$ that is learned:
#
# $$r_t = \sigma(u_t W_r + c_r), \quad i_t = \sigma(u_t W_i + c_i), \quad a_t = e^{-8\, \mathrm{softplus}(s)\, r_t}, \quad
#   h_t = a_t h_{t-1} + \sqrt{1 - a_t^2}\; i_t u_t.$$
#
# It is our recurrence. The gate $i$ decides what comes in, and $r$ how fast to forget; $a$ lies between 0 and 1.


# %%
def rg_lru(block, u_TH, mark_T):
    """(T, H) the states of a line; `mark_T` says where a new line begins."""
    gates = jax.nn.sigmoid(u_TH @ block["gates"]["w"] + block["gates"]["b"])
    r_TH, i_TH = jnp.split(gates, 2, axis=-1)
    a_TH = jnp.exp(-8 * jax.nn.softplus(block["decay"]["b"]) * r_TH)
    a_TH = jnp.where(mark_T[:, None], 0, a_TH)
    return scan(compose, (a_TH, jnp.sqrt(1 - a_TH**2) * i_TH * u_TH))[1]


model = hawk.hawk(hawk.Config(V, layers=1, embed=24, hidden=64))
params = jax.jit(model.init)(jax.random.key(0))
u_TH, mark_T = draw(20, 64)[1], jnp.arange(20) % 10 == 0
h_TH = jax.jit(rg_lru)(params["blocks"][0], u_TH, mark_T)
a_TH, b_TH, *_ = jax.jit(hawk.coefficients)(params["blocks"][0], u_TH, mark_T)
np.testing.assert_allclose(h_TH, by_loop(a_TH, b_TH), atol=1e-5)

# %% [markdown]
# And it is the library's, in `makemore_jax/models/hawk.py`. Around it stands a block as in lesson 8, with residuals and
# an MLP, and before it a convolution over four letters makes $u$. All of these look at the line, not at the state, so they
# are computed for the whole line at once; the scan is the last thing.
#
# **Where does the root come from? A GRU weighs the old state with $1 - z$ and the new one with $z$. Why not $a$ and
# $1 - a$ here?** Feed units of different $a$ with noise of deviation 1, and look how loud they get.

# %%
a_H = jnp.array([0.5, 0.9, 0.99, 0.999])
noise_TH = jnp.float32(np.random.default_rng(1).normal(size=(2_000 if QUICK else 200_000, 4)))
print("deviation of the state    a =", "".join(f"{a:8.3f}" for a in a_H))
for name, weight_H in {"1": jnp.ones(4), "1 - a": 1 - a_H, "sqrt(1 - a^2)": jnp.sqrt(1 - a_H**2)}.items():
    deviation_H = by_loop(jnp.broadcast_to(a_H, noise_TH.shape), weight_H * noise_TH).std(0)
    print(f"new weighed with {name:13}", "".join(f"{deviation:8.3f}" for deviation in deviation_H))
    if not QUICK:
        np.testing.assert_allclose(deviation_H, weight_H / jnp.sqrt(1 - a_H**2), rtol=0.1)

# %% [markdown]
# <details><summary>Answer</summary>
#
# A unit of $a = 0.999$ adds up about a thousand inputs. With weight 1 it shouts, and with $1 - a$ it whispers: it
# averages the noise away. With the root all units are equally loud, whatever they remember, because variances add:
# $v = a^2 v + (1 - a^2)$ has the solution $v = 1$.
#
# </details>
#
# The root has a price. At $a = 1$ its slope is infinite, so the library bounds it below.
#
# ## A mark is a zero
#
# In training, names lie end to end in a row, and nothing may leak from one into the next. Lesson 7's loop put the start
# state back at each mark.
#
# **How does one put a state back in a tree, where nobody has a state?**

# %%
changed_TH = u_TH.at[:10].add(1)  # the first of two lines of ten
lines = jax.jit(rg_lru)
for name, marks_T in {"a = 0 at a mark": mark_T, "marks ignored": jnp.zeros(20, bool)}.items():
    leak_T = jnp.abs(lines(params["blocks"][0], changed_TH, marks_T) - lines(params["blocks"][0], u_TH, marks_T)).max(1)
    print(f"{name:16} the second line moves by up to {leak_T[10:].max():.3f}, the first by {leak_T[:10].max():.3f}")
    assert (leak_T[10:].max() == 0) == (name == "a = 0 at a mark")

# %% [markdown]
# <details><summary>Answer</summary>
#
# By a zero. The map $h \mapsto 0 h + b$ forgets whatever it is given. A product that contains it contains a zero, so each
# node of the tree that spans a mark forgets as well. It takes no `if` and no second pass, and not a bit gets through.
#
# </details>
#
# ## Two forms, one function
#
# For training: all steps at once. For sampling: one step, from a state of fixed size, as in lesson 7. They must be one
# function, and the library tests that of every model. We ask it of a row of 256 tokens, with names end to end.


# %%
@partial(jax.jit, static_argnums=0)
def by_steps(model, params, x_BT):
    def body(cache, x_B):
        logits_BV, cache = model.step(params, cache, x_B)
        return cache, logits_BV

    return jnp.swapaxes(jax.lax.scan(body, model.init_cache(params, len(x_BT)), x_BT.T)[1], 0, 1)


at_once = jax.jit(lambda model, params, x_BT: model.apply(params, x_BT), static_argnums=0)
row_BT = jnp.array(corpus.tokens.dev.stream_M[None, :256])
difference = jnp.abs(by_steps(model, params, row_BT) - at_once(model, params, row_BT)).max()
cached = sum(leaf.size for leaf in jax.tree.leaves(model.init_cache(params, 1)))
print(f"{(row_BT == 0).sum()} names, largest difference {difference:.1e}; remembered per line: {cached} numbers")
print(f"step by step takes {ratio(partial(by_steps, model), partial(at_once, model), params, row_BT):.2g} times as long")
assert difference < 1e-5

# %% [markdown]
# Here the parallel form is the faster one, on two cores as well. The gain is not the tree's. It comes from the matrix
# products: for the whole line each is one large product, where the steps read the same matrices again and again.

# %% [markdown]
# ## What does the gate give up?
#
# A GRU's gate sees the state: it can open because of what it remembers. Hawk's gate sees the last four letters. What can
# the one do that the other can't? Names will not tell, since lines are short and nobody knows their floor. So we take
# lesson 9's sources, whose entropy is known: balanced brackets, where one must know what is open, and a word that is
# written twice, where one must know all of it. And a third kind of line, as simple as can be: random bits, and after each
# the question whether the number of ones so far is even or odd.
#
# All lines are written as two arrays of one shape: what is read, and what comes next, or -1 where nothing is asked. XLA
# then compiles each network once for all of them.

# %%
T, LINES, HELD_OUT = 16, 100 if QUICK else 10_000, 50 if QUICK else 2000
copy, brackets = sources.copy(longest=T // 2 - 1), sources.brackets(context=T)
print("  ".join(sources.write(jax.random.key(0), brackets, 5)))
print("  ".join(sources.write(jax.random.key(0), copy, 5)))


def as_rows(vocab, lines):
    """x and y, (N, T): marks and symbols, and what comes after each."""
    x_NT, y_NT = np.zeros((len(lines), T), np.int32), np.full((len(lines), T), -1, np.int32)
    for x_T, y_T, line in zip(x_NT, y_NT, lines, strict=True):
        tokens = [0, *vocab.encode_line(line), 0]
        x_T[: len(tokens) - 1], y_T[: len(tokens) - 1] = tokens[:-1], tokens[1:]
    return jnp.array(x_NT), jnp.array(y_NT)


def of_source(source):
    return as_rows(source.vocab, sources.write(jax.random.key(1), source, LINES + HELD_OUT))


def odd_or_even(seed, lines, steps):
    """Bits, written as the symbols 1 and 2, and after each of them 1 for even or 2 for odd."""
    bit_NT = np.random.default_rng(seed).integers(0, 2, (lines, steps))
    bit_NT[:, 0] = -1  # the mark
    odd_NT = np.cumsum(bit_NT == 1, axis=1) % 2
    return jnp.int32(bit_NT + 1), jnp.int32(np.where(bit_NT < 0, -1, odd_NT + 1))


tasks = {
    "names": as_rows(corpus.vocab, np.random.default_rng(0).permutation(corpus.lines.train)[: LINES + HELD_OUT]),
    "brackets": of_source(brackets),
    "copy": of_source(copy),
    "odd or even": odd_or_even(0, LINES + HELD_OUT, T),
}
train = {name: tuple(part[:LINES] for part in data) for name, data in tasks.items()}
held_out = {name: tuple(part[LINES:] for part in data) for name, data in tasks.items()}

# %% [markdown]
# One recurrence against one recurrence: a Hawk of one block, and a GRU with as many parameters. Both get the same lines,
# the same recipe and two seeds.
#
# **Take bets: for each of the three kinds of lines, who comes nearer to the floor?**

# %%
STEPS, SEEDS = 5 if QUICK else 600, 2
recipe = Recipe(steps=STEPS, learning_rate=1e-2, warmup=STEPS // 10)


@partial(jax.jit, static_argnums=0)
def nats(model, params, x_NT, y_NT):
    return mean_nll(model.apply(params, x_NT), jnp.maximum(y_NT, 0), y_NT >= 0)


def loss_of(model):
    def loss(params, data, hyper, key):
        rows_B = jax.random.randint(key, (64,), 0, len(data[0]))
        return nats(model, params, *(part[rows_B] for part in data))

    return loss


def first_states(model):
    """The states of all runs before their first step, stacked."""

    def state(seed):
        params, key = model.init(jax.random.key(seed)), jax.random.key(100 + seed)
        return init_state(params, key, recipe.hyper, optimizer_of(recipe))

    return jax.jit(jax.vmap(state))(jnp.arange(SEEDS))


models = {"gru": rnn.rnn(rnn.Config(V, "gru", embed=24, hidden=60)), "hawk": model}
start = {name: first_states(model) for name, model in models.items()}
loss = {name: loss_of(model) for name, model in models.items()}
trained, excess = {}, {}
for name, task in watch([("hawk", "names"), *((name, task) for task in list(tasks)[1:] for name in models)]):
    steps = steps_on(train[task], loss[name], optimizer_of(recipe))
    trained[name, task] = jax.vmap(lambda state, steps=steps: steps(state, STEPS)[0])(start[name]).params
    found_S = jax.vmap(partial(nats, models[name]), (0, None, None))(trained[name, task], *held_out[task])
    floor = {"brackets": brackets, "copy": copy}.get(task)
    excess[name, task] = np.asarray(found_S) - (nats(floor.model, {}, *held_out[task]) if floor else 0)
for name, model in models.items():
    row = "".join(f"{task:>14}: " + ", ".join(f"{e:.3f}" for e in excess[name, task]) for task in list(tasks)[1:])
    print(f"{name:5}{num_params(start[name].params) // SEEDS:7,} parameters{row}")
