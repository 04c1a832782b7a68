"""Proof over all inputs, from the integer weights, that no register of a program can overflow.

Each register of each population is *proven* (its bounds lie within what it holds), *refuted* (an
input was constructed, run in the simulator, and seen to lead beyond) or *neither* (the bounds are
too wide, and no such input was found).  Where bounds are exact and why they are safe is said in
`neurodeploy.bounds`; that sources in the network are taken to be free to send anything in any step
makes the bounds of deeper populations safe, not exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy import arrivals
from neurodeploy.bounds import UNBOUNDED, Beyond, Certifies, Checked, Register, check
from neurodeploy.errors import TargetError
from neurodeploy.program import Lowering, Program
from neurodeploy.target import Target
from neurodeploy.trace import Messages, Trace

Status = Literal["proven", "refuted", "neither"]
LONGEST = 2048
"""Steps of the inputs that are tried against a register."""


@dataclass(frozen=True, eq=False)
class Overflow:
    """One input that leads a register beyond its limits, as it was run in the simulator.

    Attributes
    ----------
    neuron: index in the population's shape.
    step: of the input, when it happened first.
    value: what was to be held.
    inputs: (1, steps, *shape) by name, up to that step.
    """

    neuron: tuple[int, ...]
    step: int
    value: int
    inputs: Mapping[str, Messages] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without the inputs."""
        return {"neuron": self.neuron, "step": self.step, "value": self.value}


