"""Fit power laws to a few points, with confidence intervals."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import curve_fit
from scipy.stats import t as student

FEWEST = 5  # points of a law, so that two degrees of freedom remain to show how well it fits


class Law(NamedTuple):
    """The law loss = floor + scale * n ** -exponent, fitted by least squares."""

    floor: float
    scale: float
    exponent: float
    covariance: np.ndarray  # of floor, scale and exponent
    residual: float  # root mean square, nats
    freedom: int  # degrees of freedom: points minus three

    def __call__(self, n: np.ndarray | float) -> np.ndarray:
        """Return the loss at n."""
        return self.floor + self.scale * np.asarray(n, float) ** -self.exponent

    @property
    def floor_interval(self) -> float:
        """Half the width of the 95% interval of the floor."""
        return float(student.ppf(0.975, self.freedom) * np.sqrt(self.covariance[0, 0]))

    def interval(self, n: float) -> float:
        """Return half the width of the 95% interval of the loss at n, by the delta method with Student's t."""
        power = n**-self.exponent
        slope = np.array([1, power, -self.scale * np.log(n) * power])
        return float(student.ppf(0.975, self.freedom) * np.sqrt(slope @ self.covariance @ slope))


def fit_law(n: np.ndarray, loss: np.ndarray) -> Law | None:
    """Fit a power law; return None if there are fewer than `FEWEST` points or the exponent is not positive."""
    if len(n) < FEWEST:
        return None
    law = lambda n, floor, scale, exponent: floor + scale * n**-exponent
    start = (0.9 * loss.min(), (loss[0] - 0.9 * loss.min()) * n[0] ** 0.3, 0.3)
    try:
        (floor, scale, exponent), covariance = curve_fit(
            law, n, loss, start, bounds=([0, 0, 0.01], [np.inf, np.inf, 3]), max_nfev=10_000
        )
    except (RuntimeError, ValueError):
        return None
    at_bound = exponent <= 0.011 or exponent >= 2.99
    if at_bound or not np.isfinite(covariance).all():
        return None
    residual = float(np.sqrt(np.mean((law(n, floor, scale, exponent) - loss) ** 2)))
    return Law(floor, scale, exponent, covariance, residual, len(n) - 3)
