# %% [markdown]
# # Lesson 11: A recurrence in parallel
#
# Lesson 7 carried a state and had to read letter by letter. Lesson 8 read all letters at once and carried no state. Can
# one have both? At the end you will know which recurrences compute all their steps together, how they do it and what it
# costs, and what a network gives up for it. The lectures have no such chapter; it follows Blelloch's "Prefix sums and
# their applications" (1990) and Hawk (De et al. 2024, arXiv:2402.19427).
#
# **Time:** 60 minutes, and 50 for the exercises; the cells run in a minute and a half, the longest under a progress
# bar. **You need** [lesson 7](07_remembering.ipynb), for states and gates, and the tree of [lesson 6](06_tree.ipynb).

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
SEEDS = 2

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
# Not the state, but what will be done to it. A step is a map, and the map is known as soon as the input is. Two maps in
# a row are again such a map, again two numbers. So somebody may compose steps 5 to 8 into one while the first four are
# still being worked on.
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
    weave = lambda x, second, others: jnp.asarray(x).at[1::2].set(second).at[2::2].set(others)
    return jax.tree.map(weave, x, second, others)


# %% [markdown]
# **One after the other, 8 steps take 7 compositions in 7 rounds. What does the recursion take?** A round is all that
# can be done at the same time.
#
# The scan can tell us by itself, because it does not care what it combines. Give it ranges instead of numbers: steps
# `first` to `last`, and the round in which their product is ready.

# %%
# alt: Eight steps: on the left a staircase of 7 rounds; on the right a tree that has all prefixes after 4.
made = []


def watched(first, then):
    """Join two ranges, (first step, last step, round in which it is ready), and note what was joined."""
    (start, middle, early), (after, end, late) = jax.tree.map(np.asarray, (first, then))
    assert (after == middle + 1).all()  # neighbours, in their order
    ready = 1 + np.maximum(early, late)
    made.extend(zip(*(np.ravel(v).tolist() for v in (start, middle, early, end, late, ready)), strict=True))
    return start, end, ready


def rounds(how, steps):
    """What is made in each round: {round: number of compositions}."""
    made.clear()
    how(watched, (np.arange(steps), np.arange(steps), np.zeros(steps, int)))
    return Counter(ready for *_, ready in made)


def one_by_one(combine, x):
    return list(accumulate(zip(*x, strict=True), combine))


canvas = mm.plot.figure(10, 4)
for axes, (title, how) in zip(
    canvas.subplots(1, 2, sharey=True), {"one after the other": one_by_one, "as a tree": scan}.items(), strict=True
):
    of_round = rounds(how, 8)
    for _, middle, early, end, late, ready in made:
        axes.plot([middle, end], [early, ready], color="#6baed6", zorder=1)
        axes.plot([end, end], [late, ready], color="#6baed6", zorder=1)
    nodes = [(step, step, 0) for step in range(8)] + [(start, end, ready) for start, _, _, end, _, ready in made]
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
print(f"{'':6}{'one after the other':>24}{'as a tree':>24}")
print(f"{'steps':6}" + f"{'rounds':>10}{'compositions':>14}" * 2)
for steps in (8, 32, 128):
    of_round = rounds(scan, steps)
    log, work = int(math.log2(steps)), sum(of_round.values())
    print(f"{steps:<6}{steps - 1:10}{steps - 1:14}{max(of_round):10}{work:14}")
    assert max(of_round) == 2 * log - 2
    assert work == 2 * steps - log - 2
assert rounds(scan, 16) == rounds(jax.lax.associative_scan, 16)

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


for steps in (1, 7, 100):
    a_T, b_T = draw(steps)
    ours_T = jax.jit(partial(scan, compose))((a_T, b_T))[1]
    for other in (by_loop, by_tree):
        np.testing.assert_allclose(ours_T, jax.jit(other)(a_T, b_T), rtol=1e-4, atol=1e-5)
print(f"after {steps} steps the loop says {by_loop(a_T, b_T)[-1]:.6f}, and the tree {ours_T[-1]:.6f}")

# %% [markdown]
# ## Fewer rounds, more work
#
# **For 1,024 steps the loop takes 1,023 rounds and the tree 18. How much faster is the tree on this machine?** That is
# a question for a clock. The two take turns, and the quickest of several turns counts, since other programs run here as
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
            result = call(*args)
        jax.block_until_ready(result)
        quickest[call] = min(time.perf_counter() - began, quickest.get(call, math.inf))
    return quickest[one] / quickest[other]


