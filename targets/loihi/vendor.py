"""A program in Lava: the same integers, in the vendor's own fixed-point models."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from neurodeploy.linear import Shape
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.targets.loihi.lava.runner import (
    LavaInput,
    LavaNetwork,
    LavaPopulation,
    LavaResult,
    LavaSynapse,
    run,
)
from neurodeploy.trace import Spikes, Trace


def run_in_lava(
    program: Program, inputs: Mapping[str, Spikes], *, timeout: float, states: bool = False
) -> Trace:
    """Run all samples of `inputs` through Lava, one after another.

    Samples follow each other without a gap: a population at depth k is put back into its initial
    state at chip step k of every sample, when the first spikes of that sample can reach it.

    Parameters
    ----------
    inputs: uint8 (samples, steps, *shape) per input.
    timeout: seconds for the whole run.
    states: also return `u` and `v` after every step.

    Raises
    ------
    LavaError
        No environment, another version, a crash, a hang or garbage output.
    """
    (result,) = run([to_lava(program, inputs, states=states)], timeout=timeout)
    return from_lava(program, inputs, result)


def to_lava(program: Program, inputs: Mapping[str, Spikes], *, states: bool) -> LavaNetwork:
    """The program and its input as a network for the Lava worker."""
    samples, steps = next(iter(inputs.values())).shape[:2]
    total = samples * steps + program.depth
    streams = []
    for name, its_shape in program.input_shapes.items():
        shape = _shape(its_shape)
        stream = np.zeros((total, *shape), np.int64)
        stream[: samples * steps] = inputs[name].reshape(-1, *shape)
        streams.append(LavaInput(name, shape, stream))
    return LavaNetwork(
        name="program",
        steps=total,
        inputs=tuple(streams),
        populations=tuple(_population(p, steps, states) for p in program.populations),
        synapses=tuple(_synapse(s) for s in program.synapses),
    )


def from_lava(program: Program, inputs: Mapping[str, Spikes], result: LavaResult) -> Trace:
    """Recordings of chip steps, cut into samples in the time of the model."""
    samples, steps = next(iter(inputs.values())).shape[:2]
    spikes = dict(inputs)
    states: dict[str, dict[str, IntArray]] = {}
    for population in program.populations:
        recorded = {
            key: values[population.depth : population.depth + samples * steps].reshape(
                samples, steps, *population.shape
            )
            for key, values in result.recorded[population.name].items()
        }
        spikes[population.name] = recorded.pop("s").astype(np.uint8)
        states[population.name] = {key: v.astype(np.int64) for key, v in recorded.items()}
    return Trace(spikes, states)


def _shape(shape: Shape) -> Shape:
    """Lava's layers are vectors or images; anything else is a vector to dense synapses."""
    return shape if len(shape) in (1, 3) else (math.prod(shape),)


def _population(population: Neurons, steps: int, states: bool) -> LavaPopulation:
    shape = _shape(population.shape)
    registers = {
        name: values.reshape(shape) if values.size > 1 else values
        for name, values in population.parameters.items()
    }
    return LavaPopulation(
        name=population.name,
        shape=shape,
        **registers,
        start=population.depth,
        period=steps,
        reset=True,
        record=("s", "u", "v") if states else ("s",),
    )


def _synapse(synapses: Synapses) -> LavaSynapse:
    weight = synapses.weight
    if synapses.kind == "one-to-one":
        weight = np.diag(weight.reshape(-1).astype(np.int16))
    return LavaSynapse(
        name=synapses.name,
        source=synapses.source,
        target=synapses.target,
        kind="conv2d" if synapses.kind == "conv2d" else "dense",
        weight=weight,
        weight_exp=synapses.exponent,
        sign_mode="mixed",
        stride=synapses.stride,
        padding=synapses.padding,
        dilation=synapses.dilation,
        groups=synapses.groups,
    )
