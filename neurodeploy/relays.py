"""Delays that a chip's synapses do not have: populations that pass spikes on, a step later.

A relay sends exactly what it receives.  Synapses that must wait d steps read the last of d relays,
which all that read the same source share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from neurodeploy.linear import Shape
from neurodeploy.lowering import Placed
from neurodeploy.program import Lowering, Neurons, Program, Range, Synapses

Relay = Callable[[str, str, Shape, int], Placed]
"""(source, name, shape, depth) -> a population that sends what `source` sends, a step later."""


def relayed(program: Program, steps: Callable[[Synapses], int], relay: Relay, why: str) -> Program:
    """`program` with relays instead of delays, populations by depth.

    Parameters
    ----------
    steps: how many steps a connection has to wait in relays instead of its synapses; 0 for none.
    why: what the chip lacks, for the notes.
    """
    shapes, depth = program.shapes, {p.name: p.depth for p in program.populations}
    relays: dict[str, Neurons] = {}
    synapses: list[Synapses] = []
    notes: list[Lowering] = []
    ranges: list[Range] = []
    for item in program.synapses:
        waits = steps(item)
        source = item.source
        for step in range(1, waits + 1):
            name = _name(item.source, step, shapes)
            if name not in relays:
                at = depth.get(item.source, 0) + step
                placed = relay(source, name, shapes[item.source], at)
                relays[name] = placed.neurons
                synapses += placed.synapses
                ranges += placed.ranges
            source = name
        if waits:
            item = replace(item, source=source, delay=np.zeros(1, np.int64))
            text = f"waits {waits} more steps in relay populations: {why}"
            notes.append(Lowering(item.name, "delay", "exact", text))
        synapses.append(item)
    populations = sorted((*program.populations, *relays.values()), key=lambda p: p.depth)
    return replace(
        program,
        populations=tuple(populations),
        synapses=tuple(synapses),
        lowerings=(*program.lowerings, *notes),
        ranges=(*program.ranges, *ranges),
    )


def _name(source: str, step: int, taken: Mapping[str, Shape]) -> str:
    name = f"{source}+{step}"
    while name in taken:
        name += "'"
    return name
