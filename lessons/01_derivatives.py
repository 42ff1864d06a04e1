# %% [markdown]
# # Lesson 1: Derivatives of programs
#
# Backpropagation is reading a program backwards. We take derivatives with a nudge, then by hand, then write thirty
# lines that do it for any program, and check them against `jax.grad` on a network of 41 parameters. At the end you will
# know what PyTorch's `loss.backward()` does, and why calling it twice spoils the gradient there and not in JAX. Follows
# Karpathy's lecture on [micrograd](https://github.com/karpathy/micrograd).
#
# **Time:** 70 minutes, and 40 for the exercises; the cells run in half a minute. **You need** [lesson 0](00_jax.ipynb),
# for `grad`, `jit`, `vmap`, `scan`, trees, and names such as `x_N`.

# %%
import itertools
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

import makemore_jax as mm
from makemore_jax.lessons import drawing
from makemore_jax.lessons.graders import lesson_1
from makemore_jax.lessons.grading import check

QUICK = "QUICK" in os.environ  # fewer steps, for the tests

# %% [markdown]
# ## 1. A slope is an answer to a nudge
#
# Here is a function. At 3 it is 20. If we nudge $x$ a little, by how much does its value change?


# %%
# alt: The parabola 3x² - 4x + 5 with three tangents: slope -22 at -3, slope 0 at its lowest point, slope 14 at 3.
def f(x):
    return 3 * x**2 - 4 * x + 5


# `jax.grad` finds the slopes of the lines; how it does that is what this lesson is about.
figure = mm.plot.figure(5.5, 3.2)
axes = figure.subplots()
x_N = np.linspace(-4, 5, 100)
axes.plot(x_N, f(x_N))
for x in (3.0, -3.0, 2 / 3):
    slope = float(jax.grad(f)(x))
    axes.plot([x - 0.8, x + 0.8], [f(x) - 0.8 * slope, f(x) + 0.8 * slope], "o-", markevery=[], color="C1")
    axes.annotate(f"slope {slope:.0f}", (x, f(x)), (8, -4) if slope else (-16, 6), textcoords="offset points")
axes.set(xlabel="x", ylabel="f(x)")
figure

# %% [markdown]
# The slope is $(f(x + h) - f(x)) / h$ for a step $h$ that is "infinitely small". **So how small should $h$ be?** Let us
# try every size, on $e^x$ at 1, in numbers of 7 digits (float32) and of 16 (float64), and look at the error. The dashed
# curves step to both sides, $(f(x + h) - f(x - h)) / 2h$.

# %%
# alt: Error of the slope over the step: it falls, then rises again; two-sided steps and float64 reach lower errors.
step_N = np.logspace(-16, 0, 200)
figure = mm.plot.figure(7.5, 4)
axes = figure.subplots()
best = {}
for color, kind in zip(("C1", "C0"), (np.float32, np.float64), strict=True):
    x, h_N = kind(1), step_N.astype(kind)
    ahead, behind, here = np.exp(x + h_N), np.exp(x - h_N), np.exp(x)
    for style, name, slope_N in (
        ("-", "one side", (ahead - here) / h_N),
        ("--", "both sides", (ahead - behind) / (2 * h_N)),
    ):
        error_N = np.abs(slope_N - np.exp(1))
        best[kind.__name__, name] = step_N[error_N.argmin()]
        axes.loglog(step_N, error_N + 1e-17, style, color=color, label=f"{kind.__name__}, {name}", linewidth=1)
axes.set(xlabel="step h", ylabel="error of the slope", ylim=(1e-13, 10))
axes.legend()
for (kind, name), h in best.items():
    print(f"{kind}, {name}: least error for h near {h:.0e}")
figure

# %% [markdown]
# <details><summary>Answer</summary>
#
# Neither too large nor too small. Read the picture from right to left: at first a smaller step is better, as the
# calculus book says. Then the two values of the function agree in so many digits that their difference is mostly
# rounding, and the error *grows*, until $1 + h$ is $1$ and the slope is zero.
#
# </details>
#
# A nudge is a fine check, never a method. We want the derivative itself.

