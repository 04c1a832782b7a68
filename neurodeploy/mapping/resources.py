"""The resource table: (used, available) per population and in total."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.mapping.connectivity import fan_out
from neurodeploy.mapping.usage import Usage
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.quantity import Kind

COUNTED = "from the program"
MODEL = "memory model of neurodeploy.mapping.usage"


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
    population: Neurons, incoming: tuple[Synapses, ...], use: Usage, chip: Chip
) -> tuple[Resource, ...]:
    """Resources of one population; available is what its cores hold, or one core where so named."""
    cores = len(use.neurons)
    return (
        Resource("cores", cores, None, "neurocores", "derived", MODEL),
        _against(chip, "neurons", population.size, "neurons_per_core", cores, "counted"),
        *_synapses(incoming, None),
        _against(
            chip,
            "synaptic memory",
            int(use.synaptic_memory.sum()),
            "synaptic_memory",
            cores,
            "derived",
        ),
        _against(
            chip,
            "input axons, busiest core",
            int(use.input_axons.max()),
            "input_axons",
            1,
            "derived",
        ),
        _against(
            chip,
            "neuron groups, busiest core",
            int(use.neuron_groups.max()),
            "neuron_groups",
            1,
            "derived",
        ),
    )


def total_resources(
    program: Program, used: Mapping[str, Usage], cores: int, chips: int, chip: Chip
) -> tuple[Resource, ...]:
    """Resources of a whole program; available is what its chips hold."""
    neurons = sum(population.size for population in program.populations)
    words = sum(int(use.synaptic_memory.sum()) for use in used.values())
    everywhere = chips * chip.limit("cores_per_chip")
    return (
        Resource("chips", chips, None, "chips", "derived", MODEL),
        _against(chip, "cores", cores, "cores_per_chip", chips, "derived"),
        _against(chip, "neurons", neurons, "neurons_per_core", everywhere, "counted"),
        *_synapses(program.synapses, chips * chip.limit("synapses_per_chip")),
        _against(chip, "synaptic memory", words, "synaptic_memory", everywhere, "derived"),
    )


def _against(chip: Chip, name: str, used: int, limit: str, times: int, kind: Kind) -> Resource:
    """A resource against `times` a limit of the chip."""
    available = times * chip.limit(limit)
    record = chip.limits[limit]
    unit = record.unit.split(" per ")[0]
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
