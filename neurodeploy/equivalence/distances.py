"""Distances between spike trains, exact on a grid of time steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError
from neurodeploy.trace import Spikes, Trace

TIME_CONSTANT = 10.0
CHUNK_VALUES = 1 << 22

FloatArray = NDArray[np.float64]


def van_rossum(a: Spikes, b: Spikes, time_constant: float = TIME_CONSTANT) -> FloatArray:
    """Squared distance of van Rossum (2001), Neural Computation 13:751-763.

    D² = (1/τ) ∫ (f(t) - g(t))² dt, where f and g are the trains with every spike replaced by
    exp(-t/τ), t >= 0.  With x the filtered difference of the trains just after a step, x' = λ x + d
    and λ = exp(-1/τ), the integral over one step is x² (1 - λ²) / 2, and that over all time after
    the last step x² / 2; so one spike too many is 1/2, wherever it is.

    Parameters
    ----------
    a, b: spikes or numbers of spikes (samples, steps, *shape).
    time_constant: τ in steps.

    Returns
    -------
    float64 (samples, *shape).

    Raises
    ------
    InputError
        Different shapes, or a time constant that is not positive and finite.
    """
    _check(a, b, time_constant, "time constant")
    kept = math.exp(-1 / time_constant)
    filtered = np.zeros((len(a), *a.shape[2:]))
    total = np.zeros_like(filtered)
    for step in range(a.shape[1]):
        total += filtered**2
        filtered *= kept
        filtered += a[:, step]
        filtered -= b[:, step]
    return np.asarray((1 - kept**2) / 2 * total + filtered**2 / 2)


def victor_purpura(a: Spikes, b: Spikes, cost: float = 1 / TIME_CONSTANT) -> FloatArray:
    """Distance of Victor and Purpura (1996), J. Neurophysiology 76:1310-1326, D^spike.

    The least cost of turning one train into the other: 1 to delete or insert a spike, `cost` times
    the steps by which one is moved.  With G_ij that of the first i and j spikes, at times s and t,
    G_ij = min(G_(i-1)j + 1, G_i(j-1) + 1, G_(i-1)(j-1) + cost |s_i - t_j|), G_i0 = i, G_0j = j.

    Parameters
    ----------
    a, b: spikes or numbers of spikes (samples, steps, *shape).
    cost: per step; 1/τ is comparable with `van_rossum`.

    Returns
    -------
    float64 (samples, *shape).

    Raises
    ------
    InputError
        Different shapes, or a cost that is not positive and finite.
    """
    _check(a, b, cost, "cost")
    trains = [np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]) for x in (a, b)]
    result = np.zeros(len(trains[0]))
    differing = np.flatnonzero((trains[0] != trains[1]).any(axis=1))
    # Trains of about equal length together, so that little is computed in vain.
    order = differing[np.argsort(trains[0][differing].sum(axis=1, dtype=np.int64), kind="stable")]
    size = max(1, CHUNK_VALUES // max(1, a.shape[1]))
    for start in range(0, len(order), size):
        own = order[start : start + size]
        first, second = (_times(train[own]) for train in trains)
        result[own] = _edits(first, second, cost)
    return result.reshape((len(a), *a.shape[2:]))


def _times(trains: NDArray[Any]) -> tuple[FloatArray, NDArray[np.int64]]:
    """Spike times (trains, most spikes), after the last one 0, and how many there are."""
    counts = trains.sum(axis=1, dtype=np.int64)
    train, step = np.nonzero(trains)
    repeats = trains[train, step].astype(np.int64)
    train, step = np.repeat(train, repeats), np.repeat(step, repeats)
    times = np.zeros((len(trains), int(counts.max(initial=0))))
    first = np.cumsum(counts) - counts
    times[train, np.arange(len(train)) - first[train]] = step
    return times, counts


def _edits(
    a: tuple[FloatArray, NDArray[np.int64]], b: tuple[FloatArray, NDArray[np.int64]], cost: float
) -> FloatArray:
    """The recurrence of `victor_purpura` for many pairs at once; one row of G at a time."""
    (s, most), (t, others) = a, b
    pairs = np.arange(len(s))
    row = np.broadcast_to(np.arange(t.shape[1] + 1.0), (len(s), t.shape[1] + 1)).copy()
    result = np.asarray(row[pairs, others] * (most == 0), np.float64)
    for i in range(s.shape[1]):
        here = s[:, i]
        earlier, row = row, np.empty_like(row)
        row[:, 0] = i + 1
        for j in range(t.shape[1]):
            # Beyond its last spike a train has entries that no result is read from.
            moved = earlier[:, j] + cost * np.abs(here - t[:, j])
            row[:, j + 1] = np.minimum(np.minimum(earlier[:, j + 1], row[:, j]) + 1, moved)
        done = most == i + 1
        result[done] = row[pairs[done], others[done]]
    return result


def _check(a: Spikes, b: Spikes, value: float, name: str) -> None:
    if a.shape != b.shape:
        raise InputError(f"trains of shape {a.shape} and {b.shape} cannot be compared")
    if not 0 < value < math.inf:
        raise InputError(f"the {name} is {value}, expected a positive number")


@dataclass(frozen=True)
class Distances:
    """How far the spike trains of a population are apart, over all neurons and samples.

    Attributes
    ----------
    equal: share of trains (one neuron, one sample) without any difference.
    count_error: mean of | number of spikes - reference's number |, per train.
    count_bias: mean of number of spikes - reference's number, per train.
    van_rossum, victor_purpura: means per train; the first is squared.
    time_constant: of the first, in steps; the second moves spikes at its reciprocal per step.
    """

    population: str
    equal: float
    count_error: float
    count_bias: float
    van_rossum: float
    victor_purpura: float
    time_constant: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Sums:
    """What `Distances` are means of: integers, and exact sums of floats, so that parts add up.

    Attributes
    ----------
    trains, differing: how many there are, and in how many anything differs.
    count_error, count_bias: see `Distances`.
    van_rossum, victor_purpura: sums of one float64 for each sample.
    """

    population: str
    trains: int
    differing: int
    count_error: int
    count_bias: int
    van_rossum: Fraction
    victor_purpura: Fraction
    time_constant: float

    def __add__(self, other: Sums) -> Sums:
        mine, its = vars(self), vars(other)
        return Sums(**{
            name: value if name in ("population", "time_constant") else value + its[name]
            for name, value in mine.items()
        })  # fmt: skip

    @property
    def means(self) -> Distances:
        """Per train."""
        return Distances(
            population=self.population,
            equal=1 - self.differing / self.trains,
            count_error=self.count_error / self.trains,
            count_bias=self.count_bias / self.trains,
            van_rossum=float(self.van_rossum / self.trains),
            victor_purpura=float(self.victor_purpura / self.trains),
            time_constant=self.time_constant,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, fractions as text."""
        return {k: str(v) if isinstance(v, Fraction) else v for k, v in vars(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Sums:
        """The inverse of `to_dict`."""
        exact = {name: Fraction(data[name]) for name in ("van_rossum", "victor_purpura")}
        return cls(**{**data, **exact})


def sums(
    expected: Trace, actual: Trace, population: str, time_constant: float = TIME_CONSTANT
) -> Sums:
    """Sums over the trains of one population's spikes in two runs of equal shape."""
    a, b = expected.spikes[population], actual.spikes[population]
    _check(a, b, time_constant, "time constant")
    differs = (a != b).any(axis=1)
    samples = np.flatnonzero(differs.reshape(len(a), -1).any(axis=1))
    trains = a.size // a.shape[1]
    a, b = a[samples], b[samples]
    excess = b.sum(axis=1, dtype=np.int64) - a.sum(axis=1, dtype=np.int64)
    return Sums(
        population=population,
        trains=trains,
        differing=int(np.count_nonzero(differs)),
        count_error=int(np.abs(excess).sum()),
        count_bias=int(excess.sum()),
        van_rossum=_exact(van_rossum(a, b, time_constant)),
        victor_purpura=_exact(victor_purpura(a, b, 1 / time_constant)),
        time_constant=time_constant,
    )


def _exact(values: FloatArray) -> Fraction:
    """The sum of the samples' rounded sums, without any rounding of its own."""
    per_sample = (math.fsum(sample.reshape(-1).tolist()) for sample in values)
    return sum(map(Fraction, per_sample), Fraction())


def distances(
    expected: Trace, actual: Trace, population: str, time_constant: float = TIME_CONSTANT
) -> Distances:
    """Distances of one population's spikes in two runs of equal shape; see `Distances`."""
    return sums(expected, actual, population, time_constant).means
