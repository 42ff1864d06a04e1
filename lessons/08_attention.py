# %% [markdown]
# # Lesson 8: Looking back
#
# Attention lets every letter look at all letters before it, and decide from their content which of them matter. We
# build it from an average, up to GPT-2's block, and show that ours is the library's. At the end you will see causality
# as a triangle, and know why sampling with a key-value cache is not another model. Follows Karpathy's [Let's build
# GPT](https://github.com/karpathy/ng-video-lecture), on names instead of Shakespeare.
#
# **Time:** 90 minutes, and 60 for the exercises; the cells run in three minutes, the longest under a progress bar.
# **You need** [lesson 4](04_inside.ipynb), for normalisation; [lesson 7](07_remembering.ipynb) helps.

# %%
import math
import os
from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

import makemore_jax as mm
from makemore_jax.analysis import sources
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import digest, split
from makemore_jax.data.vocab import MARK
from makemore_jax.lessons.graders import lesson_8
from makemore_jax.lessons.grading import check
from makemore_jax.models import layers as nn
from makemore_jax.models import transformer
from makemore_jax.models.interface import Model, num_params, positions, step_prefix
from makemore_jax.recipe import Recipe

QUICK = "QUICK" in os.environ  # fewer steps, for the tests

corpus = mm.load()
V, CONTEXT = corpus.vocab.size, corpus.context
symbols = corpus.vocab.symbols
V, CONTEXT

# %% [markdown]
# ## One row is many tasks
#
# A language model reads a line and predicts, at *every* position, what comes next. One line of nine letters is
# therefore ten examples, with contexts of every length from one to ten. That is how a transformer learns to work with
# short contexts as well as long ones.

# %%
line = [MARK, *corpus.vocab.encode_line("charlotte")]
for t in range(4):
    print(f"when the input is {''.join(symbols[i] for i in line[: t + 1])!r}, the target is {symbols[line[t + 1]]!r}")

# %% [markdown]
# The lecture uses tiny Shakespeare, 65 different characters, so a model that knows nothing pays $\ln 65$ nats. Its
# first model, a table of random logits, pays more, since it is confident and wrong. Ours has 27 symbols.

# %%
print(f"ln 65 = {math.log(65):.4f} (the lecture's first loss: 4.8786)   ln {V} = {math.log(V):.4f}")

# %% [markdown]
# ## The mean of the past, three times
#
# How could a letter hear from those before it? The simplest way is the mean of all of them, itself included. It loses
# all order, but we shall get that back. First, as one would say it aloud: with loops.

# %%
T, C = 8, 4
x_TC = jax.random.normal(jax.random.key(0), (T, C))
by_loop = jnp.stack([x_TC[: t + 1].mean(0) for t in range(T)])

# %% [markdown]
# Second, as a matrix product. A row of the matrix holds the weights with which one position sums the others; a lower
# triangle of ones, each row divided by its sum, is the mean of the past.

# %%
weight_TT = jnp.tril(jnp.ones((T, T)))
weight_TT = weight_TT / weight_TT.sum(1, keepdims=True)
by_matrix = weight_TT @ x_TC
print(weight_TT[:3, :3])

# %% [markdown]
# Third, by a softmax. Begin with scores of zero; write $-\infty$ where the future is; the softmax of a row gives the
# same weights.

# %%
past_TT = jnp.tril(jnp.ones((T, T), bool))
score_TT = jnp.where(past_TT, 0.0, -jnp.inf)
by_softmax = jax.nn.softmax(score_TT) @ x_TC

np.testing.assert_allclose(by_matrix, by_loop, atol=1e-6)
np.testing.assert_allclose(by_softmax, by_loop, atol=1e-6)
score_TT[:3, :3]

# %% [markdown]
# **Three ways to one result. Why should we like the third, the most roundabout?**
#
# <details><summary>Answer</summary>
#
# Because of the zeros. They say that no position matters more than another. Put numbers there that depend on the
# *data*, and each position decides for itself which others to listen to. The mask stays as it is.
#
# </details>
#
# ## Self-attention
#
# Where do the scores come from? Each position emits three vectors, all linear functions of what it holds: a **query**,
# what it is looking for; a **key**, what it contains; a **value**, what it will tell if asked. The score of a pair is
# the product of one position's query and the other's key.


