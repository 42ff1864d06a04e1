# %% [markdown]
# # Lesson 2: Counting letters
#
# A language model that fits on one page. We count which letter follows which in 32,178 names, turn counts into
# probabilities, make up new names, and measure how good the model is. Then we throw the counts away and let gradient
# descent look for them. At the end you will know why the two meet, and what a "sufficient statistic" saves. Follows
# Karpathy's [makemore part 1](https://github.com/karpathy/nn-zero-to-hero/tree/master/lectures/makemore).
#
# **Time:** 80 minutes, and 60 for the exercises; the cells run in a minute. **You need** [lesson 0](00_jax.ipynb), and
# from [lesson 1](01_derivatives.ipynb) what a gradient is.

# %%
import itertools
import os

import jax
import jax.numpy as jnp
import numpy as np

import makemore_jax as mm
from makemore_jax.files import embedded
from makemore_jax.lessons.graders import lesson_2
from makemore_jax.lessons.grading import check

QUICK = "QUICK" in os.environ  # fewer steps, for the tests

# %% [markdown]
# ## 1. The data
#
# The data are first names of children born in the United States in 2018. (The lecture has a file of 32,033 names. The
# two files are nearly the same, and so are the results; the lecture's stand beside ours where they are known.)

# %%
names = embedded("names.txt").read_text().split()  # from the package
lengths = [len(name) for name in names]
print(f"{len(names):,} names of {min(lengths)} to {max(lengths)} letters:", ", ".join(names[:6]), "...")
LECTURE = {"names": 32033, "pairs": 228146, "nats": 2.4540, "smoothed": 2.4546, "andrej": 3.0391}
assert len(names) == 32178

# %% [markdown]
# One name says many things: *emma* says that a name may start with e, that m may follow e, that m may follow m, that a
# may follow m, and that a name may end after a. The dot marks the start and the end. So *emma* holds five pairs, and
# here is the most direct way to count all pairs of all names:

# %%
pairs = {}
for name in names:
    line = f".{name}."
    for first, second in itertools.pairwise(line):
        pairs[first, second] = pairs.get((first, second), 0) + 1
in_lecture = {"n.": 6763, "a.": 6640, "an": 5438, ".a": 4410}
for (first, second), times in sorted(pairs.items(), key=lambda item: -item[1])[:4]:
    print(f"{first}{second}  {times:,}   lecture {in_lecture[first + second]:,}")

# %% [markdown]
# Names like to end in n and in a, and to start with a. The lecture finds the same four pairs, in the same order.
#
# ## 2. A table, and one scatter-add
#
# Let the dot be 0 and a to z 1 to 26. If all names are written into one line, `.emma.olivia.ava.`, with one dot between
# neighbours, then every two neighbours in that line are a pair of the data, and no pair is missed or invented. Counting
# is then a single operation: add 1 at each index pair.

# %%
SYMBOLS = ".abcdefghijklmnopqrstuvwxyz"
number = {symbol: i for i, symbol in enumerate(SYMBOLS)}
stream_M = jnp.array([number[symbol] for symbol in f".{'.'.join(names)}."])
x_N, y_N = stream_M[:-1], stream_M[1:]
counts_VV = jnp.zeros((27, 27), jnp.int32).at[x_N, y_N].add(1)
print(f"{len(x_N):,} pairs; in the lecture {LECTURE['pairs']:,}")
assert all(np.asarray(counts_VV)[number[a], number[b]] == times for (a, b), times in pairs.items())
assert counts_VV.sum() == len(x_N) == 229201

# %% [markdown]
# `.at[x_N, y_N].add(1)` adds for *every* pair, also where the same index comes again. (In NumPy, `counts[x, y] += 1`
# would add 1 once per cell, without a word.) The table, then: the row is the letter, the column is what follows.

