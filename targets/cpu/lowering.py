r"""From a `Network` to the fixed-point machine's number grid.

A population has one scale s, state units per model unit: V = round(θ s), b' = round(b s), and
w = round(W s / 2^e) with an exponent e per connection, so that its largest weight uses the weights'
bits.  s is chosen in this order:

1. A power of two, where that puts all weights, thresholds and biases of the population on the grid
   without any rounding.
2. Else the scale at which the largest weight is the largest integer times a power of two, lowered
   so that V = θ s is a whole number for the largest threshold.

In both s is as large as the threshold's register and the states allow: for every input, from the
sums of weights; where that would cost the weights more than one bit, for twice the range seen on
the calibration data.  No weight is ever clipped: the scale makes room for the largest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from neurodeploy import bounds
from neurodeploy.errors import ModelError, SemanticsError
from neurodeploy.linear import Conv2d, Dense, FloatArray, fan_in_bounds
from neurodeploy.lowering import Placed, lower_each
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
from neurodeploy.targets.cpu import arithmetic
from neurodeploy.targets.cpu import bounds as proofs
from neurodeploy.targets.cpu.arithmetic import INT32_MAX
from neurodeploy.targets.cpu.format import FixedPoint
from neurodeploy.targets.cpu.machine import FixedPointMachine
from neurodeploy.targets.cpu.reach import Neuron, reach
from neurodeploy.trace import Trace

_NO_BITS: Mapping[str, int] = MappingProxyType({})
CALIBRATION_MARGIN = 2.0
HEADROOM = 0.98
RESETS = {
    ("zero", "immediate"): arithmetic.ZERO,
    ("zero", "delayed"): arithmetic.ZERO_DELAYED,
    ("zero", "after-input"): arithmetic.ZERO_AFTER_INPUT,
    ("subtract", "immediate"): arithmetic.SUBTRACT,
    ("subtract", "delayed"): arithmetic.SUBTRACT_DELAYED,
    ("subtract", "held"): arithmetic.SUBTRACT_HELD,
    **{("none", t): arithmetic.NO_RESET for t in ("immediate", "delayed", "after-input", "held")},
}
"""`reset` register by a model's reset and its timing."""


def lower(
    network: Network,
    calibration: Trace,
    target: FixedPoint,
    weight_bits: Mapping[str, int] = _NO_BITS,
) -> Program:
    """Lower every population; everything that cannot be lowered is reported at once.

    Parameters
    ----------
    network: every connection one `Dense` or `Conv2d` (after `passes.MergeLinear`).
    calibration: reference trace with states `v` and `x` of every population.
    weight_bits: of populations whose weights have fewer bits than the format's.

    Raises
    ------
    SemanticsError
        Semantics that the machine does not have.
    ModelError
        Parameters that have no place on the grid.
    """

    def place(population: Population) -> Placed:
        bits = weight_bits.get(population.name, target.weight_bits)
        unit = _Unit(network, population, replace(target, weight_bits=bits))
        return unit.place(calibration.states[population.name])

    return lower_each(
        network,
        target.name,
        refused=lambda population: _refused(network, population),
        place=place,
    )


def _refused(network: Network, population: Population) -> Iterator[SemanticsError]:
    """What the machine does not have."""
    semantics, name = population.semantics, population.name
    order = {node: index for index, node in enumerate(network.shapes)}
    if (semantics.reset, semantics.reset_timing) not in RESETS:
        text = f"reset {semantics.reset}, {semantics.reset_timing}, is not defined"
        yield SemanticsError(text, node=name)
    for field, least, most in (
        ("reset_amount", 0, math.inf),
        ("refractory", 0, 0),
        ("edge_delay", 0, 0),
        ("spikes_per_step", 1, 1),
    ):
        value = getattr(semantics, field)
        if not least <= value <= most:
            has = str(least) if least == most else f"at least {least}"
            yield SemanticsError(f"{field} is {value} (machine: {has})", node=name)
    if population.readout == "membrane":
        yield SemanticsError(
            "its membrane potential is read, a program delivers spikes",
            node=name,
            hint="Let the network return the spikes of neurons with a threshold.",
        )
    for connection in network.incoming(name):
        late = int(order[connection.source] >= order[name])
        if connection.delay != late:
            yield SemanticsError(
                f"its spikes arrive {connection.delay} steps later (machine: {late})",
                node=connection.name,
                hint="Only connections that close a cycle have a delay, of one step.",
            )


