"""Where a run of the simulator spends its time, on one thread."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from benchmarks.contestants import ours
from benchmarks.workloads import Workload
from neurodeploy.simulator import block
from neurodeploy.simulator.plan import Unit, plan
from neurodeploy.target import get_target

REPEATS = 7
ADDED = {"Bytes": "dense sums", "Rows": "dense sums", "Patches": "convolutional sums"}


def phases(workload: Workload) -> dict[str, float]:
    """Seconds per run: of each kind of kernel, and of all that happens between kernels.

    Sums and neurons run as kernels of their own here, where one kernel does both otherwise.
    """
    with mock.patch.object(Unit, "adds", None), _timed(workload) as spent:
        run = ours(workload, 1)
        run()
        spent.clear()
        start = time.perf_counter()
        for _ in range(REPEATS):
            run()
        total = time.perf_counter() - start
    found = {name: seconds / REPEATS for name, seconds in spent.items()}
    return {**found, "between kernels": total / REPEATS - sum(found.values())}


@contextmanager
def _timed(workload: Workload) -> Iterator[dict[str, float]]:
    """While this lasts, kernels report what they take."""
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            start = time.perf_counter()
            result = function(*args)
            spent[name] += time.perf_counter() - start
            return result

        return call

    units = plan(workload.program, get_target(workload.program.target).machine).units
    sums = {type(link.sums) for unit in units for link in unit.links}
    cells = {type(unit.cells) for unit in units}
    with ExitStack() as stack:
        for kind, label in [(kind, ADDED[kind.__name__]) for kind in sums]:
            stack.enter_context(mock.patch.object(kind, "add", timed(label, kind.add)))
        for kind in cells:
            stack.enter_context(mock.patch.object(kind, "advance", timed("neurons", kind.advance)))
        for name, label in (("pack", "packing inputs"), ("list_events", "listing events")):
            stack.enter_context(mock.patch.object(block, name, timed(label, getattr(block, name))))
        yield spent
