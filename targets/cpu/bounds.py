"""Bounds of a fixed-point machine's states, and what is written to them, from `arithmetic`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.arrivals import Interval
from neurodeploy.bounds import UNBOUNDED, Beyond, Register, before, climb, sink
from neurodeploy.program import IntArray, Neurons, Synapses
from neurodeploy.targets.cpu.arithmetic import (
    INT32_MAX,
    NO_RESET,
    SUBTRACT,
    SUBTRACT_DELAYED,
    SUBTRACT_HELD,
    ZERO_AFTER_INPUT,
    ZERO_DELAYED,
    decay,
    fires,
)
from neurodeploy.targets.cpu.registers import NEURON, Rules, neuron_registers, rules


def accumulator(synapses: Synapses) -> tuple[int, int]:
    """32 bits."""
    return -INT32_MAX, INT32_MAX


def registers(
    population: Neurons, arriving: Mapping[str, Interval], own: IntArray
) -> tuple[Register, ...]:
    """v, and i where there is a synaptic current.

    `own`: what a neuron's spike adds to its own current one step later, int64 (neurons,).
    """
    values = dict(zip((*NEURON, "v0"), neuron_registers(population), strict=True))
    return states_of(values, rules(population), arriving["current"], own)


def states_of(
    values: Mapping[str, IntArray], shared: Rules, current: Interval, own: IntArray
) -> tuple[Register, ...]:
    """As `registers`, from the registers of `neuron_registers` by name."""
    v0 = values["v0"]
    low = current.low + np.minimum(own, 0) + values["bias"]
    high = current.high + np.maximum(own, 0) + values["bias"]
    limits = (-(1 << (shared.state_bits - 1)), (1 << (shared.state_bits - 1)) - 1)
    beyond: Beyond = "saturates" if shared.saturate else "wraps"
    found: tuple[Register, ...] = ()
    if shared.filtered:
        zero = np.zeros_like(v0)
        i = Interval(
            sink(lambda i: _kept(i, values["current_decay"], shared) + low, zero),
            climb(lambda i: _kept(i, values["current_decay"], shared) + high, zero),
        )
        found = (Register("i", i.low, i.high, limits, beyond),)
        reach = found[0].fits
        low = (i.low if reach else zero + limits[0]) + values["leak"]
        high = (i.high if reach else zero + limits[1]) + values["leak"]
    v = _bound_v(values, v0, low, high, shared)
    return (*found, Register("v", v.low, v.high, limits, beyond))


def _kept(x: IntArray, factor: IntArray, shared: Rules) -> IntArray:
    return np.asarray(decay(x, factor, shared.state_bits, shared.decay_bits, shared.nearest))


def _bound_v(
    values: Mapping[str, IntArray], v0: IntArray, low: IntArray, high: IntArray, shared: Rules
) -> Interval:
    """All that is written to v, if each step brings a drive in low..high; see `arithmetic.step`.

    With T the greatest potential that does not fire and T + 1 the least that does, each reset
    bounds what is left of a potential p <= P that fired: 0, or p - A.
    """
    silent, amount, kind = values["threshold"] - shared.closed, values["amount"], shared.reset

    def kept(v: IntArray) -> IntArray:
        return _kept(v, values["decay"], shared)

    def up(p: IntArray) -> IntArray:
        """From potentials up to p to the next."""
        quiet, fired = kept(np.minimum(p, silent)) + high, p > silent
        if kind == NO_RESET:
            return kept(p) + high
        if kind == ZERO_AFTER_INPUT:
            after = np.zeros_like(p)
        elif kind == SUBTRACT:
            after = kept(p - amount) + high
        elif kind in (SUBTRACT_DELAYED, SUBTRACT_HELD):
            after = kept(p) + high - amount
        else:
            after = kept(np.zeros_like(p)) + high
        return np.where(fired, np.maximum(quiet, after), kept(p) + high)

    def down(p: IntArray) -> IntArray:
        free = kept(p) + low
        least = np.maximum(p, silent + 1)  # of potentials that fired
        if kind == NO_RESET:
            return free
        if kind == ZERO_AFTER_INPUT:
            after = np.zeros_like(p)
        elif kind == SUBTRACT:
            after = kept(least - amount) + low
        elif kind in (SUBTRACT_DELAYED, SUBTRACT_HELD):
            after = kept(least) + low - amount
        else:
            after = kept(np.zeros_like(p)) + low
        return np.where(most > silent, np.minimum(free, after), free)

    if kind == SUBTRACT_HELD:
        return _bound_held(values, v0, low, high, shared)
    first = Interval(kept(v0) + low, kept(v0) + high)
    most = np.full_like(v0, UNBOUNDED)
    most = climb(up, first.high)
    least = sink(down, first.low)
    if kind == SUBTRACT:
        after = np.where(most > silent, silent + 1 - amount, least)
        least, most = np.minimum(least, after), np.maximum(most, most - amount)
    elif kind != NO_RESET:
        least, most = np.minimum(least, 0), np.maximum(most, 0)
    return Interval(np.minimum(least, v0), np.maximum(most, v0))


def _bound_held(
    values: Mapping[str, IntArray], v0: IntArray, low: IntArray, high: IntArray, shared: Rules
) -> Interval:
    """As `_bound_v` for SUBTRACT_HELD: p = D(v) + d - A R with R = [v > threshold], and
    v' = p - A (S - R): within p - A..p + A, where p + A needs R = 1 and S = 0."""
    threshold, amount = values["threshold"], values["amount"]
    silent = threshold - shared.closed

    def potential_up(v: IntArray) -> IntArray:
        quiet = _kept(np.minimum(v, threshold), values["decay"], shared) + high
        held = _kept(v, values["decay"], shared) + high - amount
        return np.where(v > threshold, np.maximum(quiet, held), quiet)

    def up(v: IntArray) -> IntArray:
        p = potential_up(v)
        again = np.minimum(p, silent) + amount
        return np.where(v > threshold, np.maximum(p, again), p)

    def potential_down(v: IntArray) -> IntArray:
        free = _kept(v, values["decay"], shared) + low
        held = _kept(np.maximum(v, threshold + 1), values["decay"], shared) + low - amount
        return np.where(most > threshold, np.minimum(free, held), free)

    def down(v: IntArray) -> IntArray:
        p = potential_down(v)
        return np.minimum(p, np.maximum(p, silent + 1) - amount)

    most = climb(up, v0)
    least = sink(down, v0)
    return Interval(np.minimum(least, potential_down(least)), np.maximum(most, potential_up(most)))


