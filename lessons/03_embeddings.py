# %% [markdown]
# # Lesson 3: A window of embeddings
#
# One letter of context is too little, and a table for ten is too large. So each letter becomes a point in a small
# space, three points go into a network, and the network shares what it learns between contexts that are alike. At the
# end you will have trained it, forty times at once to find its learning rate, and you will have looked minibatch noise
# in the eye. Follows Karpathy's [makemore part
# 2](https://github.com/karpathy/nn-zero-to-hero/tree/master/lectures/makemore), after Bengio et al. 2003.
#
# **Time:** 80 minutes, and 50 for the exercises; the cells run in two minutes, the longest under a progress bar. **You
# need** [lesson 2](02_counting.ipynb): the names, the loss, and gradient descent.

# %%
import itertools
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import makemore_jax as mm
from makemore_jax.lessons.graders import lesson_3
from makemore_jax.lessons.grading import check
from makemore_jax.lessons.waiting import in_parts, watch

QUICK = "QUICK" in os.environ  # fewer steps, for the tests

# %% [markdown]
# ## 1. Why not a larger table?
#
# A table for one letter of context has 27 rows. For two it has 729, for three almost twenty thousand. **How many of
# those rows has anybody ever seen?**

# %%
corpus = mm.load()
SYMBOLS = "".join(corpus.vocab.symbols)
for size in (1, 2, 3, 4):
    seen = {f"{'.' * size}{name}."[i : i + size] for name in corpus.lines.train for i in range(len(name) + 1)}
    print(f"{size} letters: {27**size:>8,} contexts, {len(seen):>6,} in the data, {len(seen) / 27**size:7.2%}")
assert 27**3 == 19683

# %% [markdown]
# <details><summary>Answer</summary>
#
# Of the long ones, almost none: nearly all rows for four letters are empty, and will stay so.
#
# </details>
#
# A model of counts learns nothing about one row from another. It doesn't know that much the same letters follow *dan*
# and *jan*. What we want is a model in which similar contexts *are* similar. That idea is Bengio's, from 2003; he had
# words in place of letters, seventeen thousand of them, in a space of 30 dimensions.
#
# ## 2. Windows
#
# The data as the network gets them: three letters, and the one that follows. Before the start stand dots.


# %%
def windows(names, size=3):
    x, y = [], []
    for name in names:
        context = [0] * size
        for symbol in f"{name}.":
            x.append(context)
            y.append(SYMBOLS.index(symbol))
            context = [*context[1:], y[-1]]
    return jnp.asarray(np.array(x)), jnp.asarray(np.array(y))


text = lambda ids: "".join(SYMBOLS[i] for i in ids)
five = ["emma", "olivia", "ava", "isabella", "sophia"]  # the first in the file
x_NR, y_N = windows(five)
for x_R, y in zip(x_NR[:5], y_N[:5], strict=True):
    print(text(x_R), "->", SYMBOLS[y])
print(f"the first five names make {len(y_N)} examples")
assert x_NR.shape == (32, 3)

# %% [markdown]
# ## 3. An embedding is a row of a table
#
# Give each letter a point in the plane: a table `embed` of 27 x 2. The point of letter 5 is row 5. (The product of a
# one-hot vector with the table is the same, as we saw, and slower.) An index may be an array of any shape: the result
# has that shape, with a point in place of each number.

# %%
embed_VD = jax.random.normal(jax.random.key(0), (27, 2))
assert (embed_VD[5] == jax.nn.one_hot(5, 27) @ embed_VD).all()
print(x_NR.shape, "->", embed_VD[x_NR].shape)

# %% [markdown]
# The next layer wants a vector for each example: the three points one after the other. **Do we have to move numbers for
# that?**

# %%
e_NRD = embed_VD[x_NR]
glued_NE = jnp.concatenate([e_NRD[:, 0], e_NRD[:, 1], e_NRD[:, 2]], axis=1)
assert (glued_NE == e_NRD.reshape(-1, 6)).all()

