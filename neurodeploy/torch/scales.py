"""Weights on a grid of few bits in training: by the largest one, a percentile, or a learned step.

A layer keeps its weights in floating point and computes with the nearest multiples of a step.  Once
they are baked in, `compile` finds the step and keeps the integers, with the threshold scaled along.

::

    on_grid(net.fc1, bits=4, scale="learned")
    ...                                             # train
    bake(net)
    program = nd.compile(nd.from_snntorch(net, sample), target="spinnaker2", calibration=x)
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from neurodeploy.errors import InputError

Scale = float | Literal["learned"]


class WeightGrid(nn.Module):
    r"""The nearest multiples of a step s, from -q to q = 2^(b-1) - 1 times it.

    .. math:: \hat w = s \cdot \mathrm{clip}(\lfloor w/s \rceil, -q, q)

    Gradients go straight through rounding: 1 to w inside the range, 0 outside.  A learned step gets

    .. math::
        \frac{\partial \hat w}{\partial s} = \lfloor w/s \rceil - w/s \text{ inside}, \;
        \pm q \text{ outside, times } 1/\sqrt{N q}

    for N weights (LSQ: Esser et al. 2020, arXiv 1902.08153).

    Attributes
    ----------
    step: s where it is learned, a parameter (1,).
    """

    def __init__(self, weight: Tensor, bits: int, scale: Scale = 100.0) -> None:
        super().__init__()
        if bits < 2:
            raise InputError(f"bits is {bits}, expected at least 2")
        if scale != "learned" and not 0 < scale <= 100:
            raise InputError(f"scale is {scale!r}, expected 'learned' or a percentile in 0..100")
        self.most = (1 << (bits - 1)) - 1
        self.percentile = 100.0 if scale == "learned" else float(scale)
        self.step: Tensor | None = None
        if scale == "learned":
            self.step = nn.Parameter(self._observed(weight.detach()).reshape(1))

    def forward(self, weight: Tensor) -> Tensor:
        step = self._observed(weight.detach())
        if self.step is not None:
            share = 1 / math.sqrt(weight.numel() * self.most)
            step = self.step * share + (self.step * (1 - share)).detach()
        levels = (weight / step).clamp(-self.most, self.most)
        return (levels + (levels.round() - levels).detach()) * step

    def _observed(self, weight: Tensor) -> Tensor:
        """The step at which a percentile of the magnitudes is the largest multiple; 1 for zeros."""
        largest = torch.quantile(weight.abs().flatten().double(), self.percentile / 100)
        return torch.where(largest > 0, largest / self.most, torch.ones_like(largest)).to(weight)


def on_grid(layer: nn.Module, bits: int, scale: Scale = 100.0) -> None:
    """Let `layer` compute with weights on a grid, see `WeightGrid`; its own are trained on.

    Parameters
    ----------
    scale: what the largest multiple of the step is: a percentile of the weights' magnitudes, found
        anew in every forward pass, beyond which they are clipped; or "learned".

    Raises
    ------
    InputError
        A layer without weights, an impossible width or scale.
    """
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        raise InputError("has no weights", node=type(layer).__name__)
    parametrize.register_parametrization(layer, "weight", WeightGrid(weight, bits, scale))


def bake(module: nn.Module) -> None:
    """Leave every layer of `module` the weights that it computes with, and no grid."""
    for layer in module.modules():
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
