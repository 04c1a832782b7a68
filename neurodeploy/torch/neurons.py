"""Neurons over time as one differentiable function: the chip's steps, and their reverse by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from neurodeploy.torch.cells import Cells, Registers, States

Surrogate = Callable[[Tensor], Tensor]
"""A spike for a potential less its threshold, in units of the model: any `snntorch.surrogate`."""


@dataclass(frozen=True, eq=False)
class Sent:
    """What neurons did: spikes float32 and potentials (steps, samples, neurons), with gradients.

    `recorded`: states after every step by name, in chip units, where asked for.
    """

    spikes: Tensor
    potential: Tensor
    states: States
    recorded: Mapping[str, Tensor]


def run(
    cells: Cells,
    surrogate: Surrogate,
    currents: Mapping[str, Tensor],
    states: States,
    constants: Registers,
    unit: Tensor,
    first: int,
    record: bool = False,
) -> Sent:
    """Some steps of `cells`; see `Cells.run`.

    Backward, the spike of a potential p has the derivative of the surrogate at (p - threshold) /
    unit.  A reset has none with respect to the spike, as in snnTorch, nor has what neurons send to
    themselves, which is what delayed resets are made of.
    """
    job = _Job(cells, surrogate, tuple(currents), len(states) - 1, dict(constants), first, record)
    learned = (constants[name] for name in cells.learned)
    found = _Run.apply(job, unit, *currents.values(), *states, *learned)  # type: ignore[no-untyped-call]
    spikes, potential, *after = found
    return Sent(spikes, potential, tuple(after), job.recorded)


@dataclass(eq=False)
class _Job:
    """What `_Run` needs besides tensors with a gradient; `recorded` is filled."""

    cells: Cells
    surrogate: Surrogate
    ports: tuple[str, ...]
    states: int
    constants: dict[str, Tensor]
    first: int
    record: bool
    recorded: Mapping[str, Tensor] = field(default_factory=dict)
    clipped: bool = False


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, job: _Job, unit: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        count = len(job.ports)
        currents = dict(zip(job.ports, tensors[:count], strict=True))
        states = tensors[count : count + job.states + 1]
        ran = job.cells.run(currents, states, job.constants, job.first, job.record)
        fired = job.cells.fires(ran.potential, job.constants["threshold"])
        job.recorded, job.clipped = ran.recorded, ran.clipped
        ctx.job = job
        ctx.save_for_backward(ran.potential, unit)
        ctx.mark_non_differentiable(ran.states[-1])
        return (fired.to(torch.float32), ran.potential, *ran.states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        job, (potential, unit) = ctx.job, ctx.saved_tensors
        threshold = job.constants["threshold"]
        spikes, potentials, *states = gradients
        direct = spikes.to(potential.dtype) * derivative(
            job.surrogate, (potential - threshold) / unit
        )
        direct = direct / unit
        currents, before, learned = job.cells.back(
            direct + potentials,
            tuple(states[:-1]),
            potential,
            job.constants,
            job.first,
            job.clipped,
        )
        learned["threshold"] = learned.get("threshold", 0) - direct
        return (
            None,
            None,
            *(currents.get(port) for port in job.ports),
            *before,
            None,
            *(_summed(learned[name], job.constants[name]) for name in job.cells.learned),
        )


def derivative(surrogate: Surrogate, x: Tensor) -> Tensor:
    """The surrogate's derivative at each x; 0 where its own formula overflows far from 0."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(surrogate(x).sum(), x)
    return torch.nan_to_num(found, nan=0.0)


def _summed(gradient: Tensor, like: Tensor) -> Tensor:
    """(steps, samples, neurons) as the gradient of (neurons,) or (1,)."""
    total = gradient.sum((0, 1))
    return total if like.numel() > 1 else total.sum().reshape(1)
