"""The scale of a population: chip units per unit of the model, chosen so that most is kept.

All weights, thresholds, biases and resets of a neuron are multiplied by one number, which changes
no spike.  Upstream (py-spinnaker2's `s2_nir`) has one for a population, at which its largest
weight, or a percentile of their magnitudes, is 127 (15 where synapses have delays).  So here, but

1. weights that are whole multiples of a step, up to the largest weight of the chip, stay so: a
   model that was trained on a grid keeps its integers;
2. where a self-synapse has to make up for the chip's reset, its weight must be a whole number k, so
   the scale is lowered to k / (d - alpha) theta: for each neuron where these differ;
3. where an integrator subtracts its threshold, that must be a whole number, so that potentials are
   whole numbers too.

Thresholds are float32, so they need no grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import ModelError
from neurodeploy.grid import TOLERANCE, grid_step
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
    most = largest_scale(unit.sizes, unit.limit, population, options.percentile)
    step = grid_step(unit.sizes, unit.limit) if options.percentile == 100 else None
    if step is not None:
        most = math.floor(unit.limit * step / unit.sizes.max() * (1 + TOLERANCE)) / step
    if not population.spiking:
        return Numbers(np.full(shape, most), np.full(shape, NEVER, np.float32), none)
    strict = population.semantics.comparison == ">"
    summing = integrates(population)
    if unit.whole is None or (summing and np.any(unit.whole * most < 1)):
        scale = np.full(shape, most)
        return Numbers(scale, above(population.threshold * scale, strict=strict), none)
    if summing:
        scale, whole = _whole(unit, unit.whole, most, step)
        return Numbers(scale, whole.astype(np.float32), none, 0.5 if strict else 0.0)
    if options.nearest_reset:
        scale = np.full(shape, most)
        whole = _bounded(unit, np.rint(unit.whole * scale))
        return Numbers(
            scale, above(population.threshold * scale, strict=strict), -whole.astype(np.int64)
        )
    scale, whole = _whole(unit, unit.whole, most, step)
    ratio = np.divide(population.threshold, unit.whole, out=np.zeros(shape), where=unit.whole != 0)
    exact = np.where(unit.whole != 0, whole * ratio, population.threshold * scale)
    return Numbers(scale, above(exact, strict=strict), -whole.astype(np.int64))


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


def integers(values: FloatArray, limit: int) -> tuple[IntArray, int]:
    """(`values` rounded to the nearest integers, halves to even, and clipped; how many were)."""
    rounded = np.rint(values)
    clipped = int(np.count_nonzero(np.abs(rounded) > limit))
    return np.clip(rounded, -limit, limit).astype(np.int64), clipped


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
    unit: Unit, amount: FloatArray, most: float, step: float | None
) -> tuple[FloatArray, FloatArray]:
    """(scale <= most, the whole numbers amount * scale); weights stay on a grid if possible."""
    size = np.abs(amount)
    if step is not None:
        multiple = round(most * step)
        for lower in range(multiple, multiple // 2, -1):
            found = size * (lower / step)
            if np.all(np.abs(found - np.rint(found)) <= TOLERANCE * found):
                whole = _bounded(unit, np.rint(found))
                return np.full(size.shape, lower / step), np.sign(amount) * whole
    whole = _bounded(unit, np.floor(size * most * (1 + TOLERANCE)))
    lost = (whole == 0) & (size != 0)
    if np.any(lost):
        raise ModelError(
            f"{np.count_nonzero(lost)} of {lost.size} neurons have a reset that no scale makes "
            f"exact: a self-synapse would weigh {float(size[lost].max() * most):.2g}, less than 1",
            node=unit.population.name,
            hint='Use reset_mechanism="zero", smaller weights or a smaller beta, or lower it with '
            "nearest_reset.",
        )
    scale = np.divide(whole, size, out=np.full(size.shape, most), where=size != 0)
    return scale, np.sign(amount) * whole
