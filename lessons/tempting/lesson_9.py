"""Answers to the exercises of lesson 9 that are wrong in tempting ways; the checks refuse them."""

import numpy as np

from lessons.solutions.lesson_9 import entropy_rate, row_entropies


def nan_at_zero(P_VV):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.linalg.matrix_power(P_VV, 4096)[0] @ -(P_VV * np.log(P_VV)).sum(1)


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
