# %% [markdown]
# # Lesson 9: Where it stands
#
# Lesson by lesson the models seemed to get better. Did they? This lesson is about comparing honestly: count first,
# ask how far two runs of the same model differ, look at what the samples copy, and find out how low a loss can go at
# all. The lectures have no such chapter; it is what we would add to them.
#
# **Time:** 60 minutes, and 40 for the exercises; the cells run in two minutes, the longest under a progress bar. **You
# need** [lesson 2](02_counting.ipynb), and a clone of the repository, whose results one section reads; the models are
# those of lessons 3 to 8.

# %%
import os
import re
from pathlib import Path

import jax
import numpy as np

import makemore_jax as mm
from makemore_jax.analysis import sources
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import Split
from makemore_jax.inference.baselines import count_table
from makemore_jax.lessons.graders import lesson_9
from makemore_jax.lessons.grading import check
from makemore_jax.models.interface import num_params

QUICK = "QUICK" in os.environ  # fewer steps, for the tests

ROOT = Path(mm.__file__).parents[1]  # of the repository
corpus = mm.load()
V = corpus.vocab.size

# %% [markdown]
# ## Who is in the exam
#
# The lectures shuffle the *lines* of their file and hold a tenth of them out. **Is a name in dev then one that the
# model has never seen?**

# %%
lines = [line for part in corpus.lines for line in part]
shuffled = np.random.default_rng(0).permutation(lines)
cut = len(lines) * 9 // 10
seen = np.isin(shuffled[cut:], shuffled[:cut]).mean()
print(
    f"{len(lines):,} lines, {len(set(lines)):,} different names; after a shuffle {seen:.0%} of dev are in train as well"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Not always: girls and boys share names, so lines repeat, and a shuffle puts the same line on both sides. A model that
# memorises is rewarded for it.
#
# </details>
#
# Here a hash of the line decides its side, so equal lines always stay together. Our dev losses are therefore a little
# higher than the lectures' would be, and can't be compared with them to the last digit.

# %%
train, dev, test = (set(part) for part in corpus.lines)
overlap = train & (dev | test)
print(f"different names: train {len(train):,}, dev {len(dev):,}, test {len(test):,}; on two sides: {len(overlap)}")
assert not train & (dev | test)
assert not dev & test

# %% [markdown]
# ## Count first
#
# Before a network is trained, find out what can be had without one. An n-gram with back-off looks at the longest
# context that it has seen, and mixes in shorter ones (Kneser-Ney; Chen and Goodman 1999). It takes a second, and has no
# learning rate.
#
# **Lesson 2's table of pairs gets 2.47 on dev. How far does counting go, if the context may be longer?**

# %%
counted = {
    order: mm.evaluate(mm.count(corpus, order), corpus.tokens.dev).nats
    for order in ((2, 5) if QUICK else (1, 2, 3, 4, 5))
}
for order, nats in counted.items():
    print(f"contexts of up to {order - 1} letters: dev {nats:.4f}")
baseline = min(counted.values())
assert abs(counted[2] - 2.47) < 0.01
assert baseline < 2.04
print("the lectures, on their own split: MLP 2.10 to 2.17, WaveNet 1.99")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Below 2.04. The lectures' MLP ended at 2.10 or more, their WaveNet at 1.99, both on another split of nearly the same
# names.
#
# </details>
#
# This is the first thing to learn from this lesson: **the number to beat is not that of the last network, but that of
# counting.** A loss without it says little.
#
# ## Run it more than once
#
# Two runs of one model differ in nothing but a seed: other initial weights, other batches. How much do their losses
# differ? `mm.sweep` trains several seeds as one program.

# %%
SEEDS, STEPS = range(3), 10 if QUICK else 800
entrants = {"bigram": {}, "mlp": {"hidden": 128, "embed": 16}, "gru": {"hidden": 64, "embed": 24}}
loss_S, best = {}, {}
for name, sizes in list(entrants.items())[:: 2 if QUICK else 1]:
    runs = mm.sweep(name, corpus, SEEDS, steps=STEPS, evaluations=2, **sizes)
    loss_S[name] = np.array([mm.evaluate(run, corpus.tokens.dev).nats for run in runs.best])
    best[name] = runs.best[0]
    half_range = np.ptp(loss_S[name]) / 2
    print(f"{name:7}{num_params(best[name].params):>7,} parameters   dev {loss_S[name].mean():.4f} ±{half_range:.4f}")


# %%
# alt: Dots of single runs for gru, mlp and bigram, all to the right of the dashed line of counting.
def dots(loss_S, baseline, label):
    """A dot for each run, a bar at the mean, a dashed line at the baseline."""
    canvas = mm.plot.figure(8, 0.45 * len(loss_S) + 1.3)
    axes = canvas.subplots()
    axes.axvline(baseline, color="0.4", linestyle="--", linewidth=1, label=label)
    ranked = sorted(loss_S, key=lambda name: -np.mean(loss_S[name]))
    for row, values in enumerate(loss_S[name] for name in ranked):
        axes.plot(values, np.full(len(values), row), "o", color="#6baed6", markersize=6)
        axes.plot([np.mean(values)], [row], "|", color="#08519c", markersize=18, markeredgewidth=2)
    axes.set_yticks(range(len(loss_S)), ranked)
    axes.margins(y=0.25)
    axes.grid(axis="x", alpha=0.2)
    axes.legend(frameon=False, loc="best")
    return canvas, axes


canvas, axes = dots(loss_S, baseline, f"counting: {baseline:.4f}")
axes.set(xlabel=f"dev loss after {STEPS} steps, nats per character")
canvas

# %% [markdown]
# A difference that is smaller than the distance between two seeds proves nothing yet. Remember that when a change
# "gains" a hundredth: run both, three times each, and see whether the dots overlap.
#
# Our networks had a few seconds each. The project's [results](../docs/results.md) have the full comparison, with every
# model's own recipe; it is printed by `python -m experiments.compare`, and takes minutes. We read its table from the
# file, so that nothing is copied by hand.

# %%
rows = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in (ROOT / "docs/results.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|")
]
head = next(row for row in rows if row[0] == "model" and "test" in row)
full = {}
for row in rows[rows.index(head) + 2 :]:
    if len(row) != len(head):
        break
    found = re.fullmatch(r"([\d.]+)(?: ±([\d.]+))?", row[head.index("test")])
    mean, half_range = float(found[1]), float(found[2] or 0)
    full[row[0].replace("`", "")] = mean, half_range
