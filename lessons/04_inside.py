# %% [markdown]
# # Lesson 4: What flows inside
#
# The network of the last lesson works. Why it works, and how nearly it fails, you see only by looking inside: at the
# first loss, at how many units are stuck, at how gradients grow or fade from layer to layer. We repair its start, add
# batch normalisation with its state in plain sight, and watch the numbers that tell a healthy network from a sick one.
# Follows Karpathy's [makemore part 3](https://github.com/karpathy/nn-zero-to-hero/tree/master/lectures/makemore).
#
# **Time:** 90 minutes, and 40 for the exercises; the cells run in two minutes, the longest under a progress bar. **You
# need** [lesson 3](03_embeddings.ipynb), whose network this is.

# %%
import itertools
import os

import jax
import jax.numpy as jnp
import numpy as np

import makemore_jax as mm
from makemore_jax.lessons.graders import lesson_4
from makemore_jax.lessons.grading import check
from makemore_jax.lessons.waiting import in_parts, watch
from makemore_jax.models.layers import init_linear, init_norm, layer_norm
from makemore_jax.models.ngram import contexts

QUICK = "QUICK" in os.environ  # fewer steps, for the tests

# %% [markdown]
# The data and the network of lesson 3: windows of three letters, embeddings of 10, 200 units. What is new is `scale`: a
# factor for each group of parameters, to play with.

# %%
corpus = mm.load()


def windows(tokens):
    """All windows of three letters, oldest first, and the letters that follow."""
    x_M, y_M = tokens.pairs
    return jnp.stack(contexts(x_M[None], order=4), axis=-1)[0], jnp.asarray(y_M)


data = {part: windows(getattr(corpus.tokens, part)) for part in ("train", "dev")}
sample_x, sample_y = data["train"][0][::183], data["train"][1][::183]  # a thousand examples to look at
SHAPES = {"embed": (27, 10), "w1": (30, 200), "b1": (200,), "w2": (200, 27), "b2": (27,)}


def init(key, **scale):
    keys = zip(jax.random.split(key, len(SHAPES)), SHAPES.items(), strict=True)
    return {name: scale.get(name, 1.0) * jax.random.normal(k, shape) for k, (name, shape) in keys}


def before_tanh(params, x_NR):
    return params["embed"][x_NR].reshape(len(x_NR), -1) @ params["w1"] + params["b1"]


def logits(params, x_NR):
    return jnp.tanh(before_tanh(params, x_NR)) @ params["w2"] + params["b2"]


def cross_entropy(logits_NV, y_N):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits_NV), y_N[:, None], 1).mean()


@jax.jit
def loss(params, x_NR, y_N):
    return cross_entropy(logits(params, x_NR), y_N)


careless = init(jax.random.key(0))
print(f"first loss {loss(careless, sample_x, sample_y):.2f}   (lecture 27.88)")
print(f"uniform guess, ln 27: {np.log(27):.4f}")
assert loss(careless, sample_x, sample_y) > 15

# %% [markdown]
# ## 1. Confidently wrong
#
# The first loss can be known before anything runs: nothing was learned, so all 27 symbols should be equally likely,
# and that costs $\ln 27$. Ours is many times that. The logits are far from zero for no reason. So make them small: the
# last weights times 0.01, their biases 0. (Exercise 4.1 shows why not everything should be exactly 0.) **What will
# change in the loss curve?**


# %%
# alt: Loss over 300 steps: the careless start falls from above 20 to 6; small logits start near 3 and stay.
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


STEPS = 300 if QUICK else 30_000
plan = jnp.arange(STEPS), jnp.where(jnp.arange(STEPS) < 0.7 * STEPS, 0.1, 0.01)
starts = {
    "careless": careless,
    "small logits": init(jax.random.key(0), w2=0.01, b2=0),
    "and free units": init(jax.random.key(0), w1=0.2, b1=0.01, w2=0.01, b2=0),
}
print("first losses:", {name: round(float(loss(p, sample_x, sample_y)), 3) for name, p in starts.items()})
ended, curves = {}, {}
for name, start in watch(starts.items()):
    ended[name], curves[name] = sgd(start, plan, jax.random.key(1), data["train"])
