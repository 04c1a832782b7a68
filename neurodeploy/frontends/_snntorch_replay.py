"""The module itself on given inputs: the spikes that its graph is compared with."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neurodeploy.errors import InputError, ModelError
from neurodeploy.frontends._snntorch_pools import Recorder, Use
from neurodeploy.frontends._snntorch_run import Stepper, device_of, dtype_of, guarded, preserved
from neurodeploy.frontends._snntorch_values import Shape
from neurodeploy.trace import Inputs, Spikes

Arrays = Mapping[str, NDArray[Any]]
Population: TypeAlias = tuple[str, "Use | None"]
"""Path of a neuron module and None, or of max pooling and its use."""


@dataclass(frozen=True)
class Forward:
    """How the module is called.

    Attributes
    ----------
    loop: whether forward holds the time loop.
    axes: the axis of each input that is time, by its node and in forward's order; None where each
        step gets all of it.
    arguments: the arguments of forward that take states, and the paths of these (`lif1.mem`); None
        for one that forward does not use.
    """

    loop: bool
    axes: Mapping[str, int | None]
    arguments: Mapping[str, str | None]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a list of inputs keeps their order in a file."""
        axes = [[name, axis] for name, axis in self.axes.items()]
        return {"loop": self.loop, "inputs": axes, "arguments": dict(self.arguments)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Forward:
        """What `to_dict` gave."""
        axes = {str(name): axis for name, axis in data["inputs"]}
        return cls(bool(data["loop"]), axes, dict(data["arguments"]))


def checked(inputs: Inputs, shapes: Mapping[str, Shape], dtype: torch.dtype) -> Arrays:
    """The inputs by name, in the order of `shapes`.

    Raises
    ------
    InputError
        Other names, another dtype or shape, or nothing in them.
    """
    first, *_ = shapes
    named = inputs if isinstance(inputs, Mapping) else {first: inputs}
    if set(named) != set(shapes):
        raise InputError(
            f"inputs are given for {', '.join(named)}; the model's are {', '.join(shapes)}",
            hint="Give a mapping from input node to array.",
        )
    expected = str(dtype).removeprefix("torch.")
    for name, shape in shapes.items():
        array = named[name]
        wrong = array.dtype != np.dtype(expected) or array.shape[2:] != shape or not array.size
        if wrong or array.shape[:2] != named[first].shape[:2]:
            raise InputError(
                f"is {array.dtype} {array.shape}, expected {expected} (batch, time, "
                f"{', '.join(map(str, shape))}), not empty, the same batch and time for all inputs",
                node=name,
            )
    return {name: named[name] for name in shapes}


def replay(
    module: nn.Module, forward: Forward, inputs: Arrays, populations: Collection[Population]
) -> dict[Population, Spikes]:
    """Spikes of the populations, uint8 [B, T, *population shape], from rest.

    Parameters
    ----------
    inputs: as `checked` returns them, of the module's dtype.

    Raises
    ------
    ModelError
        `forward` fails, or runs another number of steps than T.
    """
    parts, dtype, device = dict(module.named_modules()), dtype_of(module), device_of(module)
    steps = next(iter(inputs.values())).shape[1]
    calls: dict[str, list[Spikes]] = {path: [] for path, use in populations if use is None}
    with preserved(module):
        for path, spikes in calls.items():
            parts[path].register_forward_hook(partial(_record, spikes))
        stepper = Stepper(module, forward.arguments, dtype, device)
        recorder = Recorder(module)
        with guarded(lambda: type(module).__name__, dtype), recorder:
            for call in _calls(inputs, forward):
                stepper(*(torch.from_numpy(x).to(device) for x in call))
                stepper.advance(forward.arguments)
    found = {}
    for path, use in populations:
        own = calls[path] if use is None else use.pick(recorder.outputs.get(path, []))
        if len(own) != steps:
            raise ModelError(f"forward ran {len(own)} steps on an input of {steps}", node=path)
        found[path, use] = np.stack(own, axis=1)
    return found


def _calls(inputs: Arrays, forward: Forward) -> Iterator[tuple[NDArray[Any], ...]]:
    """What forward is called with, call by call; all copies."""
    if not forward.loop:
        for step in range(next(iter(inputs.values())).shape[1]):
            yield tuple(array[:, step].copy() for array in inputs.values())
        return
    for name, axis in forward.axes.items():
        if axis is None and np.any(inputs[name] != inputs[name][:, :1]):
            raise ModelError(
                "forward repeats one input in all steps, these inputs change over time",
                hint="Let forward take one step, or index its input by the step.",
            )
    yield tuple(
        (inputs[name][:, 0] if axis is None else np.moveaxis(inputs[name], 1, axis)).copy()
        for name, axis in forward.axes.items()
    )


def _record(spikes: list[Spikes], module: nn.Module, args: Any, output: Any) -> None:
    fired = output[0] if isinstance(output, tuple) else output
    spikes.append((fired != 0).cpu().numpy().astype(np.uint8))
