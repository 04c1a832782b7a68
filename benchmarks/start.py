"""What the first simulation costs: `python -m benchmarks.start [--json FILE]`.

Each process loads a program, simulates one sample and ends.  The first finds no compiled kernels,
the second those of the first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, write
from benchmarks.workloads import Workload, cnn, mlp, recurrent

WORKLOADS: dict[str, Callable[[int], Workload]] = {"mlp": mlp, "cnn": cnn, "recurrent": recurrent}
SCRIPT = textwrap.dedent("""
    import sys, time
    start = time.perf_counter()
    import numpy as np, neurodeploy as nd
    program = nd.Program.load(sys.argv[1])
    inputs = {p.name: np.ones((1, 10, *p.shape), np.uint8) for p in program.inputs}
    loaded = time.perf_counter()
    nd.run(program, inputs)
    print(loaded - start, time.perf_counter() - loaded)
""")


def measure(name: str) -> dict[str, Any]:
    """Seconds of (import and load, first simulation) in the first and in a later process."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/{name}.ndp"
        WORKLOADS[name](1).program.save(path)
        environment = {**os.environ, "NUMBA_CACHE_DIR": f"{folder}/cache"}
        found = []
        for _ in range(2):
            command = [sys.executable, "-c", SCRIPT, path]
            answer = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment
            )
            found.append([float(value) for value in answer.stdout.split()])
    return {"workload": name, "first": found[0], "later": found[1]}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| workload | import and load, s | first simulation, s | in later processes, s |",
        "|---|--:|--:|--:|",
    ]
    for row in rows:
        (load, first), (_, later) = row["first"], row["later"]
        lines.append(f"| {row['workload']} | {load:.1f} | {first:.1f} | {later:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    options = parser.parse_args()
    rows = [measure(name) for name in WORKLOADS]
    print(table(rows))
    if options.json is not None:
        write(options.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
