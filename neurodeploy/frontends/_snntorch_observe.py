"""From a traced run to the one step that it repeats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_maps import Norm, Weighted
from neurodeploy.frontends._snntorch_ops import tensors
from neurodeploy.frontends._snntorch_pools import Use, uses
from neurodeploy.frontends._snntorch_replay import Forward, Population
from neurodeploy.frontends._snntorch_run import (
    Stepper,
    device_of,
    guarded,
    preserved,
    state_arguments,
)
from neurodeploy.frontends._snntorch_states import StateRestartError
from neurodeploy.frontends._snntorch_trace import Tracer, tensors_of
from neurodeploy.frontends._snntorch_values import (
    Layer,
    Operand,
    Shape,
    Source,
    Spikes,
    State,
    StateArgument,
    Sum,
    Value,
    flat,
    origins,
    relative,
    terms,
)


@dataclass(frozen=True)
class Observation:
    """One time step of a module.

    Attributes
    ----------
    parts: the modules by their path.
    dtype: the model's float type.
    shapes: population shape of every neuron module, in the order in which they run.
    currents: what drives it.
    feedback: the float type of what recurrent weights deliver to it.
    outputs: what forward returns, each thing once: spikes, what layers make of them, and the
        membrane potential (a `State`) of neurons that drive nothing and return no spikes.
    inputs: what each step takes of each sample, by the name of its node and in forward's order; its
        `axis` is the sample's axis that is time, None where each step gets all of the sample.
    loop: whether forward holds the time loop.
    arguments: the arguments of forward that take states, and the paths of these (`lif1.mem`); None
        for one that forward does not use.
    pools: max pooling in one step: which calls of its path it is.
    steps: how many steps were observed.
    computed: what layers compute with that is no tensor of the model, by name.
    """

    parts: dict[str, nn.Module]
    dtype: torch.dtype
    shapes: dict[str, Shape]
    currents: dict[str, Operand]
    feedback: dict[str, torch.dtype]
    outputs: tuple[Operand | State, ...]
    inputs: dict[str, Source]
    loop: bool
    arguments: dict[str, str | None]
    pools: dict[Layer, Use]
    steps: int
    computed: dict[str, torch.Tensor]

    @property
    def forward(self) -> Forward:
        """How the module is called."""
        axes = {name: source.axis for name, source in self.inputs.items()}
        return Forward(self.loop, axes, self.arguments)

    @property
    def populations(self) -> tuple[Population, ...]:
        """What spikes in every step."""
        pools = ((layer.path, use) for layer, use in self.pools.items())
        return (*((path, None) for path in self.shapes), *pools)


def observe(
    module: nn.Module, samples: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> Observation:
    """Run the module on the samples, tensors of type `dtype`, and find the step that it repeats.

    Arguments of forward that default to None are first left alone; where neurons then restart in
    every call, they are taken for initial states.

    Raises
    ------
    ModelError
        The module does something that this front end cannot say exactly in NIR.
    """
    required, optional = state_arguments(module, len(samples))
    try:
        return _observe(module, samples, dtype, required, [])
    except StateRestartError as error:
        if not optional:
            raise
        try:
            return _observe(module, samples, dtype, required, optional)
        except ModelError:
            raise error from None


def _observe(
    module: nn.Module,
    samples: Mapping[str, torch.Tensor],
    dtype: torch.dtype,
    required: list[str],
    optional: list[str],
) -> Observation:
    arguments = required + optional
    samples = {
        name: sample.detach().clone(memory_format=torch.contiguous_format)
        for name, sample in samples.items()
    }
    with preserved(module):
        before = _parameters(module)
        tracer = Tracer(module, samples, dtype)
        stepper = Stepper(module, arguments, dtype, device_of(module))
        for name, state in stepper.states.items():
            tracer.track(state, StateArgument(name))
        with guarded(lambda: tracer.where, tracer.dtype):
            with tracer:
                returned = stepper(*samples.values())
            found = [tracer.value(tensor) for tensor in tensors(returned)]
            values = [item for value in found if value is not None for item in flat(value)]
            _check_called(tracer, optional)
            inputs = _inputs(tracer, samples, values)
            loop = max(map(len, tracer.currents.values())) > 1
            if not loop:
                _second_step(tracer, stepper, samples, inputs)
        _check_unchanged(before, _parameters(module))
    steps = _check_periodic(tracer)
    currents = {path: calls[0] for path, calls in tracer.currents.items()}
    return Observation(
        tracer.parts,
        tracer.dtype,
        tracer.shapes,
        currents,
        tracer.feedback,
        _outputs(values, currents),
        inputs,
        loop,
        {name: tracer.owners.get(name) for name in arguments},
        uses(tracer.pooled, steps),
        steps,
        tracer.computed,
    )


def _second_step(
    tracer: Tracer,
    stepper: Stepper,
    samples: Mapping[str, torch.Tensor],
    inputs: Mapping[str, Source],
) -> None:
    """Call a forward of one step again, which shows what it keeps from the first."""
    for source in inputs.values():
        if source.axis is None:
            continue
        raise ModelError(
            f"forward takes one entry of the sample along axis {source.axis}",
            node=tracer.where,
            hint="If that axis is time, give a sample with two or more steps.",
        )
    stepper.advance(tracer.owners)
    with tracer:
        stepper(*samples.values())


def _check_called(tracer: Tracer, optional: list[str]) -> None:
    if not tracer.currents:
        raise ModelError(
            "forward calls no snnTorch neuron", node=tracer.where, hint="Add a population."
        )
    if lost := set(optional) - set(tracer.owners):  # may be a switch that was turned on
        raise ModelError(
            f"forward's argument {min(lost)!r} is not the state of a neuron",
            node=tracer.where,
            hint="Leave it out.",
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
                hint="Set it outside forward, or, where only the first run sets it (scales of "
                "Brevitas), run the model once first; parameters must be the same in every step.",
            )


def _inputs(
    tracer: Tracer, samples: Mapping[str, torch.Tensor], returned: list[Value]
) -> dict[str, Source]:
    """What each sample is in a step: all of it, or an entry along its time axis."""
    currents = [current for calls in tracer.currents.values() for current in calls]
    read = [value for value in returned if isinstance(value, (Layer, Sum))]
    inputs = {}
    for name, sample in samples.items():
        found = {
            replace(origin, step=0)
            for value in (*currents, *read)
            for origin in origins(value)
            if isinstance(origin, Source) and origin.name == name
        }
        if len(found) > 1:
            argument = "the sample" if name == "input" else f"the sample {name.partition('.')[2]}"
            raise ModelError(
                f"some layers get {argument} as a whole and others a part, or parts along "
                "different axes",
                node=tracer.where,
                hint="Index one axis of the input, the time axis, or none.",
            )
        inputs[name] = found.pop() if found else Source(tuple(sample.shape[1:]), name=name)
    return inputs


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


def _outputs(values: list[Value], currents: dict[str, Operand]) -> tuple[Operand | State, ...]:
    """What is read in every step: see `Observation.outputs`."""
    read = [value if isinstance(value, State) else _of_one_step(value) for value in values]
    returned = [value for value in read if not isinstance(value, State)]
    driven = [*currents.values(), *(value for value in returned if not isinstance(value, Spikes))]
    drivers = {o.path for value in driven for o in origins(value) if isinstance(o, Spikes)}
    spiking = {value.path for value in returned if isinstance(value, Spikes)}
    outputs: dict[Operand | State, None] = {}
    for value in read:
        if not isinstance(value, State):
            outputs[value] = None
        elif value.name == "mem" and value.path not in drivers | spiking:
            outputs[replace(value, step=0)] = None
    if not outputs:
        raise ModelError(
            "forward returns neither an output of neurons or layers nor the membrane potential of "
            "last neurons",
            hint="Return the spikes of the output neurons.",
        )
    return tuple(outputs)


def _of_one_step(value: Value) -> Operand:
    """A returned value, its steps counted from the one that it belongs to."""
    if not isinstance(value, (Spikes, Layer, Sum)):
        raise ModelError(
            "forward returns what it was given",
            hint="Return spikes, membrane potentials, or what layers make of spikes.",
        )
    steps = {o.step for o in origins(value) if isinstance(o, Spikes) or o.axis is not None}
    if len(steps) > 1:
        raise ModelError(
            f"forward returns a value that combines {len(steps)} time steps",
            hint="Return the values of all steps, and reduce them outside the model.",
        )
    return relative(value, steps.pop() if steps else 0)
