"""Times, memory, and what the machine could read at most."""

from __future__ import annotations

import json
import platform
import statistics
import time
import tracemalloc
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from numba import njit

from benchmarks.contestants import Run, cores
from neurodeploy.archive import write_atomically
from neurodeploy.simulator.layout import aligned
from neurodeploy.simulator.vectors import load, splat, store

LANES = 64
PAUSE = 0.2
"""Seconds before each turn: torch's threads keep a core busy for a while after their work."""
TURN = 0.3
"""Seconds that a turn lasts at least: a single short run after a pause finds cold caches, and cores
that have to be woken."""


def interleaved(runs: Mapping[str, Run], repeats: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of a run, the median of each turn.

    All take one turn per round, so that a busy machine slows down all.
    """
    for _ in range(warm_up):
        for run in runs.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            time.sleep(PAUSE)
            seconds[name].append(_turn(run))
    return seconds


def _turn(run: Run) -> float:
    times: list[float] = []
    while sum(times) < TURN:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def seconds_of(run: Run, repeats: int) -> float:
    """Median seconds of one run."""
    return statistics.median(interleaved({"": run}, repeats)[""])


def write(path: Path, found: Mapping[str, Any]) -> None:
    """As JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(found, indent=1) + "\n").encode())


def ratio(theirs: list[float], ours: list[float]) -> float:
    """Median over the rounds of how many times longer theirs took."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def peak_bytes(run: Run) -> int:
    """Most memory that Python and numpy hold at a time during `run`, beyond what they held before.

    torch's own memory is not counted.
    """
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@njit(nogil=True)
def _read(values: Any, rounds: Any, result: Any) -> None:
    total = splat(0, np.int64, LANES)
    for _ in range(rounds):
        for i in range(0, len(values), LANES):
            total = total + load(values, i, LANES)
    store(result, 0, total)


def reading(size: int, total: int, threads: int | None = None) -> Run:
    """Threads, one per core if None, together read `total` bytes.

    Each reads `size` bytes of its own again and again.
    """
    count = threads or cores()
    arrays = [aligned((size // 8 // LANES * LANES,), np.int64) for _ in range(count)]
    results = [np.zeros(LANES, np.int64) for _ in arrays]
    for array in arrays:
        array[:] = 1
    rounds = max(1, total // sum(array.nbytes for array in arrays))

    def call() -> None:
        with ThreadPoolExecutor(len(arrays)) as pool:
            list(pool.map(_read, arrays, [rounds] * len(arrays), results))

    return call


def machine() -> dict[str, Any]:
    """What this was measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
    return {
        "processor": model,
        "cores": cores(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "torch": torch.__version__,
    }
