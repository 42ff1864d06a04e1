"""Solutions of the exercises of lesson 0, and how one gets there."""

import jax
import jax.numpy as jnp


def two_rolls(key):
    """0.1: a key is used once, and there are two dice. So split it first, and give each die a key of its own.

    `randint` leaves out its upper bound, as `range` does: 1 to 6 is `1, 7`. The shape `()` is that of one number.
    """
    first_key, second_key = jax.random.split(key)
    return jax.random.randint(first_key, (), 1, 7), jax.random.randint(second_key, (), 1, 7)


def entropy(p_V):
    """0.2: trap 5. A `where` around the logarithm mends the value at 0, and leaves the gradient nan.

    So the logarithm must not see the 0 at all: put a harmless number in its place *before* it is taken. The second
    `where` then throws the harmless result away, and its gradient with it.
    """
    safe_V = jnp.where(p_V > 0, p_V, 1.0)
    return -jnp.where(p_V > 0, p_V * jnp.log(safe_V), 0.0).sum()


def log_softmax(logits_V):
    """0.3: trap 6. On paper, log(exp(z) / sum(exp(z))) = z - log(sum(exp(z))), and any constant may be taken from z.

    Take the largest logit: then every exponential is at most 1, and the sum is at least 1, so that nothing overflows
    and no logarithm of 0 is taken.
    """
    shifted_V = logits_V - logits_V.max()
    return shifted_V - jnp.log(jnp.exp(shifted_V).sum())


def running_mean(x_T):
    """0.4: ask first what has to be carried from one turn to the next. Here it is the sum so far and the count so far.

    The body returns two things: what is carried on, and what is kept of this turn, which is their quotient.
    """

    def body(carry, x):
        total, count = carry
        total, count = total + x, count + 1
        return (total, count), total / count

    _, mean_T = jax.lax.scan(body, (0.0, 0), x_T)
    return mean_T
