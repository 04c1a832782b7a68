"""What a target brings so that its programs can be trained: its arithmetic on tensors.

Populations lie flat, in C order: tensors are (samples, steps, neurons).  Chip integers are held in
floating point wide enough for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.program import Neurons, Synapses
from neurodeploy.torch.straight import Steps

SpikeGrad = Callable[[Tensor], Tensor]
"""A surrogate, as those of `snntorch.surrogate`: of the membrane potential above the threshold."""
State = tuple[Tensor, ...]
"""(samples, neurons) each: what passes from step to step; last, what the neurons sent."""


@dataclass(frozen=True)
class Advanced:
    """Some steps of one population.

    Attributes
    ----------
    spikes: float32 (samples, steps, neurons), with a gradient.
    potential: in chip units, as it was compared with the threshold, with a gradient.
    state: after the last step, with a gradient.
    recorded: states after each step in chip units by name, without one; empty unless asked for.
    """

    spikes: Tensor
    potential: Tensor
    state: State
    recorded: Mapping[str, Tensor]


class TorchCells(Protocol):
    """One population; an `nn.Module` whose parameters are the registers that are trained."""

    @property
    def dtype(self) -> torch.dtype:
        """Of currents and states."""

    @property
    def ports(self) -> tuple[str, ...]:
        """Names of the inputs; currents of the first are always given."""

    def start(self, samples: int) -> State:
        """The initial state."""

    def __call__(
        self, currents: Mapping[str, Tensor], state: State, first: int, record: bool
    ) -> Advanced:
        """Steps `first`, `first` + 1, … with what arrives in them, by port."""

    def registers(self) -> dict[str, NDArray[Any]]:
        """Values of the chip's registers that may have changed, as the program has them."""


class TorchMachine(Protocol):
    """A chip's arithmetic on tensors, bit for bit that of its `Machine`."""

    def grid(self, synapses: Synapses, target: Neurons) -> Steps:
        """The values that weights can have; with the exponent, they keep their scale."""

    def activation(self, total: Tensor, synapses: Synapses, most: float) -> Tensor:
        """What neurons receive for exact sums of weights of at most `most` in magnitude."""

    def cells(
        self,
        population: Neurons,
        own: NDArray[np.int64],
        spike_grad: SpikeGrad,
        trained: Collection[str],
    ) -> Any:
        """The neurons, as a module that is `TorchCells`.

        Parameters
        ----------
        own: int64 (neurons,), what a neuron's spike adds to its own current one step later: a
            reset, through which no gradient goes back.
        trained: of "bias" and "threshold", what becomes a parameter.

        Raises
        ------
        InputError
            Neurons that have no gradient here.
        """


def slope(spike_grad: SpikeGrad, above: Tensor) -> Tensor:
    """The surrogate's derivative for potentials that are `above` the threshold, in model units."""
    with torch.enable_grad():
        leaf = above.detach().requires_grad_()
        spikes = spike_grad(leaf)
        (found,) = torch.autograd.grad(spikes, leaf, torch.ones_like(spikes))
    return found
