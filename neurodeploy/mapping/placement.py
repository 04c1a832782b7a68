"""`Placement`: every neuron on a neurocore, every neurocore on a tile, and what that uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.errors import DesignRuleError, TargetError
from neurodeploy.mapping.partition import partition, violations
from neurodeploy.mapping.resources import Resource, population_resources, total_resources
from neurodeploy.mapping.usage import Usage, group_labels, usage
from neurodeploy.program import IntArray, Program


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a program goes.

    Attributes
    ----------
    core: population -> neurocore of each neuron, int64 (neurons,), C order.
    tiles: (x, y) of each core's tile, int64 (cores, 2).  Cores are numbered in the order of the
        populations and fill tile by tile, row by row, chip by chip; chips stand in one row, so that
        a packet to the next chip crosses the mesh between.  Nothing is optimised.
    entry: tile at which input spikes enter the mesh (a corner; the true place is not published).
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
        """Number of neurocores in use."""
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


def place(program: Program, chip: Chip) -> Placement:
    """Cut every population into neurocores and number these; see `Placement` and `partition`.

    Every core holds neurons of one population.  Deterministic.

    Raises
    ------
    DesignRuleError
        Neurons that fit no core, for all populations at once.
    InputError
        A population without neurons or without a register that the chip needs.
    TargetError
        The chip has no neurocores.
    """
    if not chip.has_cores:
        raise TargetError("it has no neurocores to place neurons on", node=chip.title)
    broken = tuple(
        violation
        for population in program.populations
        for violation in violations(population, program.incoming(population.name), chip)
    )
    if broken:
        raise DesignRuleError(broken)
    cores = 0
    core: dict[str, IntArray] = {}
    used: dict[str, Usage] = {}
    for population in program.populations:
        incoming = program.incoming(population.name)
        own = partition(population, incoming, chip)
        used[population.name] = usage(
            population, incoming, own, group_labels(population, chip), chip
        )
        core[population.name] = own + cores
        cores += int(own.max()) + 1
    per_chip = chip.limit("cores_per_chip")
    chips = -(-cores // per_chip)
    return Placement(
        core=core,
        tiles=_tiles(cores, chip),
        entry=(0, 0),
        chips=chips,
        resources={
            p.name: population_resources(p, program.incoming(p.name), used[p.name], chip)
            for p in program.populations
        },
        total=total_resources(program, used, cores, chips, chip),
    )


def _tiles(cores: int, chip: Chip) -> IntArray:
    number, local = np.divmod(np.arange(cores), chip.limit("cores_per_chip"))
    y, x = np.divmod(local // chip.limit("cores_per_tile"), chip.limit("mesh_columns"))
    return np.stack([x + number * chip.limit("mesh_columns"), y], axis=1)