# %%
assert 1e-5 < best["float32", "one side"] < 1e-2
assert 1e-10 < best["float64", "one side"] < 1e-6
assert best["float64", "both sides"] > best["float64", "one side"]

# %% [markdown]
# ## 2. By hand, once
#
# A function of several numbers, in small steps: $e = ab$, $d = e + c$, $L = df$. This is the lecture's example, with
# $L = -8$. (The number $f$ is `factor` in the code, where `f` is the parabola.)

# %%
a, b, c, factor = 2.0, -3.0, 10.0, -2.0


def small_steps(a, b, c, f):
    e = a * b
    d = e + c
    return d * f


assert small_steps(a, b, c, factor) == -8

# %% [markdown]
# Now from the end to the start. How does $L$ answer to each number in between?
#
# - $L$ answers to itself with slope 1.
# - $L = df$: a product hands each of its factors *the other one*. So $d$ gets $f = -2$, and $f$ gets $d = 4$.
# - $d = e + c$: a sum passes on what it gets, unchanged. $e$ and $c$ get $-2$.
# - $e = ab$: a product again. What arrived, times the other one: $a$ gets $-2 \cdot -3 = 6$, and $b$ gets
#   $-2 \cdot 2 = -4$.
#
# That last line is the chain rule, and there is nothing more to backpropagation: *what arrived, times the local slope.*
# Compare with nudges:

# %%
by_hand = (6.0, -4.0, -2.0, 4.0)  # a, b, c, f
inputs = (a, b, c, factor)
for name, slope, i in zip("abcf", by_hand, range(4), strict=True):
    nudged = [x + 1e-4 * (j == i) for j, x in enumerate(inputs)]
    nudge = (small_steps(*nudged) - small_steps(*inputs)) / 1e-4
    print(f"{name}: by hand {slope:4.0f}, by a nudge {nudge:9.5f}")
    assert abs(nudge - slope) < 1e-3

# %% [markdown]
# What is it good for? If we move each input a little *along* its gradient, $L$ must rise. From $-8$:

# %%
up = [x + 0.01 * slope for x, slope in zip(inputs, by_hand, strict=True)]
print(f"L = {small_steps(*up):.6f}")  # -7.286496 in the lecture
assert round(small_steps(*up), 6) == -7.286496

# %% [markdown]
# ## 3. A program is data
#
# To do this for any program, a machine has to see the small steps. micrograd wraps each number in a `Value` that
# remembers which operation made it, and from which others. JAX has that memory already. Ask for it:

# %%
steps = jax.make_jaxpr(small_steps)(*inputs).jaxpr
print(steps)

# %% [markdown]
# This is a *jaxpr*: a list of equations, one operation each. JAX names the variables in its own order: its `d` is our
# $f$, its `f` our $d$, its `g` our $L$. `f32[]` is one float32 number. A jaxpr is a Python object that we can walk
# through: an equation has inputs (`invars`), outputs (`outvars`), and an operation (`primitive`), which `bind` carries
# out. And the equations stand in an order in which each one uses only what was computed before it. (micrograd has to
# sort its graph for that. Why it must is the most common question about it; section 4 answers it.)
#
# First, let us read it *forwards*, which is called running it:


# %%
def forward(jaxpr, *inputs):
    """The value of every variable, inputs included."""
    value = dict(zip(jaxpr.invars, inputs, strict=True))
    for equation in jaxpr.eqns:
        arguments = [read(value, variable) for variable in equation.invars]
        value[equation.outvars[0]] = equation.primitive.bind(*arguments, **equation.params)
    return value


def read(value, variable):
    return variable.val if isinstance(variable, Literal) else value[variable]  # a literal is a number in the program


value = forward(steps, *map(jnp.float32, inputs))
assert value[steps.outvars[0]] == -8

# %% [markdown]
# Now *backwards*. We need one rule for each operation: given `g`, the gradient that arrived at its output, which
# gradients do its inputs get? `out` is the output's value; sometimes it is all that the rule needs.

