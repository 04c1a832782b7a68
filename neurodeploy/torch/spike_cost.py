"""The cost of spikes as a part of the loss: synaptic events or energy, with a gradient.

Each spike weighs what it costs on the chip: a spike of a neuron that reaches many synapses, or many
cores, is dearer than one that reaches few.  Zero weights cost nothing.

::

    cost = synaptic_events(net, sample)
    with recorded(net) as spikes:
        output = net(...)                       # step by step, or layer by layer
    loss = cross_entropy(...) + price * cost(spikes)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurodeploy.costs import per_spike
from neurodeploy.errors import InputError
from neurodeploy.frontends.nir import load
from neurodeploy.frontends.snntorch import from_snntorch
from neurodeploy.mapping import place
from neurodeploy.program import Program
from neurodeploy.target import cores_of, get_target


@dataclass(frozen=True, eq=False)
class SpikeCost:
    """The cost of a sample: the sum over spikes of what each costs, divided by the samples.

    Attributes
    ----------
    per_spike: by population or input, float64 of its shape.
    unit: of the cost.
    """

    per_spike: Mapping[str, NDArray[np.float64]]
    unit: Literal["synaptic events", "J"]

    def __call__(self, spikes: Mapping[str, Tensor]) -> Tensor:
        """Mean cost per sample, a number with the gradient of the spikes that have one.

        Parameters
        ----------
        spikes: by population or input, (samples, steps, *shape); those not given cost nothing.

        Raises
        ------
        InputError
            No spikes, a name that is unknown, or another shape.
        """
        if len({len(sent) for sent in spikes.values()} - {0}) != 1:
            raise InputError("spikes of the same number of samples, at least one, are needed")
        total: list[Tensor] = []
        for name, sent in spikes.items():
            if name not in self.per_spike:
                raise InputError(
                    "no population or input has this name",
                    node=name,
                    hint=f"There are: {', '.join(self.per_spike)}.",
                )
            each = self.per_spike[name]
            if sent.shape[2:] != each.shape:
                raise InputError(
                    f"spikes have shape {tuple(sent.shape)}, expected (samples, steps, "
                    f"{', '.join(map(str, each.shape))})",
                    node=name,
                )
            counts = sent.sum((0, 1)).double()
            total.append((counts * torch.from_numpy(each).to(sent.device)).sum())
        return torch.stack(total).sum() / len(next(iter(spikes.values())))


def synaptic_events(
    source: Program | nn.Module, sample: Tensor | Sequence[Tensor] | None = None
) -> SpikeCost:
    """The cost in synaptic events: spikes times the nonzero weights that each meets, exactly.

    Of a program those of its chip, self-synapses for resets among them.  Of an snnTorch module the
    present weights that are not 0, merged as a chip holds them (an average pooling costs nothing of
    its own).

    Parameters
    ----------
    sample: of a module, as for `from_snntorch`.

    Raises
    ------
    InputError
        A module without a sample.
    ModelError
        As `from_snntorch`.
    """
    if isinstance(source, Program):
        return _cost(per_spike.events(source), "synaptic events")
    if sample is None:
        raise InputError("a module needs a sample, as for from_snntorch")
    return _cost(per_spike.events_of(load(from_snntorch(source, sample))), "synaptic events")


def spike_energy(program: Program) -> SpikeCost:
    """The cost in J that spikes add to what the program causes; see `costs.per_spike.energy`.

    Raises
    ------
    TargetError
        Nothing is known about the chip's energies.
    """
    placement = place(program, cores_of(program))
    chip = get_target(program.target).chip.at_level(None)
    return _cost(per_spike.energy(program, chip, placement), "J")


def _cost(each: Mapping[str, NDArray[Any]], unit: Literal["synaptic events", "J"]) -> SpikeCost:
    return SpikeCost({name: values.astype(np.float64) for name, values in each.items()}, unit)


@contextmanager
def recorded(module: nn.Module) -> Iterator[Mapping[str, Tensor]]:
    """The spikes of every snnTorch neuron of `module` that runs inside, with their gradients.

    The mapping is filled when the context ends: path of the neuron -> (samples, steps, *shape).
    Each call of a neuron is a step, in whatever order the neurons are called.
    """
    steps: dict[str, list[Tensor]] = {}
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(neuron: nn.Module, arguments: Any, result: Any) -> None:
            sent = result[0] if isinstance(result, tuple) else result
            steps.setdefault(name, []).append(sent)

        return hook

    hooks = [
        part.register_forward_hook(keep(name))
        for name, part in module.named_modules()
        if isinstance(part, snn.SpikingNeuron)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
    found.update({name: torch.stack(sent, 1) for name, sent in steps.items()})
