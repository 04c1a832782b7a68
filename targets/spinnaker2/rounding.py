"""What the grid costs, as numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from neurodeploy.linear import FloatArray
from neurodeploy.program import IntArray, Lowering, Synapses
from neurodeploy.targets.spinnaker2.resolve import filtered, owed, single
from neurodeploy.targets.spinnaker2.scale import Numbers
from neurodeploy.targets.spinnaker2.unit import Unit

EXACT = 2.0**-22
"""Relative: what rounding to float32 may do to a product of float32 numbers."""


def quantisation(
    unit: Unit,
    numbers: Numbers,
    arriving: Iterable[Synapses],
    clipped: int,
    bias: IntArray | None,
    moved: FloatArray,
) -> Lowering:
    """The largest rounding errors of a population, in thresholds, and what happened to weights.

    Parameters
    ----------
    arriving: the synapses of each of the unit's arrivals.
    clipped: how many weights were.
    bias: what a neuron of its own sends, if there is one.
    moved: by how much the start moves potentials, in chip units.
    """
    population = unit.population
    theta = population.threshold if population.spiking else np.ones(population.shape)
    units = theta * numbers.scale  # chip units per threshold
    weight, dead, total = 0.0, 0, 0
    for arrival, synapses in zip(unit.arrivals, arriving, strict=True):
        shape = (-1, *(1,) * (arrival.weight.ndim - 1))
        rows = units.reshape(len(arrival.weight), -1).min(axis=1).reshape(shape)
        per_row = numbers.scale.reshape(len(arrival.weight), -1)[:, 0].reshape(shape)
        off = np.abs(synapses.weight - arrival.weight * per_row) / rows
        weight = max(weight, float(off.max(initial=0.0)))
        dead += int(np.count_nonzero((synapses.weight == 0) & (arrival.weight != 0)))
        total += int(np.count_nonzero(arrival.weight))
    errors = {
        "reset": _reset_error(unit, numbers, units),
        "bias": _bias_error(unit, numbers, units, bias),
        "decays": max(
            float(np.abs(single(decay) - decay).max(initial=0.0))
            for decay in (population.decay, population.current_decay)
        ),
        "start": float(np.abs(moved / units).max(initial=0.0)),
    }
    scales = f"{numbers.scale.min():.6g}"
    if numbers.scale.max() > numbers.scale.min():
        scales += f" to {numbers.scale.max():.6g}"
    of = "thresholds" if population.spiking else "units of the model"
    text = f"{scales} per unit of the model; weights off by at most {weight:.2g} {of}"
    text += f", {clipped} of {total} clipped" if clipped else ""
    text += f", {dead} of {total} rounded to 0" if dead else ""
    said = [f"the {name} by {error:.2g}" for name, error in errors.items() if error > EXACT]
    text += "".join(f", {item}" for item in said)
    exact = max(weight, *errors.values()) <= EXACT
    return Lowering(population.name, "quantisation", "exact" if exact else "approximate", text)


def _reset_error(unit: Unit, numbers: Numbers, units: FloatArray) -> float:
    """How much more or less than the model's a spike takes away by the next step, in thresholds."""
    population = unit.population
    amount = owed(population)
    if not population.spiking or population.semantics.reset == "zero":
        return 0.0
    if amount is None:
        return float(np.abs(single(numbers.threshold) / units - 1).max())
    lost = single(population.decay) * single(numbers.threshold)
    own = np.zeros(population.shape) if filtered(population) else numbers.own
    meant = amount * numbers.scale + single(population.decay) * units
    return float(np.abs((lost - own - meant) / units).max())


def _bias_error(unit: Unit, numbers: Numbers, units: FloatArray, bias: IntArray | None) -> float:
    if bias is None:
        return 0.0
    return float(np.abs((unit.population.bias * numbers.scale - bias) / units).max())
