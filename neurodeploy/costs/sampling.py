"""Uncertainty: constants, model errors and counts are drawn together, many times.

Draws are arrays float64 (DRAWS,).  Every name has a random stream of its own with a fixed seed, so
estimates for two programs on one chip share their constants and model errors draw by draw.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.chip import Chip
from neurodeploy.errors import FileError
from neurodeploy.linear import FloatArray
from neurodeploy.quantity import Quantity

DRAWS = 20_000
REPLICATES = 1_000
SEED = 0
SI = {
    "pJ": ("J", 1e-12),
    "nJ": ("J", 1e-9),
    "mW": ("W", 1e-3),
    "W": ("W", 1.0),
    "ns": ("s", 1e-9),
    "us": ("s", 1e-6),
    "ms": ("s", 1e-3),
    "cycles": ("1", 1.0),
    "1": ("1", 1.0),
}
"""Units of chip files: SI unit and factor."""


UNITS = {"e": "J", "p": "W", "c": "1", "t": "s"}
"""SI units of constants by the first letter of their names: energy, power, cycles, time."""


def constant(chip: Chip, name: str) -> FloatArray:
    """Draws of a constant in its SI unit: `log_triangular` of its low, typical and high."""
    low, typical, high = bounds(chip, name, UNITS[name[0]])
    return log_triangular(_stream(chip, name).random(DRAWS), low, typical, high)


def model_error(chip: Chip, name: str) -> FloatArray:
    """Log-normal draws with median 1 and the geometric standard deviation called `name`."""
    gsd = bounds(chip, name, "1")[1]
    return np.asarray(np.exp(math.log(gsd) * _stream(chip, name).standard_normal(DRAWS)))


def between(chip: Chip, name: str, low: Any, typical: Any, high: Any) -> FloatArray:
    """Draws of something called `name`, `log_triangular`; bounds are float64 or (DRAWS,)."""
    return log_triangular(_stream(chip, name).random(DRAWS), low, typical, high)


def bootstrap(chip: Chip, samples: NDArray[Any]) -> FloatArray:
    """Means over resampled samples: (samples, features) -> float64 (DRAWS, features).

    Samples are drawn with replacement, `REPLICATES` times; draws take the replicates in turn.
    """
    generator = _stream(chip, "bootstrap")
    count = len(samples)
    chances = np.full(count, 1 / count)
    means = [generator.multinomial(count, chances) @ samples / count for _ in range(REPLICATES)]
    return np.asarray(means)[np.arange(DRAWS) % REPLICATES]


def _stream(chip: Chip, name: str) -> np.random.Generator:
    """A generator of its own for each name on each chip."""
    return np.random.default_rng([SEED, *f"{chip.name}/{name}".encode()])


def bounds(chip: Chip, name: str, unit: str) -> tuple[float, float, float]:
    """(low, typical, high) of a constant in the SI unit `unit`.

    Raises
    ------
    FileError
        The chip file has no such constant, or gives it in a unit of another kind.
    """
    record = chip.constant(name)
    base, factor = SI.get(record.unit, (None, 0.0))
    if base != unit:
        raise FileError(
            f"constant {name} is in {record.unit!r}, expected one of "
            + ", ".join(known for known, (si, _) in SI.items() if si == unit),
            node=chip.name,
        )
    return record.low * factor, record.typical * factor, record.high * factor


def log_triangular(u: FloatArray, low: Any, typical: Any, high: Any) -> FloatArray:
    """Quantile function of a triangular distribution of the logarithm (of the value from 0)."""
    if np.min(low) <= 0:
        return triangular(u, low, typical, high)
    return np.asarray(np.exp(triangular(u, np.log(low), np.log(typical), np.log(high))))


def triangular(u: FloatArray, low: Any, mode: Any, high: Any) -> FloatArray:
    """Quantile function of the triangular distribution on [low, high].

    low + sqrt(u (high - low)(mode - low))          where u (high - low) < mode - low,
    high - sqrt((1 - u)(high - low)(high - mode))   elsewhere.
    """
    rising = low + np.sqrt(u * (high - low) * (mode - low))
    falling = high - np.sqrt((1 - u) * (high - low) * (high - mode))
    return np.asarray(np.where(u * (high - low) < mode - low, rising, falling))


def interval(draws: FloatArray, unit: str, source: str) -> Quantity:
    """Median and 5 to 95 % of draws, as a derived quantity."""
    low, typical, high = (float(value) for value in np.percentile(draws, [5, 50, 95]))
    return Quantity(low, typical, high, unit, "derived", source)


def spread(counts: NDArray[np.int64], unit: str, source: str) -> Quantity:
    """Minimum, mean and maximum over samples, as a counted quantity."""
    return Quantity(
        float(counts.min()), float(counts.mean()), float(counts.max()), unit, "counted", source
    )
