"""Runs a `Program` with numpy alone: slower, shorter, and without anything compiled.

What the compiled engine must equal, bit for bit, and what checks a program's golden traces where
nothing else is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy import arrivals
from neurodeploy.network import runs
from neurodeploy.program import POTENTIAL, Neurons, Program, Synapses
from neurodeploy.simulator.engine import in_model_units
from neurodeploy.simulator.layout import TILE, Layout
from neurodeploy.simulator.ports import check_ports, reads
from neurodeploy.target import Machine
from neurodeploy.trace import Inputs, Trace, check_inputs


def simulate(program: Program, inputs: Inputs, machine: Machine) -> Trace:
    """Run a program on spikes, or integers where an input is graded, (samples, steps, *shape).

    Raises
    ------
    InputError
        Inputs that do not fit the program, or neurons or synapses that the chip does not have.
    """
    given = check_inputs(inputs, program.input_shapes, program.graded)
    samples, steps = next(iter(given.values())).shape[:2]
    plain = machine.plain
    least = arrivals.waits(program)
    populations = [
        _Population(program, p, plain, least, samples, steps) for p in program.populations
    ]
    sent: dict[str, NDArray[Any]] = {**given, **{x.population.name: x.sent for x in populations}}
    place = {x.population.name: index for index, x in enumerate(populations)}
    edges = [(place[s.source], place[s.target]) for s in program.synapses if s.source in place]
    for group in runs(populations, edges):
        inside = {x.population.name for x in group}
        cyclic = any({a.synapses.source for a in x.arriving} & inside for x in group)
        size = 1 if cyclic else steps
        for start in range(0, steps, size):
            for x in group:
                x.advance(sent, start, start + size)
    trace = Trace.of_sent(sent)
    read = {x.population.name: x.potential for x in populations if x.potential is not None}
    return Trace(trace.spikes, {}, {**trace.values, **read})


class _Population:
    """One population on its way through time."""

    def __init__(
        self,
        program: Program,
        population: Neurons,
        machine: Machine,
        least: Mapping[Synapses, int],
        samples: int,
        steps: int,
    ) -> None:
        self.population, self.machine = population, machine
        self.layout = Layout(population.shape)
        registers = {
            name: values if values.size == 1 else self.layout.arrange(values)
            for name, values in population.parameters.items()
        }
        placed = replace(population, shape=(self.layout.lanes,), parameters=registers)
        own = self.layout.arrange(
            arrivals.own_activation(population, program.incoming(population.name), machine)
        )
        self.arriving = arrivals.arriving(program, population, machine, least)
        bounds = arrivals.reach(self.arriving, population.size)
        self.cells = machine.cells(placed, own, None if bounds is None else bounds.extremes)
        check_ports(program.incoming(population.name), population, self.cells)
        self.state = np.repeat(self.cells.initial[:, None], samples, axis=1)
        self.words = np.zeros((samples, steps, self.layout.words), np.uint64)
        shape = (samples, steps, *population.shape)
        self.sent: NDArray[Any] = np.zeros(shape, np.int32 if population.graded else np.uint8)
        self.potential = np.zeros(shape) if reads(population, program, self.cells) else None

    def advance(self, sent: Mapping[str, NDArray[Any]], start: int, stop: int) -> None:
        """Steps start..stop - 1, of which all that arrives is in `sent`."""
        samples, steps = len(self.sent), stop - start
        shape = (self.layout.tiles, samples, steps, TILE)
        currents = {self.cells.ports[0]: np.zeros(shape, np.int64)}
        for arrival in self.arriving:
            port, source = arrival.synapses.port, sent[arrival.synapses.source]
            current = arrivals.current(arrival, self.machine, source, start, stop)
            currents[port] = currents.get(port, 0) + self._tiles(current)
        dtype = self.cells.initial.dtype
        record = tuple(np.zeros(shape, dtype) for _ in self.cells.recorded)
        messages = np.zeros(shape, np.int32) if self.population.graded else None
        self.cells.advance(currents, self.state, self.words, start, 0, record, messages)
        self.sent[:, start:stop] = (
            self.layout.unpack(self.words[:, start:stop])
            if messages is None
            else self.layout.neurons(self._lanes(messages))
        )
        if self.potential is not None:
            values = self._lanes(record[self.cells.recorded.index(POTENTIAL)])
            states = {POTENTIAL: self.layout.neurons(values)}
            self.potential[:, start:stop] = in_model_units(states, self.population)[POTENTIAL]

    def _tiles(self, values: NDArray[Any]) -> NDArray[Any]:
        """(samples, steps, neurons) as (tiles, samples, steps, 128)."""
        lanes = np.zeros((*values.shape[:2], self.layout.lanes), values.dtype)
        lanes[..., self.layout.index] = values
        return lanes.reshape(*values.shape[:2], self.layout.tiles, TILE).transpose(2, 0, 1, 3)

    def _lanes(self, tiles: NDArray[Any]) -> NDArray[Any]:
        """The inverse, in lanes."""
        return tiles.transpose(1, 2, 0, 3).reshape(tiles.shape[1], tiles.shape[2], -1)
