"""A stage of `verify`: what was compared with what, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy.equivalence.compare import Cell, Layer, totals
from neurodeploy.equivalence.gates import Gate

Status = Literal["passed", "failed", "not run", "not applicable"]


@dataclass(frozen=True)
class Divergence:
    """Where two runs first part, with both membrane potentials in units of the model.

    A margin is potential minus threshold: its sign decides the spike.  `expected_trace` and `trace`
    are the potentials of that neuron in every step of that sample, float64 (steps,).
    """

    cell: Cell
    expected_spike: bool
    threshold: float
    expected_potential: float
    potential: float
    expected_trace: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    trace: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        cell = self.cell
        neuron = ",".join(map(str, cell.neuron))
        what = "spikes" if self.expected_spike else "stays silent"
        return (
            f"{cell.population}[{neuron}], sample {cell.sample}, step {cell.step}: the reference "
            f"{what} at {self.expected_potential:.6g}, the chip is at {self.potential:.6g}, "
            f"threshold {self.threshold:.6g}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **vars(self.cell),
            "expected_spike": self.expected_spike,
            "threshold": self.threshold,
            "expected_potential": self.expected_potential,
            "potential": self.potential,
        }


@dataclass(frozen=True)
class Stage:
    """One comparison.

    Attributes
    ----------
    name: `import`, `pass` and its name, `input`, `lowering`, `mapping`, `golden` or `vendor`.
    title: what was compared with what.
    status: `not run` is never a pass; `not applicable` is for what a target does not have.
    text: one sentence on the result, or why it did not run.
    layers: per population; empty where it did not run.
    samples: how many samples were compared.
    gates: what it had to reach; empty where every cell has to be equal.
    """

    name: str
    title: str
    status: Status
    text: str
    layers: tuple[Layer, ...] = ()
    samples: int = 0
    first: Divergence | None = None
    gates: tuple[Gate, ...] = ()

    @property
    def mismatches(self) -> int:
        """Differing cells over all layers."""
        return totals(self.layers)[0]

    @property
    def cells(self) -> int:
        """Compared cells over all layers."""
        return totals(self.layers)[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "title": self.title,
            "status": self.status,
            "text": self.text,
            "samples": self.samples,
            "cells": self.cells,
            "mismatches": self.mismatches,
            "layers": [layer.to_dict() for layer in self.layers],
            "first": None if self.first is None else self.first.to_dict(),
            "gates": [gate.to_dict() for gate in self.gates],
        }
