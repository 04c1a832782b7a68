"""Rounding with a gradient that goes straight through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Steps:
    """Whole multiples of `step` within low..high, which are multiples themselves."""

    step: float
    low: float
    high: float


def on_grid(values: Tensor, grid: Steps) -> Tensor:
    r"""The nearest of the grid's values: :math:`s\,\mathrm{clip}(\lfloor x/s \rceil, l/s, h/s)`.

    Halves go to even multiples.  The gradient is that of x, but 0 where x is beyond the grid and a
    step against the gradient would lead it further away.
    """
    found: Tensor = _OnGrid.apply(values, grid)  # type: ignore[no-untyped-call]
    return found


class _OnGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Steps) -> Tensor:
        ctx.save_for_backward(values)
        ctx.grid = grid
        return (torch.round(values / grid.step) * grid.step).clamp(grid.low, grid.high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (values,) = ctx.saved_tensors
        away = (values > ctx.grid.high) & (gradient < 0) | (values < ctx.grid.low) & (gradient > 0)
        return torch.where(away, torch.zeros_like(gradient), gradient), None


def straight(smooth: Tensor, exact: Tensor) -> Tensor:
    """`exact`, with the gradient of `smooth`; exact to the last bit, as no sum of both would be."""
    found: Tensor = _Straight.apply(smooth, exact)  # type: ignore[no-untyped-call]
    return found


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None