@dataclass(frozen=True, eq=False)
class Bound:
    """What one register of one population, or the sum of one connection, can reach.

    Attributes
    ----------
    node: the population, or the synapses.
    low, high: over all neurons and inputs.
    limits: what it holds; `beyond`: what becomes of more.
    """

    node: str
    register: str
    low: float
    high: float
    limits: tuple[float, float]
    beyond: Beyond
    status: Status
    overflow: Overflow | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data; infinite bounds as None."""
        low, high = (None if abs(x) >= UNBOUNDED and self.beyond != "is infinite" else x
                     for x in (self.low, self.high))  # fmt: skip
        return {
            "node": self.node,
            "register": self.register,
            "low": low if low is None or np.isfinite(low) else None,
            "high": high if high is None or np.isfinite(high) else None,
            "limits": self.limits,
            "beyond": self.beyond,
            "status": self.status,
            "overflow": None if self.overflow is None else self.overflow.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class Certificate:
    """See the module's docstring.

    Attributes
    ----------
    lowerings: how each difference in semantics was lowered, exactly or approximately.
    tested: what was run, and is no proof.
    unknown: populations of whose registers nothing is known.
    """

    program: str
    bounds: tuple[Bound, ...]
    lowerings: tuple[Lowering, ...]
    tested: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def status(self) -> Status:
        """`refuted` if any register is, `proven` if all are and none is unknown."""
        found = {bound.status for bound in self.bounds}
        if "refuted" in found:
            return "refuted"
        return "proven" if found <= {"proven"} and not self.unknown else "neither"

    def of(self, node: str, register: str) -> Bound:
        """The bound of one register."""
        return next(b for b in self.bounds if (b.node, b.register) == (node, register))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "status": self.status,
            "program": self.program,
            "bounds": [bound.to_dict() for bound in self.bounds],
            "lowerings": [vars(item) for item in self.lowerings],
            "tested": self.tested,
            "unknown": self.unknown,
        }


def certify(program: Program, target: Target) -> Certificate:
    """The certificate of `program`; nothing that its file says of ranges is believed.

    Raises
    ------
    TargetError
        The target bounds no registers.
    InputError
        Neurons or synapses that the chip does not have.
    """
    bounds: list[Bound] = []
    unknown = []
    for item in checked(program, target):
        names = [arrival.synapses.name for arrival in item.arriving]
        bounds += [
            _bound(name, register, None)
            for name, register in zip(names, item.accumulators, strict=True)
        ]
        if not item.registers:
            unknown.append(item.population.name)
        for register in item.registers:
            found = None if register.fits else refute(program, target, item, register)
            bounds.append(_bound(item.population.name, register, found))
    tested = []
    if program.golden is not None:
        samples = len(next(iter(program.golden.inputs.values())))
        tested.append(f"the golden traces, {samples} samples, when the program was compiled")
    return Certificate(
        program.hash, tuple(bounds), program.lowerings, tuple(tested), tuple(unknown)
    )


def _bound(node: str, register: Register, overflow: Overflow | None) -> Bound:
    status: Status = "neither" if overflow is None else "refuted"
    return Bound(
        node,
        register.name,
        float(register.low.min()),
        float(register.high.max()),
        register.limits,
        register.beyond,
        "proven" if register.fits else status,
        overflow,
    )


def checked(program: Program, target: Target) -> Iterator[Checked]:
    """All populations, in order, each with what graded ones before it can send."""
    if not isinstance(target, Certifies):
        raise TargetError("bounds no registers", node=f"target {program.target}")
    messages = {name: (grid.low, grid.high) for name, grid in program.grids.items()}
    least = arrivals.waits(program)
    for population in program.populations:
        arriving = arrivals.arriving(program, population, target.machine, least, messages)
        incoming = program.incoming(population.name)
        own = arrivals.own_activation(population, incoming, target.machine)
        item = check(population, arriving, own, target)
        for register in item.registers:
            if register.name == "message" and register.fits:
                low, high = int(register.low.min()), int(register.high.max())
                messages[population.name] = min(low, 0), max(high, 0)
        yield item


def refute(program: Program, target: Target, item: Checked, register: Register) -> Overflow | None:
    """An input that leads `register` of a population beyond its limits, if one of some does."""
    least, most = register.limits
    for worst, sign in ((register.high - most, 1), (least - register.low, -1)):
        if float(worst.max()) <= 0:
            continue
        neuron = int(np.argmax(worst))
        for inputs in attacks(program, item, neuron, sign):
            found = overflows(program, target, item, inputs, register.name)
            if found is not None:
                return found
    return None


def attacks(
    program: Program, item: Checked, neuron: int, sign: int
) -> Iterator[dict[str, Messages]]:
    """Inputs that drive one neuron up (sign 1) or down: (1, steps, *shape) by name.

    Each source that has a positive (negative) weight sends in every step, the others never.  What
    sends through other populations is driven by the sign of the product of weights on its way.
    """
    wanted = {name: np.zeros(int(np.prod(shape))) for name, shape in program.shapes.items()}
    wanted[item.population.name][neuron] = sign
    for population in reversed(program.populations):
        name = population.name
        goal = wanted[name]
        if not goal.any():
            continue
        for synapses in program.incoming(name):
            if synapses.source != name:
                wanted[synapses.source] += _back(synapses, goal)
    for steps in (LONGEST // 32, LONGEST):
        inputs: dict[str, Messages] = {}
        for port in program.inputs:
            drive = wanted[port.name].reshape(port.shape)
            if port.name in program.graded:
                low, high = (-(1 << 31), (1 << 31) - 1)
                if port.grid is not None:
                    low, high = port.grid.low, port.grid.high
                message = np.where(drive > 0, high, np.where(drive < 0, low, 0)).astype(np.int32)
            else:
                message = (drive > 0).astype(np.uint8)
            inputs[port.name] = np.broadcast_to(message, (1, steps, *port.shape)).copy()
        yield inputs


def _back(synapses: Any, goal: NDArray[Any]) -> NDArray[np.float64]:
    """How much a message of each source helps: the transposed weights times the goal."""
    from neurodeploy.linear import Conv2d

    weight = synapses.weight.astype(np.float64) * 2.0**synapses.exponent
    if synapses.kind == "dense":
        return np.asarray(goal @ weight)
    if synapses.kind == "one-to-one":
        return np.asarray(goal * weight)
    geometry = synapses.stride, synapses.padding, synapses.dilation, synapses.groups
    op = Conv2d(weight, synapses.in_shape, *geometry)
    return op.adjoint(goal.reshape(1, *synapses.out_shape)).reshape(-1)


def observed(
    program: Program, target: Target, item: Checked, trace: Trace
) -> Mapping[str, NDArray[Any]]:
    """What was written to a population's integer registers in a run that recorded its states:
    (samples, steps, neurons) by register."""
    if not isinstance(target, Certifies):
        return {}
    name, machine = item.population.name, target.machine
    steps = trace.steps
    size = item.population.size
    currents = {"current": np.zeros((trace.samples, steps, size), np.int64)}
    for arrival in item.arriving:
        sent = trace.sent(arrival.synapses.source)
        current = arrivals.current(arrival, machine, sent, 0, steps)
        port = arrival.synapses.port
        currents[port] = currents.get(port, 0) + current
    flat = {
        state: values.reshape(trace.samples, steps, -1)
        for state, values in trace.states[name].items()
    }
    fired = trace.sent(name).reshape(trace.samples, steps, -1).astype(np.int64)
    return target.written(item.population, item.own, currents, flat, fired)


def overflows(
    program: Program,
    target: Target,
    item: Checked,
    inputs: Mapping[str, Messages],
    register: str,
) -> Overflow | None:
    """The first time that a register is led beyond its limits when `inputs` are simulated."""
    from neurodeploy.simulator.engine import simulate

    name = item.population.name
    trace = simulate(program, inputs, target.machine, record=[name])
    values = observed(program, target, item, trace).get(register)
    if values is None:
        return None
    least, most = next(r.limits for r in item.registers if r.name == register)
    beyond = (values < least) | (values > most)
    if not beyond.any():
        return None
    sample, step, neuron = (int(i) for i in min(np.argwhere(beyond), key=lambda i: i[1]))
    index = tuple(int(i) for i in np.unravel_index(neuron, item.population.shape))
    part = {key: array[sample : sample + 1, : step + 1] for key, array in inputs.items()}
    return Overflow(index, step, int(values[sample, step, neuron]), part)
