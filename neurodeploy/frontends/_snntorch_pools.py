"""Max pooling as a population: which of its calls is which node, and what it delivered.

A pooling module, and a function even more so, is called for several layers.  Its calls are told
apart by their order, which is the same in every run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.overrides import TorchFunctionMode

from neurodeploy.errors import ModelError
from neurodeploy.frontends import _snntorch_ops as ops
from neurodeploy.frontends._snntorch_values import Layer, relative

_FUNCTIONS = ("max_pool1d", "max_pool2d")
_MODULES = (nn.MaxPool1d, nn.MaxPool2d)


@dataclass(frozen=True)
class Use:
    """The calls of a pooling that belong to one node.

    Attributes
    ----------
    number, of: it is one of so many in each time step.
    steps_first: whether all steps of one use follow each other, not all uses of one step.
    """

    number: int = 0
    of: int = 1
    steps_first: bool = False

    def pick(self, calls: Sequence[Any]) -> list[Any]:
        """Its calls, step by step, of all in their order."""
        if not self.steps_first:
            return list(calls[self.number :: self.of])
        steps = len(calls) // self.of
        return list(calls[self.number * steps : (self.number + 1) * steps])


def uses(calls: Iterable[Layer], steps: int) -> dict[Layer, Use]:
    """The uses of poolings, by their value in the first step.

    Parameters
    ----------
    calls: the values of all calls in a run of so many steps.

    Raises
    ------
    ModelError
        The order of the calls changes between steps.
    """
    found: dict[Layer, Use] = {}
    for path, values in _by_path(calls).items():
        of = len(values) // steps
        for steps_first in (False, True):
            kinds = [Use(number, of, steps_first) for number in range(of)]
            picked = [kind.pick(values) for kind in kinds]
            if len(values) == of * steps and all(map(_is_periodic, picked)):
                found |= {run[0]: kind for run, kind in zip(picked, kinds, strict=True)}
                break
        else:
            raise ModelError(
                "is called in another order, or another number of times, in each time step",
                node=path,
                hint="Use a pooling module for each layer.",
            )
    return found


def _by_path(calls: Iterable[Layer]) -> dict[str, list[Layer]]:
    paths: dict[str, list[Layer]] = {}
    for layer in calls:
        paths.setdefault(layer.path, []).append(layer)
    return paths


def _is_periodic(calls: list[Layer]) -> bool:
    """Whether calls are one and the same, of the steps 0, 1, 2 and so on."""
    return all(relative(call, step) == calls[0] for step, call in enumerate(calls))


class Recorder(TorchFunctionMode):
    """Notes what every max pooling delivers; to be used within `preserved`, and as a context.

    Attributes
    ----------
    outputs: by the path of a pooling, whether each neuron fires, call by call.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.outputs: dict[str, list[NDArray[np.uint8]]] = {}
        self._stack = [""]
        self._pools = {p for p, part in module.named_modules() if type(part) in _MODULES}
        for path, part in module.named_modules():
            part.register_forward_pre_hook(partial(self._enter, path))
            part.register_forward_hook(self._leave)

    def _enter(self, path: str, module: nn.Module, args: Any) -> None:
        self._stack.append(path)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._stack.pop()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        op, path = ops.name(func), self._stack[-1]
        if op in _FUNCTIONS and isinstance(result, torch.Tensor):
            key = path if path in self._pools else f"{path}.{op}".lstrip(".")
            fired = (result != 0).cpu().numpy().astype(np.uint8)
            self.outputs.setdefault(key, []).append(fired)
        return result
