"""Where the tensors of a running forward pass come from, and which module is running."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from neurodeploy.errors import ModelError
from neurodeploy.frontends import _snntorch_ops as ops
from neurodeploy.frontends._snntorch_casts import CAST_HINT, is_computed, is_counted
from neurodeploy.frontends._snntorch_classes import TERMS
from neurodeploy.frontends._snntorch_values import (
    OPERANDS,
    Drawn,
    Operand,
    Rearranged,
    Record,
    Source,
    State,
    StateArgument,
    Value,
)


class Origins(TorchFunctionMode):
    """The origin of every tensor that depends on the sample.

    Attributes
    ----------
    parts: the modules by their path.
    dtype: the model's float type.
    """

    def __init__(
        self, module: nn.Module, samples: Mapping[str, torch.Tensor], dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.parts: dict[str, nn.Module] = dict(module.named_modules())
        self._values: dict[int, tuple[torch.Tensor, Value]] = {}
        self._root = type(module).__name__
        self._stack: list[str] = []
        self._samples: list[torch.Tensor] = []
        for name, sample in samples.items():
            self.track(sample, Source(tuple(sample.shape[1:]), name=name))

    def track(self, tensor: torch.Tensor, value: Value) -> None:
        """Note the origin of a tensor (and keep it alive, so that its id stays its own)."""
        if tensor.dtype != self.dtype and is_computed(value) and not is_counted(value, self.parts):
            raise self._refuse(f"computes in {tensor.dtype}, its model in {self.dtype}", CAST_HINT)
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

    def _no_state(self, argument: StateArgument) -> ModelError:
        return self._refuse(
            f"uses forward's argument {argument.name!r}, which has neither a sample nor a default, "
            "so that it is taken for the state of a neuron",
            "Give a sample for every input of forward, and a default for everything else.",
        )

    def _turned(self, op: str, before: torch.Tensor, after: torch.Tensor, hint: str) -> ModelError:
        return self._refuse(
            f"{op} turns {before.dtype} {tuple(before.shape)} into {after.dtype} "
            f"{tuple(after.shape)}",
            hint,
        )

    def _operand(self, x: Any) -> Operand:
        """Origin of a layer's input, where it is one that NIR can say."""
        if not isinstance(x, torch.Tensor):
            raise self._refuse(
                f"gets a {type(x).__name__} instead of a tensor",
                "Give the neurons before it init_hidden=True and output=False.",
            )
        value = self.value(x)
        if isinstance(value, OPERANDS):
            return value
        if isinstance(value, State):
            raise self._refuse(
                f"its input is a {TERMS[value.name]}, not spikes",
                "Neurons send spikes forward, step by step.",
            )
        if isinstance(value, StateArgument):
            raise self._no_state(value)
        if isinstance(value, Record):
            raise self._refuse(
                "its input is several values stacked or concatenated",
                "Give each branch a layer of its own and add what these deliver; give layers the "
                "spikes of a step before these are stacked.",
            )
        reason = {
            type(None): "does not come from the sample (a constant, or a recurrent connection)",
            Rearranged: "is a rearranged or partial view of the sample",
            Drawn: "is drawn at random",
        }[type(value)]
        raise self._refuse(f"its input {reason}", "Neurons send spikes forward, step by step.")

    def _view(self, op: str, view: torch.Tensor) -> Value:
        """The sample or one of its time steps, recognised by where the view lies in memory."""
        for sample in self._samples:
            whole = self.value(sample)
            if not isinstance(whole, Source) or not ops.same_memory(view, sample):
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
