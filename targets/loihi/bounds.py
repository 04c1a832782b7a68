"""Bounds of Loihi's registers, and what is written to them, from `arithmetic` itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.arrivals import INT32_MAX, Interval
from neurodeploy.bounds import UNBOUNDED, Register, before, climb, sink
from neurodeploy.program import IntArray, Neurons, Synapses
from neurodeploy.targets.loihi.arithmetic import (
    DECAY_ONE,
    STATE_LIMIT,
    STATE_SHIFT,
    bias_current,
    decay,
    update_u,
)

U_LIMITS = (1 - STATE_LIMIT, STATE_LIMIT)
V_LIMITS = (1 - STATE_LIMIT, STATE_LIMIT - 1)
INT32 = (-INT32_MAX - 1, INT32_MAX)
MODELS = ("lif", "graded")
"""Neurons bounded here; others are in `bounds_neurons`."""


def accumulator(synapses: Synapses) -> tuple[int, int]:
    """What holds an activation: 24 bits of a convolution, else 32."""
    return (-STATE_LIMIT, STATE_LIMIT - 1) if synapses.kind == "conv2d" else INT32


def registers(
    population: Neurons, arriving: Mapping[str, Interval], own: IntArray
) -> tuple[Register, ...]:
    """u and v of CUBA LIF; the message of Lava's GradedVec.

    `own`: what a neuron's spike adds to its own activation one step later, int64 (neurons,).
    """
    if population.model == "graded":
        current = arriving["current"]
        return (Register("message", current.low, current.high, INT32, "wraps"),)
    values = {name: _each(population, name) for name in ("du", "dv", "vth", "u0", "v0")}
    bias = _bias(population, arriving.get("bias"))
    current = arriving["current"]
    restarts = "reset_interval" in population.parameters
    u = bound_u(values, current, own, bias, restarts)
    held = np.all((u.low >= U_LIMITS[0]) & (u.high <= U_LIMITS[1]))
    v = _bound_v(values, u if held else anything(u), bias, restarts)
    return (
        Register("u", u.low, u.high, U_LIMITS, "wraps"),
        Register("v", v.low, v.high, V_LIMITS, "saturates"),
    )


def _each(population: Neurons, name: str) -> IntArray:
    return np.broadcast_to(population.register(name).reshape(-1), population.size)


def _bias(population: Neurons, arriving: Interval | None) -> Interval:
    mantissa, exponent = _each(population, "bias_mant"), _each(population, "bias_exp")
    if arriving is None:
        arriving = Interval(np.zeros_like(mantissa), np.zeros_like(mantissa))
    low, high = (
        np.asarray(bias_current(mantissa + x, exponent)) for x in (arriving.low, arriving.high)
    )
    return Interval(low, high)


def anything(u: Interval) -> Interval:
    """All that 32 bits hold."""
    return Interval(np.full_like(u.low, INT32[0]), np.full_like(u.high, INT32[1]))


def bound_u(
    values: Mapping[str, IntArray],
    current: Interval,
    own: IntArray,
    bias: Interval,
    restarts: bool = False,
) -> Interval:
    """u before it wraps: u' = decay(u) + 64 (a + own S'), exact where own = 0.

    Where v only passes u on (dv = 4096) and own < 0, a spike S' = [u + bias > 64 vth] came before:
    u' <= max(decay(min(u, 64 vth - bias)) + 64 h, decay(u) + 64 (h + own)).  Elsewhere own is taken
    to arrive in any step.  `restarts`: u may become 0 before any step.
    """
    du, u0 = values["du"], values["u0"]
    low, high = current.low << STATE_SHIFT, current.high << STATE_SHIFT
    amount = own << STATE_SHIFT
    resets = (values["dv"] == DECAY_ONE) & (own < 0)
    silent = (values["vth"] << STATE_SHIFT) - bias.low  # the greatest u that may not spike
    spiking = (values["vth"] << STATE_SHIFT) - bias.high + 1  # the least that may

    def up(u: IntArray) -> IntArray:
        free = decay(u, du + 1) + high + np.maximum(amount, 0)
        kept = decay(np.minimum(u, silent), du + 1) + high
        reset = np.maximum(kept, decay(u, du + 1) + high + amount)
        return np.asarray(np.where(resets, reset, free))

    def down(u: IntArray) -> IntArray:
        free = decay(u, du + 1) + low
        after = decay(np.maximum(u, spiking), du + 1) + low + amount
        if restarts:  # between a spike and what it sends
            after = np.minimum(after, low + amount)
        reset = np.where(most >= spiking, np.minimum(free, after), free)
        return np.asarray(np.where(resets, reset, free + np.minimum(amount, 0)))

    zero = np.zeros_like(u0) if restarts else u0
    first = np.maximum(decay(np.maximum(u0, zero), du + 1) + high, zero)
    most = climb(up, np.maximum(u0, first))
    least = sink(down, np.minimum(u0, zero))
    return Interval(least, most)


def _bound_v(
    values: Mapping[str, IntArray], u: Interval, bias: Interval, restarts: bool
) -> Interval:
    """v before it saturates and is reset, if u is in its bounds: v' = decay(v) + u + bias.

    Without a spike v <= 64 vth; after one v = 0.
    """
    dv, v0, level = values["dv"], values["v0"], values["vth"] << STATE_SHIFT
    low, high = u.low + bias.low, u.high + bias.high

    def up(v: IntArray) -> IntArray:
        return np.asarray(decay(np.minimum(v, level), dv) + high)

    def down(v: IntArray) -> IntArray:
        return np.asarray(decay(v, dv) + low)

    most = climb(up, np.maximum(decay(v0, dv) + high, np.where(restarts, high, -UNBOUNDED)))
    from_zero = (most > level) | restarts
    first = np.minimum(decay(v0, dv) + low, np.where(from_zero, low, UNBOUNDED))
    held = np.where(from_zero, 0, v0)
    return Interval(
        np.minimum(sink(down, first), np.minimum(held, v0)), np.maximum(most, np.maximum(held, v0))
    )


def written(
    population: Neurons,
    own: IntArray,
    currents: Mapping[str, IntArray],
    states: Mapping[str, NDArray[Any]],
    fired: IntArray,
) -> dict[str, IntArray]:
    """What u and v of CUBA LIF were given to hold in each step, from the states before it.

    Parameters
    ----------
    currents: by port, int64 (samples, steps, neurons).
    states: as recorded, (samples, steps, neurons).
    fired: whether they spiked, int64, likewise.
    """
    none = np.zeros(1, np.int64)
    a = currents["current"] + own * before(fired, none)
    du, dv = _each(population, "du"), _each(population, "dv")
    u_before = before(states["u"], _each(population, "u0"))
    v_before = before(states["v"], _each(population, "v0"))
    mantissa = _each(population, "bias_mant") + currents.get("bias", none)
    bias = bias_current(mantissa, _each(population, "bias_exp"))
    u = decay(u_before, du + 1) + (a << STATE_SHIFT)
    v = decay(v_before, dv) + update_u(u_before, a, du) + bias
    return {"u": np.asarray(u), "v": np.asarray(v)}