figure = mm.plot.figure(7, 3)
axes = figure.subplots()
for name in ("careless", "small logits"):
    axes.plot(np.arange(0, 300, 10), curves[name][:300].reshape(-1, 10).mean(1), label=name)
axes.set(xlabel="step", ylabel="nats per character")
axes.legend()
figure

# %% [markdown]
# <details><summary>Answer</summary>
#
# The steep start, like a hockey stick, is gone. In its first steps the careless network only learned to be less sure.
# That is easy, looks like progress, and is wasted.
#
# </details>
#
# ## 2. Stuck
#
# Now the middle. $\tanh$ squeezes: far from zero it is flat, its slope $1 - \tanh^2$ is nearly 0, and the gradient
# that arrives there is multiplied by nearly 0. **How many of the 200 units are in the flat part?**


# %%
# alt: Sums and outputs of the careless start: most outputs are at -1 and 1, and the map of units is mostly white.
def look(params, title):
    z_NH = before_tanh(params, sample_x[:32])
    h_NH = jnp.tanh(z_NH)
    figure = mm.plot.figure(9, 2.6)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 2.4))
    left.hist(np.asarray(z_NH).ravel(), 50)
    left.set(title="before tanh", yticks=[])
    middle.hist(np.asarray(h_NH).ravel(), 50)
    middle.set(title="after", yticks=[])
    right.imshow(jnp.abs(h_NH) > 0.99, cmap="gray", interpolation="nearest", aspect="auto")
    right.set(title="|tanh| > 0.99 in white", xlabel="unit", ylabel="example")
    stuck = float((jnp.abs(h_NH) > 0.99).mean())
    figure.suptitle(
        f"{title}: {stuck:.0%} stuck, {(jnp.abs(h_NH) > 0.99).all(0).sum()} units stuck for all 32 examples"
    )
    return figure, stuck


figure, stuck = look(careless, "careless start")
figure

# %% [markdown]
# <details><summary>Answer</summary>
#
# On average, about two thirds for each example: most of the picture is white, and where it is white, the gradient
# stops. A column that is all white would be a dead unit, one that no example can move.
#
# </details>
#
# The cure is to start with smaller sums:

# %%
# alt: The same with smaller first weights: outputs between -1 and 1, and a map that is almost entirely black.
figure, freed = look(starts["and free units"], "first weights times 0.2")
figure

# %%
assert stuck > 0.5 > 0.1 > freed
full = jax.jit(loss)
LECTURE = {"careless": (2.1245, 2.1682), "small logits": (2.07, 2.13), "and free units": (2.0356, 2.1027)}
dev = {}
for name, params in ended.items():
    train_nats, dev[name] = (float(full(params, *data[part])) for part in ("train", "dev"))
    print(f"{name:<15} train {train_nats:.3f}, dev {dev[name]:.3f}   lecture, 200,000 steps: {LECTURE[name]}")
if not QUICK:
    assert dev["careless"] > dev["small logits"] > dev["and free units"]

# %% [markdown]
# Both repairs help, and cost nothing. Ours is a shallow network, which forgives a lot; in a deep one such mistakes
# multiply, as section 5 will show.
#
# ## 3. What should the factor be?
#
# 0.2 was a guess. A sum of $n$ products of independent numbers of variance 1 has variance $n$. So divide the weights by
# $\sqrt n$, and a layer keeps the scale of what it gets.

