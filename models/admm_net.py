"""The network of `admm`, as snnTorch executes it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurodeploy.models.encoding import rate_code
from neurodeploy.models.layerwise import reset, spikes_of, time_major
from neurodeploy.models.training import one_thread


class AdmmNet(nn.Module):
    """Hidden layers of snnTorch's `Leaky`, and a leaky readout; no biases.

    `forward` gives the potentials z_L (N, classes) of one step's spikes (N, C, H, W).

    Parameters
    ----------
    sizes: neurons of every layer, the input first.
    steps: T, where samples are images.
    decay, threshold: of every neuron.
    """

    def __init__(self, sizes: Sequence[int], steps: int, decay: float, threshold: float) -> None:
        super().__init__()
        self.steps, self.decay = steps, decay
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in itertools.pairwise(sizes[:-1]):
            layers += [
                nn.Linear(inputs, outputs, bias=False),
                snn.Leaky(beta=decay, threshold=threshold, init_hidden=True),
            ]
        self.body = nn.Sequential(*layers)
        self.readout = nn.Linear(sizes[-2], sizes[-1], bias=False)
        self.potential = snn.Leaky(
            beta=decay, reset_mechanism="none", init_hidden=True, output=True
        )

    def forward(self, x: Tensor) -> Tensor:
        potential: Tensor = self.potential(self.readout(self.body(x)))[1]
        return potential

    def linears(self) -> list[nn.Linear]:
        """W_1, ..., W_L."""
        return [layer for layer in self.modules() if isinstance(layer, nn.Linear)]


def encode(x: NDArray[Any], steps: int) -> NDArray[np.uint8]:
    """Spikes uint8 (N, T, C, H, W): images (N, C, H, W) as a rate code, events as they are."""
    return rate_code(x, steps) if x.ndim == 4 else x


def execute(net: AdmmNet, x: NDArray[Any]) -> tuple[Tensor, Tensor]:
    """(spikes of the last hidden layer, potentials) in every step: float32 (T, N, neurons).

    `x`: samples as in `Data`.
    """
    reset(net)
    with one_thread(), torch.no_grad():
        spikes = time_major(torch.from_numpy(encode(x, net.steps))).flatten(2)
        layers = list(net.body)[1:]
        for linear, neurons in zip(layers[::2], layers[1::2], strict=True):
            spikes = spikes_of(neurons, linear(spikes))
        currents = net.readout(spikes)
        potentials = torch.stack([net.potential(current)[1] for current in currents])
    reset(net)
    return spikes, potentials
