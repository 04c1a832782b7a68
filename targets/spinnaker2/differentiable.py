r"""SpiNNaker2's neurons on tensors, bit for bit as `arithmetic` has them, with a gradient.

Everything is float32, one rounding for each operation, in the order of `arithmetic`; sums of
weights are whole numbers that float32 holds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurodeploy.errors import InputError
from neurodeploy.program import POTENTIAL, Neurons, Synapses
from neurodeploy.targets.spinnaker2.arithmetic import EXACT
from neurodeploy.targets.spinnaker2.machine import check_refractory, registers_of, resets_to
from neurodeploy.targets.spinnaker2.models import model_of
from neurodeploy.torch.cells import Advanced, SpikeGrad, State, slope
from neurodeploy.torch.straight import Steps


class SpiNNaker2Torch:
    """The `TorchMachine` of SpiNNaker2."""

    def grid(self, synapses: Synapses, target: Neurons) -> Steps:
        """Whole numbers of as many bits as the largest weight has, within the model's limits."""
        low, high = model_of(target).weights
        most = (1 << int(np.abs(synapses.weight).max(initial=1)).bit_length()) - 1
        least = 0 if synapses.port != "current" else max(low, -most)
        return Steps(1.0, float(least), float(min(high, most)))

    def activation(self, total: Tensor, synapses: Synapses, most: float) -> Tensor:
        """The sum itself; raises `InputError` where float32 might round it."""
        if most > EXACT:
            raise InputError(
                f"weights that arrive in one tick may sum up to {most:,.0f}; float32 holds every "
                f"integer up to {EXACT:,} only",
                node=synapses.name,
            )
        return total.float()

    def cells(
        self,
        population: Neurons,
        own: NDArray[np.int64],
        spike_grad: SpikeGrad,
        trained: Collection[str],
    ) -> Lif:
        """Raises `InputError` for a refractory period."""
        check_refractory(population, model_of(population))
        return Lif(population, own, spike_grad, trained)


class Lif(nn.Module):
    """One population; `bias` (i_offset) and `threshold` are registers in float32."""

    dtype = torch.float32

    def __init__(
        self,
        population: Neurons,
        own: NDArray[np.int64],
        spike_grad: SpikeGrad,
        trained: Collection[str],
    ) -> None:
        super().__init__()
        self.population, self.spike_grad = population, spike_grad
        self.model, self.to = model_of(population), resets_to(population)
        self.ports = self.model.ports
        registers = registers_of(population)
        for name in ("alpha_decay", "v_reset", "exc_decay", "inh_decay", "v_init"):
            self.register_buffer(name, torch.from_numpy(registers[name].copy()))
        self.register_buffer("own", torch.from_numpy(own.astype(np.float32)))
        self.register_buffer("unit", torch.from_numpy(population.unit.reshape(-1).copy()))
        for name, register in (("bias", "i_offset"), ("threshold", "threshold")):
            values = torch.from_numpy(population.float_register(register).reshape(-1).copy())
            if name in trained:
                setattr(self, name, nn.Parameter(values))
            else:
                self.register_buffer(name, values)

    def start(self, samples: int) -> State:
        """As `machine.settled`; raises `InputError` where a neuron would spike before any input."""
        v = self.v_init
        for tick in range(self.population.depth):
            v = v * self.alpha_decay + (0.0 + self.bias)
            if bool((v >= self.threshold).any()):
                raise InputError(
                    f"neurons spike at tick {tick} already, but input reaches them at tick "
                    f"{self.population.depth}",
                    node=self.population.name,
                    hint="Lower v_init or i_offset.",
                )
        size = (samples, self.population.size)
        zero = torch.zeros(size, device=v.device)
        return v.expand(size), zero, zero, zero

    def forward(
        self, currents: Mapping[str, Tensor], state: State, first: int, record: bool
    ) -> Advanced:
        exc = currents[self.model.ports[0]]
        inh = currents.get("inhibitory")
        if inh is None:
            inh = torch.zeros((), device=exc.device).expand(exc.shape)
        kept: dict[str, Tensor] = {}
        decays = (self.exc_decay, self.inh_decay) if self.model.filtered else None
        constants = (
            self.alpha_decay, self.v_reset if self.to else None, decays, self.own, self.unit,
            self.spike_grad, kept, record,
        )  # fmt: skip
        spikes, potential, *after = _Lif.apply(  # type: ignore[no-untyped-call]
            exc, inh, self.bias, self.threshold, *state, constants
        )
        return Advanced(spikes, potential, tuple(after), kept)

    def registers(self) -> dict[str, NDArray[Any]]:
        return {
            name: values.detach().cpu().numpy().copy()
            for name, values in (("i_offset", self.bias), ("threshold", self.threshold))
        }


