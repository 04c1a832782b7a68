"""One run of an snnTorch module, with the origin of every tensor.

Hooks on the supported layers and neurons report what goes in and comes out; a
`TorchFunctionMode` sees every other operation on a tensor that depends on the sample.  What is not
known to be harmless is refused by name.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from neurodeploy.errors import ModelError
from neurodeploy.frontends import _snntorch_ops as ops
from neurodeploy.frontends._snntorch_classes import NEURONS, TERMS, refusal, states
from neurodeploy.frontends._snntorch_values import (
    Kind,
    Layer,
    Operand,
    Rearranged,
    Record,
    Shape,
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


class StateRestartError(ModelError):
    """A neuron starts from zeros in every call of `forward`."""


class Tracer(TorchFunctionMode):
    """Follows the sample through a module; to be used within `preserved`, and as a context.

    Attributes
    ----------
    parts: the modules by their path.
    currents: for every neuron module, in order of the first call, what drove it in each call.
    shapes: its population shape.
    owners: the path of the state that each state argument of forward is (`lif1.mem`).
    """

    def __init__(self, module: nn.Module, sample: torch.Tensor) -> None:
        super().__init__()
        self.parts: dict[str, nn.Module] = dict(module.named_modules())
        self.currents: dict[str, list[Operand]] = {}
        self.shapes: dict[str, Shape] = {}
        self.owners: dict[str, str] = {}
        self._values: dict[int, tuple[torch.Tensor, Value]] = {}
        self._root = type(module).__name__
        self._stack: list[str] = []
        self._entered: tuple[str, Operand] | None = None  # the layer that runs, what drives it
        self._samples: list[torch.Tensor] = []
        self.track(sample, Source(tuple(sample.shape[1:])))
        for path, part in self.parts.items():
            part.register_forward_pre_hook(partial(self._enter, path), with_kwargs=True)
            part.register_forward_hook(partial(self._leave, path), with_kwargs=True, prepend=True)

    def track(self, tensor: torch.Tensor, value: Value) -> None:
        """Note the origin of a tensor (and keep it alive, so that its id stays its own)."""
        self._values[id(tensor)] = (tensor, value)
        if isinstance(value, Source) and value.axis is None:
            self._samples.append(tensor)

    def value(self, tensor: object) -> Value | None:
        """Origin of a tensor; None for a constant."""
        entry = self._values.get(id(tensor))
        return entry[1] if entry is not None and entry[0] is tensor else None

    def node(self, path: str) -> str:
        """Name of a module in messages."""
        return path or self._root

    @property
    def where(self) -> str:
        """Name of the module that is running."""
        return self.node(self._path)

    @property
    def _path(self) -> str:
        return self._stack[-1] if self._stack else ""

    def _refuse(self, message: str, hint: str) -> ModelError:
        return ModelError(message, node=self.where, hint=hint)

    # Modules

    def _enter(self, path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._stack.append(path)
        if self._entered is not None:
            return  # a part of the layer that is running: recurrent weights
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
        self._stack.pop()

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
            StateArgument: "is an argument of forward other than the first",
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

    # Neurons

    def _check_state(self, path: str, name: str, kept: torch.Tensor, passed: Any) -> None:
        """Check that a neuron starts from zeros and then goes on from its own last state."""
        step = len(self.currents.get(path, ()))
        state = kept if passed is None else passed
        value = self.value(state)
        if step and value == self._state(path, name, step - 1):
            return
        target = f"{path}.{name}".lstrip(".")
        if isinstance(value, StateArgument) and not step:
            if self.owners.setdefault(value.name, target) == target:
                return
            raise self._refuse(
                f"takes {value.name}, which belongs to {self.owners[value.name]}",
                "Give every state an argument of its own.",
            )
        zeros = value is None and not bool(state.any())
        if zeros and not step:
            return
        if zeros:
            raise StateRestartError(
                f"its {TERMS[name]} is set to zero between two steps",
                node=self.node(path),
                hint="Where forward holds the time loop, give a sample with two or more steps; "
                "where it is one step, keep the state in the neuron or take it as an argument.",
            )
        raise self._refuse(
            f"its {TERMS[name]} is neither zero at the start nor its own of the step before",
            "Start from zeros, and hand every neuron's state back to it unchanged.",
        )

    def _state(self, path: str, name: str, step: int) -> Value:
        """The value of a neuron's state tensor after a call."""
        return Spikes(self.shapes[path], path, step) if name == "spk" else State(path, step, name)

    def _fired(self, path: str, module: nn.Module, operand: Operand, output: Any) -> None:
        spikes = output[0] if isinstance(output, tuple) else output
        if tuple(spikes.shape[1:]) != operand.shape:
            raise self._refuse(
                f"a parameter broadcast its input of shape {operand.shape} to "
                f"{tuple(spikes.shape[1:])}",
                "Give them the population's shape.",
            )
        calls = self.currents.setdefault(path, [])
        self.shapes[path] = operand.shape
        self.track(spikes, Spikes(operand.shape, path, len(calls)))
        for name in states(module):
            self.track(getattr(module, name), self._state(path, name, len(calls)))
        calls.append(operand)

    # Operations outside the layers

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._entered is not None:
            return func(*args, **kwargs)
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
        if not all(isinstance(item, (Spikes, State, Layer)) for item in items):
            raise self._refuse(
                f"{op} joins something other than outputs of neurons",
                "Stack the spikes of all steps, and return them.",
            )
        return Record(tuple(items))

    def _rearranged(self, op: str, before: torch.Tensor, after: torch.Tensor) -> None:
        value = self.value(before)
        copied = op not in ops.VIEWS and after.shape == before.shape and after.dtype == before.dtype
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
            if ops.geometry(view) == ops.geometry(sample):
                return Source(tuple(sample.shape[1:]))
            offset = view.storage_offset() - sample.storage_offset()
            for axis in range(min(2, sample.dim() - 1)):
                step = offset // sample.stride(axis)
                if step < sample.shape[axis] and ops.geometry(view) == ops.geometry(
                    sample.select(axis, step)
                ):
                    return Source(tuple(view.shape[1:]), axis, step)
            return Rearranged()
        raise self._refuse(
            f"{op} rearranges a copy of the sample", "Rearrange it outside the model."
        )


def _first(args: Any, kwargs: dict[str, Any]) -> Any:
    """The input of a supported layer or neuron."""
    return args[0] if args else kwargs.get("input", kwargs.get("input_"))


def _is_library(cls: type) -> bool:
    return cls.__module__.split(".")[0] in ("torch", "snntorch")
