"""Delays that a convolution's synapses do not have: populations that pass spikes on, a step later.

Lava's convolutions have no delays.  A relay sends exactly what it receives: one synapse of weight
2 per neuron, no memory, threshold 1.  A convolution that must wait d steps reads the last of d.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodeploy.linear import Shape
from neurodeploy.program import Lowering, Neurons, Program, Range, Synapses
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE
from neurodeploy.targets.loihi.ranges import STATE_UNIT, certify

WEIGHT, THRESHOLD = 2, 1


def relayed(program: Program) -> Program:
    """`program` with relays in place of the delays of its convolutions, populations by depth."""
    shapes, depth = program.shapes, {p.name: p.depth for p in program.populations}
    relays: dict[str, Neurons] = {}
    synapses: list[Synapses] = []
    notes: list[Lowering] = []
    ranges: list[Range] = []
    for item in program.synapses:
        steps = int(item.delay.max())
        if item.kind != "conv2d" or not steps:
            synapses.append(item)
            continue
        source = item.source
        for step in range(1, steps + 1):
            name = _name(item.source, step, shapes)
            if name not in relays:
                shape = shapes[item.source]
                relays[name] = _relay(name, shape, depth.get(item.source, 0) + step)
                arriving = _one_to_one(source, name, shape)
                synapses.append(arriving)
                ranges += certify(relays[name], [arriving], {}, "voltage")
            source = name
        synapses.append(replace(item, source=source, delay=np.zeros(1, np.int64)))
        text = f"waits {steps} more steps in relay populations: Lava's convolutions have no delays"
        notes.append(Lowering(item.name, "delay", "exact", text))
    populations = sorted((*program.populations, *relays.values()), key=lambda p: p.depth)
    return replace(
        program,
        populations=tuple(populations),
        synapses=tuple(synapses),
        lowerings=(*program.lowerings, *notes),
        ranges=(*program.ranges, *ranges),
    )


def _name(source: str, step: int, taken: dict[str, Shape]) -> str:
    name = f"{source}+{step}"
    while name in taken:
        name += "'"
    return name


def _relay(name: str, shape: Shape, depth: int) -> Neurons:
    registers = {"du": DECAY_ONE - 1, "dv": DECAY_ONE, "vth": THRESHOLD}
    registers |= dict.fromkeys(("bias_mant", "bias_exp", "u0", "v0"), 0)
    parameters = {key: np.array([value]) for key, value in registers.items()}
    return Neurons(name, shape, depth, parameters, np.array([float(WEIGHT * STATE_UNIT)]))


def _one_to_one(source: str, target: str, shape: Shape) -> Synapses:
    """As a convolution of one pixel: images may be large."""
    weight = np.full((shape[0], 1, 1, 1), WEIGHT)
    name = f"{source}->{target}"
    return Synapses(name, source, target, "conv2d", weight, 0, shape, shape, groups=shape[0])