class _Lif(torch.autograd.Function):
    r"""Ticks t of e' = e d + x, i' = i f + y, p = v a + (e' - i' + o), s = [p >= V], and a reset.

    Without synaptic currents e' = x and i' = y.  v' = R where s and the reset is one to R, and else
    p - V s.  Backwards, with :math:`\sigma` the surrogate's derivative and no gradient through s in
    the reset (nor through what a neuron's own spike adds),

    .. math::
        \bar p_t &= \bar P_t + \sigma_t \bar S_t + (1 - s_t)\ \mathrm{or}\ 1\ \cdot \bar v_t \\
        \bar x_t &= \bar e_t = \bar p_t + d \bar e_{t+1}, \quad
        \bar y_t = \bar i_t = -\bar p_t + f \bar i_{t+1}, \quad \bar v_{t-1} = a \bar p_t
    """

    @staticmethod
    def forward(
        ctx: Any,
        exc: Tensor,
        inh: Tensor,
        offset: Tensor,
        threshold: Tensor,
        v: Tensor,
        e: Tensor,
        i: Tensor,
        sent: Tensor,
        constants: Any,
    ) -> tuple[Tensor, ...]:
        alpha, v_reset, decays, own, unit, spike_grad, kept, record = constants
        potentials, vs, es, others = [], [], [], []
        for t in range(exc.shape[1]):
            x, y = exc[:, t] + own * sent, inh[:, t]
            if decays is not None:
                x, y = e * decays[0] + x, i * decays[1] + y
                e, i = x, y
            p = v * alpha + ((x - y) + offset)
            fired = p >= threshold
            v = torch.where(fired, p - threshold if v_reset is None else v_reset, p)
            sent = fired.float()
            potentials.append(p)
            if record:
                vs.append(v)
                es.append(e)
                others.append(i)
        potential = torch.stack(potentials, 1)
        if record:
            kept.update({"v": torch.stack(vs, 1), POTENTIAL: potential})
            if decays is not None:
                kept.update({"exc": torch.stack(es, 1), "inh": torch.stack(others, 1)})
        ctx.save_for_backward(potential, threshold, alpha, unit, offset)
        ctx.decays, ctx.to, ctx.spike_grad = decays, v_reset is not None, spike_grad
        return (potential >= threshold).float(), potential, v.clone(), e.clone(), i.clone(), sent

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any,
        to_spikes: Tensor,
        to_potential: Tensor,
        to_v: Tensor,
        to_e: Tensor,
        to_i: Tensor,
        to_sent: Tensor,
    ) -> tuple[Tensor | None, ...]:
        potential, threshold, alpha, unit, offset = ctx.saved_tensors
        above = ((potential - threshold) / unit).float()
        through = (slope(ctx.spike_grad, above) / unit).float() * to_spikes
        fired = potential >= threshold
        to_exc, to_inh = torch.empty_like(potential), torch.empty_like(potential)
        to_threshold, to_offset = -through.sum((0, 1)), torch.zeros_like(potential[0, 0])
        for t in range(potential.shape[1] - 1, -1, -1):
            if not ctx.to:
                to_threshold = to_threshold - (fired[:, t] * to_v).sum(0)
            kept = to_v * ~fired[:, t] if ctx.to else to_v
            to_p = to_potential[:, t] + through[:, t] + kept
            to_offset = to_offset + to_p.sum(0)
            to_v = alpha * to_p
            to_x, to_y = to_p, -to_p
            if ctx.decays is not None:
                to_x, to_y = to_x + to_e, to_y + to_i
                to_e, to_i = ctx.decays[0] * to_x, ctx.decays[1] * to_y
            to_exc[:, t], to_inh[:, t] = to_x, to_y
        if offset.numel() == 1:
            to_offset = to_offset.sum(0, keepdim=True)
        if threshold.numel() == 1:
            to_threshold = to_threshold.sum(0, keepdim=True)
        return to_exc, to_inh, to_offset, to_threshold, to_v, to_e, to_i, None, None
