r"""From a `Network` to Loihi 2's number grid.

Two ways to put a leaky integrate-and-fire neuron on Loihi 2's CUBA LIF (a current register u, a
voltage register v that resets to zero):

*voltage*
    v is the membrane, u the synaptic current, or the input (`du` = 4095).  For reset to zero.
*current*
    u is the membrane, v passes u through (`dv` = 4096: on silicon 4095 with the decay offset bit).
    v's reset then has no effect, and a self-synapse of weight −vth supplies snnTorch's
    delayed subtraction exactly: u' = βu + x − θS.  Without the self-synapse nothing resets.  A
    constant input b acts as c = b/(1−β): u starts at −c and the bias register adds c where the
    threshold is tested.  (A synaptic current takes its constant input in the same way;
    what is constant past it is in the bias register alone.)

Thresholds move into the weights first (a neuron divided by its threshold spikes the same), so one
number V, the threshold on the grid, is the scale of a population: w = 2 round(W V / 2^(e+1)) with
|w| ≤ 254 and exponent e.  V is chosen so that the threshold has no rounding error, the weights use
their eight bits, and no register overflows: proven from the weights where possible, else with a
factor two over the calibration data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import ModelError, NeurodeployError, SemanticsError, combined
from neurodeploy.frontends.nir import plain
from neurodeploy.linear import Conv2d, Dense, FloatArray, fan_in_bounds
from neurodeploy.network import Connection, Network, Population
from neurodeploy.program import (
    IntArray,
    Lowering,
    Neurons,
    Program,
    Range,
    Synapses,
    compact,
)
from neurodeploy.targets.loihi.arithmetic import (
    DECAY_ONE,
    STATE_LIMIT,
    STATE_SHIFT,
    bias_current,
)
from neurodeploy.targets.loihi.ranges import Mode, certify, worst_case
from neurodeploy.targets.loihi.resolve import overflow_note, resolve
from neurodeploy.trace import Trace

WEIGHT_LIMIT = 254
VTH_LIMIT = (1 << 17) - 1
WEIGHT_EXPONENT_LIMIT = 6
BIAS_MANTISSA_LIMIT = (1 << 12) - 1
BIAS_EXPONENT_LIMIT = 7
CALIBRATION_MARGIN = 2.0
HEADROOM = 0.98
STATE_UNIT = 1 << STATE_SHIFT


@dataclass(frozen=True, eq=False)
class _Unit:
    """A population divided by its thresholds: every threshold is 1."""

    population: Population
    mode: Mode
    self_reset: bool
    connections: tuple[tuple[Connection, Dense | Conv2d], ...]
    bias: FloatArray
    leak: FloatArray
    iota: IntArray
    """12-bit decay of the membrane, 4096 (1 - beta), rounded."""
    current_iota: IntArray
    """12-bit decay of the synaptic current, 4096 (1 - alpha), rounded; 4096 without a filter."""

    @property
    def memory(self) -> IntArray:
        """Decay of the register u: of the membrane or of the synaptic current."""
        return self.iota if self.mode == "current" else self.current_iota

    @property
    def start(self) -> FloatArray:
        """u at the start: -b/(1-d), with the decay d that u has; 0 where it has none."""
        return np.where(self.memory < DECAY_ONE, -self._filtered, 0.0)

    @property
    def offset(self) -> FloatArray:
        """What the bias register adds: b/(1-d), and what is constant past the current."""
        return self._filtered + self.leak

    @property
    def _filtered(self) -> FloatArray:
        return np.asarray(self.bias * DECAY_ONE / self.memory)


def lower(network: Network, calibration: Trace, target: str) -> Program:
    """Lower every population; all incompatibilities of all populations are reported at once.

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
    problems: list[NeurodeployError] = []
    populations: list[Neurons] = []
    synapses: list[Synapses] = []
    lowerings: list[Lowering] = []
    ranges: list[Range] = []
    depths = network.depths
    for population in network.populations:
        try:
            _check_spiking(population)
            lowerings += resolve(population)
            _check_depths(network, population.name, depths)
            unit, states = _unit(network, population), calibration.states[population.name]
            placed, arriving, notes = _place(unit, states, depths[population.name])
            populations.append(placed)
            synapses += arriving
            lowerings += notes
            certified = certify(placed, arriving, states, unit.mode)
            ranges += certified
            lowerings.append(overflow_note(population.name, certified))
        except NeurodeployError as error:
            problems.append(error)
    if problems:
        raise combined(problems, "populations")
    return Program(
        target=target,
        inputs=network.inputs,
        populations=tuple(populations),
        synapses=tuple(synapses),
        outputs=network.outputs,
        graph=plain(network.graph),
        lowerings=tuple(lowerings),
        ranges=tuple(ranges),
    )


def _check_spiking(population: Population) -> None:
    if population.readout == "membrane":
        raise SemanticsError(
            "its membrane potential is read, which a program for Loihi 2 does not deliver yet",
            node=population.name,
            hint="Let the network return the spikes of neurons with a threshold.",
        )


