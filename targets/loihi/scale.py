"""The scale V of a population: chip units of weight per threshold, chosen so that most is kept.

Every weight, threshold, bias and reset of a population is multiplied by the same V, so sums of
several connections need no common step: each connection has the exponent that its weights need.
V is chosen in this order:

1. V = 2^j / s to the nearest whole number, where all weights are whole multiples (up to 127) of a
   step s of their connection: a model that was trained on a grid keeps its integers, all of them;
2. the V at which the largest weight (or a percentile, beyond which weights are clipped) is 254
   times a power of two, lowered to a whole number and,
   where a self-synapse resets, to one that a single weight can hold.

In both V is as large as the registers allow, which gives states the most bits below the weights'
unit: for every input, from sums of weights; where that would cost more than one bit of weight, with
a factor two over the calibration data.  Weights of analog inputs are those of one step of their
grid, and may have negative exponents, see `analog`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.grid import TOLERANCE, grid_step
from neurodeploy.linear import FloatArray, fan_in_bounds
from neurodeploy.program import IntArray
from neurodeploy.targets.loihi.arithmetic import STATE_LIMIT, STATE_SHIFT
from neurodeploy.targets.loihi.reach import STATE_UNIT, VTH_LIMIT, worst_case
from neurodeploy.targets.loihi.unit import WEIGHT_BITS, Unit

WEIGHT_LIMIT = 254
WEIGHT_EXPONENT_LIMIT = 6
BIAS_MANTISSA_LIMIT = (1 << 12) - 1
BIAS_EXPONENT_LIMIT = 7
CALIBRATION_MARGIN = 2.0
HEADROOM = 0.98


def choose_scale(unit: Unit, states: Mapping[str, FloatArray]) -> float:
    """V; a whole number where there is a threshold.

    Parameters
    ----------
    states: reference potentials `v` and input currents `x` on the calibration data.

    Raises
    ------
    ModelError
        No V keeps the states in their registers and the threshold on the grid.
    """
    registers = _registers(unit)
    proven = min(registers, _state_limit(_proven_reach(unit)))
    scale = _on_the_weights_grid(unit, proven) or _fitting(unit, proven)
    largest, least = unit.finest
    if scale is None or largest * scale < unit.weight_limit * 2.0 ** (least - 1):
        limit = max(proven, min(registers, _state_limit(_observed_reach(unit, states))))
        scale = _on_the_weights_grid(unit, limit) or _fitting(unit, limit)
    if scale is None:
        raise ModelError(
            "the threshold is below one step of the weight grid: weights are up to "
            f"{unit.largest:g} times their threshold and states would overflow",
            node=unit.population.name,
            hint="Scale the weights down or the threshold up.",
        )
    return scale


def quantise(
    values: FloatArray, least: int = 0, bits: int = WEIGHT_BITS, largest: float | None = None
) -> tuple[IntArray, int]:
    """(w, e) with values ~ w 2^e: e >= `least` the lowest, w a multiple of s = 2^(9-bits) (Lava's
    `num_weight_bits` with weights of both signs) and at most 256 - s in magnitude.

    Rounds to the nearest multiple of s 2^e, halves to even multiples.  The exponent is that of
    `largest`, by default the largest magnitude; what is beyond the range then is clipped.
    """
    step = 1 << (9 - bits)
    largest = float(np.abs(values).max(initial=0.0)) if largest is None else largest
    exponent = least
    while step * np.rint(largest / (step * 2.0**exponent)) > 256 - step:
        exponent += 1
    multiples = np.rint(values / (step * 2.0**exponent)).astype(np.int64)
    most = 256 // step - 1
    return step * np.clip(multiples, -most, most), exponent


def quantised_sum(values: FloatArray) -> list[tuple[IntArray, int]]:
    """`values` as the sum of at most two of `quantise`: the second holds what the first leaves.

    Zeros need none.
    """
    found: list[tuple[IntArray, int]] = []
    for _ in range(2):
        weight, exponent = quantise(values)
        if not weight.any():
            break
        found.append((weight, exponent))
        values = values - weight * 2.0**exponent
    return found


def _on_the_weights_grid(unit: Unit, limit: float) -> float | None:
    """The largest V <= limit that keeps whole multiples of a step as they are, if there is one.

    From 254 on, rounding V moves no multiple up to 127 to another; a self-synapse needs an even V.
    """
    if unit.percentile != 100:
        return None
    arrivals = [arrival for arrival in unit.arrivals if arrival.weight.any()]
    levels = (1 << (unit.weight_bits - 1)) - 1
    steps = [grid_step(arrival.weight, levels) for arrival in arrivals]
    found = [step for step in steps if step is not None]
    if len(found) < len(steps):
        return None
    found += [bias.gain * bias.analog.step for bias in unit.biases if bias.analog.step is not None]
    if not found or limit < 2:
        return None
    least = [arrival.least + WEIGHT_BITS - unit.weight_bits for arrival in arrivals]
    least += [-STATE_SHIFT] * (len(found) - len(least))
    scale = 2.0 ** math.floor(math.log2(limit * found[0])) / found[0]
    powers = np.log2(scale * np.array(found))
    if np.any(powers < np.array(least) + 0.5) or np.any(
        np.abs(powers - np.rint(powers)) > TOLERANCE
    ):
        return None
    if not unit.population.spiking:
        return scale
    even = 1 if unit.amount is None else 2
    rounded = even * float(np.rint(scale / even))
    exact = abs(scale - rounded) <= TOLERANCE * rounded
    return rounded if rounded >= 2 and (exact or WEIGHT_LIMIT <= rounded <= limit) else None


def _fitting(unit: Unit, limit: float) -> float | None:
    """The V <= limit at which the largest weight uses its eight bits best; None if nothing fits."""
    largest, least = unit.finest
    if largest == 0.0:
        scale = limit if unit.biases else min(limit, float(WEIGHT_LIMIT))
    else:
        room = max(limit * largest / unit.weight_limit, 2.0**least)
        exponent = min(WEIGHT_EXPONENT_LIMIT, math.floor(math.log2(room)))
        scale = min(limit, unit.weight_limit * 2.0**exponent / largest)
    if scale < 2 or not unit.population.spiking:
        return scale if scale >= 2 else None
    most = 0.0 if unit.amount is None else float(unit.amount.max())
    if scale * most < 2:
        return float(math.floor(scale))
    weight, shift = self_weight(scale * most)
    exact = (weight << shift) / most
    return float(round(exact) if round(exact) <= limit else math.floor(exact))


def self_weight(limit: float) -> tuple[int, int]:
    """(w, k) with w even, w <= 254 and the largest w 2^k <= limit: the threshold as one synapse."""
    shift = max(0, math.floor(math.log2(limit / WEIGHT_LIMIT)))
    candidates = [(min(WEIGHT_LIMIT, int(limit // 2**k) // 2 * 2), k) for k in (shift, shift + 1)]
    return max(candidates, key=lambda pair: pair[0] << pair[1])


def _registers(unit: Unit) -> float:
    """Largest V for which threshold, weights, reset and bias fit their registers."""
    own = WEIGHT_LIMIT << WEIGHT_EXPONENT_LIMIT
    offset = (BIAS_MANTISSA_LIMIT << BIAS_EXPONENT_LIMIT) / STATE_UNIT
    limits = [_over(offset, unit.offset_reach)]
    limits.append(_over(unit.weight_limit << WEIGHT_EXPONENT_LIMIT, unit.largest))
    if unit.population.spiking:
        limits.append(VTH_LIMIT)
    if unit.amount is not None:
        limits.append(_over(own, float(unit.amount.max())))
    return min(limits)


def _proven_reach(unit: Unit) -> float:
    """Largest current or potential that any input can cause, in thresholds."""
    fan_in = fan_in_bounds(unit.extremes, unit.population.size)
    amount = None if unit.amount is None else unit.amount.reshape(-1)
    bounds = worst_case(
        unit.mode, amount, unit.memory, unit.iota, unit.offset, unit.start, fan_in, unit.swing
    )
    return max(bounds.reach, 1.0) if unit.population.spiking else bounds.reach


def _observed_reach(unit: Unit, states: Mapping[str, FloatArray]) -> float:
    """Largest current or potential on the calibration data, in thresholds, with a margin."""
    least = 1.0 if unit.population.spiking else 0.0
    seen = max(float(np.abs(states[s] / unit.threshold).max(initial=least)) for s in ("v", "x"))
    return CALIBRATION_MARGIN * seen + unit.offset_reach


def _state_limit(reach: float) -> float:
    """Largest V for which no register leaves 24 bits, with room for rounding."""
    return HEADROOM * _over((STATE_LIMIT - 1) / STATE_UNIT, reach)


def _over(limit: float, largest: float) -> float:
    return limit / largest if largest else math.inf
