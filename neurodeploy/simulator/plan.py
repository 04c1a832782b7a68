"""What is decided about a program before it runs: layouts, narrow weights, order of execution."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from neurodeploy.network import runs
from neurodeploy.program import IntArray, Neurons, Program
from neurodeploy.simulator.layout import Layout
from neurodeploy.simulator.scratch import Scratch
from neurodeploy.simulator.synapses import INT32_MAX, Prepared, Sums, lanes_of, prepare
from neurodeploy.target import Cells, Machine


@dataclass(frozen=True, eq=False)
class Link:
    """Synapses that end at a population.

    Attributes
    ----------
    delay: steps after which a spike of `source` arrives.
    shift: the current is what `sums` adds, times 2^shift.
    activation: where the current is not such a product: what it is of that product, in int64.
    """

    source: str
    delay: int
    sums: Sums
    shift: int
    activation: Callable[[IntArray], IntArray] | None


@dataclass(frozen=True, eq=False)
class Unit:
    """One population, ready to run."""

    name: str
    shape: tuple[int, ...]
    layout: Layout
    links: tuple[Link, ...]
    cells: Cells


@dataclass(frozen=True, eq=False)
class Plan:
    """How a program is run.

    Attributes
    ----------
    inputs: layouts of the input ports.
    groups: populations in the order in which they run; the members of a group run step by step
        together, since cycles connect them, and a group of one that has no cycle runs over many
        steps at a time.
    spare: buffers of runs that are over, for the next ones.
    """

    inputs: Mapping[str, Layout]
    groups: tuple[tuple[Unit, ...], ...]
    spare: list[Scratch] = field(default_factory=list)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Scratch]:
        """Buffers that nobody else uses meanwhile; for threads."""
        try:
            own = self.spare.pop()
        except IndexError:
            own = Scratch()
        try:
            yield own
        finally:
            self.spare.append(own)

    @property
    def units(self) -> tuple[Unit, ...]:
        """All populations."""
        return tuple(unit for group in self.groups for unit in group)

    @property
    def has_cycles(self) -> bool:
        """Whether any group runs step by step."""
        return any(stepwise(group) for group in self.groups)

    @property
    def layouts(self) -> dict[str, Layout]:
        """Layouts of all inputs and populations."""
        return {**self.inputs, **{unit.name: unit.layout for unit in self.units}}


def plan(program: Program, machine: Machine) -> Plan:
    """Prepare `program` for `machine`.

    Raises
    ------
    InputError
        Sums of weights that 32 bits cannot hold.
    """
    inputs = {port.name: Layout(port.shape) for port in program.inputs}
    layouts = dict(inputs)
    for population in program.populations:
        convolved = any(s.kind == "conv2d" for s in program.incoming(population.name))
        layouts[population.name] = lanes_of(population.shape, convolved)
    order = {name: index for index, name in enumerate(layouts)}
    units = [_unit(program, machine, p, layouts, order) for p in program.populations]
    place = {unit.name: index for index, unit in enumerate(units)}
    edges = [
        (place[link.source], place[unit.name])
        for unit in units
        for link in unit.links
        if link.source in place
    ]
    return Plan(inputs, runs(units, edges))


def stepwise(group: tuple[Unit, ...]) -> bool:
    """Whether a cycle within the group forces it to run step by step."""
    names = {unit.name for unit in group}
    return any(link.source in names for unit in group for link in unit.links)


def _unit(
    program: Program,
    machine: Machine,
    population: Neurons,
    layouts: Mapping[str, Layout],
    order: Mapping[str, int],
) -> Unit:
    layout = layouts[population.name]
    incoming = program.incoming(population.name)
    own = [s for s in incoming if s.recurrent and s.kind == "one-to-one"]
    others = [s for s in incoming if s not in own]
    prepared = [prepare(s, layouts[s.source], layout) for s in others]
    shifts = [machine.shift(s, p.low, p.high) for s, p in zip(others, prepared, strict=True)]
    bounds = _bounds(prepared, shifts)
    feedback = np.zeros(population.size, np.int64)
    for synapses in own:
        feedback = feedback + machine.activation(synapses.weight.reshape(-1), synapses)
    registers = {
        name: values if values.size == 1 else layout.arrange(values)
        for name, values in population.parameters.items()
    }
    placed = replace(population, shape=(layout.lanes,), parameters=registers)
    cells = machine.cells(placed, layout.arrange(feedback), bounds)
    narrow = cells.initial.dtype == np.int32
    links = [
        Link(
            source=s.source,
            delay=int(order[s.source] >= order[s.target]),
            sums=p.sums,
            shift=p.halvings + (k or 0) * narrow,
            activation=None if narrow else functools.partial(machine.activation, synapses=s),
        )
        for s, p, k in zip(others, prepared, shifts, strict=True)
    ]
    return Unit(population.name, population.shape, layout, tuple(links), cells)


def _bounds(prepared: list[Prepared], shifts: list[int | None]) -> tuple[int, int] | None:
    """Bounds of the summed currents, if 32 bits hold them."""
    low = high = 0
    for sums, shift in zip(prepared, shifts, strict=True):
        if shift is None:
            return None
        low, high = low + (sums.low << shift), high + (sums.high << shift)
    return (low, high) if max(-low, high) <= INT32_MAX else None