# %%
# alt: Three triangles of weights, 8 by 8: the even mean of the past, one head, and one head that is not scaled.
def head(w, x_TC, scale=True):
    """(T, K) one head of self-attention, and its weights (T, T)."""
    q_TK, k_TK, v_TK = x_TC @ w["query"], x_TC @ w["key"], x_TC @ w["value"]
    score_TT = q_TK @ k_TK.T / (math.sqrt(k_TK.shape[1]) if scale else 1)
    past_TT = jnp.tril(jnp.ones(score_TT.shape, bool))
    weight_TT = jax.nn.softmax(jnp.where(past_TT, score_TT, -jnp.inf))
    return weight_TT @ v_TK, weight_TT


C, K = 32, 16
draw = np.random.default_rng(1337).standard_normal
x_TC = jnp.float32(draw((T, C)))
w = {name: jnp.float32(draw((C, K)) / C**0.5) for name in ("query", "key", "value")}
(out_TK, weight_TT), (_, unscaled_TT) = head(w, x_TC), head(w, x_TC, scale=False)
canvas = mm.plot.figure(10, 3.4)
mean_TT = jax.nn.softmax(jnp.where(past_TT, 0.0, -jnp.inf))
titles = {"the mean of the past": mean_TT, "one head": weight_TT, "one head, scores not scaled": unscaled_TT}
for axes, (title, matrix_TT) in zip(canvas.subplots(1, 3), titles.items(), strict=True):
    axes.imshow(np.where(past_TT, matrix_TT, np.nan), cmap="Blues", vmin=0, vmax=1)
    for (t, s), value in np.ndenumerate(np.asarray(matrix_TT)):
        color = "white" if value > 0.6 else "#333333"
        axes.text(s, t, f"{value:.2f}".lstrip("0") if s <= t else "", ha="center", va="center", fontsize=7, color=color)
    axes.set(title=title, xticks=[], yticks=[])
canvas.axes[0].set(ylabel="position that looks", xlabel="position that is looked at")
canvas

# %% [markdown]
# Every row still sums to 1, and the future is still dark. But the weights now differ from row to row, with what the
# positions hold. Six remarks, as in the lecture:
#
# 1. Attention is communication: nodes of a graph, in which each listens to those that point at it.
# 2. It has no notion of space. The position has to be told, which is why an embedding of the position is added.
# 3. Examples of a batch never talk to each other.
# 4. Delete the mask, and all positions hear each other: that is an **encoder** block. With the mask it is a
#    **decoder**.
# 5. *Self*-attention takes keys and values from the same place as queries. In *cross*-attention they come from
#    elsewhere, such as the sentence that is to be translated.
# 6. Scores are divided by $\sqrt K$, the width of the head. The third picture shows what happens otherwise.
#
# **Why the square root of the width?**

# %%
q_MK, k_MK = jnp.float32(draw((20_000, K))), jnp.float32(draw((20_000, K)))
score_M = (q_MK * k_MK).sum(1)
print(f"variance of q: {q_MK.var():.3f}, of q k: {score_M.var():.2f}, of q k / sqrt(K): {(score_M / K**0.5).var():.3f}")
assert abs((score_M / K**0.5).var() - 1) < 0.05
scores = jnp.array([0.1, -0.2, 0.3, -0.2, 0.5])
print("softmax of scores:        ", jax.nn.softmax(scores).round(2))
print("softmax of scores times 8:", jax.nn.softmax(8 * scores).round(2))
assert abs(jax.nn.softmax(8 * scores).max() - 0.80) < 0.005  # the lecture's figure

