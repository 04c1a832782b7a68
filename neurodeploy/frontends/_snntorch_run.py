"""Calling an snnTorch module without leaving a trace in it."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from neurodeploy.errors import InputError, ModelError, NeurodeployError
from neurodeploy.frontends._snntorch_casts import CAST_HINT
from neurodeploy.frontends._snntorch_classes import states

_CONTAINERS = (dict, list, set, OrderedDict)
_WIDTHS = (torch.float32, torch.float64)


def device_of(module: nn.Module) -> torch.device:
    """Device of the first parameter or buffer; the CPU where there is none."""
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return torch.device("cpu")


def dtype_of(module: nn.Module) -> torch.dtype:
    """float32 or float64: what all parameters and stored buffers with axes have.

    Torch computes with a single number in the precision of the tensor that it meets, so single
    numbers decide only where there is nothing else.

    Raises
    ------
    ModelError
        They differ, or one is of another float type.
    """
    state = module.state_dict(keep_vars=True)
    floats = {
        name: tensor
        for name, tensor in state.items()
        if isinstance(tensor, torch.Tensor) and (tensor.is_floating_point() or tensor.is_complex())
    }
    sized = {name: tensor.dtype for name, tensor in floats.items() if tensor.dim()}
    for name, dtype in sized.items():
        if dtype not in _WIDTHS:
            raise ModelError(
                f"is {dtype}, expected torch.float32 or torch.float64",
                node=name,
                hint="Convert the model with module.float().",
            )
    first, *_ = sized or [""]
    for name, dtype in sized.items():
        if dtype != sized[first]:
            raise ModelError(
                f"is {dtype}, {first} {sized[first]}",
                node=name,
                hint="Give all parameters one type with module.float() or module.double().",
            )
    if sized:
        return sized[first]
    alone = {tensor.dtype for tensor in floats.values()}
    return torch.float64 if alone == {torch.float64} else torch.float32


@contextmanager
def preserved(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, neurons at rest; afterwards everything is as it was.

    Restored are all attributes (training flags, hidden states and hooks among them), the contents
    of dicts, lists and sets within them, parameters and buffers changed in place, and torch's CPU
    random state.
    """
    attributes = [(part.__dict__, dict(part.__dict__)) for part in module.modules()]
    values = (value for _, saved in attributes for value in saved.values())
    contents = [(container, copy.copy(container)) for container in _containers(values)]
    tensors = [(t, t.detach().clone()) for t in (*module.parameters(), *module.buffers())]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            module.eval()
            rest(module)
            yield
        finally:
            for live, saved in attributes:
                live.clear()
                live.update(saved)
            for container, content in contents:
                container.clear()
                fill = container.extend if isinstance(container, list) else container.update
                fill(content)
            for tensor, value in tensors:
                if not torch.equal(tensor, value):
                    tensor.data.copy_(value)


def _containers(values: Iterable[Any]) -> list[Any]:
    """The dicts, lists and sets within `values`, however deep, each once."""
    found: dict[int, Any] = {}
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if type(value) in _CONTAINERS and id(value) not in found:
            found[id(value)] = value
            waiting += value.values() if isinstance(value, dict) else value
    return list(found.values())


def rest(module: nn.Module) -> None:
    """Give every neuron the state of one that was never called."""
    for part in module.modules():
        for name in states(part):
            setattr(part, name, torch.zeros(0, device=getattr(part, name).device))


def input_names(module: nn.Module, count: int) -> list[str]:
    """Names of the nodes of `count` inputs, `input` or `input.<argument of forward>`.

    Raises
    ------
    InputError
        `forward` has no name for so many.
    """
    if count == 1:
        return ["input"]
    parameters = inspect.signature(module.forward).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(named) < count:
        raise InputError(
            f"forward has {len(named)} named arguments, {count} samples are given",
            node=type(module).__name__,
            hint="Give one tensor for each input, in the order of forward's arguments.",
        )
    return [f"input.{name}" for name in named[:count]]


def state_arguments(module: nn.Module, inputs: int) -> tuple[list[str], list[str]]:
    """Arguments of `forward` after its inputs: without default, and those that default to None."""
    parameters = list(inspect.signature(module.forward).parameters.values())[inputs:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = [p.name for p in named if p.default is p.empty]
    return required, [p.name for p in named if p.default is None]


@contextmanager
def guarded(where: Callable[[], str], dtype: torch.dtype) -> Iterator[None]:
    """Turn whatever the user's forward raises into an error of ours; all errors say where."""
    try:
        yield
    except NeurodeployError as error:
        error.node = error.node or where()
        raise
    except Exception as error:
        hint = "Check that the model runs on the sample, in evaluation mode and from rest."
        raise ModelError(
            f"forward failed with {type(error).__name__}: {error}",
            node=where(),
            hint=f"{hint} {CAST_HINT}" if dtype == torch.float64 else hint,
        ) from error


class Stepper:
    """Calls `forward` once per time step; to be used within `preserved`.

    A state argument starts as an empty tensor, which snnTorch takes for zeros, and is then the
    state that owns it; one that forward does not use stays empty.

    Attributes
    ----------
    states: the state arguments of the next call, by name.
    """

    def __init__(
        self,
        module: nn.Module,
        arguments: Iterable[str],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.module = module
        self.states = {name: torch.zeros(0, dtype=dtype, device=device) for name in arguments}

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """One call of `forward`."""
        return self.module(*inputs, **self.states)

    def advance(self, owners: Mapping[str, str | None]) -> None:
        """Hand on the states; `owners` has the path of a state for each argument, or None."""
        for name, path in owners.items():
            if path is not None:
                self.states[name] = self.module.get_buffer(path)
