# %% [markdown]
# # Lesson 0: JAX in ten cells
#
# Everything in the other eleven lessons is built from the few ideas on this page: arrays that never change, functions
# that are turned into other functions, keys for randomness, and one way to write a loop. At the end you will know what
# JAX does with your function, and you will have met the six traps that cost everyone an afternoon. The lectures use
# PyTorch and have no such lesson.
#
# **Time:** 40 minutes, and 40 for the exercises; the cells run in half a minute. **You need** Python, a little NumPy,
# and derivatives as in school.

# %%
import os

import jax
import jax.numpy as jnp
import numpy as np

import makemore_jax as mm
from makemore_jax.lessons.graders import lesson_0
from makemore_jax.lessons.grading import check

QUICK = "QUICK" in os.environ  # fewer steps, for the tests

# %% [markdown]
# ## 1. Arrays never change
#
# `jax.numpy` looks like NumPy. There is one large difference: an array is a value, as a number is. You never change a
# 3 into a 4; you compute another number. So there is no assignment into an array. `.at[...].set(...)` gives a new
# array, and the old one stays as it was.

# %%
x = jnp.array([10.0, 20.0, 30.0])
y = x.at[0].set(99.0)
print("x =", x, "   y =", y)

# %% [markdown]
# This looks like a restriction, and it is the whole point. A function that can't change its arguments depends on
# nothing but its arguments: it is a function as in mathematics. Such functions can be differentiated, mapped over a
# batch, and compiled, by machines, without asking you anything.
#
# ## 2. Functions become other functions: `grad`
#
# `jax.grad` takes a function and returns another function: its derivative.


# %%
def cube(x):
    return x**3


slope = jax.grad(cube)
print("cube(2) =", cube(2.0), "   its slope there:", slope(2.0), "   the slope of the slope:", jax.grad(slope)(2.0))
assert slope(2.0) == 3 * 2.0**2

# %% [markdown]
# ## 3. `vmap`: written for one, run on many
#
# Write the function for a single example, with no thought of batches. `jax.vmap` makes the function that works on an
# axis of examples. It isn't a loop: a product of a matrix with a vector becomes a product of two matrices.


# %%
def distance(a_D, b_D):
    """Between two points."""
    return jnp.sqrt(((a_D - b_D) ** 2).sum())


corner_ND = jnp.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
to_all = jax.vmap(distance, in_axes=(None, 0))  # one point, many others
all_to_all = jax.vmap(to_all, in_axes=(0, None))  # many, many others
print(all_to_all(corner_ND, corner_ND))

# %% [markdown]
# The letters behind the underscore are the shape: `corner_ND` has N rows of D numbers. The lessons do that everywhere;
# half of all errors in this trade are errors of shape, and such names make them visible.
#
# ## 4. `jit`: the function is read once, and compiled
#
# **How often does this print?** We call the compiled function three times.


# %%
@jax.jit
def double(x):
    print("reading double with x =", type(x).__name__)
    return 2 * x


print(double(1.0), double(2.0), double(3.0))

# %% [markdown]
# <details><summary>Answer</summary>
#
# Once. JAX calls your Python function a single time, with stand-ins for the numbers ("tracers") that write down what
# is done to them. The record is compiled, and from then on Python is out of the game.
#
# </details>
#
# The record of what your function does can be read. It is called a *jaxpr*, and it is the hero of lesson 1.

# %%
print(jax.make_jaxpr(lambda x: jnp.tanh(2 * x) + x)(1.0))

# %% [markdown]
# ## 5. Keys: randomness is an argument
#
# A pure function can't have a hidden state, so it can't have a hidden random generator. A key is passed in, and the
# same key gives the same numbers, today and tomorrow, here and on a GPU. For more randomness, split the key.

# %%
key = jax.random.key(0)
dice_key, coin_key = jax.random.split(key)
print("dice:", jax.random.randint(dice_key, (8,), 1, 7), "  coins:", jax.random.bernoulli(coin_key, shape=(4,)))

# %% [markdown]
# ## 6. Pytrees: parameters are plain data
#
# Any nesting of dicts, lists and tuples of arrays counts as one thing. A model's parameters are a dict; its gradient is
# a dict of the same shape; a step of gradient descent is one line for all of them. No `Module`, no registry.

# %%
params = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}


def loss(params, x_D):
    return (params["w"] @ x_D + params["b"]) ** 2


