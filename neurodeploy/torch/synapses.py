"""Synapses as modules: exact sums of integer weights, in floating point."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neurodeploy.errors import InputError
from neurodeploy.program import IntArray, Synapses
from neurodeploy.torch.cells import TorchMachine
from neurodeploy.torch.straight import Steps, on_grid

EXACT = {torch.float32: 1 << 24, torch.float64: 1 << 53}
"""Up to where a type holds every integer, so that sums are exact in any order."""


class TorchSynapses(nn.Module):
    """Synapses of a program, of one or several delays.

    Attributes
    ----------
    weight: float64, of the weights' shape in chip units: a parameter that is rounded to the grid
        where it is used, or a buffer where nothing is trained.

    Parameters
    ----------
    grid: of the weights; None where they are not trained.
    reach: the greatest magnitude of what the source sends; 1 for spikes.
    wait: steps that a message takes without delay.
    counts: whether integers that the source sends count as spikes.

    Raises
    ------
    InputError
        Sums that float64 might round.
    """

    weight: Tensor

    def __init__(
        self,
        synapses: Synapses,
        machine: TorchMachine,
        grid: Steps | None,
        reach: float,
        wait: int,
        counts: bool,
    ) -> None:
        super().__init__()
        self.synapses, self.machine, self.grid, self.wait = synapses, machine, grid, wait
        self.counts = counts
        values = torch.from_numpy(synapses.weight.astype(np.float64))
        if grid is None:
            self.register_buffer("weight", values)
        else:
            self.weight = nn.Parameter(values)
        largest = float(np.abs(synapses.weight).max(initial=0))
        if grid is not None:
            largest = max(largest, abs(grid.low), abs(grid.high))
        fan_in = 1 if synapses.kind == "one-to-one" else math.prod(synapses.weight.shape[1:])
        self.most = fan_in * largest * reach
        wide = [dtype for dtype, limit in EXACT.items() if self.most <= limit]
        if not wide:
            raise InputError(
                f"its sums may reach {self.most:.3g}, which float64 does not hold exactly",
                node=synapses.name,
            )
        self.dtype = wide[0]

    @property
    def delays(self) -> list[int]:
        """Steps that messages take, one for each part of the synapses."""
        return [self.wait + int(delay) for delay in np.unique(self.synapses.delay)]

    def rounded(self) -> Tensor:
        """The weights as the chip has them, float64."""
        return self.weight if self.grid is None else on_grid(self.weight, self.grid)

    def integers(self) -> IntArray:
        """The same as the program has them."""
        found: IntArray = self.rounded().detach().cpu().numpy().astype(np.int64)
        return found

    def forward(self, sent: list[Tensor]) -> Tensor:
        """What arrives, (samples, steps, neurons), of messages (samples, steps, sources).

        Parameters
        ----------
        sent: for each of `delays` what was sent so long before.
        """
        weight, delay = self.rounded().to(self.dtype), self.synapses.delay
        total: Tensor | None = None
        for steps, messages in zip(np.unique(delay), sent, strict=True):
            part = weight
            if delay.size > 1:
                part = weight * torch.from_numpy(delay == steps).to(weight.device)
            messages = messages != 0 if self.counts else messages
            found = self.machine.activation(
                self._sums(messages.to(self.dtype), part).double(), self.synapses, self.most
            )
            total = found if total is None else total + found
        if total is None:
            raise InputError("has no delay", node=self.synapses.name)
        return total

    def _sums(self, messages: Tensor, weight: Tensor) -> Tensor:
        synapses = self.synapses
        if synapses.kind == "one-to-one":
            return messages * weight.reshape(-1)
        if synapses.kind == "dense":
            return F.linear(messages, weight.reshape(len(weight), -1))
        rows = messages.flatten(0, 1).unflatten(1, synapses.in_shape)
        options = synapses.stride, synapses.padding, synapses.dilation
        if rows.device.type == "cpu":
            maps = F.conv2d(rows, weight, None, *options, synapses.groups)
        else:
            maps = _unfolded(rows, weight, synapses)
        return maps.flatten(1).unflatten(0, messages.shape[:2])


def _unfolded(rows: Tensor, weight: Tensor, synapses: Synapses) -> Tensor:
    """A convolution as one product: libraries of other devices may pick transforms that round."""
    columns = F.unfold(
        rows,
        synapses.weight.shape[2:],
        dilation=synapses.dilation,
        padding=synapses.padding,
        stride=synapses.stride,
    )
    grouped = columns.unflatten(1, (synapses.groups, -1))
    kernels = weight.flatten(1).unflatten(0, (synapses.groups, -1))
    maps = torch.einsum("gok,ngkp->ngop", kernels, grouped)
    return maps.flatten(1, 2).unflatten(2, synapses.out_shape[1:])