# %%
# alt: Two histograms: products spread to 15 on both sides; divided by the root of 30 they stay within 3.
x_NI, w_IO = jax.random.normal(jax.random.key(2), (1000, 30)), jax.random.normal(jax.random.key(3), (30, 200))
plain, scaled = x_NI @ w_IO, x_NI @ (w_IO / np.sqrt(30))
figure = mm.plot.figure(7, 2.4)
for axes, (name, z) in zip(figure.subplots(1, 2), {"x @ w": plain, "x @ w / √30": scaled}.items(), strict=True):
    axes.hist(np.asarray(z).ravel(), 80, range=(-15, 15), density=True)
    axes.set(title=f"{name}: standard deviation {z.std():.2f}", yticks=[])
assert np.isclose(scaled.std(), 1, atol=0.05)
figure

# %% [markdown]
# And because $\tanh$ shrinks what goes through it, a *gain* makes up for that, usually 5/3 (Kaiming He et al. 2015 did
# this for ReLU). For 30 inputs the factor is $(5/3)/\sqrt{30} = 0.3043$. The library's layer does the same:

# %%
weights = init_linear(jax.random.key(4), 30, 200, scale=5 / 3)["w"]
print(f"by formula {5 / 3 / np.sqrt(30):.4f}, standard deviation of init_linear's {weights.std():.4f}")
assert round(5 / 3 / np.sqrt(30), 4) == 0.3043
assert np.isclose(weights.std(), 5 / 3 / np.sqrt(30), rtol=0.03)

# %% [markdown]
# ## 4. Batch normalisation: why not simply make it so?
#
# All this care is for one thing: that a layer's sums have mean 0 and variance 1. Ioffe and Szegedy proposed in 2015 to
# simply *make* it so. Subtract the mean over the batch, divide by the standard deviation, and let the network choose
# another scale if it needs one (a gain and a bias, which are learned).
#
# There is a catch. When we later ask about a single name, there is no batch. So training keeps running averages of
# mean and variance, for later use. They are not learned, and not constant either. They are **state**.
#
# PyTorch hides that: a module has buffers, `forward` overwrites them on the side, and `model.eval()` flips a switch.
# Forget the switch, and merely *evaluating* changes the model. A JAX function can't do anything on the side. So we
# have to write it out:


# %%
def batch_norm(params, state, x_NH, training, momentum=0.001):
    """Returns the normalised batch AND the new state."""
    if training:
        mean_H, var_H = x_NH.mean(0), x_NH.var(0, ddof=1)
        state = {
            "mean": (1 - momentum) * state["mean"] + momentum * mean_H,
            "var": (1 - momentum) * state["var"] + momentum * var_H,
        }
    else:
        mean_H, var_H = state["mean"], state["var"]
    return params["gain"] * (x_NH - mean_H) / jnp.sqrt(var_H + 1e-5) + params["bias"], state


fresh = {"mean": jnp.zeros(200), "var": jnp.ones(200)}
z_NH = before_tanh(careless, sample_x[:32])
y_NH, state = batch_norm({"gain": jnp.ones(200), "bias": jnp.zeros(200)}, fresh, z_NH, training=True)
print(f"before: mean {z_NH.mean():.2f}, deviation {z_NH.std(0).mean():.2f}")
print(f"after:  mean {abs(y_NH.mean()):.2f}, deviation {y_NH.std(0, ddof=1).mean():.2f}")

# %% [markdown]
# **State is an argument and a result.** The signature says everything that the switch and the buffers hid: what is
# learned comes in as `params`, and what is remembered comes in and goes out as `state`. Evaluating can't change the
# model, since nobody takes the second result. And if you forget to keep it in training, a variable is not used, which
# the linter sees. (`ddof=1` divides by $n - 1$, as the lecture does; `jnp.var` alone divides by $n$.)
#
# The network with it, and its training: the state travels through `scan` next to the parameters.


# %%
def normed_logits(params, state, x_NR, training):
    z_NH, state = batch_norm(params["norm"], state, before_tanh(params, x_NR), training)
    return jnp.tanh(z_NH) @ params["w2"] + params["b2"], state


