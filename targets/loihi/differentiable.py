"""Loihi's CUBA LIF on torch tensors, with gradients.

Where no register leaves its range, which is looked at afterwards, a step in float64 without wraps
and saturation is the chip's: all numbers are integers below 2^53.  Where one does, `arithmetic`'s
own functions run, on int64 tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.errors import ModelError
from neurodeploy.program import POTENTIAL, IntArray, Neurons, Synapses
from neurodeploy.targets.loihi import arithmetic
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, INT32_MAX, STATE_LIMIT, STATE_SHIFT
from neurodeploy.targets.loihi.models import MODELS, model_of
from neurodeploy.targets.loihi.stepwise import Restart, lanes
from neurodeploy.torch.cells import Group, Levels, Ran, Register, Registers, States, through
from neurodeploy.torch.grids import common_power, multiples

ONE = 1 << STATE_SHIFT
MOST = STATE_LIMIT - 1


@dataclass(frozen=True)
class LoihiArithmetic:
    """The `Arithmetic` of Loihi 1 and 2."""

    def levels(self, synapses: Synapses, target: Neurons, together: tuple[Synapses, ...]) -> Levels:
        """Multiples of the weights' common power of two, at most 256 less it.

        Weights of which some are odd have one sign, and keep it: up to 255.
        """
        if common_power(together, 2) == 1:
            signs = int(synapses.weight.min()), int(synapses.weight.max())
            low, high = (-255, 0) if signs[0] < 0 else (0, 255)
            return multiples(synapses, together, low, high, least=2)
        return multiples(synapses, together, -255, 255, least=2)

    def activation(self, total: Tensor, synapses: Synapses, bound: float) -> Tensor:
        """`arithmetic.dense_activation` or `conv_activation`; slope 2^exponent."""
        exponent = synapses.exponent
        smooth = total * 2.0**exponent if exponent else total
        if exponent >= 0 and bound * 2.0**exponent <= _most(synapses):
            return smooth
        whole = total.detach().to(torch.int64)
        if synapses.kind == "conv2d":
            exact = arithmetic.conv_activation(whole, exponent)
        else:
            exact = arithmetic.dense_activation(whole, exponent)
        return through(smooth, exact.to(smooth.dtype))

    def cells(self, population: Neurons, own: IntArray, bound: Mapping[str, float]) -> LoihiCells:
        """CUBA LIF neurons; activations have 32 bits, whatever the sums.

        Raises
        ------
        ModelError
            Other neurons.
        """
        model_of(population)
        if population.model != "lif":
            raise ModelError(
                f"neurons {population.model!r} have no gradient here",
                node=population.name,
                hint="Train networks of leaky integrate-and-fire neurons; the graded ones that "
                "convolutions of analog input need are no such: give these spikes.",
            )
        registers = {name: lanes(population, name) for name in MODELS["lif"].registers}
        memory = registers["du"] + 1
        bias = np.asarray(
            arithmetic.bias_current(registers["bias_mant"], registers["bias_exp"]), np.int64
        )
        return LoihiCells(
            size=population.size,
            own=torch.from_numpy(own) if np.any(own) else None,
            forgets_u=bool(np.all(memory == DECAY_ONE)),
            forgets_v=bool(np.all(registers["dv"] == DECAY_ONE)),
            threshold=bool(np.any(registers["vth"] < MODELS["lif"].registers["vth"][1])),
            bias=torch.from_numpy(bias.astype(np.float64)),
            follows=torch.from_numpy((memory < DECAY_ONE) & ((registers["u0"] != 0) | (bias == 0))),
            restart=Restart.of(population),
        )


def _most(synapses: Synapses) -> int:
    """The largest magnitude of an activation that is not wrapped."""
    return STATE_LIMIT - 1 if synapses.kind == "conv2d" else INT32_MAX


@dataclass(frozen=True, eq=False)
class LoihiCells:
    """CUBA LIF neurons.

    Attributes
    ----------
    own: int64, what a neuron's spike adds to its next activation, (neurons,); None if nothing.
    forgets_u, forgets_v: whether nothing is kept of u and v: every du is 4095, every dv 4096.
    threshold: whether they have one that can be reached.
    bias: that of the program, in state units, (neurons,).
    follows: where u starts at less by what is added to the bias, as lowering has it: a constant
        input that u filters is in the bias register, past the filter.
    """

    size: int
    own: Tensor | None
    forgets_u: bool
    forgets_v: bool
    threshold: bool
    bias: Tensor
    follows: Tensor
    restart: Restart | None
    dtype = torch.float64
    ports = MODELS["lif"].ports
    learned = ("threshold", "bias")

    @property
    def trained(self) -> Mapping[Group, Register]:
        """The mantissa of the bias, and the threshold."""
        low, high = MODELS["lif"].registers["bias_mant"]
        found: dict[Group, Register] = {"bias": Register("bias_mant", Levels(1, low, high))}
        if self.threshold:
            low, high = MODELS["lif"].registers["vth"]
            found["threshold"] = Register("vth", Levels(1, low, high))
        return found

    def following(self, registers: dict[str, Tensor]) -> dict[str, Tensor]:
        """With u0 moved by what the bias is away from the program's, where it `follows`."""
        bias = registers["bias_mant"] * torch.exp2(registers["bias_exp"])
        moved = (self.bias.to(bias.device) - bias) * self.follows.to(bias.device)
        return registers | {"u0": registers["u0"] + moved}

    def prepare(self, registers: Registers) -> dict[str, Tensor]:
        """What is kept of u and v, threshold and bias in state units, and the bias's mantissa."""
        scale = torch.exp2(registers["bias_exp"])
        return {
            "keep_u": (DECAY_ONE - 1 - registers["du"]) / DECAY_ONE,
            "keep_v": (DECAY_ONE - registers["dv"]) / DECAY_ONE,
            "threshold": registers["vth"] * ONE,
            "bias": registers["bias_mant"] * scale,
            "mantissa": registers["bias_mant"].detach(),
            "scale": scale,
        }

    def start(self, registers: Registers, samples: int) -> States:
        """u0 and v0, and no spike."""
        u = registers["u0"].expand(samples, self.size)
        v = registers["v0"].expand(samples, self.size)
        return u, v, torch.zeros_like(u, dtype=torch.bool)

    def fires(self, potential: Tensor, threshold: Tensor) -> Tensor:
        """v > vth << 6."""
        return potential > threshold

    def run(
        self,
        currents: Mapping[str, Tensor],
        states: States,
        constants: Registers,
        first: int,
        record: bool,
    ) -> Ran:
        """`arithmetic.integrate`, the threshold and the reset, in each step."""
        ran = self._in_range(currents, states, constants, first, record)
        return ran or self._anywhere(currents, states, constants, first, record)

    def _in_range(
        self,
        currents: Mapping[str, Tensor],
        states: States,
        constants: Registers,
        first: int,
        record: bool,
    ) -> Ran | None:
        """Without wraps and saturation; None where a register left its range."""
        current = currents["current"] * ONE
        own = None if self.own is None else self.own.to(current.device) * float(ONE)
        keep_u, keep_v = constants["keep_u"], constants["keep_v"]
        u, v, fired = states
        us, potentials = torch.empty_like(current), torch.empty_like(current)
        voltages = torch.empty_like(current) if record else None
        restarts = self._restarts(first, len(current))
        for t, (a, bias) in enumerate(zip(current, self._biases(currents, constants), strict=True)):
            if own is not None:
                a = a + own * fired
            if restarts[t]:
                u, v = torch.zeros_like(a), torch.zeros_like(a)
            u = torch.add(a, 0 if self.forgets_u else (u * keep_u).trunc_(), out=us[t])
            p = torch.add(u, bias, out=potentials[t])
            if not self.forgets_v:
                p += (v * keep_v).trunc_()
            fired = p > constants["threshold"]
            v = p.masked_fill(fired, 0)
            if voltages is not None:
                voltages[t] = v
        extremes = torch.stack([*torch.aminmax(us), *torch.aminmax(potentials)]).abs().max()
        if len(current) and float(extremes) > MOST:
            return None
        recorded = {} if voltages is None else {"u": us, "v": voltages, POTENTIAL: potentials}
        return Ran(potentials, (u.clone(), v, fired), recorded)

    def _anywhere(
        self,
        currents: Mapping[str, Tensor],
        states: States,
        constants: Registers,
        first: int,
        record: bool,
    ) -> Ran:
        """By `arithmetic`'s own functions."""
        whole = {name: values.to(torch.int64) for name, values in constants.items()}
        forgotten = [
            DECAY_ONE - (constants[name] * DECAY_ONE).to(torch.int64)
            for name in ("keep_u", "keep_v")
        ]
        du, dv = forgotten[0] - 1, forgotten[1]
        u, v = (state.to(torch.int64) for state in states[:2])
        fired = states[2]
        kept: dict[str, list[Tensor]] = {"u": [], "v": [], POTENTIAL: []}
        restarts = self._restarts(first, len(currents["current"]))
        for t, bias in enumerate(self._biases(currents, whole)):
            a = currents["current"][t].to(torch.int64)
            if self.own is not None:
                a = a + self.own.to(a.device) * fired
            if restarts[t]:
                u, v = torch.zeros_like(a), torch.zeros_like(a)
            u = arithmetic.update_u(u, arithmetic.wrap_int32(a), du)
            p = arithmetic.sum_v(v, u, bias, dv).clip(-MOST, MOST)
            fired = p > whole["threshold"]
            v = arithmetic.reset(p, fired.to(torch.int64))
            for name, values in zip(kept, (u, v, p), strict=True):
                kept[name].append(values.to(self.dtype))
        recorded = {name: torch.stack(values) for name, values in kept.items()}
        after = (recorded["u"][-1].clone(), recorded["v"][-1].clone(), fired)
        return Ran(recorded[POTENTIAL], after, recorded if record else {}, clipped=True)

    def _biases(self, currents: Mapping[str, Tensor], constants: Registers) -> list[Tensor]:
        """The bias of each step, of the constants' dtype."""
        steps = len(currents["current"])
        if "bias" not in currents:
            return [constants["bias"]] * steps
        dtype = constants["bias"].dtype
        mantissa = (constants["mantissa"] + currents["bias"]).to(torch.int64)
        return list(arithmetic.wrap_int16(mantissa).to(dtype) * constants["scale"])

    def _restarts(self, first: int, steps: int) -> NDArray[np.bool_]:
        if self.restart is None:
            return np.zeros(steps, bool)
        return self.restart.at(first, steps)

    def back(
        self,
        gradient: Tensor,
        states: States,
        potential: Tensor,
        constants: Registers,
        first: int,
        clipped: bool,
    ) -> tuple[dict[str, Tensor], States, dict[str, Tensor]]:
        """Of u' = keep u + 64 a and p = keep v + u' + bias, v' = p where it did not fire, else 0.

        Straight through rounding and the wraps of u; nothing where v is saturated.
        """
        silent = ~self.fires(potential, constants["threshold"])
        inside = potential.abs() < MOST if clipped else None
        restarts = self._restarts(first, len(gradient))
        direct, sums = torch.empty_like(gradient), torch.empty_like(gradient)
        u, v = states
        for t in reversed(range(len(gradient))):
            p = torch.addcmul(gradient[t], v, silent[t].to(v.dtype), out=direct[t])
            if inside is not None:
                p *= inside[t]
            torch.add(u, p, out=sums[t])
            u = sums[t] * constants["keep_u"]
            v = p * constants["keep_v"]
            if restarts[t]:
                u, v = torch.zeros_like(u), torch.zeros_like(v)
        currents = {"current": sums * ONE, "bias": direct * constants["scale"]}
        return currents, (u, v), {"bias": direct}
