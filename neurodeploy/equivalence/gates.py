"""What a lossy stage must reach to pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from neurodeploy.equivalence.statistics import Proportion
from neurodeploy.errors import InputError

ACCURACY_DROP, AGREEMENT = 0.01, 0.95


@dataclass(frozen=True)
class Gate:
    """One limit and what was found: `value` must be at least, or `most`, at most `limit`."""

    name: str
    value: float
    limit: float
    most: bool

    @property
    def passed(self) -> bool:
        """Whether the value keeps the limit."""
        return self.value <= self.limit if self.most else self.value >= self.limit

    def __str__(self) -> str:
        bound = "at most" if self.most else "at least"
        return f"{self.name} {self.value:.3%} (gate: {bound} {self.limit:g})"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "passed": self.passed}


@dataclass(frozen=True)
class Gates:
    """What the lossy stages (`input`, `lowering`) must reach; None asks for nothing.

    Where nothing is asked for, the accuracy may drop by one point, or without labels 95 % of
    decisions must be equal.

    Attributes
    ----------
    agreement: least share of samples on which reference and program decide alike.
    accuracy_drop: most of reference's accuracy minus program's; needs labels.
    mismatch_rate: most of the share of differing cells, over all populations.

    Raises
    ------
    InputError
        A limit that is not a number.
    """

    agreement: float | None = None
    accuracy_drop: float | None = None
    mismatch_rate: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and math.isnan(value):
                raise InputError("is not a number", node=f"gate {field.name}")

    def judge(
        self,
        agreed: Proportion,
        accuracies: tuple[Proportion, Proportion] | None,
        mismatches: tuple[int, int],
    ) -> tuple[Gate, ...]:
        """The gates that apply.

        Parameters
        ----------
        accuracies: of reference and program; None without labels.
        mismatches: differing cells, and cells.

        Raises
        ------
        InputError
            A gate for accuracies without labels.
        """
        return tuple(self._judged(agreed, accuracies, mismatches))

    def _judged(
        self,
        agreed: Proportion,
        accuracies: tuple[Proportion, Proportion] | None,
        mismatches: tuple[int, int],
    ) -> Iterator[Gate]:
        drop, agreement = self.accuracy_drop, self.agreement
        if self == Gates() and accuracies is not None:
            drop = ACCURACY_DROP
        elif self == Gates():
            agreement = AGREEMENT
        if drop is not None:
            if accuracies is None:
                raise InputError("needs labels", node="gate accuracy-drop")
            before, after = accuracies
            yield Gate("accuracy drop", before.value - after.value, drop, True)
        if agreement is not None:
            yield Gate("equal decisions", agreed.value, agreement, False)
        if self.mismatch_rate is not None:
            part, whole = mismatches
            yield Gate("mismatch rate", part / whole, self.mismatch_rate, True)
