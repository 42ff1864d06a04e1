"""Solutions of lesson 9, and wrong answers that one might give."""

import numpy as np


def row_entropies(P_VV):
    return -np.where(P_VV > 0, P_VV * np.log(np.where(P_VV > 0, P_VV, 1)), 0).sum(1)


def entropy_rate(P_VV):
    return np.linalg.matrix_power(P_VV, 4096)[0] @ row_entropies(P_VV)


def nan_at_zero(P_VV):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.linalg.matrix_power(P_VV, 4096)[0] @ -(P_VV * np.log(P_VV)).sum(1)


RIGHT = {
    "beats": lambda a, b: max(a) < min(b),
    "expected_in_train": lambda hits, in_train, held_out: hits * in_train / held_out,
    "temperature": 1.35,
    "entropy_rate": entropy_rate,
}
WRONG = {
    "beats": [lambda a, b: np.mean(a) < np.mean(b), lambda a, b: min(a) > max(b)],
    "expected_in_train": [lambda hits, in_train, held_out: hits, lambda hits, a, b: hits * a / (a + b)],
    "temperature": [1.0, 0.8, 2.0],
    "entropy_rate": [
        lambda P_VV: row_entropies(P_VV).mean(),  # all rows alike
        lambda P_VV: entropy_rate(P_VV) / np.log(2),  # bits
        nan_at_zero,
    ],
}