# %% [markdown]
# <details><summary>Answer</summary>
#
# A product of two random vectors of width K is a sum of K terms of variance 1: it has variance K. And a softmax of
# large numbers points at one position and ignores the rest, before anything was learned. Divided by $\sqrt K$, the
# scores have variance 1, and the softmax starts out diffuse.
#
# </details>
#
# **Several heads** look for several things at once, each in its own K = C / N dimensions; their results are
# concatenated. The lecture writes a loop over heads. Every real implementation computes all heads at once; the lecture
# leaves that as an exercise, and it is our 8.3.
#
# ## A GPT in thirty lines
#
# What is missing? After listening, a position has to *think* about what it heard: a small MLP on each position alone.
# Both parts are repeated, a few blocks of them. And deep networks need two more ideas to train at all:
#
# - **Residual connections**: a block adds to `x` instead of replacing it. Addition passes gradients on unchanged, so
#   there is a highway from the loss down to the first layer. It is the trick of lesson 7's gates, in depth instead of
#   time.
# - **Layer norm**: lesson 4's BatchNorm with the axis changed. Each position is normalised over its own features, so
#   there is no state, no difference between training and inference, and no coupling of examples.


# %%
def layer_norm(p, x_TC):
    mean_T1, var_T1 = x_TC.mean(-1, keepdims=True), x_TC.var(-1, keepdims=True)
    return p["g"] * (x_TC - mean_T1) / jnp.sqrt(var_T1 + 1e-5) + p["b"]


normed = layer_norm({"g": 1.0, "b": 0.0}, 3 + 2 * x_TC)
print(f"a row:    mean {normed[0].mean():+.4f}, standard deviation {normed[0].std():.4f}")
print(f"a column: mean {normed[:, 0].mean():+.4f}, standard deviation {normed[:, 0].std():.4f}")


# %%
def attention(p, x_TC, heads, past_TT):
    q, k, v = jnp.split(x_TC @ p["qkv"]["w"] + p["qkv"]["b"], 3, axis=-1)
    results = []
    for q_TK, k_TK, v_TK in zip(*(jnp.split(part, heads, axis=-1) for part in (q, k, v)), strict=True):
        score_TT = q_TK @ k_TK.T / math.sqrt(q_TK.shape[1])
        results.append(jax.nn.softmax(jnp.where(past_TT, score_TT, -jnp.inf)) @ v_TK)
    return jnp.concatenate(results, axis=-1) @ p["out"]["w"] + p["out"]["b"]


def feed_forward(p, x_TC):
    return jax.nn.gelu(x_TC @ p["up"]["w"] + p["up"]["b"]) @ p["down"]["w"] + p["down"]["b"]


def gpt(p, embed_TC, heads, masked=True):
    """(T, V) logits of one line, from the embeddings of its symbols."""
    T = len(embed_TC)
    past_TT = jnp.tril(jnp.ones((T, T), bool)) if masked else jnp.ones((T, T), bool)
    x_TC = embed_TC + p["position"][:T]
    for block in p["blocks"]:
        x_TC = x_TC + attention(block, layer_norm(block["norm1"], x_TC), heads, past_TT)  # communicate
        x_TC = x_TC + feed_forward(block, layer_norm(block["norm2"], x_TC))  # compute
    return layer_norm(p["norm"], x_TC) @ p["head"]


# %% [markdown]
# That is the whole of GPT-2's architecture. The library's `transformer` is written for batches, with all heads at once;
# given the same parameters, it gives the same logits.

# %%
config = transformer.Config(V, context=CONTEXT, layers=1 if QUICK else 3, heads=4, embed=32)
library = transformer.transformer(config)
params = jax.jit(library.init)(jax.random.key(0))
params = jax.tree.map(
    lambda leaf: jnp.float32(np.asarray(leaf) + 0.1 * draw(leaf.shape)), params
)  # no zeros to hide behind
x_T = jnp.array(line)
ours = jax.jit(partial(gpt, heads=config.heads))(params, params["embed"][x_T])
theirs = jax.jit(library.apply)(params, x_T[None])[0]
print(f"{num_params(params):,} parameters; largest difference {jnp.abs(ours - theirs).max():.1e}")
np.testing.assert_allclose(ours, theirs, atol=1e-4)