class _Unit:
    """One population on its way to the grid; `Neuron`s here are in model units, but for `ints`."""

    def __init__(self, network: Network, population: Population, target: FixedPoint) -> None:
        self.population, self.target = population, target
        self.connections = network.incoming(population.name)
        self.ops = [_single(connection) for connection in self.connections]
        weights = (float(np.abs(op.weight).max(initial=0.0)) for op in self.ops)
        self.largest = max(weights, default=0.0)
        self.reset = RESETS[population.semantics.reset, population.semantics.reset_timing]
        held = self.reset == arithmetic.SUBTRACT_HELD
        self.amount = population.threshold * (1.0 if held else population.semantics.reset_amount)
        self.filtered = bool(np.any(population.current_decay))
        self.leak = np.zeros(population.shape) if population.leak is None else population.leak
        self.bias = population.bias if self.filtered else population.bias + self.leak
        self.leak = self.leak if self.filtered else np.zeros(population.shape)
        self.decay = target.nearest_decay(population.decay)
        self.current_decay = target.nearest_decay(population.current_decay)
        if not self.filtered:
            self.current_decay = np.zeros_like(self.current_decay)

    def place(self, states: Mapping[str, FloatArray]) -> Placed:
        """Choose the scale and round everything onto the grid."""
        population, target = self.population, self.target
        scale = self._scale(states)
        synapses = tuple(self._synapses(*pair, scale) for pair in self._pairs())

        def grid(values: FloatArray) -> IntArray:
            return compact(np.rint(values * scale).astype(np.int64))

        semantics = population.semantics
        parameters = {
            **{name: np.array([value]) for name, value in target.registers.items()},
            "filtered": np.array([int(self.filtered)]),
            "reset": np.array([self.reset]),
            "closed": np.array([int(semantics.comparison == ">=")]),
            "decay": compact(self.decay),
            "current_decay": compact(self.current_decay),
            "threshold": grid(population.threshold),
            "amount": grid(self.amount),
            "bias": grid(self.bias),
            "leak": grid(self.leak),
            "v0": grid(np.full(population.shape, semantics.initial_state)),
        }
        neurons = Neurons(population.name, population.shape, 1, parameters, np.array([scale]))
        seen = {
            register: (float(np.floor(a.min() * scale)), float(np.ceil(a.max() * scale)))
            for register, a in (("i", states["x"]), ("v", states["v"]))
        }
        ranges = bounds.ranges(neurons, synapses, FixedPointMachine(), proofs, seen)
        notes = (self._rounding(neurons, synapses, scale), self._state(ranges))
        return Placed(neurons, synapses, notes, ranges)

    def _pairs(self) -> Iterator[tuple[Connection, Dense | Conv2d]]:
        yield from zip(self.connections, self.ops, strict=True)

    def _scale(self, states: Mapping[str, FloatArray]) -> float:
        """State units per model unit."""
        target, population = self.target, self.population
        arriving = fan_in_bounds(
            [np.asarray(op.weight, np.float64) for op in self.ops], population.size
        )
        registers = (self.amount, self.bias, self.leak, population.semantics.initial_state)
        largest = max(float(np.abs(values).max(initial=0.0)) for values in registers)
        hard = min(
            target.threshold_limit / float(population.threshold.max()),
            _over(target.state_limit, largest),
            _over(INT32_MAX, float(max(-arriving[0].min(), arriving[1].max()))),
        )
        room = HEADROOM * target.state_limit
        proven = _chosen(self, min(hard, _over(room, reach(*self._model().bounds(arriving)))))
        if proven is not None and proven * self.largest >= target.weight_limit / 2:
            return proven
        seen = CALIBRATION_MARGIN * max(float(np.abs(a).max(initial=0.0)) for a in states.values())
        seen = max(seen, float(population.threshold.max()))
        scale = max(filter(None, (proven, _chosen(self, min(hard, _over(room, seen))))), default=0)
        if not scale:
            raise ModelError(
                "the threshold is below one state unit: states would overflow at any larger scale",
                node=population.name,
                hint="Scale the weights down or the threshold up, or take wider states.",
            )
        return scale

    def _model(self) -> Neuron:
        flat = np.ravel
        population, target = self.population, self.target
        return Neuron(
            keep=flat(target.kept(self.decay)),
            current_keep=flat(target.kept(self.current_decay)),
            threshold=flat(population.threshold),
            amount=flat(self.amount),
            start=np.full(population.size, population.semantics.initial_state),
            bias=flat(self.bias),
            leak=flat(self.leak),
            filtered=self.filtered,
            reset=self.reset,
        )

    def exact(self, scale: float) -> bool:
        """Whether weights, thresholds and biases lie on the grid."""
        values = [self.population.threshold, self.amount, self.bias, self.leak]
        values.append(np.array([self.population.semantics.initial_state]))
        scaled = [array * scale for array in values]
        for op in self.ops:
            weight = np.asarray(op.weight, np.float64) * scale
            scaled.append(weight / 2.0 ** _exponent(weight, self.target))
        return all(bool(np.all(array == np.rint(array))) for array in scaled)

    def weight_scale(self, limit: float) -> float:
        """The largest scale <= limit at which the largest weight is the largest integer 2^e."""
        most, weight = self.target.weight_limit, self.largest
        if weight * limit <= most:
            return limit
        return most * 2.0 ** math.floor(math.log2(limit * weight / most)) / weight

    def _synapses(self, connection: Connection, op: Dense | Conv2d, scale: float) -> Synapses:
        scaled = np.asarray(op.weight, np.float64) * scale
        exponent = _exponent(scaled, self.target)
        weight = np.rint(scaled / 2.0**exponent).astype(np.int64)
        return Synapses.of(connection, op, weight, exponent, self.population.shape)

    def _rounding(self, neurons: Neurons, synapses: tuple[Synapses, ...], scale: float) -> Lowering:
        """The largest rounding errors, as numbers."""
        population, registers = self.population, neurons.parameters
        theta = float(population.threshold.min())

        def off(values: FloatArray, register: str) -> float:
            grid = registers[register]
            grid = grid if grid.size == 1 else grid.reshape(population.shape)
            return float(np.abs(grid / scale - values).max()) / theta

        weight = max(
            (
                float(np.abs(s.weight * (2.0**s.exponent / scale) - op.weight).max()) / theta
                for op, s in zip(self.ops, synapses, strict=True)
            ),
            default=0.0,
        )
        threshold = max(off(population.threshold, "threshold"), off(self.amount, "amount"))
        bias = max(off(self.bias, "bias"), off(self.leak, "leak"))
        decay = float(np.abs(self.target.kept(self.decay) - population.decay).max())
        if self.filtered:
            current = self.target.kept(self.current_decay) - population.current_decay
            decay = max(decay, float(np.abs(current).max()))
        exact = max(weight, threshold, bias, decay) < 1e-12
        units = registers["threshold"]
        said = f"{units.min()}" if units.size == 1 else f"{units.min()} to {units.max()}"
        return Lowering(
            population.name,
            "quantisation",
            "exact" if exact else "approximate",
            f"threshold {said}, off by at most {threshold:.2g} thresholds; weights by "
            f"{weight:.2g}, the bias by {bias:.2g}; decays by {decay:.2g}",
        )

    def _state(self, ranges: tuple[Range, ...]) -> Lowering:
        """Rounding and overflow of states."""
        name, target = self.population.name, self.target
        proven = all(item.proven for item in ranges)
        text = "no input can make a state leave its range" if proven else (
            "no state leaves its range on the calibration data; not proven for every input, and "
            f"states {target.overflow}"
        )  # fmt: skip
        return Lowering(name, "overflow", "exact" if proven else "approximate", text)


def _single(connection: Connection) -> Dense | Conv2d:
    (op,) = connection.ops
    if not isinstance(op, (Dense, Conv2d)):
        raise ModelError("is neither dense nor a convolution", node=connection.name)
    return op


def _chosen(unit: _Unit, limit: float) -> float | None:
    """The scale, see the head of this module; None if no threshold fits below the limit."""
    if limit <= 0.0:
        return None
    power = 2.0 ** math.floor(math.log2(limit))
    if unit.exact(power):
        return power
    theta = float(unit.population.threshold.max())
    threshold = math.floor(unit.weight_scale(limit) * theta)
    return threshold / theta if threshold else None


def _over(limit: float, largest: float) -> float:
    return limit / largest if largest else math.inf


def _exponent(scaled: FloatArray, target: FixedPoint) -> int:
    """The least e >= 0 for which the weights / 2^e fit their bits."""
    largest = float(np.abs(scaled).max(initial=0.0))
    exponent = 0
    while np.rint(largest / 2.0**exponent) > target.weight_limit:
        exponent += 1
    return exponent