# %% [markdown]
# <details><summary>Answer</summary>
#
# No. Six numbers in a row are six numbers in a row, and `reshape` only says so. (In PyTorch the two are `view` and
# `cat`.)
#
# </details>
#
# ## 4. The network
#
# Points, a layer of $\tanh$, and logits:


# %%
def init(key, embed=2, hidden=100, window=3):
    shapes = {"embed": (27, embed), "w1": (window * embed, hidden), "b1": hidden, "w2": (hidden, 27), "b2": 27}
    keys = jax.random.split(key, len(shapes))
    return {name: jax.random.normal(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}


def logits(params, x_NR):
    e_NE = params["embed"][x_NR].reshape(len(x_NR), -1)
    hidden_NH = jnp.tanh(e_NE @ params["w1"] + params["b1"])
    return hidden_NH @ params["w2"] + params["b2"]


def loss(params, x_NR, y_N):
    log_prob_NV = jax.nn.log_softmax(logits(params, x_NR))
    return -jnp.take_along_axis(log_prob_NV, y_N[:, None], axis=1).mean()


size_of = lambda params: sum(leaf.size for leaf in jax.tree.leaves(params))
params = init(jax.random.key(1))
print(f"{size_of(params):,} parameters, first loss {loss(params, x_NR, y_N):.2f}; uniform would be {np.log(27):.4f}")
assert size_of(params) == 3481

# %% [markdown]
# `b1` has shape (100,), and is added to (32, 100): one bias per unit, the same for all examples. Think it through
# once, and assert shapes from then on, since a wrong shape may broadcast as well. The first loss is far worse than
# that of a uniform guess: the network is *confidently* wrong. Lesson 4 begins with that.
#
# The loss is a cross-entropy in one go. Exponentials, a sum and a logarithm would be the same on paper, and break when
# a logit is large:

# %%
bad_V = jnp.array([-5.0, -3.0, 0.0, 100.0])
print("by hand:", jnp.exp(bad_V) / jnp.exp(bad_V).sum(), "  log_softmax:", jax.nn.log_softmax(bad_V))
assert jnp.isnan(jnp.exp(bad_V) / jnp.exp(bad_V).sum()).any()

# %% [markdown]
# ## 5. Overfit something small first
#
# 3,481 parameters, 32 examples. It should be able to learn those by heart. **Will the loss go to zero?**


# %%
@jax.jit
def descend(params, x_NR, y_N):
    def body(params, _):
        value, grads = jax.value_and_grad(loss)(params, x_NR, y_N)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), value

    return jax.lax.scan(body, params, length=3000)


