"""The registers of a population of the fixed-point machine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.program import IntArray, Neurons
from neurodeploy.targets.cpu.arithmetic import INT32_MAX, NO_RESET

RULES = {
    "state_bits": (8, 32),
    "decay_bits": (0, 15),
    "nearest": (0, 1),
    "saturate": (0, 1),
    "filtered": (0, 1),
    "reset": (0, NO_RESET),
    "closed": (0, 1),
}
"""Registers of one value for a population, with the least and the greatest."""
NEURON = ("decay", "current_decay", "threshold", "amount", "bias", "leak")
"""Registers that neurons may have of their own, in the order of the kernel."""


class Rules(NamedTuple):
    """What all neurons of a population share, in the order in which `arithmetic.step` takes it."""

    state_bits: int
    decay_bits: int
    nearest: int
    saturate: int
    filtered: int
    reset: int
    closed: int


def rules(population: Neurons) -> Rules:
    """The rules of a population; raises `InputError` where one is missing or impossible."""
    if population.model != "lif" or population.graded or population.depth != 1:
        raise InputError(
            f"neurons {population.model!r} at depth {population.depth} are none of this machine's",
            node=population.name,
        )
    found = {}
    for name, (least, most) in RULES.items():
        values = population.register(name)
        if values.size != 1 or not least <= int(values.reshape(-1)[0]) <= most:
            raise InputError(
                f"register {name} holds {values.reshape(-1)[:4].tolist()}, expected one value in "
                f"{least}..{most}",
                node=population.name,
            )
        found[name] = int(values.reshape(-1)[0])
    return Rules(**found)


def neuron_registers(population: Neurons) -> tuple[IntArray, ...]:
    """Values of `NEURON` and of `v0` for each neuron, int64 (neurons,).

    Raises
    ------
    InputError
        One is missing, or holds values that are not possible.
    """
    shared = rules(population)
    most = 1 << shared.decay_bits if shared.decay_bits else shared.state_bits
    state = 1 << (shared.state_bits - 1)
    found = []
    for name in (*NEURON, "v0"):
        values = population.register(name).reshape(-1)
        least, greatest = (0, most) if name.endswith("decay") else (-INT32_MAX, INT32_MAX)
        if name == "v0":
            least, greatest = -state, state - 1
        if values.min() < least or values.max() > greatest:
            raise InputError(
                f"register {name} is in {values.min()}..{values.max()}, expected "
                f"{least}..{greatest}",
                node=population.name,
            )
        found.append(np.broadcast_to(values, (population.size,)))
    return tuple(found)
