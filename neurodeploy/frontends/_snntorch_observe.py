"""From a traced run to the one step that it repeats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_maps import Norm, Weighted
from neurodeploy.frontends._snntorch_ops import tensors
from neurodeploy.frontends._snntorch_pools import Use, uses
from neurodeploy.frontends._snntorch_run import Stepper, guarded, preserved, state_arguments
from neurodeploy.frontends._snntorch_trace import StateRestartError, Tracer, tensors_of
from neurodeploy.frontends._snntorch_values import (
    Layer,
    Operand,
    Shape,
    Source,
    Spikes,
    State,
    StateArgument,
    Value,
    flat,
    origins,
    relative,
    terms,
)

Readout = Literal["spikes", "membrane"]


@dataclass(frozen=True)
class Observation:
    """One time step of a module.

    Attributes
    ----------
    parts: the modules by their path.
    shapes: population shape of every neuron module, in the order in which they run.
    currents: what drives it.
    readouts: the neurons whose spikes, or else membrane potential, are returned.
    input_shape: shape of one step's input.
    loop: whether forward holds the time loop.
    time_axis: axis of forward's input that is time; None where each step gets all of it.
    arguments: the arguments of forward that take states, and the paths of these (`lif1.mem`).
    pools: max pooling in one step: which calls of its path it is.
    """

    parts: dict[str, nn.Module]
    shapes: dict[str, Shape]
    currents: dict[str, Operand]
    readouts: dict[str, Readout]
    input_shape: Shape
    loop: bool
    time_axis: int | None
    arguments: dict[str, str]
    pools: dict[Layer, Use]


def observe(module: nn.Module, sample: torch.Tensor) -> Observation:
    """Run the module on the sample and find the step that it repeats.

    Arguments of forward that default to None are first left alone; where neurons then restart in
    every call, they are taken for initial states.

    Raises
    ------
    ModelError
        The module does something that this front end cannot say exactly in NIR.
    """
    required, optional = state_arguments(module)
    try:
        return _observe(module, sample, required)
    except StateRestartError as error:
        if not optional:
            raise
        try:
            return _observe(module, sample, required + optional)
        except ModelError:
            raise error from None


def _observe(module: nn.Module, sample: torch.Tensor, arguments: list[str]) -> Observation:
    sample = sample.detach().clone(memory_format=torch.contiguous_format)
    with preserved(module):
        before = _parameters(module)
        tracer = Tracer(module, sample)
        stepper = Stepper(module, arguments, sample.device)
        for name, state in stepper.states.items():
            tracer.track(state, StateArgument(name))
        with guarded(lambda: tracer.where):
            with tracer:
                returned = stepper(sample)
            values = [tracer.value(tensor) for tensor in tensors(returned)]
            _check_called(tracer, arguments)
            time_axis, input_shape = _input(tracer)
            loop = max(map(len, tracer.currents.values())) > 1
            if not loop:
                _second_step(tracer, stepper, sample, time_axis)
        _check_unchanged(before, _parameters(module))
    steps = _check_periodic(tracer)
    currents = {path: calls[0] for path, calls in tracer.currents.items()}
    return Observation(
        tracer.parts,
        tracer.shapes,
        currents,
        _readouts([v for value in values if value is not None for v in flat(value)], currents),
        input_shape,
        loop,
        time_axis,
        tracer.owners,
        uses(tracer.pooled, steps),
    )


def _second_step(
    tracer: Tracer, stepper: Stepper, sample: torch.Tensor, time_axis: int | None
) -> None:
    """Call a forward of one step again, which shows what it keeps from the first."""
    if time_axis is not None:
        raise ModelError(
            f"forward takes one entry of the sample along axis {time_axis}",
            node=tracer.where,
            hint="If that axis is time, give a sample with two or more steps.",
        )
    stepper.advance(tracer.owners)
    with tracer:
        stepper(sample)


def _check_called(tracer: Tracer, arguments: list[str]) -> None:
    if not tracer.currents:
        raise ModelError(
            "forward calls no snnTorch neuron", node=tracer.where, hint="Add a population."
        )
    if lost := set(arguments) - set(tracer.owners):
        raise ModelError(
            f"forward's argument {min(lost)!r} is not the state of a neuron",
            node=tracer.where,
            hint="Give it a default; only the input and states can be passed.",
        )


def _parameters(module: nn.Module) -> dict[str, bytes]:
    """A digest of all that layers and neurons compute with; a copy would double the memory."""
    return {name: _digest(tensor) for name, tensor in tensors_of(module).items()}


def _digest(tensor: torch.Tensor) -> bytes:
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(data.data).digest()


def _check_unchanged(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    for name, digest in before.items():
        if after.get(name) != digest:
            raise ModelError(
                "is changed by forward",
                node=name,
                hint="Set it outside forward; parameters must be the same in every step.",
            )


def _input(tracer: Tracer) -> tuple[int | None, Shape]:
    """The sample's time axis, and the shape of one step."""
    sources = {
        (origin.axis, origin.shape)
        for calls in tracer.currents.values()
        for current in calls
        for origin in origins(current)
        if isinstance(origin, Source)
    }
    if len(sources) != 1:
        raise ModelError(
            "some layers get the whole sample and others a part, or parts along different axes",
            node=tracer.where,
            hint="Index one axis of the input, the time axis, or none.",
        )
    return sources.pop()


