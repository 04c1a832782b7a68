"""One run of an snnTorch module, with the origin of every tensor.

Hooks on the supported layers and neurons report what goes in and comes out; a
`TorchFunctionMode` sees every other operation on a tensor that depends on the sample.  What is not
known to be harmless is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from neurodeploy.frontends import _snntorch_ops as ops
from neurodeploy.frontends._snntorch_casts import keeps
from neurodeploy.frontends._snntorch_classes import NEURONS, TERMS, refusal, states
from neurodeploy.frontends._snntorch_states import StateTracer
from neurodeploy.frontends._snntorch_values import (
    Kind,
    Layer,
    Operand,
    Rearranged,
    Record,
    Source,
    Spikes,
    State,
    StateArgument,
    Sum,
    Value,
    flat,
    terms,
)

_LAYERS: dict[type, Kind] = {nn.Linear: "linear", nn.Conv2d: "conv2d", nn.AvgPool2d: "avgpool2d"}
_DIMENSIONS: dict[Kind, int] = {"linear": 2, "conv2d": 4, "avgpool2d": 4}
_NORMS: dict[type, Kind] = {nn.BatchNorm1d: "linear", nn.BatchNorm2d: "conv2d"}
_BYPASSED = (nn.Dropout, nn.Dropout2d, nn.Identity)
LEAVES = (*_LAYERS, *_NORMS, *_BYPASSED, nn.Flatten, *NEURONS)
_OPENED = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Tracer(StateTracer):
    """Follows the sample through a module; to be used within `preserved`, and as a context."""

    def __init__(
        self, module: nn.Module, samples: Mapping[str, torch.Tensor], dtype: torch.dtype
    ) -> None:
        super().__init__(module, dtype)
        self._entered: tuple[str, Operand] | None = None  # the layer that runs, what drives it
        for name, sample in samples.items():
            self.track(sample, Source(tuple(sample.shape[1:]), name=name))
        for path, part in self.parts.items():
            part.register_forward_pre_hook(partial(self._enter, path), with_kwargs=True)
            part.register_forward_hook(partial(self._leave, path), with_kwargs=True, prepend=True)
            part.register_forward_hook(self._left)

    # Modules

    def _enter(self, path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._stack.append(path)
        if self._entered is not None:  # a part of the layer that is running
            if self._is_feedback(module):
                self._fed_back(self._entered[0], _first(args, kwargs))
            return
        library = next(c for c in type(module).__mro__ if _is_library(c))
        if library in _OPENED:
            return
        if (refused := refusal(module)) is not None:
            raise self._refuse(
                f"{type(module).__name__} is not supported: {refused.reason}", refused.hint
            )
        if type(module) is not library or library not in LEAVES:
            name = type(module).__name__
            what = name if type(module) is library else f"{name}, a subclass of {library.__name__},"
            raise self._refuse(f"{what} is not supported", ops.hint(name))
        if module.training:
            raise self._refuse(
                "is put into training mode by forward", "Leave the mode to the caller."
            )
        operand = self._operand(_first(args, kwargs))
        names = states(module)
        passed = {**dict(zip(names, args[1:], strict=False)), **kwargs}
        for name in names:
            self._check_state(path, name, getattr(module, name), passed.get(name))
        self._entered = path, operand

    def _leave(self, path: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._entered is not None and self._entered[0] == path:
            self._leaf(path, module, _first(args, kwargs), self._entered[1], output)
            self._entered = None
        elif self._is_feedback(module):
            self._delivers(output)
        self._stack.pop()

    def _left(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._entered is not None and self._is_feedback(module):
            self._delivered_unchanged(self._entered[0], output)

    def _is_feedback(self, module: nn.Module) -> bool:
        """Whether a module is the recurrent weights of the neuron that is running."""
        running = self.parts[self._entered[0]] if self._entered is not None else None
        return getattr(running, "recurrent", None) is module

    def _leaf(
        self, path: str, module: nn.Module, x: torch.Tensor, operand: Operand, output: Any
    ) -> None:
        if isinstance(module, NEURONS):
            self._fired(path, module, operand, output)
        elif isinstance(module, _BYPASSED):
            self.track(output, operand)
        elif isinstance(module, nn.Flatten):
            self._flattened(path, "nn.Flatten", x, operand, output)
        elif type(module) in _NORMS:
            self.track(output, self._normed(path, module, operand))
        else:
            kind = _LAYERS[type(module)]
            if x.dim() != _DIMENSIONS[kind]:
                raise self._refuse(
                    f"{type(module).__name__} gets a tensor of shape {tuple(x.shape)}, expected "
                    f"{_DIMENSIONS[kind]} axes",
                    "The first axis is the batch; flatten the others before nn.Linear.",
                )
            self.track(output, Layer(tuple(output.shape[1:]), kind, path, operand))

    def _operand(self, x: Any) -> Operand:
        """Origin of a layer's input, where it is one that NIR can say."""
        if not isinstance(x, torch.Tensor):
            raise self._refuse(
                f"gets a {type(x).__name__} instead of a tensor",
                "Give the neurons before it init_hidden=True and output=False.",
            )
        value = self.value(x)
        if isinstance(value, (Source, Spikes, Layer, Sum)):
            return value
        if isinstance(value, State):
            raise self._refuse(
                f"its input is a {TERMS[value.name]}, not spikes",
                "Neurons send spikes forward, step by step.",
            )
        reason = {
            type(None): "does not come from the sample (a constant, or a recurrent connection)",
            Record: "is several values stacked or concatenated",
            Rearranged: "is a rearranged or partial view of the sample",
            StateArgument: "is the initial state of a neuron",
        }[type(value)]
        raise self._refuse(f"its input {reason}", "Neurons send spikes forward, step by step.")

    def _normed(self, path: str, module: nn.Module, operand: Operand) -> Layer:
        wanted = _NORMS[type(module)]
        if not isinstance(operand, Layer) or operand.kind != wanted:
            raise self._refuse(
                f"{type(module).__name__} does not follow a {wanted} layer directly",
                "Place it right after nn.Linear or nn.Conv2d, into which it is folded.",
            )
        return replace(operand, norms=(*operand.norms, path))

    # Operations outside the layers

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._entered is not None:
            return self._within(ops.name(func), func(*args, **kwargs), args)
        tracked = [t for t in ops.tensors((args, kwargs)) if self.value(t) is not None]
        if not tracked:
            return func(*args, **kwargs)
        op = ops.name(func)
        if op not in ops.KNOWN:
            raise self._refuse(f"{op} acts on a value that depends on the input", ops.hint(op))
        if op not in ops.JOINS and (len(tracked) > 1 or tracked[0] is not _first(args, kwargs)):
            raise self._refuse(f"an argument of {op} depends on the input", ops.hint(op))
        result = func(*args, **kwargs)
        if op not in ops.QUERIES:
            self._follow(op, args, kwargs, tracked, result)
        return result

    def _within(self, op: str, result: Any, args: Any) -> Any:
        """What a layer does inside; a hook on recurrent weights may cast the spikes there."""
        value = self.value(args[0]) if args else None
        if not isinstance(value, Spikes):
            return result
        if ops.is_in_place(op):
            raise self._refuse(f"{op} changes the last spikes", "Remove the hook that does.")
        if op in ops.COPIES and self._keeps(value, args[0], result):
            self.track(result, value)
        return result

    def _keeps(self, value: Value, before: torch.Tensor, after: torch.Tensor) -> bool:
        """Whether a copy has the same numbers in its float type."""
        same = before.dtype == after.dtype
        return same or keeps(value, before.dtype, after.dtype, self.dtype, self.parts)

    def _follow(
        self, op: str, args: Any, kwargs: dict[str, Any], tracked: list[torch.Tensor], result: Any
    ) -> None:
        if op in ops.ADDS:
            self.track(result, self._added(op, args, kwargs, tracked))
        elif op in ops.STACKS:
            self.track(result, self._recorded(op, list(ops.tensors((args, kwargs)))))
        elif op == "__setitem__":
            self.track(args[0], self._stored(op, args[0], args[2]))
        else:
            for tensor in ops.tensors(result):
                self._rearranged(op, tracked[0], tensor)

    def _added(
        self, op: str, args: Any, kwargs: dict[str, Any], tracked: list[torch.Tensor]
    ) -> Value:
        if not set(kwargs) <= {"other"} or len(args) + len(kwargs) != 2:
            raise self._refuse(f"{op} with more than two operands", "Write a + b.")
        others = [x for x in (*args, *kwargs.values()) if self.value(x) is None]
        values = [self._operand(tensor) for tensor in tracked]
        if others and isinstance(others[0], (int, float)) and others[0] == 0:
            return values[0]
        if others:
            raise self._refuse(
                "a constant or a recurrent value is added",
                "Put constants into a layer's bias, and return spikes instead of summing them over "
                "time; recurrence is what snn.RLeaky and snn.RSynaptic do.",
            )
        summands = tuple(term for value in values for term in terms(value))
        if len(set(summands)) < len(summands):
            raise self._refuse("a value is added to itself", "Double the weights instead.")
        if len({tuple(tensor.shape) for tensor in tracked}) > 1:
            raise self._refuse(
                "values of different shapes are added", "Bring them to one shape by a layer."
            )
        if op in ("add_", "__iadd__"):
            self._check_private(args[0])
        return Sum(values[0].shape, summands)

    def _check_private(self, target: torch.Tensor) -> None:
        """Refuse an in-place change of the sample, or one that another traced tensor would see."""
        shared = any(
            t is not target and ops.same_memory(t, target) for t, _ in self._values.values()
        )
        if shared or isinstance(self.value(target), Source):
            raise self._refuse(
                "a tensor that is used elsewhere is changed in place", "Write a = a + b."
            )

    def _stored(self, op: str, target: torch.Tensor, entry: Any) -> Record:
        """`target[...] = entry` where outputs are collected in a tensor made beforehand."""
        before = self.value(target)
        if not isinstance(before, (Record, type(None))) or self.value(entry) is None:
            raise self._refuse(
                "a value that depends on the input is changed in place", ops.hint(op)
            )
        return self._recorded(op, [target, entry][before is None :])

    def _recorded(self, op: str, parts: list[torch.Tensor]) -> Record:
        items = [item for part in parts for item in flat(self.value(part) or Rearranged())]
        if not all(isinstance(item, (Spikes, State, Layer, Sum)) for item in items):
            raise self._refuse(
                f"{op} joins something other than outputs of neurons and layers",
                "Stack the spikes of all steps, and return them.",
            )
        return Record(tuple(items))

    def _rearranged(self, op: str, before: torch.Tensor, after: torch.Tensor) -> None:
        value = self.value(before)
        copied = op not in ops.VIEWS and after.shape == before.shape
        if value is not None and copied and not self._keeps(value, before, after):
            raise self._refuse(
                f"{op} turns {before.dtype} into {after.dtype}",
                "Spikes and the sample can be cast to float32 and float64, currents cannot.",
            )
        if value is not None and (after is before or copied or isinstance(value, Record)):
            self.track(after, value)
        elif (
            op in ops.RESHAPES
            and isinstance(value, (Source, Spikes, Layer, Sum))
            and ops.is_flat(before, after)
        ):
            self._flattened(f"{self._path}.flatten".lstrip("."), op, before, value, after)
        elif isinstance(value, (Source, Rearranged)):
            self.track(after, self._view(op, after))
        else:
            raise self._refuse(
                f"{op} turns {before.dtype} {tuple(before.shape)} into {after.dtype} "
                f"{tuple(after.shape)}",
                "Between layers only flattening all axes but the batch is supported.",
            )

    def _flattened(
        self, path: str, op: str, before: torch.Tensor, value: Operand, after: torch.Tensor
    ) -> None:
        if after.shape == before.shape:
            self.track(after, value)
        elif ops.is_flat(before, after):
            self.track(after, Layer(tuple(after.shape[1:]), "flatten", path, value))
        else:
            raise self._refuse(
                f"{op} turns {tuple(before.shape)} into {tuple(after.shape)}",
                "Flatten all axes but the batch: nn.Flatten(), x.flatten(1).",
            )

    def _view(self, op: str, view: torch.Tensor) -> Value:
        """The sample or one of its time steps, recognised by where the view lies in memory."""
        for sample in self._samples:
            if not ops.same_memory(view, sample):
                continue
            whole = self.value(sample)
            if not isinstance(whole, Source):
                continue
            if ops.geometry(view) == ops.geometry(sample):
                return whole
            offset = view.storage_offset() - sample.storage_offset()
            for axis in range(min(2, sample.dim() - 1)):
                step = offset // sample.stride(axis)
                if step < sample.shape[axis] and ops.geometry(view) == ops.geometry(
                    sample.select(axis, step)
                ):
                    return Source(tuple(view.shape[1:]), axis, step, whole.name)
            return Rearranged()
        raise self._refuse(
            f"{op} rearranges a copy of the sample", "Rearrange it outside the model."
        )


def _first(args: Any, kwargs: dict[str, Any]) -> Any:
    """The input of a supported layer or neuron."""
    return args[0] if args else kwargs.get("input", kwargs.get("input_"))


def _is_library(cls: type) -> bool:
    return cls.__module__.split(".")[0] in ("torch", "snntorch")
