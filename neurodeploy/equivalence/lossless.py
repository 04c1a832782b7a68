"""The stages of `verify` that rewrite without loss: each pass, and the cut into cores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy import reference
from neurodeploy.equivalence.compare import compare, totals
from neurodeploy.equivalence.imported import partings
from neurodeploy.equivalence.stage import Stage, Status
from neurodeploy.errors import NeurodeployError
from neurodeploy.mapping import joined, place, split
from neurodeploy.network import Network
from neurodeploy.passes import TOLERANCE
from neurodeploy.program import Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import Places, Target
from neurodeploy.trace import Messages, Trace

PASS_SAMPLES = 1000
MAPPED_SAMPLES = 100


def passes(
    before: Mapping[str, Network],
    network: Network,
    inputs: Mapping[str, NDArray[Any]],
    expected: Trace,
) -> Iterator[Stage]:
    """The reference before and after each pass, on the first 1000 samples.

    A pass may form sums in another order, so a potential within 1e-9 thresholds of its threshold
    may fall either way, and everything downstream with it; any other difference fails.

    Parameters
    ----------
    before: the network before each pass, by the passes' names; after the last it is `network`.
    expected: the reference's run of `network` on `inputs`.
    """
    inputs = {name: array[:PASS_SAMPLES] for name, array in inputs.items()}
    last = Trace({name: array[:PASS_SAMPLES] for name, array in expected.spikes.items()})
    traces = [*(reference.simulate(one, inputs) for one in before.values()), last]
    networks = (*before.values(), network)
    for name, runs, (_, after) in zip(before, pairwise(traces), pairwise(networks), strict=True):
        yield _pass(name, *runs, after, inputs)


def _pass(
    name: str, earlier: Trace, later: Trace, after: Network, inputs: Mapping[str, NDArray[Any]]
) -> Stage:
    title = f"reference before against after {name}"
    layers = compare(earlier, later, [p.name for p in after.populations if p.spiking])
    total, cells = totals(layers)
    status: Status = "passed"
    text = f"every spike of {cells:,} cells is equal"
    if not cells:
        status, text = "not run", "no population spikes, so there is nothing to compare"
    elif total:
        parts = [
            partings(after, part, TOLERANCE, rounded=False)
            for part in reference.chunks(after, {**inputs, **earlier.spikes})
        ]
        ties, unexplained = (sum(counts) for counts in zip(*parts, strict=True))
        status = "failed" if unexplained else "passed"
        text = f"{total:,} of {cells:,} cells differ: {ties:,} neurons part at a rounding tie"
        text += f", {unexplained:,} elsewhere"
    return Stage(f"pass {name}", title, status, text, layers, earlier.samples if cells else 0)


def mapping(
    program: Program, target: Target, inputs: Mapping[str, Messages], actual: Trace
) -> Stage:
    """The first 100 samples of the program with one population for each core: must be equal.

    Parameters
    ----------
    actual: the simulator's run of `program` on `inputs`.
    """
    title = "program against its neurons apart, core by core"
    if not isinstance(target, Places):
        text = "the target has no cores to place neurons on"
        return Stage("mapping", title, "not applicable", text)
    some = {name: array[:MAPPED_SAMPLES] for name, array in inputs.items()}
    try:
        placement = place(program, target.cores(program))
        apart = split(program, placement)
        found = joined(simulate(apart, some, target.machine), program, placement)
    except NeurodeployError as error:
        return Stage("mapping", title, "not run", str(error))
    whole = Trace.of_sent({name: actual.sent(name)[:MAPPED_SAMPLES] for name in actual.spikes})
    layers = compare(whole, found, [population.name for population in program.populations])
    total, cells = totals(layers)
    text = f"{total:,} of {cells:,} cells differ, {placement.cores:,} cores"
    wrong, read = potentials(program, actual, found)
    total += wrong
    text += read
    status: Status = "failed" if total else "passed"
    return Stage("mapping", title, status, text, layers, whole.samples)


def potentials(program: Program, actual: Trace, other: Trace) -> tuple[int, str]:
    """How many potentials that are read out differ in `other`, of the first samples; in words."""
    total, text = 0, ""
    for name in program.outputs:
        if program.population(name).readout == "membrane":
            differs = other.values[name] != actual.values[name][: other.samples]
            wrong = int(np.count_nonzero(differs))
            text += f"; {wrong:,} of {differs.size:,} potentials of {name}"
            total += wrong
    return total, text
