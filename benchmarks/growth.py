"""How the cost of a run grows: `python -m benchmarks.growth FOLDER` draws four figures."""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import NullLocator

from benchmarks.contestants import ours
from benchmarks.measure import interleaved, machine, write
from benchmarks.workloads import Workload, mlp

SWEEPS: dict[str, tuple[str, tuple[float, ...], Callable[[Any], Workload]]] = {
    "steps": ("time steps", (25, 50, 100, 200, 400), lambda n: mlp(64, n)),
    "batch": ("samples", (4, 16, 64, 256, 1024), mlp),
    "density": (
        "firing rate of inputs and neurons",
        (0.01, 0.02, 0.05, 0.1, 0.2, 0.4),
        lambda rate: mlp(128, density=rate, rate=rate),
    ),
    "size": ("synapses", (256, 512, 1024, 2048, 4096), lambda width: mlp(64, width=width)),
}


def synapses(workload: Workload) -> int:
    """Number of weights."""
    return sum(s.weight.size for s in workload.program.synapses)


def sweep(workloads: list[Workload], repeats: int) -> list[float]:
    """Median seconds of each, all of them in turns."""
    runs = {str(index): ours(workload) for index, workload in enumerate(workloads)}
    return [statistics.median(times) for times in interleaved(runs, repeats).values()]


def tick(value: float) -> str:
    """At most five characters."""
    if value < 1:
        return f"{value:.2g}"
    return f"{value:.0f}" if value < 1e5 else f"{value / 1e6:.2g} M"


def draw(path: Path, label: str, values: tuple[float, ...], seconds: list[float]) -> None:
    """Times over values, both logarithmic, with proportional growth from the last point back."""
    figure, ax = plt.subplots(figsize=(4.2, 3.2), layout="constrained")
    slope = [seconds[-1] * value / values[-1] for value in values]
    ax.loglog(values, slope, color="0.75", label="proportional")
    ax.loglog(values, seconds, "o-", color="tab:blue", label="measured")
    ax.set(xlabel=label, ylabel="seconds")
    ax.set_xticks(values, [tick(value) for value in values])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"machine": {**machine(), "load": os.getloadavg()}}
    for name, (label, values, build) in SWEEPS.items():
        workloads = [build(value) for value in values]
        if name == "size":
            values = tuple(map(synapses, workloads))
        seconds = sweep(workloads, options.repeats)
        found[name] = {"values": values, "seconds": seconds}
        draw(options.folder / f"{name}.svg", label, values, seconds)
        print(name, *(f"{v:g}: {s * 1e3:.1f} ms" for v, s in zip(values, seconds, strict=True)))
    write(options.folder / "growth.json", found)


if __name__ == "__main__":
    main()
