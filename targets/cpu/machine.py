"""The fixed-point machine in the simulator.

A program's populations hold all that their arithmetic needs, widths and rules among it, so that one
machine runs programs of every format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError
from neurodeploy.program import IntArray, Neurons, Synapses
from neurodeploy.simulator.layout import tiled
from neurodeploy.simulator.stepwise import States, Stepwise
from neurodeploy.target import Cells
from neurodeploy.targets.cpu import arithmetic
from neurodeploy.targets.cpu.arithmetic import INT32_MAX, NO_RESET

RULES = {
    "state_bits": (8, 32),
    "decay_bits": (0, 15),
    "nearest": (0, 1),
    "saturate": (0, 1),
    "filtered": (0, 1),
    "reset": (0, NO_RESET),
    "closed": (0, 1),
}
"""Registers of one value for a population, with the least and the greatest."""
NEURON = ("decay", "current_decay", "threshold", "amount", "bias", "leak")
"""Registers that neurons may have of their own, in the order of the kernel."""
STATES = ("v", "i", "potential")


class Rules(NamedTuple):
    """What all neurons of a population share, in the order in which `arithmetic.step` takes it."""

    state_bits: int
    decay_bits: int
    nearest: int
    saturate: int
    filtered: int
    reset: int
    closed: int


def rules(population: Neurons) -> Rules:
    """The rules of a population; raises `InputError` where one is missing or impossible."""
    if population.model != "lif" or population.graded or population.depth != 1:
        raise InputError(
            f"neurons {population.model!r} at depth {population.depth} are none of this machine's",
            node=population.name,
        )
    found = {}
    for name, (least, most) in RULES.items():
        values = population.register(name)
        if values.size != 1 or not least <= int(values.reshape(-1)[0]) <= most:
            raise InputError(
                f"register {name} holds {values.reshape(-1)[:4].tolist()}, expected one value in "
                f"{least}..{most}",
                node=population.name,
            )
        found[name] = int(values.reshape(-1)[0])
    return Rules(**found)


def neuron_registers(population: Neurons) -> tuple[IntArray, ...]:
    """Values of `NEURON` and of `v0` for each neuron, int64 (neurons,).

    Raises
    ------
    InputError
        One is missing, or holds values that are not possible.
    """
    shared = rules(population)
    most = 1 << shared.decay_bits if shared.decay_bits else shared.state_bits
    state = 1 << (shared.state_bits - 1)
    found = []
    for name in (*NEURON, "v0"):
        values = population.register(name).reshape(-1)
        least, greatest = (0, most) if name.endswith("decay") else (-INT32_MAX, INT32_MAX)
        if name == "v0":
            least, greatest = -state, state - 1
        if values.min() < least or values.max() > greatest:
            raise InputError(
                f"register {name} is in {values.min()}..{values.max()}, expected "
                f"{least}..{greatest}",
                node=population.name,
            )
        found.append(np.broadcast_to(values, (population.size,)))
    return tuple(found)


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
        """The neurons; in 32 bits where that gives the same."""
        shared = rules(population)
        *registers, v0 = neuron_registers(population)
        if not self.compiled:
            return _plain(shared, registers, v0, own)
        narrow = bounds is not None and arithmetic.fits_int32(
            shared.state_bits, max(-bounds[0], bounds[1]), *registers[2:], own
        )
        dtype = np.int32 if narrow else np.int64
        zeros = np.zeros(population.size, np.int64)
        initial = tiled((v0, zeros, zeros), dtype)
        return _FixedPointCells(initial, tiled((*registers, own), dtype), shared)


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
