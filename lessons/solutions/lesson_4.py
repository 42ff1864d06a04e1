"""Solutions of the exercises of lesson 4, and how one gets there."""

import math

import jax.numpy as jnp

# 4.1: with w1 and b1 at 0 the hidden layer is 0, so w2 gets no gradient; with w2 at 0, nothing before it gets one.
# Only b2 moves. It is the same for every window, so the network can say one thing: how often each symbol occurs.
# Its lowest loss is the entropy of these shares:
#   share_V = np.bincount(data["train"][1], minlength=27) / len(data["train"][1])
#   -(share_V * np.log(share_V)).sum()
loss_from_zero = 2.8226


def fold(w, b, params, state):
    """4.2: write the norm of z = x @ w + b as (z - mean) * scale + bias, with scale = gain / sqrt(var + 1e-5).

    Then x @ (w * scale) + (b - mean) * scale + bias: the scale of a unit multiplies its column of w.
    """
    scale_O = params["gain"] / jnp.sqrt(state["var"] + 1e-5)
    return w * scale_O, (b - state["mean"]) * scale_O + params["bias"]


# 4.3: z is negative half of the time and then gives 0; the other half has the mean square of z, which is 1. So the mean
# square of max(0, z) is 1/2, and a factor of sqrt(2) brings it back to 1.
relu_gain = math.sqrt(2)


def dead_units(h_NH):
    """4.4: 0 for *every* example: `all` over the examples, axis 0. Then count the units."""
    return (h_NH == 0).all(0).sum()