# %%
RULES = {
    "add": lambda g, out, x, y: (g, g),
    "sub": lambda g, out, x, y: (g, -g),
    "mul": lambda g, out, x, y: (g * y, g * x),
    "neg": lambda g, out, x: (-g,),
    "tanh": lambda g, out, x: (g * (1 - out**2),),
    "exp": lambda g, out, x: (g * out,),
    "square": lambda g, out, x: (g * 2 * x,),
}


def backward(jaxpr, value):
    """The gradient of the output with respect to every variable."""
    grad = dict.fromkeys(value, 0.0)
    grad[jaxpr.outvars[0]] = 1.0
    for equation in reversed(jaxpr.eqns):
        output = equation.outvars[0]
        arguments = [read(value, variable) for variable in equation.invars]
        shares = RULES[equation.primitive.name](grad[output], value[output], *arguments)
        for variable, share in zip(equation.invars, shares, strict=True):
            if not isinstance(variable, Literal):
                grad[variable] += share
    return grad


grad = backward(steps, value)
assert tuple(float(grad[variable]) for variable in steps.invars) == by_hand

# %% [markdown]
# That is a complete autograd engine. Here is what it did: values were computed from left to right, gradients from right
# to left.

# %%
# alt: A graph from a, b, c and f to L, with the value and the gradient of every number in it.
LETTERS = dict(zip([*steps.invars, *(e.outvars[0] for e in steps.eqns)], "abcfedL", strict=True))


def named(jaxpr, names):
    """Equations with our own names, for the drawing."""
    return [(e.primitive.name, [names[v] for v in e.invars], names[e.outvars[0]]) for e in jaxpr.eqns]


by_name = lambda numbers, names: {name: float(numbers[variable]) for variable, name in names.items()}
drawing.graph(named(steps, LETTERS), by_name(value, LETTERS), by_name(grad, LETTERS))

# %% [markdown]
# ## 4. Three questions about one line
#
# The line is `grad[variable] += share`. **What if it were `=`, and a variable is used twice, as in $b = a + a$?**


# %%
def twice(a):
    return a + a


program = jax.make_jaxpr(twice)(3.0).jaxpr
overwritten = {}
for variable, share in zip(program.eqns[0].invars, RULES["add"](1.0, 6.0, 3.0, 3.0), strict=True):
    overwritten[variable] = share  # and not +=
