"""The neurons of DS-ATGO: a threshold that follows the potentials, and the gradient's width.

Equations after Jiang, Xu, Fan and Yan (arXiv 2511.13050) and their code
(github.com/jqjiang1999/DS-ATGO).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import snntorch as snn
import torch
from torch import Tensor, nn

START = 1.0  # V0 and k0 of the paper: the first threshold, and the width there
SCALE = 1.0  # f_c of the released code
MEMORY = 0.9  # share of the average threshold that an update keeps
FIRST_DECAY = 0.2  # sigma(w) before training
LEAST = 0.05  # ours: a hard reset to 0 below a threshold under 0 would fire at rest

Width = Literal["fixed", "threshold", "spread"]


def gradient_width(measure: Tensor) -> Tensor:
    r"""The width of the surrogate gradient, between 0 and 2.

    .. math:: k = k_0\,(1 + \tanh(m - V_0)), \qquad V_0 = k_0 = 1

    with m the layer's threshold (the paper) or the standard deviation of its potentials (the
    released code).  The paper writes two branches, :math:`(1 - \tanh(V_0 - m))\,k_0` below
    :math:`V_0` and :math:`(1 + \tanh(m - V_0))\,k_0` above; tanh is odd, so they are one.
    """
    return START * (1 + torch.tanh(measure - START))


class Fire(torch.autograd.Function):
    r"""1 above 0; backwards a rectangle of area 1, :math:`[\,|x| < k/2\,] / k`."""

    @staticmethod
    def forward(ctx: Any, above: Tensor, width: Tensor) -> Tensor:
        """Spikes of potentials less the threshold."""
        ctx.save_for_backward(above, width)
        return (above > 0).to(above.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Nothing for the width."""
        above, width = ctx.saved_tensors
        return gradients[0] * inside(above, width) / width, None


def inside(above: Tensor, width: Tensor) -> Tensor:
    """Which neurons stand where the gradient is not 0."""
    return above.abs() < width / 2


class Step(NamedTuple):
    """One step of a layer: its spikes, and which neurons stand inside the gradient's window."""

    spikes: Tensor
    inside: Tensor


class AdaptivePLIF(nn.Module):
    r"""A layer of leaky neurons with a learned decay, reset to zero, and an adaptive threshold.

    .. math::
        v_t &= \sigma(w)\, u_{t-1} + x_t, \quad s_t = [v_t > V_t], \quad u_t = v_t (1 - s_t) \\
        V_t &= \max(f_c\,(\mu(v_t) + \mathrm{sd}(v_t)),\ \varepsilon)

    with mean and standard deviation over the batch and all neurons of the layer, outside of the
    gradient; the reset is inside of it.  Training fires at :math:`V_t` and keeps its average
    :math:`\bar V_t \leftarrow 0.9\, \bar V_t + 0.1\, V_t`, from 1; evaluation fires at the average.
    Potentials with a normal distribution fire with probability :math:`1 - \Phi(1) = 0.159`.

    Differs from the released code in that a potential equal to the threshold does not fire
    (snnTorch's comparison), that :math:`\varepsilon` bounds the threshold, and that the average is
    the buffer `threshold` (T,), which is saved with the network.

    Parameters
    ----------
    steps: the number of time steps T; each has its own threshold.
    adaptive: whether it fires at these thresholds, or at 1.
    width: of the surrogate gradient: 1 (fixed), or `gradient_width` of the threshold (which follows
        the potentials also where it is not fired at) or of the potentials' spread.
    """

    threshold: Tensor

    def __init__(self, steps: int, adaptive: bool, width: Width) -> None:
        super().__init__()
        self.adaptive, self.width = adaptive, width
        self.logit = nn.Parameter(torch.tensor(math.log(FIRST_DECAY / (1 - FIRST_DECAY))))
        self.register_buffer("threshold", torch.full((steps,), START))

    def forward(self, currents: Tensor) -> Tensor:
        """Spikes (T, N, ...) of currents (T, N, ...), from zero state."""
        return torch.stack([step.spikes for step in self.run(currents)])

    def run(self, currents: Tensor) -> Iterator[Step]:
        """Step by step."""
        decay, rest = torch.sigmoid(self.logit), torch.zeros_like(currents[0])
        for t, current in enumerate(currents.unbind()):
            v = decay * rest + current
            spread = v.detach().std(correction=0)
            level = self.threshold[t]
            if self.training:
                level = (SCALE * (v.detach().mean() + spread)).clamp(min=LEAST)
                self.threshold[t].lerp_(level, 1 - MEMORY)
            above = v - (level if self.adaptive else START)
            width = torch.full_like(level, START)
            if self.width != "fixed":
                width = gradient_width(level if self.width == "threshold" else spread)
            spikes = Fire.apply(above, width)  # type: ignore[no-untyped-call]
            yield Step(spikes, inside(above.detach(), width))
            rest = v * (1 - spikes)

    def exported(self) -> nn.Module:
        """snnTorch's neuron, with the mean over time of the average thresholds."""
        neuron: nn.Module = snn.Leaky(
            beta=torch.sigmoid(self.logit).item(),
            threshold=self.threshold.mean().item() if self.adaptive else START,
            reset_mechanism="zero",
            init_hidden=True,
        )
        return neuron
