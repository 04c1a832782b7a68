"""One step of a population as a value, the same for a model and for a chip.

Law of this module: arithmetic is in float64, which holds the integers of every chip here and their
products exactly, and float32 sums and products too before they are rounded.  So a chip's step with
its own roundings is the chip's bit by bit, and any of them can be left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from neurodeploy.linear import FloatArray
from neurodeploy.network import Population
from neurodeploy.program import Neurons
from neurodeploy.semantics import Comparison, Reset, ResetTiming

Rounding = Callable[[FloatArray], FloatArray]
Settled = Literal["nowhere", "current", "membrane"]


@dataclass(frozen=True, eq=False)
class Fit:
    """What a register keeps of a number that was written to it."""

    kind: Literal["saturate", "wrap"]
    of: Rounding


@dataclass(frozen=True, eq=False)
class Dynamics:
    r"""What one step does to neurons; arrays are float64 (neurons,), in chip units of the membrane.

    With decays :math:`\alpha, \beta`, constant inputs b and l, arriving current x, and S' the
    neuron's spikes of the step before,

    .. math:: i = F_i(\rho(\alpha i) + x - o S' + b), \quad v = F_v(\rho(\beta v) + i + l - ...),
              \quad p = F_p(v), \quad S = H(p),

    where the dots are the reset of `Semantics`, with `amount` for :math:`a\theta`.  Every sum
    passes through `summed`.

    Attributes
    ----------
    current_decay, decay, threshold, bias, leak, start: α, β, θ, b, l, and v before the first step.
    reset, timing: as in `Semantics`.
    amount: what a spike subtracts at that time.
    owed: o, what it takes besides, one step later.
    free: the chip fixes only what a spike has taken by the next step, β amount + owed; when it does
        so has no meaning of its own.
    comparison, spikes_per_step: as in `Semantics`.
    settled: where b is not added in each step but, as b/(1−α) or b/(1−β), to what leaves the
        register, which starts that much lower.
    signed: excitatory and inhibitory currents are filtered apart, and subtracted then.
    rounded: ρ, what a register's decay rounds to; None for nothing.
    summed: what a sum is rounded to.
    current_fit, state_fit, potential_fit: F_i, F_v, F_p.
    ports: chip units of the membrane that one unit of weight adds, by port of the neurons.
    weight_limit: largest magnitude of a weight, before its exponent; None for any.
    """

    current_decay: FloatArray
    decay: FloatArray
    threshold: FloatArray
    bias: FloatArray
    leak: FloatArray
    start: FloatArray
    reset: Reset
    timing: ResetTiming
    amount: FloatArray
    owed: FloatArray
    comparison: Comparison
    spikes_per_step: int = 1
    free: bool = False
    settled: Settled = "nowhere"
    signed: bool = False
    rounded: Rounding | None = None
    summed: Rounding | None = None
    current_fit: Fit | None = None
    state_fit: Fit | None = None
    potential_fit: Fit | None = None
    ports: tuple[tuple[str, float], ...] = (("current", 1.0),)
    weight_limit: int | None = None

    def of(self, neurons: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Dynamics:
        """Of some neurons, by their places; repetitions are allowed."""
        arrays: dict[str, Any] = {
            field.name: value[neurons]
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), np.ndarray)
        }
        return replace(self, **arrays)

    @property
    def taken(self) -> FloatArray:
        """What a spike has taken from the potential by the next step, but for its decay there."""
        at_once = self.timing == "immediate"
        return np.asarray(self.amount * (self.decay if at_once else 1.0) + self.owed)


def unit_of(neurons: Neurons) -> FloatArray:
    """Chip units of the membrane per unit of the model, (neurons,)."""
    return np.broadcast_to(neurons.unit.reshape(-1), (neurons.size,)).astype(np.float64)


def model_dynamics(model: Population, unit: FloatArray) -> Dynamics:
    """What `reference.simulate` computes for a population, times `unit` (neurons,)."""
    semantics, size = model.semantics, model.size
    leak = np.zeros(size) if model.leak is None else model.leak.reshape(-1) * unit
    bias = model.bias.reshape(-1) * unit
    if not np.any(model.current_decay):
        bias, leak = bias + leak, np.zeros(size)
    threshold = model.threshold.reshape(-1) * unit
    held = semantics.reset_timing == "held"
    subtracts = semantics.reset == "subtract"
    amount = threshold * (1.0 if held else semantics.reset_amount) if subtracts else np.zeros(size)
    return Dynamics(
        current_decay=model.current_decay.reshape(-1),
        decay=model.decay.reshape(-1),
        threshold=threshold,
        bias=bias,
        leak=leak,
        start=np.full(size, semantics.initial_state) * unit,
        reset=semantics.reset,
        timing=semantics.reset_timing,
        amount=amount,
        owed=np.zeros(size),
        comparison=semantics.comparison,
        spikes_per_step=semantics.spikes_per_step,
    )


def potentials(
    dynamics: Dynamics, arriving: tuple[FloatArray, ...], sent: FloatArray | None
) -> FloatArray:
    """The potential of each step as it is compared with the threshold: (steps, pairs).

    Parameters
    ----------
    dynamics: of the neuron of each pair of a sample and a neuron.
    arriving: float64 (steps, pairs), x; where currents are `signed` two, the excitatory and the
        inhibitory one, both as magnitudes.
    sent: float64 (steps, pairs), the spikes that the neurons are made to have sent, whatever the
        potential; or None: then they send what the potential says.
    """
    found = np.empty_like(arriving[0])
    state = _State(dynamics, len(found[0]))
    for t in range(len(found)):
        now = None if sent is None else np.minimum(sent[t], dynamics.spikes_per_step)
        found[t] = state.step(tuple(x[t] for x in arriving), now)
    return found


def spikes(dynamics: Dynamics, potential: FloatArray) -> FloatArray:
    """How many spikes potentials (..., pairs) make: H of `Semantics`, float64."""
    theta, closed = dynamics.threshold, dynamics.comparison == ">="
    if dynamics.spikes_per_step == 1:
        return np.asarray(potential >= theta if closed else potential > theta, np.float64)
    levels = np.floor(potential / theta) if closed else np.ceil(potential / theta) - 1
    return np.asarray(np.clip(levels, 0, dynamics.spikes_per_step))


class _State:
    """The registers of some pairs, and what they were made to send."""

    def __init__(self, dynamics: Dynamics, pairs: int) -> None:
        self.dynamics = d = dynamics
        self.current_offset = self.offset = np.zeros(pairs)
        if d.settled == "current":
            self.current_offset = _settled(d.bias, d.current_decay)
        elif d.settled == "membrane":
            self.offset = _settled(d.bias, d.decay)
        self.bias = d.bias if d.settled == "nowhere" else np.zeros(pairs)
        self.i: list[FloatArray] = [-self.current_offset, np.zeros(pairs)][: 1 + d.signed]
        self.v = d.start - self.offset
        self.sent = np.zeros(pairs)
        self.filtered = bool(np.any(d.current_decay))

    def _sum(self, total: FloatArray) -> FloatArray:
        return total if self.dynamics.summed is None else self.dynamics.summed(total)

    def _decayed(self, state: FloatArray, keep: FloatArray) -> FloatArray:
        product = state * keep
        return product if self.dynamics.rounded is None else self.dynamics.rounded(product)

    def _drive(self, arriving: tuple[FloatArray, ...]) -> FloatArray:
        """i + l, of the currents after this step."""
        d, biases = self.dynamics, [self.bias]
        if d.signed:
            biases = [np.maximum(self.bias, 0), np.maximum(-self.bias, 0)]
        for port, (x, bias) in enumerate(zip(arriving, biases, strict=True)):
            total = x + bias if port else x - d.owed * self.sent + bias
            if self.filtered:
                total = self._decayed(self.i[port], d.current_decay) + total
            self.i[port] = _fitted(self._sum(total), d.current_fit)
        current = self._sum(self.i[0] - self.i[1]) if d.signed else self.i[0]
        return self._sum(current + (self.current_offset + d.leak))

    def step(self, arriving: tuple[FloatArray, ...], sent: FloatArray | None) -> FloatArray:
        """The potential that is compared; `sent` is what is sent in this step."""
        d, v, before, zero = self.dynamics, self.v, self.sent, -self.offset
        held = np.asarray(v + self.offset > d.threshold, np.float64)
        drive = self._drive(arriving)
        if d.reset == "zero" and d.timing != "after-input":
            v = np.where(before > 0, zero, v)
        elif d.reset == "subtract" and d.timing == "immediate":
            v = _fitted(self._sum(v - d.amount * before), d.state_fit)
        y = self._sum(self._decayed(v, d.decay) + drive)
        if d.reset == "zero" and d.timing == "after-input":
            y = np.where(before > 0, zero, y)
        elif d.reset == "subtract" and d.timing in ("delayed", "held"):
            y = self._sum(y - d.amount * (held if d.timing == "held" else before))
        v = _fitted(y, d.state_fit)
        potential = _fitted(v + self.offset, d.potential_fit)
        if sent is None:
            sent = spikes(d, potential)
        if d.reset == "subtract" and d.timing == "held":
            v = _fitted(self._sum(v - d.amount * (sent - held)), d.state_fit)
        self.v, self.sent = v, sent
        return potential


def _settled(bias: FloatArray, decay: FloatArray) -> FloatArray:
    """b/(1 - decay); where nothing decays only no bias can be."""
    leak = 1.0 - decay
    return np.divide(bias, leak, out=np.zeros_like(bias), where=leak != 0)


def _fitted(values: FloatArray, fit: Fit | None) -> FloatArray:
    """`values` as a register keeps them; a fraction, which only what is undone leaves, stays."""
    if fit is None:
        return values
    whole = np.floor(values)
    return np.asarray(values + (fit.of(whole) - whole))