for steps in (64, 512) if QUICK else (64, 1024):
    times = ratio(jax.jit(by_loop), jax.jit(by_tree), *draw(steps, 16))
    log = int(math.log2(steps))
    print(f"{steps - 1:5} rounds of the loop take {times:.2g} times as long as {2 * log - 2} rounds of the tree")

# %% [markdown]
# <details><summary>Answer</summary>
#
# On the two cores that made this page it is *slower*. Two cores pay for work, and the tree has twice as much of it, in
# many pieces that go through memory. The loop is compiled, too, and its state never leaves the processor.
#
# </details>
#
# So when does the tree pay? Count. A machine with $p$ lanes composes $p$ pairs of numbers at a time. A step of the loop
# has one for each unit, and lanes beyond those stand idle. The tree has one for each unit and node of a round.

# %%
steps, units = 128, 64
of_round = rounds(scan, steps)
print(f"rounds for {steps} steps of {units} units\n lanes   loop    tree   loop / tree")
for lanes in (1, 64, 512, 4096):
    loop = steps * math.ceil(units / lanes)
    tree = sum(math.ceil(count * units / lanes) for count in of_round.values())
    print(f"{lanes:6,} {loop:6,}  {tree:6,} {loop / tree:13.2f}")

# %% [markdown]
# A processor with few lanes pays for work, and one with thousands, such as a GPU, pays for rounds. **The tree saves
# rounds, and they are dear only to those who have lanes to spare.**
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
# Because the function is not associative, and JAX does not check that. It joins $u_3$ and $u_4$ as if $u_3$ were a
# state. Nor is there a better way to join them. A step of tanh reaches from -1 to 1, and two in a row only from
# $\tanh(u - w)$ to $\tanh(u + w)$, so they are not such a step again. To describe two steps one needs both of their
# numbers, and for a hundred steps all hundred.
#
# </details>
#
# A GRU is no better: its gates read the state, so $a_t$ isn't known before $h_{t-1}$. What can be scanned? Anything
# associative whose products stay small: sums, maxima, matrices, our maps $ah + b$, and the tables of a finite automaton
# (exercise 11.3). For tanh there is a way round, by Newton (exercise 11.5).
#
# ## Hawk: gates that do not look at the state
#
# So let the gates read the input alone. The recurrent unit of Hawk, the RG-LRU, has an input $u_t$ for each unit, two
# gates and a rate $s$ that is learned:
#
# $$r_t = \sigma(u_t W_r + c_r), \quad i_t = \sigma(u_t W_i + c_i), \quad
#   a_t = e^{-8\, \mathrm{softplus}(s)\, r_t}, \quad h_t = a_t h_{t-1} + \sqrt{1 - a_t^2}\; i_t u_t.$$
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


def random_params(model):
    """The parameters of all seeds, stacked."""
    return jax.jit(jax.vmap(model.init))(jax.random.split(jax.random.key(0), SEEDS))


def pick(params_S, seed=0):
    return jax.tree.map(lambda leaf: leaf[seed], params_S)


model = hawk.hawk(hawk.Config(V, layers=1, embed=24, hidden=48))
start = {"hawk": random_params(model)}
params = pick(start["hawk"])
u_TH, mark_T = draw(20, 48)[1], jnp.arange(20) % 10 == 0
h_TH = jax.jit(rg_lru)(params["blocks"][0], u_TH, mark_T)
a_TH, b_TH, *_ = jax.jit(hawk.coefficients)(params["blocks"][0], u_TH, mark_T)
np.testing.assert_allclose(h_TH, by_loop(a_TH, b_TH), atol=1e-5)

# %% [markdown]
# And it is the library's, in `makemore_jax/models/hawk.py`. Around it stands a block as in lesson 8, with residuals and
# an MLP, and before it a convolution over four letters makes $u$. None of these waits for the state of an earlier
# letter, so they are computed for the whole line at once.
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
# By a zero. The map $h \mapsto 0 h + b$ forgets whatever it is given. So does every product that contains it: each node
# of the tree that spans a mark. It takes no `if` and no second pass, and not a bit gets through.
#
# </details>
#
# ## Two forms, one function
#
# For training: all steps at once. For sampling: one step, from a state of fixed size, as in lesson 7. They must be one
# function, and the library tests that of every model. We ask it of a row of 128 tokens, with names end to end.


# %%
@partial(jax.jit, static_argnums=0)
def by_steps(model, params, x_BT):
    def body(cache, x_B):
        logits_BV, cache = model.step(params, cache, x_B)
        return cache, logits_BV

    return jnp.swapaxes(jax.lax.scan(body, model.init_cache(params, len(x_BT)), x_BT.T)[1], 0, 1)