def normed_loss(params, state, x_NR, y_N, training=True):
    logits_NV, state = normed_logits(params, state, x_NR, training)
    return cross_entropy(logits_NV, y_N), state


@jax.jit
def normed_sgd(carry, plan, key, data):
    x_NR, y_N = data

    def body(carry, now):
        params, state = carry
        step, rate = now
        pick_B = jax.random.randint(jax.random.fold_in(key, step), (32,), 0, len(y_N))
        grad = jax.value_and_grad(normed_loss, has_aux=True)
        (value, state), grads = grad(params, state, x_NR[pick_B], y_N[pick_B])
        return (jax.tree.map(lambda p, g: p - rate * g, params, grads), state), value

    return jax.lax.scan(body, carry, plan)


start = init(jax.random.key(0), w1=5 / 3 / np.sqrt(30), b1=0.01, w2=0.01, b2=0)
start["norm"] = {"gain": jnp.ones(200), "bias": jnp.zeros(200)}
print(f"{sum(leaf.size for leaf in jax.tree.leaves(start)):,} parameters, {2 * 200} numbers of state")
train = lambda carry, plan: normed_sgd(carry, plan, jax.random.key(1), data["train"])
(normed, state), _ = in_parts(train, (start, fresh), plan)
in_use = jax.jit(lambda params, state, x_NR, y_N: normed_loss(params, state, x_NR, y_N, training=False)[0])
train_nats, dev["BatchNorm"] = (float(in_use(normed, state, *data[part])) for part in ("train", "dev"))
print(f"BatchNorm       train {train_nats:.3f}, dev {dev['BatchNorm']:.3f}   lecture, 200,000 steps: (2.0674, 2.1057)")
if not QUICK:
    assert abs(dev["BatchNorm"] - dev["and free units"]) < 0.03

# %% [markdown]
# It is no better than a good start, and the lecture did not expect it to be: there is one hidden layer, and we had
# repaired it by hand. BatchNorm is for the networks that nobody can repair by hand. Two things about it are odd.
#
# **What is the gradient of the bias `b1`?**

# %%
grads, _ = jax.jit(jax.grad(normed_loss, has_aux=True))(normed, state, sample_x[:32], sample_y[:32])
for name in ("w1", "b1", "w2", "b2"):
    print(f"largest gradient of {name}: {jnp.abs(grads[name]).max():.0e}")
assert jnp.abs(grads["b1"]).max() < 1e-6 < jnp.abs(grads["w1"]).max()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Zero, up to rounding. The bias is added to all examples alike, and then the mean is subtracted. So it learns nothing
# and does nothing; leave biases out before a normalisation. (ResNet does: `bias=False`.)
#
# </details>
#
# **Does the prediction for one example depend on the others?** The derivative of the first output with respect to the
# input of the second example should be 0:

# %%
first = lambda z_NH: batch_norm(normed["norm"], state, z_NH, training=True)[0][0, 0]
by_example_N = jnp.abs(jax.grad(first)(z_NH)[:, 0])
print(f"by its own input {by_example_N[0]:.1e}, by that of another example {by_example_N[1]:.1e}")
assert by_example_N[1] > 0

# %% [markdown]
# <details><summary>Answer</summary>
#
# It does. The examples of a batch are coupled. As a side effect each prediction varies with the rest of its batch,
# which regularises a little; but nobody likes it, and it has caused its share of bugs.
#
# </details>
#
# And the momentum of the running mean matters. The lecture warns that 0.1, PyTorch's default, is too fast for batches
# of 32. Here is the mean of the first unit's sums, as a running average with each momentum, beside the true mean:

# %%
# alt: Running means: the fast one scatters widely around the true mean, the slow one climbs to it and stays.
true_mean = float(before_tanh(normed, data["train"][0])[:, 0].mean())