for name, (mean, half_range) in full.items():
    print(f"{name:24}test {mean:.4f} ±{half_range:.4f}")

# %%
# alt: Test losses of all models, with their range over seeds, around the dashed line of counting.
ngram = next(mean for name, (mean, _) in full.items() if "back-off" in name)
neural = {name: values for name, values in full.items() if values[1]}
canvas = mm.plot.figure(8, 0.4 * len(neural) + 1.2)
axes = canvas.subplots()
axes.axvline(ngram, color="0.4", linestyle="--", linewidth=1, label=f"counting: {ngram:.4f}")
ranked = sorted(neural, key=lambda name: -neural[name][0])
for row, name in enumerate(ranked):
    mean, half_range = neural[name]
    axes.errorbar(mean, row, xerr=half_range, fmt="o", color="#08519c", capsize=4)
axes.set_yticks(range(len(ranked)), ranked)
axes.set(xlabel="test loss at full size (docs/results.md), nats per character; mean and range over seeds")
axes.grid(axis="x", alpha=0.2)
axes.legend(frameon=False)
canvas

# %%
clear = [name for name, (mean, half_range) in neural.items() if mean + half_range < ngram]
print("better than counting by more than the range over seeds:", ", ".join(clear))
assert "lstm" in clear
assert "bigram" not in clear

# %% [markdown]
# That is where it stands. Memory and attention beat counting, by a few hundredths of a nat. A window with one hidden
# layer, the star of lecture 2, is ahead by a hair. This holds for names: on longer texts, where contexts are long and
# never repeat, counting falls far behind, and this whole field exists because of that.
#
# ## Are they new?
#
# A low loss is not the goal; new names are. A model that memorises its training data has beautiful samples.

# %%
ngram_model = mm.count(corpus)
draws = 200 if QUICK else 1000
print(f"{'':22}new   in train (expected)   repeated")
for name, trained in {"n-gram with back-off": ngram_model, **best}.items():
    found = corpus.novelty(mm.sample(jax.random.key(0), trained, draws))
    share = found["new"] / found["samples"]
    print(f"{name:22}{share:4.0%}{found['in_train']:9}{found['expected_in_train']:>10}{found['repeated']:>13}")
    if not QUICK:
        assert (found["in_train"] > 1.5 * found["expected_in_train"]) == (trained is ngram_model)

# %% [markdown]
# **A third of the n-gram's names are in train. Does it copy them?**
#
# <details><summary>Answer</summary>
#
# About half of them. That names are in train proves nothing by itself: a perfect model, one that knows the true
# distribution of names and has seen none of them, would often say *anna*, too. The yardstick is held-out data: a
# sample that is in dev or test cannot be a copy. Train has about four times as many names as those two together, so a
# model that copies nothing should hit train four times as often: that is the column in brackets. The networks hit
# train about as often as that, so they copy nothing. The n-gram hits it nearly twice as often: half of its old names
# are to be expected, and the other half are copies.
#
# </details>
#
# If you want new names, you can ask for them. The temperature divides the logits: below 1 the model says what it is
# surest of, above 1 it takes risks.

