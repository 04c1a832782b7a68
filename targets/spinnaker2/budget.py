r"""Ticks: whether every PE is done in time, and how long a tick should be.

PEs start ticks on their own clock, without a barrier: one that is not done in time drops out of
phase, and the spikes are others.  A PE with n neurons that s synaptic events reach in a tick
is busy for

    c_tick + c_upd n + c_syn s   cycles,

s taken from the golden traces (each source in its busiest tick, all in the same).  The constants
are ranges, so the length proposed is that of their high ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurodeploy.chip import Chip
from neurodeploy.errors import InputError
from neurodeploy.mapping.connectivity import reached
from neurodeploy.mapping.placement import Placement
from neurodeploy.program import Golden, IntArray, Program
from neurodeploy.quantity import Quantity

SHORTEST = 1e-3
STEP = 1e-4
"""Ticks proposed, in s: the shortest, which is py-spinnaker2's usual one, and multiples of STEP."""


@dataclass(frozen=True, eq=False)
class Budget:
    """What a run of the golden inputs asks of each PE in its busiest tick.

    Attributes
    ----------
    atoms: input or population -> neurons on one PE, for `set_max_atoms_per_core`.
    packets: int64 (PEs,), spikes received.
    events: int64 (PEs,), synaptic events.
    neurons: int64 (PEs,), neurons updated.
    busy: population -> seconds that its busiest PE needs at the chip's high clock.
    tick: proposed length of a tick, in s.
    """

    atoms: Mapping[str, int]
    packets: IntArray
    events: IntArray
    neurons: IntArray
    busy: Mapping[str, Quantity]
    tick: float


def budget(program: Program, placement: Placement, chip: Chip) -> Budget:
    """The budget of a program placed as `placement`.

    Raises
    ------
    InputError
        The program has no golden traces.
    """
    if program.golden is None:
        raise InputError("the program has no golden traces, so its rates are not known")
    packets, events = _arriving(program, program.golden, placement)
    neurons = np.zeros(placement.cores, np.int64)
    for population in program.populations:
        neurons += np.bincount(placement.core[population.name], minlength=placement.cores)
    busy = {
        population.name: _busy(chip, neurons, events, np.unique(placement.core[population.name]))
        for population in program.populations
    }
    longest = max(quantity.high for quantity in busy.values())
    return Budget(
        atoms={name: int(np.bincount(core).max()) for name, core in placement.core.items()},
        packets=packets,
        events=events,
        neurons=neurons,
        busy=busy,
        tick=max(SHORTEST, math.ceil(longest / STEP) * STEP),
    )


def _busy(chip: Chip, neurons: IntArray, events: IntArray, own: IntArray) -> Quantity:
    """Seconds that the busiest of the PEs `own` needs for a tick, at the high clock."""
    hertz = chip.limit("clock_high") * 1e6
    ends = []
    for end in ("low", "typical", "high"):
        c_tick, c_upd, c_syn = (
            getattr(chip.constant(name), end) for name in ("c_tick", "c_upd", "c_syn")
        )
        cycles = c_tick + c_upd * neurons[own] + c_syn * events[own]
        ends.append(float(cycles.max()) / hertz)
    source = "c_tick + c_upd neurons + c_syn events, in the busiest tick of the golden traces"
    return Quantity(ends[0], ends[1], ends[2], "s", "derived", source)


def _arriving(program: Program, golden: Golden, placement: Placement) -> tuple[IntArray, IntArray]:
    """Packets and synaptic events of each PE in the busiest tick of every source, added up.

    A PE sends every spike to all PEs that any of its neurons has synapses on.
    """
    packets, events = (np.zeros(placement.cores, np.int64) for _ in range(2))
    for source, spikes in _spikes(golden):
        sending, slices = np.unique(placement.core[source], return_inverse=True)
        onto = np.zeros((placement.cores, len(sending)), bool)
        for synapses in (s for s in program.synapses if s.source == source):
            cores, counts = reached(synapses, placement.core[synapses.target])
            events[cores] += _busiest(spikes, counts.T)
            for index in range(len(sending)):
                onto[cores, index] |= (counts[:, slices == index] > 0).any(axis=1)
        of_slice = np.eye(len(sending))[slices] @ onto.T
        packets += _busiest(spikes, of_slice)
    return packets, events


def _spikes(golden: Golden) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Spikes of each input and population, (samples steps, neurons)."""
    for name, sent in {**golden.inputs, **golden.spikes}.items():
        flat = (sent != 0).reshape(sent.shape[0] * sent.shape[1], -1)
        yield name, flat.astype(np.float32)


def _busiest(spikes: NDArray[np.float32], weight: NDArray[np.generic]) -> IntArray:
    """max over ticks of spikes @ weight; sums of ones below 2^24 are exact in float32."""
    return np.asarray((spikes @ weight.astype(np.float32)).max(axis=0).astype(np.int64))
