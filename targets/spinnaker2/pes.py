"""Processing elements (PEs): what the neurons of a population use of each, and how they are cut.

py-spinnaker2 keeps everything in the memory of the PE that needs it and cuts a population into
slices of its C order, of as many neurons as `set_max_atoms_per_core` says.  A PE with n neurons of
a population then holds, in bytes,

    regions of fixed size + neurons      fixed_regions + register_word n registers
    rows of synapses                     sum over sources with k > 0 synapses on this PE of
                                         entry + header + (synapse_word k, rounded up to 4)
    or, of a convolution, its kernel     kernel_word (channels in) (channels here) height width
    spikes recorded for T ticks          4 T (ceil(n / 32) + 2)
    potentials recorded                  4 T (n + 1), of populations read as membrane potential
    times at which ticks were done       4 T

(NESTML's applications for py-spinnaker2: see the sources in the chip file).  That a convolution
stores a kernel and is cut between output channels is inferred from how upstream's examples set its
slices; what inputs store, one word per neuron and spike, is inferred too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.mapping.connectivity import listed
from neurodeploy.mapping.cores import INPUT, Bound, Cuts, Meter
from neurodeploy.program import IntArray, Neurons, Program, Synapses

CONVOLUTION = "lif_conv2d"
WORD = 4
HOLES = frozenset({(3, 2), (3, 3), (6, 2), (6, 3)})
"""(x, y), from 0, of the mesh's places without a quad (SpiNNMachine 7.4.1, version_spin2.py)."""
CHUNK = 1 << 24
"""Counts of synapses by core and source neuron that are held at once."""

BOUNDS = (
    Bound(
        "neurons_per_core",
        "neurons",
        True,
        "A convolution is cut between output channels, so one channel must fit a PE: reduce its "
        "pixels to {share} (a larger stride, pooling before it, a smaller image).",
    ),
    Bound("neurons_per_core_default", "neurons of an application", False, "Split the population."),
    Bound("input_neurons_per_core", "input neurons", False, "Split the population."),
    Bound("row_length", "synapses of one source neuron", False, "Split the population."),
    Bound(
        "data_memory",
        "data memory",
        False,
        "The smallest slice does not fit a PE: reduce its fan-in to {share} (fewer inputs, a "
        "smaller kernel, pooling or a narrower layer before it) or run fewer steps, for which less "
        "is recorded.",
    ),
)


