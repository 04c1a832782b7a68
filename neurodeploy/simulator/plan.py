"""What is decided about a program before it runs: layouts, narrow weights, order of execution."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy import arrivals
from neurodeploy.network import runs
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.simulator.layout import Layout
from neurodeploy.simulator.ports import check_ports, reads
from neurodeploy.simulator.scratch import Scratch
from neurodeploy.simulator.synapses import Bytes, Sums, lanes_of, prepare
from neurodeploy.target import Adds, Cells, Machine


@dataclass(frozen=True, eq=False)
class Link:
    """Synapses of one delay that end at a population.

    Attributes
    ----------
    reached: the lanes of `source` that have synapses, as bits.
    delay: steps after which a message of `source` arrives.
    graded: whether weights multiply the message.
    shift: the current is what `sums` adds, times 2^shift.
    activation: where the current is not such a product: what it is of that product, in int64.
    """

    source: str
    reached: NDArray[np.uint64]
    port: str
    delay: int
    graded: bool
    sums: Sums
    shift: int
    activation: Callable[[IntArray], IntArray] | None


@dataclass(frozen=True, eq=False)
class Unit:
    """One population, ready to run; it sends integers if `graded`."""

    name: str
    shape: tuple[int, ...]
    layout: Layout
    links: tuple[Link, ...]
    cells: Cells
    graded: bool

    @property
    def current(self) -> np.dtype[Any]:
        """Of currents: sums of integers, whatever the neurons make of them."""
        state = self.cells.initial.dtype
        return np.dtype(np.int32) if state == np.float32 else state

    @property
    def recorded(self) -> np.dtype[Any]:
        """Of the states of a run."""
        state = self.cells.initial.dtype
        return state if state == np.float32 else np.dtype(np.int64)

    @functools.cached_property
    def adds(self) -> Bytes | None:
        """The weights of its only link, where its cells can add them up by themselves."""
        if len(self.links) != 1 or self.graded or not isinstance(self.cells, Adds):
            return None
        (link,) = self.links
        plain = link.activation is None and link.port == self.cells.ports[0]
        return link.sums if plain and isinstance(link.sums, Bytes) else None

    @functools.cached_property
    def ports(self) -> dict[str, tuple[Link, ...]]:
        """Links by the port at which they end; the neurons' first port is always there."""
        found: dict[str, tuple[Link, ...]] = {self.cells.ports[0]: ()}
        for link in self.links:
            found[link.port] = (*found.get(link.port, ()), link)
        return found


@dataclass(frozen=True, eq=False)
class Plan:
    """How a program is run.

    Attributes
    ----------
    inputs: layouts of the input ports.
    graded: inputs and populations that send integers.
    groups: populations in the order in which they run; the members of a group run step by step
        together, since cycles connect them, and a group of one that has no cycle runs over many
        steps at a time.
    readouts: output populations whose membrane potential is read, as the program has them.
    spare: buffers of runs that are over, for the next ones.
    """

    inputs: Mapping[str, Layout]
    graded: frozenset[str]
    groups: tuple[tuple[Unit, ...], ...]
    readouts: Mapping[str, Neurons] = field(default_factory=dict)
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
        Sums of weights that 32 bits cannot hold, synapses to a port that the neurons do not have,
        or that would have to deliver a message before it is sent, or a potential to be read of
        neurons that have none.
    """
    inputs = {port.name: Layout(port.shape) for port in program.inputs}
    layouts = dict(inputs)
    for population in program.populations:
        convolved = any(s.kind == "conv2d" for s in program.incoming(population.name))
        layouts[population.name] = lanes_of(population.shape, convolved)
    least = arrivals.waits(program)
    units = [_unit(program, machine, p, layouts, least) for p in program.populations]
    place = {unit.name: index for index, unit in enumerate(units)}
    edges = [
        (place[link.source], place[unit.name])
        for unit in units
        for link in unit.links
        if link.source in place
    ]
    readouts = {
        p.name: p
        for p, unit in zip(program.populations, units, strict=True)
        if reads(p, program, unit.cells)
    }
    return Plan(inputs, program.graded, runs(units, edges), readouts)


def stepwise(group: tuple[Unit, ...]) -> bool:
    """Whether a cycle within the group forces it to run step by step."""
    names = {unit.name for unit in group}
    return any(link.source in names for unit in group for link in unit.links)


def _reached(synapses: Synapses, source: Layout) -> NDArray[np.uint64]:
    """Lanes of the source that have synapses, as bits; not looked for in sparser kinds."""
    if synapses.kind != "dense" or synapses.weight.any(axis=0).all():
        return source.valid
    flags = np.zeros(source.lanes, np.uint8)
    flags[source.index] = synapses.weight.any(axis=0)
    return np.packbits(flags, bitorder="little").view(np.uint64)


def _unit(
    program: Program,
    machine: Machine,
    population: Neurons,
    layouts: Mapping[str, Layout],
    least: Mapping[Synapses, int],
) -> Unit:
    layout = layouts[population.name]
    others = arrivals.arriving(program, population, machine, least)
    prepared = [
        prepare(a.synapses, layouts[a.synapses.source], layout, a.multiplies) for a in others
    ]
    bounds = arrivals.reach(others, population.size)
    feedback = arrivals.own_activation(population, program.incoming(population.name), machine)
    registers = {
        name: values if values.size == 1 else layout.arrange(values)
        for name, values in population.parameters.items()
    }
    placed = replace(population, shape=(layout.lanes,), parameters=registers)
    extremes = None if bounds is None else bounds.extremes
    cells = machine.cells(placed, layout.arrange(feedback), extremes)
    check_ports(program.incoming(population.name), population, cells)
    narrow = cells.initial.dtype != np.int64
    links = [
        Link(
            source=a.synapses.source,
            reached=_reached(a.synapses, layouts[a.synapses.source]),
            port=a.synapses.port,
            delay=a.wait,
            graded=a.multiplies,
            sums=p.sums,
            # Negative only where all weights are 0.
            shift=max(0, p.halvings + (a.shift or 0) * narrow),
            activation=None
            if narrow
            else functools.partial(machine.activation, synapses=a.synapses),
        )
        for a, p in zip(others, prepared, strict=True)
    ]
    return Unit(population.name, population.shape, layout, tuple(links), cells, population.graded)
