"""Bounds of SpiNNaker2's sums and states, from `arithmetic` in float32 itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from neurodeploy.arrivals import Interval
from neurodeploy.bounds import Register, climb_float
from neurodeploy.program import Float32Array, IntArray, Neurons
from neurodeploy.targets.spinnaker2 import arithmetic
from neurodeploy.targets.spinnaker2.arithmetic import EXACT
from neurodeploy.targets.spinnaker2.machine import registers_of, resets_to, settled
from neurodeploy.targets.spinnaker2.models import model_of

LARGEST = float(np.finfo(np.float32).max)
FLOATS = (-LARGEST, LARGEST)


def registers(
    population: Neurons, arriving: Mapping[str, Interval], own: IntArray
) -> tuple[Register, ...]:
    """The sums of each port, which float32 holds exactly up to 2^24, and v and the currents.

    `own`: what a neuron's spike adds to its first port one tick later, int64 (neurons,).
    """
    model, values = model_of(population), registers_of(population)
    ports = sums(population, arriving, own)
    found = [replace(item, name=f"sum, {port}") for port, item in ports.items()]
    first = ports[model.ports[0]]
    low, high = (side.astype(np.float32) for side in (first.low, first.high))
    with np.errstate(over="ignore", invalid="ignore"):
        if model.filtered:
            zero = np.zeros(population.size, np.float32)
            exc = _current(values["exc_decay"], low, high, zero)
            least = ports["inhibitory"].low.astype(np.float32)
            most = ports["inhibitory"].high.astype(np.float32)
            inh = _current(values["inh_decay"], least, most, zero)
            found += [_state("exc", *exc), _state("inh", *inh)]
            low, high = exc[0] - inh[1], exc[1] - inh[0]
        v = _potential(population, values, low, high)
    return (*found, _state("v", *v))


def sums(
    population: Neurons, arriving: Mapping[str, Interval], own: IntArray
) -> dict[str, Register]:
    """What the spikes of one tick can add up to at each port; parameters as `registers`."""
    none = Interval(np.zeros(population.size, np.int64), np.zeros(population.size, np.int64))
    first, *others = model_of(population).ports
    ports = {port: arriving.get(port, none) for port in (first, *others)}
    ports[first] = ports[first] + Interval(np.minimum(own, 0), np.maximum(own, 0))
    return {
        port: Register(port, item.low, item.high, (-EXACT, EXACT), "is rounded")
        for port, item in ports.items()
    }


def _state(name: str, low: Float32Array, high: Float32Array) -> Register:
    wide = low.astype(np.float64), high.astype(np.float64)
    return Register(name, *wide, FLOATS, "is infinite")


def _current(
    keep: Float32Array, low: Float32Array, high: Float32Array, zero: Float32Array
) -> tuple[Float32Array, Float32Array]:
    return (
        -climb_float(lambda x: -arithmetic.decay_current(-x, keep, low), zero),
        climb_float(lambda x: np.asarray(arithmetic.decay_current(x, keep, high)), zero),
    )


def _potential(
    population: Neurons,
    values: Mapping[str, Float32Array],
    low: Float32Array,
    high: Float32Array,
) -> tuple[Float32Array, Float32Array]:
    """v before and after its reset, if each tick brings an x in low..high.

    decays are in 0..1, so that the potential is monotone in v; with one outside nothing is known.
    """
    alpha, offset = values["alpha_decay"], values["i_offset"]
    threshold, to = values["threshold"], resets_to(population)
    silent = np.nextafter(threshold, np.float32(-np.inf))
    start = settled(population)
    if np.any((alpha < 0) | (alpha > 1)):
        nothing = np.full_like(start, np.inf)
        return -nothing, nothing

    def left(p: Float32Array) -> Float32Array:
        return np.asarray(values["v_reset"] + 0 * p if to else p - threshold)

    def up(p: Float32Array) -> Float32Array:
        quiet = arithmetic.integrate(np.minimum(p, silent), high, alpha, offset)
        after = arithmetic.integrate(left(p), high, alpha, offset)
        return np.asarray(np.where(p > silent, np.maximum(quiet, after), quiet))

    def down(p: Float32Array) -> Float32Array:
        free = arithmetic.integrate(p, low, alpha, offset)
        after = arithmetic.integrate(left(np.maximum(p, threshold)), low, alpha, offset)
        return np.asarray(np.where(most > silent, np.minimum(free, after), free))

    first = arithmetic.integrate(start, high, alpha, offset)
    most = climb_float(up, np.asarray(first))
    first = arithmetic.integrate(start, low, alpha, offset)
    least = -climb_float(lambda x: -down(-x), -np.asarray(first))
    fired = most > silent
    after = np.where(fired, left(np.maximum(least, threshold)), least)
    above = np.where(fired, left(most), most)
    return (
        np.minimum(np.minimum(least, after), start),
        np.maximum(np.maximum(most, above), start),
    )