# %%
for temperature in (0.6, 1.0, 1.4):
    texts = mm.sample(jax.random.key(1), best["gru"], draws, temperature=temperature)
    found = corpus.novelty(texts)
    print(f"temperature {temperature}: {found['new'] / found['samples']:4.0%} new, such as {', '.join(texts[:6])}")

# %% [markdown]
# Or leave out the names of train: draw, and draw again if the name is one of them. That is another model. The train
# names have probability 0, and all others are larger by one common factor, so that they still sum to one:
#
# $$P(\text{name} \mid \text{not in train}) = \frac{P(\text{name})}{1 - P(\text{any train name})}$$
#
# The denominator is a sum that we can compute: `mm.mass` scores every train name once and adds them up. And no name of
# test is in train. **So what is the loss on test, for a model that has been told so?**

# %%
gru, tokens = best["gru"], corpus.tokens
mass = mm.mass(gru, tokens.train)
plain, told = mm.evaluate(gru, tokens.test).nats, mm.evaluate(gru, tokens.test, excluding=tokens.train).nats
print(f"probability of any train name {mass:.3f}; test {plain:.4f}, told that a name is not in train {told:.4f}")
print("  ".join(mm.sample(jax.random.key(1), gru, 8, excluding=set(corpus.lines.train))))
assert abs(plain - told + np.log(1 - mass) / tokens.test.length_N.mean()) < 1e-6  # shared by a name's characters

# %% [markdown]
# <details><summary>Answer</summary>
#
# It falls by nearly two hundredths of a nat, more than the LSTM and the GRU are apart in the table above, and nothing
# was learned.
#
# </details>
#
# The usual loss asks a model for all the names of the world; this was a narrower question. First ask of any number
# which question it answers.
#
# ## How low can it go?
#
# Is the loss of our best model a good one? Nobody knows. There is a lowest possible loss for names, the entropy of
# their source, and no model can get below it on new data. But the source of names is history; its entropy cannot be
# computed. Every loss on test is an upper bound for it, and we know no more.
#
# So let us make a source whose entropy we know. Take lesson 2's table as the truth: names *are* a Markov chain, letters
# drawn from the row of the letter before. For a chain the entropy can be computed exactly: each row $i$ has an entropy
# $H_i$, the chain stands in row $i$ for a share $\pi_i$ of the time, and
#
# $$h = \sum_i \pi_i H_i, \qquad \pi P = \pi.$$


# %%
def stationary(P_VV):
    return np.linalg.matrix_power(P_VV, 2**12)[0]


counts_VV = np.zeros((V, V))
np.add.at(counts_VV, corpus.tokens.train.pairs, 1)
P_VV = sources.normalise(counts_VV)
row_V = -np.where(P_VV > 0, P_VV * np.log(np.where(P_VV > 0, P_VV, 1)), 0).sum(1)
entropy = float(stationary(P_VV) @ row_V)
print(f"the source has exactly {entropy:.4f} nats per character")

# %% [markdown]
# The library has such sources in `makemore_jax.analysis.sources`: chains, and others whose entropy is known, such as
# balanced brackets and sums. Each is a `Model` without parameters, which knows the true probability of every next
# symbol. Its chain ends a line after 63 letters at the latest, so its entropy differs from ours in a digit that is not
# printed.

# %%
chain = sources.markov("pairs of names", counts_VV, "".join(corpus.vocab.symbols[1:]))
assert abs(sources.floor(jax.random.key(0), chain).nats - entropy) < 1e-4

# %% [markdown]
# Now we draw lines from the chain, split them, and train on them as on any file. (We split by position this time: the
# source may repeat itself, and so may the test lines.)

