"""Large networks, each in a process of its own: `python -m benchmarks.scale [--json FILE]`.

One has a million neurons, the other a hundred million weights that all differ.  What is measured
is the way from the snnTorch module to the program, 100 steps of one sample, and the most memory
that the process held, torch and the module included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import snntorch as snn
import torch
from torch import nn

from benchmarks.measure import machine, write
from benchmarks.workloads import program_of, spikes
from neurodeploy.costs.counts import fan_out
from neurodeploy.simulator.engine import prepare, run
from neurodeploy.target import get_target

STEPS = 100
GIB = 1 << 30
Built = tuple[list[nn.Module], tuple[int, ...]]


def _layers(maps: Sequence[nn.Linear | nn.Conv2d], gain: float) -> list[nn.Module]:
    """Each followed by leaky neurons; `gain` makes them fire."""
    modules: list[nn.Module] = []
    for layer in maps:
        layer.weight.data *= gain
        modules += [layer, snn.Leaky(beta=0.9, init_hidden=True, reset_mechanism="zero")]
    return modules


def neurons() -> Built:
    """4 layers of 4x256x256 neurons, each of which has 100 synapses, inside the borders."""
    return _layers([nn.Conv2d(4, 4, 5, padding=2, bias=False) for _ in range(4)], 4.0), (
        4,
        256,
        256,
    )


def weights() -> Built:
    """784-7000-7000-7000-10, all-to-all."""
    sizes = pairwise((784, 7000, 7000, 7000, 10))
    maps = [nn.Linear(*size, bias=False) for size in sizes]
    return _layers(maps, 6.0), (784,)


NETWORKS: dict[str, Callable[[], Built]] = {
    "a million neurons, convolutional": neurons,
    "a hundred million weights, all-to-all": weights,
}


def measure(name: str) -> dict[str, Any]:
    """One network, in this process."""
    torch.manual_seed(0)
    modules, shape = NETWORKS[name]()
    inputs = spikes(1, STEPS, shape, 0.1)
    start = time.perf_counter()
    program = program_of(nn.Sequential(*modules), inputs[:, :10])
    compiled = time.perf_counter()
    prepared = prepare(program, get_target(program.target).machine)
    planned = time.perf_counter()
    trace = run(prepared, inputs)
    done = time.perf_counter()
    run(prepared, inputs)
    return {
        "network": name,
        "neurons": sum(population.size for population in program.populations),
        "synapses": sum(int(fan_out(s).sum()) for s in program.synapses),
        "rates": [float(trace.counts(p.name).mean() / STEPS) for p in program.populations],
        "compile": compiled - start,
        "prepare": planned - compiled,
        "first run": done - planned,
        "run": time.perf_counter() - done,
        "peak bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| network | neurons | synapses | firing rates | compile, s | prepare, s "
        "| 100 steps, s | peak GiB |",
        "|---|--:|--:|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = (
            row["network"],
            f"{row['neurons']:,}",
            f"{row['synapses']:,}",
            ", ".join(f"{rate:.0%}" for rate in row["rates"]),
            f"{row['compile']:.0f}",
            f"{row['prepare']:.1f}",
            f"{row['run']:.2f}",
            f"{row['peak bytes'] / GIB:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    parser.add_argument("--only", choices=NETWORKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only)))
        return
    rows = []
    for name in NETWORKS:
        command = [sys.executable, "-m", "benchmarks.scale", "--only", name]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(answer.stdout.splitlines()[-1]))
    print(table(rows))
    if options.json is not None:
        write(options.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
