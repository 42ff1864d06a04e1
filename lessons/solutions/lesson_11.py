"""Solutions of the exercises of lesson 11, and how one gets there."""

import jax
import jax.numpy as jnp


def compose(first, then):
    """Two lines one after the other, as in the lesson."""
    return then[0] * first[0], then[0] * first[1] + then[1]


def parity(x_T):
    """11.1: a 0 keeps the state, h -> h. A 1 exchanges 0 and 1, and the line through those two points is h -> 1 - h.

    So a is 1 or -1, and b is the bit. Hawk's a is never negative, so no unit of it can do this.
    """
    return 1 - 2 * x_T, x_T


def by_doubling(combine, x):
    """11.2: before a round with offset d, a step holds the product of the last d steps, or of all that there are.

    Joined with what stands d steps before it, it holds 2d of them. The first d steps are prefixes already and stay.
    The offsets 1, 2, 4 are the dilations of lesson 6, and the picture is that of its convolution.
    """
    steps, offset = len(jax.tree.leaves(x)[0]), 1
    while offset < steps:
        earlier = jax.tree.map(lambda leaf, d=offset: leaf[:-d], x)
        later = jax.tree.map(lambda leaf, d=offset: leaf[d:], x)
        joined = combine(earlier, later)
        x = jax.tree.map(lambda old, new, d=offset: jnp.concatenate([old[:d], new]), x, joined)
        offset *= 2
    return x


def run_automaton(move_SQ, x_T):
    """11.3: a symbol is a table of Q numbers, and two tables in a row are a table: q goes to then[first[q]].

    `take_along_axis` looks that up for all pairs of tables in a round. The prefixes are tables as well; the state is
    their entry for the state in which all begin.
    """
    prefix_TQ = jax.lax.associative_scan(lambda first, then: jnp.take_along_axis(then, first, axis=-1), move_SQ[x_T])
    return prefix_TQ[:, 0]


def gradient(a_T, arrives_T):
    """11.4: h_t goes into the loss itself, and into h_{t+1} with weight a_{t+1}. So with total gradients G_t,

    G_t = a_{t+1} G_{t+1} + g_t: a recurrence from the end to the start, whose a is the next step's. Nothing comes after
    the last step. Lesson 7's product of fifty gains is the product of the a's.
    """
    next_T = jnp.append(a_T[1:], 0)
    return jax.lax.associative_scan(compose, (next_T, arrives_T), reverse=True)[1]


def newton_round(w, u_T, guess_T):
    """11.5: near the guess g of the state before, tanh(w h + u) is the line tanh(w g + u) + slope (h - g).

    That is a step a h + b with a = slope = w (1 - tanh^2) and b = tanh(w g + u) - slope g: known before any state is.
    """
    before_T = jnp.append(0, guess_T[:-1])
    value_T = jnp.tanh(w * before_T + u_T)
    slope_T = w * (1 - value_T**2)
    return jax.lax.associative_scan(compose, (slope_T, value_T - slope_T * before_T))[1]
