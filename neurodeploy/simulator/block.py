"""Runs consecutive samples of a plan from their first step to their last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.simulator.kernels import AHEAD, list_events, pack
from neurodeploy.simulator.layout import TILE
from neurodeploy.simulator.plan import Link, Plan, Unit, stepwise
from neurodeploy.simulator.scratch import Scratch
from neurodeploy.simulator.synapses import WHOLE, Events, Part
from neurodeploy.trace import Spikes

HELPED_SIZE = 1 << 18
"""Currents that are worth one thread's while."""

Words = NDArray[np.uint64]
States = Mapping[str, Mapping[str, NDArray[np.int64]]]


@dataclass(frozen=True)
class Helpers:
    """Threads that may do a share of the work on a large population."""

    count: int
    pool: Executor

    def divide(self, work: Callable[[Part], None], size: int) -> None:
        """Do a work on `size` values together, where it is worth it."""
        count = min(self.count, size // HELPED_SIZE)
        if count < 2:
            work(WHOLE)
        else:
            list(self.pool.map(work, [Part(index, count) for index in range(count)]))


class Block:
    """Consecutive samples.

    Parameters
    ----------
    inputs: spikes (samples, steps, *shape).
    words: spikes of all populations as bits (samples, steps, words), to be filled.
    states: arrays (samples, steps, *shape) to be filled, by population and state; a population
        that is not named is not recorded.
    """

    def __init__(
        self,
        prepared: Plan,
        inputs: Mapping[str, Spikes],
        words: Mapping[str, Words],
        states: States,
        scratch: Scratch,
        helpers: Helpers,
    ) -> None:
        self.prepared, self.states = prepared, states
        self.scratch, self.helpers = scratch, helpers
        self.layouts = prepared.layouts
        self.samples: int
        self.steps: int
        self.samples, self.steps = next(iter(inputs.values())).shape[:2]
        self.words = dict(words)
        self.listed: dict[str, tuple[int, int, Events]] = {}
        for name, spikes in inputs.items():
            rows = self.samples * self.steps
            packed = scratch(f"words of {name}", (rows, self.layouts[name].words), np.uint64)
            pack(spikes.reshape(rows, -1), packed)
            self.words[name] = packed.reshape(self.samples, self.steps, -1)
        self.registers = {
            unit.name: np.repeat(unit.cells.initial[:, None], self.samples, axis=1)
            for unit in prepared.units
        }

    def run(self, chunk: int, stopped: Callable[[], bool]) -> None:
        """All steps, `chunk` at a time, unless `stopped`."""
        for start in range(0, self.steps, chunk):
            stop = min(start + chunk, self.steps)
            for group in self.prepared.groups:
                size = 1 if stepwise(group) else stop - start
                for step in range(start, stop, size):
                    for unit in group:
                        if stopped():
                            return
                        self._advance(unit, step, step + size)

    def _advance(self, unit: Unit, start: int, stop: int) -> None:
        """Steps start..stop - 1 of one population."""
        shape = (unit.layout.tiles, self.samples, stop - start, TILE)
        current = self._currents(unit, start, stop).reshape(shape)
        states = self.states.get(unit.name, {})
        record = tuple(self.scratch(name, shape, current.dtype) for name in states)
        words, registers = self.words[unit.name], self.registers[unit.name]

        def run(part: Part) -> None:
            tiles = part.of(unit.layout.tiles)
            kept = tuple(values[tiles] for values in record)
            unit.cells.advance(
                {"current": current[tiles]},
                registers[tiles],
                words,
                start,
                tiles.start,
                kept,
                None,
            )

        self.helpers.divide(run, current.size)
        for name, values in zip(states, record, strict=True):
            lanes = values.transpose(1, 2, 0, 3).reshape(self.samples, stop - start, -1)
            states[name][:, start:stop] = unit.layout.neurons(lanes)

    def _currents(self, unit: Unit, start: int, stop: int) -> NDArray[Any]:
        """What arrives in steps start..stop - 1: (tiles, rows, 128)."""
        shape = (unit.layout.tiles, self.samples * (stop - start), TILE)
        current = self.scratch("current", shape, unit.cells.initial.dtype)
        narrow = current.dtype == np.int32
        if not unit.links or not narrow:
            current.fill(0)
        for index, link in enumerate(unit.links):
            if link.activation is None:
                self._add(link, start, stop, index == 0, current)
            else:
                total = self.scratch("total", shape, np.int32)
                self._add(link, start, stop, True, total)
                current += link.activation(total.astype(np.int64))
        return current

    def _add(
        self, link: Link, start: int, stop: int, fresh: bool, total: NDArray[np.int32]
    ) -> None:
        events = self._events(link.source, start - link.delay, stop - link.delay)

        def add(part: Part) -> None:
            link.sums.add(events, link.shift, fresh, part, total, self.scratch)

        self.helpers.divide(add, total.size)

    def _events(self, source: str, start: int, stop: int) -> Events:
        """Spikes of `source` in steps start..stop - 1, which lie in the past."""
        if source not in self.listed or self.listed[source][:2] != (start, stop):
            layout, rows = self.layouts[source], self.samples * (stop - start)
            size = rows * layout.used + AHEAD
            lanes = self.scratch(f"events of {source}", (size,), np.uint32)
            first = self.scratch(f"first of {source}", (rows + 1,), np.uint64)
            list_events(self.words[source], layout.valid, start, stop, lanes, first)
            self.listed[source] = (start, stop, Events(lanes, first))
        return self.listed[source][2]
