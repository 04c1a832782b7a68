"""What states can reach: bounds for every possible input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.linear import FloatArray, fan_in_bounds
from neurodeploy.program import Neurons, Range, Synapses
from neurodeploy.targets.cpu.arithmetic import (
    NO_RESET,
    SUBTRACT,
    SUBTRACT_DELAYED,
    SUBTRACT_HELD,
)
from neurodeploy.targets.cpu.format import FixedPoint

Interval = tuple[FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class Neuron:
    """Neurons whose states are to be bounded, all arrays (neurons,), in any one unit.

    Attributes
    ----------
    keep, current_keep: decays as they are executed, in [0, 1].
    threshold, amount, start: threshold, what a spike subtracts, potential before the first step.
    bias, leak: constant inputs; `leak` past the synaptic current.
    filtered, reset: see `arithmetic.step`.
    slack: how far the rounding of one decay can move a state.
    """

    keep: FloatArray
    current_keep: FloatArray
    threshold: FloatArray
    amount: FloatArray
    start: FloatArray
    bias: FloatArray
    leak: FloatArray
    filtered: bool
    reset: int
    slack: float

    def bounds(self, arriving: Interval) -> tuple[Interval, Interval]:
        """Bounds of i and of v (before and after its reset) if each step brings `arriving`.

        With decay b, threshold T, subtracted amount A, start s and a drive d in [l, h]:

        no reset:          v >= min(s, l/(1-b)),  v <= max(s, h/(1-b))
        to zero:           v >= min(s, 0, l/(1-b)),  v <= max(s, 0, b max(s, T, 0) + h)
        subtract, at once: v <= P = max(s, bT + h, (h - bA)/(1-b)),
                           v >= L = min(s, l/(1-b), T - A)
        delayed:           v <= P = max(s, bT + h, (h - A)/(1-b)),
                           v >= L = min(s, l/(1-b), bT + l - A)
        held:              v <= P = max(s, b T + h, 2T, b W + h - A),  v >= min(s, 0, l/(1-b),
                           b T + l - A)  with  W = max(s, 2T, b T + h - A, (h - A)/(1-b))

        Each is invariant under one step.  i is as v without reset.  A rounded decay is the exact
        one and a drive within `slack`.
        """
        zero = np.zeros_like(self.keep)
        if self.filtered:
            low, high = (side + self.bias for side in self._rounded(arriving, self.current_keep))
            i = _settled(low, high, self.current_keep, zero)
            drive = (i[0] + self.leak, i[1] + self.leak)
        else:
            i = (zero, zero)
            drive = (arriving[0] + self.bias, arriving[1] + self.bias)
        return i, self._potential(self._rounded(drive, self.keep))

    def _rounded(self, drive: Interval, keep: FloatArray) -> Interval:
        slack = np.where((keep > 0) & (keep < 1), self.slack, 0.0)
        return drive[0] - slack, drive[1] + slack

    def _potential(self, drive: Interval) -> Interval:
        (low, high), b, s = drive, self.keep, self.start
        t, a = self.threshold, self.amount
        v_low, v_high = _settled(low, high, b, s)
        if self.reset == NO_RESET:
            return v_low, v_high
        v_low = np.minimum(v_low, 0)
        most = np.maximum(s, t)  # what is left without a spike
        if self.reset == SUBTRACT:
            v_high = np.maximum(b * most + high, _limit(high - b * a, b))
            v_low = np.minimum(v_low, t - a)
        elif self.reset == SUBTRACT_DELAYED:
            v_high = np.maximum(b * most + high, _limit(high - a, b))
            v_low = np.minimum(v_low, b * t + low - a)
        elif self.reset == SUBTRACT_HELD:
            after = np.maximum(np.maximum(2 * t, s), b * t + high - a)
            after = np.maximum(after, _limit(high - a, b))
            v_high = np.maximum(np.maximum(b * t + high, 2 * t), b * after + high - a)
            v_low = np.minimum(v_low, b * t + low - a)
        else:
            v_high = np.maximum(b * most + high, 0)
        return v_low, np.maximum(v_high, s)


def _settled(low: FloatArray, high: FloatArray, b: FloatArray, start: FloatArray) -> Interval:
    return np.minimum(start, _limit(low, b)), np.maximum(start, _limit(high, b))


def _limit(x: FloatArray, b: FloatArray) -> FloatArray:
    """x/(1-b): where a constant drive x leads; without leak it never ends."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x == 0, 0.0, x / (1.0 - b))


def reach(*intervals: Interval) -> float:
    """Largest magnitude within the intervals."""
    return max(float(max(-low.min(), high.max())) for low, high in intervals)


def delivered(synapses: tuple[Synapses, ...], size: int) -> Interval:
    """`fan_in_bounds` of integer synapses, in state units."""
    return fan_in_bounds(
        [np.ldexp(s.weight.astype(np.float64), s.exponent) for s in synapses], size
    )


def certify(
    neurons: Neurons,
    synapses: tuple[Synapses, ...],
    states: Mapping[str, FloatArray],
    target: FixedPoint,
) -> tuple[Range, ...]:
    """Ranges of the states of one population from its integer parameters.

    Proven where the worst case over all inputs stays inside; otherwise the extremes of the
    reference run on the calibration data, in state units, marked as not proven.
    """

    def values(name: str) -> FloatArray:
        return np.broadcast_to(neurons.parameters[name].reshape(-1), neurons.size).astype(float)

    filtered = bool(neurons.parameters["filtered"][0])
    ints = Neuron(
        keep=target.kept(values("decay").astype(np.int64)),
        current_keep=target.kept(values("current_decay").astype(np.int64)),
        threshold=values("threshold"),
        amount=values("amount"),
        start=values("v0"),
        bias=values("bias"),
        leak=values("leak"),
        filtered=filtered,
        reset=int(neurons.parameters["reset"][0]),
        slack=1.0 if target.rounding == "floor" else 0.5,
    )
    bounds = dict(zip(("i", "v"), ints.bounds(delivered(synapses, neurons.size)), strict=True))
    if not filtered:
        del bounds["i"]
    limit = target.state_limit
    proven = reach(*bounds.values()) <= limit
    if not proven:
        scale = float(neurons.unit[0])
        seen = {"i": states["x"], "v": states["v"]}
        bounds = {name: (seen[name] * scale, seen[name] * scale) for name in bounds}
    return tuple(
        Range(
            neurons.name,
            name,
            float(np.floor(low.min())),
            float(np.ceil(high.max())),
            -limit - 1,
            limit,
            proven,
        )
        for name, (low, high) in bounds.items()
    )
