"""Solutions of the exercises of lesson 5, and how one gets there.

Two facts carry you through all of them: a gradient has the shape of its variable, and where a value fans out, gradients
add.
"""

import jax
import jax.numpy as jnp
import numpy as np


def log_rule(x, g):
    """5.1: the slope of log x is 1/x, and what comes from above multiplies it."""
    return g / x


def exp_rule(x, g):
    """5.1: the exponential is its own slope."""
    return jnp.exp(x) * g


def reciprocal_rule(x, g):
    """5.1: 1/x is x to the power of -1, with slope -x**-2."""
    return -g / x**2


def product_rule(a_BV, b_B1, g_BV):
    """5.2: each factor gets the other one. The column was used once for each symbol, so its gradients add up."""
    return b_B1 * g_BV, (a_BV * g_BV).sum(1, keepdims=True)


def sum_rule(x_BV, g_B1):
    """5.2: each term has slope 1 in the sum, so all of them get what the sum got: a broadcast."""
    return jnp.ones_like(x_BV) * g_B1


def max_rule(x_BV, g_B1):
    """5.2: if the largest moves, the maximum moves; if another moves a little, nothing happens."""
    return (x_BV == x_BV.max(1, keepdims=True)) * g_B1


def affine_rule(x_BD, w_DH, b_H, g_BH):
    """5.3: (B, D) and (D, H) from (B, H) and the other factor: one way to multiply each. The bias was broadcast."""
    return g_BH @ w_DH.T, x_BD.T @ g_BH, g_BH.sum(0)


def tanh_rule(y, g):
    """5.3: the slope of tanh is 1 - tanh**2, and tanh is what we have."""
    return (1 - y**2) * g


def variance_rule(x_BH, g_1H):
    """5.3: each square has slope 2 (x - mean). By way of the mean nothing comes back, for deviations sum to 0."""
    return 2 * (x_BH - x_BH.mean(0)) / (len(x_BH) - 1) * g_1H


def embedding_rule(table_VE, x_BR, g_BRE):
    """5.3: a row that was looked up several times fanned out, so its gradients add: `.add`, where `.set` keeps one."""
    return jnp.zeros_like(table_VE).at[x_BR].add(g_BRE)


def cross_entropy_rule(logits_BV, y_B):
    """5.4: exercise 1.4 for each row, and a mean over the batch, which divides by B."""
    return (jax.nn.softmax(logits_BV) - jax.nn.one_hot(y_B, logits_BV.shape[1])) / len(y_B)


def normalise(x_BH):
    """The normalised batch and the inverse of its deviation, for 5.5."""
    inv_H = jax.lax.rsqrt(x_BH.var(0, ddof=1) + 1e-5)
    return (x_BH - x_BH.mean(0)) * inv_H, inv_H


def batch_norm_rule(x_BH, gain_H, g_BH, lost=1):
    """5.5: three paths lead from an input to the loss: straight on, by the mean, and by the variance.

    The lesson has the formula and draws the paths. `lost` is Bessel's 1.
    """
    raw_BH, inv_H = normalise(x_BH)
    g_BH = gain_H * g_BH
    return inv_H * (g_BH - g_BH.mean(0) - raw_BH * (g_BH * raw_BH).sum(0) / (len(x_BH) - lost))


def gradients(v, d):
    """5.6: the rules above, in the order in which the forward pass is read from its end."""
    n = len(v.y)
    # The loss is the mean of one entry of each row, with a minus.
    d.logprobs = np.zeros_like(v.logprobs)
    d.logprobs[np.arange(n), v.y] = -1 / n
    d.probs = d.logprobs / v.probs
    # probs = counts * counts_sum_inv, where the column was broadcast; counts is used a second time, in its sum.
    d.counts_sum_inv = (v.counts * d.probs).sum(1, keepdims=True)
    d.counts_sum = -(v.counts_sum**-2) * d.counts_sum_inv
    d.counts = v.counts_sum_inv * d.probs + np.ones_like(v.counts) * d.counts_sum
    d.norm_logits = v.counts * d.counts
    # norm_logits = logits - logit_maxes; logits is used a second time, in its maximum.
    d.logit_maxes = -d.norm_logits.sum(1, keepdims=True)
    d.logits = d.norm_logits + np.eye(v.logits.shape[1])[v.logits.argmax(1)] * d.logit_maxes
    # logits = h @ W2 + b2
    d.h = d.logits @ v.W2.T
    d.W2 = v.h.T @ d.logits
    d.b2 = d.logits.sum(0)
    d.hpreact = (1 - v.h**2) * d.h
    # hpreact = bngain * bnraw + bnbias, where gain and bias were broadcast over the batch
    d.bngain = (v.bnraw * d.hpreact).sum(0)
    d.bnbias = d.hpreact.sum(0)
    d.bnraw = v.bngain * d.hpreact
    # bnraw = bndiff * bnvar_inv; bndiff is used a second time, in the variance.
    d.bnvar_inv = (v.bndiff * d.bnraw).sum(0, keepdims=True)
    d.bnvar = -0.5 * (v.bnvar + 1e-5) ** -1.5 * d.bnvar_inv
    d.bndiff2 = np.ones_like(v.bndiff2) / (n - 1) * d.bnvar
    d.bndiff = v.bnvar_inv * d.bnraw + 2 * v.bndiff * d.bndiff2
    # bndiff = hprebn - bnmeani; hprebn is used a second time, in its mean.
    d.bnmeani = -d.bndiff.sum(0, keepdims=True)
    d.hprebn = d.bndiff + np.ones_like(v.hprebn) / n * d.bnmeani
    # hprebn = embcat @ W1 + b1
    d.embcat = d.hprebn @ v.W1.T
    d.W1 = v.embcat.T @ d.hprebn
    d.b1 = d.hprebn.sum(0)
    # embcat is emb in another shape, and emb = C[x].
    d.emb = d.embcat.reshape(v.emb.shape)
    d.C = np.zeros_like(v.C)
    np.add.at(d.C, v.x, d.emb)
    return d
