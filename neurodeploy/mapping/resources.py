"""The resource table: (used, available) per population and in total."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.mapping.connectivity import fan_out
from neurodeploy.mapping.cores import Bound, Cores
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.quantity import Kind

COUNTED = "from the program"
MODEL = "memory model of the target's cores"


@dataclass(frozen=True)
class Resource:
    """Use of one resource; `available` is None where the chip sets no limit."""

    name: str
    used: int
    available: int | None
    unit: str
    kind: Kind
    source: str


def population_resources(
    population: Neurons,
    incoming: tuple[Synapses, ...],
    use: Mapping[str, IntArray],
    cores: Cores,
) -> tuple[Resource, ...]:
    """Resources of one population; available is what its cores hold, or one core where so named."""
    count = len(next(iter(use.values())))
    unit = cores.chip.limits["cores_per_chip"].unit
    return (
        Resource("cores", count, None, unit, "derived", MODEL),
        *(
            _bounded(bound, use[bound.limit], count, cores.chip)
            for bound in cores.bounds
            if bound.summed or use[bound.limit].any()
        ),
        *_synapses(incoming, None),
    )


def total_resources(
    program: Program,
    used: Mapping[str, Mapping[str, IntArray]],
    count: int,
    chips: int,
    cores: Cores,
) -> tuple[Resource, ...]:
    """Resources of a whole program on `count` cores; available is what its chips hold."""
    chip = cores.chip
    everywhere = chips * chip.limit("cores_per_chip")
    synapses = None
    if "synapses_per_chip" in chip.limits:
        synapses = chips * chip.limit("synapses_per_chip")
    return (
        Resource("chips", chips, None, "chips", "derived", MODEL),
        _against(chip, "cores", count, "cores_per_chip", chips),
        *(
            _bounded(
                bound, np.concatenate([u[bound.limit] for u in used.values()]), everywhere, chip
            )
            for bound in cores.bounds
            if bound.summed
        ),
        *_synapses(program.synapses, synapses),
    )


def _bounded(bound: Bound, use: IntArray, count: int, chip: Chip) -> Resource:
    """What cores use of what `count` hold together, or the busiest of what one holds."""
    if bound.summed:
        return _against(chip, bound.title, int(use.sum()), bound.limit, count)
    return _against(chip, f"{bound.title}, busiest core", int(use.max()), bound.limit, 1)


def _against(chip: Chip, name: str, used: int, limit: str, times: int) -> Resource:
    """A resource against `times` a limit of the chip."""
    available = times * chip.limit(limit)
    record = chip.limits[limit]
    unit = record.unit.split(" per ")[0]
    kind: Kind = "counted" if name == "neurons" else "derived"
    source = f"{COUNTED if kind == 'counted' else MODEL}; limit: {record.source}"
    return Resource(name, used, available, unit, kind, source)


def _synapses(synapses: tuple[Synapses, ...], available: int | None) -> tuple[Resource, ...]:
    """Synapses of nonzero weight, and the nonzero weights that are stored for them."""
    logical = sum(int(fan_out(item).sum()) for item in synapses)
    stored = sum(int(np.count_nonzero(item.weight)) for item in synapses)
    return (
        Resource("synapses", logical, None, "synapses", "counted", COUNTED),
        Resource("stored weights", stored, available, "weights", "counted", COUNTED),
    )
