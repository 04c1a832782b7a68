"""Do gradients reach the first layer?  A probe of the surrogate's width before anything is trained.

Through many spiking layers the gradient is multiplied with the surrogate again and again: where
that is too wide it explodes, where it is too narrow it vanishes, and the deeper the network the
sooner.  The cure is the surrogate's width (Ledinauskas et al. 2020, arXiv 2006.04436).
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from snntorch import surrogate
from torch import Tensor, nn

from neurodeploy.errors import InputError

logger = logging.getLogger(__name__)

SLOPES = (0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 100.0)
"""Of `snntorch.surrogate.fast_sigmoid`, whose own default is 25; the width is about 1/slope."""
TRAINABLE = (1e-3, 1e3)
"""Ratios that are not warned of: three orders of magnitude either way, a choice of ours."""


@dataclass(frozen=True)
class Probe:
    r"""Gradient norms at the first and the last layer, :math:`\|g_1\| / \|g_L\|`.

    Attributes
    ----------
    ratio: with the surrogates that the network has.
    slopes, ratios: with `fast_sigmoid` of each slope in their place.
    warning: what is wrong with the network's own, and what to do; None if nothing is.
    """

    ratio: float
    slopes: tuple[float, ...]
    ratios: tuple[float, ...]
    warning: str | None

    @property
    def balanced(self) -> float:
        """The slope whose ratio is nearest to 1."""
        found = zip(self.slopes, self.ratios, strict=True)
        return min(found, key=lambda pair: _distance(pair[1]))[0]


def probe_gradients(
    module: nn.Module,
    loss: Callable[[], Tensor],
    slopes: Sequence[float] = SLOPES,
    spike_grad: Callable[[float], Callable[[Tensor], Tensor]] = surrogate.fast_sigmoid,
) -> Probe:
    """Compare gradients of the first and the last layer with weights, as the network is now.

    A ratio outside `TRAINABLE` is logged as a warning.  The module is left as it was: weights,
    gradients, statistics of batch norms and surrogates.

    Parameters
    ----------
    module: whose parts with a `spike_grad` are spiking, as snnTorch's are.
    loss: runs `module` on a batch and returns a scalar loss of it.
    slopes: to try, each as `spike_grad(slope)` in all parts at once.

    Raises
    ------
    InputError
        Fewer than two layers with weights, or nothing that spikes; a loss without a gradient.
    """
    layers = [
        part.weight
        for part in module.modules()
        if isinstance(part, (nn.Linear, nn.modules.conv._ConvNd)) and part.weight.requires_grad
    ]
    neurons: list[Any] = [part for part in module.modules() if hasattr(part, "spike_grad")]
    if len(layers) < 2 or not neurons or not slopes:
        raise InputError(
            f"a probe needs two layers with weights, a spiking one and a slope; there are "
            f"{len(layers)}, {len(neurons)} and {len(slopes)}",
            node=type(module).__name__,
        )
    ends = layers[0], layers[-1]
    state = copy.deepcopy(module.state_dict())
    own = [neuron.spike_grad for neuron in neurons]
    try:
        with torch.random.fork_rng(devices=[]):
            ratio = _ratio(loss, ends)
            ratios = []
            for slope in slopes:
                for neuron in neurons:
                    neuron.spike_grad = spike_grad(slope)
                ratios.append(_ratio(loss, ends))
    finally:
        for neuron, given in zip(neurons, own, strict=True):
            neuron.spike_grad = given
        module.load_state_dict(state)
    found = Probe(ratio, tuple(slopes), tuple(ratios), None)
    warning = _warning(found)
    if warning is not None:
        logger.warning(warning)
    return Probe(ratio, tuple(slopes), tuple(ratios), warning)


def _ratio(loss: Callable[[], Tensor], ends: tuple[Tensor, Tensor]) -> float:
    value = loss()
    if not value.requires_grad:
        raise InputError("the loss has no gradient", hint="Run the module without torch.no_grad().")
    first, last = (
        0.0 if gradient is None else float(gradient.double().norm())
        for gradient in torch.autograd.grad(value, ends, allow_unused=True)
    )
    return first / last if last else math.inf if first else math.nan


def _warning(found: Probe) -> str | None:
    low, high = TRAINABLE
    if low <= found.ratio <= high:
        return None
    if math.isnan(found.ratio):
        return (
            "no gradient reaches any layer: nothing spikes, or the loss does not depend on it. "
            "Scale the weights up or the thresholds down."
        )
    how = "explodes: the surrogate is too wide" if found.ratio > high else (
        "vanishes: the surrogate is too narrow"
    )  # fmt: skip
    return (
        f"the first layer's gradient is {found.ratio:.1g} of the last one's, it {how} for a "
        f"network this deep. fast_sigmoid(slope={found.balanced:g}) balances them best; beyond "
        "some ten layers add skip connections."
    )


def _distance(ratio: float) -> float:
    return abs(math.log(ratio)) if 0 < ratio < math.inf else math.inf
