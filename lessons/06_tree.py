# %% [markdown]
# # Lesson 6: A tree of letters
#
# A window of eight letters, crushed into one layer, loses its order of reading. We read it as a tree instead, two
# letters at a time, meet a BatchNorm bug that nobody notices, and then run the tree at every position of a name: what
# comes out is WaveNet's dilated convolution, and a test proves it. Follows Karpathy's [makemore part
# 5](https://github.com/karpathy/nn-zero-to-hero/blob/master/lectures/makemore/makemore_part5_cnn1.ipynb).
#
# **Time:** 60 minutes, and 40 for the exercises; the cells run in two minutes, the longest under a progress bar. **You
# need** [lesson 4](04_inside.ipynb), for BatchNorm.

# %%
import itertools
import os
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import makemore_jax as mm
from makemore_jax.analysis import influence
from makemore_jax.lessons.graders import lesson_6
from makemore_jax.lessons.grading import check
from makemore_jax.lessons.waiting import in_parts
from makemore_jax.models.interface import num_params
from makemore_jax.models.ngram import contexts

QUICK = "QUICK" in os.environ  # fewer steps, for the tests

corpus = mm.load()
V, R, E = corpus.vocab.size, 8, 10  # symbols, symbols in the window, width of an embedding

# %% [markdown]
# ## Eight letters
#
# Lesson 3 looked at three letters. Let us look at eight. Before the start of a name the window holds marks.


# %%
def windows(tokens):
    """x_NR and y_N: each symbol of the data, and the R symbols before it."""
    x_M, y_M = tokens.pairs
    return jnp.stack(contexts(x_M[None], R + 1), axis=-1)[0], jnp.asarray(y_M)


train_x_NR, train_y_N = windows(corpus.tokens.train)
dev_x_NR, dev_y_N = windows(corpus.tokens.dev)
for x_R, y in zip(train_x_NR[6:14], train_y_N[6:14], strict=True):
    print("".join(corpus.vocab.symbols[i] for i in x_R), "-->", corpus.vocab.symbols[y])

# %% [markdown]
# The flat network of lesson 3 concatenates the eight embeddings and squeezes them through one hidden layer. All letters
# meet at once, at the bottom. WaveNet lets neighbours meet first: letters become pairs, pairs become groups of four,
# groups of four become the whole window.

# %%
# alt: A tree over the letters of ..charlo: eight letters, four pairs, two groups of four, and the window on top.
canvas = mm.plot.figure(9, 3.4)
axes = canvas.subplots()
levels = [np.arange(8.0)]
while len(levels[-1]) > 1:
    levels.append(levels[-1].reshape(-1, 2).mean(1))
