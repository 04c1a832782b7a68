"""Statistics of agreement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Proportion:
    """`successes` of `trials`, with a Wilson score interval at 95 %.

    Source of the interval: Wilson (1927), J. Am. Stat. Assoc. 22:209-212:
    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).
    """

    successes: int
    trials: int

    @property
    def value(self) -> float:
        """The proportion."""
        return self.successes / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high) of the 95 % Wilson interval."""
        z, n, p = NormalDist().inv_cdf(0.975), self.trials, self.value
        centre = p + z * z / (2 * n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)

    def to_dict(self) -> dict[str, float | int]:
        """Plain data."""
        low, high = self.interval
        return {
            "successes": self.successes,
            "trials": self.trials,
            "value": self.value,
            "low": low,
            "high": high,
        }


def agreement(a: NDArray[np.int64], b: NDArray[np.int64]) -> Proportion:
    """How many entries of two equally long arrays are equal."""
    return Proportion(int(np.count_nonzero(a == b)), len(a))
