"""The simulator against snnTorch, and Lava: `python -m benchmarks.simulator [WORKLOAD ...]`."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestants import ours, snntorch
from benchmarks.measure import interleaved, machine, peak_bytes, ratio, read_bandwidth
from benchmarks.workloads import WORKLOADS, Workload
from neurodeploy.costs.counts import fan_out
from neurodeploy.simulator.engine import run, simulate
from neurodeploy.simulator.plan import plan
from neurodeploy.target import get_backend, get_target
from neurodeploy.targets.loihi.machine import LoihiMachine

OURS = "neurodeploy"
CACHED, UNCACHED = 1 << 18, 1 << 28
"""Bytes that one core reads again and again: in its second-level cache, and in memory."""


def check(workload: Workload) -> None:
    """One sample with the arithmetic in plain numpy, 64 bits wide: every spike must be equal."""
    one = workload.inputs[:1]
    plain = simulate(workload.program, one, LoihiMachine(compiled=False))
    found = simulate(workload.program, workload.inputs[:3], get_target("loihi2").machine)
    for name in workload.program.shapes:
        if not np.array_equal(plain.spikes[name], found.spikes[name][:1]):
            raise SystemExit(f"{workload.name}: {name} differs from plain numpy")


def events_per_run(workload: Workload) -> int:
    """Synaptic events: spikes times the synapses of nonzero weight that each reaches."""
    trace = simulate(workload.program, workload.inputs, get_target("loihi2").machine)
    counts = {name: trace.counts(name).sum(axis=0).reshape(-1) for name in workload.program.shapes}
    return sum(int(counts[s.source] @ fan_out(s)) for s in workload.program.synapses)


def lava_seconds(workload: Workload, samples: int) -> float:
    """Of one sample in Lava's fixed-point models, its start included."""
    start = time.perf_counter()
    some = {name: workload.inputs[:samples] for name in workload.program.input_shapes}
    get_backend(get_target("loihi2"), "lava").run(workload.program, some, timeout=3600)
    return (time.perf_counter() - start) / samples


def measure(workload: Workload, repeats: int, lava: int) -> dict[str, Any]:
    """One row: all contestants in turns on the same inputs."""
    check(workload)
    runs = {OURS: ours(workload), f"{OURS}, 1 thread": ours(workload, 1), **snntorch(workload)}
    seconds = interleaved(runs, repeats)
    theirs = {name: times for name, times in seconds.items() if not name.startswith(OURS)}
    best = min(theirs, key=lambda name: statistics.median(theirs[name]))
    samples, steps = workload.inputs.shape[:2]
    events = events_per_run(workload)
    mine = statistics.median(seconds[OURS])
    trace = run(plan(workload.program, get_target("loihi2").machine), workload.inputs[:8])
    return {
        "workload": workload.name,
        "samples": samples,
        "steps": steps,
        "rates": {name: float(trace.spikes[name].mean()) for name in workload.program.shapes},
        "seconds": seconds,
        "best": best,
        "ratio": ratio(seconds[best], seconds[OURS]),
        "ratio of the fastest runs": min(seconds[best]) / min(seconds[OURS]),
        "microseconds per sample and step": mine / samples / steps * 1e6,
        "events per second": events / mine,
        "peak bytes": peak_bytes(runs[OURS]),
        "lava ratio": lava_seconds(workload, lava) / (mine / samples)
        if lava and workload.forward
        else None,
    }


def table(rows: list[dict[str, Any]], cached: float, uncached: float) -> str:
    """Markdown; `cached` and `uncached` are read bandwidths."""
    head = (
        "| workload | firing rates | µs per sample and step | times faster than snnTorch's best "
        "| than Lava | G events/s | share of the L2 read bandwidth | of the memory's | peak MiB |"
    )
    lines = [head, "|---|---|--:|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        rates = ", ".join(f"{rate:.0%}" for rate in row["rates"].values())
        speed, lava = row["events per second"], row["lava ratio"]
        lines.append(
            f"| {row['workload']}, {row['samples']}x{row['steps']} | {rates} "
            f"| {row['microseconds per sample and step']:.2f} | {row['ratio']:.1f} ({row['best']}) "
            f"| {'' if lava is None else f'{lava:,.0f}'} | {speed / 1e9:.1f} "
            f"| {speed / cached:.0%} | {speed / uncached:.0%} | {row['peak bytes'] / 2**20:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    parser.add_argument("--lava", type=int, default=0, help="how many samples run in Lava")
    options = parser.parse_args()
    cached, uncached = read_bandwidth(CACHED), read_bandwidth(UNCACHED)
    rows = []
    for name in options.workloads:
        rows.append(measure(WORKLOADS[name](options.samples), options.repeats, options.lava))
        print(table(rows[-1:], cached, uncached).splitlines()[-1], flush=True)
    result = {
        "machine": {**machine(), "load": os.getloadavg()},
        "read bandwidth": {"cache": cached, "memory": uncached},
        "rows": rows,
    }
    print("\n" + table(rows, cached, uncached))
    print(f"\nread bandwidth: {cached / 1e9:.0f} GB/s in the cache, {uncached / 1e9:.0f} in memory")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
