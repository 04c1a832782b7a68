"""The stages of `verify` that rewrite without loss: each pass, and the cut into cores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy import reference
from neurodeploy.equivalence.compare import Layer, compare, joined, totals
from neurodeploy.equivalence.imported import Parts, parts_of
from neurodeploy.equivalence.stage import Stage, Status
from neurodeploy.errors import NeurodeployError
from neurodeploy.mapping import joined as together
from neurodeploy.mapping import place, split
from neurodeploy.network import Network
from neurodeploy.passes import TOLERANCE
from neurodeploy.program import Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import Places, Target
from neurodeploy.trace import Messages, Trace

PASS_SAMPLES = 1000
MAPPED_SAMPLES = 100


def pass_parts(
    before: Mapping[str, Network],
    network: Network,
    inputs: Mapping[str, NDArray[Any]],
    expected: Trace,
) -> tuple[Parts, ...]:
    """The reference before and after each pass.

    Parameters
    ----------
    before: the network before each pass, by the passes' names; after the last it is `network`.
    expected: the reference's run of `network` on `inputs`.
    """
    traces = [*(reference.simulate(one, inputs) for one in before.values()), expected]
    networks = (*before.values(), network)[1:]
    return tuple(
        parts_of(after, inputs, runs, TOLERANCE, rounded=False)
        for runs, after in zip(pairwise(traces), networks, strict=True)
    )


def pass_stage(name: str, parts: Parts, samples: int) -> Stage:
    """What came of a pass, on the first 1000 samples.

    A pass may form sums in another order, so a potential within 1e-9 thresholds of its threshold
    may fall either way, and everything downstream with it; any other difference fails.
    """
    title = f"reference before against after {name}"
    total, cells = totals(parts.layers)
    status: Status = "passed"
    text = f"every spike of {cells:,} cells is equal"
    if not cells:
        status, text = "not run", "no population spikes, so there is nothing to compare"
    elif total:
        status = "failed" if parts.unexplained else "passed"
        text = f"{total:,} of {cells:,} cells differ: {parts.ties:,} neurons part at a rounding tie"
        text += f", {parts.unexplained:,} elsewhere"
    return Stage(f"pass {name}", title, status, text, parts.layers, samples if cells else 0)


@dataclass(frozen=True)
class Potentials:
    """How many potentials of an output that is read by these differ, and how many there are."""

    name: str
    wrong: int
    size: int

    def __str__(self) -> str:
        return f"; {self.wrong:,} of {self.size:,} potentials of {self.name}"


def potentials(program: Program, actual: Trace, other: Trace) -> tuple[Potentials, ...]:
    """The potentials that are read out in `other`, of the first samples of `actual`."""
    found = []
    for name in program.outputs:
        if program.population(name).readout == "membrane":
            differs = other.values[name] != actual.values[name][: other.samples]
            found.append(Potentials(name, int(np.count_nonzero(differs)), differs.size))
    return tuple(found)


@dataclass(frozen=True)
class Cut:
    """A program against its neurons apart, core by core, in some samples.

    Attributes
    ----------
    cores: how many; 0 where there is a `problem`.
    problem: why it could not be compared, else None.
    """

    layers: tuple[Layer, ...] = ()
    potentials: tuple[Potentials, ...] = ()
    samples: int = 0
    cores: int = 0
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cut:
        """The inverse of `to_dict`."""
        parts = {
            "layers": tuple(Layer.from_dict(layer) for layer in data["layers"]),
            "potentials": tuple(Potentials(**each) for each in data["potentials"]),
        }
        return cls(**{**data, **parts})

    @classmethod
    def joined(cls, parts: Iterable[tuple[int, Cut]]) -> Cut:
        """As `compare.joined`."""
        found = list(parts)
        first = next((cut for _, cut in found if cut.problem), found[0][1])
        if first.problem:
            return first
        return cls(
            joined([(start, cut.layers) for start, cut in found]),
            tuple(
                Potentials(same[0].name, sum(p.wrong for p in same), sum(p.size for p in same))
                for same in zip(*(cut.potentials for _, cut in found), strict=True)
            ),
            sum(cut.samples for _, cut in found),
            first.cores,
        )


def cut(
    program: Program, target: Target, inputs: Mapping[str, Messages], actual: Trace
) -> Cut | None:
    """Run the program with one population for each core; None for a target without.

    Parameters
    ----------
    actual: the simulator's run of `program` on `inputs`.
    """
    if not isinstance(target, Places):
        return None
    try:
        placement = place(program, target.cores(program))
        apart = split(program, placement)
        found = together(simulate(apart, inputs, target.machine), program, placement)
    except NeurodeployError as error:
        return Cut(problem=str(error))
    layers = compare(actual, found, [population.name for population in program.populations])
    read = potentials(program, actual, found)
    return Cut(layers, read, actual.samples, placement.cores)


def mapping(found: Cut | None) -> Stage:
    """The first 100 samples of the program, core by core: must be equal."""
    title = "program against its neurons apart, core by core"
    if found is None:
        text = "the target has no cores to place neurons on"
        return Stage("mapping", title, "not applicable", text)
    if found.problem is not None:
        return Stage("mapping", title, "not run", found.problem)
    total, cells = totals(found.layers)
    text = f"{total:,} of {cells:,} cells differ, {found.cores:,} cores"
    text += "".join(map(str, found.potentials))
    total += sum(p.wrong for p in found.potentials)
    status: Status = "failed" if total else "passed"
    return Stage("mapping", title, status, text, found.layers, found.samples)