gradient = jax.grad(loss)(params, jnp.array([1.0, 1.0]))
print("gradient:", gradient)
print("one step:", jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient))

# %% [markdown]
# ## 7. A loop body becomes a program: `scan`
#
# Here is a famous loop. A population $x$, as a share of what the pond can hold, grows at rate $r$, and starves when the
# pond is full:
#
# $$x \leftarrow r\,x\,(1 - x)$$
#
# JAX writes down every turn of a Python loop anew. **How long is the program for 1,000 turns?**


# %%
def season(r, x):
    return r * x * (1 - x)


def loop(r, turns):
    x = 0.5
    for _ in range(turns):
        x = season(r, x)
    return x


def scanned(r, turns):
    def body(x, _):
        x = season(r, x)
        return x, x  # what is carried to the next turn, and what is kept of this one

    return jax.lax.scan(body, 0.5, length=turns)


for turns in (10, 1000):
    lengths = [len(jax.make_jaxpr(lambda r, way=way, n=turns: way(r, n))(3.0).eqns) for way in (loop, scanned)]
    print(f"{turns:>5} turns: {lengths[0]:>5} equations as a Python loop, {lengths[1]} as a scan")
assert lengths == [2999, 1]

# %% [markdown]
# <details><summary>Answer</summary>
#
# 2,999 equations as a Python loop, and one as a scan.
#
# </details>
#
# `scan` reads the body once and says "repeat this". It compiles quickly, and its gradient is another scan. Every
# training run in these lessons is one: the body is a step of gradient descent, what is carried is the parameters, what
# is kept is the loss.
#
# And since the loop is now a value like any other, `vmap` takes it, too. Not one pond, then, but two thousand of them,
# each with a growth rate of its own. (`mm` is the library, here for its empty figure.)

# %%
# alt: The last seasons of 2,000 ponds by growth rate: one value, which splits into two, four, eight, then chaos.
rate_R = jnp.linspace(2.5, 4.0, 300 if QUICK else 2000)
_, x_RT = jax.jit(jax.vmap(lambda r: scanned(r, 400)))(rate_R)
figure = mm.plot.figure(8, 4.2)
axes = figure.subplots()
axes.plot(np.repeat(rate_R, 100), x_RT[:, -100:].reshape(-1), ",", color="#08306b", alpha=0.25)
axes.set(xlabel="growth rate r", ylabel="the last 100 seasons", title="2,000 loops, run as one program")
figure

# %% [markdown]
# At low rates the pond is calm; then good and bad years take turns; then there are four values, eight, and chaos.
# Nobody wrote a loop over rates. Where the pond swings between two values, they can be worked out with a pencil, so
# let us check the picture:

# %%
r = 3.2
by_hand = (r + 1 + np.array([-1, 1]) * np.sqrt((r - 3) * (r + 1))) / (2 * r)
_, x_T = scanned(r, 400)
print("by hand:", by_hand.round(5), "   by scan:", np.sort(x_T[-2:]).round(5))
np.testing.assert_allclose(np.sort(x_T[-2:]), by_hand, atol=1e-5)

# %% [markdown]
# That is all of JAX that we need: `grad`, `vmap`, `jit`, `scan`, keys and trees. Now for the traps. For each there is
# a question in bold. Make a guess *before* you look at the output and open the answer; being wrong is how it sticks.
#
# ## Trap 1: numbers have seven digits
#
# The slope of $3x^2 - 4x + 5$ at 3 is 14. **What does the difference quotient give for a step of $10^{-7}$?**

# %%
f = lambda x: 3 * x**2 - 4 * x + 5
for h in (1e-2, 1e-6, 1e-7):
    print(f"h = {h:g}:  slope {(f(jnp.float32(3) + h) - f(jnp.float32(3))) / h:.5f}")
assert f(jnp.float32(3) + 1e-7) == f(jnp.float32(3))

# %% [markdown]
# <details><summary>Answer</summary>
#
# Zero. JAX computes in float32 unless told otherwise, and $3 + 10^{-7}$ does not exist there: it is 3. A smaller step
# isn't a better one; lesson 1 draws the whole curve. `jax.grad` makes no such step.
#
# </details>
#
# ## Trap 2: a key used twice
#
# **Are these two vectors of noise independent?**

# %%
key = jax.random.key(1)
noise, more_noise = jax.random.normal(key, (3,)), jax.random.normal(key, (3,))
print(noise, more_noise)
assert (noise == more_noise).all()

