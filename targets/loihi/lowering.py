r"""From a `Network` to Loihi 2's number grid.

Three ways to put a leaky integrate-and-fire neuron on Loihi 2's CUBA LIF (a current register u, a
voltage register v that resets to zero):

*voltage*
    v is the membrane, u the synaptic current, or the input (`du` = 4095).  For reset to zero.
*current*
    u is the membrane, v passes u through (`dv` = 4096: on silicon 4095 with the decay offset bit).
    v's reset then has no effect, and a self-synapse of weight −vth supplies snnTorch's
    delayed subtraction exactly: u' = βu + x − θS.  What is subtracted at once is βθ by then, so
    that is the weight for textbook subtraction.  Without the self-synapse nothing resets.  A
    constant input b acts as c = b/(1−β): u starts at −c and the bias register adds c where the
    threshold is tested.  (A synaptic current takes its constant input in the same way;
    what is constant past it is in the bias register alone.)
*integrator*
    As voltage, for neurons without a threshold: the threshold register is as high as it can be, and
    the ranges say whether any input can lead there.

Thresholds move into the weights first (a neuron divided by its threshold spikes the same), so one
number V, the threshold on the grid, is the scale of a population: see `scale`.  When spikes arrive,
and what delays them where branches of different length meet, is in `neurodeploy.timing` and
`relays`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.grid import grid_step, row_steps
from neurodeploy.linear import FloatArray
from neurodeploy.lowering import Placed, lower_each, self_synapses
from neurodeploy.network import InputPort, Network, Population
from neurodeploy.program import (
    IntArray,
    Lowering,
    Neurons,
    Program,
    Synapses,
    compact,
)
from neurodeploy.relays import relayed
from neurodeploy.targets.loihi import relays
from neurodeploy.targets.loihi.analog import Bias, Feeds
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, bias_current
from neurodeploy.targets.loihi.ranges import certify
from neurodeploy.targets.loihi.reach import STATE_UNIT, VTH_LIMIT
from neurodeploy.targets.loihi.resolve import overflow_note, refused, resolve
from neurodeploy.targets.loihi.scale import (
    BIAS_EXPONENT_LIMIT,
    BIAS_MANTISSA_LIMIT,
    choose_scale,
    quantise,
    quantised_sum,
)
from neurodeploy.targets.loihi.sums import summed
from neurodeploy.targets.loihi.unit import WEIGHT_BITS, Arrival, Unit, misfits, unit_of
from neurodeploy.timing import closed_too_soon, depths, waiting
from neurodeploy.trace import Trace

_NO_BITS: Mapping[str, int] = MappingProxyType({})
_NO_PERCENTILES: Mapping[str, float] = MappingProxyType({})


def lower(
    network: Network,
    calibration: Trace,
    target: str,
    weight_bits: Mapping[str, int] = _NO_BITS,
    percentiles: Mapping[str, float] = _NO_PERCENTILES,
) -> Program:
    """Lower every population; everything that cannot be lowered is reported at once.

    Parameters
    ----------
    network: every connection one `Dense` or `Conv2d` (after `passes.MergeLinear`).
    calibration: reference trace with states `v` and `x` of every population; inputs among its
        values are analog (see `analog`).
    weight_bits: of populations into which weights have fewer than 8 bits.
    percentiles: of populations into which the largest weights are clipped; see `Unit.percentile`.

    Raises
    ------
    SemanticsError
        Semantics that this chip cannot execute exactly or in a stated approximation.
    ModelError
        Parameters that have no place on the grid.
    """
    feeds = Feeds.of(network, calibration)
    depth = depths(network, feeds.steps)

    def place(population: Population) -> Placed:
        unit = unit_of(network, population, depth, feeds)
        unit = replace(
            unit,
            weight_bits=weight_bits.get(population.name, WEIGHT_BITS),
            percentile=percentiles.get(population.name, 100.0),
        )
        return _place(unit, calibration.states[population.name], depth)

    program = lower_each(
        network,
        target,
        refused=lambda population: (*refused(population), *misfits(network, population)),
        place=place,
        problems=closed_too_soon(network, "Loihi"),
    )
    program = summed(_fed(program, network, feeds))
    return relayed(program, relays.steps, relays.relay, relays.WHY)


def _fed(program: Program, network: Network, feeds: Feeds) -> Program:
    """`program` with the grids of its analog inputs."""
    grids = {name: (grid, "graded messages") for name, grid in feeds.grids.items()}
    for bias in feeds.biases.values():
        population = next(p for p in network.populations if p.name == bias.connection.target)
        neurons = program.population(population.name)
        threshold = population.threshold.flat[0] if population.spiking else 1.0
        exponent = int(neurons.register("bias_exp").item())
        grid = bias.grid(float(neurons.unit.flat[0] * threshold), exponent)
        grids[bias.connection.source] = grid, "the neurons' bias of each step"

    def fed(port: InputPort) -> InputPort:
        if port.name not in grids:
            return port
        return replace(port, graded=True, grid=grids[port.name][0])

    notes = (feeds.inputs[name].note(name, *grids[name]) for name in feeds.inputs)
    return replace(
        program,
        inputs=tuple(map(fed, program.inputs)),
        lowerings=(*notes, *program.lowerings),
    )


def _place(unit: Unit, states: Mapping[str, FloatArray], depth: Mapping[str, int]) -> Placed:
    """Choose the scale and round everything onto the grid."""
    population = unit.population
    scale = choose_scale(unit, states)
    arriving = [_synapses(arrival, unit, scale) for arrival in unit.arrivals]
    resets = _resets(unit, scale)
    mantissa, bias_exponent = _mantissa(unit, scale)
    direct = [_bias_input(bias, population, depth) for bias in unit.biases]
    synapses = (*arriving, *resets, *direct)
    effective = np.asarray(bias_current(mantissa, bias_exponent))
    past = np.rint(unit.leak * scale * STATE_UNIT).astype(np.int64)
    parameters = {
        "du": unit.memory - 1,
        "dv": np.int64(DECAY_ONE) if unit.mode == "current" else unit.iota,
        "vth": np.int64(scale if population.spiking else VTH_LIMIT),
        "bias_mant": mantissa,
        "bias_exp": np.int64(bias_exponent),
        "u0": np.where(unit.start != 0, past - effective, 0),
        "v0": np.int64(0),
    }
    neurons = Neurons(
        name=population.name,
        shape=population.shape,
        depth=depth[population.name],
        parameters={key: compact(np.asarray(value, np.int64)) for key, value in parameters.items()},
        unit=compact(scale * STATE_UNIT / unit.threshold),
        readout=population.readout,
    )
    sent = {a.connection.source: a.messages for a in unit.arrivals if a.messages is not None}
    for bias in unit.biases:
        grid = bias.grid(scale * STATE_UNIT, bias_exponent)
        sent[bias.connection.source] = grid.low, grid.high
    ranges = certify(
        neurons, synapses, states, unit.mode, spiking=population.spiking, messages=sent
    )
    notes = (
        *resolve(population),
        *_readout_note(population),
        _rounding_note(
            unit, arriving, resets, scale, effective / (scale * STATE_UNIT) - unit.offset
        ),
        overflow_note(population.name, ranges),
    )
    return Placed(neurons, synapses, notes, ranges)


def _synapses(arrival: Arrival, unit: Unit, scale: float) -> Synapses:
    largest = arrival.largest(unit.percentile) * scale
    weight, exponent = quantise(arrival.weight * scale, arrival.least, unit.weight_bits, largest)
    placed = Synapses.of(arrival.connection, arrival.op, weight, exponent, unit.population.shape)
    placed = replace(placed, delay=arrival.delay, graded=arrival.messages is not None)
    return placed if arrival.single is None else replace(placed, kind="one-to-one", groups=1)


def _bias_input(bias: Bias, population: Population, depth: Mapping[str, int]) -> Synapses:
    """The connection from an input that is the neurons' bias: one of Lava's direct ones, or, where
    the neurons run behind the input, synapses of weight 1 that make it wait."""
    connection, shape = bias.connection, population.shape
    (op,) = connection.ops
    return Synapses(
        name=connection.name,
        source=connection.source,
        target=connection.target,
        kind="one-to-one",
        weight=np.ones(population.size, np.int64),
        exponent=0,
        in_shape=op.in_shape,
        out_shape=shape,
        delay=np.array([max(0, waiting(connection, depth))]),
        graded=True,
        port="bias",
    )


def _resets(unit: Unit, scale: float) -> list[Synapses]:
    """The self-synapses that subtract: one, or two where one weight cannot hold the amount."""
    if unit.amount is None:
        return []
    loops = sum(a.connection.target == a.connection.source for a in unit.arrivals)
    amounts = quantised_sum(unit.amount.reshape(-1) * scale)
    weights = ((-weight, exponent) for weight, exponent in amounts)
    return self_synapses(unit.population, weights, loops)


def _mantissa(unit: Unit, scale: float) -> tuple[IntArray, int]:
    """(mantissa, exponent) with one exponent for the population, the smallest that fits.

    What analog inputs add to the mantissa fits as well.
    """
    bias = unit.offset * scale * STATE_UNIT
    largest = unit.offset_reach * scale * STATE_UNIT
    for exponent in range(BIAS_EXPONENT_LIMIT + 1):
        if round(largest / 2**exponent) <= BIAS_MANTISSA_LIMIT:
            return np.rint(bias / 2**exponent).astype(np.int64), exponent
    raise ModelError(
        f"a bias of {largest:g} state units does not fit 13 bits with exponent "
        f"{BIAS_EXPONENT_LIMIT}",
        node=unit.population.name,
        hint="Reduce the bias, or beta where the neuron resets by subtraction.",
    )


def _readout_note(population: Population) -> Iterator[Lowering]:
    if population.readout == "membrane":
        text = "the potential is computed from u and v as they are read after each step"
        yield Lowering(population.name, "readout", "exact", text)


def _rounding_note(
    unit: Unit,
    arriving: list[Synapses],
    resets: list[Synapses],
    scale: float,
    bias_error: FloatArray,
) -> Lowering:
    """The largest rounding errors, as numbers; of an analog input's weights, at its largest."""
    population = unit.population
    weight = max(
        (
            _off(a.weight * scale, [s]) * a.reach
            for a, s in zip(unit.arrivals, arriving, strict=True)
        ),
        default=0.0,
    )
    floors = sum(s.exponent < 0 for s in arriving)
    reset = 0.0 if unit.amount is None else _off(-unit.amount.reshape(-1) * scale, resets)
    decay = max(
        float(np.abs(population.decay - (1 - unit.iota / DECAY_ONE)).max()),
        float(np.abs(population.current_decay - (1 - unit.current_iota / DECAY_ONE)).max()),
    )
    bias = float(np.abs(bias_error).max())
    said, of = f"threshold {scale:.0f} exact", "thresholds"
    if not population.spiking:
        said, of = f"scale {scale:g}", "units of the model"
    said += f"; weights off by at most {weight / scale:.2g} {of}, the bias by {bias:.2g}"
    clipped = sum(_clipped(a, unit, s, scale) for a, s in zip(unit.arrivals, arriving, strict=True))
    said += f", {clipped} clipped" if clipped else ""
    said += _OWN_GRIDS if weight and _own_grids(unit) else ""
    said += f", the reset by {reset / scale:.2g}" if reset else ""
    said += f", sums in each step by {floors / scale:.2g}" if floors else ""
    return Lowering(
        population.name,
        "quantisation",
        "exact" if weight == reset == decay == bias == floors == 0 else "approximate",
        f"{said}, decays by {decay:.2g}",
    )


_OWN_GRIDS = (
    ", though each neuron's lie on a grid of its own, as after a batch norm: all neurons share one "
    "threshold here, so they were rounded anew"
)


def _own_grids(unit: Unit) -> bool:
    """Whether each row of the weights, but not all together, has few levels."""
    weights = [arrival.weight for arrival in unit.arrivals]
    levels = (1 << (WEIGHT_BITS - 1)) - 1
    if not weights or row_steps(weights, levels) is None:
        return False
    return any(grid_step(weight, levels) is None for weight in weights)


def _clipped(arrival: Arrival, unit: Unit, synapses: Synapses, scale: float) -> int:
    """How many weights of an arrival are beyond the range of its synapses by more than rounding."""
    most = (unit.weight_limit + (1 << (8 - unit.weight_bits))) * 2.0**synapses.exponent
    return int(np.count_nonzero(np.abs(arrival.weight * scale) > most))


def _off(values: FloatArray, synapses: Iterable[Synapses]) -> float:
    """How far the weights of `synapses`, summed, are from `values`, at most."""
    total = np.zeros(values.shape)
    for s in synapses:
        total += s.weight * 2.0**s.exponent
    return float(np.abs(values - total).max(initial=0.0))
