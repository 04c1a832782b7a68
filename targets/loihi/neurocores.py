"""Neurocores: what the neurons of a population use of each, and how populations are cut.

An axon is what a spike addresses on a destination core: the list of synapses to walk.  A dense or
one-to-one connection has one axon per source neuron; a convolution has one axon in all, whose
kernel every source neuron shares (the Loihi 2 compiler prints 1 or 2 input axons per core of a
convolution: lava-dl, netx/pilotnet_snn/benchmark.ipynb and netx/yolo_kp/run.ipynb).  A chip whose
file has no limit `kernel_header_words` shares no kernels: there a convolution has an axon for each
source neuron that reaches the core, with a list of indexed synapses.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.errors import InputError
from neurodeploy.linear import Shape
from neurodeploy.mapping.cores import Bound, Cuts, Meter
from neurodeploy.program import IntArray, Neurons, Synapses

FAN_IN = (
    "One neuron alone does not fit a core: reduce its fan-in to {share} (fewer inputs, a smaller "
    "kernel, pooling or a narrower layer before it)."
)
BOUNDS = (
    Bound("neurons_per_core", "neurons", True, FAN_IN),
    Bound("synaptic_memory", "synaptic memory", True, FAN_IN),
    Bound("input_axons", "input axons", False, FAN_IN),
    Bound("neuron_groups", "neuron groups", False, FAN_IN),
)


@dataclass(frozen=True)
class Neurocores:
    """The `Cores` of Loihi 1 and 2.

    An image (channels, height, width) is cut into blocks of channels, each block into contiguous
    runs of neurons, column by column; other shapes into runs of their C order.  Runs are of equal
    length (but for one neuron).  Lava's compiler cuts images alike, but into powers of two, and
    takes up to half as many cores again (lava-dl, netx/pilotnet_snn/benchmark.ipynb).
    """

    chip: Chip
    movable: bool = True
    bounds = BOUNDS
    hosts_inputs = False
    barrier = True

    @property
    def positions(self) -> IntArray:
        """See `Cores`: tile by tile, row by row."""
        tile = np.arange(self.chip.limit("cores_per_chip")) // self.chip.limit("cores_per_tile")
        y, x = np.divmod(tile, self.chip.limit("mesh_columns"))
        return np.stack([x, y], axis=1)

    def meter(self, population: Neurons, incoming: tuple[Synapses, ...]) -> Meter:
        """See `Cores` and `synaptic_words`."""
        groups, chip = group_labels(population, self.chip), self.chip

        def use(core: IntArray) -> Mapping[str, IntArray]:
            neurons = np.bincount(core)
            words, axons = np.zeros_like(neurons), np.zeros_like(neurons)
            for synapses in incoming:
                words += synaptic_words(synapses, core, chip)
                axons += _axons(synapses, neurons, chip)
            return {
                "neurons_per_core": neurons,
                "synaptic_memory": words,
                "input_axons": axons,
                "neuron_groups": _distinct(core, groups, len(neurons)),
            }

        return use

    def cuts(self, population: Neurons) -> Iterator[Cuts]:
        """See `Cores`: one for each number of blocks of channels."""
        channels = population.shape[0] if len(population.shape) == 3 else 1
        for blocks in range(1, channels + 1):
            block, rank = _order(population.shape, blocks)
            most = int(np.bincount(block).min())
            yield Cuts(blocks, most, functools.partial(_cores, block, rank))

    def finest(self, population: Neurons) -> IntArray:
        """See `Cores`: every neuron on a core of its own."""
        return np.arange(population.size)


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


def group_labels(population: Neurons, chip: Chip) -> IntArray:
    """Number of each neuron's combination of group registers, int64 (neurons,).

    Neurons other than leaky integrate-and-fire ones may lack some of these.

    Raises
    ------
    InputError
        The population lacks a register.
    """
    present = [name for name in chip.group_registers if name in population.parameters]
    if population.model == "lif" and len(present) < len(chip.group_registers):
        missing = next(name for name in chip.group_registers if name not in present)
        raise InputError(f"register {missing} is missing", node=population.name)
    labels = np.zeros(population.size, np.int64)
    for name in present:
        values = population.parameters[name].reshape(-1)
        if values.size > 1:
            _, own = np.unique(values, return_inverse=True)
            _, labels = np.unique(labels * population.size + own.reshape(-1), return_inverse=True)
    return np.asarray(labels.reshape(-1), np.int64)


def synaptic_words(synapses: Synapses, core: IntArray, chip: Chip) -> IntArray:
    """Words of synaptic memory on each core, int64 (cores,), for targets on `core`.

    dense, one-to-one:  axons * ceil(n synapse_bits / word)
    conv2d:             rows * (ceil(n weight_bits / word) + header)
    conv2d, unshared:   axons * ceil(n indexed_synapse_bits / word)

    n is the number of target neurons (dense), 1 (one-to-one), or the number of output channels on
    the core that an input channel reaches; a row is one input channel and kernel tap.  Unshared, n
    is what one source neuron reaches at most: taps times output channels of its group, or all
    neurons of the core.  Zero weights are stored.  The formula is derived, not published: against
    27 numbers that the Loihi 2 compiler printed, the median of its absolute error is 8 %; its
    extremes are -21 % (dense, 256 synapses of 8 bits, an older compiler) and +33 % (convolution, 16
    or 64 output channels).
    """
    neurons = np.bincount(core)
    word = chip.limit("synaptic_memory_word")
    if synapses.kind == "conv2d" and not _shares_kernels(chip):
        out_channels, _, *taps = synapses.weight.shape
        reached = np.minimum(neurons, math.prod(taps) * out_channels // synapses.groups)
        bits = chip.limit("indexed_synapse_bits")
        return np.asarray(_axons(synapses, neurons, chip) * -(-reached * bits // word))
    if synapses.kind == "conv2d":
        _, in_per_group, height, width = synapses.weight.shape
        owner, channels = _channels(synapses, core)
        row = -(-channels * chip.limit("weight_bits") // word) + chip.limit("kernel_header_words")
        words = np.zeros_like(neurons)
        np.add.at(words, owner, in_per_group * height * width * row)
        return words
    bits = chip.limit("synapse_bits")
    if synapses.kind == "one-to-one":
        return np.asarray(neurons * -(-bits // word))
    return np.asarray(math.prod(synapses.in_shape) * -(-neurons * bits // word))


def _channels(synapses: Synapses, core: IntArray) -> tuple[IntArray, IntArray]:
    """For each core and group of channels that meet: the core, and its output channels there."""
    out_channels, groups = synapses.weight.shape[0], synapses.groups
    channel = np.arange(len(core)) // math.prod(synapses.out_shape[1:])
    pairs = np.unique(core * out_channels + channel)
    group = pairs % out_channels // (out_channels // groups)
    keys, channels = np.unique(pairs // out_channels * groups + group, return_counts=True)
    return keys // groups, channels


def _shares_kernels(chip: Chip) -> bool:
    return "kernel_header_words" in chip.limits


def _axons(synapses: Synapses, neurons: IntArray, chip: Chip) -> IntArray:
    """Input axons of each core; unshared kernels: at most one per source neuron and fan-in."""
    if synapses.kind == "one-to-one":
        return neurons
    used = (neurons > 0).astype(np.int64)
    if synapses.kind == "dense":
        return used * math.prod(synapses.in_shape)
    if _shares_kernels(chip):
        return used
    fan_in = math.prod(synapses.weight.shape[1:])
    return np.minimum(neurons * fan_in, math.prod(synapses.in_shape))


def _distinct(core: IntArray, labels: IntArray, cores: int) -> IntArray:
    """Number of distinct labels on each core."""
    count = int(labels.max()) + 1
    return np.bincount(np.unique(core * count + labels) // count, minlength=cores)