# %% [markdown]
# <details><summary>Answer</summary>
#
# No, they are identical. That was the promise, after all: same key, same numbers. Treat a key as a match: once struck,
# it is gone. Split first.
#
# </details>
#
# ## Trap 3: past the end
#
# **What is the 100th element of an array of three?** NumPy would raise an IndexError.

# %%
print("x =", x, "   x[100] =", x[100], "   with mode='fill':", x.at[100].get(mode="fill"))
assert x[100] == x[2]

# %% [markdown]
# <details><summary>Answer</summary>
#
# The last one. A compiled program has nobody to raise an error to, so the index is moved to the nearest one that
# exists, silently. A model asked about position 100 of a table of 8 answers happily, and wrongly (lesson 8).
#
# </details>
#
# ## Trap 4: assignment
#
# **What does `x[0] = 1` do?**

# %%
try:
    x[0] = 1
except TypeError as error:
    print("TypeError:", str(error).split(".")[0])

# %% [markdown]
# <details><summary>Answer</summary>
#
# It raises a TypeError: at least this trap is loud. Write `x.at[0].set(1)`, as in section 1.
#
# </details>
#
# ## Trap 5: `where` hides a value, but not its gradient
#
# $\log 0$ is minus infinity, so let us avoid it. **The value is fine. What about the gradient at 0?**

# %%
careful = lambda p: jnp.where(p > 0, jnp.log(p), 0.0)
print("value:", careful(0.0), "   gradient:", jax.grad(careful)(0.0))
assert careful(0.0) == 0
assert jnp.isnan(jax.grad(careful)(0.0))

# %% [markdown]
# <details><summary>Answer</summary>
#
# It is nan, not a number. Both branches are computed, and both are differentiated; the gradient of the branch not
# taken is multiplied by 0, and zero times infinity isn't zero. The cure is to give the logarithm a harmless number
# *before* it is taken: a `where` inside as well as outside. Exercise 0.2 is about it.
#
# </details>
#
# ## Trap 6: the exponential of 100
#
# **Softmax divides exponentials by their sum. What is the softmax of (0, 100)?**

# %%
logits = jnp.array([0.0, 100.0])
print("exp:", jnp.exp(logits), "   softmax by hand:", jnp.exp(logits) / jnp.exp(logits).sum())
print("log of jax.nn.softmax:", jnp.log(jax.nn.softmax(logits)), "   jax.nn.log_softmax:", jax.nn.log_softmax(logits))
assert jnp.isinf(jnp.exp(100.0))

# %% [markdown]
# <details><summary>Answer</summary>
#
# Zero and nan, if you write it like that: $e^{100}$ doesn't fit into a float32, and infinity divided by infinity has
# no value. Subtract the largest logit first: it changes nothing in exact arithmetic, and everything in ours. And even
# then, the logarithm of a probability that was rounded to 0 is minus infinity, where the truth is $-100$. So stay with
# logarithms all the way: `log_softmax`.
#
# </details>
#
# ## Exercises
#
# About 40 minutes. Each exercise is a cell to fill, and a check below it that says "right!", or "not yet" and why. The
# solutions, and how one gets there: [solutions/lesson_0.py](solutions/lesson_0.py).
#
# **Exercise 0.1.** Roll two dice: two integers from 1 to 6, independent, from one key.


# %%
def two_rolls(key):
    raise NotImplementedError


check(lesson_0.two_rolls, two_rolls)

# %% [markdown]
# **Exercise 0.2.** The entropy $-\sum p \log p$ of a distribution, where a probability may be 0. Its gradient must be
# finite there.


# %%
def entropy(p_V):
    raise NotImplementedError


check(lesson_0.entropy, entropy)

# %% [markdown]
# **Exercise 0.3.** `log_softmax` of your own, with `jnp.exp` and `jnp.log`, good for logits as large as 10,000.


# %%
def log_softmax(logits_V):
    raise NotImplementedError


check(lesson_0.log_softmax, log_softmax)

# %% [markdown]
# **Exercise 0.4.** The running mean: entry $t$ is the mean of entries 0 to $t$. Use `jax.lax.scan`, so that the program
# is as short for a thousand entries as for ten.


# %%
def running_mean(x_T):
    raise NotImplementedError


check(lesson_0.running_mean, running_mean)

# %% [markdown]
# **What to take away.** You write the step, for one example. JAX makes the derivative, the batch and the loop, because
# your step was a function and nothing else.
#
# Next: [how the derivative is made](01_derivatives.ipynb).