# %%
# alt: The table of 27 by 27 pairs: each cell has the pair and its count. Darkest are n. and a., then an and .a.
figure = mm.plot.figure(9.6, 9.6)
axes = figure.subplots()
axes.imshow(counts_VV, cmap="Blues")
most = int(counts_VV.max())
for (i, j), times in np.ndenumerate(counts_VV):
    style = {"ha": "center", "fontsize": 7, "color": "white" if times > most / 2 else "#555555"}
    axes.text(j, i - 0.05, SYMBOLS[i] + SYMBOLS[j], va="bottom", **style)
    axes.text(j, i + 0.05, str(times), va="top", **style)
axes.set_axis_off()
figure

# %% [markdown]
# The first row shows how names begin, the first column how they end, and the row of q how few letters follow a q.
#
# ## 3. Names from counts
#
# A row divided by its sum is a distribution. First, how does one draw from a distribution? Here are three
# probabilities, and a hundred draws.

# %%
three_V = jnp.array([0.6, 0.3, 0.1])
drawn_M = jax.random.choice(jax.random.key(2), 3, (100,), p=three_V)
print("the first twenty draws:", *drawn_M[:20])
print("how often each of the three was drawn:", jnp.bincount(drawn_M, length=3))

# %% [markdown]
# Each comes about as often as its probability says. To make up a name, start at the dot, draw the next letter from its
# row, go to that letter's row, and so on until the dot is drawn. **Will they look like names?**

# %%
prob_VV = counts_VV / counts_VV.sum(1, keepdims=True)
np.testing.assert_allclose(prob_VV.sum(1), 1, rtol=1e-6)


def make_name(key, prob_VV):
    name, symbol = "", 0
    while True:
        key, letter_key = jax.random.split(key)
        symbol = int(jax.random.choice(letter_key, 27, p=prob_VV[symbol]))
        if symbol == 0:
            return name
        name += SYMBOLS[symbol]


keys = jax.random.split(jax.random.key(2147483647), 5)
print("by the counts:  ", " ".join(make_name(key, prob_VV) for key in keys))
print("by fair dice:   ", " ".join(make_name(key, jnp.full((27, 27), 1 / 27)) for key in keys[:3]))

# %% [markdown]
# <details><summary>Answer</summary>
#
# Hardly. But compare them with names from a model that knows nothing, in the second line: ours has learned
# *something*. It sees one letter and has forgotten all others; that is what a bigram is.
#
# </details>
#
# ## 4. One word that costs an evening
#
# `keepdims=True` looks like decoration. **What do the rows sum to without it?** On a table of 3 by 3, written out:

