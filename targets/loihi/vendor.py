"""A program in Lava: the same integers, in the vendor's own fixed-point models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError
from neurodeploy.linear import Shape
from neurodeploy.program import POTENTIAL, IntArray, Neurons, Program, Synapses
from neurodeploy.simulator.engine import in_model_units
from neurodeploy.targets.loihi.arithmetic_synapses import WEIGHT_BITS, SignMode, effective_weights
from neurodeploy.targets.loihi.lava.checks import WEIGHT_RANGES
from neurodeploy.targets.loihi.lava.runner import (
    Forget,
    Kind,
    LavaInput,
    LavaNetwork,
    LavaPopulation,
    LavaResult,
    LavaSynapse,
    run,
)
from neurodeploy.targets.loihi.models import model_of
from neurodeploy.trace import Messages, Spikes, Trace

_MESSAGE_BITS = 24
_SPARSE_ABOVE = 512


def run_in_lava(
    program: Program, inputs: Mapping[str, Messages], *, timeout: float, states: bool = False
) -> Trace:
    """Run all samples of `inputs` through Lava, one after another.

    Samples follow each other without a gap: a population at depth k is put back into its initial
    state at chip step k of every sample, when the first spikes of that sample can reach it.

    Parameters
    ----------
    inputs: uint8 (samples, steps, *shape) per input, int32 for graded ones.
    timeout: seconds for the whole run.
    states: also return the models' states after every step.

    Raises
    ------
    LavaError
        No environment, another version, a crash, a hang or garbage output.
    """
    (result,) = run([to_lava(program, inputs, states=states)], timeout=timeout)
    return from_lava(program, inputs, result)


def to_lava(program: Program, inputs: Mapping[str, Messages], *, states: bool) -> LavaNetwork:
    """The program and its input as a network for the Lava worker.

    Raises
    ------
    InputError
        A model of neurons that Lava does not have, or a connection that is not one of Lava's.
    """
    samples, steps = next(iter(inputs.values())).shape[:2]
    total = samples * steps + program.depth
    streams = []
    for port in program.inputs:
        shape = _shape(port.shape)
        stream = np.zeros((total, *shape), np.int64)
        stream[: samples * steps] = inputs[port.name].reshape(-1, *shape)
        streams.append(LavaInput(port.name, shape, stream, port.graded))
    places = {port.name: (0, -1) for port in program.inputs}
    places |= {p.name: (p.depth, order) for order, p in enumerate(program.populations)}
    return LavaNetwork(
        name="program",
        steps=total,
        inputs=tuple(streams),
        populations=tuple(_population(p, steps, states) for p in program.populations),
        synapses=tuple(
            _synapse(s, places[s.source], places[s.target], s.source in program.graded, steps)
            for s in program.synapses
        ),
    )


def from_lava(program: Program, inputs: Mapping[str, Messages], result: LavaResult) -> Trace:
    """Recordings of chip steps, cut into samples in the time of the model."""
    samples, steps = next(iter(inputs.values())).shape[:2]
    spikes, values = dict[str, Spikes](), dict[str, NDArray[Any]]()
    states: dict[str, dict[str, IntArray]] = {}

    def keep(name: str, sent: Messages) -> None:
        spikes[name] = np.asarray(sent != 0, np.uint8)
        if name in program.graded:
            values[name] = np.asarray(sent, np.int32)

    for name, sent in inputs.items():
        keep(name, sent)
    for population in program.populations:
        recorded = {
            key: found[population.depth : population.depth + samples * steps].reshape(
                samples, steps, *population.shape
            )
            for key, found in result.recorded[population.name].items()
        }
        keep(population.name, recorded.pop("s"))
        states[population.name] = {key: v.astype(np.int64) for key, v in recorded.items()}
        if population.readout == "membrane":
            read = in_model_units(states[population.name], population)
            values[population.name] = read[POTENTIAL]
    return Trace(spikes, states, values)


def _shape(shape: Shape) -> Shape:
    """Lava's layers are vectors or images; anything else is a vector to dense synapses."""
    return shape if len(shape) in (1, 3) else (math.prod(shape),)


