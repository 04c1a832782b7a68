"""A population's step on the fixed-point machine as `Dynamics`; the rules are `arithmetic`'s."""

from __future__ import annotations

import numpy as np

from neurodeploy.equivalence.dynamics import Dynamics, Fit, Rounding
from neurodeploy.linear import FloatArray
from neurodeploy.program import IntArray, Neurons
from neurodeploy.semantics import Reset, ResetTiming
from neurodeploy.targets.cpu import arithmetic
from neurodeploy.targets.cpu.registers import Rules, neuron_registers, rules

RESETS: dict[int, tuple[Reset, ResetTiming]] = {
    arithmetic.ZERO: ("zero", "immediate"),
    arithmetic.ZERO_DELAYED: ("zero", "delayed"),
    arithmetic.ZERO_AFTER_INPUT: ("zero", "after-input"),
    arithmetic.SUBTRACT: ("subtract", "immediate"),
    arithmetic.SUBTRACT_DELAYED: ("subtract", "delayed"),
    arithmetic.SUBTRACT_HELD: ("subtract", "held"),
    arithmetic.NO_RESET: ("none", "immediate"),
}
"""What the values of the register `reset` mean."""


def dynamics(neurons: Neurons, weight_limit: int) -> Dynamics:
    """The step of a population; raises `InputError` for registers that no machine has."""
    shared = rules(neurons)
    decay, current_decay, threshold, amount, bias, leak, v0 = neuron_registers(neurons)
    reset, timing = RESETS[shared.reset]
    fit = Fit("saturate" if shared.saturate else "wrap", _fit(shared))
    filtered = bool(shared.filtered)
    nothing = np.zeros(neurons.size)
    return Dynamics(
        current_decay=_kept(current_decay, shared) if filtered else nothing,
        decay=_kept(decay, shared),
        threshold=threshold.astype(np.float64),
        bias=bias.astype(np.float64),
        leak=leak.astype(np.float64) if filtered else nothing,
        start=v0.astype(np.float64),
        reset=reset,
        timing=timing,
        amount=amount.astype(np.float64) if reset == "subtract" else nothing,
        owed=nothing,
        comparison=">=" if shared.closed else ">",
        rounded=_rounded(shared),
        current_fit=fit if filtered else None,
        state_fit=fit,
        weight_limit=weight_limit,
    )


def _kept(register: IntArray, shared: Rules) -> FloatArray:
    """What a state is multiplied by, but for rounding: see `arithmetic.decay`."""
    if shared.decay_bits:
        return np.asarray(register / 2.0**shared.decay_bits)
    return np.where(register < shared.state_bits, 1.0 - 0.5**register, 1.0)


def _rounded(shared: Rules) -> Rounding:
    """x -> floor(x + n/2) of `multiply`, ceil(x - n/2) of `shift`, with n = 1 where `nearest`."""
    half = shared.nearest / 2
    if shared.decay_bits:
        return lambda x: np.floor(x + half)
    return lambda x: np.ceil(x - half)


def _fit(shared: Rules) -> Rounding:
    bits, saturates = shared.state_bits, shared.saturate
    return lambda x: np.asarray(arithmetic.fit(x.astype(np.int64), bits, saturates), np.float64)