# %% [markdown]
# ## Causality is a triangle
#
# The logits at $t$ must not depend on what comes after $t$, or the model could copy the answer. **How could you be
# sure, for a network of three blocks and twelve heads, that no path leads from the future to the past?**
#
# <details><summary>Answer</summary>
#
# Differentiate every output with respect to every input. Where the Jacobian is exactly zero there is no path.
#
# </details>
#
# Here is its Jacobian, for the network above with its mask, and without.

# %%
# alt: Two Jacobians of the network: with the mask a lower triangle, without it a full square.
canvas = mm.plot.figure(9.5, 4.2)
letters = [symbols[i] for i in line]
sizes = {}
for axes, masked in zip(canvas.subplots(1, 2), (True, False), strict=True):
    jacobian = jax.jit(jax.jacrev(partial(gpt, heads=config.heads, masked=masked), argnums=1))
    size_TT = np.asarray(jnp.linalg.norm(jacobian(params, params["embed"][x_T]), axis=(1, 3)))
    sizes[masked] = size_TT
    axes.imshow(np.where(size_TT > 0, size_TT, np.nan), cmap="Blues", vmin=0)
    axes.set_xticks(range(len(line)), letters)
    axes.set_yticks(range(len(line)), letters)
    axes.set(title="with the mask" if masked else "without", xlabel="embedding at", ylabel="logits at")
assert (np.triu(sizes[True], 1) == 0).all()
assert (np.tril(sizes[True]) + np.triu(np.ones_like(size_TT), 1) > 0).all()
assert (sizes[False] > 0).all()
canvas


# %% [markdown]
# The triangle is the mask, seen from outside, through the whole network. It is a test that needs to know nothing about
# the network inside, and the repository runs one like it on every model.
#
# ## The ladder
#
# The lecture climbs to a GPT rung by rung, and notes the loss at each. We do the same, on names, with a model whose
# parts can be switched on one by one. (Lines lie end to end in a batch, so the mask hides what lies before the
# last mark, as well as the future.)


# %%
@dataclass(frozen=True)
class Rung:
    vocab: int = V
    context: int = CONTEXT
    embed: int = 32
    heads: int = 0  # 0: no attention
    layers: int = 1
    feed_forward: bool = False
    residual: bool = False
    norm: bool = False
    masked: bool = True


def visible(config, x_BT):
    """(B, T, T) whom each position may look at: its own line, and of that the past."""
    line_BT, t_T = jnp.cumsum(x_BT == MARK, axis=1), jnp.arange(x_BT.shape[1])
    same_BTT = line_BT[:, :, None] == line_BT[:, None, :]
    return same_BTT & (t_T[:, None] >= t_T) if config.masked else same_BTT


@cache
def build(config):
    width = config.embed

    def init(key):
        keys = iter(jax.random.split(key, 3 + 4 * config.layers))
        blocks = [
            {
                "norm1": nn.init_norm(width),
                "qkv": nn.init_linear(next(keys), width, 3 * width),
                "out": nn.init_linear(next(keys), width, width, 0.5),
                "norm2": nn.init_norm(width),
                "up": nn.init_linear(next(keys), width, 4 * width),
                "down": nn.init_linear(next(keys), 4 * width, width, 0.5),
            }
            for _ in range(config.layers)
        ]
        return {
            "embed": nn.init_embedding(next(keys), V, width),
            "position": nn.init_embedding(next(keys), config.context, width, 0.5),
            "blocks": blocks,
            "head": nn.init_linear(next(keys), width, V, 0.1),
        }

    def forward(params, x_BT):
        x_BTC = params["embed"][x_BT] + params["position"][positions(x_BT)]
        norm = nn.layer_norm if config.norm else lambda p, x: x
        add = (lambda x, y: x + y) if config.residual else (lambda x, y: y)
        visible_B1TT = visible(config, x_BT)[:, None]
        for block in params["blocks"]:
            if config.heads:
                qkv = nn.linear(block["qkv"], norm(block["norm1"], x_BTC))
                qkv = (part.reshape(*x_BT.shape, config.heads, -1) for part in jnp.split(qkv, 3, axis=-1))
                mean_BTC, _ = transformer.attend(*qkv, visible_B1TT)  # the library's: all heads at once
                x_BTC = add(x_BTC, nn.linear(block["out"], mean_BTC))
            if config.feed_forward:
                x_BTC = add(x_BTC, feed_forward(block, norm(block["norm2"], x_BTC)))
        return nn.linear(params["head"], x_BTC), {}

    return Model(config, init, forward, *step_prefix(forward, config.context))


