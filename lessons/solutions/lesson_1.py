"""Solutions of the exercises of lesson 1, and how one gets there."""

import jax
import numpy as np


def gradient(a, b, c):
    """1.1: each input is in some of the terms only; the others count as constants, and their slope is 0.

    a: -a**3 gives -3 a**2, and -sqrt(a) = -a**0.5 gives -0.5 a**-0.5.
    b: sin(3b) gives cos(3b) times 3, the slope of what is inside; b**2.5 gives 2.5 b**1.5.
    c: -1/c = -c**-1 gives +c**-2.
    """
    return -3 * a**2 - 0.5 * a**-0.5, 3 * np.cos(3 * b) + 2.5 * b**1.5, 1 / c**2


def slope(f, x):
    """1.2: the picture of section 1. To both sides the error of the formula is about h**2, that of rounding 1e-16 / h.

    Their sum is least where they are equal, at h near the cube root of 1e-16, about 1e-5.
    """
    h = 1e-5
    return (f(x + h) - f(x - h)) / (2 * h)


def logistic_rule(g, out, x):
    """1.3: with out = 1 / (1 + e), e = exp(-x), the slope is e / (1 + e)**2 = 1 / (1 + e) * e / (1 + e).

    The first factor is `out`. The second is 1 - out. So the rule needs the output only, and multiplies by `g`.
    """
    return (g * out * (1 - out),)


def softmax_gradient(logits_V, label):
    """1.4: the loss is log(sum(exp(z))) - z[label].

    The slope of the first term with respect to z[i] is exp(z[i]) / sum(exp(z)): the probability of i. The second term
    has slope -1 at the label and 0 elsewhere, which is minus a one-hot vector.
    """
    return jax.nn.softmax(logits_V) - jax.nn.one_hot(label, len(logits_V))
