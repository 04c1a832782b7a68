"""What registers can reach: bounds for every input, and certificates from the integer weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy.linear import FloatArray, fan_in_bounds
from neurodeploy.program import Neurons, Range, Synapses
from neurodeploy.targets.loihi.arithmetic import (
    DECAY_ONE,
    STATE_LIMIT,
    STATE_SHIFT,
    bias_current,
)

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

    def widened(self, unit: float, u_slack: float, v_slack: float) -> Bounds:
        """Multiplied by `unit`, then wider by the slacks on each side, in whole numbers."""

        def outward(value: float, sign: int, slack: float) -> float:
            scaled = value * unit + sign * slack
            return sign * math.ceil(sign * scaled) if math.isfinite(scaled) else scaled

        return Bounds(
            outward(self.u_low, -1, u_slack),
            outward(self.u_high, 1, u_slack),
            outward(self.v_low, -1, v_slack),
            outward(self.v_high, 1, v_slack),
        )


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
    Each is invariant under one step.  Rounding toward zero moves a state by less than one state
    unit per step, hence by less than `rounding_slack` in all; the caller widens by that.
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


def rounding_slack(iota: NDArray[np.int64]) -> float:
    """1/(1-b) = 4096/iota state units: what errors below one unit per step can add up to.

    Without leak (iota = 0) nothing is rounded.
    """
    leaking = iota[iota > 0]
    return DECAY_ONE / float(leaking.min()) if leaking.size else 0.0


def certify(
    neurons: Neurons,
    synapses: Iterable[Synapses],
    states: Mapping[str, FloatArray],
    mode: Mode,
    *,
    spiking: bool = True,
    messages: Mapping[str, tuple[int, int]] = MappingProxyType({}),
) -> list[Range]:
    """Ranges of u and v of one population from its integer parameters.

    Proven where the worst case over all inputs stays inside; otherwise the extremes of the
    reference run on the calibration data, in chip units, marked as not proven.

    Parameters
    ----------
    synapses: all that end at the population.
    states: reference potentials `v` and input currents `x` on the calibration data.
    mode: which register is the membrane.
    spiking: False where the threshold register is as high as it can be, and no state may pass it.
    messages: by source, the least and the greatest that it sends; else spikes.
    """
    parameters = neurons.parameters
    vth = float(parameters["vth"].max())
    unit = vth * STATE_UNIT
    own = np.zeros(math.prod(neurons.shape))
    weights: list[FloatArray] = []
    swing = np.zeros(2)
    for s in synapses:
        weight = s.weight * np.float64(2.0**s.exponent / vth)
        sent = messages.get(s.source, (0, 1))
        if s.port == "bias":
            swing += bias_current(np.array(sent), int(parameters["bias_exp"].max())) / unit
        elif s.recurrent and s.kind == "one-to-one":
            own += weight
        else:
            weights += [weight * message for message in sent if message]
            if s.exponent < 0:  # the sum is rounded down
                weights.append(np.full((own.size, 1), -1 / vth))
    resets = bool(np.any(own < 0)) and mode == "current"
    weights.append(np.maximum(own, 0) if resets else own)
    bias = bias_current(parameters["bias_mant"], parameters["bias_exp"])
    memory = parameters["du"] + 1
    iota = memory if mode == "current" else parameters["dv"]
    # Without memory (4096) nothing of u is kept, so nothing is rounded.
    u_slack = rounding_slack(memory) if np.any(memory < DECAY_ONE) else 0.0
    v_slack = u_slack if mode == "current" else rounding_slack(iota) * (1 + u_slack)
    bounds = worst_case(
        mode,
        np.maximum(-own, 0) if resets else None,
        memory,
        iota,
        bias / unit,
        parameters["u0"] / unit,
        fan_in_bounds(weights, math.prod(neurons.shape)),
        (float(swing[0]), float(swing[1])),
    ).widened(unit, u_slack, v_slack)
    limit = STATE_LIMIT - 1 if spiking else VTH_LIMIT << STATE_SHIFT
    proven = bounds.reach <= limit
    if not proven:
        bounds = _seen(neurons, states, "v" if mode == "current" else "x", bias)
    return [
        Range(neurons.name, register, low, high, -limit, limit, proven)
        for register, low, high in (
            ("u", bounds.u_low, bounds.u_high),
            ("v", bounds.v_low, bounds.v_high),
        )
    ]


def _seen(
    neurons: Neurons, states: Mapping[str, FloatArray], drive: str, bias: NDArray[np.int64]
) -> Bounds:
    """Extremes of the reference run on the calibration data, in chip units.

    `drive` names the state that u holds; u lacks the bias, which v adds.
    """
    unit = neurons.unit.reshape(-1)
    unit = unit if unit.size == 1 else unit.reshape(neurons.shape)
    u = states[drive] * unit - (bias if bias.size == 1 else bias.reshape(neurons.shape))
    v = states["v"] * unit
    return Bounds(float(u.min()), float(u.max()), float(v.min()), float(v.max()))
