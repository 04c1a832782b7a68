"""A program tick by tick, as the cores of a chip run it, in plain numpy.

The second implementation, which shares only the neurons' formulas with the simulator: time is the
chip's, spikes travel as packets between cores, and sums grow in ring buffers.

Order within a tick (read in nest/nestml, resources_spinnaker2 @4bde5dbec: main.c, synapses.c): what
was sent in the tick before is received, and adds magnitudes to the ring buffer at the tick and type
(excitatory or inhibitory) of its synapses; the buffers of this tick are emptied into the neurons;
these are updated; what spikes is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import TargetError
from neurodeploy.linear import FloatArray
from neurodeploy.program import POTENTIAL, Float32Array, IntArray, Neurons, Program, Synapses
from neurodeploy.simulator.engine import in_model_units
from neurodeploy.targets.spinnaker2 import arithmetic
from neurodeploy.targets.spinnaker2.machine import check_refractory, registers_of, resets_to
from neurodeploy.targets.spinnaker2.models import LONGEST_DELAY, Model, model_of
from neurodeploy.trace import Messages, Trace

NEURONS_PER_CORE = 128
RING = LONGEST_DELAY + 1
EXCITATORY, INHIBITORY = range(2)

Sent = Mapping[str, NDArray[np.bool_]]
"""What inputs and populations sent in one tick: (samples, neurons) by name."""


def run_ticks(
    program: Program,
    inputs: Mapping[str, Messages],
    *,
    timeout: float = 600.0,
    cores: Mapping[str, IntArray] | None = None,
    states: bool = False,
) -> Trace:
    """Run all samples for as many ticks as the last population needs; the trace has model time.

    Parameters
    ----------
    inputs: uint8 (samples, steps, *shape) per input; step t is sent in tick t.
    timeout: seconds.
    cores: population -> core of each neuron, int64 (neurons,), C order; 128 consecutive neurons
        share a core if None.
    states: also return the states after every tick.

    Raises
    ------
    InputError
        Neurons or registers that the chip does not have.
    TargetError
        It took longer, or a neuron spikes before any input can reach it.
    """
    deadline = time.monotonic() + timeout
    samples, steps = next(iter(inputs.values())).shape[:2]
    chip = [
        _Core.of(population, neurons, program.incoming(population.name), samples)
        for population in program.populations
        for neurons in _parts(population, cores)
    ]
    ticks = steps + program.depth
    fired = {p.name: np.zeros((samples, ticks, p.size), bool) for p in program.populations}
    kept = {
        p.name: {
            name: np.zeros((samples, ticks, p.size), np.float32) for name in model_of(p).states
        }
        for p in program.populations
        if states or p.readout == "membrane"
    }
    sent: Sent = {}
    for tick in range(ticks):
        if time.monotonic() > deadline:
            raise TargetError(f"tick by tick in numpy took more than {timeout:g} s")
        now = {name: x[:, tick].reshape(samples, -1) != 0 for name, x in inputs.items()
               if tick < steps}  # fmt: skip
        for core in chip:
            name = core.population.name
            core.receive(tick, sent)
            with np.errstate(over="ignore", invalid="ignore"):  # infinities, as on the chip
                fired[name][:, tick, core.neurons] = core.update(tick)
            for state, values in kept.get(name, {}).items():
                values[:, tick, core.neurons] = core.states[state]
        sent = {**now, **{name: values[:, tick] for name, values in fired.items()}}
    for population in program.populations:
        if fired[population.name][:, : population.depth].any():
            raise TargetError("spikes before any input can reach it", node=population.name)

    def model_time(array: NDArray[Any], population: Neurons) -> NDArray[Any]:
        part = array[:, population.depth : population.depth + steps]
        return part.reshape(samples, steps, *population.shape)

    spikes = {p.name: model_time(fired[p.name], p).view(np.uint8) for p in program.populations}
    recorded = {
        p.name: {name: model_time(values, p) for name, values in kept[p.name].items()}
        for p in program.populations
        if p.name in kept
    }
    read = {
        p.name: in_model_units(recorded[p.name], p)[POTENTIAL]
        for p in program.populations
        if p.readout == "membrane" and p.name in program.outputs
    }
    return Trace({**inputs, **spikes}, recorded if states else {}, read)


def _parts(population: Neurons, cores: Mapping[str, IntArray] | None) -> Iterator[IntArray]:
    """Neurons of each core."""
    core = np.arange(population.size) // NEURONS_PER_CORE
    core = core if cores is None else cores[population.name]
    for number in np.unique(core):
        yield np.flatnonzero(core == number)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Synapses of one delay and type from `source` to the neurons of a core.

    `sums`: (samples, source neurons), 0 or 1 -> (samples, neurons), sums of magnitudes.
    """

    source: str
    kind: int
    delay: int
    sums: Callable[[FloatArray], FloatArray]


