"""How near lines are to the nearest of others: copies are nearer to the data than its own held-out lines are.

The distance of two lines is the fewest characters to insert, delete or replace (Levenshtein 1966).
"""

from collections.abc import Collection, Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

AT_ONCE = 2**24  # distances
MOST_PAIRS = 10**11  # of characters that are compared: some seconds


def nearest(lines: Sequence[str], others: Collection[str]) -> np.ndarray:
    """Return (N,) the distance of each line to the nearest of the others that is not equal to it.

    For long texts, only the first lines are compared.
    """
    compared_N = np.cumsum([len(line) for line in lines]) * sum(map(len, others))
    lines, others = lines[: int(np.searchsorted(compared_N, MOST_PAIRS, "right"))], list(others)
    rows, found = max(1, AT_ONCE // max(1, len(others))), [np.zeros(0)]
    for first in range(0, len(lines), rows):
        distance_NO = cdist(lines[first : first + rows], others, scorer=Levenshtein.distance, dtype=np.int32)
        found.append(np.where(distance_NO > 0, distance_NO, np.inf).min(1))
    return np.concatenate(found)


def median_distance(lines: Sequence[str], others: Collection[str]) -> float | None:
    """Return the median of `nearest`, or None if there is nothing to compare."""
    found = nearest(lines, others) if others else np.zeros(0)
    return float(np.median(found)) if len(found) else None
