"""Neurons of any model in plain numpy: all samples at once, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neurodeploy.program import IntArray
from neurodeploy.simulator.layout import TILE, WORD, tiled

States = Mapping[str, NDArray[Any]]
"""Arrays that broadcast to (tiles, samples, 128), by name."""
Update = Callable[[States, States, States], tuple[States, IntArray]]
"""(states, currents by port, registers) -> (states after the step, what the neurons send)."""


class Restarts(Protocol):
    """When all states become 0 again."""

    def at(self, step: int, steps: int) -> NDArray[np.bool_]:
        """Whether before each of the steps `step`, `step` + 1, ...: (steps,)."""


@dataclass(frozen=True, eq=False)
class Stepwise:
    """The `Cells` of a pure function.

    Attributes
    ----------
    initial: (tiles, states + 1, 128): the states, and what the neurons sent.
    states: names of the states that pass from step to step.
    registers: (tiles, 1, 128) by name.
    own: int64 (tiles, 1, 128), what a neuron's spike adds to its first port one step later.
    recorded: which of the states that `update` returns can be recorded.
    """

    initial: NDArray[Any]
    states: tuple[str, ...]
    registers: States
    own: IntArray
    recorded: tuple[str, ...]
    ports: tuple[str, ...]
    update: Update
    restart: Restarts | None

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
        restart: Restarts | None = None,
        dtype: type[np.generic] = np.int64,
    ) -> Stepwise:
        """From values by lane, (lanes,), of `dtype`; `states` are the initial ones."""
        return cls(
            initial=tiled((*states.values(), np.zeros_like(own)), dtype),
            states=tuple(states),
            registers={
                name: tiled((values,), values.dtype.type) for name, values in registers.items()
            },
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
            own = self.own[part] * sent.astype(np.int64)
            arriving[self.ports[0]] = arriving[self.ports[0]] + own
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
