"""Statistics of agreement: proportions, paired differences, and how many samples they need."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError

Z = NormalDist().inv_cdf(0.975)


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
        n, p = self.trials, self.value
        centre, half = (p + Z * Z / (2 * n)) / (1 + Z * Z / n), half_width(p, n)
        return max(0.0, centre - half), min(1.0, centre + half)

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


def half_width(proportion: float, trials: int) -> float:
    """Half the width of the 95 % Wilson interval of a proportion; see `Proportion`."""
    n, p = trials, proportion
    return Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)


def samples_needed(proportion: float, margin: float) -> int:
    """How many samples a 95 % Wilson interval of +-`margin` needs, if `proportion` is found.

    The least n with z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n) <= margin, which falls with n.

    Raises
    ------
    InputError
        A proportion outside 0 to 1, or a margin outside 0 to 1/2.
    """
    if not 0 <= proportion <= 1 or not 0 < margin < 0.5:
        raise InputError(
            f"a proportion of {proportion} and a margin of {margin}, expected 0 to 1 and between 0 "
            "and 0.5"
        )
    high = 1
    while half_width(proportion, high) > margin:
        high *= 2
    return bisect.bisect_left(
        range(high + 1), -margin, lo=1, key=lambda n: -half_width(proportion, n)
    )


@dataclass(frozen=True)
class Paired:
    """Samples that only the reference (`lost`) or only the program (`gained`) decides right."""

    lost: int
    gained: int

    @property
    def p_value(self) -> float:
        """Two-sided exact test of McNemar that both are right equally often.

        Of the n = lost + gained samples on which they differ, each falls on either side with
        probability 1/2: p = min(1, 2 sum_{k <= min} C(n, k) / 2^n).  Source: McNemar (1947),
        Psychometrika 12:153-157; exact as in Fay (2010), Biostatistics 11:373-374.
        """
        n = self.lost + self.gained
        tail, term = 0, 1
        for k in range(min(self.lost, self.gained) + 1):
            tail += term
            term = term * (n - k) // (k + 1)
        return min(1.0, float(Fraction(2 * tail, 1 << n)))

    def to_dict(self) -> dict[str, float | int]:
        """Plain data."""
        return {"lost": self.lost, "gained": self.gained, "p_value": self.p_value}


def paired(expected: NDArray[np.bool_], actual: NDArray[np.bool_]) -> Paired:
    """Where one of two runs is right and the other is not, bool (samples,) each."""
    return Paired(
        int(np.count_nonzero(expected > actual)), int(np.count_nonzero(actual > expected))
    )
