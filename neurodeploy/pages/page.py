"""What a page shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.chip import Chip
from neurodeploy.costs.estimate import EnergyReport
from neurodeploy.equivalence.verdict import Verdict
from neurodeploy.mapping.placement import Placement
from neurodeploy.program import Program
from neurodeploy.target import evidence_of


@dataclass(frozen=True, eq=False)
class Page:
    """Everything that goes on a page.

    Attributes
    ----------
    labels: class per sample of the verdict's runs, int64 (samples,), or None.
    shown: samples whose spikes are drawn.
    """

    title: str
    program: Program
    verdict: Verdict
    energy: EnergyReport
    placement: Placement
    chip: Chip
    labels: NDArray[np.int64] | None
    shown: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Its numbers as plain data."""
        return {
            "title": self.title,
            "program": self.program.hash,
            "target": self.program.target,
            "verdict": self.verdict.to_dict(),
            "energy": self.energy.to_dict(),
            "resources": self.placement.to_dict(),
            "lowerings": [vars(item) for item in self.program.lowerings],
            "evidence": [vars(item) for item in evidence_of(self.program)],
            "ranges": [vars(item) for item in self.program.ranges],
            "constants": {name: c.to_dict() for name, c in self.chip.constants.items()},
            "provenance": dict(self.program.provenance),
            "samples": list(self.shown),
        }


def choose_samples(verdict: Verdict, output: str, count: int) -> tuple[int, ...]:
    """`count` samples of those whose runs are kept, ascending; the ones that teach most.

    First the one where reference and program part first, then those decided differently, then those
    in which any population differs, then the first ones.
    """
    first = verdict.stage("lowering").first
    expected, actual = verdict.reference, verdict.trace
    decided = np.flatnonzero(expected.decisions(output) != actual.decisions(output))
    differing = np.flatnonzero(_differs(verdict))
    order = [
        *([] if first is None else [first.cell.sample]),
        *(int(sample) for sample in decided),
        *(int(sample) for sample in differing),
        *range(actual.samples),
    ]
    kept = [sample for sample in dict.fromkeys(order) if sample < actual.samples]
    return tuple(sorted(kept[:count]))


def _differs(verdict: Verdict) -> NDArray[np.bool_]:
    """Whether any cell of a sample differs between reference and program, bool (samples,)."""
    result = np.zeros(verdict.trace.samples, np.bool_)
    for layer in verdict.stage("lowering").layers:
        name = layer.population
        cells = verdict.reference.spikes[name] != verdict.trace.spikes[name]
        result |= cells.reshape(len(cells), -1).any(axis=1)
    return result