# %%
n = 6_000 if QUICK else 60_000
lines = sources.write(jax.random.key(0), chain, n)
spoken = encode(
    Split(lines[: n * 6 // 10], lines[n * 6 // 10 : n * 7 // 10], lines[n * 7 // 10 :]), digest="a Markov chain"
)
print(f"{n:,} lines, such as {', '.join(lines[:6])}; the longest has {spoken.context - 1} letters")
assert spoken.vocab == corpus.vocab

# %% [markdown]
# **Our best model of names is much better than a bigram. Here the truth is a bigram. Who wins, and can anyone get below
# the entropy?**

# %%
contestants = {
    "the source itself": mm.Trained(chain.model, {}, chain.vocab, chain.model.context),
    "counting pairs": count_table(spoken, order=2, smoothing=0.1),
    "counting triples": count_table(spoken, order=3, smoothing=0.1),
    "n-gram with back-off": mm.count(spoken),
    "gru": mm.train(jax.random.key(0), "gru", spoken, hidden=48, embed=24, steps=5 if QUICK else 1000),
}
nats = {name: mm.evaluate(trained, spoken.tokens.test).nats for name, trained in contestants.items()}
for name, value in nats.items():
    print(f"{name:22}test {value:.4f}   {value - nats['the source itself']:+.4f} against the source on the same lines")
assert abs(nats["the source itself"] - entropy) < 0.03
assert min(value for name, value in nats.items() if name != "the source itself") > nats["the source itself"]

# %% [markdown]
# <details><summary>Answer</summary>
#
# The table of pairs wins, and nobody gets below the entropy. The source's own loss on the test lines is its entropy,
# up to the luck of these lines, and everyone else pays more: the excess is exactly how far they are from the truth,
# the Kullback-Leibler divergence. The table of pairs, the worst model of names, is the best here: it is of the right
# kind, and has few parameters to learn. The GRU would have to learn that nothing but the last letter matters.
#
# </details>
#
# How fast does the excess fall with more data? A table of $k$ free numbers, each fitted to its share of $n$ tokens,
# pays about $k / 2n$ nats.

# %%
# alt: Loss above the entropy over the tokens, both logarithmic: it falls along the dashed line k / 2n.
train_x_M, train_y_M = spoken.tokens.train.pairs
free = int((P_VV > 0).sum() - V)
sizes = [2_000, 5_000, 10_000, 20_000] if QUICK else [2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000]
pi_V = stationary(P_VV)
excess = []
for size in sizes:
    counts_VV = np.zeros((V, V))
    np.add.at(counts_VV, (train_x_M[:size], train_y_M[:size]), 1)
    Q_VV = (counts_VV + 0.1) / (counts_VV + 0.1).sum(1, keepdims=True)
    ratio_VV = np.where(P_VV > 0, P_VV * np.log(np.where(P_VV > 0, P_VV, 1) / Q_VV), 0)
    excess.append(float(pi_V @ ratio_VV.sum(1)))  # exactly, without any test data
canvas = mm.plot.figure(8, 3.6)
axes = canvas.subplots()
axes.loglog(sizes, excess, "o-", color="#08519c", label="counting pairs: loss above the entropy")
axes.loglog(sizes, free / 2 / np.array(sizes), "--", color="0.4", label=f"k / 2n for k = {free} free numbers")
axes.set(xlabel="tokens to train on", ylabel="excess, nats per character")
axes.grid(alpha=0.2, which="both")
axes.legend(frameon=False)
assert 0.3 < excess[-1] / (free / 2 / sizes[-1]) < 2
canvas

# %% [markdown]
# Every loss is a sum: **the entropy of the source, which no model can change, and what the model has not learned.** On
# names we see only the sum. A better model lowers the second part, and more data helps each model at its own rate:
# that is what the scaling laws of large models measure, and what our few thousand names cannot show.
#
# ## The whole series on one page
#
# | lesson | what changed | what stayed |
# | --- | --- | --- |
# | counting | nothing is learned; rows are divided by their sums | a table of log-probabilities |
# | bigram, MLP | gradient descent; embeddings | the loss, the sampler |
# | BatchNorm, backprop | what flows, forward and backward | a function of parameters and data |
# | WaveNet, RNN, transformer | how far, and how, one looks back | everything else |
#
# A model is a few pure functions; a training run is two. All the rest was in the details, and the details were the fun.
#
# ## Exercises
#
# About 40 minutes. Each exercise is a cell to fill, and a check below it that says "right!", or "not yet" and why. The
# solutions, and how one gets there: [solutions/lesson_9.py](solutions/lesson_9.py).
#
# **Exercise 9.1.** Write the rule "better by more than the range over seeds" in its strictest form: `a` beats `b` if
# the worst run of `a` is better than the best run of `b`.


# %%
def beats(a_S, b_S):
    raise NotImplementedError


check(lesson_9.beats, beats)

# %% [markdown]
# **Exercise 9.2.** How many hits on train would a model have that copies nothing? Compute it from its hits on held-out
# names.


# %%
def expected_in_train(hits_held_out, names_in_train, names_held_out):
    raise NotImplementedError


check(lesson_9.expected_in_train, expected_in_train)

# %% [markdown]
# **Exercise 9.3.** At which temperature are 80% of the n-gram's samples new, give or take two percent?
# `mm.sample(key, mm.count(corpus), 1000, temperature=...)` and `corpus.novelty` are all you need.

# %%
temperature = ...
check(lesson_9.temperature, temperature)

# %% [markdown]
# **Exercise 9.4.** Compute the entropy of a Markov chain, in nats, for a matrix `P_VV` whose rows are distributions;
# zeros are possible. (The share $\pi$ is the row that $P^n$ tends to.)


# %%
def entropy_rate(P_VV):
    raise NotImplementedError


check(lesson_9.entropy_rate, entropy_rate)

# %% [markdown]
# Next: [downhill, faster](10_downhill.ipynb).