def _check_periodic(tracer: Tracer) -> int:
    """Check that every neuron is called once per step, and driven the same way in each.

    Returns the number of steps.
    """
    first, *_ = tracer.currents
    steps = len(tracer.currents[first])
    for path, calls in tracer.currents.items():
        for step, current in enumerate(calls):
            if relative(current, step) != calls[0]:
                _check_norms(calls[0], current)
                raise ModelError(
                    f"its input is computed in another way in call {step + 1} than in call 1: it "
                    "is called twice within one step, takes the sample in another order, or is "
                    "part of a recurrent connection",
                    node=tracer.node(path),
                    hint="Use one neuron module per population, and snn.RLeaky or snn.RSynaptic "
                    "for recurrence.",
                )
        if len(calls) != steps:
            raise ModelError(
                f"is called {len(calls)} times, {tracer.node(first)} {steps} times",
                node=tracer.node(path),
                hint="Call every neuron once per time step.",
            )
        if any(origin.step for origin in origins(calls[0])):
            raise ModelError(
                "its input comes from another time step than its own",
                node=tracer.node(path),
                hint="Let every neuron take the spikes of the same step.",
            )
    return steps


def _check_norms(first: Operand, later: Operand) -> None:
    """Refuse batch norms that change from step to step, as snn.BatchNormTT1d and 2d do."""
    changed = set(_norms(later)) - set(_norms(first))
    if changed:
        raise ModelError(
            "normalises one time step and another batch norm the next (as in snn.BatchNormTT1d and "
            "BatchNormTT2d), so the parameters change with the time step; NIR's are constant",
            node=min(changed),
            hint="Use one nn.BatchNorm1d or nn.BatchNorm2d for all steps.",
        )


def _norms(value: Operand) -> Iterator[str]:
    """Paths of the batch norms that a value went through since the last neurons."""
    for term in terms(value):
        if isinstance(term, Layer):
            if isinstance(term.op, Weighted):
                yield from (change.path for change in term.op.changes if isinstance(change, Norm))
            yield from _norms(term.operand)


def _readouts(values: list[Value], currents: dict[str, Operand]) -> dict[str, Readout]:
    """Neurons that are read: those that return spikes, and last ones that return only membranes."""
    for value in values:
        if not isinstance(value, (Spikes, State)):
            raise ModelError(
                "forward returns something other than spikes or a membrane potential",
                node=value.path if isinstance(value, Layer) else None,
                hint="End the model with a neuron, for instance snn.Leaky(beta, "
                'reset_mechanism="none"), and return its spikes or membrane potential.',
            )
    drivers = {
        origin.path
        for current in currents.values()
        for origin in origins(current)
        if isinstance(origin, Spikes)
    }
    readouts: dict[str, Readout] = {}
    for value in values:
        if isinstance(value, Spikes):
            readouts[value.path] = "spikes"
        elif isinstance(value, State) and value.name == "mem" and value.path not in drivers:
            readouts.setdefault(value.path, "membrane")
    if not readouts:
        raise ModelError(
            "forward returns neither spikes nor the membrane potential of a last neuron",
            hint="Return the spikes of the output neurons.",
        )
    return readouts
