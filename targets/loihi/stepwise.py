"""Neurons of any model in plain numpy: all samples at once, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError
from neurodeploy.program import IntArray, Neurons
from neurodeploy.simulator.layout import TILE, WORD, tiled
from neurodeploy.targets.loihi import arithmetic

States = Mapping[str, IntArray]
"""Arrays that broadcast to (tiles, samples, 128), by name."""
Update = Callable[[States, States, States], tuple[States, IntArray]]
"""(states, currents by port, registers) -> (states after the step, what the neurons send).

Currents are of 32 bits, as Lava's channels deliver them.
"""


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


@dataclass(frozen=True, eq=False)
class Stepwise:
    """The `Cells` of a pure function.

    Attributes
    ----------
    initial: int64 (tiles, states + 1, 128): the states, and what the neurons sent.
    states: names of the states that pass from step to step.
    registers: int64 (tiles, 1, 128) by name.
    own: int64 (tiles, 1, 128), what a neuron's spike adds to its first port one step later.
    recorded: which of the states that `update` returns can be recorded.
    """

    initial: IntArray
    states: tuple[str, ...]
    registers: States
    own: IntArray
    recorded: tuple[str, ...]
    ports: tuple[str, ...]
    update: Update
    restart: Restart | None

    @classmethod
    def of(
        cls,
        *,
        states: States,
        recorded: tuple[str, ...],
        ports: tuple[str, ...],
        registers: States,
        own: IntArray,
        update: Update,
        restart: Restart | None = None,
    ) -> Stepwise:
        """From values by lane, int64 (lanes,); `states` are the initial ones."""
        return cls(
            initial=tiled((*states.values(), np.zeros_like(own)), np.int64),
            states=tuple(states),
            registers={name: tiled((values,), np.int64) for name, values in registers.items()},
            own=tiled((own,), np.int64),
            recorded=recorded,
            ports=ports,
            update=update,
            restart=restart,
        )

    def advance(
        self,
        currents: Mapping[str, NDArray[Any]],
        state: NDArray[Any],
        words: NDArray[np.uint64],
        step: int,
        first: int,
        record: tuple[NDArray[Any], ...],
        messages: NDArray[np.int32] | None,
    ) -> None:
        tiles, samples, steps, _ = currents[self.ports[0]].shape
        part = slice(first, first + tiles)
        registers = {name: values[part] for name, values in self.registers.items()}
        values: States = {name: state[:, :, i].copy() for i, name in enumerate(self.states)}
        sent, nothing = state[:, :, -1], np.zeros((tiles, samples, TILE), np.int64)
        restarts = np.zeros(steps, bool) if self.restart is None else self.restart.at(step, steps)
        place = slice(first * TILE // WORD, (first + tiles) * TILE // WORD)
        for t in range(steps):
            arriving = {
                port: currents[port][:, :, t] if port in currents else nothing
                for port in self.ports
            }
            arriving[self.ports[0]] = arriving[self.ports[0]] + self.own[part] * sent
            arriving = {port: arithmetic.wrap_int32(current) for port, current in arriving.items()}
            if restarts[t]:
                values = dict.fromkeys(self.states, nothing)
            values, sent = self.update(values, arriving, registers)
            for name, kept in zip(self.recorded, record, strict=False):
                kept[:, :, t] = values[name]
            if messages is not None:
                messages[:, :, t] = sent
                continue
            bits = np.packbits(sent.astype(bool), axis=-1, bitorder="little")
            words[:, step + t, place] = bits.view(np.uint64).swapaxes(0, 1).reshape(samples, -1)
        for i, name in enumerate(self.states):
            state[:, :, i] = values[name]
        state[:, :, -1] = sent
