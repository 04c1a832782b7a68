r"""From a `Network` to SpiNNaker2's neurons.

Every application of py-spinnaker2 integrates v = alpha v + (x + c) in float32, fires at v >= T, and
then subtracts T or sets v to v_reset.  Weights are integers, and reach x as exact sums; all else is
float32.  So only weights are rounded noticeably, and one scale per population keeps the most of
them: see `scale`.

*reset to zero*
    v_reset = 0; exact.
*subtraction at once*
    the chip's own; exact.
*subtraction one step later* (snnTorch's default), other amounts, no reset
    the chip's subtraction, and a self-synapse that makes up for the difference one step later: see
    `resolve.owed`; exact where `scale.choose` makes its weight a whole number, which it does
    wherever the weights leave room.
*a synaptic current*
    the `curr_exp` applications.  A constant input of the synaptic current comes from a neuron that
    fires in every step: upstream adds it past the filter, so that its onset is wrong.
*no threshold*
    one that no potential reaches; the host reads v.

What arrives late waits in the delay field of the synapses (which leaves 4 bits to weights), in
relay populations otherwise.  Potentials start so that they are the model's when the input arrives:
see `start`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.arrivals import Interval, by_delay, is_own, own_activation, sums
from neurodeploy.errors import ModelError
from neurodeploy.linear import FloatArray
from neurodeploy.lowering import Placed, lower_each, self_synapses
from neurodeploy.network import Network, Population
from neurodeploy.program import IntArray, Lowering, Neurons, Program, Range, Synapses, compact
from neurodeploy.relays import relayed
from neurodeploy.targets.spinnaker2 import bounds, resolve, scale, sources, upstream
from neurodeploy.targets.spinnaker2.arithmetic import EXACT
from neurodeploy.targets.spinnaker2.machine import SpiNNaker2Machine
from neurodeploy.targets.spinnaker2.models import MODELS, SUBTRACT, TO_V_RESET
from neurodeploy.targets.spinnaker2.options import Options
from neurodeploy.targets.spinnaker2.rounding import quantisation
from neurodeploy.targets.spinnaker2.scale import Numbers
from neurodeploy.targets.spinnaker2.start import start
from neurodeploy.targets.spinnaker2.unit import Unit, in_relays, unit_of
from neurodeploy.timing import closed_too_soon, depths
from neurodeploy.trace import Trace

NAME = "spinnaker2"
_NO_OPTIONS: Mapping[str, Options] = MappingProxyType({})
WHY = "the synapses have no delays, or none as long"


def lower(
    network: Network,
    calibration: Trace,
    options: Options | None = None,
    own: Mapping[str, Options] = _NO_OPTIONS,
) -> Program:
    """Lower every population; everything that cannot be lowered is reported at once.

    Parameters
    ----------
    network: every connection one `Dense` or `Conv2d` (after `passes.MergeLinear`).
    calibration: reference trace; not needed, since no state can overflow.
    own: options of populations for which they differ, in percentile and weight bits only.

    Raises
    ------
    SemanticsError
        Semantics that this chip cannot execute exactly.
    ModelError
        Parameters that have no place on the chip.
    """
    chosen, depth = options or Options(), depths(network)

    def place(population: Population) -> Placed:
        how = own.get(population.name, chosen)
        return _place(network, unit_of(network, population, depth, how), how)

    program = lower_each(
        network,
        NAME,
        refused=lambda population: resolve.refused(network, population, chosen),
        place=place,
        problems=(*closed_too_soon(network, "SpiNNaker2"), *resolve.graded(network)),
    )

    def steps(synapses: Synapses) -> int:
        delay = int(synapses.delay.max())
        return delay if in_relays(synapses.kind == "conv2d", delay, chosen) else 0

    return relayed(sources.with_bias_neurons(program), steps, sources.relay, WHY)


def _place(network: Network, unit: Unit, options: Options) -> Placed:
    """Choose the scale and round everything onto the grid."""
    population, name = unit.population, unit.population.name
    filtered = resolve.filtered(population)
    if options.upstream:
        numbers = upstream.choose(network, unit, options)
    else:
        numbers = scale.choose(unit, options)
    arriving, clipped = _arriving(unit, numbers, options)
    bias = None  # in i_offset
    if filtered and not options.upstream and np.any(population.bias):
        bias = np.rint(population.bias * numbers.scale).astype(np.int64)
    registers = {
        "threshold": numbers.threshold,
        "alpha_decay": population.decay.astype(np.float32),
        "i_offset": (_offset(population, options) * numbers.scale).astype(np.float32),
    }
    v_init, moved = _start(unit, numbers, registers, options)
    registers["v_init"] = v_init
    to_zero = population.spiking and population.semantics.reset == "zero"
    parameters: dict[str, NDArray[Any]] = {
        **{register: compact(values) for register, values in registers.items()},
        "v_reset": np.zeros(1, np.float32),
        "reset": np.array([TO_V_RESET if to_zero else SUBTRACT]),
    }
    if filtered:
        decay = compact(population.current_decay.astype(np.float32))
        parameters |= {"exc_decay": decay, "inh_decay": decay, "t_refrac": np.zeros(1, np.int64)}
    neurons = Neurons(
        name=name,
        shape=population.shape,
        depth=unit.depth,
        parameters=parameters,
        unit=compact(numbers.scale),
        model=unit.model,
        readout=population.readout,
    )
    loops = sum(a.connection.source == name for a in unit.arrivals)
    own = ((weight, 0) for weight in scale.split(numbers.own.reshape(-1), unit.limit))
    resets = self_synapses(population, own, loops)
    biases = _bias_synapses(network, unit, bias)
    synapses = (
        *(half for s in arriving for half in _halves(s, unit)),
        *resets,
        *(half for s in biases for half in _halves(s, unit)),
    )
    notes = (
        *resolve.resolve(population, options, numbers.own),
        quantisation(unit, numbers, arriving, clipped, bias, moved),
        *_bias_note(population, bias),
        *_pairs_note(name, (bool(resets) and len(resets) + loops > 1) or len(biases) > 1),
        Lowering(name, "overflow", "exact", "no sum of weights can leave float32's integers"),
    )
    return Placed(neurons, synapses, notes, tuple(_ranges(neurons, synapses)))


def _arriving(unit: Unit, numbers: Numbers, options: Options) -> tuple[list[Synapses], int]:
    """The synapses of each connection, and how many weights were clipped."""
    shape, found, clipped = unit.population.shape, [], 0
    for arrival in unit.arrivals:
        rows = numbers.scale.reshape(len(arrival.weight), -1)[:, 0]
        scaled = arrival.weight * rows.reshape(-1, *(1,) * (arrival.weight.ndim - 1))
        if options.upstream:
            weight = upstream.integers(scaled, unit)
        else:
            weight, cut = scale.integers(scaled, unit.levels, unit.step)
            clipped += cut
        placed = Synapses.of(arrival.connection, arrival.op, weight, 0, shape)
        found.append(replace(placed, delay=np.array([arrival.delay])))
    return found, clipped


def _halves(synapses: Synapses, unit: Unit) -> tuple[Synapses, ...]:
    """By sign where neurons have two inputs: magnitudes for each."""
    ports = MODELS[unit.model].ports
    if len(ports) == 1:
        return (synapses,)
    return tuple(
        replace(
            synapses,
            name=f"{synapses.name} {port}",
            weight=np.maximum(sign * synapses.weight, 0),
            port=port,
        )
        for port, sign in zip(ports, (1, -1), strict=True)
    )


def _offset(population: Population, options: Options) -> FloatArray:
    """What is added to the potential in each step, in units of the model.

    Upstream adds the bias of a synaptic current there as well: what it leads to in the end.
    """
    leak = 0.0 if population.leak is None else population.leak
    if not resolve.filtered(population):
        return np.asarray(population.bias + leak)
    if options.upstream:
        return np.asarray(population.bias / (1 - population.current_decay) + leak)
    return np.zeros(population.shape) + leak


def _start(
    unit: Unit, numbers: Numbers, registers: Mapping[str, NDArray[np.float32]], options: Options
) -> tuple[NDArray[np.float32], FloatArray]:
    """(v_init, by how much that moves potentials); upstream leaves it at 0."""
    population = unit.population
    if options.upstream:
        return np.zeros(population.shape, np.float32), np.zeros(population.shape)
    return start(
        population.semantics.initial_state * numbers.scale - numbers.below,
        registers["alpha_decay"],
        registers["i_offset"],
        numbers.threshold,
        unit.depth,
        population.name,
    )


def _pairs_note(node: str, several: bool) -> Iterator[Lowering]:
    if several:
        text = (
            "several synapses join the same two neurons: the chip's code adds each of them, but no "
            "recording has any"
        )
        yield Lowering(node, "synapses", "exact", text)


def _ranges(neurons: Neurons, synapses: tuple[Synapses, ...]) -> Iterator[Range]:
    """What the spikes of one tick can add up to, for each input of the neurons.

    Raises
    ------
    ModelError
        More than float32 holds exactly.
    """
    ports: dict[str, Interval] = {}
    for one in (one for s in synapses if not is_own(s, neurons) for one in by_delay(s)):
        arriving = sums(one)
        ports[one.port] = ports[one.port] + arriving if one.port in ports else arriving
    own = own_activation(neurons, synapses, SpiNNaker2Machine())
    for port, item in bounds.sums(neurons, ports, own).items():
        low, high = float(item.low.min()), float(item.high.max())
        if not item.fits:
            raise ModelError(
                f"weights that arrive in one tick may sum up to {max(-low, high):.0f}, "
                f"float32 holds integers up to {EXACT}",
                node=neurons.name,
                hint="Reduce the fan-in.",
            )
        yield Range(neurons.name, port, low, high, *item.limits, proven=True)


def _bias_synapses(network: Network, unit: Unit, bias: IntArray | None) -> list[Synapses]:
    if bias is None:
        return []
    name, shape = unit.population.name, unit.population.shape
    return sources.bias_synapses(name, shape, network.shapes, bias.reshape(-1), unit.limit)


def _bias_note(population: Population, bias: IntArray | None) -> Iterator[Lowering]:
    if bias is not None:
        text = "comes from a neuron that fires in every step, through the synaptic current"
        yield Lowering(population.name, "bias", "exact", text)
    elif resolve.filtered(population) and np.any(population.bias):
        text = "added past the synaptic current, as what it leads to in the end: its onset is lost"
        yield Lowering(population.name, "bias", "approximate", text)
