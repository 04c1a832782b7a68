"""Events against float32 products at every density: `python -m benchmarks.density [--json FILE]`.

Sums of spikes times 8-bit weights are exact in float32 (below 2^24), so a dense product could serve
where many neurons spike.  This measures from which density on that would be faster, on one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import interleaved, machine, write
from neurodeploy.program import Synapses
from neurodeploy.simulator.kernels import list_events, pack, room
from neurodeploy.simulator.layout import TILE, Layout
from neurodeploy.simulator.scratch import Scratch
from neurodeploy.simulator.synapses import WHOLE, Events, lanes_of, prepare
from neurodeploy.trace import Spikes

ROWS = 400
DENSITIES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


def by_events(synapses: Synapses, spikes: Spikes, target: Layout) -> Callable[[], Any]:
    """Sums as the simulator forms them, from bits on: (tiles, rows, 128)."""
    source = Layout(synapses.in_shape)
    prepared, scratch = prepare(synapses, source, target), Scratch()
    words = np.empty((len(spikes), source.words), np.uint64)
    pack(spikes.reshape(len(spikes), -1), words)
    listed = np.empty(room(len(spikes), source.used), np.uint32)
    first, last = np.empty((2, len(spikes)), np.uint64)
    events = Events(listed, first, last)
    current = np.empty((target.tiles, len(spikes), TILE), np.int32)

    def call() -> Any:
        list_events(words[:, None], source.valid, 0, 1, source.used, listed, first, last)
        prepared.sums.add(events, prepared.halvings, True, WHOLE, current, scratch)
        return current

    return call


def by_products(synapses: Synapses, spikes: Spikes) -> Callable[[], Any]:
    """Sums (rows, ...) as one product of float32 matrices, after im2col for a convolution."""
    weight = synapses.weight.astype(np.float32)
    rows = np.ascontiguousarray(weight.reshape(len(weight), -1).T)
    if synapses.kind == "dense":
        flat = spikes.reshape(len(spikes), -1)
        return lambda: flat.astype(np.float32) @ rows
    kernel, pad = weight.shape[2:], [(0, 0), (0, 0), *((p, p) for p in synapses.padding)]
    down, right = synapses.stride

    def call() -> Any:
        padded = np.pad(spikes.astype(np.float32), pad)
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, (2, 3))
        patches = windows[:, :, ::down, ::right].transpose(0, 2, 3, 1, 4, 5)
        return (patches.reshape(-1, len(rows)) @ rows).reshape(len(spikes), -1, len(weight))

    return call


def measure(synapses: Synapses) -> dict[str, Any]:
    """Median seconds per step, by density, of both ways; their sums must be equal."""
    rng = np.random.default_rng(0)
    target = lanes_of(synapses.out_shape, synapses.kind == "conv2d")
    found: dict[str, Any] = {"synapses": synapses.name, "densities": DENSITIES}
    for density in DENSITIES:
        spikes = (rng.random((ROWS, *synapses.in_shape)) < density).astype(np.uint8)
        runs = {
            "events": by_events(synapses, spikes, target),
            "product": by_products(synapses, spikes),
        }
        a, b = runs["events"]().swapaxes(0, 1).reshape(ROWS, -1), runs["product"]()
        if not np.array_equal(a[:, : target.used], b.reshape(ROWS, -1)):  # channels last
            raise SystemExit(f"{synapses.name}: the sums differ")
        for name, times in interleaved(runs, 9).items():
            found.setdefault(name, []).append(statistics.median(times) / ROWS)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| synapses | density | events, µs per step | product, µs per step | ratio |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        for density, mine, theirs in zip(
            row["densities"], row["events"], row["product"], strict=True
        ):
            lines.append(
                f"| {row['synapses']} | {density:.0%} | {mine * 1e6:.2f} | {theirs * 1e6:.2f} "
                f"| {theirs / mine:.1f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    layers = (
        Synapses(
            "dense 1024-1024", "a", "b", "dense", 2 * rng.integers(-127, 128, (1024, 1024)), 0,
            (1024,), (1024,),
        ),
        Synapses(
            "convolution 16@3x3 of 16x16x16", "a", "b", "conv2d",
            2 * rng.integers(-127, 128, (16, 16, 3, 3)), 0, (16, 16, 16), (16, 16, 16),
            padding=(1, 1),
        ),
    )  # fmt: skip
    rows = [measure(synapses) for synapses in layers]
    print(table(rows))
    if options.json is not None:
        write(options.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
