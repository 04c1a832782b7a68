"""How one population is cut into cores: the search, for any chip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.errors import InputError, Violation
from neurodeploy.mapping.cores import Cores
from neurodeploy.program import IntArray, Neurons, Synapses


def partition(
    population: Neurons, incoming: tuple[Synapses, ...], cores: Cores, most: int | None = None
) -> IntArray:
    """Core of each neuron, int64 (neurons,) in C order, cores counted from 0.

    Of the cuts that the chip knows and that fit: the one with the fewest cores, then the first.
    Deterministic.  The population must fit: see `violations`.

    Parameters
    ----------
    most: neurons on one core, where it shall be fewer than fit.  With fewer neurons allowed, the
        busiest core never has more.
    """
    meter = cores.meter(population, incoming)
    chosen = cores.finest(population)
    fewest = int(chosen.max()) + 2
    for cuts in cores.cuts(population):
        if cuts.blocks >= fewest:
            break

        def fits(n: int, cut: Callable[[int], IntArray] = cuts.cut) -> bool:
            core = cut(n)
            few = most is None or int(np.bincount(core).max()) <= most
            return few and not exceeded(meter(core), cores)

        n = _smallest(fits, min((fewest - 1) // cuts.blocks, cuts.most))
        if n is not None:
            chosen = cuts.cut(n)
            fewest = int(chosen.max()) + 1
    return chosen


def exceeded(use: Mapping[str, IntArray], cores: Cores) -> dict[str, int]:
    """Largest use of each resource that some core has too little of, by the name of the limit."""
    largest = {bound.limit: int(use[bound.limit].max()) for bound in cores.bounds}
    return {name: value for name, value in largest.items() if value > cores.chip.limit(name)}


def _smallest(fits: Callable[[int], bool], limit: int) -> int | None:
    """Smallest n <= limit with fits(n), by bisection; None if `limit` does not fit."""
    if not fits(limit):
        return None
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _share(limit: int, measured: int) -> str:
    """limit / measured in percent, rounded down to tenths."""
    return f"{1000 * limit // measured / 10:g}%"


def violations(
    population: Neurons, incoming: tuple[Synapses, ...], cores: Cores, most: int | None = None
) -> tuple[Violation, ...]:
    """Limits that the population breaks however finely it is cut.

    Parameters
    ----------
    most: see `partition`.

    Raises
    ------
    InputError
        The population is empty.
    """
    if population.size < 1:
        raise InputError("the population has no neurons", node=population.name)
    chip = cores.chip
    finest = cores.finest(population)
    broken = exceeded(cores.meter(population, incoming)(finest), cores)
    together = int(np.bincount(finest).max())
    return (
        *_asked(population, together, most, chip),
        *(
            Violation(
                rule=f"{chip.name}.{bound.limit.replace('_', '-')}",
                node=population.name,
                measured=broken[bound.limit],
                limit=chip.limit(bound.limit),
                unit=chip.limits[bound.limit].unit,
                source=chip.limits[bound.limit].source,
                fix=bound.fix.format(share=_share(chip.limit(bound.limit), broken[bound.limit])),
            )
            for bound in cores.bounds
            if bound.limit in broken
        ),
    )


def _asked(population: Neurons, together: int, most: int | None, chip: Chip) -> Iterator[Violation]:
    """Fewer neurons asked for than must stay together."""
    if most is not None and together > most:
        yield Violation(
            rule=f"{chip.name}.neurons-per-core-asked",
            node=population.name,
            measured=together,
            limit=most,
            unit="neurons per core",
            source="neurons_per_core, as given",
            fix=f"Ask for {together} at least: so many are stored together.",
        )