def written(
    population: Neurons,
    own: IntArray,
    currents: Mapping[str, IntArray],
    states: Mapping[str, NDArray[Any]],
    fired: IntArray,
) -> dict[str, IntArray]:
    """What v, as it is compared, and i were given to hold in each step, from the states before it.

    Parameters: as `targets.loihi.bounds.written`.
    """
    shared = rules(population)
    *parameters, v0 = neuron_registers(population)
    values = dict(zip(NEURON, parameters, strict=True))

    spiked, zero = before(fired, np.zeros(1, np.int64)), np.zeros(1, np.int64)
    x = currents["current"] + own * spiked + values["bias"]
    found: dict[str, IntArray] = {}
    if shared.filtered:
        found["i"] = _kept(before(states["i"], zero), values["current_decay"], shared) + x
        x = states["i"].astype(np.int64) + values["leak"]
    v = before(states["v"], v0)
    held = fires(v, values["threshold"], 0)
    if shared.reset == ZERO_DELAYED:
        v = v * (1 - spiked)
    y = _kept(v, values["decay"], shared) + x
    if shared.reset == ZERO_AFTER_INPUT:
        y = y * (1 - spiked)
    elif shared.reset == SUBTRACT_DELAYED:
        y = y - values["amount"] * spiked
    elif shared.reset == SUBTRACT_HELD:
        y = y - values["amount"] * held
    return {**found, "v": np.asarray(y)}