@jax.jit
def running_means(key, momentum_M, x_NR):
    """Running averages of the first unit's batch means, for a network that stands still."""

    def body(mean_M, step):
        pick_B = jax.random.randint(jax.random.fold_in(key, step), (32,), 0, len(x_NR))
        now = before_tanh(normed, x_NR[pick_B])[:, 0].mean()
        mean_M = (1 - momentum_M) * mean_M + momentum_M * now
        return mean_M, mean_M

    return jax.lax.scan(body, jnp.zeros(len(momentum_M)), jnp.arange(4000))[1]


figure = mm.plot.figure(7, 3)
axes = figure.subplots()
mean_SM = running_means(jax.random.key(5), jnp.array([0.1, 0.001]), data["train"][0])
for momentum, mean_S in zip((0.1, 0.001), mean_SM.T, strict=True):
    axes.plot(mean_S, linewidth=0.8, label=f"momentum {momentum}")
axes.axhline(true_mean, color="black", linestyle="--", label="mean over all of train")
axes.set(xlabel="step", ylabel="running mean")
figure.legend(loc="outside upper center", ncols=3)
figure

# %% [markdown]
# The fast one never settles; the slow one needs a few thousand steps and then stays.
#
# ## 5. Six layers, and what flows through them
#
# Now a deep network: five layers of 100 units with $\tanh$, and one for the logits, 46,497 parameters. `gain` is the
# factor that we derived 5/3 for. To see the gradient that arrives at each layer, we add a **tap** to its output: an
# array of zeros. Adding zeros changes nothing, and the gradient with respect to the tap is the gradient that flows
# there. (PyTorch has hooks and `retain_grad` for this. Lesson 5 makes more of taps.)

# %%
DEPTH = 5


def init_deep(key, gain):
    keys = jax.random.split(key, DEPTH + 2)
    sizes = [30] + [100] * DEPTH
    layers = [init_linear(keys[i], sizes[i], sizes[i + 1], scale=gain) for i in range(DEPTH)]
    for layer in layers:
        layer["norm"] = {"gain": jnp.ones(100), "bias": jnp.zeros(100)}
    head = init_linear(keys[-1], 100, 27, scale=0.1)
    return {"embed": jax.random.normal(keys[-2], (27, 10)), "layers": layers, "head": head}


def deep(params, taps, x_NR, normalise, squeeze=jnp.tanh):
    """The logits, and the output of every layer; with or without batch normalisation."""
    h, outputs = params["embed"][x_NR].reshape(len(x_NR), -1), []
    for layer, tap in zip(params["layers"], taps, strict=True):
        z = h @ layer["w"] + layer["b"]
        if normalise:  # by the batch; nobody will ask for single names here, so no state
            z = layer["norm"]["gain"] * (z - z.mean(0)) / jnp.sqrt(z.var(0) + 1e-5) + layer["norm"]["bias"]
        h = squeeze(z) + tap
        outputs.append(h)
    return h @ params["head"]["w"] + params["head"]["b"], outputs


def deep_loss(params, taps, x_NR, y_N, normalise, squeeze=jnp.tanh):
    logits_NV, outputs = deep(params, taps, x_NR, normalise, squeeze)
    return cross_entropy(logits_NV, y_N), outputs


deep_grad = jax.jit(jax.grad(deep_loss, argnums=1, has_aux=True), static_argnums=(4, 5))


def flow(gain, normalise=False, squeeze=jnp.tanh):
    """Outputs of each layer, and the gradient that arrives there."""
    params = init_deep(jax.random.key(6), gain)
    taps = [jnp.zeros((len(sample_x), 100))] * DEPTH
    arriving, outputs = deep_grad(params, taps, sample_x, sample_y, normalise, squeeze)
    return np.asarray(outputs), np.asarray(arriving)


count = sum(leaf.size for leaf in jax.tree.leaves(init_deep(jax.random.key(6), 1.0)))
count -= DEPTH * 200  # those of the normalisation, which comes later
assert count == 46497

# %% [markdown]
# **What happens to the signal from layer 1 to 5 if the gain is 1? If it is 3?**


