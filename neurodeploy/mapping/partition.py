"""How one population is cut into neurocores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.errors import InputError, Violation
from neurodeploy.linear import Shape
from neurodeploy.mapping.usage import LIMITS, exceeded, group_labels, usage
from neurodeploy.program import IntArray, Neurons, Synapses


def partition(population: Neurons, incoming: tuple[Synapses, ...], chip: Chip) -> IntArray:
    """Core of each neuron, int64 (neurons,) in C order, cores counted from 0.

    An image (channels, height, width) is cut into blocks of channels, each block into contiguous
    runs of neurons, column by column; other shapes into runs of their C order.  Runs are of equal
    length (but for one neuron).  Taken is the cut with the fewest cores, then the fewest blocks.
    Deterministic.  Lava's compiler cuts images alike, but into powers of two, and takes up to half
    as many cores again (lava-dl, netx/pilotnet_snn/benchmark.ipynb).

    The population must fit: see `violations`.
    """
    groups = group_labels(population, chip)
    channels = population.shape[0] if len(population.shape) == 3 else 1
    chosen = np.arange(population.size)
    fewest = population.size + 1
    for blocks in range(1, channels + 1):
        if blocks >= fewest:
            break
        block, rank = _order(population.shape, blocks)

        def fits(runs: int, block: IntArray = block, rank: IntArray = rank) -> bool:
            core = _cores(block, rank, runs)
            return not exceeded(usage(population, incoming, core, groups, chip), chip)

        runs = _smallest(fits, min((fewest - 1) // blocks, int(np.bincount(block).min())))
        if runs is not None:
            fewest, chosen = blocks * runs, _cores(block, rank, runs)
    return chosen


def _smallest(fits: Callable[[int], bool], limit: int) -> int | None:
    """Smallest n <= limit with fits(n), by bisection; None if `limit` does not fit."""
    if not fits(limit):
        return None
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def violations(
    population: Neurons, incoming: tuple[Synapses, ...], chip: Chip
) -> tuple[Violation, ...]:
    """Limits that a single neuron of the population breaks on a core of its own.

    Raises
    ------
    InputError
        The population is empty.
    """
    if population.size < 1:
        raise InputError("the population has no neurons", node=population.name)
    alone = np.arange(population.size)
    use = usage(population, incoming, alone, group_labels(population, chip), chip)
    return tuple(
        Violation(
            rule=f"{chip.name}.{LIMITS[name].replace('_', '-')}",
            node=population.name,
            measured=value,
            limit=chip.limit(LIMITS[name]),
            unit=chip.limits[LIMITS[name]].unit,
            source=chip.limits[LIMITS[name]].source,
            fix="One neuron alone does not fit a core: reduce its fan-in (fewer inputs, a smaller "
            "kernel, pooling or a narrower layer before it).",
        )
        for name, value in exceeded(use, chip).items()
    )


def _order(shape: Shape, blocks: int) -> tuple[IntArray, IntArray]:
    """Block of each neuron, and its place within the block in order (x, y, channel), C order."""
    size = int(np.prod(shape))
    if len(shape) != 3:
        return np.zeros(size, np.int64), np.arange(size)
    channel, y, x = np.unravel_index(np.arange(size), shape)
    block = channel * blocks // shape[0]
    order = np.lexsort((channel, y, x, block))
    rank = np.empty(size, np.int64)
    rank[order] = np.arange(size)
    return block, rank - np.searchsorted(block[order], block)


def _cores(block: IntArray, rank: IntArray, runs: int) -> IntArray:
    """Core of each neuron when every block is cut into `runs` equal runs."""
    length = np.bincount(block)[block]
    return np.asarray(block * runs + rank * runs // length)