by_heart, loss_S = descend(params, x_NR, y_N)
print(f"from {loss_S[0]:.2f} to {loss_S[-1]:.4f}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# No, it stops at a quarter of a nat. Look at the examples: `...` is followed by e, o, a, i and s, in five names. No
# function can say five things at once. The best it can do there is 1/5 each, which costs $\ln 5$, five times in 32.
#
# </details>
#
# The lowest possible loss on these examples can be computed:

# %%
floor = 5 * np.log(5) / 32
print(f"the floor: 5 ln 5 / 32 = {floor:.5f}")
assert round(floor, 5) == 0.25147
assert floor < loss_S[-1] < floor + 0.02
assert [SYMBOLS[y] for x, y in zip(x_NR, y_N, strict=True) if not x.any()] == list("eoais")

# %% [markdown]
# When a network can learn a handful of examples to their floor, most bugs are excluded. Do this first, always.
#
# ## 6. Minibatches: rough directions, many steps
#
# Now we use all the data. One gradient over all examples is exact and slow. The lecture takes 32 random ones for each
# step: "it is better to have an approximate gradient and make more steps". How rough *is* that direction? Usually it
# is called "noisy", and that is all. But with `vmap` we can have the gradient of **each example by itself**, which the
# lecture cannot show, since PyTorch gives only sums. Here are the gradients of 4,096 examples: of each, its part along
# the direction of the true gradient.

# %%
# alt: Gradients of single examples spread widely over 0; the means of 32 form a narrow peak right of 0.
data = {part: windows(getattr(corpus.lines, part)) for part in ("train", "dev", "test")}
train_x, train_y = data["train"]
print({part: len(y) for part, (_, y) in data.items()})


@jax.jit
def sgd(params, plan, key, data):
    """Gradient descent on minibatches of 32. `plan` has two arrays: number and rate of each step."""
    x_NR, y_N = data

    def body(params, now):
        step, rate = now
        pick_B = jax.random.randint(jax.random.fold_in(key, step), (32,), 0, len(y_N))
        value, grads = jax.value_and_grad(loss)(params, x_NR[pick_B], y_N[pick_B])
        return jax.tree.map(lambda p, g: p - rate * g, params, grads), value

    return jax.lax.scan(body, params, plan)


warming_S = jnp.full(100 if QUICK else 5000, 0.1)
warm, _ = sgd(params, (jnp.arange(len(warming_S)), warming_S), jax.random.key(2), data["train"])


@jax.jit
def along_the_mean(params, x_NR, y_N):
    """Of the gradient of each example: its part along the mean gradient."""
    one = lambda x_R, y: ravel_pytree(jax.grad(loss)(params, x_R[None], y[None]))[0]
    grad_NP = jax.vmap(one)(x_NR, y_N)
    mean_P = grad_NP.mean(0)
    return grad_NP @ mean_P / jnp.linalg.norm(mean_P)


examples = 128 if QUICK else 4096
along_N = np.asarray(along_the_mean(warm, train_x[::44][:examples], train_y[::44][:examples]))
batch_M = along_N[np.random.default_rng(0).integers(0, len(along_N), (20_000, 32))].mean(1)
figure = mm.plot.figure(7.5, 3.4)
axes = figure.subplots()
bins = np.linspace(-4, 6, 120)
axes.hist(along_N, bins, density=True, alpha=0.6, label="one example")
axes.hist(batch_M, bins, density=True, alpha=0.6, label="mean of a minibatch of 32")
axes.axvline(along_N.mean(), color="black", label="mean of all: the gradient")
axes.set(xlabel="gradient along the true direction", yticks=[])
axes.legend()
figure

# %%
wrong_one, wrong_batch = (along_N < 0).mean(), (batch_M < 0).mean()
print(f"pointing the wrong way: {wrong_one:.0%} of the examples, {wrong_batch:.0%} of the minibatches")
print(
    f"spread {along_N.std():.3f} for one, {batch_M.std():.3f} for 32; the ratio is {along_N.std() / batch_M.std():.2f}"
)
np.testing.assert_allclose(along_N.std() / batch_M.std(), np.sqrt(32), rtol=0.05)

# %% [markdown]
# **Minibatch noise is this histogram.** Examples disagree wildly: taken alone, nearly a third of them would send us
# the wrong way. The mean of 32 hardly ever does, because the spread of a mean of $n$ shrinks by $\sqrt n$. Halving it
# once more would cost four times the work, and the direction is good enough as it is; hence small batches and many
# steps.
#
# ## 7. The learning rate: forty universes
#
# The lecture finds the rate like this: train one network for 1,000 steps, raise the rate with every step from
# $10^{-3}$ to 1, and plot the loss over the rate. It is a good trick with a flaw: by the time the rate is 0.1, the
# network has already learned something, so rate and progress are mixed up. It would be better to train forty networks,
# each with a rate of its own, from the same start, on the same batches. **How much code does that take?**

# %%
# alt: Loss over the learning rate: noisy for one network with a rising rate, a smooth valley for forty networks.
steps, exponent_R = 100 if QUICK else 1000, jnp.linspace(-3, 0, 4 if QUICK else 40)
start, key = init(jax.random.key(3)), jax.random.key(4)
_, one_S = sgd(start, (jnp.arange(steps), 10 ** jnp.linspace(-3, 0, steps)), key, data["train"])
rate_RS = jnp.broadcast_to(10 ** exponent_R[:, None], (len(exponent_R), steps))
forty = jax.vmap(sgd, in_axes=(None, (None, 0), None, None))
params_R, loss_RS = forty(start, (jnp.arange(steps), rate_RS), key, data["train"])
dev_R = jax.vmap(loss, in_axes=(0, None, None))(params_R, *data["dev"])

figure = mm.plot.figure(7.5, 3.6)
axes = figure.subplots()
axes.semilogx(
    10 ** jnp.linspace(-3, 0, steps), one_S, linewidth=0.6, label="one network, its rate rising (the lecture)"
)
axes.semilogx(10**exponent_R, dev_R, "o-", markersize=3, label="forty networks, each at one rate: dev loss")
axes.set(xlabel="learning rate", ylabel="nats per character", ylim=(2, 12))
figure.legend(loc="outside upper left")
figure

# %%
best_rate = float(10 ** exponent_R[dev_R.argmin()])
print(f"best of forty: rate {best_rate:.2f}, dev {dev_R.min():.3f} after {steps} steps; the lecture settles for 0.1")
if not QUICK:
    assert 0.1 / 3 < best_rate < 0.1 * 3

# %% [markdown]
# <details><summary>Answer</summary>
#
# One line. `sgd` was written for one network with one rate, and `jax.vmap(sgd, ...)` is forty of them. There is no
# loop over rates, in Python or anywhere: each matrix product now multiplies forty matrices. A sweep is not a chore to
# put off, it's one more axis.
#
# </details>
#
# ## 8. Train, dev, test
#
# Parameters are fitted on train. What we choose by looking (rate, width, embedding) is chosen on dev. Test is for the
# last line of the paper, since each look at it is a choice, too. With two-dimensional embeddings and 100 units:

# %%
steps = 100 if QUICK else 30_000


def decay(steps, rate=0.1):
    """A tenth of the rate for the last third of the steps, as in the lecture."""
    return jnp.arange(steps), jnp.where(jnp.arange(steps) < 0.7 * steps, rate, rate / 10)


flat, _ = sgd(init(jax.random.key(5)), decay(steps), key, data["train"])
full = jax.jit(loss)
print(f"train {full(flat, *data['train']):.4f}, dev {full(flat, *data['dev']):.4f}")

# %% [markdown]
# The loss is the same on both: the network hasn't learned by heart, it is too *small*. The usual advice is more units.
# **Do they help?** We try three widths and two sizes of embedding, with three seeds each, since a difference might be
# luck:

# %%
# alt: Dev loss over hidden units: the curve for an embedding of 10 lies well below the one for 2.
steps, runs = 100 if QUICK else 5000, {}
WIDTHS, SEEDS = ((50,), 1) if QUICK else ((50, 100, 200), 3)
for embed, hidden in watch(itertools.product((2, 10), WIDTHS)):
    for seed_key in jax.random.split(jax.random.key(6), SEEDS):
        start = init(seed_key, embed, hidden)
        start |= {"w1": 0.2 * start["w1"], "w2": 0.01 * start["w2"], "b2": 0 * start["b2"]}
        params, _ = sgd(start, decay(steps), seed_key, data["train"])
        runs.setdefault((embed, hidden), []).append(float(full(params, *data["dev"])))
    print(f"embedding {embed:>2}, {hidden:>3} units: dev", *(f"{nats:.3f}" for nats in runs[embed, hidden]))
figure = mm.plot.figure(6.5, 3.4)
axes = figure.subplots()
for embed in (2, 10):
    loss_WK = np.array([runs[embed, hidden] for hidden in WIDTHS])
    axes.errorbar(
        WIDTHS,
        loss_WK.mean(1),
        (loss_WK.mean(1) - loss_WK.min(1), loss_WK.max(1) - loss_WK.mean(1)),
        marker="o",
        capsize=4,
        label=f"embedding of {embed}",
    )
axes.set(xlabel="hidden units", ylabel="dev, nats per character", xticks=WIDTHS)
axes.legend()
figure

# %%
mean = {sizes: np.mean(nats) for sizes, nats in runs.items()}
if not QUICK:
    assert max(mean[10, hidden] for hidden in WIDTHS) < min(mean[2, hidden] for hidden in WIDTHS)
    assert abs(mean[2, 50] - mean[2, 200]) < 0.03

# %% [markdown]
# <details><summary>Answer</summary>
#
# Hardly. With two dimensions, four times the units gain less than 0.03. With ten, the narrowest network is better than
# the widest was before. All that the network knows about a letter has to pass through its embedding, and two numbers
# were too few.
#
# </details>
#
# Without the bars, which show the best and the worst seed, we couldn't tell an effect from luck.
#
# Before we leave the plane, let us look at it. **Where has the network put the letters?**

# %%
# alt: Letters in the plane: the vowels stand together on the left, most consonants on the right.
figure = mm.plot.figure(5.2, 5.2)
axes = figure.subplots()
plane_VD = np.asarray(flat["embed"])
low_D, high_D = np.percentile(plane_VD, (8, 92), axis=0)
margin_D = 0.35 * (high_D - low_D)
near_V = ((plane_VD > low_D - margin_D) & (plane_VD < high_D + margin_D)).all(1)
for symbol, (a, b), near in zip(SYMBOLS, plane_VD, near_V, strict=True):
    if near:
        axes.scatter(a, b, s=200, color="#9ecae1" if symbol in "aeiouy" else "#eeeeee")
        axes.annotate(symbol, (a, b), ha="center", va="center")
far = " ".join(symbol for symbol, near in zip(SYMBOLS, near_V, strict=True) if not near)
axes.set(title=f"where each letter is; vowels in blue (far outside: {far})")
figure

# %%
distance = lambda a, b: np.linalg.norm(plane_VD[a] - plane_VD[b])
apart = lambda these, those: np.median([distance(a, b) for a in these for b in those if a != b])
vowels = [SYMBOLS.index(symbol) for symbol in "aeiou"]
others = [i for i, symbol in enumerate(SYMBOLS) if symbol not in "aeiouy."]
print(f"between two vowels {apart(vowels, vowels):.2f}, between vowel and consonant {apart(vowels, others):.2f}")
if not QUICK:
    assert apart(vowels, vowels) < apart(vowels, others) / 2

# %% [markdown]
# <details><summary>Answer</summary>
#
# The vowels are together. Nobody told the network what a vowel is. It found out that similar letters follow a, e, i, o
# and u, and put them side by side; so whatever it learns about one of them, it learns about all. The dot has a place
# of its own, and so have letters that behave like no other.
#
# </details>
#
# ## 9. The real thing
#
# Now an embedding of 10 and 200 units, as in the lecture, which trains for 200,000 steps and gets 2.1260 on train,
# 2.1701 on dev. Its dev is a little easier than ours: names repeat, and a random split puts some of them on both
# sides. Here no name is on both.

# %%
steps = 100 if QUICK else 200_000
params = init(jax.random.key(7), embed=10, hidden=200)
print(f"{size_of(params):,} parameters")
params, loss_S = in_parts(lambda params, plan: sgd(params, plan, key, data["train"]), params, decay(steps))
nats = {part: float(full(params, *data[part])) for part in ("train", "dev")}
print(f"{steps:,} steps: train {nats['train']:.4f}, dev {nats['dev']:.4f}; lecture 2.1260, 2.1701")
if not QUICK:
    assert 2.1 < nats["train"] < 2.13
    assert 2.17 < nats["dev"] < 2.2

# %%
# alt: The loss of single minibatches is a thick band; its mean falls steeply, then slowly, and drops once more.
figure = mm.plot.figure(7.5, 3)
axes = figure.subplots()
every, chunk = max(1, steps // 2000), steps // 100
axes.semilogy(range(0, steps, every), loss_S[::every], linewidth=0.4, color="#9ecae1", label="single minibatches")
axes.semilogy(range(chunk // 2, steps, chunk), loss_S.reshape(-1, chunk).mean(1), label=f"mean of {chunk:,}")
axes.set(xlabel="step", ylabel="nats per character", yticks=[2, 3, 5, 10, 20], yticklabels=[2, 3, 5, 10, 20])
axes.minorticks_off()
axes.legend()
figure

# %% [markdown]
# The thick band is the histogram of section 6, seen from the side. At the start there is a cliff, from an absurd loss
# to a reasonable one. Remember it for the next lesson.
#
# ## 10. The same function, in the library
#
# `mm` has this model. It takes whole lines and predicts at every position at once. In its window the newest letter
# comes first, and a symbol of its own, a blank, fills the window before the line, where the lecture uses the dot. So
# it is our network with its rows in another order:

# %%
model = mm.MODELS["mlp"].build(mm.MODELS["mlp"].config(vocab=27, window=3, embed=10, hidden=200))
theirs = {
    "embed": jnp.concatenate([params["embed"], params["embed"][:1]]),  # the blank: symbol 27
    "hidden": {"w": params["w1"].reshape(3, 10, 200)[::-1].reshape(30, 200), "b": params["b1"]},
    "head": {"w": params["w2"], "b": params["b2"]},
}
trained = mm.Trained(model, theirs, corpus.vocab, corpus.context)
quality = mm.evaluate(trained, corpus.tokens.dev)
print(f"ours {nats['dev']:.5f}, the library's {quality.nats:.5f}")
np.testing.assert_allclose(quality.nats, nats["dev"], rtol=1e-5)

# %% [markdown]
# It is one function, so we can use all that the library does with it, such as sampling:

# %%
print(", ".join(mm.sample(jax.random.key(8), trained, 12)))

# %% [markdown]
# These are much better than the bigram's. Some could be on a birth certificate.
#
# ## Exercises
#
# About 50 minutes. Each exercise is a cell to fill, and a check below it that says "right!", or "not yet" and why. The
# solutions, and how one gets there: [solutions/lesson_3.py](solutions/lesson_3.py).
#
# **Exercise 3.1.** The floor of any set of examples: the lowest loss that a function of the window can have on it.
# (Count how often each window occurs, and what follows it.)


# %%
def lowest_loss(x_NR, y_N):
    raise NotImplementedError


check(lesson_3.lowest_loss, lowest_loss)

# %% [markdown]
# **Exercise 3.2.** (The lecture's E02.) `init` starts with a loss of 10 or 20 nats, where ln 27 would do. Change a set
# of parameters so that the first loss is within 0.05 of ln 27, without touching the embedding or the first layer.
# Setting `w2` to exactly 0 does that, too, but then the first layer gets no gradient; don't.


# %%
def calm(params):
    raise NotImplementedError


check(lesson_3.calm, calm)

# %% [markdown]
# **Exercise 3.3.** The spread of the gradient. `loss(params, x, y)` is the loss of one example. Return a pytree like
# `params` that holds, for every single parameter, the standard deviation of its gradient over the examples.


# %%
def gradient_spread(loss, params, x_N, y_N):
    raise NotImplementedError


check(lesson_3.gradient_spread, gradient_spread)

# %% [markdown]
# **Exercise 3.4.** (E03.) Bengio's network had direct connections, too: the logits get the embedded window times one
# more matrix, `params["direct"]`, past the hidden layer. Write `logits` with them.


# %%
def direct_logits(params, x_NR):
    raise NotImplementedError


check(lesson_3.direct_logits, direct_logits)

# %% [markdown]
# **For an evening.** (E01.) Beat 2.1701 on dev, by any means: width, embedding, window, rate, batch. You have `vmap`.
#
# Next: [what flows inside](04_inside.ipynb).
