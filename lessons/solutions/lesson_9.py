"""Solutions of the exercises of lesson 9, and how one gets there."""

import numpy as np


def beats(a_S, b_S):
    """9.1: losses, so the worst run is the one with the highest. Means and single runs prove nothing here."""
    return max(a_S) < min(b_S)


def expected_in_train(hits_held_out, names_in_train, names_held_out):
    """9.2: for a model that copies nothing, a name is as likely hit on either side: so many hits for each name."""
    return hits_held_out * names_in_train / names_held_out


# 9.3: more are new at higher temperatures, so halve the interval until the share is near enough:
#   counted = mm.count(corpus)
#   texts = mm.sample(jax.random.key(0), counted, 1000, temperature=1.35)
#   corpus.novelty(texts)["new"] / 1000
temperature = 1.35


def row_entropies(P_VV):
    """The entropy of each row, for 9.4; 0 log 0 counts as 0, so the logarithm gets a 1 there."""
    return -np.where(P_VV > 0, P_VV * np.log(np.where(P_VV > 0, P_VV, 1)), 0).sum(1)


def entropy_rate(P_VV):
    """9.4: after many steps each row of P**n is the share of time in each state, wherever the chain began.

    The entropy is the mean of the rows' entropies with these weights.
    """
    return np.linalg.matrix_power(P_VV, 4096)[0] @ row_entropies(P_VV)