# %%
rungs = {  # and, where the lecture says it, the loss on Shakespeare
    "symbol and position": (Rung(), "2.5"),
    "one head": (Rung(heads=1), "2.4"),
    "four heads": (Rung(heads=4), "2.28"),
    "and feed-forward": (Rung(heads=4, feed_forward=True), "2.24"),
    "three blocks of it": (Rung(heads=4, feed_forward=True, layers=3), ""),
    "and residuals": (Rung(heads=4, feed_forward=True, layers=3, residual=True), "2.08"),
    "and layer norm": (Rung(heads=4, feed_forward=True, layers=3, residual=True, norm=True), "2.06"),
}
recipe = Recipe(steps=5 if QUICK else 500, batch=48, learning_rate=4e-3, warmup=50)
dev = {"counting pairs": mm.evaluate(mm.count(corpus, order=2), corpus.tokens.dev).nats}
print(f"{'counting pairs':22}dev {dev['counting pairs']:.4f}")
for name, (rung, theirs) in list(rungs.items())[:: 3 if QUICK else 1][: 2 if QUICK else None]:
    trained = mm.train(jax.random.key(0), build(rung), corpus, recipe)
    dev[name] = mm.evaluate(trained, corpus.tokens.dev).nats
    print(f"{name:22}dev {dev[name]:.4f}{'   (the lecture, on Shakespeare: ' + theirs + ')' if theirs else ''}")
if not QUICK:
    assert dev["four heads"] < dev["symbol and position"] < dev["one head"]
    assert dev["three blocks of it"] > dev["and feed-forward"] > dev["and residuals"] + 0.05

# %%
# alt: Dev loss of each rung: falling, except for one head and for three blocks without residuals.
canvas = mm.plot.figure(8, 3.4)
axes = canvas.subplots()
axes.plot(list(dev.values()), range(len(dev)), "o-", color="#08519c")
axes.set_yticks(range(len(dev)), list(dev))
axes.invert_yaxis()
axes.set(xlabel=f"dev loss after {recipe.steps} steps, nats per character")
axes.grid(alpha=0.2)
canvas

# %% [markdown]
# Read it rung by rung. On names the position alone says much: how names begin, and when they tend to end. (On
# Shakespeare, where a row may begin anywhere, it says nothing.) **One head makes it worse. How can looking back
# hurt?**
#
# <details><summary>Answer</summary>
#
# What the head says *replaces* what the position held, so the letter itself has to pass through the average. Four
# heads have room for both.
#
# </details>
#
# Three blocks without residuals are far worse than one, although they can do everything that one can: they are not
# weaker, they are harder to train. Let each part *add* to `x` instead, and the depth pays off, in the largest step of
# the ladder. Layer norm changes little at this depth; deeper networks need it.
#
# The rest is scale: the lecture's last model on Shakespeare has 10.8 million parameters, dropout against
# overfitting, and a loss of 1.48 after fifteen minutes on an A100. We stay on our two cores.

# %%
print("the lecture's largest model: loss 1.48 with 10.8 million parameters; that of its notebook: 209,729 and 1.8226")

# %% [markdown]
# ## Delete the mask
#
# **Take the mask away, keep everything else, and train. What will the loss be?**

# %%
cheat = mm.train(
    jax.random.key(0),
    build(Rung(heads=4, feed_forward=True, residual=True, norm=True, masked=False)),
    corpus,
    recipe,
)
cheating = mm.evaluate(cheat, corpus.tokens.dev).nats
print(f"dev {cheating:.4f} after {recipe.steps} steps")
mm.sample(jax.random.key(0), cheat, 5)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Far below that of every honest model of names: the library's transformer, with eight times the steps, is near 2.0.
# This one looks one position to the right and copies. It has learned no names, as its samples show, since there is
# nothing to the right when it samples.
#
# </details>
#
# Remember this loss whenever one is too good: a leak is the first thing to look for, and the Jacobian finds it in a
# second.

