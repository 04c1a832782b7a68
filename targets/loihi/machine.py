"""Loihi 2 in the simulator: the arithmetic compiled by numba, and the same in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.program import IntArray, Neurons, Synapses
from neurodeploy.targets.loihi import arithmetic
from neurodeploy.trace import Spikes

REGISTERS = ("du", "dv", "vth", "bias_mant", "bias_exp", "u0", "v0")
STATES = ("u", "v", "potential")


@dataclass(frozen=True)
class LoihiMachine:
    """The `Machine` of Loihi 2.

    Attributes
    ----------
    compiled: run numba kernels; False runs the same arithmetic step by step in numpy, which is how
        the kernels are tested.
    """

    compiled: bool = True

    def activation(self, total: IntArray, synapses: Synapses) -> IntArray:
        """Activation from exact weight sums: `dense_activation` or `conv_activation`."""
        if synapses.kind == "conv2d":
            return np.asarray(arithmetic.conv_activation(total, synapses.exponent))
        return np.asarray(arithmetic.dense_activation(total, synapses.exponent))

    def neurons(
        self,
        current: IntArray,
        population: Neurons,
        recurrent: tuple[Synapses, ...],
        record: bool,
    ) -> tuple[Spikes, dict[str, IntArray]]:
        """CUBA LIF neurons over time; see `arithmetic`.

        `current` is the summed activation, int64 (samples, steps, n).  Recorded states, int64 of
        the same shape: `u` and `v` after the step, and `potential`, v as it was compared with the
        threshold.
        """
        registers = {
            name: np.ascontiguousarray(
                np.broadcast_to(register(population, name).reshape(-1), (population.size,))
            )
            for name in REGISTERS
        }
        own = np.zeros(population.size, np.int64)
        for synapses in recurrent:
            own = own + self.activation(synapses.weight.reshape(-1), synapses)
        run = _compiled if self.compiled else _numpy
        return run(current, registers, own, record)


def register(population: Neurons, name: str) -> IntArray:
    """Values of a register; raises `InputError` where the population has none of that name."""
    if name not in population.parameters:
        raise InputError(f"it has no register {name}", node=population.name)
    return population.parameters[name]


def _numpy(
    current: IntArray, registers: dict[str, IntArray], own: IntArray, record: bool
) -> tuple[Spikes, dict[str, IntArray]]:
    """All samples at once, step by step."""
    samples, steps, size = current.shape
    bias = arithmetic.bias_current(registers["bias_mant"], registers["bias_exp"])
    u = np.broadcast_to(registers["u0"], (samples, size)).copy()
    v = np.broadcast_to(registers["v0"], (samples, size)).copy()
    spikes = np.zeros(current.shape, np.uint8)
    states = {name: np.zeros(current.shape, np.int64) for name in STATES} if record else {}
    fired = np.zeros((samples, size), np.int64)
    for t in range(steps):
        a = arithmetic.wrap_int32(current[:, t] + own * fired)
        u, potential = arithmetic.integrate(u, v, a, registers["du"], registers["dv"], bias)
        fired = arithmetic.fires(potential, registers["vth"]).astype(np.int64)
        v = arithmetic.reset(potential, fired)
        spikes[:, t] = fired
        if record:
            for name, values in zip(STATES, (u, v, potential), strict=True):
                states[name][:, t] = values
    return spikes, states


def _compiled(
    current: IntArray, registers: dict[str, IntArray], own: IntArray, record: bool
) -> tuple[Spikes, dict[str, IntArray]]:
    """The numba kernel."""
    bias = arithmetic.bias_current(registers["bias_mant"], registers["bias_exp"])
    spikes = np.zeros(current.shape, np.uint8)
    shape = current.shape if record else (1, 1, 1)
    u, v, potential = (np.zeros(shape, np.int64) for _ in STATES)
    arithmetic.run_lif(
        current,
        registers["du"],
        registers["dv"],
        registers["vth"],
        registers["u0"],
        registers["v0"],
        bias,
        own,
        record,
        spikes,
        u,
        v,
        potential,
    )
    return spikes, dict(zip(STATES, (u, v, potential), strict=True)) if record else {}