def _population(population: Neurons, steps: int, states: bool) -> LavaPopulation:
    shape = _shape(population.shape)
    return LavaPopulation(
        name=population.name,
        shape=shape,
        registers={
            name: values.reshape(shape) if values.size > 1 else values
            for name, values in population.parameters.items()
        },
        model=population.model,
        start=population.depth,
        period=steps,
        reset=True,
        record=("s", *model_of(population).states)
        if states or population.readout == "membrane"
        else ("s",),
    )


def _synapse(
    synapses: Synapses,
    source: tuple[int, int],
    target: tuple[int, int],
    graded: bool,
    period: int,
) -> LavaSynapse:
    """One process of synapses, or a direct connection.

    `source` and `target` are (depth, place in the order of populations); `graded`: whether the
    source sends integers.
    """
    if source[0] == target[0] and source < target:
        return _direct(synapses, graded)
    mode, bits = _precision(synapses.weight)
    return LavaSynapse(
        name=synapses.name,
        source=synapses.source,
        target=synapses.target,
        kind=_kind(synapses),
        weight=np.diag(synapses.weight.reshape(-1).astype(np.int16))
        if synapses.kind == "one-to-one"
        else synapses.weight,
        weight_exp=synapses.exponent,
        sign_mode=mode,
        num_weight_bits=bits,
        num_message_bits=_MESSAGE_BITS if synapses.graded else 0,
        delay=synapses.delay,
        port=synapses.port,
        stride=synapses.stride,
        padding=synapses.padding,
        dilation=synapses.dilation,
        groups=synapses.groups,
        forget=_forget(source[0], target[0], period),
    )


def _direct(synapses: Synapses, graded: bool) -> LavaSynapse:
    plain = synapses.kind == "one-to-one" and bool(np.all(synapses.weight == 1))
    if not plain or synapses.exponent or synapses.delay.any():
        raise InputError(
            "it connects equal depths, so it is one of Lava's direct connections, which are "
            "one-to-one, of weight 1, without exponent and delay",
            node=synapses.name,
        )
    if graded and not synapses.graded:
        raise InputError(
            "a direct connection cannot make spikes of graded messages", node=synapses.name
        )
    return LavaSynapse(
        name=synapses.name,
        source=synapses.source,
        target=synapses.target,
        kind="direct",
        weight=np.ones(1, np.int64),
        port=synapses.port,
    )


def _kind(synapses: Synapses) -> Kind:
    """A sparse matrix where most of it is zero.

    Also where delayed products of graded messages could leave 32 bits before they are shifted
    right: DelayDense wraps each of them, DelaySparse their sum, as all other synapses do.
    """
    if synapses.kind == "conv2d":
        return "conv2d"
    wraps = synapses.graded and bool(synapses.delay.any()) and synapses.exponent < 0
    large = synapses.kind == "one-to-one" and synapses.weight.size > _SPARSE_ABOVE
    return "sparse" if wraps or large else "dense"


def _precision(weight: IntArray) -> tuple[SignMode, int]:
    """(sign mode, weight bits) with which Lava leaves weights as they are, if there are such."""
    low, high = int(weight.min()), int(weight.max())
    choices: tuple[tuple[SignMode, int], ...] = (
        ("mixed", WEIGHT_BITS),
        ("excitatory", WEIGHT_BITS),
        ("inhibitory", WEIGHT_BITS),
        ("mixed", WEIGHT_BITS + 1),
    )
    for mode, bits in choices:
        limits = WEIGHT_RANGES[mode]
        inside = limits[0] <= low and high <= limits[1]
        if inside and np.array_equal(effective_weights(weight, mode, bits), weight):
            return mode, bits
    return choices[0]


def _forget(source: int, target: int, period: int) -> Forget:
    """When synapses between these depths drop what an earlier sample left in them.

    A sample begins in a population at its depth.  From the first of the two beginnings on, nothing
    of the earlier sample may arrive after the target's; what the source sends until its own is
    still of the earlier sample.
    """
    if source < target:
        return Forget(source, period, steps=1, kept=target - source)
    return Forget(target, period, steps=source - target + 1)
