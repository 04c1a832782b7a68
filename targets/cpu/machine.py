"""The fixed-point machine in the simulator.

A program's populations hold all that their arithmetic needs, widths and rules among it, so that one
machine runs programs of every format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.arrivals import Interval
from neurodeploy.bounds import distinct
from neurodeploy.errors import InputError
from neurodeploy.program import IntArray, Neurons, Synapses
from neurodeploy.simulator.layout import tiled
from neurodeploy.simulator.stepwise import States, Stepwise
from neurodeploy.target import Cells
from neurodeploy.targets.cpu import arithmetic
from neurodeploy.targets.cpu.arithmetic import EXACT, INT32_MAX
from neurodeploy.targets.cpu.bounds import states_of
from neurodeploy.targets.cpu.registers import NEURON, Rules, neuron_registers, rules

STATES = ("v", "i", "potential")


def check_synapses(synapses: Synapses) -> None:
    """Raises `InputError` for delays, graded messages, and an exponent that is not in 0..31."""
    exponent = synapses.exponent
    if not 0 <= exponent < 32:
        raise InputError(f"its exponent is {exponent}, expected 0..31", node=synapses.name)
    if synapses.delay.any() or synapses.graded:
        raise InputError("synapses have neither delays nor graded messages", node=synapses.name)


@dataclass(frozen=True)
class FixedPointMachine:
    """The `Machine` of all fixed-point formats.

    Recorded states: `v` and `i` after the step, and `potential`, v as it was compared with the
    threshold; `i` stays 0 in populations without a synaptic current.

    `compiled`: run the numba kernel; False runs the same arithmetic step by step in numpy.
    """

    compiled: bool = True

    @property
    def plain(self) -> FixedPointMachine:
        """The same, in numpy."""
        return replace(self, compiled=False)

    def activation(self, total: IntArray, synapses: Synapses) -> IntArray:
        """total 2^exponent."""
        return np.asarray(total << synapses.exponent)

    def shift(self, synapses: Synapses, low: int, high: int) -> int | None:
        """The exponent, if no sum leaves 32 bits.

        Raises
        ------
        InputError
            See `check_synapses`.
        """
        check_synapses(synapses)
        exponent = synapses.exponent
        return exponent if max(-low, high) << exponent <= INT32_MAX else None

    def cells(self, population: Neurons, own: IntArray, bounds: tuple[int, int] | None) -> Cells:
        """The neurons; in 32 bits where that gives the same, without what no input can make a state
        do, by the bounds that a certificate rests on."""
        shared = rules(population)
        *registers, v0 = neuron_registers(population)
        if not self.compiled:
            return _plain(shared, registers, v0, own)
        narrow = False
        if bounds is not None:
            reach = _reach(shared, (*registers, v0), own, bounds)
            shared = shared if reach is None else shared._replace(saturate=EXACT)
            narrow = arithmetic.fits_int32(
                shared.state_bits, shared.decay_bits, reach, max(-bounds[0], bounds[1]),
                *registers[2:], own,
            )  # fmt: skip
        dtype = np.int32 if narrow else np.int64
        zeros = np.zeros(population.size, np.int64)
        initial = tiled((v0, zeros, zeros), dtype)
        return _FixedPointCells(initial, tiled((*registers, own), dtype), shared)


def _reach(
    shared: Rules, registers: tuple[IntArray, ...], own: IntArray, bounds: tuple[int, int]
) -> int | None:
    """The largest magnitude of a state, if none can leave its register."""
    *rows, own = distinct(*registers, own)
    low, high = (np.full_like(own, side) for side in bounds)
    values = dict(zip((*NEURON, "v0"), rows, strict=True))
    found = states_of(values, shared, Interval(low, high), own)
    if not all(item.fits for item in found):
        return None
    return max(int(max(-item.low.min(), item.high.max())) for item in found)


def _plain(shared: Rules, registers: list[IntArray], v0: IntArray, own: IntArray) -> Stepwise:
    def update(states: States, currents: States, values: States) -> tuple[States, IntArray]:
        arguments: tuple[Any, ...] = (
            *(states[name] for name in ("v", "i", "fired")),
            currents["current"],
            *(values[name] for name in NEURON),
            *shared,
        )
        v, i, fired, potential = arithmetic.step(*arguments)
        return {"v": v, "i": i, "potential": potential, "fired": fired}, np.asarray(fired)

    zeros = np.zeros_like(own)
    return Stepwise.of(
        states={"v": v0, "i": zeros, "fired": zeros},
        recorded=STATES,
        ports=_FixedPointCells.ports,
        registers=dict(zip(NEURON, registers, strict=True)),
        own=own,
        update=update,
    )


@dataclass(frozen=True, eq=False)
class _FixedPointCells:
    """See `arithmetic.run_neurons`."""

    initial: NDArray[Any]
    registers: NDArray[Any]
    rules: Rules
    recorded = STATES
    ports = ("current",)

    def advance(
        self,
        currents: Mapping[str, NDArray[Any]],
        state: NDArray[Any],
        words: NDArray[np.uint64],
        step: int,
        first: int,
        record: tuple[NDArray[Any], ...],
        messages: NDArray[np.int32] | None,
    ) -> None:
        current = currents["current"]
        nothing = np.empty((0, 0, 0, 0), current.dtype)
        v, i, potential = record or (nothing, nothing, nothing)
        arithmetic.run_neurons(
            current,
            self.registers[first : first + len(current)],
            *self.rules,
            state,
            words,
            step,
            first,
            bool(record),
            v,
            i,
            potential,
        )