# %%
small = jnp.array([[1.0, 1.0, 2.0], [3.0, 3.0, 4.0], [0.0, 5.0, 5.0]])
print("row sums:", small.sum(1))
print("with keepdims, each row by its own sum:\n", small / small.sum(1, keepdims=True))
print("without, each COLUMN by a row's sum:\n", small / small.sum(1))
wrong_VV = counts_VV / counts_VV.sum(1)
print(f"in the table of names the first row then sums to {wrong_VV[0].sum():.4f}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# To anything at all. Shapes are compared from the right. (3, 3) by (3, 1) stretches the column of sums to the right,
# as we meant. (3, 3) by (3,) takes the sums for a *row* and stretches it downwards: entry $(0, 2)$, in the first row
# and the last column, becomes 2/10 instead of 2/4. Nothing fails, and all numbers are plausible. In the lecture the
# first row then sums to 7.02.
#
# </details>
#
# The cure is not to remember rules, but to assert that rows sum to 1, as we did.

# %%
assert 6.9 < wrong_VV[0].sum() < 7.1  # 7.0225 in the lecture, which prints 7.02
assert small[0, 2] / small.sum(1)[2] == 0.2

# %% [markdown]
# ## 5. How good is it?
#
# A model is good if it gives the data a high probability. The letters of *emma* are drawn one after the other, so the
# probability of the name is a product of five:

# %%
likelihood, log_likelihood = 1.0, 0.0
for first, second in itertools.pairwise(".emma."):
    prob = prob_VV[number[first], number[second]]
    likelihood, log_likelihood = likelihood * prob, log_likelihood + jnp.log(prob)
    print(f"{first}{second}   probability {prob:.4f}   its logarithm {jnp.log(prob):.4f}")
print(f"product {likelihood:.2e};  sum of the logarithms {log_likelihood:.4f};  its exp {jnp.exp(log_likelihood):.2e}")
print(f"product over the first 100 pairs of the data: {prob_VV[x_N, y_N][:100].prod()}")
assert np.isclose(likelihood, jnp.exp(log_likelihood))

# %% [markdown]
# **The product turns into a sum.** A hundred factors are already too small for a float32, and all the names have
# 229,201. The logarithm of a product is the sum of the logarithms, which any computer can hold. Take the mean, turn
# the sign so that lower is better, and you have the loss of this whole series: the *mean negative log-likelihood*, in
# nats per character.


# %%
def nll(prob_VV, text):
    """Mean over the pairs of `.text.`"""
    ids = jnp.array([number[symbol] for symbol in f".{text}."])
    return -jnp.log(prob_VV[ids[:-1], ids[1:]]).mean()


loss = -jnp.log(prob_VV[x_N, y_N]).mean()
print(f"all names  {loss:.4f}   lecture {LECTURE['nats']:.4f}")
print(f"andrej     {nll(prob_VV, 'andrej'):.4f}   lecture {LECTURE['andrej']:.4f}")
print(f"knowing nothing: ln 27 = {np.log(27):.4f}")
assert round(float(loss), 4) == 2.4543

# %% [markdown]
# The whole lesson in two numbers: 3.2958 for a model that knows nothing, 2.4543 for the table. **What is the loss of
# `andrejq`?**

# %%
print(nll(prob_VV, "andrejq"))
assert jnp.isinf(nll(prob_VV, "andrejq"))
assert counts_VV[number["j"], number["q"]] == 0

# %% [markdown]
# <details><summary>Answer</summary>
#
# Infinite: no name has a q after a j, so the model swears that none ever will.
#
# </details>
#
# Never be that sure. Pretend that each pair was seen once more than it was.


# %%
def smoothed(counts_VV, more):
    return (counts_VV + more) / (counts_VV + more).sum(1, keepdims=True)


prob1_VV = smoothed(counts_VV, 1)
loss1 = -jnp.log(prob1_VV[x_N, y_N]).mean()
print(f"P(q after j) = {prob1_VV[number['j'], number['q']]:.6f};  andrejq {nll(prob1_VV, 'andrejq'):.4f}")
print(f"all names {loss1:.4f}, lecture {LECTURE['smoothed']:.4f}")

# %% [markdown]
# That is a small price. How much should one add? The data that were counted can't tell: on them, 0 is always best. So
# the library keeps a tenth of the names for such questions (dev), and another tenth for the last one (test). Adding
# more and more pulls the loss towards that of the model that knows nothing.

# %%
# alt: Loss on train and dev over the smoothing: flat up to about ten, then rising to ln 27.
corpus = mm.load()
more_S = jnp.logspace(-2, 5, 60)
train_VV = jnp.zeros((27, 27), jnp.int32).at[corpus.tokens.train.pairs].add(1)
prob_SVV = jax.vmap(smoothed, in_axes=(None, 0))(train_VV, more_S)  # sixty models
figure = mm.plot.figure(7, 3.4)
axes = figure.subplots()
for part in ("train", "dev"):
    x, y = getattr(corpus.tokens, part).pairs
    axes.semilogx(more_S, -jnp.log(prob_SVV[:, x, y]).mean(1), label=part)
axes.axhline(np.log(27), color="#777777", linestyle="--", label="ln 27")
axes.set(xlabel="added to each count", ylabel="nats per character")
axes.legend()
figure

# %% [markdown]
# With a table as small as this, smoothing gains nothing: the names fill its cells well. A table over three letters has
# far more cells to fill, and there it does gain; that is exercise 2.3.
#
# The library has this model, of any order. Is it the same model?

# %%
from makemore_jax.inference.baselines import count_table

library = count_table(corpus, order=2, smoothing=1)
np.testing.assert_allclose(library.params["log_prob"], jnp.log(smoothed(train_VV, 1)), rtol=1e-5)
nats = {part: mm.evaluate(library, getattr(corpus.tokens, part)).nats for part in ("train", "dev", "test")}
print(", ".join(f"{part} {value:.4f}" for part, value in nats.items()))
assert [round(value, 4) for value in nats.values()] == [2.4542, 2.4661, 2.4539]

# %% [markdown]
# ## 6. The same, by a neuron
#
# Now forget that we can count. A network takes numbers, and a letter isn't one: z isn't 26 times as much as a. So each
# letter becomes a vector with a single 1, a *one-hot* vector. Here are the five letters of `.emma` as the network sees
# them:

# %%
# alt: Five rows, one for each letter of .emma, with a single dark cell each, in the column of the letter.
emma_N = jnp.array([number[symbol] for symbol in ".emma"])
onehot_NV = jax.nn.one_hot(emma_N, 27)
figure = mm.plot.figure(7, 1.7)
axes = figure.subplots()
axes.imshow(onehot_NV, cmap="Blues")
axes.set_yticks(range(5), ".emma")
axes.set_xticks(range(27), SYMBOLS)
figure

# %% [markdown]
# One neuron has 27 weights, one for each entry of its input, and here no bias. For each letter it computes one number.
# We want 27 numbers for each letter, one for each letter that may follow. So take 27 neurons side by side: a matrix
# `W`, in which each column is a neuron.

# %%
W_VV = jax.random.normal(jax.random.key(2147483647), (27, 27))
print("one neuron:", onehot_NV.shape, "@", W_VV[:, 0].shape, "->", np.asarray(onehot_NV @ W_VV[:, 0]).round(2))
logits_NV = onehot_NV @ W_VV
print("27 neurons:", onehot_NV.shape, "@", W_VV.shape, "->", logits_NV.shape)

# %% [markdown]
# The outputs may be any number, so they can't be probabilities. Take them for *logarithms of counts*, and call them
# logits. Then `exp` gives counts, and dividing by the sum gives probabilities. That is all that softmax is.
#
# **What does the product with a one-hot vector compute?**

# %%
assert (logits_NV == W_VV[emma_N]).all()

# %% [markdown]
# <details><summary>Answer</summary>
#
# It picks a row of `W`: all else is multiplied by 0. So `W` is a table of 27 by 27, like ours, and it is looked up
# like ours. Only what stands in it is still noise.
#
# </details>
#
# ## 7. Gradient descent
#
# Before any loop, we take one single step by hand, on the five pairs of *emma*, with every number in sight.
# **Forward:** logits, counts, probabilities. The **loss** looks at five of the probabilities, those of the letters
# that did follow.

# %%
follow_N = jnp.array([number[symbol] for symbol in "emma."])
count_NV = jnp.exp(logits_NV)
prob_NV = count_NV / count_NV.sum(1, keepdims=True)
for row, (first, second) in enumerate(itertools.pairwise(".emma.")):
    prob = prob_NV[row, number[second]]
    print(f"P({second} after {first}) = {prob:.4f}   nats {-jnp.log(prob):.4f}")
emma_loss = -jnp.log(prob_NV[jnp.arange(5), follow_N]).mean()
print(f"loss, the mean of the five: {emma_loss:.4f}")

# %% [markdown]
# **Backward:** for one pair the gradient at the logits is the vector of probabilities minus the one-hot vector of the
# right answer (exercise 1.4), and the mean divides by five. Each row of this goes back to the row of `W` from which
# the logits came. Two pairs start with m, so their gradients add up in one row.

# %%
slope_NV = (prob_NV - jax.nn.one_hot(follow_N, 27)) / 5
grad_VV = onehot_NV.T @ slope_NV
of_e = np.asarray(grad_VV[number["e"], number["k"] : number["o"]])
print("gradient in row e, for the letters k, l, m and n:", of_e.round(4))
print("rows with a gradient:", " ".join(SYMBOLS[i] for i in range(27) if jnp.abs(grad_VV[i]).max() > 0))

# %% [markdown]
# Only m came after e, so its gradient is negative and all others are positive. The **update** goes against the
# gradient: the weight for m rises, the others fall.

# %%
stepped_VV = W_VV - 10 * grad_VV
at = number["e"], number["m"]
print(f"weight of m after e: {W_VV[at]:.4f} - 10 * {grad_VV[at]:.4f} = {stepped_VV[at]:.4f}")
again_NV = jax.nn.softmax(onehot_NV @ stepped_VV)
print(f"loss {emma_loss:.4f} -> {-jnp.log(again_NV[jnp.arange(5), follow_N]).mean():.4f}")

# %% [markdown]
# Forward, loss, gradient, update: that is training, and everything else is doing it often. From here on `jax.grad`
# takes the gradient; it agrees with ours.
#
# Now all pairs at once, as in the lecture: a step of 50 (!) times the gradient, a hundred times. There the loss came
# to 2.4818 with a small penalty on large weights, which we leave out for the moment.


# %%
def pair_loss(W_VV, x_N, y_N):
    log_prob_NV = jax.nn.log_softmax(jax.nn.one_hot(x_N, 27) @ W_VV)
    return -log_prob_NV[jnp.arange(len(y_N)), y_N].mean()


np.testing.assert_allclose(jax.grad(pair_loss)(W_VV, emma_N, follow_N), grad_VV, atol=1e-6)


@jax.jit
def hundred_steps(W_VV, x_N, y_N):
    def body(W_VV, _):
        value, grad_VV = jax.value_and_grad(pair_loss)(W_VV, x_N, y_N)
        return W_VV - 50 * grad_VV, value

    return jax.lax.scan(body, W_VV, length=3 if QUICK else 100)


learned_VV, loss_N = hundred_steps(W_VV, x_N, y_N)
reached = pair_loss(learned_VV, x_N, y_N)
print(f"from {loss_N[0]:.4f} to {reached:.4f}; lecture, with its penalty, 2.4818; by counting {loss:.4f}")

# %% [markdown]
# That is good, but look at what it did: a hundred times it made 229,201 vectors of 27 numbers and multiplied them all
# by `W`, though there are only 729 different pairs. Every *an* in the data has the same loss, and there are over five
# thousand of them. Compute it once and multiply it by how often it occurs:


# %%
def table_loss(W_VV, counts_VV):
    return -(counts_VV * jax.nn.log_softmax(W_VV)).sum() / counts_VV.sum()


by_pairs, by_table = (
    jax.value_and_grad(pair_loss)(W_VV, x_N, y_N),
    jax.value_and_grad(table_loss)(W_VV, counts_VV),
)
print(f"loss by pairs {by_pairs[0]:.6f}, by table {by_table[0]:.6f}")
print(f"gradients differ by at most {jnp.abs(by_pairs[1] - by_table[1]).max():.0e}")
np.testing.assert_allclose(by_pairs[1], by_table[1], atol=1e-6)
assert counts_VV.size == 729

# %% [markdown]
# The same loss and the same gradient, up to rounding. So the count table is all that this model can ever know about the
# data: **729 numbers replace 229,201 pairs**, and a billion pairs as well. Statisticians call that a *sufficient
# statistic*. A step now costs next to nothing, so let us take a hundred thousand.

# %%
# alt: The loss over 100,000 steps, on a logarithmic axis, falls to the dashed line of the counts and stays.
STEPS = 1000 if QUICK else 100_000


def train(W_VV, penalty, rate=50.0):
    def regularised(W_VV):
        return table_loss(W_VV, counts_VV) + penalty * (W_VV**2).mean()

    def body(W_VV, _):
        value, grad_VV = jax.value_and_grad(regularised)(W_VV)
        return W_VV - rate * grad_VV, value

    return jax.lax.scan(body, W_VV, length=STEPS)


learned_VV, loss_N = jax.jit(train)(W_VV, 0.0)
mm.plot.losses({"gradient descent": (np.arange(1, STEPS + 1), loss_N)}, {"counting": float(loss)}, log=True)

# %% [markdown]
# **What has it learned?** Here are the counted probabilities and the softmax of the learned table. (From 0.4 on all
# cells have the same shade, or the single pair *qu* would leave nothing to see elsewhere.)

# %%
# alt: Two tables of 27 by 27 probabilities, counted and learned, that look the same.
figure = mm.plot.figure(9, 4.4)
for axes, (title, table) in zip(
    figure.subplots(1, 2), {"counted": prob_VV, "learned": jax.nn.softmax(learned_VV)}.items(), strict=True
):
    image = axes.imshow(table, cmap="Blues", vmin=0, vmax=0.4)
    mm.plot.name_axes(axes, SYMBOLS, fontsize=7)
    axes.set_title(title)
figure.colorbar(image, ax=figure.axes, shrink=0.8, extend="max")
figure

# %%
found = table_loss(learned_VV, counts_VV)
difference = jnp.abs(jax.nn.softmax(learned_VV) - prob_VV).max()
print(f"counting {loss:.4f}, gradient descent {found:.4f}; no probability differs by more than {difference:.4f}")
if not QUICK:
    assert round(float(found), 4) == round(float(loss), 4) == 2.4543

# %% [markdown]
# <details><summary>Answer</summary>
#
# The counts. The two tables look the same, and no probability differs by more than the line above says.
#
# </details>
#
# **Gradient descent arrives at the counts.** Nobody told it about counting. Is it a coincidence? The gradient of the
# table's loss is
#
# $$\frac{\partial L}{\partial W_{xy}} = \frac{n_x}{N}\,(p_{xy} - \hat p_{xy}),$$
#
# with $\hat p$ the counted probabilities, $n_x$ the pairs that start with $x$, and $N$ all pairs. (For a single pair,
# exercise 1.4 gives probabilities minus a one-hot vector; the mean of the one-hot vectors of a row is $\hat p$.) It is
# zero exactly where the model says what was counted. So for a bigram there are two roads to one model. The second
# looks like a detour, and it is the one that goes on: three letters of context still fit in a table, and ten fit in no
# computer, but $W$ can become a network.

# %%
n_V1, p_VV = counts_VV.sum(1, keepdims=True), jax.nn.softmax(W_VV)
np.testing.assert_allclose(n_V1 / len(x_N) * (p_VV - prob_VV), jax.grad(table_loss)(W_VV, counts_VV), atol=1e-6)

# %% [markdown]
# What happens to a pair that never occurred? Its probability goes to 0, so its weight wanders off to minus infinity,
# more slowly with every step. That is why the curve above needs so many steps.
#
# ## 8. A penalty is smoothing
#
# A penalty on large weights, $\lambda \cdot \mathrm{mean}(W^2)$, keeps them near 0. If all weights are 0, every row is
# uniform, just as it is if a very large number is added to each count. So the network has its own smoothing. Below are
# nine penalties, trained at once by `vmap`, beside the curve of smoothing: what each costs in loss, and what it gives
# to pairs that never occurred.

# %%
# alt: Probability of unseen pairs over the loss: the nine penalties lie on the curve of smoothing.
STEPS = 300 if QUICK else 20_000
penalty_R = jnp.logspace(-3, 1, 9)
W_RVV, _ = jax.jit(jax.vmap(train, in_axes=(None, 0)))(W_VV, penalty_R)
unseen = counts_VV == 0


def price(prob_VV):
    return -(counts_VV * jnp.log(prob_VV)).sum() / counts_VV.sum(), prob_VV[unseen].mean()


figure = mm.plot.figure(7, 3.8)
axes = figure.subplots()
more_S = jnp.logspace(-1, 5, 60)
axes.semilogy(*jax.vmap(lambda more: price(smoothed(counts_VV, more)))(more_S), label="smoothing")
nats_R, given_R = jax.vmap(price)(jax.nn.softmax(W_RVV))
axes.semilogy(nats_R, given_R, "o", label="penalty")
for x, y, penalty in zip(nats_R, given_R, penalty_R, strict=True):
    axes.annotate(f"{penalty:.2g}", (x, y), (5, -11), textcoords="offset points", fontsize=8)
axes.set(xlabel="loss on the names, nats per character", ylabel="mean probability\nof pairs never seen")
axes.legend(loc="lower right")
figure

# %% [markdown]
# Two knobs with one effect. They aren't the same function, but they run side by side, from "what was counted" at the
# lower left to "anything goes" at the upper right.
#
# Finally, names from both roads, with the same keys:

# %%
print("counted:", " ".join(make_name(key, prob_VV) for key in keys))
print("learned:", " ".join(make_name(key, jax.nn.softmax(learned_VV)) for key in keys))

# %% [markdown]
# ## 9. What there is to beat
#
# The remaining lessons build networks. Before that: how far does *counting* go? A good way to count longer contexts is
# to back off to a shorter one where the longer was rarely seen (Kneser and Ney). It takes a second.

# %%
baseline = mm.count(corpus, order=2 if QUICK else 5)
nats = mm.evaluate(baseline, corpus.tokens.dev).nats
print(f"up to five letters, with back-off: dev {nats:.4f}")
if not QUICK:
    assert round(nats, 4) == 2.0307

# %% [markdown]
# Dev has 2.0307 nats instead of 2.4661. That is the number to beat, and lesson 9 shows which models do.
#
# ## Exercises
#
# About 60 minutes. Each exercise is a cell to fill, and a check below it that says "right!", or "not yet" and why. The
# solutions, and how one gets there: [solutions/lesson_2.py](solutions/lesson_2.py).
#
# **Exercise 2.1.** The rows of a table of counts as probabilities, where a row may be empty. An empty row says nothing,
# so let it be uniform.


# %%
def normalise(counts_VV):
    raise NotImplementedError


check(lesson_2.normalise, normalise)

# %% [markdown]
# **Exercise 2.2.** (The lecture's E01.) Count trigrams: a table of 27 x 27 x 27, by the two letters before and the
# letter that follows. Two dots stand before the first letter. Note that in one long stream the letters before a name
# belong to *another* name. `names` is a list; return integers.


# %%
def count_trigrams(names):
    raise NotImplementedError


check(lesson_2.count_trigrams, count_trigrams)

# %% [markdown]
# **Exercise 2.3.** (E02, E03.) The train lines are `corpus.lines.train`, the dev lines `corpus.lines.dev`. Which of
# 0.01, 0.03, 0.1, 0.3, 1, 3 and 10, added to each trigram's count, gives the lowest loss on dev? (Then look at test,
# once.)

# %%
best_smoothing = ...

check(lesson_2.best_smoothing, best_smoothing)

# %% [markdown]
# **Exercise 2.4.** (E04.) The logits of the letters `x_N`, without any one-hot vector.


# %%
def logits_after(W_VV, x_N):
    raise NotImplementedError


check(lesson_2.logits_after, logits_after)

# %% [markdown]
# **Exercise 2.5.** (E05.) The mean loss of logits (N, V) on symbols (N,) in one go: the cross-entropy. It should work
# for logits of any size.


# %%
def cross_entropy(logits_NV, y_N):
    raise NotImplementedError


check(lesson_2.cross_entropy, cross_entropy)

# %% [markdown]
# Next: [more than one letter](03_embeddings.ipynb).
