"""What neurons of every model share where they run step by step in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError
from neurodeploy.program import IntArray, Neurons
from neurodeploy.simulator.stepwise import States, Update
from neurodeploy.targets.loihi import arithmetic


@dataclass(frozen=True)
class Restart:
    """Lava's LIFReset in steps of a sample: step 0 of a population of depth k is Lava's k + 1."""

    depth: int
    interval: int
    offset: int

    @classmethod
    def of(cls, population: Neurons) -> Restart | None:
        """By the registers `reset_interval` and `reset_offset` (0 if missing); None without.

        Raises
        ------
        InputError
            These are not one value each, or the interval is not positive.
        """
        if "reset_interval" not in population.parameters:
            return None
        zero = np.zeros(1, np.int64)
        interval = population.parameters["reset_interval"]
        offset = population.parameters.get("reset_offset", zero)
        if interval.size != 1 or offset.size != 1 or interval.min() < 1:
            raise InputError(
                f"reset_interval is {interval.tolist()} and reset_offset {offset.tolist()}, "
                "expected one positive interval and one offset",
                node=population.name,
            )
        return cls(population.depth, interval.item(), offset.item())

    def at(self, step: int, steps: int) -> NDArray[np.bool_]:
        """In which of the steps `step`, `step` + 1, ... the states are 0 again: (steps,)."""
        t = np.arange(step, step + steps) + self.depth + 1
        return np.asarray(arithmetic.restarts(t, self.interval, self.offset))


def lanes(population: Neurons, register: str) -> IntArray:
    """A register of every neuron, int64 (lanes,)."""
    return np.broadcast_to(population.register(register).reshape(-1), (population.size,))


def received(update: Update) -> Update:
    """`update` of currents as Lava's channels deliver them: of 32 bits."""

    def step(states: States, currents: States, registers: States) -> tuple[States, IntArray]:
        wrapped = {port: arithmetic.wrap_int32(x) for port, x in currents.items()}
        return update(states, wrapped, registers)

    return step