# %%
if not QUICK:
    assert cheating < 1.0

# %% [markdown]
# ## What the heads look at
#
# Now the library's transformer. Each panel is one head of one layer as it reads *charlotte*; a row shows where that
# position looks.

# %%
# alt: Eight panels, two layers of four heads: where each letter of charlotte looks.
trained = mm.train(
    jax.random.key(1),
    "transformer",
    corpus,
    layers=1 if QUICK else 2,
    embed=48,
    steps=5 if QUICK else 800,
    batch=48,
)
print(f"{num_params(trained.params):,} parameters, dev {mm.evaluate(trained, corpus.tokens.dev).nats:.4f}")
mm.plot.attention(mm.activations(trained, "charlotte"))

# %% [markdown]
# Some heads look at the previous letter, some at the vowels, some at the mark, which often means: nothing to say. Do
# not read too much into one picture; train with another seed, and other heads do other things.
#
# ## One step at a time
#
# To sample, we need the logits at the *last* position only. But that position looks at the keys and values of all
# before it. Computing those anew for every letter is a waste: they do not change, because the past does not depend on
# the future. That is the triangle again. So we keep them. This is the **key-value cache**, and there is no more to it.
#
# The library's `step` does this for all heads and layers (exercise 8.5 asks for one head). Is it the same function as
# `forward`, or an approximation? People who add a cache wonder about that when the samples come out a little different
# ([a pull request of nanoGPT](https://github.com/karpathy/nanoGPT/pull/613)). We scan `step` along a line, and compare
# it with `forward`.


# %%
@partial(jax.jit, static_argnums=0)
def by_steps(model, params, x_BT):
    def body(cache, x_B):
        logits_BV, cache = model.step(params, cache, x_B)
        return cache, logits_BV

    return jnp.swapaxes(jax.lax.scan(body, model.init_cache(params, len(x_BT)), x_BT.T)[1], 0, 1)


model, x_BT = trained.model, x_T[None]
difference = jnp.abs(by_steps(model, trained.params, x_BT) - jax.jit(model.apply)(trained.params, x_BT)).max()
print(f"largest difference {difference:.1e}")
assert difference < 1e-4

# %% [markdown]
# They are the same function, up to rounding. What differs is the work. `step_prefix` makes a step out of any `forward`
# by running it on the whole line for each letter: slow and obviously correct. XLA can count the operations of both.

# %%
slow = model._replace(**dict(zip(("init_cache", "step"), step_prefix(model.forward, CONTEXT), strict=True)))


def operations(model):
    cache = model.init_cache(trained.params, 1)
    return jax.jit(model.step).lower(trained.params, cache, jnp.array([1])).compile().cost_analysis()["flops"]


print(f"operations per letter: {operations(slow):,.0f} without a cache, {operations(model):,.0f} with one")
assert operations(slow) > 5 * operations(model)

# %%
mm.sample(jax.random.key(3), trained, 10)


# %% [markdown]
# ## Teach it to add
#
# The lecture's second exercise is a transformer that adds. The trick is to write the sum *backwards*, lowest digit
# first, because that is the order in which a carry is known: 7 and 95 give the line `07+95=201`.
#
# `makemore_jax.analysis.sources` draws such lines. They are split like names, by a hash, so no sum is both in train and
# held out. **Will a network that was shown about half of all sums learn them by heart, or learn to add?**

# %%
sums = sources.write(jax.random.key(0), sources.sums(digits=2), 2_000 if QUICK else 10_000)
adding = encode(split(sums), digest(sums))
shown, unseen = set(adding.lines.train), sorted({*adding.lines.dev, *adding.lines.test})
print(f"{len(shown):,} different sums to learn from, such as {sums[0]}; {len(unseen):,} others to be asked")
adder = mm.train(
    jax.random.key(1),
    "transformer",
    adding,
    Recipe(steps=5 if QUICK else 3000, batch=64, learning_rate=3e-3, warmup=100, weight_decay=0.1),
    layers=1 if QUICK else 2,
    embed=64,
)


