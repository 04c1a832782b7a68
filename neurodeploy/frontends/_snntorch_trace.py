"""One run of an snnTorch module, with the origin of every tensor.

Hooks on the supported layers and neurons report what goes in and comes out; a
`TorchFunctionMode` sees every other operation on a tensor that depends on the sample.  What is not
known to be harmless is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from neurodeploy.frontends import _snntorch_brevitas as brevitas
from neurodeploy.frontends import _snntorch_ops as ops
from neurodeploy.frontends._snntorch_arithmetic import (
    NAMES,
    calculated,
    constant,
)
from neurodeploy.frontends._snntorch_casts import keeps
from neurodeploy.frontends._snntorch_classes import NEURONS, refusal, states
from neurodeploy.frontends._snntorch_layers import Call, Rule, flattened, names_of
from neurodeploy.frontends._snntorch_maps import AnyOf
from neurodeploy.frontends._snntorch_registry import FUNCTIONS, MODULES, arguments, rule_of
from neurodeploy.frontends._snntorch_states import StateTracer
from neurodeploy.frontends._snntorch_values import (
    OPERANDS,
    Drawn,
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
)

LEAVES = (*MODULES, *NEURONS)
_OPENED = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)


def tensors_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """All parameters, and what else supported layers and neurons compute with, by name."""
    tensors: dict[str, torch.Tensor] = dict(module.named_parameters(remove_duplicate=False))
    for path, part in module.named_modules():
        if type(part) in LEAVES:
            stored = part.state_dict(prefix=f"{path}." if path else "", keep_vars=True)
            tensors |= {
                k: tensor for k, tensor in stored.items() if isinstance(tensor, torch.Tensor)
            }
    return tensors


class Tracer(StateTracer):
    """Follows the sample through a module; to be used within `preserved`, and as a context.

    Attributes
    ----------
    pooled: the value of every max pooling, in the order of the calls.
    computed: what layers compute with that is no tensor of the model, by name.
    """

    def __init__(
        self, module: nn.Module, samples: Mapping[str, torch.Tensor], dtype: torch.dtype
    ) -> None:
        super().__init__(module, samples, dtype)
        self.pooled: list[Layer] = []
        self._seen: set[str] = set()
        self.computed: dict[str, torch.Tensor] = {}
        self._names = names_of(tensors_of(module))
        self._entered: tuple[str, Operand] | None = None  # the layer that runs, what drives it
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
        first_time = path not in self._seen
        self._seen.add(path)
        if first_time and (refused := refusal(module) or brevitas.refusal(module)) is not None:
            raise self._refuse(
                f"{type(module).__name__} is not supported: {refused.reason}", refused.hint
            )
        known = library in NEURONS or rule_of(library) is not None
        if type(module) is not library or not known:
            name = type(module).__name__
            if not known or type(module) is library:
                raise self._refuse(f"{name} is not supported", ops.hint(name))
            raise self._refuse(
                f"{name} is not supported: a subclass of {library.__name__} may compute anything",
                f"Use {library.__name__} itself.",
            )
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
        rule, name = rule_of(type(module)), type(module).__name__
        if rule is None:
            self._fired(path, module, operand, output)
        else:
            self._layer(rule, name, path, x, operand, module, output)

    def _layer(
        self,
        rule: Rule,
        name: str,
        path: str,
        x: torch.Tensor,
        operand: Operand,
        options: Any,
        output: Any,
    ) -> None:
        """Note what a stateless layer, a module or a function, makes of `x`."""
        if not isinstance(output, torch.Tensor):
            raise self._refuse(f"{name} returns a {type(output).__name__}", "Return one tensor.")
        if output.shape[:1] != x.shape[:1]:
            raise self._turned(name, x, output, "Leave the batch, the first axis, as it is.")
        if not output.numel():
            raise self._turned(name, x, output, "Nothing is left; use a larger input.")
        shape = tuple(output.shape[1:])
        call = Call(name, path, operand, shape, options, self._names, self.parts, self.computed)
        value = rule(call)
        self.track(output, value)
        if value is not operand and isinstance(value, Layer) and isinstance(value.op, AnyOf):
            self.pooled.append(value)

    # Operations outside the layers

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._entered is not None:
            return self._within(func, func(*args, **kwargs), args)
        op = ops.name(func)
        tracked = [t for t in ops.tensors((args, kwargs)) if self.value(t) is not None]
        if not tracked:
            return self._drawn(op, func(*args, **kwargs))
        for value in map(self.value, tracked):
            if isinstance(value, StateArgument) and op not in ops.COPIES | ops.QUERIES:
                raise self._no_state(value)
        if op not in ops.KNOWN:
            raise self._refuse(f"{op} acts on a value that depends on the input", ops.hint(op))
        if op not in ops.JOINS and (len(tracked) > 1 or tracked[0] is not _first(args, kwargs)):
            raise self._refuse(f"an argument of {op} depends on the input", ops.hint(op))
        if op in ops.QUERIES:
            return self._drawn(op, func(*args, **kwargs))
        if op in NAMES:
            return self._calculated(op, func, args, kwargs)
        operand = self._operand(tracked[0]) if op in FUNCTIONS else None
        result = func(*args, **kwargs)
        if operand is None:
            self._follow(op, args, kwargs, tracked[0], result)
        else:
            options = arguments(op, args, kwargs)
            path = f"{self._path}.{op}".lstrip(".")
            self._layer(FUNCTIONS[op][0], op, path, tracked[0], operand, options, result)
        return result

    def _within(self, func: Any, result: Any, args: Any) -> Any:
        """What a layer does inside; a hook on recurrent weights may cast the spikes there."""
        value = self.value(args[0]) if args else None
        if not isinstance(value, Spikes) or not isinstance(result, torch.Tensor):
            return result
        op = ops.name(func)
        if ops.is_in_place(op):
            raise self._refuse(f"{op} changes the last spikes", "Remove the hook that does.")
        if op in ops.COPIES and self._keeps(value, args[0], result):
            self.track(result, value)
        return result

    def _keeps(self, value: Value, before: torch.Tensor, after: torch.Tensor) -> bool:
        """Whether a copy has the same numbers in its float type."""
        same = before.dtype == after.dtype
        return same or keeps(value, before.dtype, after.dtype, self.dtype, self.parts)

    def _drawn(self, op: str, result: Any) -> Any:
        """The result of an operation; noted where it is drawn at random."""
        if op in ops.RANDOM and isinstance(result, torch.Tensor):
            self.track(result, Drawn())
        return result

    def _calculated(self, op: str, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The result of an arithmetic operation, noted as what it makes of its operands."""
        given = [*args, *(kwargs[n] for n in ("input", "other")[len(args) :] if n in kwargs)]
        if len(given) < len(args) + len(kwargs):
            raise self._refuse(f"{op} with more than its operands", "Write a + b.")
        traced = [x for x in given if self.value(x) is not None]
        like = self._operand(traced[0])
        dtype = torch.result_type(*given) if len(given) == 2 else traced[0].dtype
        operands = [
            constant(x, like, dtype) if self.value(x) is None else self._operand(x) for x in given
        ]
        value = calculated(op, operands, self._path)
        if ops.is_in_place(op):
            self._check_private(given[0])
        result = func(*args, **kwargs)
        if result.shape != traced[0].shape or result.dtype != dtype:
            raise self._turned(op, traced[0], result, "Bring both operands to one shape and dtype.")
        self.track(result, value)
        return result

    def _follow(
        self, op: str, args: Any, kwargs: dict[str, Any], before: torch.Tensor, result: Any
    ) -> None:
        if op in ops.STACKS:
            self.track(result, self._recorded(op, list(ops.tensors((args, kwargs)))))
        elif op == "__setitem__":
            self.track(args[0], self._stored(op, args[0], args[2]))
        else:
            for tensor in ops.tensors(result):
                self._rearranged(op, before, tensor)

    def _check_private(self, target: torch.Tensor) -> None:
        """Refuse an in-place change but of a traced value that no other traced tensor shares."""
        shared = any(
            t is not target and ops.same_memory(t, target) for t, _ in self._values.values()
        )
        if shared or isinstance(self.value(target), (Source, type(None))):
            raise self._refuse(
                "a tensor is changed in place that is the sample, a constant, or used elsewhere",
                "Write a = a + b.",
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
        flat = None
        if (
            op in ops.RESHAPES
            and isinstance(value, OPERANDS)
            and after.shape[:1] == before.shape[:1]
        ):
            path = f"{self._path}.flatten".lstrip(".")
            flat = flattened(value, tuple(after.shape[1:]), path)
        if value is not None and (after is before or copied or isinstance(value, Record)):
            self.track(after, value)
        elif flat is not None:
            self.track(after, flat)
        elif isinstance(value, (Source, Rearranged)):
            self.track(after, self._view(op, after))
        else:
            raise self._turned(
                op,
                before,
                after,
                "Between layers only neighbouring axes can be made one: nn.Flatten(), "
                "x.flatten(1, 2).",
            )


def _first(args: Any, kwargs: dict[str, Any]) -> Any:
    """The input of a supported layer or neuron."""
    return args[0] if args else kwargs.get("input", kwargs.get("input_"))


def _is_library(cls: type) -> bool:
    return cls.__module__.split(".")[0] in ("torch", "snntorch", "brevitas")
