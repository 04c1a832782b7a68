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
from neurodeploy.network import InputPort
from neurodeploy.program import IntArray, Neurons, Program


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a program goes.

    Attributes
    ----------
    core: population -> core of each neuron, int64 (neurons,), C order; inputs too, where they
        occupy cores.
    tiles: (x, y) of each core's router, int64 (cores, 2).  Cores are numbered in the order of the
        populations and fill tile by tile, row by row, chip by chip; chips stand in one row, so that
        a packet to the next chip crosses the mesh between.  Nothing is optimised.
    entry: where spikes of inputs without a core enter the mesh (a corner; the true place is not
        published).
    chips: number of chips.
    resources: population -> its resources; available is what its cores hold together, or what one
        core holds where the name says so.
    total: resources of the whole program.
    """

    core: Mapping[str, IntArray]
    tiles: IntArray
    entry: tuple[int, int]
    chips: int
    resources: Mapping[str, tuple[Resource, ...]]
    total: tuple[Resource, ...]

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
    return Placement(
        core=core,
        tiles=_tiles(count, cores),
        entry=(0, 0),
        chips=chips,
        resources={
            p.name: population_resources(p, program.incoming(p.name), used[p.name], cores)
            for p in hosted
        },
        total=total_resources(program, used, count, chips, cores),
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


def _tiles(count: int, cores: Cores) -> IntArray:
    number, local = np.divmod(np.arange(count), cores.chip.limit("cores_per_chip"))
    tiles = cores.positions[local]
    tiles[:, 0] += number * cores.chip.limit("mesh_columns")
    return tiles
