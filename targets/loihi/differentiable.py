r"""CUBA LIF neurons on tensors, bit for bit as `arithmetic` has them, with a gradient.

Integers are held in float64, which has all of them up to :math:`2^{53}`; the largest here is a
state of some 24 bits times 4096.  The gradient goes straight through rounding and wrapping, and
is 0 where v saturates.
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
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, STATE_LIMIT, STATE_SHIFT
from neurodeploy.targets.loihi.models import INT32_MAX, MODELS, model_of
from neurodeploy.targets.loihi.stepwise import Restart
from neurodeploy.torch.cells import Advanced, SpikeGrad, State, slope
from neurodeploy.torch.straight import Steps, on_grid, straight

UNIT = float(1 << STATE_SHIFT)
SATURATED = float(STATE_LIMIT - 1)
WEIGHTS = 256
MANTISSA = Steps(1.0, *map(float, MODELS["lif"].registers["bias_mant"]))
THRESHOLD = Steps(1.0, *map(float, MODELS["lif"].registers["vth"]))


def wrap(x: Tensor, bits: int) -> Tensor:
    """((x + 2^(bits-1)) mod 2^bits) - 2^(bits-1), exact for whole |x| < 2^52."""
    half = float(1 << (bits - 1))
    return torch.remainder(x + half, 2 * half) - half


def decay(state: Tensor, keep: Tensor) -> Tensor:
    """rtz(state keep / 2^12), rounded toward zero, with keep = 4096 - factor."""
    return torch.trunc(state * keep / DECAY_ONE)


def wrap_u(x: Tensor) -> Tensor:
    """x wrapped once at +-2^23; x = +2^23 is kept."""
    return x - 2.0 * STATE_LIMIT * (x > STATE_LIMIT) + 2.0 * STATE_LIMIT * (x <= -STATE_LIMIT)


class LoihiTorch:
    """The `TorchMachine` of Loihi."""

    def grid(self, synapses: Synapses, target: Neurons) -> Steps:
        """Multiples of the largest power of two that divides every weight, below 256."""
        together = int(np.bitwise_or.reduce(np.abs(synapses.weight), axis=None, initial=0))
        step = max(2, min(together & -together, WEIGHTS // 2)) if together else 2
        signed = synapses.weight.min(initial=0) < 0 < synapses.weight.max(initial=0)
        if together & 1:
            step, signed = 1, synapses.weight.min(initial=0) < 0
        low = float(step - WEIGHTS) if signed or synapses.weight.min(initial=0) < 0 else 0.0
        high = float(WEIGHTS - step) if signed or synapses.weight.max(initial=0) > 0 else 0.0
        return Steps(float(step), low, high)

    def activation(self, total: Tensor, synapses: Synapses, most: float) -> Tensor:
        """`arithmetic.dense_activation` or `conv_activation`."""
        scaled = total * 2.0**synapses.exponent
        if synapses.kind == "conv2d":
            inside = most * 2.0**synapses.exponent < STATE_LIMIT
            return scaled if inside else straight(scaled, wrap(scaled, 24))
        if synapses.exponent >= 0:
            inside = most * 2.0**synapses.exponent <= INT32_MAX
            return scaled if inside else straight(scaled, wrap(scaled, 32))
        floored = torch.floor(wrap(total, 32) * 2.0**synapses.exponent)
        return straight(scaled, floored)

    def cells(
        self,
        population: Neurons,
        own: NDArray[np.int64],
        spike_grad: SpikeGrad,
        trained: Collection[str],
    ) -> CubaLif:
        """Raises `InputError` for neurons other than CUBA LIF."""
        model_of(population)
        if population.model != "lif":
            raise InputError(
                f"neurons {population.model!r} have no gradient here", node=population.name
            )
        return CubaLif(population, own, spike_grad, trained)


class CubaLif(nn.Module):
    """One population; `bias` and `threshold` are registers in float64, rounded where used.

    Where u remembers, it starts so that it lacks the bias, as lowering has it: u0 moves against
    the bias when that is trained.
    """

    dtype = torch.float64
    ports = MODELS["lif"].ports

    def __init__(
        self,
        population: Neurons,
        own: NDArray[np.int64],
        spike_grad: SpikeGrad,
        trained: Collection[str],
    ) -> None:
        super().__init__()
        self.population, self.spike_grad = population, spike_grad
        self.restart = Restart.of(population)
        for name in ("du", "dv", "bias_exp", "u0", "v0"):
            self.register_buffer(name, _float(population.register(name)))
        self.register_buffer("own", _float(own))
        self.register_buffer("unit", torch.from_numpy(population.unit.reshape(-1).copy()))
        for name, register in (("bias", "bias_mant"), ("threshold", "vth")):
            values = _float(population.register(register))
            if name in trained:
                setattr(self, name, nn.Parameter(values))
            else:
                self.register_buffer(name, values)
        self.register_buffer("lacks", self.u0 + self._bias().detach())

    def _mantissa(self) -> Tensor:
        return on_grid(self.bias, MANTISSA)

    def _bias(self) -> Tensor:
        return self._mantissa() * 2.0**self.bias_exp

    def _start(self) -> Tensor:
        """u0."""
        remembers = self.du < DECAY_ONE - 1
        return torch.where(remembers, self.lacks - self._bias(), self.u0)

    def _threshold(self) -> Tensor:
        return on_grid(self.threshold, THRESHOLD)

    def start(self, samples: int) -> State:
        size = (samples, self.population.size)
        v, sent = self.v0.expand(size), torch.zeros(size, dtype=self.dtype, device=self.v0.device)
        return self._start().expand(size), v, sent

    def forward(
        self, currents: Mapping[str, Tensor], state: State, first: int, record: bool
    ) -> Advanced:
        current = currents["current"]
        bias = self._bias()
        if "bias" in currents:
            total = self._mantissa() + currents["bias"]
            bias = straight(total, wrap(total, 16)) * 2.0**self.bias_exp
            bias = straight(bias, wrap(bias, 32))
        samples, steps = current.shape[:2]
        restarts = [False] * steps
        if self.restart is not None:
            restarts = self.restart.at(first, steps).tolist()
        kept: dict[str, Tensor] = {}
        constants = (self.du, self.dv, self.own, self.unit, self.spike_grad, restarts, kept, record)
        spikes, potential, u, v, sent = _Lif.apply(  # type: ignore[no-untyped-call]
            current, bias.expand(samples, steps, -1), self._threshold(), *state, constants
        )
        return Advanced(spikes, potential, (u, v, sent), kept)

    def registers(self) -> dict[str, NDArray[Any]]:
        found = {"bias_mant": self._mantissa(), "vth": self._threshold(), "u0": self._start()}
        return {name: _integers(values) for name, values in found.items()}


def _float(values: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(values.reshape(-1).astype(np.float64))


def _integers(values: Tensor) -> NDArray[np.int64]:
    found: NDArray[np.int64] = values.detach().cpu().numpy().astype(np.int64)
    return found


class _Lif(torch.autograd.Function):
    r"""Steps t of u' = k u + 64 a, p = l v + u' + b, s = [p > 64 V], v' = p (1 - s).

    With :math:`k = (4095 - du)/4096` and :math:`l = (4096 - dv)/4096`; a includes what the neuron's
    own last spike adds.  Backwards, with :math:`\sigma` the surrogate's derivative,

    .. math::
        \bar p_t &= [|p_t| < 2^{23}-1] (\bar P_t + \sigma_t \bar S_t + (1 - s_t) \bar v_t) \\
        \bar u_t &= \bar p_t + k \bar u_{t+1}, \quad \bar v_{t-1} = l \bar p_t, \quad
        \bar a_t = 64 \bar u_t, \quad \bar V = -64 \sum_t \sigma_t \bar S_t
    """

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        bias: Tensor,
        threshold: Tensor,
        u: Tensor,
        v: Tensor,
        sent: Tensor,
        constants: Any,
    ) -> tuple[Tensor, ...]:
        du, dv, own, unit, spike_grad, restarts, kept, record = constants
        keep_u, keep_v = DECAY_ONE - 1 - du, DECAY_ONE - dv
        level, fed = threshold * UNIT, bool(own.any())
        arriving = current if fed else wrap(wrap(current, 32) * UNIT, 32)
        potentials, us, vs = [], [], []
        for t, restart in enumerate(restarts):
            a = arriving[:, t]
            if fed:
                a = wrap(wrap(a + own * sent, 32) * UNIT, 32)
            if restart:
                u, v = torch.zeros_like(u), torch.zeros_like(v)
            u = wrap_u(wrap(decay(u, keep_u) + a, 32))
            p = wrap(decay(v, keep_v) + u + bias[:, t], 32).clamp(-SATURATED, SATURATED)
            fired = p > level
            sent = fired.to(p.dtype)
            v = torch.where(fired, torch.zeros_like(p), p)
            potentials.append(p)
            if record:
                us.append(u)
                vs.append(v)
        potential = torch.stack(potentials, 1)
        if record:
            kept.update({"u": torch.stack(us, 1), "v": torch.stack(vs, 1), POTENTIAL: potential})
        ctx.save_for_backward(potential, level, keep_u, keep_v, unit)
        ctx.spike_grad, ctx.restarts = spike_grad, restarts
        return (potential > level).float(), potential, u.clone(), v, sent

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any,
        to_spikes: Tensor,
        to_potential: Tensor,
        to_u: Tensor,
        to_v: Tensor,
        to_sent: Tensor,
    ) -> tuple[Tensor | None, ...]:
        potential, level, keep_u, keep_v, unit = ctx.saved_tensors
        keep_u, keep_v = keep_u / DECAY_ONE, keep_v / DECAY_ONE
        through = slope(ctx.spike_grad, (potential - level) / unit) / unit * to_spikes
        inside = potential.abs() < SATURATED
        silent = potential <= level
        to_u, to_v = to_u.clone(), to_v.clone()
        to_current, to_bias = torch.empty_like(potential), torch.empty_like(potential)
        for t in range(potential.shape[1] - 1, -1, -1):
            to_p = inside[:, t] * (to_potential[:, t] + through[:, t] + silent[:, t] * to_v)
            to_u = to_u + to_p
            to_current[:, t], to_bias[:, t] = UNIT * to_u, to_p
            to_u, to_v = keep_u * to_u, keep_v * to_p
            if ctx.restarts[t]:
                to_u, to_v = torch.zeros_like(to_u), torch.zeros_like(to_v)
        to_threshold = (-UNIT * through).sum((0, 1))
        if level.numel() == 1:
            to_threshold = to_threshold.sum(0, keepdim=True)
        return to_current, to_bias, to_threshold, to_u, to_v, None, None
