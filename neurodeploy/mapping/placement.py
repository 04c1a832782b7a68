"""`Placement`: every neuron on a core, every core at a router, and what that uses."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import DesignRuleError, InputError, Violation
from neurodeploy.mapped import Mapped
from neurodeploy.mapping.arrangement import arrange
from neurodeploy.mapping.cores import INPUT, Cores
from neurodeploy.mapping.partition import exceeded, partition, violations
from neurodeploy.mapping.resources import Resource, population_resources, total_resources
from neurodeploy.mapping.traffic import Links, expected_spikes, links, packets_between
from neurodeploy.network import InputPort
from neurodeploy.program import IntArray, Neurons, Program
from neurodeploy.trace import check_names

ENTRY = (0, 0)
"""Router at which spikes from the host enter: a corner; the true place is not published."""
MAPPER = 1
"""Version of the method of `choose`; another one may choose other places."""


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a program goes, and what it uses there.

    Attributes
    ----------
    mapped: the core of each neuron and the router of each core.
    resources: population -> its resources; available is what its cores hold together, or what one
        core holds where the name says so.
    total: resources of the whole program.
    barrier: whether all cores wait for each other in every step.
    links: packets on every link for the spikes of the golden traces, or one of each neuron.
    """

    mapped: Mapped
    resources: Mapping[str, tuple[Resource, ...]]
    total: tuple[Resource, ...]
    barrier: bool
    links: Links

    @property
    def core(self) -> Mapping[str, IntArray]:
        """See `Mapped`."""
        return self.mapped.core

    @property
    def tiles(self) -> IntArray:
        """See `Mapped`."""
        return self.mapped.tiles

    @property
    def entry(self) -> tuple[int, int]:
        """See `Mapped`."""
        return self.mapped.entry

    @property
    def chips(self) -> int:
        """Number of chips."""
        return self.mapped.chips

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
            "placed for": self.mapped.traffic,
            "hops": self.links.hops,
            "busiest link": self.links.busiest,
        }


def place(program: Program, cores: Cores) -> Placement:
    """Where a program goes: as its compilation chose it, otherwise as `choose` does now.

    Raises
    ------
    DesignRuleError
        As `choose`, or the program is where the chip has no room: see `faults`.
    InputError
        As `choose`.
    """
    if program.mapped is None:
        return _placement(program, choose(program, cores), cores)
    if broken := faults(program, program.mapped, cores):
        raise DesignRuleError(broken)
    return _placement(program, program.mapped, cores)


