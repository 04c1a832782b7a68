"""Runs consecutive samples of a plan from their first step to their last."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from neurodeploy.simulator.kernels import list_events, list_values, pack, room
from neurodeploy.simulator.layout import TILE
from neurodeploy.simulator.plan import Link, Plan, Unit, stepwise
from neurodeploy.simulator.scratch import Scratch
from neurodeploy.simulator.synapses import WHOLE, Bytes, Events, Part
from neurodeploy.target import Adds
from neurodeploy.trace import Messages

HELPED_SIZE = 1 << 18
"""Currents that are worth one thread's while."""
ROWS = 512
"""Rows of one tile that are summed before its neurons take them: 256 KiB."""

Words = NDArray[np.uint64]
States = Mapping[str, Mapping[str, NDArray[Any]]]
Record = tuple[NDArray[Any], ...]


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
    inputs: spikes or integers (samples, steps, *shape).
    words: what all populations send as bits (samples, steps, words), to be filled.
    messages: int32 (samples, steps, lanes) to be filled, by graded population.
    states: arrays (samples, steps, *shape) to be filled, by population and state; a population
        that is not named is not recorded.
    """

    def __init__(
        self,
        prepared: Plan,
        inputs: Mapping[str, Messages],
        words: Mapping[str, Words],
        messages: Mapping[str, NDArray[np.int32]],
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
        self.words, self.messages = dict(words), dict(messages)
        self.listed: dict[str, tuple[int, int, Words, Events]] = {}
        for name, sent in inputs.items():
            rows = self.samples * self.steps
            packed = scratch(f"words of {name}", (rows, self.layouts[name].words), np.uint64)
            pack(sent.reshape(rows, -1), packed)
            self.words[name] = packed.reshape(self.samples, self.steps, -1)
            if name in prepared.graded:
                self.messages[name] = sent.reshape(self.samples, self.steps, -1)
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
        states = self.states.get(unit.name, {})
        record = tuple(self.scratch(name, shape, unit.cells.initial.dtype) for name in states)
        if unit.adds is not None and stop - start > 1:
            self._add_and_advance(unit, unit.adds, start, stop, record)
        else:
            self._sum_then_advance(unit, start, stop, record)
        for name, values in zip(states, record, strict=True):
            states[name][:, start:stop] = unit.layout.neurons(self._lanes(values))

    def _add_and_advance(
        self, unit: Unit, sums: Bytes, start: int, stop: int, record: Record
    ) -> None:
        """Sums and neurons in one kernel."""
        (link,), cells = unit.links, cast(Adds, unit.cells)
        events = self._events(link, start - link.delay, stop - link.delay)
        steps, size = stop - start, unit.layout.tiles * self.samples * (stop - start) * TILE
        shape = (1, min(self.samples, -(-ROWS // steps)), steps, TILE)

        def run(part: Part) -> None:
            tiles = part.of(unit.layout.tiles)
            cells.advance_on(
                sums.pending(events, link.shift, part),
                self.scratch(f"sums {part.index}", shape, np.int32),
                self.registers[unit.name][tiles],
                self.words[unit.name],
                start,
                tiles.start,
                tuple(values[tiles] for values in record),
            )

        self.helpers.divide(run, size)

    def _sum_then_advance(self, unit: Unit, start: int, stop: int, record: Record) -> None:
        """One after the other."""
        shape = (unit.layout.tiles, self.samples, stop - start, TILE)
        currents = {
            port: self._current(unit, port, start, stop).reshape(shape) for port in unit.ports
        }
        words, registers = self.words[unit.name], self.registers[unit.name]
        messages = self.scratch("messages", shape, np.int32) if unit.graded else None

        def run(part: Part) -> None:
            tiles = part.of(unit.layout.tiles)
            unit.cells.advance(
                {port: current[tiles] for port, current in currents.items()},
                registers[tiles],
                words,
                start,
                tiles.start,
                tuple(values[tiles] for values in record),
                None if messages is None else messages[tiles],
            )

        self.helpers.divide(run, math.prod(shape))
        if messages is not None:
            sent = np.ascontiguousarray(self._lanes(messages))
            self.messages[unit.name][:, start:stop] = sent
            rows = self.samples * (stop - start)
            packed = self.scratch("packed", (rows, unit.layout.words), np.uint64)
            pack(sent.reshape(rows, -1), packed)
            words[:, start:stop] = packed.reshape(self.samples, stop - start, -1)

    def _lanes(self, tiles: NDArray[Any]) -> NDArray[Any]:
        """(tiles, samples, steps, 128) as (samples, steps, lanes)."""
        return tiles.transpose(1, 2, 0, 3).reshape(self.samples, tiles.shape[2], -1)

    def _current(self, unit: Unit, port: str, start: int, stop: int) -> NDArray[Any]:
        """What arrives at a port in steps start..stop - 1: (tiles, rows, 128)."""
        shape = (unit.layout.tiles, self.samples * (stop - start), TILE)
        current = self.scratch(f"current {port}", shape, unit.current)
        narrow = current.dtype == np.int32
        links = unit.ports[port]
        if not links or not narrow:
            current.fill(0)
        for index, link in enumerate(links):
            if link.activation is None:
                self._add(link, start, stop, index == 0, current)
            else:
                total = self.scratch("total", shape, np.int64 if link.graded else np.int32)
                self._add(link, start, stop, True, total)
                current += link.activation(total.astype(np.int64))
        return current

    def _add(self, link: Link, start: int, stop: int, fresh: bool, total: NDArray[Any]) -> None:
        events = self._events(link, start - link.delay, stop - link.delay)

        def add(part: Part) -> None:
            link.sums.add(events, link.shift, fresh, part, total, self.scratch)

        self.helpers.divide(add, total.size)

    def _events(self, link: Link, start: int, stop: int) -> Events:
        """What synapses receive of their source's steps start..stop - 1, which lie in the past."""
        source, listed = link.source, self.listed.get(link.source)
        if listed is None or listed[:2] != (start, stop) or listed[2] is not link.reached:
            layout, rows = self.layouts[source], self.samples * (stop - start)
            size = room(rows, layout.used)
            lanes = self.scratch(f"events of {source}", (size,), np.uint32)
            first, last = self.scratch(f"rows of {source}", (2, rows), np.uint64)
            words, none = self.words[source], layout.used
            list_events(words, link.reached, start, stop, none, lanes, first, last)
            values = None
            if source in self.messages:
                values = self.scratch(f"values of {source}", (size,), np.int32)
                list_values(self.messages[source], start, stop, lanes, first, last, values)
            listed = start, stop, link.reached, Events(lanes, first, last, values)
            self.listed[source] = listed
        events = listed[3]
        counted = events.values is not None and not link.graded
        return replace(events, values=None) if counted else events