for height, (below, above) in enumerate(itertools.pairwise(levels)):
    for child, x in enumerate(below):
        axes.plot([x, above[child // 2]], [height, height + 1], color="#6baed6", zorder=1)
for height, xs in enumerate(levels):
    axes.scatter(xs, np.full(len(xs), height), s=480, color="white", edgecolor="#08519c", zorder=2)
for x, symbol in zip(levels[0], "..charlo", strict=True):
    axes.text(x, 0, symbol, ha="center", va="center", fontsize=13)
axes.text(3.5, 3.45, "logits of the next letter", ha="center")
axes.set_yticks(range(4), ["8 letters", "4 pairs", "2 groups of four", "the window"])
axes.set(xticks=[], ylim=(-0.4, 3.8))
axes.spines[:].set_visible(False)
axes.tick_params(length=0)
canvas


# %% [markdown]
# ## Flatten a little
#
# The lecture calls the one new operation `FlattenConsecutive(2)`. It is a reshape: two neighbours of width E become one
# vector of width 2E. The matrix product that follows does not care how many axes stand before the last; all pairs are
# multiplied at once, like one more axis of the batch.


# %%
def flatten_consecutive(x, n):
    """(..., T, E) to (..., T / n, n E)."""
    *batch, length, width = x.shape
    return x.reshape(*batch, length // n, n * width)


x = jnp.arange(2 * 4 * 3.0).reshape(2, 4, 3)
even_and_odd = jnp.concatenate([x[:, ::2], x[:, 1::2]], axis=-1)  # the lecture's check
assert (flatten_consecutive(x, 2) == even_and_odd).all()
x.shape, flatten_consecutive(x, 2).shape, (flatten_consecutive(x, 2) @ jnp.ones((6, 5))).shape

# %% [markdown]
# The lecture builds classes, `Embedding`, `Flatten`, `Linear`, `Sequential`, to look like `torch.nn`. A pure function
# needs none: the parameters are a list, and a network is a loop over it. `fans` says how many neighbours each level
# joins. The flat network is the tree of one level, `fans = (8,)`.


# %%
def init(fans, hidden, seed=0):
    normal = np.random.default_rng(seed).standard_normal
    levels, width = [], E
    for fan in fans:
        w = normal((fan * width, hidden)) * (5 / 3) / (fan * width) ** 0.5
        levels.append({"w": w, "gain": np.ones(hidden), "bias": np.zeros(hidden)})
        width = hidden
    head = {"w": normal((hidden, V)) * 0.1 / hidden**0.5, "b": np.zeros(V)}
    return jax.tree.map(jnp.float32, {"C": normal((V, E)), "levels": levels, "head": head})


def read(params, x_BR, fans, normalise):
    """(B, V) logits. `normalise(layer, x)` is BatchNorm, in one form or another."""
    x = params["C"][x_BR]
    for fan, layer in zip(fans, params["levels"], strict=True):
        x = jnp.tanh(normalise(layer, flatten_consecutive(x, fan) @ layer["w"]))
    return x[:, 0] @ params["head"]["w"] + params["head"]["b"]


FLAT, TREE = (8,), (2, 2, 2)
flat, tree = init(FLAT, hidden=200), init(TREE, hidden=68)
print(f"flat: {num_params(flat):,} parameters   tree: {num_params(tree):,} parameters   (the lecture: 22K each)")

# %% [markdown]
# Shapes are where such a network goes wrong, and shapes are what one should look at first. `jax.eval_shape` computes
# them without computing anything else: no memory, no arithmetic, no data.

# %%
shapes = {}


def spy(layer, x):
    shapes[f"level {len(shapes)}"] = x.shape
    return x


jax.eval_shape(lambda params, x_BR: read(params, x_BR, TREE, spy), tree, jax.ShapeDtypeStruct((32, R), jnp.int32))
shapes

# %% [markdown]
# ## A bug that runs
#
# Here is the BatchNorm of lesson 4. It was written for (batch, hidden), and takes the mean over axis 0.

# %%
EPSILON = 1e-5


def normalise_2d(layer, x):
    mean, var = x.mean(0, keepdims=True), x.var(0, keepdims=True)
    return layer["gain"] * (x - mean) * jax.lax.rsqrt(var + EPSILON) + layer["bias"]


# %% [markdown]
# **At the first level of the tree it meets an array of (32, 4, 68). Does it fail? If not, how many numbers is each mean
# an average of?**

# %%
at_level_0 = jax.random.normal(jax.random.key(0), (32, 4, 68))
print("output", normalise_2d(tree["levels"][0], at_level_0).shape, "  mean", at_level_0.mean(0, keepdims=True).shape)

# %% [markdown]
# <details><summary>Answer</summary>
#
# It does not fail. Each of the 4 positions gets statistics of its own, from 32 numbers each, where there should be one
# mean per channel, from $32 \times 4$ numbers. Broadcasting makes the shapes fit, the loss goes down, and nobody is
# told. In the lecture this bug lives for a while, too: its running mean has shape (1, 4, 68) and should have (1, 1,
# 68).
#
# </details>
#
# How bad is it? The estimate of a mean from 32 numbers is twice as noisy as the one from four times as many, and that
# noise goes into the training of every node.

# %%
batches = jax.random.normal(jax.random.key(1), (100 if QUICK else 500, 32, 4, 68))
noise = {"axis 0": batches.mean(1).std(), "axes 0 and 1": batches.mean((1, 2)).std()}
print({name: f"{value:.4f}" for name, value in noise.items()}, f"ratio {noise['axis 0'] / noise['axes 0 and 1']:.2f}")
assert abs(noise["axis 0"] / noise["axes 0 and 1"] - 2) < 0.05


# %% [markdown]
# The right statistics of a channel are averages over all other axes (exercise 6.1). In PyTorch there is a second trap
# behind the first: `BatchNorm1d` takes three axes, too, but it wants the channels in the middle, (N, C, L). The
# lecture's own version wants them last.


# %%
def normalise(layer, x):
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    return layer["gain"] * (x - mean) * jax.lax.rsqrt(var + EPSILON) + layer["bias"]


# %% [markdown]
# ## Train
#
# The lecture's loop: minibatches of 32, a rate of 0.1, then 0.01. At the end the statistics are frozen: we measure
# them once on many windows, and from there on each node is a fixed affine map with a tanh, whatever else is in the
# batch. The freezing is one more `normalise`, which hands its statistics out.


# %%
def cross_entropy(logits_BV, y_B):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits_BV), y_B[:, None], axis=1).mean()


@partial(jax.jit, static_argnames=("fans", "normalise"))
def descend(params, x_SBR, y_SB, rate_S, fans, normalise):
    def loss(params, x_BR, y_B):
        return cross_entropy(read(params, x_BR, fans, normalise), y_B)

    def step(params, inputs):
        x_BR, y_B, rate = inputs
        value, grads = jax.value_and_grad(loss)(params, x_BR, y_B)
        return jax.tree.map(lambda p, g: p - rate * g, params, grads), value

    return jax.lax.scan(step, params, (x_SBR, y_SB, rate_S))


@partial(jax.jit, static_argnames=("fans", "axes_of"))
def freeze(params, x_NR, fans, axes_of):
    """The network with its statistics as constants: each level gets a `scale` and a `shift`."""
    levels = []

    def measure(layer, x):
        mean, var = x.mean(axes_of(x)), x.var(axes_of(x))
        scale = layer["gain"] * jax.lax.rsqrt(var + EPSILON)
        levels.append({"w": layer["w"], "scale": scale, "shift": layer["bias"] - mean * scale})
        return frozen(levels[-1], x)

    read(params, x_NR, fans, measure)
    return params | {"levels": levels}


def frozen(layer, x):
    return layer["scale"] * x + layer["shift"]


@partial(jax.jit, static_argnames="fans")
def mean_loss(params, x_NR, y_N, fans):
    return cross_entropy(read(params, x_NR, fans, frozen), y_N)


STEPS = 100 if QUICK else 20_000
if QUICK:
    train_x_NR, train_y_N = train_x_NR[::20], train_y_N[::20]
line_SB = np.random.default_rng(0).integers(0, len(train_y_N), (STEPS, 32))
rate_S = jnp.where(jnp.arange(STEPS) < 3 * STEPS // 4, 0.1, 0.01)
batches = train_x_NR[line_SB], train_y_N[line_SB], rate_S

every_axis_but_last = lambda x: tuple(range(x.ndim - 1))
contestants = {  # and what the lecture reports on its own split, train and dev
    "flat, 8 letters": (flat, FLAT, normalise, every_axis_but_last, (1.918, 2.027)),
    "tree, with the bug": (tree, TREE, normalise_2d, lambda x: (0,), (1.941, 2.029)),
    "tree": (tree, TREE, normalise, every_axis_but_last, (1.912, 2.022)),
}
trained, loss_S = {}, {}
print(f"{'':20}train    dev   after {STEPS:,} steps   (the lecture, 200,000 steps)")
for name, (params, fans, rule, axes_of, (their_train, their_dev)) in contestants.items():
    train_in = lambda params, part, fans=fans, rule=rule: descend(params, *part, fans, rule)
    params, losses = in_parts(train_in, params, batches)
    trained[name], loss_S[name] = freeze(params, train_x_NR[::20], fans, axes_of), np.asarray(losses)
    train, dev = (mean_loss(trained[name], *data, fans) for data in [(train_x_NR, train_y_N), (dev_x_NR, dev_y_N)])
    print(f"{name:18}{train:7.4f}{dev:8.4f}{f'({their_train:.3f} {their_dev:.3f})':>40}")
    assert dev < (3.0 if QUICK else 2.2)
print("the lecture's dev with three letters: 2.105; with its widest tree, 76,579 parameters: 1.993")

# %% [markdown]
# Two things stand out. In the lecture, three letters gave 2.105 and eight give 2.027: the context did the work, and
# everything after that is worth less than a hundredth. And the lecture's tree is hardly ahead of its flat network.
# Ours is ahead after a tenth of the training, and the bug costs about half of the lead. One run each proves little,
# though; lesson 9 asks how much. What a tree has is room to grow: the lecture's widest, with 76,579 parameters, ends
# at 1.993.
#
# One loss per step is a thick fuzzy band. The lecture begins by averaging it, `view(-1, 1000).mean(1)`, and then the
# drop at the change of rate is easy to see.

# %%
# alt: Loss over 20,000 steps: a grey band of single steps, and three means, the tree lowest; all drop at 15,000.
canvas = mm.plot.figure(9, 4)
axes = canvas.subplots()
axes.plot(loss_S["tree"], color="0.85", linewidth=0.3, label="every step")
width = STEPS // 40
for name, losses in loss_S.items():
    axes.plot(np.arange(width / 2, STEPS, width), losses.reshape(-1, width).mean(1), label=f"{name}, mean of {width}")
axes.axvline(3 * STEPS // 4, color="0.4", linestyle="--", linewidth=1)
axes.set(xlabel="gradient step", ylabel="loss, nats per character", ylim=(1.7, 3.0))
legend = canvas.legend(frameon=False, loc="outside upper center", ncols=4)
legend.legend_handles[0].set_linewidth(2)
canvas

# %% [markdown]
# ## The tree at every position
#
# So far the tree reads one window and gives one prediction. A name of eight letters has eight windows, and the lecture
# ends with a loop over them: eight calls, a result of (8, 27). In JAX we write the function for one window and `vmap`
# it.

# %%
params = trained["tree"]
name = "charlott"
padded = jnp.array([0] * R + [corpus.vocab.symbols.index(letter) for letter in name])  # R marks, then the name
slide_TR = jnp.stack([padded[t + 1 : t + 1 + R] for t in range(len(name))])
for x_R in slide_TR[:4]:
    print("".join(corpus.vocab.symbols[i] for i in x_R))
by_window = jax.vmap(lambda x_R: read(params, x_R[None], TREE, frozen)[0])(slide_TR)
by_window.shape

# %% [markdown]
# **The tree for `..charlo` joins (c, h) and (a, r) and (l, o). Two positions later, which of those pairs does the tree
# for `charlott` compute?**
#
# <details><summary>Answer</summary>
#
# All of them, again. A node at level 1 is a function of two neighbouring letters, in whichever window it stands; so
# the pair (c, h) is the same number in every window that joins c with h.
#
# </details>
#
# So nothing need be computed twice. Compute the pair that ends at *every* position once, then the group of four that
# ends at every position, then of eight:
#
# $$h^{(1)}_t = f_1(x_{t-1}, x_t), \qquad h^{(2)}_t = f_2(h^{(1)}_{t-2}, h^{(1)}_t), \qquad
#   h^{(3)}_t = f_3(h^{(2)}_{t-4}, h^{(2)}_t).$$
#
# Each level looks one node back, where a node is 1, then 2, then 4 letters wide. That is a convolution of two taps with
# **dilation** 1, 2, 4. The tree and the convolution are one network, read in two orders.


# %%
def convolve(params, x_T):
    """(T', V) logits at every position that has a whole window to look at."""
    x = params["C"][x_T]
    for level, layer in enumerate(params["levels"]):
        dilation = 2**level
        pair = jnp.concatenate([x[:-dilation], x[dilation:]], axis=-1)  # the node d steps ago, and this one
        x = jnp.tanh(frozen(layer, pair @ layer["w"]))
    return x @ params["head"]["w"] + params["head"]["b"]


by_convolution = convolve(params, padded[1:])
difference = jnp.abs(by_convolution - by_window).max()
print(f"{by_convolution.shape}, largest difference {difference:.1e}")
assert by_convolution.shape == by_window.shape == (8, 27)
assert difference < 1e-5

# %% [markdown]
# That is the proof. And here is the gain. On the left are the nodes that two windows compute, one after the other; on
# the right are those of the convolution, which serve nine windows. (Exercise 6.2 counts them.)

# %%
# alt: On the left two trees over the letters, 14 nodes; on the right the convolution, 37 nodes for 9 windows.
canvas = mm.plot.figure(9.5, 3.4)
T = 16
for axes, title in zip(canvas.subplots(1, 2), ["two windows", "the convolution"], strict=True):
    last, drawn = ([14, 15] if title == "two windows" else range(R - 1, T)), 0
    seen = set()
    for number, t in enumerate(last):
        frontier = [(3, t)]
        while frontier:
            level, at = frontier.pop()
            if title == "the convolution" and (level, at) in seen:
                continue
            seen.add((level, at))
            if level == 0:
                continue
            drawn += 1
            for child in (at - 2 ** (level - 1), at):
                color = ("#6baed6", "#fd8d3c")[number] if title == "two windows" else "#6baed6"
                axes.plot([child, at], [level - 1, level], color=color, linewidth=1, zorder=1)
                frontier.append((level - 1, child))
    nodes = np.array(sorted(seen))
    axes.scatter(nodes[:, 1], nodes[:, 0], s=28, color="white", edgecolor="#08519c", zorder=2)
    axes.set_title(f"{title}: {drawn} nodes for {len(list(last))} predictions", fontsize=10)
    axes.set(xticks=[], yticks=range(4), yticklabels=["letters", "pairs", "fours", "eights"])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
canvas


# %% [markdown]
# The BatchNorm bug would have destroyed this. With separate statistics for every position in the window, a pair is
# another function at another place, and no node can be shared. **The bug in a statistic was a bug in the symmetry.**

# %%
buggy = trained["tree, with the bug"]["levels"][0]
print("scale of level 0: ", buggy["scale"].shape, "with the bug,", params["levels"][0]["scale"].shape, "without")
assert buggy["scale"].shape == (4, 68)

# %% [markdown]
# ## WaveNet itself
#
# The library's `wavenet` has these convolutions, and what the paper adds to them: a gate on each layer ($\tanh \times$
# sigmoid), a residual connection around it, and a skip connection to the output. Its dilations are ours.

# %%
wave = mm.train(jax.random.key(0), "wavenet", corpus, layers=3, channels=32, skip=64, steps=5 if QUICK else 1200)
config = wave.model.config
print(f"dilations {config.dilations}, receptive field {config.receptive_field}, {num_params(wave.params):,} parameters")
print(f"dev {mm.evaluate(wave, corpus.tokens.dev).nats:.4f}")
assert config.receptive_field == R

# %% [markdown]
# **Does a prediction really not depend on the letter eight steps back?** Claims about receptive fields are easy to
# test: replace a letter, and see whether the prediction moves. `mm.plot.reach` draws by how much.

# %%
# alt: Bars of how much each letter back matters: most for the newest, none from eight steps back on.
change_T = influence.reach(jax.random.key(0), wave.model, wave.params, corpus.tokens.dev)
print("8 and more steps back:", change_T[8:])
assert (change_T[:8] > 0).all()
assert (change_T[8:] == 0).all()
mm.plot.reach(change_T, config.receptive_field)

# %% [markdown]
# <details><summary>Answer</summary>
#
# It really does not: the change is exactly zero beyond the receptive field. Within it the last three letters matter
# most, which is why lesson 3 came as far as it did. (The letter four steps back matters more than the one three steps
# back: the last layer, of dilation 4, looks at it directly.)
#
# </details>
#
# The whole dependency at once is a Jacobian: how the logits at $t$ move with the embedding at $s$. We need not
# instrument the network for it; the embeddings are an argument, so `jacrev` does it. (We replace the table by one row
# for each position.)

# %%
# alt: The Jacobian as a picture: a band of eight cells under the diagonal, and white everywhere else.
T = 16


def logits_of_rows(rows_TC):
    """The WaveNet's logits, where each position has an embedding of its own."""
    own = wave.params | {"embed": rows_TC}
    return wave.model.apply(own, jnp.arange(T)[None])[0]


line = jnp.array(corpus.vocab.encode_line("christopherandre")[: T - 1])
rows_TC = wave.params["embed"][jnp.concatenate([jnp.zeros(1, int), line])]
size_TT = jnp.linalg.norm(jax.jit(jax.jacrev(logits_of_rows))(rows_TC), axis=(1, 3))
canvas = mm.plot.figure(5.6, 4.6)
axes = canvas.subplots()
image = axes.imshow(np.where(size_TT > 0, size_TT, np.nan), cmap="Blues", vmin=0)
axes.set_xticks(range(T), ".christopherandr")
axes.set_yticks(range(T), ".christopherandr")
axes.set(xlabel="embedding at", ylabel="logits at")
axes.set_title("size of the Jacobian; white is exactly zero", fontsize=10)
canvas.colorbar(image, ax=axes, shrink=0.7)
ago_TT = np.arange(T)[:, None] - np.arange(T)
assert np.array_equal(np.asarray(size_TT) > 0, (ago_TT >= 0) & (ago_TT < R))
canvas

# %% [markdown]
# It is a band of eight under the diagonal. Above it is nothing: the future is not read. Left of it is nothing: the
# past beyond the receptive field is forgotten. The next two lessons are about the lower left corner, first with a
# memory, then with a look back.
#
# **How such work is done.** The lecture closes with a confession: most of the time went into reading documentation of
# shapes, and into printing them. Work out the shapes in a notebook, with `eval_shape` or real data, then move the code
# into a file with a test. This repository's test for causality is `tests/models/test_laws.py`: it runs for every
# model.
#
# ## Exercises
#
# About 40 minutes. Each exercise is a cell to fill, and a check below it that says "right!", or "not yet" and why. The
# solutions, and how one gets there: [solutions/lesson_6.py](solutions/lesson_6.py).
#
# **Exercise 6.1.** Write the statistics that BatchNorm should use on an array of any rank, `x` of shape (..., H): the
# mean and the variance of each channel over all other axes, each of shape (H,).


# %%
def channel_moments(x):
    raise NotImplementedError


check(lesson_6.channel_moments, channel_moments)

# %% [markdown]
# **Exercise 6.2.** How many nodes does one line of T letters cost, with marks before it as needed? Return two numbers:
# for a tree of L levels run at each of the T positions, and for the dilated convolution, which computes one node for
# each level and position. (Count nodes, not letters.)


# %%
def nodes(T, L):
    raise NotImplementedError


check(lesson_6.nodes, nodes)

# %% [markdown]
# **Exercise 6.3.** Write one dilated layer that keeps the length of the line: $y_t = \tanh([x_{t-d}, x_t] W + b)$ for
# every $t$, with zeros where $t - d$ is before the start. `x_TE` is (T, E), `w` is (2 E, H).


# %%
def dilated(w, b, x_TE, d):
    raise NotImplementedError


check(lesson_6.dilated, dilated)

# %% [markdown]
# **Exercise 6.4.** How many symbols does a stack of such layers see? Give the receptive field for a list of dilations.


# %%
def receptive_field(dilations):
    raise NotImplementedError


check(lesson_6.receptive_field, receptive_field)

# %% [markdown]
# **Exercise 6.5.** The lecture ends with a challenge: beat its 1.993. Here is ours, on our split, where no dev name is
# in train: get below 2.04 on dev within a minute. You may use anything that gives a `Trained` model of this corpus:
# more channels, more layers, another model. (There is an answer that takes one second and no gradient at all.)

# %%
mine = ...  # below 2.04 on dev; for example mm.train(jax.random.key(0), "wavenet", corpus)
check(lesson_6.below, mine)

# %% [markdown]
# Next: [remembering](07_remembering.ipynb).