at_once = jax.jit(lambda model, params, x_BT: model.apply(params, x_BT), static_argnums=0)
row_BT = jnp.array(corpus.tokens.dev.stream_M[None, :128])
difference = jnp.abs(by_steps(model, params, row_BT) - at_once(model, params, row_BT)).max()
cached = sum(leaf.size for leaf in jax.tree.leaves(model.init_cache(params, 1)))
print(f"{(row_BT == 0).sum()} names, largest difference {difference:.1e}; remembered per line: {cached} numbers")
times = ratio(partial(by_steps, model), partial(at_once, model), params, row_BT)
print(f"step by step takes {times:.2g} times as long")
assert difference < 1e-5

# %% [markdown]
# Here the parallel form is the faster one, on two cores as well. The gain can't be the tree's, which lost its race
# above. But each matrix product is one large product for the whole line, where the steps read the same matrices again
# and again.

# %% [markdown]
# ## What does the gate give up?
#
# A GRU's gate sees the state: it can open because of what it remembers. Hawk's gate sees the last four letters. What
# can the one do that the other can't? Names will not tell, since they are short and nobody knows their floor. So we
# take sources whose entropy is known, as in lesson 9: balanced brackets, where one must know what is open, and a word
# that is written twice, where one must know all of it. The third kind of line is as simple as can be: random bits, and
# after each the question whether the number of ones so far is odd or even.
#
# All lines are written as two arrays of one shape: what is read, and what comes next, or -1 where nothing is asked. XLA
# then compiles each network once for all of them.