def share_right(lines):
    """The share of lines whose three digits after the = are all the most probable ones."""
    x_NT = jnp.array([[MARK, *adding.vocab.encode_line(line)] for line in lines])
    guess_NT = jax.jit(adder.model.apply)(adder.params, x_NT[:, :-1]).argmax(-1)
    return float((guess_NT == x_NT[:, 1:])[:, len("07+95=") :].all(1).mean())


print("asked for 7 + 95:", *mm.sample(jax.random.key(0), adder, prefix="07+95=", temperature=0))
print(f"right: {share_right(sorted(shown)):.1%} of the sums it was shown, {share_right(unseen):.1%} of the others")
if not QUICK:
    assert share_right(unseen) > 0.95

# %% [markdown]
# <details><summary>Answer</summary>
#
# It adds. One pass over a line shows it, without sampling: by causality the guess for a digit is the one that the
# network would write after the symbols before it, and a line that is written greedily is right if all guesses are. For
# about the first thousand steps little happens. The digits of the two numbers can't be guessed, and always cost
# $4 \ln 10 / 10$ nats per symbol. Then the carry is found, and the loss falls to that floor.
#
# </details>
#
# **What comes after.** ChatGPT is this network, larger, trained on a large part of the internet, and then trained
# further to answer (the lecture's last chapter). `experiments/gpt2.py` loads GPT-2's published weights into the
# library's transformer: the architecture is the one above.
#
# ## Exercises
#
# About an hour. Each exercise is a cell to fill, and a check below it that says "right!", or "not yet" and why. The
# solutions, and how one gets there: [solutions/lesson_8.py](solutions/lesson_8.py).
#
# **Exercise 8.1.** Write the third way to the mean of the past, for any scores: given scores (T, T), row t for the
# position that looks, return weights that are zero on the future and sum to 1 in each row.


# %%
def causal_weights(score_TT):
    raise NotImplementedError


check(lesson_8.causal_weights, causal_weights)

# %% [markdown]
# **Exercise 8.2.** A layer of width C has N heads. By what should the scores be multiplied? (The video has a slip here,
# which was corrected on GitHub: [ng-video-lecture, pull request
# 6](https://github.com/karpathy/ng-video-lecture/pull/6).)


# %%
def score_scale(C, N):
    raise NotImplementedError


check(lesson_8.score_scale, score_scale)

# %% [markdown]
# **Exercise 8.3.** Compute N heads without a loop. `wq_NCK`, `wk_NCK` and `wv_NCK` hold the matrices of all heads;
# return (T, N K), the heads side by side. (`jnp.einsum` or `jax.vmap`: two lines.)


# %%
def many_heads(x_TC, wq_NCK, wk_NCK, wv_NCK):
    raise NotImplementedError


check(lesson_8.many_heads, many_heads)

# %% [markdown]
# **Exercise 8.4.** The table of positions has one row for each position, and a line longer than that has no row to
# look up. In PyTorch the index fails. In JAX? `table` has 16 rows. Which row does `table[20]` return, as a number?
# Predict first; then look; then think about what a model would do on lines that are too long. (The library refuses
# them at every door.)

# %%
table = jnp.arange(16)
row = ...
check(lesson_8.row_past_the_end, row)

# %% [markdown]
# **Exercise 8.5.** Write one step of one head. `past` is a pair (keys, values), each (S, K), of the S positions so far;
# `x_C` is the new position. Return the head's result (K,) at this position, and the pair for the next step.


# %%
def head_step(w, past, x_C):
    """`w` has `query`, `key` and `value`, each (C, K)."""
    raise NotImplementedError


check(lesson_8.head_step, head_step)

# %% [markdown]
# **Exercise 8.6.** Write the line from which a network learns to add: two digits for each number, and three for the
# sum, reversed, so that 7 and 95 give `07+95=201`.


# %%
def addition(a, b):
    raise NotImplementedError


check(lesson_8.addition, addition)

# %% [markdown]
# Next: [where it stands](09_standing.ipynb).