print(
    "with = :",
    overwritten[program.invars[0]],
    "  with += :",
    backward(program, forward(program, 3.0))[program.invars[0]],
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The gradient comes out as 1, and the truth is 2: the second share has overwritten the first. This bug is in the
# lecture, on purpose, and it hides well, since most variables are used once.
#
# </details>
#
# **Does the order matter?** Suppose we don't read the list backwards, but let each variable pass on its gradient as
# soon as some of it arrives. That is the recursion that one is tempted to write. Take $b = a + a$ and $c = b + b$, so
# $c = 4a$.


# %%
def recursive(jaxpr, value):
    made_by = {equation.outvars[0]: equation for equation in jaxpr.eqns}
    grad = dict.fromkeys(value, 0.0)
    grad[jaxpr.outvars[0]] = 1.0

    def push(output):
        if output in made_by:
            inputs = made_by[output].invars
            for variable in inputs:
                grad[variable] += grad[output]  # all are sums here
            for variable in inputs:
                push(variable)

    push(jaxpr.outvars[0])
    return grad


program = jax.make_jaxpr(lambda a: twice(twice(a)))(3.0).jaxpr
value = forward(program, 3.0)
wrong, right = recursive(program, value)[program.invars[0]], backward(program, value)[program.invars[0]]
print("recursive:", wrong, "  list read backwards:", right)
assert (wrong, right) == (8, 4)

# %% [markdown]
# <details><summary>Answer</summary>
#
# It does: the recursion gives 8 instead of 4. The variable $b$ passed its gradient on twice, both times all of it. A
# variable may pass on its gradient only when everything has arrived, that is, after *all* equations that use it. In
# the list, those stand below it. So reading from bottom to top is right, and one has to sort only if one doesn't have
# a list.
#
# </details>
#
# **And what happens if we call `backward` twice?** In micrograd and in PyTorch the gradient lives *in* the parameters,
# and `backward()` adds to it. Forget to set it to zero, and the second call gives twice the gradient.

# %%
once, again = (backward(steps, forward(steps, *inputs)) for _ in range(2))
assert once == again
assert jax.grad(small_steps)(*inputs) == jax.grad(small_steps)(*inputs)
print("the same, as often as you like")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Here it gives the same gradient again: `grad` is created inside the function and returned.
#
# </details>
#
# ## 5. A neuron
#
# Weights times inputs, plus a bias, through $\tanh$, which squeezes any number between $-1$ and $1$. Where it is flat,
# little gets through: its slope is $1 - \tanh^2$.

# %%
# alt: tanh climbs from -1 to 1; its slope is a hump with height 1 at 0 and almost nothing beyond -3 and 3.
figure = mm.plot.figure(5, 2.6)
axes = figure.subplots()
x_N = np.linspace(-5, 5, 200)
axes.plot(x_N, np.tanh(x_N), label="tanh")
axes.plot(x_N, 1 - np.tanh(x_N) ** 2, "--", label="its slope")
axes.legend()
figure

# %%
# alt: The graph of a neuron, from inputs and weights by products, sums and tanh, with values and gradients.
x1, x2, w1, w2, bias = 2.0, 0.0, -3.0, 1.0, 6.8813735870195432  # as in the lecture


def neuron(x1, w1, x2, w2, b):
    return jnp.tanh(x1 * w1 + x2 * w2 + b)


inputs = (x1, w1, x2, w2, bias)
program = jax.make_jaxpr(neuron)(*inputs).jaxpr
value = forward(program, *map(jnp.float32, inputs))
grad = backward(program, value)
NAMES = ["x_1", "w_1", "x_2", "w_2", "b", "x_1w_1", "x_2w_2", "sum", "n", "o"]
names = dict(zip([*program.invars, *(e.outvars[0] for e in program.eqns)], NAMES, strict=True))
drawing.graph(named(program, names), by_name(value, names), by_name(grad, names))

# %% [markdown]
# The output is 0.7071, and the slope there is 0.5. **Why is the gradient of $w_2$ zero?**
#
# <details><summary>Answer</summary>
#
# Because its input $x_2$ is zero: whatever the weight is, it is multiplied by 0. A weight whose input is silent learns
# nothing.
#
# </details>

# %%
assert np.isclose(value[program.outvars[0]], 0.7071, atol=1e-4)
assert np.allclose([grad[v] for v in program.invars], [-1.5, 1.0, 0.5, 0.0, 0.5], atol=1e-6)
assert np.allclose(jax.grad(neuron, argnums=range(5))(*inputs), [-1.5, 1.0, 0.5, 0.0, 0.5], atol=1e-6)

# %% [markdown]
# **Do we need a rule for tanh?** It is made of exponentials, $\tanh x = (e^{2x} - 1) / (e^{2x} + 1)$.

# %%
RULES["div"] = lambda g, out, x, y: (g / y, -g * x / y**2)


def fine_neuron(x1, w1, x2, w2, b):
    e = jnp.exp(2 * (x1 * w1 + x2 * w2 + b))
    return (e - 1) / (e + 1)


fine = jax.make_jaxpr(fine_neuron)(*inputs).jaxpr
fine_grad = backward(fine, forward(fine, *map(jnp.float32, inputs)))
print(len(program.eqns), "equations, or", len(fine.eqns))
assert np.allclose([fine_grad[v] for v in fine.invars], [grad[v] for v in program.invars], atol=1e-5)

# %% [markdown]
# <details><summary>Answer</summary>
#
# No. With smaller steps the program is longer, and the gradient is the same. How large the steps are is up to you, as
# long as each has a correct rule.
#
# </details>
#
# ## 6. The gradient is a program, too
#
# Nothing stops us from running `backward` on tracers instead of numbers: the stand-ins of lesson 0, which write down
# what is done to them. Then we have the program of the gradient. That is what `jax.grad` returns, and we can read it.
# Here is JAX's program for the slope with respect to $w_1$, which is argument number 1; its `add_any` is a plain sum:

# %%
print(jax.make_jaxpr(jax.grad(neuron, argnums=1))(*inputs))
ours = jax.jit(lambda *inputs: backward(program, forward(program, *inputs))[program.invars[1]])
assert np.isclose(ours(*inputs), jax.grad(neuron, argnums=1)(*inputs))

# %% [markdown]
# It runs forwards to $t = \tanh n$; then comes the slope of tanh, $(1 - t) + (1 - t)\,t = 1 - t^2$; then it goes back
# to $w_1$, with a last product by $x_1$. This program can be compiled, as ours just was, or differentiated once more.
#
# ## 7. A network of 41 parameters
#
# micrograd's network: 3 inputs, two layers of 4 neurons, one output. The parameters are plain lists of numbers. Each
# neuron works on plain numbers, too, so that the jaxpr shows every multiplication.


# %%
def init(key, sizes):
    """A list of layers, each a list of neurons, each with its weights and its bias."""
    layers = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        w_ON = jax.random.uniform(jax.random.fold_in(key, number), (outputs, inputs + 1), minval=-1, maxval=1)
        layers.append([{"w": row[:-1], "b": row[-1]} for row in w_ON.tolist()])
    return layers


def network(layers, x):
    for layer in layers:
        x = [jnp.tanh(sum(w * x for w, x in zip(neuron["w"], x, strict=True)) + neuron["b"]) for neuron in layer]
    return x[0]


INPUTS = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
TARGETS = [1.0, -1.0, -1.0, 1.0]


def loss(layers):
    return sum(jnp.square(network(layers, x) - y) for x, y in zip(INPUTS, TARGETS, strict=True))


layers = init(jax.random.key(1), [3, 4, 4, 1])
whole = jax.make_jaxpr(loss)(layers).jaxpr
flat = jax.tree.leaves(layers)
print(f"{len(flat)} parameters, {len(whole.eqns)} equations, loss {loss(layers):.4f}")
assert len(flat) == 41

# %% [markdown]
# Our thirty lines against `jax.grad`, on all of it:

# %%
grad = backward(whole, forward(whole, *map(jnp.float32, flat)))
ours = np.array([grad[variable] for variable in whole.invars])
theirs = np.array(jax.tree.leaves(jax.grad(loss)(layers)))
print(f"largest difference: {np.abs(ours - theirs).max():.0e}")
np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=1e-5)

