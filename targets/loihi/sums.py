"""Convolutions of analog input: graded neurons add up, and one synapse each brings the sum down.

Lava's convolutions have no exponents, and weights of 8 bits times messages of 8 make sums far
beyond what u may receive.  So the sum of a convolution, which has 24 bits, is sent as a message by
a neuron of Lava's GradedVec and reaches the neuron that it is meant for through a synapse of weight
1 with the convolution's exponent, and its delay.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodeploy.program import Lowering, Neurons, Program, Synapses


def summed(program: Program) -> Program:
    """`program` with such neurons in its convolutions of graded messages, populations by depth."""
    taken = program.shapes
    sums: list[Neurons] = []
    synapses: list[Synapses] = []
    notes: list[Lowering] = []
    for item in program.synapses:
        if item.kind != "conv2d" or not item.graded:
            synapses.append(item)
            continue
        name = f"{item.target}<{item.source}"
        while name in taken:
            name += "'"
        depth = program.population(item.target).depth - 1 - int(item.delay.max())
        sums.append(_adding(name, item, depth))
        synapses += [_first(item, name), _second(item, name)]
        text = "its sums of weights times analog values are sent by neurons of their own"
        notes.append(Lowering(item.name, "sums", "exact", text))
    return replace(
        program,
        populations=tuple(sorted((*program.populations, *sums), key=lambda p: p.depth)),
        synapses=tuple(synapses),
        lowerings=(*program.lowerings, *notes),
    )


def _adding(name: str, item: Synapses, depth: int) -> Neurons:
    parameters, unit = {"vth": np.array([0])}, np.array([1.0])
    return Neurons(name, item.out_shape, depth, parameters, unit, model="graded", graded=True)


def _first(item: Synapses, name: str) -> Synapses:
    """The convolution itself, at once and unscaled."""
    none = np.zeros(1, np.int64)
    return replace(item, name=f"{item.source}->{name}", target=name, exponent=0, delay=none)


def _second(item: Synapses, name: str) -> Synapses:
    return Synapses(
        name=f"{name}->{item.target}",
        source=name,
        target=item.target,
        kind="one-to-one",
        weight=np.ones(int(np.prod(item.out_shape)), np.int64),
        exponent=item.exponent,
        in_shape=item.out_shape,
        out_shape=item.out_shape,
        delay=item.delay,
        graded=True,
    )