# %%
T, LINES, HELD_OUT = 16, 100 if QUICK else 10_000, 50 if QUICK else 2000
copy, brackets = sources.copy(longest=T // 2 - 1), sources.brackets(context=T)


def as_rows(vocab, lines):
    """x and y, (N, T): marks and symbols, and what comes after each."""
    x_NT, y_NT = np.zeros((len(lines), T), np.int32), np.full((len(lines), T), -1, np.int32)
    for x_T, y_T, line in zip(x_NT, y_NT, lines, strict=True):
        tokens = [0, *vocab.encode_line(line), 0]
        x_T[: len(tokens) - 1], y_T[: len(tokens) - 1] = tokens[:-1], tokens[1:]
    return jnp.array(x_NT), jnp.array(y_NT)


def of_source(source):
    lines = sources.write(jax.random.key(1), source, LINES + HELD_OUT)
    print("   ".join(lines[:6]))
    return as_rows(source.vocab, lines)


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
# One recurrence against one recurrence: a Hawk of one block, and a GRU of as many parameters. Both get the same lines,
# the same recipe and two seeds, a `vmap` over the state of a run.
#
# **Take bets. Which of the two comes nearer to the floor of brackets, which to that of copies, and which tells odd from
# even?**

# %%
STEPS = 5 if QUICK else 800
recipe = Recipe(steps=STEPS, learning_rate=1e-2, warmup=STEPS // 10)


@partial(jax.jit, static_argnums=0)
def nats(model, params, x_NT, y_NT):
    return mean_nll(model.apply(params, x_NT), jnp.maximum(y_NT, 0), y_NT >= 0)


def loss_of(model):
    def loss(params, data, hyper, key):
        rows_B = jax.random.randint(key, (32,), 0, len(data[0]))
        return nats(model, params, *(part[rows_B] for part in data))

    return loss


def begin(params, key):
    return init_state(params, key, recipe.hyper, optimizer_of(recipe))


models = {"hawk": model} | ({} if QUICK else {"gru": rnn.rnn(rnn.Config(V, "gru", embed=24, hidden=50))})
start |= {name: random_params(models[name]) for name in models if name not in start}
loss = {name: loss_of(model) for name, model in models.items()}
floors = {"brackets": brackets, "copy": copy}
after, excess = {}, {}
for task, name in watch([(task, name) for task in tasks for name in models if (task, name) != ("names", "gru")]):
    states = jax.vmap(begin)(start[name], jax.random.split(jax.random.key(1), SEEDS))
    steps = steps_on(train[task], loss[name], optimizer_of(recipe))
    after[task, name] = jax.vmap(lambda state, steps=steps: steps(state, STEPS)[0])(states).params
    found_S = jax.vmap(partial(nats, models[name]), (0, None, None))(after[task, name], *held_out[task])
    floor = nats(floors[task].model, {}, *held_out[task]) if task in floors else 0
    excess[task, name] = np.asarray(found_S - floor)

print(f"{'nats above the floor':>22}" + "".join(f"{task:>18}" for task in tasks if task != "names"))
for name in models:
    row = [", ".join(f"{above:.3f}" for above in excess[task, name]) for task in tasks if task != "names"]
    print(f"{name:5}{num_params(pick(start[name])):6,} parameters" + "".join(f"{text:>18}" for text in row))
if not QUICK:
    for task, better, worse in [("brackets", "hawk", "gru"), ("copy", "hawk", "gru"), ("odd or even", "gru", "hawk")]:
        assert excess[task, better].max() < excess[task, worse].min()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Hawk comes nearer to both floors, with a gate that is blind to the state. What the gate doesn't see is seen by the
# layers after it, which multiply the state by a second gate and put it through an MLP. Only odd or even is the GRU's.
#
# </details>
#
# These are whole networks, and they differ in more than a gate; nothing is tuned, and they have had only 800 steps.
# With more of them both come nearer: `python -m experiments.excess --models gru hawk --sources brackets copy`.
#
# **A guess at odd or even costs $\ln 2$, and Hawk pays a small part of that. Has it understood the rule, but for a
# little noise?** Ask it about lines that are four times as long as those it has seen.


# %%
# alt: Share of right answers over the position: the GRU stays at 1 up to 64; Hawk falls to a half soon after 16.
@partial(jax.jit, static_argnums=0)
def right(model, params_S, x_NT, y_NT):
    """(T,) the share of right answers at each position, over all seeds."""
    answers_SNT = jax.vmap(lambda params: model.apply(params, x_NT).argmax(-1))(params_S)
    return (answers_SNT == y_NT).mean((0, 1))


far = odd_or_even(1, 500, 4 * T)
canvas = mm.plot.figure(9, 3.4)
axes = canvas.subplots()
for name, model in models.items():
    share_T = np.asarray(right(model, after["odd or even", name], *far))
    axes.plot(np.arange(1, 4 * T), share_T[1:], label=name)
    print(f"{name:5} right within {T} bits: {share_T[1:T].mean():.1%}, after {2 * T}: {share_T[2 * T :].mean():.1%}")
    if not QUICK:
        assert share_T[2 * T :].mean() > 0.99 if name == "gru" else share_T[2 * T :].mean() < 0.6
axes.axvline(T - 1, color="0.4", linestyle="--", linewidth=1, label="as long as the lines of train")
axes.set(xlabel="bits read", ylabel="right answers", ylim=(0.4, 1.05))
axes.grid(alpha=0.2)
axes.legend(frameon=False, loc="center right")
canvas

# %% [markdown]
# <details><summary>Answer</summary>
#
# Not at all. It has fitted lines of 16, and beyond them it guesses. The rule itself is out of its reach: a one must
# turn the state around, and Hawk's $a$ lies between 0 and 1, so a state can shrink and can't turn. No depth helps as
# long as no $a$ is negative (Grazzi et al. 2024, arXiv:2411.12537). The GRU makes its proposal for a new state from the
# old one, so it can turn it.
#
# </details>
#
# Mind what is to blame. It is not the scan: exercise 11.1 tells odd from even by a tree, and exercise 11.3 runs any
# finite automaton. It is the range that Hawk gives to $a$.
#
# ## How long does it remember?
#
# The $a$ of a unit says what is left of its state after a letter, and along a line its logarithms add up. So a unit has
# a **half-life** in letters: $\ln \tfrac12$ over the mean of $\ln a$. Before training, half-lives are spread wide on
# purpose.
#
# **Hawk has been trained on names, on brackets and on copies. Which of these lines make its memory longer than it was,
# and which shorter?**


# %%
# alt: Half-lives of 48 units, sorted: shorter after names than before, longer after brackets, longest after copies.
@partial(jax.jit, static_argnums=0)
def half_lives(model, params_S, x_NT):
    """(S, H) letters after which half of each unit's state is left, sorted."""
    a_SNTH = jax.vmap(lambda params: model.forward(params, x_NT)[1]["decay"])(params_S)
    letters_NT1 = (x_NT > 0)[..., None]
    log_a_SH = jnp.where(letters_NT1, jnp.log(jnp.where(letters_NT1, a_SNTH, 1)), 0).sum((1, 2)) / letters_NT1.sum()
    return jnp.sort(jnp.log(0.5) / log_a_SH, axis=-1)


model = models["hawk"]
canvas = mm.plot.figure(9, 3.8)
axes = canvas.subplots()
middle = {}
for name, params_S in {"before training": start["hawk"], **{t: after[t, "hawk"] for t in list(tasks)[:3]}}.items():
    task = name if name in tasks else "names"
    life_SH = np.asarray(half_lives(model, params_S, held_out[task][0]))
    middle[name] = np.median(life_SH)
    style = {"color": "0.4", "linestyle": "--"} if name not in tasks else {}
    mm.plot.band(axes, range(1, 1 + life_SH.shape[1]), life_SH.T, f"{name}: median {middle[name]:.1f}", **style)
axes.set(yscale="log", xlabel="unit, from the shortest memory to the longest", ylabel="half-life, letters")
axes.grid(alpha=0.2)
axes.legend(frameon=False)
if not QUICK:
    assert middle["names"] < middle["before training"] < middle["brackets"] < middle["copy"]
canvas

# %% [markdown]
# <details><summary>Answer</summary>
#
# Names make it a little shorter, and copies much longer, with brackets in between. In a name the last few letters say
# most of what there is to say, as lesson 7 found. In a copy the letter that comes next stands half a line back. Nobody
# set these numbers: $s$ and the gate $r$ learned them.
#
# </details>
#
# The spread at the start is what lesson 7's LSTM lacked. Some units remember for dozens of letters before they have
# learned anything, so a gradient from far back finds a path. Here Hawk reads a name, as the GRU did there. A row is a
# unit; white in the decay means that it forgets, and at the mark all of them do.

# %%
# alt: State, decay and input gate of Hawk's 48 units along charlotte; the decay is white at the mark.
reader = mm.Trained(model, pick(after["names", "hawk"]), corpus.vocab, T)
seen = mm.activations(reader, "charlotte")
mm.plot.traces(seen._replace(values={name: seen.values[name] for name in ("state", "decay", "input")}))

# %% [markdown]
# **What to keep.** A step that is linear in the state is a map of two numbers, whatever its input was. Maps compose, so
# all states are prefixes of one product, and a tree computes them in about $2 \log_2 T$ rounds for twice the work. The
# price is that no gate may look at the state. On brackets and copies it cost Hawk nothing, and odd or even is out of
# its reach, since its $a$ is never negative.
#
# ## Exercises
#
# About 50 minutes. Each exercise is a cell to fill, and a check below it that says "right!", or "not yet" and why. The
# solutions, and how one gets there: [solutions/lesson_11.py](solutions/lesson_11.py).
#
# **Exercise 11.1.** Odd or even is a linear recurrence after all. From bits `x_T`, 0 or 1, make the `a_T` and `b_T`
# with which $h_t = a_t h_{t-1} + b_t$, from $h_0 = 0$, is 1 after an odd number of ones and 0 after an even number. The
# two numbers of a step may look at its own bit only. Why can't Hawk learn this?


# %%
def parity(x_T):
    raise NotImplementedError


check(lesson_11.parity, parity)

# %% [markdown]
# **Exercise 11.2.** There is a second tree (Hillis and Steele 1986), with fewer rounds and more work. In the first
# round each step is joined with the step before it, then with what stands two steps before, then four, until all are
# prefixes. Where nothing stands before, a step stays as it is. Write it for a pytree `x` whose leaves have a leading
# axis of steps. Where in lesson 6 did you see its picture?


# %%
def by_doubling(combine, x):
    raise NotImplementedError


check(lesson_11.by_doubling, by_doubling)

# %% [markdown]
# **Exercise 11.3.** A machine has Q states and a table: from state q, symbol s leads to `move_SQ[s, q]`. It begins in
# state 0. Return its states after each symbol of `x_T`, of shape (T,), by `jax.lax.associative_scan`.


# %%
def run_automaton(move_SQ, x_T):
    raise NotImplementedError


check(lesson_11.run_automaton, run_automaton)

# %% [markdown]
# **Exercise 11.4.** And backwards? A loss reads every state, and `arrives_T` is its slope by each $h_t$ where it reads
# it. The gradient by $b_t$ also comes through all states after $h_t$. Compute it for all steps at once
# (`jax.lax.associative_scan` has an argument `reverse`). Where are lesson 7's vanishing gradients?


# %%
def gradient(a_T, arrives_T):
    raise NotImplementedError


check(lesson_11.gradient, gradient)

# %% [markdown]
# **Exercise 11.5.** Steps of $h_t = \tanh(w h_{t-1} + u_t)$ can't be composed, but their tangents can. Guess all
# states; replace each step by its tangent at the guess for the state before it; and run that linear recurrence as a
# tree. What comes out is a better guess, and a few rounds are enough (Lim et al. 2024, arXiv:2309.12252). Write one
# round; $h_0$ is 0.


# %%
def newton_round(w, u_T, guess_T):
    raise NotImplementedError


check(lesson_11.newton_round, newton_round)