@dataclass(eq=False)
class _Core:
    """Some neurons of one population; all samples side by side."""

    population: Neurons
    neurons: IntArray
    model: Model
    registers: Mapping[str, Float32Array]
    to: bool
    rows: tuple[_Rows, ...]
    ring: FloatArray
    states: dict[str, Float32Array] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        population: Neurons,
        neurons: IntArray,
        incoming: tuple[Synapses, ...],
        samples: int,
    ) -> _Core:
        model = model_of(population)
        check_refractory(population, model)
        registers = {name: row[neurons] for name, row in registers_of(population).items()}
        shape = (samples, neurons.size)
        core = cls(
            population,
            neurons,
            model,
            registers,
            resets_to(population),
            tuple(rows for synapses in incoming for rows in _rows(synapses, neurons)),
            np.zeros((RING, 2, *shape)),
        )
        core.states = {name: np.zeros(shape, np.float32) for name in model.states}
        core.states["v"] = np.broadcast_to(registers["v_init"], shape)
        return core

    def receive(self, tick: int, sent: Sent) -> None:
        """Add what was sent in the tick before to the ring buffers."""
        for rows in self.rows:
            if rows.source in sent:
                spikes = sent[rows.source].astype(np.float64)
                self.ring[(rows.delay + tick) % RING, rows.kind] += rows.sums(spikes)

    def update(self, tick: int) -> NDArray[np.bool_]:
        """One tick of the neurons: which of them spike."""
        state, register = self.states, self.registers
        exc, inh = self.ring[tick % RING].astype(np.float32)
        self.ring[tick % RING] = 0
        if self.model.filtered:
            exc = arithmetic.decay_current(state["exc"], register["exc_decay"], exc)
            inh = arithmetic.decay_current(state["inh"], register["inh_decay"], inh)
            state["exc"], state["inh"] = exc, inh
        potential = arithmetic.integrate(
            state["v"], exc - inh, register["alpha_decay"], register["i_offset"]
        )
        fired = np.asarray(arithmetic.fires(potential, register["threshold"]))
        state[POTENTIAL] = potential
        state["v"] = arithmetic.reset(
            potential, fired, register["threshold"], register["v_reset"], self.to
        )
        return fired


def _rows(synapses: Synapses, neurons: IntArray) -> Iterator[_Rows]:
    """What a core holds of some synapses, by delay and type."""
    for delay in np.unique(synapses.delay):
        weight = np.where(synapses.delay == delay, synapses.weight, 0)
        for kind, magnitude in ((EXCITATORY, weight), (INHIBITORY, -weight)):
            at = INHIBITORY if synapses.port == "inhibitory" else kind
            magnitude = np.maximum(magnitude, 0).astype(np.float64)
            if magnitude.any():
                yield _Rows(synapses.source, at, int(delay), _sums(synapses, magnitude, neurons))


def _sums(
    synapses: Synapses, magnitude: FloatArray, neurons: IntArray
) -> Callable[[FloatArray], FloatArray]:
    if synapses.kind == "one-to-one":
        return lambda spikes: np.asarray(spikes[:, neurons] * magnitude[neurons])
    if synapses.kind == "dense":
        matrix = magnitude[neurons].T
        return lambda spikes: np.asarray(spikes @ matrix)
    op = synapses.convolution(magnitude)

    def convolve(spikes: FloatArray) -> FloatArray:
        image = op.apply(spikes.reshape(-1, *synapses.in_shape))
        return image.reshape(len(spikes), -1)[:, neurons]

    return convolve
