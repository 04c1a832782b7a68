"""Runs a `Program` with its target's integer arithmetic: layer by layer over all steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.target import Machine
from neurodeploy.trace import Spikes, Trace, check_inputs, check_names, concatenate

CHUNK_VALUES = 1 << 25
INT32_MAX = (1 << 31) - 1


def simulate(
    program: Program,
    inputs: NDArray[Any] | Mapping[str, NDArray[Any]],
    machine: Machine,
    *,
    record: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Trace:
    """Run `program` on spikes (samples, steps, *shape), each sample from the initial state.

    Parameters
    ----------
    record:
        Populations whose integer states are kept.
    progress:
        Called with (samples done, samples) after each chunk.

    Raises
    ------
    InputError
        Inputs that do not fit the program.
    """
    spikes = check_inputs(inputs, program.input_shapes)
    check_names(record, [population.name for population in program.populations])
    samples, steps = next(iter(spikes.values())).shape[:2]
    widest = max(math.prod(shape) for shape in program.shapes.values())
    chunk = max(1, CHUNK_VALUES // (widest * steps))
    parts = []
    for start in range(0, samples, chunk):
        part = {name: array[start : start + chunk] for name, array in spikes.items()}
        parts.append(_simulate(program, part, machine, record))
        if progress is not None:
            progress(min(start + chunk, samples), samples)
    return concatenate(parts)


def _simulate(
    program: Program, inputs: Mapping[str, Spikes], machine: Machine, record: Collection[str]
) -> Trace:
    spikes = dict(inputs)
    states: dict[str, dict[str, NDArray[Any]]] = {}
    samples, steps = next(iter(inputs.values())).shape[:2]
    for population in program.populations:
        incoming = program.incoming(population.name)
        current = np.zeros((samples, steps, population.size), np.int64)
        for synapses in incoming:
            if not synapses.recurrent:
                total = weight_sums(spikes[synapses.source], synapses)
                current += machine.activation(total, synapses)
        recurrent = tuple(s for s in incoming if s.recurrent)
        keep = population.name in record
        fired, recorded = machine.neurons(current, population, recurrent, keep)
        shape = (samples, steps, *population.shape)
        spikes[population.name] = fired.reshape(shape)
        if keep:
            states[population.name] = {k: v.reshape(shape) for k, v in recorded.items()}
    return Trace(spikes, states)


def weight_sums(spikes: Spikes, synapses: Synapses) -> IntArray:
    """Exact sums of the weights that spikes (samples, steps, *in_shape) reach.

    Returns int64 (samples, steps, n), n in C order of the target's shape.
    """
    from neurodeploy.simulator.kernels import add_conv2d, add_dense

    samples, steps = spikes.shape[:2]
    _check_sums(synapses)
    if synapses.kind == "conv2d":
        channels, height, width = synapses.out_shape
        total = np.zeros((samples, steps, height, width, channels), np.int32)
        add_conv2d(
            np.ascontiguousarray(spikes),
            _conv_layout(synapses),
            synapses.stride,
            synapses.padding,
            synapses.dilation,
            synapses.groups,
            total,
        )
        total = np.moveaxis(total, -1, 2)
    elif synapses.kind == "dense":
        flat = np.ascontiguousarray(spikes.reshape(samples, steps, -1))
        total = np.zeros((samples, steps, len(synapses.weight)), np.int32)
        add_dense(flat, np.ascontiguousarray(synapses.weight.T.astype(np.int32)), total)
    else:
        flat = spikes.reshape(samples, steps, -1)
        return np.asarray(flat * synapses.weight.reshape(-1), np.int64)
    return total.reshape(samples, steps, -1).astype(np.int64)


def _conv_layout(synapses: Synapses) -> NDArray[np.int32]:
    """Kernel as (in channels, height, width, out channels / groups)."""
    out, per_group, height, width = synapses.weight.shape
    grouped = synapses.weight.reshape(
        synapses.groups, out // synapses.groups, per_group, height, width
    )
    layout = grouped.transpose(0, 2, 3, 4, 1).reshape(-1, height, width, out // synapses.groups)
    return np.ascontiguousarray(layout, dtype=np.int32)


def _check_sums(synapses: Synapses) -> None:
    """Sums of weights must fit the kernels' int32 accumulators."""
    rows = synapses.weight.reshape(len(synapses.weight), -1).astype(np.float64)
    largest = np.abs(rows).sum(axis=1).max(initial=0.0)
    if largest > INT32_MAX:
        raise InputError(
            f"the weights of one neuron sum up to {largest:.0f}, more than {INT32_MAX}",
            node=synapses.name,
        )


def in_model_units(
    states: Mapping[str, NDArray[Any]], population: Neurons
) -> dict[str, NDArray[np.float64]]:
    """Recorded integer states divided by the population's unit."""
    unit = population.unit.reshape(-1)
    unit = unit if unit.size == 1 else unit.reshape(population.shape)
    return {name: values / unit for name, values in states.items()}