# %%
# alt: Outputs of five layers: with gain 1 they shrink towards 0, with 5/3 they keep their spread, with 3 they stick.
def draw_flow(which, title, **options):
    figure = mm.plot.figure(9.5, 2.9)
    for axes, gain in zip(figure.subplots(1, 3), (1.0, 5 / 3, 3.0), strict=True):
        for number, values in enumerate(flow(gain, **options)[which], 1):
            limit = 1 if which == 0 else 4 * values.std()
            density, edges = np.histogram(values, 60, (-limit, limit), density=True)
            axes.plot((edges[1:] + edges[:-1]) / 2, density, color=str(0.96 - 0.16 * number), label=f"layer {number}")
        axes.set(title=f"{title}, gain {gain:.2f}", yticks=[])
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


draw_flow(0, "outputs")

# %%
print("gain    deviation of the outputs, layers 1 to 5      stuck (|tanh| > 0.97)")
for gain in (1.0, 5 / 3, 3.0):
    outputs_L, _ = flow(gain)
    stuck_L = (np.abs(outputs_L) > 0.97).mean((1, 2))
    print(f"{gain:.2f}   ", *(f"{h.std():.3f}" for h in outputs_L), "            ", *(f"{s:.0%}" for s in stuck_L))
shrink, keep = flow(1.0)[0], flow(5 / 3)[0]
assert shrink[-1].std() < 0.6 * shrink[0].std()
assert keep[-1].std() > 0.8 * keep[0].std()

# %% [markdown]
# <details><summary>Answer</summary>
#
# With gain 1 it fades, because $\tanh$ takes a little each time; with 3 most units are stuck at -1 or 1; 5/3 is the
# balance.
#
# </details>
#
# **Without any $\tanh$, which gain would be right?**

# %%
for gain in (5 / 3, 1.0):
    linear_L, _ = flow(gain, squeeze=lambda z: z)
    print(f"gain {gain:.2f}: deviations", *(f"{h.std():.2f}" for h in linear_L))
assert abs(linear_L[-1].std() / linear_L[0].std() - 1) < 0.25  # gain 1

# %% [markdown]
# <details><summary>Answer</summary>
#
# Then nothing is taken away, and it must be 1. (A stack of linear layers is one linear layer, however many there are,
# so this isn't a network to use, only one to learn from.)
#
# </details>
#
# Now backwards: the gradients that arrive at the same places.

# %%
# alt: Gradients by layer: with gain 0.5 they fade towards layer 1, with 5/3 they stay, with 3 they grow.
figure = mm.plot.figure(7, 3)
axes = figure.subplots()
for gain in (0.5, 1.0, 5 / 3, 3.0):
    _, arriving_L = flow(gain)
    axes.semilogy(range(1, DEPTH + 1), arriving_L.std((1, 2)), "o-", label=f"gain {gain:.2f}")
axes.set(xlabel="layer", ylabel="deviation of the\ngradient that arrives", xticks=range(1, DEPTH + 1))
axes.legend()
figure

# %%
fade = {gain: flow(gain)[1].std((1, 2)) for gain in (0.5, 5 / 3)}
for gain, deviation_L in fade.items():
    print(f"gain {gain:.2f}: layer 1 gets {deviation_L[0] / deviation_L[-1]:.2f} times what layer 5 gets")
assert fade[0.5][0] < 0.2 * fade[0.5][-1]
assert 0.5 < fade[5 / 3][0] / fade[5 / 3][-1] < 2

# %% [markdown]
# A gradient that loses half at each layer is down to a thousandth after ten of them. For decades that was one of the
# reasons why nobody could train deep networks.
#
# ## 6. The speedometer: update to data
#
# In the end one number matters for each weight matrix: by what part of itself does it change in a step? The lecture
# plots its logarithm over the first 1,000 steps and wants it near $-3$, a thousandth. In JAX, parameters, gradients
# and updates are trees of one shape, so the instrument is one `tree.map`, and `scan` keeps its readings.


