"""The simulator against snnTorch, Norse, SpikingJelly and Lava.

    python -m benchmarks.simulator [WORKLOAD ...] [--json FILE]

Every spike is compared with the same arithmetic in plain numpy before anything is timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestants import lava, other_tools, ours, snntorch
from benchmarks.measure import interleaved, machine, peak_bytes, ratio, reading, seconds_of, write
from benchmarks.phases import phases
from benchmarks.workloads import WORKLOADS, Workload
from neurodeploy.costs.counts import fan_out
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_target
from neurodeploy.targets.loihi.machine import LoihiMachine

OURS = "neurodeploy"
ROUNDS = 3
"""Of Lava, whose start alone varies by as much as some samples take."""
CACHE, MEMORY = "reading in the cache", "reading in memory"
SIZES = {CACHE: 1 << 18, MEMORY: 1 << 28}
"""Bytes that one core reads again and again: in its second-level cache, and in memory."""


def check(workload: Workload) -> None:
    """One sample with the arithmetic in plain numpy, 64 bits wide: every spike must be equal."""
    one = workload.inputs[:1]
    plain = simulate(workload.program, one, LoihiMachine(compiled=False))
    found = simulate(workload.program, workload.inputs[:3], get_target("loihi2").machine)
    for name in workload.program.shapes:
        if not np.array_equal(plain.spikes[name], found.spikes[name][:1]):
            raise SystemExit(f"{workload.name}: {name} differs from plain numpy")


def measure(workload: Workload, repeats: int) -> dict[str, Any]:
    """One row: all contestants in turns on the same inputs."""
    check(workload)
    samples, steps = workload.inputs.shape[:2]
    trace = simulate(workload.program, workload.inputs, get_target("loihi2").machine)
    counts = {name: trace.counts(name).sum(axis=0).reshape(-1) for name in workload.program.shapes}
    events = sum(int(counts[s.source] @ fan_out(s)) for s in workload.program.synapses)
    tools = {**snntorch(workload), **other_tools(workload)}
    seconds = interleaved(
        {
            OURS: ours(workload),
            f"{OURS}, 1 thread": ours(workload, 1),
            **tools,
            **{name: reading(size, events) for name, size in SIZES.items()},
        },
        repeats,
    )
    median = {name: statistics.median(times) for name, times in seconds.items()}
    best = {
        tool: min((name for name in tools if name.startswith(tool)), key=median.__getitem__)
        for tool in dict.fromkeys(name.split(",")[0] for name in tools)
    }
    single = seconds_of(ours(workload.only(1)), repeats)
    return {
        "workload": workload.name,
        "samples": samples,
        "steps": steps,
        "rates": {name: float(n.mean() / samples / steps) for name, n in counts.items()},
        "seconds": seconds,
        "best": best,
        "ratios": {tool: ratio(seconds[name], seconds[OURS]) for tool, name in best.items()},
        "events": events,
        "shares": {name: ratio(seconds[name], seconds[OURS]) for name in SIZES},
        "peak bytes": peak_bytes(ours(workload)),
        "single sample": single,
        "Lava": against_lava(workload, median[OURS] / samples, single),
        "phases": phases(workload),
        "one core reads": events / seconds_of(reading(SIZES[CACHE], events, 1), repeats),
    }


def against_lava(workload: Workload, batch: float, single: float) -> dict[str, float] | None:
    """Lava's fixed-point models: seconds of a start, of a sample after it, and ratios.

    Parameters
    ----------
    batch, single: our seconds per sample, of many and of one.
    """
    if not workload.lava:
        return None
    rounds = [(lava(workload, 1), lava(workload, 1 + workload.lava)) for _ in range(ROUNDS)]
    one, many = (statistics.median(times) for times in zip(*rounds, strict=True))
    sample = statistics.median((many - one) / workload.lava for one, many in rounds)
    return {
        "start": one - sample,
        "sample": sample,
        "batch": sample / batch,
        "batch with start": many / (1 + workload.lava) / batch,
        "single": sample / single,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: how many times longer the others take."""
    head = (
        "| workload | µs per sample and step | snnTorch | Norse | SpikingJelly "
        "| Lava, many samples | with its start | one sample | peak MiB |"
    )
    lines = [head, "|---|" + "--:|" * 8]
    for row in rows:
        work = row["samples"] * row["steps"]
        tools = (row["ratios"].get(tool) for tool in ("snnTorch", "Norse", "SpikingJelly"))
        lava = row["Lava"] or {}
        chips = (lava.get(how) for how in ("batch", "batch with start", "single"))
        cells = (
            f"{row['workload']}, {row['samples']}x{row['steps']}",
            f"{statistics.median(row['seconds'][OURS]) / work * 1e6:.2f}",
            *("" if value is None else f"{value:.1f}" for value in tools),
            *("" if value is None else f"{value:,.0f}" for value in chips),
            f"{row['peak bytes'] / 2**20:.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def roofline(rows: list[dict[str, Any]]) -> str:
    """Markdown: synaptic events, each of which reads one weight, against what can be read."""
    lines = [
        "| workload | firing rates | 10^9 events/s | of the second-level cache's bandwidth "
        "| of the memory's |",
        "|---|---|--:|--:|--:|",
    ]
    for row in rows:
        speed = row["events"] / statistics.median(row["seconds"][OURS]) / 1e9
        shares = " | ".join(f"{row['shares'][name]:.0%}" for name in SIZES)
        rates = ", ".join(f"{rate:.0%}" for rate in row["rates"].values())
        lines.append(f"| {row['workload']} | {rates} | {speed:.1f} | {shares} |")
    return "\n".join(lines)


def profile(rows: list[dict[str, Any]]) -> str:
    """Markdown: shares of a run on one thread, and how fast it sums against what a core reads."""
    names = list(dict.fromkeys(name for row in rows for name in row["phases"]))
    names.sort(key=lambda name: "sums" not in name)
    lines = [
        f"| workload | {' | '.join(names)} | 10^9 events/s while summing | one core reads, GB/s |",
        "|---|" + "--:|" * (len(names) + 2),
    ]
    for row in rows:
        total = sum(row["phases"].values())
        sums = sum(seconds for name, seconds in row["phases"].items() if "sums" in name)
        shares = (row["phases"].get(name) for name in names)
        cells = (
            row["workload"],
            *("" if share is None else f"{share / total:.0%}" for share in shares),
            f"{row['events'] / sums / 1e9:.1f}",
            f"{row['one core reads'] / 1e9:.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--samples", type=int, help="of every workload, instead of its own number")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    options = parser.parse_args()
    rows = []
    for name in options.workloads:
        build, samples = WORKLOADS[name]
        rows.append(measure(build(options.samples or samples), options.repeats))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    print("", table(rows), roofline(rows), profile(rows), sep="\n\n")
    if options.json is not None:
        write(options.json, {"machine": {**machine(), "load": os.getloadavg()}, "rows": rows})


if __name__ == "__main__":
    main()
