"""Runs a `Program` with its target's arithmetic, bit for bit as the chip would.

Samples are cut into blocks that threads run side by side, and a block's steps into chunks that
bound the currents of its widest population.  Within a chunk, populations run one
after another over all its steps, or together step by step where a cycle connects them.  Spikes are
kept as bits, and integers besides where populations send these.  No cut changes a bit: sums are
exact, and states are carried from chunk to chunk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.program import POTENTIAL, Neurons, Program
from neurodeploy.simulator.packed import PackedSpikes
from neurodeploy.trace import Inputs, Trace, check_inputs, check_names

if TYPE_CHECKING:
    from neurodeploy.simulator.block import Helpers
    from neurodeploy.simulator.plan import Plan
    from neurodeploy.target import Machine

BLOCK_BYTES = 1 << 23
"""For the currents of a block's widest population, in each thread.

Less would stay in a core's own cache, but costs more than it saves: between two kernels a thread
may have to wait for Python's lock, and longer kernels meet it less often.
"""

Progress = Callable[[int, int], None]


def simulate(
    program: Program,
    inputs: Inputs,
    machine: Machine,
    *,
    record: Collection[str] = (),
    threads: int | None = None,
    progress: Progress | None = None,
) -> Trace:
    """Prepare `program` for `machine` and run it once; see `run`."""
    prepared = prepare(program, machine)
    return run(prepared, inputs, record=record, threads=threads, progress=progress)


def prepare(program: Program, machine: Machine) -> Plan:
    """`plan.plan`; imports numba, which importing this module does not."""
    from neurodeploy.simulator.plan import plan

    return plan(program, machine)


def run(
    prepared: Plan,
    inputs: Inputs,
    *,
    record: Collection[str] = (),
    threads: int | None = None,
    progress: Progress | None = None,
) -> Trace:
    """Run a program on spikes, or integers where an input is graded, (samples, steps, *shape).

    Each sample starts from the initial state, and nothing that was sent before arrives in it.

    Parameters
    ----------
    prepared: the program, from `prepare`; it can be run any number of times.
    record: populations whose states are kept, as the chip holds them.
    threads: how many to use; as many as there are cores if None.
    progress: called with (samples done, samples) after each block.

    Raises
    ------
    InputError
        Inputs that do not fit the program.
    """
    from neurodeploy.simulator.block import Block

    shapes = {name: layout.shape for name, layout in prepared.inputs.items()}
    given = check_inputs(inputs, shapes, prepared.graded)
    check_names(record, [unit.name for unit in prepared.units])
    samples, steps = next(iter(given.values())).shape[:2]
    words, messages, states = {}, {}, {}
    for unit in prepared.units:
        words[unit.name] = np.empty((samples, steps, unit.layout.words), np.uint64)
        if unit.graded:
            messages[unit.name] = np.empty((samples, steps, unit.layout.lanes), np.int32)
        if unit.name in record or unit.name in prepared.readouts:
            shape = (samples, steps, *unit.layout.shape)
            states[unit.name] = {
                name: np.empty(shape, unit.recorded) for name in unit.cells.recorded
            }
    workers = threads or _cores()
    size, chunk = _cut(prepared, samples, steps, workers)
    stopped = threading.Event()

    def work(part: slice, helpers: Helpers) -> int:
        with prepared.scratch() as scratch:
            block = Block(
                prepared,
                {name: array[part] for name, array in given.items()},
                {name: array[part] for name, array in words.items()},
                {name: array[part] for name, array in messages.items()},
                {
                    name: {state: array[part] for state, array in kept.items()}
                    for name, kept in states.items()
                },
                scratch,
                helpers,
            )
            block.run(chunk, stopped.is_set)
        return block.samples

    done = 0
    parts = [slice(start, start + size) for start in range(0, samples, size)]
    with ThreadPoolExecutor(workers) as pool:
        try:
            for finished in _each(work, parts, workers, pool):
                done += finished
                if progress is not None:
                    progress(done, samples)
        except BaseException:  # an interruption too
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    layouts = prepared.layouts
    values = {name: given[name] for name in given if name in prepared.graded}
    spikes = given | {name: (array != 0).view(np.uint8) for name, array in values.items()}
    values |= {name: layouts[name].neurons(array) for name, array in messages.items()}
    for name, population in prepared.readouts.items():
        values[name] = in_model_units(states[name], population)[POTENTIAL]
    kept = {name: states[name] for name in states if name in record}
    return Trace(PackedSpikes(spikes, words, layouts), kept, values)


def _each(
    work: Callable[[slice, Helpers], int],
    parts: list[slice],
    workers: int,
    pool: ThreadPoolExecutor,
) -> Iterator[int]:
    """Results of `work`, as they come; a single part has all workers as helpers."""
    from neurodeploy.simulator.block import Helpers

    if min(len(parts), workers) == 1:
        helpers = Helpers(workers if len(parts) == 1 else 1, pool)
        yield from (work(part, helpers) for part in parts)
    else:
        begin = threading.Event()

        def wait_and_work(part: slice) -> int:
            begin.wait()  # until all are submitted: a kernel that runs would hold that up
            return work(part, Helpers(1, pool))

        try:
            futures = [pool.submit(wait_and_work, part) for part in parts]
        finally:  # an interruption too: threads that wait for ever are waited for, for ever
            begin.set()
        yield from (future.result() for future in as_completed(futures))


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cut(prepared: Plan, samples: int, steps: int, workers: int) -> tuple[int, int]:
    """(samples of a block, steps of a chunk)."""
    widest = max(unit.layout.lanes * unit.cells.initial.itemsize for unit in prepared.units)
    rows = max(1, BLOCK_BYTES // widest)
    # The steps of a cycle are run one by one, which many samples at a time make up for.
    most = rows if prepared.has_cycles else max(1, rows // steps)
    rounds = -(-samples // (workers * most))
    size = -(-samples // (workers * rounds))
    return size, max(1, min(steps, rows // size))


def in_model_units(
    states: Mapping[str, NDArray[Any]], population: Neurons
) -> dict[str, NDArray[np.float64]]:
    """Recorded states divided by the population's unit."""
    unit = population.unit.reshape(-1)
    unit = unit if unit.size == 1 else unit.reshape(population.shape)
    return {name: values / unit for name, values in states.items()}
