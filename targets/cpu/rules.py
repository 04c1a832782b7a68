"""A fixed-point format's design rules: every register of a program against its width."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurodeploy.errors import NeurodeployError, Violation
from neurodeploy.linear import fan_in_bounds
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.targets.cpu.arithmetic import INT32_MAX
from neurodeploy.targets.cpu.format import ACCUMULATOR_BITS, FixedPoint
from neurodeploy.targets.cpu.registers import neuron_registers

COMPILE = "Compile again for this format."
SCALE = "Scale the weights and thresholds of the model down."


def check(program: Program, target: FixedPoint) -> tuple[Violation, ...]:
    """All violations of all rules, by population and synapse."""
    found: list[Violation] = []
    for population in program.populations:
        found += _registers(population, target)
        found += _accumulator(population, program.incoming(population.name), target)
    for synapses in program.synapses:
        found += _weights(synapses, target)
    for item in program.ranges:
        reach = max(item.limit_low - item.low, item.high - item.limit_high)
        if reach > 0:
            fix = "Give calibration data that is closer to what the network will see."
            limit = target.state_limit
            found.append(_violation(target, "state-range", item.node, limit + reach, limit, fix))
    return tuple(found)


def _violation(
    target: FixedPoint, rule: str, node: str, measured: float, limit: float, fix: str
) -> Violation:
    source = f"format {target.name}"
    return Violation(f"{target.name}.{rule}", node, measured, limit, "steps", source, fix)


def _registers(population: Neurons, target: FixedPoint) -> Iterator[Violation]:
    name = population.name
    for register, expected in target.registers.items():
        values = population.parameters.get(register, np.array([-1]))
        if values.size != 1 or int(values.reshape(-1)[0]) != expected:
            yield _violation(
                target, "format", f"{name}.{register}", float(values.max()), expected, COMPILE
            )
            return
    try:
        neuron_registers(population)
    except NeurodeployError as error:
        yield _violation(target, "registers", name, 1, 0, f"{error.message}. {COMPILE}")
        return
    limits = {"threshold": (0, target.threshold_limit)}
    for register in ("amount", "bias", "leak"):
        limits[register] = (-target.state_limit - 1, target.state_limit)
    for register, (low, high) in limits.items():
        values = population.parameters[register]
        for measured, limit in ((int(values.max()), high), (-int(values.min()), -low)):
            if measured > limit:
                rule = "threshold-bits" if register == "threshold" else "state-bits"
                yield _violation(target, rule, f"{name}.{register}", measured, limit, SCALE)


def _accumulator(
    population: Neurons, incoming: tuple[Synapses, ...], target: FixedPoint
) -> Iterator[Violation]:
    """What arrives in a step must fit the accumulator, which neither wraps nor saturates."""
    weights = [np.ldexp(s.weight.astype(np.float64), s.exponent) for s in incoming]
    low, high = fan_in_bounds(weights, population.size)
    reach = float(max(-low.min(), high.max()))
    if reach > INT32_MAX:
        fix = f"Reduce the fan-in or the weights: they are summed in {ACCUMULATOR_BITS} bits."
        yield _violation(target, "accumulator-bits", population.name, reach, INT32_MAX, fix)


def _weights(synapses: Synapses, target: FixedPoint) -> Iterator[Violation]:
    largest = int(np.abs(synapses.weight).max(initial=0))
    if largest > target.weight_limit:
        yield _violation(
            target, "weight-bits", synapses.name, largest, target.weight_limit, COMPILE
        )
    if not 0 <= synapses.exponent < target.state_bits:
        yield _violation(
            target,
            "exponent",
            synapses.name,
            abs(synapses.exponent),
            target.state_bits - 1,
            COMPILE,
        )
