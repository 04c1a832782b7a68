"""The states of the neurons in a traced forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_casts import CAST_HINT
from neurodeploy.frontends._snntorch_classes import TERMS, states
from neurodeploy.frontends._snntorch_origins import Origins
from neurodeploy.frontends._snntorch_values import (
    Operand,
    Shape,
    Spikes,
    State,
    StateArgument,
    Value,
)


class StateRestartError(ModelError):
    """A neuron starts from zeros in every call of `forward`."""


class StateTracer(Origins):
    """How neurons go on from step to step.

    Attributes
    ----------
    currents: for every neuron module, in order of the first call, what drove it in each call.
    shapes: its population shape.
    owners: the path of the state that each state argument of forward is (`lif1.mem`).
    feedback: the float type of what its recurrent weights deliver, where it has any.
    """

    def __init__(
        self, module: nn.Module, samples: Mapping[str, torch.Tensor], dtype: torch.dtype
    ) -> None:
        super().__init__(module, samples, dtype)
        self.currents: dict[str, list[Operand]] = {}
        self.shapes: dict[str, Shape] = {}
        self.owners: dict[str, str] = {}
        self.feedback: dict[str, torch.dtype] = {}
        self._delivered: tuple[torch.Tensor, int] | None = None

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
                hint="Where forward holds the time loop, give a sample with two or more steps, and "
                "use one neuron module per population; where it is one step, keep the state in the "
                "neuron or take it as an argument.",
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
            state = getattr(module, name)
            if name != "spk" and state.dtype != self.dtype:
                raise self._refuse(
                    f"its {TERMS[name]} is {state.dtype}, its model {self.dtype}", CAST_HINT
                )
            self.track(state, self._state(path, name, len(calls)))
        calls.append(operand)

    # Recurrent weights

    def _fed_back(self, path: str, spikes: Any) -> None:
        """Check what the recurrent weights of the neuron that runs at `path` get."""
        step = len(self.currents.get(path, ()))
        last = self._state(path, "spk", step - 1) if step else None
        if self.value(spikes) != last or (last is None and bool(spikes.any())):
            raise self._refuse(
                "gets something other than the last spikes of its neurons",
                "Let its forward pre-hooks do nothing but cast: x.double().",
            )

    def _delivers(self, output: torch.Tensor) -> None:
        """Note what recurrent weights deliver, before any hook of the user sees it."""
        self._delivered = output, output._version

    def _delivered_unchanged(self, path: str, output: torch.Tensor) -> None:
        """Check that no hook of the user changed it, and note its type."""
        raw, version = self._delivered or (None, 0)
        if output is not raw or output._version != version:
            raise self._refuse("a forward hook changes its output", "Remove the hook.")
        self.feedback[path] = output.dtype