def choose(
    program: Program,
    cores: Cores,
    *,
    seed: int = 0,
    neurons_per_core: Mapping[str, int] | None = None,
) -> Mapped:
    """Cut every population into cores, number these, and say where they stand; see `partition`.

    Cores are numbered in the order of the populations and, where it is for us to say, stand so that
    packets cross few links (`arrangement.arrange`); otherwise they fill tile by tile, row by row,
    chip by chip.  Chips stand in one row: a packet to the next chip crosses the mesh between.
    Every core holds neurons of one population.  Deterministic.

    Parameters
    ----------
    seed: of the order in which places of cores are tried.
    neurons_per_core: population -> most neurons on one core, where it shall be fewer than fit.

    Raises
    ------
    DesignRuleError
        Neurons that fit no core, for all populations at once, or more cores than the largest
        system has.
    InputError
        A population without neurons or without a register that the chip needs; or fewer than one
        neuron per core, or of what is not on cores.
    """
    hosted = _hosted(program, cores)
    most = _checked(neurons_per_core or {}, hosted)
    broken = tuple(
        violation
        for population in hosted
        for violation in violations(
            population, program.incoming(population.name), cores, most.get(population.name)
        )
    )
    if broken:
        raise DesignRuleError(broken)
    count = 0
    core: dict[str, IntArray] = {}
    for population in hosted:
        name = population.name
        own = partition(population, program.incoming(name), cores, most.get(name))
        core[population.name] = own + count
        count += int(own.max()) + 1
    if too_many := _too_many(core, cores):
        raise DesignRuleError(too_many)
    chips = -(-count // cores.chip.limit("cores_per_chip"))
    places = _places(chips, cores)
    tiles = places[:count]
    if cores.movable:
        packets = packets_between(program, core, count, expected_spikes(program))
        tiles = places[arrange(packets, places, ENTRY, seed)]
    return Mapped(
        core=core,
        tiles=tiles,
        entry=ENTRY,
        chips=chips,
        mapper=MAPPER,
        seed=seed,
        traffic="one spike of each neuron" if program.golden is None else "golden traces",
    )


def _checked(most: Mapping[str, int], hosted: tuple[Neurons, ...]) -> Mapping[str, int]:
    check_names(most, [population.name for population in hosted])
    for name, neurons in most.items():
        if type(neurons) is not int or neurons < 1:
            raise InputError(f"{neurons!r} neurons per core, expected at least 1", node=name)
    return most


def faults(program: Program, mapped: Mapped, cores: Cores) -> tuple[Violation, ...]:
    """Limits of the chip that `mapped`, whatever file it came from, breaks.

    Raises
    ------
    InputError
        As `choose`.
    """
    chip, found = cores.chip, []
    hosted = _hosted(program, cores)
    for name in sorted({p.name for p in hosted} ^ set(mapped.core)):
        size = math.prod(program.shapes[name])
        where = (0, size) if name in mapped.core else (size, 0)
        found.append(_fault(cores, "mapped-neurons", name, where[1], where[0]))
    if found:
        return tuple(found)
    for population, use in zip(hosted, _used(program, mapped, cores).values(), strict=True):
        for name, value in exceeded(use, cores).items():
            rule = name.replace("_", "-")
            found.append(_fault(cores, rule, population.name, value, chip.limit(name), name))
    most = chip.limit("chips_per_system")
    if not 1 <= mapped.chips <= most:
        found.append(_fault(cores, "chips-per-system", "mapped", mapped.chips, most))
        return tuple(found)
    room = Counter(map(tuple, _places(mapped.chips, cores).tolist()))
    taken = Counter([mapped.entry, *map(tuple, mapped.tiles.tolist())])
    taken[mapped.entry] -= room[mapped.entry] > 0
    tile, most = max(((t, n - room[t]) for t, n in taken.items()), key=lambda item: item[1])
    if most > 0:
        x, y = tile
        node, unit = f"router ({x}, {y})", "cores_per_chip"
        found.append(_fault(cores, "cores-per-tile", node, taken[tile], room[tile], unit))
    return tuple(found)


def _fault(
    cores: Cores, rule: str, node: str, measured: int, limit: int, name: str = "chips_per_system"
) -> Violation:
    record, chip = cores.chip.limits[name], cores.chip
    unit = "neurons on cores" if rule == "mapped-neurons" else record.unit
    fix = "The program's mapping is not one for this chip: compile it again."
    return Violation(f"{chip.name}.{rule}", node, measured, limit, unit, record.source, fix)


def _used(program: Program, mapped: Mapped, cores: Cores) -> dict[str, Mapping[str, IntArray]]:
    """What each core uses, by population and name of the limit."""
    used = {}
    for population in _hosted(program, cores):
        core = mapped.core[population.name]
        meter = cores.meter(population, program.incoming(population.name))
        used[population.name] = meter(core - core.min())
    return used


def _placement(program: Program, mapped: Mapped, cores: Cores) -> Placement:
    used = _used(program, mapped, cores)
    resources = {
        p.name: population_resources(p, program.incoming(p.name), used[p.name], cores)
        for p in _hosted(program, cores)
    }
    packets = packets_between(program, mapped.core, len(mapped.tiles), expected_spikes(program))
    return Placement(
        mapped=mapped,
        resources=resources,
        total=total_resources(resources, used, mapped.chips, cores),
        barrier=cores.barrier,
        links=links(packets, mapped.tiles, mapped.entry),
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
