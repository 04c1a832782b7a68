"""The scale of a population: chip units per unit of the model, chosen so that most is kept.

All weights, thresholds, biases and resets of a neuron are multiplied by one number, which changes
no spike.  Upstream (py-spinnaker2's `s2_nir`) has one for a population, at which its largest
weight, or a percentile of their magnitudes, is 127 (15 where synapses have delays; with b bits
2^(b-1) - 1 times the largest power of two that leaves room).  So here, but

1. weights that are whole multiples of a step, up to the largest weight of the chip, stay so: a
   model that was trained on a grid keeps its integers; where only each neuron's own weights are,
   as a batch norm, or a scale for each channel, leaves them, each has a scale of its own, which its
   threshold takes in;
2. where a self-synapse has to make up for the chip's reset, its weight must be a whole number k, so
   the scale is lowered to k / (d - alpha) theta: for each neuron where these differ;
3. where an integrator subtracts its threshold, that must be a whole number, so that potentials are
   whole numbers too.

Thresholds are float32, so they need no grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import ModelError
from neurodeploy.grid import TOLERANCE, grid_step, row_steps
from neurodeploy.linear import FloatArray
from neurodeploy.network import Population
from neurodeploy.program import IntArray
from neurodeploy.targets.spinnaker2.options import Options
from neurodeploy.targets.spinnaker2.unit import Unit, integrates

NEVER = float(np.finfo(np.float32).max)
"""The threshold of neurons without one: no potential reaches it."""
MOST_RESETS = 1024
"""Self-synapses of one neuron."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """A population's numbers on the chip, arrays of its shape.

    Attributes
    ----------
    scale: chip units per unit of the model.
    threshold: float32.
    own: int64, the self-synapses; 0 where there is none.
    below: by how much the chip's potential is less than the model's.
    """

    scale: FloatArray
    threshold: NDArray[np.float32]
    own: IntArray
    below: float = 0.0


def choose(unit: Unit, options: Options) -> Numbers:
    r"""The scale, and what follows from it.

    With a self-synapse of weight -k the chip's neuron is the model's with the threshold
    :math:`\theta = \alpha T + k` for a register T: it fires where no float32 lies between the
    potential and that, and loses exactly as much.  T is the least float32 above k / (1 - alpha), so
    the model's theta differs from it by less than one unit in the last place.

    An integrator's potential v is a whole number.  It is kept as v - 1/2, which is below the whole
    number T just where v is at most T.

    Raises
    ------
    ModelError
        No scale makes the self-synapses whole numbers.
    """
    population, shape = unit.population, unit.population.shape
    none = np.zeros(shape, np.int64)
    largest = largest_scale(unit.sizes, unit.levels * unit.step, population, options.percentile)
    grid = _grid(unit) if options.percentile == 100 else None
    most = np.full(shape, largest) if grid is None else grid.most
    if not population.spiking:
        return Numbers(most, np.full(shape, NEVER, np.float32), none)
    strict = population.semantics.comparison == ">"
    summing = integrates(population)
    if unit.whole is None or (summing and np.any(unit.whole * most < 1)):
        return Numbers(most, above(population.threshold * most, strict=strict), none)
    if summing:
        scale, whole = _whole(unit, unit.whole, most, grid)
        return Numbers(scale, whole.astype(np.float32), none, 0.5 if strict else 0.0)
    if options.nearest_reset:
        whole = _bounded(unit, np.rint(unit.whole * most))
        return Numbers(
            most, above(population.threshold * most, strict=strict), -whole.astype(np.int64)
        )
    scale, whole = _whole(unit, unit.whole, most, grid)
    ratio = np.divide(population.threshold, unit.whole, out=np.zeros(shape), where=unit.whole != 0)
    exact = np.where(unit.whole != 0, whole * ratio, population.threshold * scale)
    return Numbers(scale, above(exact, strict=strict), -whole.astype(np.int64))


@dataclass(frozen=True, eq=False)
class _Grid:
    """What each neuron's weights are whole multiples of, arrays of the population's shape.

    Attributes
    ----------
    step: in units of the model.
    multiple: the most chip units that a step can be, a multiple of the unit's own step.
    """

    step: FloatArray
    multiple: IntArray

    @property
    def most(self) -> FloatArray:
        """The largest scale that keeps the weights whole."""
        return self.multiple / self.step


def _grid(unit: Unit) -> _Grid | None:
    """One step for the whole population, or else one for each neuron, if there are such."""
    if not unit.sizes.any():
        return None
    weights = [arrival.weight for arrival in unit.arrivals]
    common = grid_step(unit.sizes, unit.levels)
    steps = row_steps(weights, unit.levels) if common is None else np.full(len(weights[0]), common)
    if steps is None:
        return None
    largest = np.full(len(steps), unit.sizes.max())
    if common is None:
        largest = np.max([np.abs(w).reshape(len(w), -1).max(axis=1) for w in weights], axis=0)
    largest = np.maximum(largest, steps)  # of rows without weights
    multiple = unit.step * np.floor(unit.levels * steps / largest * (1 + TOLERANCE))
    shape = unit.population.shape

    def spread(rows: NDArray[Any]) -> NDArray[Any]:
        return np.repeat(rows, unit.population.size // len(rows)).reshape(shape)

    return _Grid(spread(steps), spread(multiple.astype(np.int64)))


def largest_scale(
    sizes: FloatArray, limit: int, population: Population, percentile: float
) -> float:
    """The scale at which the percentile of the weights is the largest weight of the chip.

    Without weights, that at which the largest threshold is.
    """
    largest = float(np.percentile(sizes, percentile)) if sizes.size else 0.0
    if not largest and population.spiking:
        largest = float(population.threshold.max())
    return limit / largest if largest else 1.0


def above(values: FloatArray, *, strict: bool) -> NDArray[np.float32]:
    """The least float32 that is at least, or if `strict` more than, each float64 value."""
    nearest = values.astype(np.float32)
    short = nearest <= values if strict else nearest < values
    return np.where(short, np.nextafter(nearest, np.float32(np.inf)), nearest)


def integers(values: FloatArray, levels: int, step: int = 1) -> tuple[IntArray, int]:
    """(`values` as multiples of `step`, at most `levels` times it; how many were clipped).

    Rounds to the nearest, halves to even multiples.
    """
    rounded = np.rint(values / step)
    clipped = int(np.count_nonzero(np.abs(rounded) > levels))
    return step * np.clip(rounded, -levels, levels).astype(np.int64), clipped


def split(total: IntArray, limit: int) -> list[IntArray]:
    """Weights of magnitude up to `limit` that sum up to `total`: several synapses of one pair."""
    parts = []
    while np.any(total):
        parts.append(np.clip(total, -limit, limit))
        total = total - parts[-1]
    return parts


def _bounded(unit: Unit, whole: FloatArray) -> FloatArray:
    """Weights of self-synapses; raises `ModelError` for more of these than anyone can mean."""
    needed = float(np.abs(whole).max(initial=0.0)) / unit.limit
    if needed > MOST_RESETS:
        raise ModelError(
            f"a reset would take {needed:.3g} self-synapses, the limit is {MOST_RESETS}",
            node=unit.population.name,
            hint="Its threshold is so far beyond its weights that it may never spike.",
        )
    return whole


def _whole(
    unit: Unit, amount: FloatArray, most: FloatArray, grid: _Grid | None
) -> tuple[FloatArray, FloatArray]:
    """(scale <= most, the whole numbers amount * scale); weights stay on a grid if possible."""
    size = np.abs(amount)
    kept = None if grid is None else _whole_on_grid(size, grid, unit.step)
    if kept is not None:
        return kept, np.sign(amount) * _bounded(unit, np.rint(size * kept))
    whole = _bounded(unit, np.floor(size * most * (1 + TOLERANCE)))
    lost = (whole == 0) & (size != 0)
    if np.any(lost):
        raise ModelError(
            f"{np.count_nonzero(lost)} of {lost.size} neurons have a reset that no scale makes "
            f"exact: a self-synapse would weigh {(size * most)[lost].max():.2g}, less than 1",
            node=unit.population.name,
            hint='Use reset_mechanism="zero", smaller weights or a smaller beta, or lower it with '
            "nearest_reset.",
        )
    scale = np.divide(whole, size, out=most.copy(), where=size != 0)
    return scale, np.sign(amount) * whole


def _whole_on_grid(size: FloatArray, grid: _Grid, step: int) -> FloatArray | None:
    """For each neuron the largest scale, down to half the most, that keeps `size` whole as well."""
    lower, open_ = grid.multiple.copy(), np.ones(size.shape, bool)
    while np.any(open_):
        found = size * (lower / grid.step)
        open_ &= np.abs(found - np.rint(found)) > TOLERANCE * found
        lower[open_] -= step
        if np.any(open_ & (lower <= grid.multiple // 2)):
            return None
    return np.asarray(lower / grid.step)
