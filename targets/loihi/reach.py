"""How far registers reach in thresholds, before anything is rounded: what a scale is chosen by.

What a program then says of its registers is proven from its integers, by `bounds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy.linear import FloatArray
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, STATE_SHIFT

Mode = Literal["voltage", "current", "integrator"]
"""Which register is the membrane: v, which a spike resets; u; or v without a threshold."""
STATE_UNIT = 1 << STATE_SHIFT
VTH_LIMIT = (1 << 17) - 1


@dataclass(frozen=True)
class Bounds:
    """Extremes over all neurons of a population: of the register u and of v before its reset."""

    u_low: float
    u_high: float
    v_low: float
    v_high: float

    @property
    def reach(self) -> float:
        """Largest magnitude of all."""
        return max(-self.u_low, self.u_high, -self.v_low, self.v_high)


def worst_case(
    mode: Mode,
    amount: FloatArray | None,
    memory: NDArray[np.int64],
    iota: NDArray[np.int64],
    offset: FloatArray,
    start: FloatArray,
    fan_in: tuple[FloatArray, FloatArray],
    swing: tuple[float, float] = (0.0, 0.0),
) -> Bounds:
    """Bounds for every possible input, of neurons whose threshold is 1.

    With decays a = 1 - memory/4096 of u and b = 1 - iota/4096 of the membrane, bias register c, u
    from s and one step's input in [l, h]; where the bias changes from step to step by a `swing`, c
    is its least value in a lower bound and its greatest in an upper one:

    voltage:  u in [l, h] without memory, else within the bounds of `current` without reset;  with
      these [m, M]:  v <= max(0, b + M + c),  v >= min(0, (m + c)/(1 - b)).
    integrator:  as `voltage`, but  v <= max(0, (M + c)/(1 - b)).
    current, a = b, v = u + c:
      without reset  u in [min(s, l/(1-b)), max(s, h/(1-b))];
      with self-synapses of weight -r (`amount`), which act one step after u + c > 1:
        u <= max(s, b (1-c) + h, (h-r)/(1-b)),  u >= min(s, l/(1-b), b (1-c) + l - r).
    Each is invariant under one step.
    """
    low, high = fan_in
    c = offset.reshape(-1)
    keeps, leak = memory.reshape(-1) / DECAY_ONE, iota.reshape(-1) / DECAY_ONE
    b = 1.0 - leak

    def settled(x: FloatArray, leak: FloatArray) -> FloatArray:
        """x/leak: where a constant input x leads; without leak it never ends."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(x == 0, 0.0, x / leak)

    first = np.where(keeps < 1, start.reshape(-1), np.nan)
    if amount is not None:
        u_high = np.maximum(b * (1 - c) + high, settled(high - amount, leak))
        u_low = np.minimum(settled(low, leak), b * (1 - c) + low - amount)
    else:
        u_high, u_low = settled(high, keeps), settled(low, keeps)
    u_high, u_low = np.fmax(u_high, first), np.fmin(u_low, first)
    if mode == "current":
        v_low, v_high = u_low + c, u_high + c
    else:
        most = u_high + c + swing[1]
        highest = b + most if mode == "voltage" else settled(most, leak)
        v_low = np.minimum(0, settled(u_low + c + swing[0], leak))
        v_high = np.maximum(0, highest)
    return Bounds(float(u_low.min()), float(u_high.max()), float(v_low.min()), float(v_high.max()))