# %% [markdown]
# **That is the lesson.** A program was traced into a list. Read forwards, the list is the function; read backwards, it
# is backpropagation. From here on we write `jax.grad`, and know what it does.
#
# ## 8. Training, and the bug that seems to work
#
# We take twenty steps; each subtracts 0.1 times the gradient. Beside it runs the most common bug of all, which the
# lecture has by accident: forgetting to clear the gradients, so that each step uses the *sum* of all gradients so far.
# In JAX one has to write that out, by carrying the sum along. `vmap` runs both trainings at once, with `keep` at 0 and
# at 1, and `loss_RN` has a row for each. **How badly will the bug do?**


# %%
# alt: Two losses over 20 steps: that of the bug, whose gradients are never cleared, falls faster.
def train(layers, keep, steps=20, rate=0.1):
    """`keep` is the share of the old gradients that stays: 0 as it should be, 1 for the bug."""

    def body(carry, _):
        layers, total = carry
        value, grads = jax.value_and_grad(loss)(layers)
        total = jax.tree.map(lambda old, new: keep * old + new, total, grads)
        return (jax.tree.map(lambda p, g: p - rate * g, layers, total), total), value

    layers = jax.tree.map(jnp.float32, layers)
    (layers, _), loss_N = jax.lax.scan(body, (layers, jax.tree.map(jnp.zeros_like, layers)), length=steps)
    return layers, loss_N


