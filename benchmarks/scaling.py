"""What chunks cost, and a million samples on a cluster, on paper.

    python -m benchmarks.scaling --json docs/measured/scaling.json

measures chunks of the demo's network for Loihi 2 on one core, in CPU time, so that other programs
count little.  `simulated` then lets a cluster of such cores work on paper.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import neurodeploy as nd
from benchmarks.measure import machine, write
from neurodeploy import archive
from neurodeploy.chunks import Task, Tree
from neurodeploy.compilation import carried
from neurodeploy.costs.counting import CHUNK_SAMPLES as COUNTED
from neurodeploy.costs.counting import Counting
from neurodeploy.costs.counts import Counts
from neurodeploy.equivalence.examination import Examination, Findings
from neurodeploy.equivalence.verdict import CHUNK_SAMPLES as EXAMINED
from neurodeploy.models import digits
from neurodeploy.models.digits_data import encode, load_data
from neurodeploy.target import get_target

CHUNKS = 6
SAMPLES, NODES, CORES = 1_000_000, 100, 16
"""Of the cluster on paper: samples to work on, nodes, and workers of one core on each."""
DISPATCH = 1e-3
"""Seconds that Dask's scheduler needs for a task, literature: "about 1ms", docs.dask.org, Best
Practices, Avoid Very Large Graphs.
"""
LINK = 1e9 / 8
"""Bytes per second between client and cluster, given: 1 Gbit/s."""
SEED = 1


def cpu(function: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it returns."""
    begun = time.process_time()
    found = function()
    return time.process_time() - begun, found


def measure(
    task: Task, chunks: Sequence[Tree], joined: Callable[[list[Tree]], Any]
) -> dict[str, Any]:
    """Times and bytes of chunks, as a client and a worker have them."""
    tree = {"task": task.to_tree()}
    data, _ = archive.to_bytes(tree, "task")
    prepared, other = cpu(lambda: type(task).from_tree(archive.from_bytes(data, "task")[0]["task"]))
    other.run(chunks[0])  # whatever a worker does once
    rows, results = [], []
    for chunk in chunks:
        packing, there = cpu(functools.partial(packed, chunk))
        working, back = cpu(functools.partial(worked, other, there))
        reading, result = cpu(functools.partial(read, back))
        results.append(result)
        rows.append((packing + reading, working, len(there), len(back)))
    joining, _ = cpu(lambda: joined(results))
    client, worker, out, home = zip(*rows, strict=True)
    return {
        "task, bytes": len(data),
        "task, s": prepared,
        "worker, s": list(worker),
        "client, s": sum(client) / len(rows) + joining / len(rows),
        "out, bytes": max(out),
        "back, bytes": max(home),
    }


def packed(chunk: Tree) -> bytes:
    archive.content_hash({"chunk": chunk})  # its key
    return archive.to_bytes({"chunk": chunk}, "chunk")[0]


def worked(task: Task, data: bytes) -> bytes:
    chunk: Tree = archive.from_bytes(data, "chunk")[0]["chunk"]
    return archive.to_bytes({"result": task.run(chunk)}, "result")[0]


def read(data: bytes) -> Tree:
    result: Tree = archive.from_bytes(data, "result")[0]["result"]
    return result