def _check_depths(network: Network, name: str, depths: Mapping[str, int]) -> None:
    for connection in network.incoming(name):
        if connection.delay:
            raise SemanticsError(
                f"synapses with a delay ({connection.delay} here), as loops need, are not "
                "supported on Loihi 2 yet",
                node=connection.name,
            )
        missing = depths[name] - depths[connection.source] - 1
        if missing:
            raise SemanticsError(
                f"spikes arrive {missing} steps early: another path to {name} is longer",
                node=connection.name,
                hint="Branches that join must have the same number of layers.",
            )


def _unit(network: Network, population: Population) -> _Unit:
    """Divide weights and bias by the thresholds."""
    semantics = population.semantics
    mode: Mode = "voltage" if semantics.reset == "zero" else "current"
    if mode == "current" and np.any(population.current_decay):
        raise SemanticsError(
            "a synaptic current and a membrane without reset to zero both need the register u",
            node=population.name,
            hint='Use reset_mechanism="zero" with reset_delay=False, or a neuron without a '
            "synaptic current.",
        )
    connections = []
    for connection in network.incoming(population.name):
        (op,) = connection.ops
        if not isinstance(op, (Dense, Conv2d)):
            raise ModelError("is neither dense nor a convolution", node=connection.name)
        connections.append((connection, _divide(op, population.threshold, connection.name)))
    return _Unit(
        population=population,
        mode=mode,
        self_reset=semantics.reset == "subtract",
        connections=tuple(connections),
        bias=population.bias / population.threshold,
        leak=(0.0 if population.leak is None else population.leak) / population.threshold,
        iota=_decay_bits(population.decay),
        current_iota=_decay_bits(population.current_decay),
    )


def _decay_bits(decay: FloatArray) -> IntArray:
    """4096 (1 - decay), rounded to the nearest integer, halves to even."""
    return np.rint((1.0 - decay) * DECAY_ONE).astype(np.int64)


def _divide(op: Dense | Conv2d, threshold: FloatArray, node: str) -> Dense | Conv2d:
    if isinstance(op, Dense):
        return replace(op, weight=op.weight / threshold.reshape(-1, 1))
    channels = threshold[:, :1, :1]
    if np.any(threshold != channels):
        raise ModelError(
            "thresholds differ within a channel of a convolution, whose weights are shared",
            node=node,
            hint="Use one threshold per channel.",
        )
    return replace(op, weight=op.weight / channels[..., None])


def _place(
    unit: _Unit, states: Mapping[str, FloatArray], depth: int
) -> tuple[Neurons, list[Synapses], list[Lowering]]:
    """Choose the scale and round everything onto the grid."""
    population = unit.population
    if np.any(unit.memory < 1):
        membrane = unit.mode == "current"
        what = "a neuron without leak (beta = 1)" if membrane else "a synaptic current that stays"
        raise ModelError(
            f"{what} cannot be kept in the current register, whose decay is at least 1/4096",
            node=population.name,
            hint='Use reset_mechanism="zero" without a synaptic current, or a decay of at most '
            "4095/4096.",
        )
    vth, exponent = _choose_scale(unit, states)
    arriving = [
        _synapses(connection, op, population, vth, exponent) for connection, op in unit.connections
    ]
    own = [_self_reset(population, vth)] if unit.self_reset else []
    mantissa, bias_exponent = _mantissa(unit.offset * vth * STATE_UNIT, population.name)
    effective = np.asarray(bias_current(mantissa, bias_exponent))
    past = np.rint(unit.leak * vth * STATE_UNIT).astype(np.int64)
    parameters = {
        "du": unit.memory - 1,
        "dv": np.int64(DECAY_ONE) if unit.mode == "current" else unit.iota,
        "vth": np.int64(vth),
        "bias_mant": mantissa,
        "bias_exp": np.int64(bias_exponent),
        "u0": np.where(unit.start != 0, past - effective, 0),
        "v0": np.int64(0),
    }
    neurons = Neurons(
        name=population.name,
        shape=population.shape,
        depth=depth,
        parameters={key: compact(np.asarray(value, np.int64)) for key, value in parameters.items()},
        unit=compact(vth * STATE_UNIT / population.threshold),
    )
    note = _rounding_note(unit, arriving, vth, effective / (vth * STATE_UNIT) - unit.offset)
    return neurons, [*arriving, *own], [note]