both, loss_RN = jax.jit(jax.vmap(train, in_axes=(None, 0)))(layers, jnp.array([0.0, 1.0]))
trained = jax.tree.map(lambda leaf: leaf[0], both)
print("predictions:", " ".join(f"{network(trained, x):.2f}" for x in INPUTS), "  targets:", TARGETS)
figure = mm.plot.figure(6.5, 3)
axes = figure.subplots()
axes.plot(loss_RN[0], "o-", label="gradients cleared")
axes.plot(loss_RN[1], "o-", label="never cleared")
axes.set(xlabel="step", ylabel="loss", xticks=range(0, 20, 2))
axes.legend()
figure

# %% [markdown]
# <details><summary>Answer</summary>
#
# *Better.* With the sum of all old gradients, the parameters roll downhill like a ball without friction: old steps go
# on pushing. That is momentum, and on four examples it happens to be a good idea. So the bug is in, the loss goes
# down, and nobody has a reason to look for it. That is why it is the most common one. Section 9 has the same bug on a
# problem that is a little harder.
#
# </details>

# %%
assert loss_RN[1, -1] < loss_RN[0, -1] < 0.1

# %% [markdown]
# ## 9. Two moons
#
# The tour of micrograd ends with 100 points on two half-moons, to be told apart by 337 parameters. We need not look at
# single numbers any more, so a layer is a matrix, an example is a vector, and `vmap` makes the batch.
# The loss is the hinge: an example costs nothing if its score is on the right side of zero by 1 or more. In place of
# tanh there is `relu(z)`, the larger of $z$ and 0, and a small penalty, 0.0001 times the sum of squares, keeps the
# parameters small.


# %%
def moons(key, count, noise=0.1):
    angle_key, noise_key = jax.random.split(key)
    angle_N = jax.random.uniform(angle_key, (count,), maxval=jnp.pi)
    upper = jnp.stack([jnp.cos(angle_N), jnp.sin(angle_N)], 1)
    x_ND = jnp.where((jnp.arange(count) % 2 == 0)[:, None], upper, jnp.array([1.0, 0.5]) - upper)
    return x_ND + noise * jax.random.normal(noise_key, x_ND.shape), jnp.where(jnp.arange(count) % 2 == 0, 1.0, -1.0)


def score(layers, x_D):
    for w, b in layers[:-1]:
        x_D = jax.nn.relu(x_D @ w + b)
    w, b = layers[-1]
    return (x_D @ w + b)[0]


def hinge(layers, x_ND, y_N):
    score_N = jax.vmap(score, in_axes=(None, 0))(layers, x_ND)
    penalty = 1e-4 * sum((leaf**2).sum() for leaf in jax.tree.leaves(layers))
    return jax.nn.relu(1 - y_N * score_N).mean() + penalty, (y_N * score_N > 0).mean()


sizes, key = [2, 16, 16, 1], jax.random.key(2)
layers = [
    (jax.random.uniform(jax.random.fold_in(key, n), shape, minval=-1, maxval=1), jnp.zeros(shape[1]))
    for n, shape in enumerate(itertools.pairwise(sizes))
]
assert sum(leaf.size for leaf in jax.tree.leaves(layers)) == 337
x_ND, y_N = moons(jax.random.key(3), 100)


@jax.jit
def descend(layers, keep):
    def body(carry, step):
        layers, total = carry
        (value, accuracy), grads = jax.value_and_grad(hinge, has_aux=True)(layers, x_ND, y_N)
        total = jax.tree.map(lambda old, new: keep * old + new, total, grads)
        rate = 1 - 0.9 * step / 100
        return (jax.tree.map(lambda p, g: p - rate * g, layers, total), total), (value, accuracy)

    start = layers, jax.tree.map(jnp.zeros_like, layers)
    (layers, _), record = jax.lax.scan(body, start, jnp.arange(100))
    return layers, *record, hinge(layers, x_ND, y_N)