def measured() -> list[dict[str, Any]]:
    """Chunks of `verify` and `energy`, of the largest size that these take."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    data, net = load_data(), digits.load()
    images = np.concatenate([data.test_images, data.train_images])
    count = CHUNKS * max(EXAMINED, COUNTED)
    inputs = encode(np.resize(images, (count, *images.shape[1:])))
    graph = nd.from_snntorch(net, torch.from_numpy(inputs[:1, 0].astype(np.float32)))
    program = nd.compile(graph, target="loihi2", calibration=inputs[:256])
    network, before = carried(program)
    (port,) = program.inputs
    rest = {"source": None, "passes": 0, "mapped": 0, "traced": 1}
    chosen: dict[str, tuple[Task, int, Callable[[int], Tree], Callable[[list[Tree]], Any]]] = {
        "verify": (
            Examination(program, network, get_target("loihi2"), before),
            EXAMINED,
            lambda start: {"inputs": {port.name: inputs[start : start + EXAMINED]}, **rest},
            lambda trees: Findings.joined([Findings.from_tree(tree) for tree in trees]),
        ),
        "energy": (
            Counting(program),
            COUNTED,
            lambda start: {port.name: inputs[start : start + COUNTED]},
            lambda trees: Counts.joined([Counts.from_tree(tree["counts"]) for tree in trees]),
        ),
    }
    rows = []
    for name, (task, size, chunk, joined) in chosen.items():
        chunks = [chunk(start) for start in range(0, CHUNKS * size, size)]
        rows.append({"work": name, "samples": size, **measure(task, chunks, joined)})
    return rows


def simulated(row: Mapping[str, Any], workers: int) -> dict[str, float]:
    """A cluster on paper works on `SAMPLES`: each chunk goes to the worker that is free first.

    A chunk's time is one of the measured ones, drawn at random.  The client prepares chunks one
    after another and sends them over one link; the scheduler needs `DISPATCH` for each.  The first
    chunk of a worker waits for the task.  No worker is lost, and all are as fast as here.
    """
    rng, chunks = random.Random(SEED), -(-SAMPLES // row["samples"])
    transfer = (row["out, bytes"] + row["back, bytes"]) / LINK
    each = max(row["client, s"], transfer, DISPATCH)
    free = [row["task, s"] + row["task, bytes"] / LINK] * min(workers, chunks)
    end = busy = 0.0
    for index in range(chunks):
        seconds = rng.choice(row["worker, s"])
        begin = max(heapq.heappop(free), (index + 1) * each)
        heapq.heappush(free, begin + seconds)
        end, busy = max(end, begin + seconds), busy + seconds
    return {"chunks": chunks, "each": each, "busy": busy, "end": end}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: what was measured, and what follows from it."""
    lines = [
        "| | kind | " + " | ".join(f"`{row['work']}`" for row in rows) + " |",
        "| --- | --- | " + " | ".join("--:" for _ in rows) + " |",
    ]

    def line(what: str, kind: str, of: Callable[[Mapping[str, Any]], str]) -> None:
        lines.append(f"| {what} | {kind} | " + " | ".join(of(row) for row in rows) + " |")

    def mean(row: Mapping[str, Any]) -> float:
        return float(sum(row["worker, s"]) / len(row["worker, s"]))

    line("samples of a chunk", "counted", lambda r: f"{r['samples']:,}")
    line("a chunk in a worker, CPU s, mean", "measured", lambda r: f"{mean(r):.3f}")
    line("its least and most", "measured", lambda r: f"{min(r['worker, s']):.3f}, "
         f"{max(r['worker, s']):.3f}")  # fmt: skip
    line("a chunk in the client, CPU s", "measured", lambda r: f"{r['client, s']:.4f}")
    line("sent for a chunk, KB", "counted", lambda r: f"{r['out, bytes'] / 1e3:,.0f}")
    line("returned for a chunk, KB", "counted", lambda r: f"{r['back, bytes'] / 1e3:,.0f}")
    workers = NODES * CORES
    found = {row["work"]: simulated(row, workers) for row in rows}
    share = {name: f"{one['busy'] / workers / one['end']:.0%}" for name, one in found.items()}
    alone = {row["work"]: simulated(row, 1) for row in rows}
    line("chunks of a million samples", "counted", lambda r: f"{found[r['work']]['chunks']:,}")
    line("on one core, h", "derived", lambda r: f"{alone[r['work']]['end'] / 3600:.2f}")
    line(f"on {NODES} nodes of {CORES} cores, s", "derived",
         lambda r: f"{found[r['work']]['end']:.0f}")  # fmt: skip
    line("of which these cores work", "derived", lambda r: share[r["work"]])
    line("nodes times time, node hours", "derived",
         lambda r: f"{found[r['work']]['end'] * NODES / 3600:.2f}")  # fmt: skip
    line("what client, link and scheduler need for a chunk, s", "derived",
         lambda r: f"{found[r['work']]['each']:.4f}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measured()
    if options.json:
        write(options.json, {"machine": machine(), "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
