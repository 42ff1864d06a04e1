# %% [markdown]
# # Lesson 0: JAX in ten cells
#
# Everything in the other nine lessons is built from the few ideas on this page: arrays that never change, functions
# that are turned into other functions, keys for randomness, and one way to write a loop. At the end you will know what
# JAX does with your function, and you will have met the six traps that cost everyone an afternoon. The lectures have no
# such lesson, for they use PyTorch; what `torch` is to them, this is to us.

# %%
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = os.environ.get("REPOSITORY")  # Colab asks for it, unless you write "https://github.com/..." here
if "google.colab" in sys.modules and not Path("grading.py").exists():  # Colab opens a notebook without its repository
    clone = Path("/content/makemore_jax")
    if not clone.exists():
        address = REPOSITORY or input("Paste the address of this page, or of its repository on GitHub: ")
        address = address.strip().replace("colab.research.google.com/github/", "github.com/").split("/blob/")[0]
        subprocess.run(["git", "clone", "-q", address, clone], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", clone], check=True)
    os.chdir(clone / "lessons")
ROOT = Path(globals().get("__file__", "a notebook")).resolve().parents[1]  # Jupyter starts a notebook in its own folder
sys.path.insert(0, str(ROOT))
QUICK = "QUICK" in os.environ  # fewer steps, for the tests

import jax
import jax.numpy as jnp
import numpy as np

import makemore_jax as mm
from lessons.graders import lesson_0
from lessons.grading import check

# %% [markdown]
# ## 1. Arrays never change
#
# `jax.numpy` looks like NumPy. There is one large difference: an array is a value, as a number is. Nobody says that a
# number 3 was changed to a 4; one computes another number. So there is no assignment into an array. `.at[...].set(...)`
# gives a new array, and the old one stays as it was.

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
# The letters behind the underscore are the shape: `corner_ND` has N rows of D numbers. We shall do that everywhere;
# half of all errors in this trade are errors of shape, and one can see them in a name.
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
# Once. JAX calls your Python function a single time, with stand-ins for the numbers ("tracers") that write down what is
# done to them. The record is compiled, and from then on Python is out of the game. You can read the record; it is
# called a *jaxpr*, and it is the hero of lesson 1.

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
# As a Python loop under `jit`, every turn is written down anew. **How long is the program for 1,000 turns?**


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
# 2,999 equations against one. `scan` reads the body once and says "repeat this". It compiles at once, and its gradient
# is another scan. Every training run in these lessons is one: the body is a step of gradient descent, what is carried
# is the parameters, what is kept is the loss.
#
# And since the loop is now a value like any other, `vmap` takes it, too. Not one pond, then, but two thousand of them,
# each with a growth rate of its own. (`mm` is the library, here for its empty figure.)

# %%
rate_R = jnp.linspace(2.5, 4.0, 300 if QUICK else 2000)
_, x_RT = jax.jit(jax.vmap(lambda r: scanned(r, 400)))(rate_R)
figure = mm.plot.figure(8, 4.2)
axes = figure.subplots()
axes.plot(np.repeat(rate_R, 100), x_RT[:, -100:].reshape(-1), ",", color="#08306b", alpha=0.25)
axes.set(xlabel="growth rate r", ylabel="the last 100 seasons", title="2,000 loops, run as one program")
figure

# %% [markdown]
# A calm pond; then good and bad years in turn; then four, eight, and chaos. Nobody wrote a loop over rates. Where it
# swings between two values, they can be worked out with a pencil, so let us not just admire the picture:

# %%
r = 3.2
by_hand = (r + 1 + np.array([-1, 1]) * np.sqrt((r - 3) * (r + 1))) / (2 * r)
_, x_T = scanned(r, 400)
print("by hand:", by_hand.round(5), "   by scan:", np.sort(x_T[-2:]).round(5))
np.testing.assert_allclose(np.sort(x_T[-2:]), by_hand, atol=1e-5)

# %% [markdown]
# That is all of JAX that we need: `grad`, `vmap`, `jit`, `scan`, keys and trees. Now for the traps. For each there is a
# question in bold. Make a guess *before* you read on; being wrong is how it sticks.
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
# Zero. JAX computes in float32 unless told otherwise, and $3 + 10^{-7}$ does not exist there: it is 3. A smaller step
# isn't a better one; lesson 1 draws the whole curve. `jax.grad` makes no such step.
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
# They are identical. That was the promise, after all: same key, same numbers. Treat a key as a match: once struck, it
# is gone. Split first.
#
# ## Trap 3: past the end
#
# **What is the 100th element of an array of three?** NumPy would raise an IndexError.

# %%
print("x =", x, "   x[100] =", x[100], "   with mode='fill':", x.at[100].get(mode="fill"))
assert x[100] == x[2]

# %% [markdown]
# The last one. A compiled program has nobody to raise an error to, so the index is moved to the nearest one that
# exists, silently. A model asked about position 100 of a table of 8 answers happily, and wrongly (lesson 8).
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
# At least that one is loud. The answer is `x.at[0].set(1)`, as in the first cell.
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
# Not a number. Both branches are computed, and both are differentiated; the gradient of the branch not taken is
# multiplied by 0, and zero times infinity isn't zero. The cure is to give the logarithm something harmless to chew on
# *before* it is taken: a `where` inside as well as outside. Exercise 0.2 is about it.
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
# $e^{100}$ doesn't fit into a float32, and infinity divided by infinity is anything you like. Subtract the largest
# logit first: it changes nothing in exact arithmetic, and everything in ours. And even then, the logarithm of a
# probability that was rounded to 0 is minus infinity, where the truth is $-100$. So stay with logarithms all the way:
# `log_softmax`.
#
# ## Exercises
#
# Each is a cell to fill and a check below it. The check says "not yet" and why, or "right!". There are solutions in
# [solutions/lesson_0.py](solutions/lesson_0.py), for those evenings.
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
# your step was a function and nothing else. Next: [how the derivative is made](01_derivatives.ipynb).