layers, loss_N, accuracy_N, (final, accuracy) = descend(start := layers, 0.0)
print(f"at first:            loss {loss_N[0]:.3f}, {accuracy_N[0]:.0%} right")
print(f"after 100 steps:     loss {final:.3f}, {accuracy:.0%} right")
*_, (bug, bug_accuracy) = descend(start, 1.0)
print(f"never cleared:       loss {bug:.3f}, {bug_accuracy:.0%} right")
assert accuracy == 1
assert bug_accuracy < 0.6

# %% [markdown]
# From fewer than a third of the points on the right side to all of them. With gradients that are never cleared, the
# same recipe blows up, and the network ends no better than a coin.

# %%
# alt: Two moons of dots, blue and red, and the curved boundary of the network between them.
side_N = jnp.linspace(-1.6, 2.6, 120)
grid_MD = jnp.stack(jnp.meshgrid(side_N, side_N), -1).reshape(-1, 2)
score_M = jax.vmap(score, in_axes=(None, 0))(layers, grid_MD)
figure = mm.plot.figure(5.4, 4.4)
axes = figure.subplots()
axes.contourf(side_N, side_N, score_M.reshape(120, 120), levels=[-50, -1, 1, 50], cmap="RdBu", alpha=0.6)
axes.contour(side_N, side_N, score_M.reshape(120, 120), levels=[0], colors="black", linewidths=1)
axes.scatter(*x_ND.T, c=y_N, cmap="RdBu", edgecolors="black", linewidths=0.6)
axes.set(ylim=(-1.3, 1.8), title="blue: score above 1, red: below -1, line: 0")
figure

# %% [markdown]
# What separates this from the engines of large models is efficiency, nothing else. The author of micrograd says so,
# and you have now seen all of it.
#
# ## Exercises
#
# About 40 minutes. Each exercise is a cell to fill, and a check below it that says "right!", or "not yet" and why. The
# solutions, and how one gets there: [solutions/lesson_1.py](solutions/lesson_1.py).
#
# **Exercise 1.1.** The gradient of $-a^3 + \sin 3b - 1/c + b^{2.5} - \sqrt a$, by hand, without `jax.grad`: a function
# that returns the three slopes. (`np.cos` and `np.sqrt` serve for numbers.)


# %%
def gradient(a, b, c):
    raise NotImplementedError


check(lesson_1.gradient, gradient)

# %% [markdown]
# **Exercise 1.2.** The slope of any function by nudges to both sides. In Python's own float64 it can be right to nine
# digits; choose a step that achieves this.


# %%
def slope(f, x):
    raise NotImplementedError


check(lesson_1.slope, slope)

# %% [markdown]
# **Exercise 1.3.** The rule for the logistic function $\sigma(x) = 1 / (1 + e^{-x})$ as one operation, in the form of
# those in `RULES`: it gets `g`, the output and the input, and returns a tuple of one number. It needs neither `exp`
# nor `x`.


# %%
def logistic_rule(g, out, x):
    raise NotImplementedError


check(lesson_1.logistic_rule, logistic_rule)

# %% [markdown]
# **Exercise 1.4.** A network's last step: a softmax makes probabilities from any numbers $z$, the logits, by
# $\mathrm{softmax}(z)_i = e^{z_i} / \sum_j e^{z_j}$, and the loss is minus the logarithm of the right one's,
# $-\log \mathrm{softmax}(z)_y$. Its gradient with respect to the logits, by hand; $z$ is `logits_V`, $y$ is `label`,
# and `jax.nn.softmax` and `jax.nn.one_hot` help. It is one line, and the most beautiful one in the series.


# %%
def softmax_gradient(logits_V, label):
    raise NotImplementedError


check(lesson_1.softmax_gradient, softmax_gradient)

# %% [markdown]
# Next: [letters, counted](02_counting.ipynb).