def _choose_scale(unit: _Unit, states: Mapping[str, FloatArray]) -> tuple[int, int]:
    """(V, weight exponent): proven safe for every input, unless that would cost a bit of weight."""
    weights = [np.asarray(op.weight, np.float64) for _, op in unit.connections]
    largest = max((float(np.abs(weight).max()) for weight in weights), default=0.0)
    fan_in = fan_in_bounds(weights, unit.population.size)
    bounds = worst_case(
        unit.mode, unit.self_reset, unit.memory, unit.iota, unit.offset, unit.start, fan_in
    )
    bias_limit = _bias_limit(unit.offset)
    proven = min(_limit(bounds.reach), bias_limit)
    vth, exponent = _scale(proven, largest, unit.self_reset)
    if vth is None or largest * vth < WEIGHT_LIMIT / 2:
        observed = min(_limit(_observed_reach(unit, states)), bias_limit)
        vth, exponent = _scale(max(proven, observed), largest, unit.self_reset)
    if vth is None:
        raise ModelError(
            "the threshold is below one step of the weight grid: weights are up to "
            f"{largest:g} times their threshold and states would overflow",
            node=unit.population.name,
            hint="Scale the weights down or the threshold up.",
        )
    return vth, exponent


def _observed_reach(unit: _Unit, states: Mapping[str, FloatArray]) -> float:
    """Largest current or potential on the calibration data, in thresholds, with a margin."""
    theta = unit.population.threshold
    seen = max(float(np.abs(states[name] / theta).max(initial=1.0)) for name in ("v", "x"))
    return CALIBRATION_MARGIN * seen + float(np.abs(unit.offset).max(initial=0.0))


def _bias_limit(offset: FloatArray) -> float:
    """Largest threshold V for which the bias register holds the offset (in thresholds)."""
    largest = float(np.abs(offset).max(initial=0.0))
    register = (BIAS_MANTISSA_LIMIT << BIAS_EXPONENT_LIMIT) / STATE_UNIT
    return register / largest if largest else math.inf


def _limit(reach: float) -> float:
    """Largest threshold V for which no register leaves 24 bits, with room for rounding."""
    return HEADROOM * (STATE_LIMIT - 1) / STATE_UNIT / max(reach, 1.0)


def _scale(limit: float, largest: float, self_reset: bool) -> tuple[int | None, int]:
    """The threshold V and weight exponent e that fit under `limit`; V is None if nothing fits."""
    limit = min(limit, WEIGHT_LIMIT << WEIGHT_EXPONENT_LIMIT if self_reset else VTH_LIMIT)
    if largest == 0.0:
        exponent, vth = 0, min(limit, float(WEIGHT_LIMIT))
    else:
        room = limit * largest / WEIGHT_LIMIT
        exponent = min(WEIGHT_EXPONENT_LIMIT, math.floor(math.log2(room)) if room >= 1 else 0)
        vth = min(limit, WEIGHT_LIMIT * 2.0**exponent / largest)
    if vth < 2:
        return None, exponent
    if not self_reset:
        return math.floor(vth), exponent
    weight, shift = _self_weight(vth)
    return weight << shift, exponent


def _self_weight(vth: float) -> tuple[int, int]:
    """(w, k) with w even, w <= 254 and the largest w 2^k <= vth: the threshold as one synapse."""
    shift = max(0, math.floor(math.log2(vth / WEIGHT_LIMIT)))
    candidates = [(min(WEIGHT_LIMIT, int(vth // 2**k) // 2 * 2), k) for k in (shift, shift + 1)]
    return max(candidates, key=lambda pair: pair[0] << pair[1])


def _synapses(
    connection: Connection, op: Dense | Conv2d, population: Population, vth: int, exponent: int
) -> Synapses:
    step = 2.0 ** (exponent + 1)
    weight = 2 * np.rint(op.weight * vth / step).astype(np.int64)
    weight = np.clip(weight, -WEIGHT_LIMIT, WEIGHT_LIMIT)
    return Synapses.of(connection, op, weight, exponent, population.shape)


def _self_reset(population: Population, vth: int) -> Synapses:
    weight, shift = _self_weight(vth)
    return Synapses(
        name=f"{population.name}->{population.name}",
        source=population.name,
        target=population.name,
        kind="one-to-one",
        weight=np.full(population.size, -weight, np.int64),
        exponent=shift,
        in_shape=population.shape,
        out_shape=population.shape,
    )


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


def _rounding_note(
    unit: _Unit, synapses: list[Synapses], vth: int, bias_error: FloatArray
) -> Lowering:
    """The largest rounding errors, as numbers."""
    weight = max(
        (
            float(np.abs(op.weight * vth - s.weight * 2.0**s.exponent).max()) / vth
            for (_, op), s in zip(unit.connections, synapses, strict=True)
        ),
        default=0.0,
    )
    population = unit.population
    decay = max(
        float(np.abs(population.decay - (1 - unit.iota / DECAY_ONE)).max()),
        float(np.abs(population.current_decay - (1 - unit.current_iota / DECAY_ONE)).max()),
    )
    bias = float(np.abs(bias_error).max())
    return Lowering(
        unit.population.name,
        "quantisation",
        "exact" if weight == decay == bias == 0 else "approximate",
        f"threshold {vth} exact; weights off by at most {weight:.2g} thresholds, the bias by "
        f"{bias:.2g}, decays by {decay:.2g}",
    )
