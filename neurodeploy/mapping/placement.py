"""`Placement`: every neuron on a core, every core at a router, and what that uses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import DesignRuleError, Violation
from neurodeploy.mapping.cores import INPUT, Cores
from neurodeploy.mapping.partition import partition, violations
from neurodeploy.mapping.resources import Resource, population_resources, total_resources
from neurodeploy.mapping.traffic import Links, arrange, expected_spikes, links, packets_between
from neurodeploy.network import InputPort
from neurodeploy.program import IntArray, Neurons, Program

ENTRY = (0, 0)
"""Router at which spikes from the host enter."""


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a program goes.

    Attributes
    ----------
    core: population -> core of each neuron, int64 (neurons,), C order; inputs too, where they
        occupy cores.
    tiles: (x, y) of each core's router, int64 (cores, 2).  Cores are numbered in the order of the
        populations and, where it is for us to say, stand so that packets cross few links
        (`traffic.arrange`); otherwise they fill tile by tile, row by row, chip by chip.  Chips
        stand in one row, so that a packet to the next chip crosses the mesh between.
    entry: where spikes of inputs without a core enter the mesh (a corner; the true place is not
        published).
    chips: number of chips.
    resources: population -> its resources; available is what its cores hold together, or what one
        core holds where the name says so.
    total: resources of the whole program.
    links: packets on every link for the spikes of the golden traces, or one of each neuron.
    """

    core: Mapping[str, IntArray]
    tiles: IntArray
    entry: tuple[int, int]
    chips: int
    resources: Mapping[str, tuple[Resource, ...]]
    total: tuple[Resource, ...]
    links: Links

    @property
    def cores(self) -> int:
        """Number of cores in use."""
        return len(self.tiles)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for people: resources, without the place of every neuron."""
        return {
            "cores": self.cores,
            "chips": self.chips,
            "populations": {
                name: [asdict(item) for item in items] for name, items in self.resources.items()
            },
            "total": [asdict(item) for item in self.total],
            "hops": self.links.hops,
            "busiest link": self.links.busiest,
        }


def place(program: Program, cores: Cores) -> Placement:
    """Cut every population into cores and number these; see `Placement` and `partition`.

    Every core holds neurons of one population.  Deterministic.

    Raises
    ------
    DesignRuleError
        Neurons that fit no core, for all populations at once, or more cores than the largest
        system has.
    InputError
        A population without neurons or without a register that the chip needs.
    """
    hosted = _hosted(program, cores)
    broken = tuple(
        violation
        for population in hosted
        for violation in violations(population, program.incoming(population.name), cores)
    )
    if broken:
        raise DesignRuleError(broken)
    count = 0
    core: dict[str, IntArray] = {}
    used: dict[str, Mapping[str, IntArray]] = {}
    for population in hosted:
        incoming = program.incoming(population.name)
        own = partition(population, incoming, cores)
        used[population.name] = cores.meter(population, incoming)(own)
        core[population.name] = own + count
        count += int(own.max()) + 1
    if too_many := _too_many(core, cores):
        raise DesignRuleError(too_many)
    chips = -(-count // cores.chip.limit("cores_per_chip"))
    packets = packets_between(program, core, count, expected_spikes(program))
    places = _places(chips, cores)
    tiles = places[arrange(packets, places, ENTRY)] if cores.movable else places[:count]
    resources = {
        p.name: population_resources(p, program.incoming(p.name), used[p.name], cores)
        for p in hosted
    }
    return Placement(
        core=core,
        tiles=tiles,
        entry=ENTRY,
        chips=chips,
        resources=resources,
        total=total_resources(resources, used, chips, cores),
        links=links(packets, tiles, ENTRY),
    )


def _hosted(program: Program, cores: Cores) -> tuple[Neurons, ...]:
    """What occupies cores."""
    inputs = program.inputs if cores.hosts_inputs else ()
    return (*(_as_population(port) for port in inputs), *program.populations)


def _as_population(port: InputPort) -> Neurons:
    return Neurons(port.name, port.shape, 0, {}, np.ones(1), model=INPUT)


def _too_many(core: Mapping[str, IntArray], cores: Cores) -> tuple[Violation, ...]:
    """Cores beyond those of the largest system: blamed on the population that has most of them."""
    chip = cores.chip
    most = chip.limit("chips_per_system") * chip.limit("cores_per_chip")
    own = {name: len(np.unique(assigned)) for name, assigned in core.items()}
    count, record = sum(own.values()), chip.limits["chips_per_system"]
    if count <= most:
        return ()
    largest = max(own, key=lambda name: own[name])
    unit = chip.limits["cores_per_chip"].unit
    fix = (
        f"Remove what needs {count - most} {unit}: it has {own[largest]} of them, "
        f"{math.ceil(core[largest].size / own[largest])} neurons on each; fewer neurons or a "
        "smaller fan-in need fewer."
    )
    return (
        Violation(f"{chip.name}.cores-per-system", largest, count, most, unit, record.source, fix),
    )


def _places(chips: int, cores: Cores) -> IntArray:
    """(x, y) of all cores of so many chips, one after the other, int64 (places, 2)."""
    one = cores.positions
    places = np.tile(one, (chips, 1))
    places[:, 0] += np.repeat(np.arange(chips), len(one)) * cores.chip.limit("mesh_columns")
    return places