@dataclass(frozen=True, eq=False)
class Pes:
    """The `Cores` of SpiNNaker2.

    Attributes
    ----------
    ticks: length of a run, which is what is recorded; 0 if it is not known.
    input_spikes: input -> spikes of each neuron in its busiest sample, int64 (neurons,); missing
        where they are not known.
    """

    chip: Chip
    ticks: int
    input_spikes: Mapping[str, IntArray]
    bounds = BOUNDS
    hosts_inputs = True
    barrier = False
    """PEs start ticks on their own clock; see `budget`."""
    movable = False
    """py-spinnaker2 chooses PEs itself."""

    @classmethod
    def of(cls, program: Program, chip: Chip) -> Pes:
        """Recordings and inputs as the program's golden traces have them."""
        if program.golden is None:
            return cls(chip, 0, {})
        inputs = program.golden.inputs
        steps = next(iter(inputs.values())).shape[1]
        counts = {name: spikes.sum(axis=1, dtype=np.int64) for name, spikes in inputs.items()}
        most = {name: count.reshape(len(count), -1) for name, count in counts.items()}
        return cls(
            chip,
            steps + program.depth,
            {name: count[count.sum(axis=1).argmax()] for name, count in most.items()},
        )

    @property
    def positions(self) -> IntArray:
        """See `Cores`: quad by quad, row by row."""
        columns, rows = self.chip.limit("mesh_columns"), self.chip.limit("mesh_rows")
        quads = [(x, y) for y in range(rows) for x in range(columns) if (x, y) not in HOLES]
        each = np.repeat(np.array(quads), self.chip.limit("cores_per_tile"), axis=0)
        return each[: self.chip.limit("cores_per_chip")]

    def meter(self, population: Neurons, incoming: tuple[Synapses, ...]) -> Meter:
        """See `Cores` and the module's docstring."""
        kernel = population.model == CONVOLUTION
        sources = () if kernel else tuple(_by_source(incoming))
        channel = _unit(population)

        def use(core: IntArray) -> Mapping[str, IntArray]:
            neurons = np.bincount(core)
            none = np.zeros_like(neurons)
            rows, longest = none, none
            for reached in sources:
                own, most = self._rows(reached, core)
                rows, longest = rows + own, np.maximum(longest, most)
            if kernel:
                taps = sum(math.prod(s.weight.shape[1:]) for s in incoming)
                rows = self.chip.limit("kernel_word") * taps * -(-neurons // channel)
            stored = rows + self._neurons(population, core)
            listed = population.model not in (CONVOLUTION, INPUT)
            return {
                "neurons_per_core": neurons,
                "neurons_per_core_default": neurons if listed else none,
                "input_neurons_per_core": neurons if population.model == INPUT else none,
                "row_length": longest,
                "data_memory": stored,
            }

        return use

    def _rows(self, reached: _Reached, core: IntArray) -> tuple[IntArray, IntArray]:
        """Bytes of the rows of one source on each PE, and the synapses of the longest."""
        sizes, longest = [], []
        pe, cores = core[reached.target], int(core.max()) + 1
        step = max(1, CHUNK // reached.neurons)
        for start in range(0, cores, step):
            many = min(step, cores - start)
            here = (pe >= start) & (pe < start + many)
            row = (pe[here] - start) * reached.neurons + reached.source[here]
            synapses = np.bincount(row, minlength=many * reached.neurons).reshape(many, -1)
            words = -(-self.chip.limit("synapse_word") * synapses // WORD) * WORD
            each = self.chip.limit("population_table_entry") + self.chip.limit("synapse_row_header")
            sizes.append(((synapses > 0) * each + words).sum(axis=1))
            longest.append(synapses.max(axis=1, initial=0))
        return np.concatenate(sizes), np.concatenate(longest)

    def _neurons(self, population: Neurons, core: IntArray) -> IntArray:
        """Bytes of everything but synapses and kernels."""
        neurons = np.bincount(core)
        fixed = self.chip.limit("fixed_regions")
        if population.model == INPUT:
            spikes = self.input_spikes.get(population.name, np.zeros(1, np.int64))
            sent = np.bincount(core, np.broadcast_to(spikes, core.shape))
            words = neurons + np.rint(sent).astype(np.int64)
            return np.asarray(fixed + self.chip.limit("spike_list_word") * words)
        parameters = self.chip.limit("register_word") * len(population.parameters) * neurons
        return np.asarray(fixed + parameters + self.ticks * recorded(population, neurons))

    def cuts(self, population: Neurons) -> Iterator[Cuts]:
        """See `Cores`: slices of equal length but for the last."""
        unit = _unit(population)
        units = population.size // unit
        place = np.arange(population.size)
        yield Cuts(1, units, lambda n: place // (-(-units // n) * unit))

    def finest(self, population: Neurons) -> IntArray:
        """See `Cores`: every neuron, or every channel of a convolution, on a PE of its own."""
        return np.arange(population.size) // _unit(population)


def recorded(population: Neurons, neurons: IntArray) -> IntArray:
    """Bytes that a PE with so many neurons of a population records in each tick."""
    spikes, done = -(-neurons // 32) + 2, 1
    potentials = (neurons + 1) * (population.readout == "membrane")
    return np.asarray(WORD * (spikes + done + potentials))


def _unit(population: Neurons) -> int:
    """Neurons that stay together: those of an output channel of a convolution."""
    return math.prod(population.shape[1:]) if population.model == CONVOLUTION else 1


@dataclass(frozen=True, eq=False)
class _Reached:
    """Target and source neuron of each synapse from a source of so many neurons, int64 (n,)."""

    neurons: int
    target: IntArray
    source: IntArray


def _by_source(incoming: tuple[Synapses, ...]) -> Iterator[_Reached]:
    """The synapses of each source."""
    for source in dict.fromkeys(synapses.source for synapses in incoming):
        group = [synapses for synapses in incoming if synapses.source == source]
        lists = [listed(synapses)[:2] for synapses in group]
        ends = (np.concatenate(part) for part in zip(*lists, strict=True))
        yield _Reached(math.prod(group[0].in_shape), *ends)