# %%
# alt: Update to data over 1,000 steps: far below the line at -3 for a rate of 0.001, near it for 0.1, above for 1.
def ratio(updates, params):
    """log10 of the update's deviation over the parameter's."""
    return jax.tree.map(lambda u, p: jnp.log10(u.std() / p.std()), updates, params)


def deep_train(key, gain, rate, data, steps, normalise):
    x_NR, y_N = data
    params, taps = init_deep(key, gain), [jnp.zeros(())] * DEPTH
    matrices = lambda tree: {"layers": [layer["w"] for layer in tree["layers"]], "head": tree["head"]["w"]}

    def body(params, step):
        pick_B = jax.random.randint(jax.random.fold_in(key, step), (32,), 0, len(y_N))
        grad = jax.value_and_grad(deep_loss, has_aux=True)
        (value, _), grads = grad(params, taps, x_NR[pick_B], y_N[pick_B], normalise)
        updates = jax.tree.map(lambda g: -rate * g, grads)
        reading = ratio(matrices(updates), matrices(params))
        return jax.tree.map(jnp.add, params, updates), (value, reading)

    return jax.lax.scan(body, params, jnp.arange(steps))


deep_train = jax.jit(deep_train, static_argnames=("steps", "normalise"))
STEPS = 60 if QUICK else 1000
figure = mm.plot.figure(9.5, 3)
settled = {}
for axes, rate in zip(figure.subplots(1, 3, sharey=True), (0.001, 0.1, 1.0), strict=True):
    _, (_, reading) = deep_train(jax.random.key(7), 5 / 3, rate, data["train"], STEPS, False)
    for number, ratio_S in enumerate(reading["layers"], 1):
        axes.plot(ratio_S, linewidth=0.5, color=str(0.96 - 0.16 * number), label=f"layer {number}")
    axes.plot(reading["head"], linewidth=0.5, color="C1", label="logits")
    axes.axhline(-3, color="black")
    axes.set(title=f"rate {rate:g}", xlabel="step")
    settled[rate] = float(np.mean([ratio_S[-STEPS // 5 :].mean() for ratio_S in reading["layers"]]))
figure.axes[0].set(ylabel="log10 of update : data", ylim=(-6, 0))
figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper")
figure

# %%
for rate, exponent in settled.items():
    print(f"rate {rate:g}: update to data is 10 to the power of {exponent:.2f} in the hidden layers, at the end")
assert abs(settled[0.1] + 3) < 0.6 < abs(settled[0.001] + 3)

# %% [markdown]
# At a rate of 0.001 the weights change by about a hundred-thousandth of themselves in a step, and training would take
# all day. At 1 they are thrown about. At 0.1 the hidden layers start on the black line and stay within a factor of
# four of it. We need not train to the end to see that. The orange curve, the last layer, is above all others: we made
# its weights small ourselves, so the same update is a larger part of them.
#
# ## 7. With normalisation, does it still matter?
#
# One last experiment: five gains, three seeds each, without and with batch normalisation. The program is compiled
# twice and run thirty times. (`vmap` would do it in one call, as in lesson 3, but a CPU gains nothing from a stack of
# matrices of this size.) **Which curve will be flatter?**

# %%
# alt: Loss over gain: without BatchNorm a deep valley at 5/3, with BatchNorm a curve that is much flatter.
gains, STEPS = (0.5, 5 / 3) if QUICK else (0.5, 1.0, 5 / 3, 3.0, 6.0), 60 if QUICK else 400
seeds_K = jax.random.split(jax.random.key(8), 3)
reached = {False: [], True: []}
for normalise, gain in watch(itertools.product((False, True), gains)):
    runs_K = [deep_train(key, gain, 0.1, data["train"], STEPS, normalise)[1][0] for key in seeds_K]
    reached[normalise].append([loss_S[-STEPS // 3 :].mean() for loss_S in runs_K])
reached = {normalise: np.array(losses) for normalise, losses in reached.items()}
figure = mm.plot.figure(6.5, 3.2)
axes = figure.subplots()
for normalise, loss_GK in reached.items():
    (line,) = axes.plot(gains, loss_GK.mean(1), "o-", label="with BatchNorm" if normalise else "without")
    axes.fill_between(gains, loss_GK.min(1), loss_GK.max(1), alpha=0.2, color=line.get_color())
axes.set(xlabel="gain", ylabel=f"train loss near step {STEPS}")
axes.legend()
figure

# %%
spread = {normalise: float(np.ptp(loss_GK.mean(1))) for normalise, loss_GK in reached.items()}
print(f"best to worst gain: {spread[False]:.2f} nats without, {spread[True]:.2f} with")
for gain in (0.5, 5 / 3, 6.0):
    deviations = {title: [f"{h.std():.2f}" for h in flow(gain, on)[0]] for title, on in (("without", 0), ("with", 1))}
    print(f"outputs at gain {gain:.2f}:", *(f"{title} {' '.join(found)}  " for title, found in deviations.items()))
if not QUICK:
    assert spread[True] < spread[False] / 2

# %% [markdown]
# <details><summary>Answer</summary>
#
# The one with BatchNorm. That is what it is for: not a better network, but one that forgives a bad start.
#
# </details>
#
# ## 8. And without state?
#
# Batch normalisation needs state because it looks across examples. Exchange the two axes: normalise each *example*
# across its units. Then nothing has to be remembered, training and use are one function, and examples do not affect
# one another. That is layer normalisation, which transformers use, and so does lesson 8. In the library it is a few
# lines:

# %%
params = init_norm(200)
y_NH = layer_norm(params, z_NH)
print(f"each example: mean {abs(y_NH.mean(1)).max():.0e}, deviation {y_NH.std(1).mean():.3f}")
first = lambda z_NH: layer_norm(params, z_NH)[0, 0]
by_example_N = jnp.abs(jax.grad(first)(z_NH)).max(1)
assert (by_example_N[1:] == 0).all()

# %% [markdown]
# ## Exercises
#
# About 40 minutes. Each exercise is a cell to fill, and a check below it that says "right!", or "not yet" and why. The
# solutions, and how one gets there: [solutions/lesson_4.py](solutions/lesson_4.py).
#
# **Exercise 4.1.** (The lecture's E01.) Set *all* parameters of the network of section 1 to 0, and train. Almost
# nothing moves: every gradient but one is exactly 0. To which loss on train does it tend? Give four decimals. (Which
# parameter moves? What can a network say that has only this one?)

# %%
loss_from_zero = ...

check(lesson_4.loss_from_zero, loss_from_zero)

# %% [markdown]
# **Exercise 4.2.** (E02.) After training, BatchNorm is just another linear map, so it can be folded into the layer
# before it. From a layer's `w` and `b`, the norm's `params` and its `state`, make `(w, b)` so that `x @ w + b` gives
# the same.


# %%
def fold(w, b, params, state):
    raise NotImplementedError


check(lesson_4.fold, fold)

# %% [markdown]
# **Exercise 4.3.** The gain for ReLU, $\max(0, z)$. If $z$ is normal with mean 0 and variance 1, which factor brings
# the mean *square* of $\max(0, z)$ back to 1? (Kaiming He et al. 2015.)

# %%
relu_gain = ...

check(lesson_4.relu_gain, relu_gain)

# %% [markdown]
# **Exercise 4.4.** How many units are dead? From the outputs of a layer of ReLU, (N, H): the number of units that are 0
# for every example.


# %%
def dead_units(h_NH):
    raise NotImplementedError


check(lesson_4.dead_units, dead_units)

# %% [markdown]
# Next: [backprop by hand](05_backprop.ipynb).
