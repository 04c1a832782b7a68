"""A network without cycles, computed layer by layer over all steps at once.

That equals computing it step by step and is several times faster.  In training mode batch norms
share one mean and variance over all steps, which is what lets them be folded into the weights.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import snntorch as snn
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurodeploy.models.training import one_thread

BATCH = 256  # samples that are computed at once where nothing is learned


def time_major(x: Tensor) -> Tensor:
    """Events (N, T, ...) of any dtype as float32 (T, N, ...)."""
    return x.transpose(0, 1).to(torch.float32)


def over_steps(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer without state, on (T, N, ...)."""
    y: Tensor = layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return y


def spikes_of(neuron: nn.Module, currents: Tensor) -> Tensor:
    """The spikes (T, N, ...) of an snnTorch neuron with `init_hidden=True`, from zero state."""
    neuron.reset_mem()  # type: ignore[operator]
    return torch.stack([neuron(current) for current in currents.unbind()])


def spikes_per_layer(net: nn.Sequential, x: Tensor, steps: int | None = None) -> dict[str, Tensor]:
    """The spikes of every neuron layer, float32 (T, N, ...), from zero state; output layer last.

    Parameters
    ----------
    net: layers without state, and snnTorch neurons with `init_hidden=True`.
    x: float32 (T, N, ...); or, with `steps`, a current (N, ...) that is the same at every step,
        through which the layers before the first neurons then go once.
    """
    recorded = {}
    for name, layer in net.named_children():
        if isinstance(layer, snn.SpikingNeuron):
            if steps is not None:
                x, steps = x.expand(steps, *x.shape), None
            x = recorded[name] = spikes_of(layer, x)
        elif steps is not None:
            x = layer(x)
        else:
            x = over_steps(layer, x)
    return recorded


def reset(net: nn.Module) -> None:
    """Clear the state of every neuron that holds its own."""
    for module in net.modules():
        if isinstance(module, snn.SpikingNeuron) and module.init_hidden:
            module.reset_mem()


class SpikingNet(nn.Sequential):
    """Layers by name, and for how many steps an image is shown."""

    def __init__(self, layers: dict[str, nn.Module], steps: int) -> None:
        super().__init__(OrderedDict(layers))
        self.steps = steps

    def spikes(self, x: Tensor) -> dict[str, Tensor]:
        """Of every layer of neurons, (T, N, ...), for images (N, ...) or events (N, T, ...)."""
        if x.ndim == 4:
            return spikes_per_layer(self, x, self.steps)
        return spikes_per_layer(self, time_major(x))

    def responses(self, x: NDArray[Any], name: str) -> Tensor:
        """The spikes of one layer, uint8 (N, T, ...), in evaluation mode; clears the state."""
        self.eval()
        with one_thread(), torch.no_grad():
            parts = torch.split(torch.from_numpy(x), BATCH)
            found = [self.spikes(part)[name].transpose(0, 1).to(torch.uint8) for part in parts]
        reset(self)
        return torch.cat(found)
