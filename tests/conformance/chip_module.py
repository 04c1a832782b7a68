"""`ChipModule` against the simulator on large networks: `python -m tests.conformance.chip_module`.

Compares every spike and every potential, of programs as they are compiled and with weights, biases
and thresholds moved off the grid and rounded again, as in training.  `--json FILE` keeps the rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch

import neurodeploy as nd
from benchmarks.measure import machine, write
from neurodeploy.program import POTENTIAL
from neurodeploy.semantics import Semantics
from neurodeploy.torch import ChipModule
from tests.builders import AT_ONCE, SUBTRACT, ZERO, chain, conv, lif, spikes_for

TARGETS = ("loihi2", "spinnaker2")
NETWORKS = ("dense", "conv", "recurrent")
SAMPLES, STEPS, CALIBRATION = 32, 100, 4
LEAST = 35_000_000
"""Neuron-steps of each network on each target: three networks make more than 10^8."""


@dataclass(frozen=True)
class Row:
    """One network on one target.

    Attributes
    ----------
    compared: spikes, one for each neuron, step and sample; of as many potentials.
    spikes: of them, those that are 1.
    differing: spikes that differ; `potentials`: potentials that differ.
    """

    target: str
    network: str
    neurons: int
    programs: int
    compared: int
    spikes: int
    differing: int
    potentials: int


def graph_of(network: str, seed: int) -> nir.NIRGraph:
    """Random weights at which every population spikes; the resets differ."""
    rng = np.random.default_rng(seed)

    def neurons(shape: tuple[int, ...], semantics: Semantics) -> nir.LIF:
        return lif(np.full(shape, 0.9), rng.uniform(0.8, 1.2), semantics)

    if network == "dense":
        return chain(
            (128,),
            fc1=nir.Affine(rng.normal(0.02, 0.15, (512, 128)), rng.normal(0, 0.02, 512)),
            lif1=neurons((512,), SUBTRACT),
            fc2=nir.Affine(rng.normal(0.01, 0.1, (256, 512)), rng.normal(0, 0.02, 256)),
            lif2=neurons((256,), ZERO),
            fc3=nir.Linear(rng.normal(0.01, 0.2, (10, 256))),
            lif3=neurons((10,), SUBTRACT),
        )
    if network == "conv":
        return chain(
            (2, 16, 16),
            conv1=conv(rng.normal(0.05, 0.3, (8, 2, 3, 3)), rng.normal(0, 0.02, 8), padding=1),
            lif1=neurons((8, 16, 16), SUBTRACT),
            conv2=conv(rng.normal(0.02, 0.2, (16, 8, 3, 3)), padding=1, stride=2),
            lif2=neurons((16, 8, 8), ZERO),
            flatten=nir.Flatten({"input": np.array([16, 8, 8])}, 0, -1),
            fc=nir.Affine(rng.normal(0, 0.1, (10, 1024)), rng.normal(0, 0.02, 10)),
            lif3=neurons((10,), SUBTRACT),
        )
    graph = chain(
        (64,),
        fc1=nir.Affine(rng.normal(0.03, 0.2, (384, 64)), rng.normal(0, 0.02, 384)),
        lif1=neurons((384,), AT_ONCE),
        fc2=nir.Linear(rng.normal(0.02, 0.15, (128, 384))),
        lif2=neurons((128,), ZERO),
    )
    nodes = {**graph.nodes, "back": nir.Linear(rng.normal(-0.01, 0.05, (384, 384)))}
    edges = [*graph.edges, ("lif1", "back"), ("back", "lif1")]
    return nir.NIRGraph(nodes, edges, type_check=False)


def moved(module: ChipModule, seed: int) -> ChipModule:
    """All masters a little off where they were, and off the grid."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for master in module.parameters():
            size = 0.02 * master.abs().max()
            master += size * torch.randn(master.shape, generator=generator)
    return module


def compare(target: str, network: str, seed: int, samples: int, steps: int) -> Row:
    """One compiled program, and the same with its masters moved."""
    shape = {"dense": (128,), "conv": (2, 16, 16), "recurrent": (64,)}[network]
    spikes = spikes_for(seed, samples, steps, shape, 0.2)
    graph = graph_of(network, seed)
    program = nd.compile(graph, target=target, calibration=spikes[:CALIBRATION])
    counts = np.zeros(4, np.int64)
    for module in (ChipModule(program), moved(ChipModule(program), seed)):
        counts += _counts(module, spikes)
    size = sum(population.size for population in program.populations)
    return Row(target, network, size, 2, *map(int, counts))


def _counts(module: ChipModule, spikes: np.ndarray) -> np.ndarray:
    """(compared, spikes, differing spikes, differing potentials)."""
    program = module.program()
    names = [population.name for population in program.populations]
    trace = nd.run(program, spikes, record=names)
    given = torch.from_numpy(spikes.astype(np.float32))
    with torch.no_grad():
        sent, states = module.forward_all(given), module.states(given)
    found = np.zeros(4, np.int64)
    for name in names:
        ours, theirs = sent[name].numpy().astype(np.uint8), trace.spikes[name]
        potential = states[name][POTENTIAL].numpy() != trace.states[name][POTENTIAL]
        counts = theirs.size, theirs.sum(), (ours != theirs).sum(), potential.sum()
        found += np.array(counts, np.int64)
    return found


def measure(least: int = LEAST) -> Iterator[Row]:
    """Each network on each target, with new weights until `least` neuron-steps are compared."""
    for target in TARGETS:
        for network in NETWORKS:
            total: Row | None = None
            seed = 0
            while total is None or total.compared < least:
                row = compare(target, network, seed, SAMPLES, STEPS)
                total = row if total is None else _sum(total, row)
                seed += 1
            yield total


def _sum(one: Row, other: Row) -> Row:
    counts = ("programs", "compared", "spikes", "differing", "potentials")
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in counts})


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| target | network | neurons | programs | neuron-steps | spikes | differing spikes | "
        "differing potentials |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        counts = " | ".join(f"{row[name]:,}" for name in list(row)[2:])
        lines.append(f"| {row['target']} | {row['network']} | {counts} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--least", type=int, default=LEAST)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    for row in measure(options.least):
        rows.append(asdict(row))
        sys.stdout.write(f"{table([rows[-1]]).splitlines()[-1]}\n")
        sys.stdout.flush()
    if options.json is not None:
        write(options.json, {"machine": machine(), "rows": rows})
    return int(any(row["differing"] or row["potentials"] for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
