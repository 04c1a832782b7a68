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

import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.linear import Dense, FloatArray
from neurodeploy.lowering import Placed, lower_each
from neurodeploy.network import Network, Population
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
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, bias_current
from neurodeploy.targets.loihi.ranges import STATE_UNIT, VTH_LIMIT, certify
from neurodeploy.targets.loihi.resolve import overflow_note, refused, resolve
from neurodeploy.targets.loihi.scale import (
    BIAS_EXPONENT_LIMIT,
    BIAS_MANTISSA_LIMIT,
    choose_scale,
    quantise,
    quantised_sum,
)
from neurodeploy.targets.loihi.unit import Arrival, Unit, misfits, unit_of
from neurodeploy.timing import closed_too_soon, depths
from neurodeploy.trace import Trace


def lower(network: Network, calibration: Trace, target: str) -> Program:
    """Lower every population; everything that cannot be lowered is reported at once.

    Parameters
    ----------
    network: every connection one `Dense` or `Conv2d` (after `passes.MergeLinear`).
    calibration: reference trace with states `v` and `x` of every population.

    Raises
    ------
    SemanticsError
        Semantics that this chip cannot execute exactly or in a stated approximation.
    ModelError
        Parameters that have no place on the grid.
    """
    depth = depths(network)
    program = lower_each(
        network,
        target,
        refused=lambda population: (*refused(population), *misfits(network, population)),
        place=lambda population: _place(
            unit_of(network, population, depth), calibration.states[population.name], depth
        ),
        problems=closed_too_soon(network, "Loihi 2"),
    )
    return relayed(program, relays.steps, relays.relay, relays.WHY)


def _place(unit: Unit, states: Mapping[str, FloatArray], depth: Mapping[str, int]) -> Placed:
    """Choose the scale and round everything onto the grid."""
    population = unit.population
    scale = choose_scale(unit, states)
    synapses = (
        *(_synapses(arrival, population, scale) for arrival in unit.arrivals),
        *_resets(unit, scale),
    )
    mantissa, bias_exponent = _mantissa(unit.offset * scale * STATE_UNIT, population.name)
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
    ranges = certify(neurons, synapses, states, unit.mode, spiking=population.spiking)
    notes = (
        *resolve(population),
        *_readout_note(population),
        _rounding_note(unit, synapses, scale, effective / (scale * STATE_UNIT) - unit.offset),
        overflow_note(population.name, ranges),
    )
    return Placed(neurons, synapses, notes, tuple(ranges))


def _synapses(arrival: Arrival, population: Population, scale: float) -> Synapses:
    connection, op = arrival.connection, arrival.op
    weight, exponent = quantise(arrival.weight * scale)
    placed = Synapses.of(connection, op, weight, exponent, population.shape)
    own = connection.source == connection.target and not arrival.delay.any()
    if own and isinstance(op, Dense) and not np.any(weight[~np.eye(len(weight), dtype=bool)]):
        return replace(placed, kind="one-to-one", weight=np.diag(weight).copy())
    return replace(placed, delay=arrival.delay)


def _resets(unit: Unit, scale: float) -> list[Synapses]:
    """The self-synapses that subtract: one, or two where one weight cannot hold the amount."""
    if unit.amount is None:
        return []
    population = unit.population
    name = f"{population.name}->{population.name}"
    loops = sum(a.connection.target == a.connection.source for a in unit.arrivals)
    return [
        Synapses(
            name=name if path == 1 else f"{name}#{path}",
            source=population.name,
            target=population.name,
            kind="one-to-one",
            weight=-weight,
            exponent=exponent,
            in_shape=population.shape,
            out_shape=population.shape,
        )
        for path, (weight, exponent) in enumerate(
            quantised_sum(unit.amount.reshape(-1) * scale), 1 + loops
        )
    ]


def _mantissa(bias: FloatArray, node: str) -> tuple[IntArray, int]:
    """(mantissa, exponent) with one exponent for the population, the smallest that fits."""
    largest = float(np.abs(bias).max(initial=0.0))
    for exponent in range(BIAS_EXPONENT_LIMIT + 1):
        if round(largest / 2**exponent) <= BIAS_MANTISSA_LIMIT:
            return np.rint(bias / 2**exponent).astype(np.int64), exponent
    raise ModelError(
        f"a bias of {largest:g} state units does not fit 13 bits with exponent "
        f"{BIAS_EXPONENT_LIMIT}",
        node=node,
        hint="Reduce the bias, or beta where the neuron resets by subtraction.",
    )


def _readout_note(population: Population) -> Iterator[Lowering]:
    if population.readout == "membrane":
        text = "the potential is computed from u and v as they are read after each step"
        yield Lowering(population.name, "readout", "exact", text)


def _rounding_note(
    unit: Unit, synapses: tuple[Synapses, ...], scale: float, bias_error: FloatArray
) -> Lowering:
    """The largest rounding errors, as numbers."""
    population = unit.population
    arriving, resets = synapses[: len(unit.arrivals)], synapses[len(unit.arrivals) :]
    weight = max(
        (_off(a.weight * scale, [s]) for a, s in zip(unit.arrivals, arriving, strict=True)),
        default=0.0,
    )
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
    said += f", the reset by {reset / scale:.2g}" if reset else ""
    return Lowering(
        population.name,
        "quantisation",
        "exact" if weight == reset == decay == bias == 0 else "approximate",
        f"{said}, decays by {decay:.2g}",
    )


def _off(values: FloatArray, synapses: Iterable[Synapses]) -> float:
    """How far the weights of `synapses`, summed, are from `values`, at most."""
    total = np.zeros(values.shape)
    for s in synapses:
        kept = np.diag(s.weight) if s.weight.ndim < values.ndim else s.weight
        total += kept * 2.0**s.exponent
    return float(np.abs(values - total).max(initial=0.0))
