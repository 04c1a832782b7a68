"""How far states reach before anything is rounded: what a scale is chosen by.

What a program then says of its states is proven from its integers, by `bounds`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.linear import FloatArray
from neurodeploy.targets.cpu.arithmetic import (
    NO_RESET,
    SUBTRACT,
    SUBTRACT_DELAYED,
    SUBTRACT_HELD,
)

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

        Each is invariant under one step.  i is as v without reset.
        """
        zero = np.zeros_like(self.keep)
        if self.filtered:
            low, high = (side + self.bias for side in arriving)
            i = _settled(low, high, self.current_keep, zero)
            drive = (i[0] + self.leak, i[1] + self.leak)
        else:
            i = (zero, zero)
            drive = (arriving[0] + self.bias, arriving[1] + self.bias)
        return i, self._potential(drive)

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
