"""Predictions against published measurements, each without the constants that rest on it.

The measurements are in `anchors.toml`.  A constant that rests on one of them is marked in its chip
file (`without.ANCHOR`), with what stands in its place where that measurement is the judge.
"""

from __future__ import annotations

import importlib.resources
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.costs.chips import ENERGY_ONLY, energy_only
from neurodeploy.costs.draws import evaluate
from neurodeploy.costs.models import CORE, model_of
from neurodeploy.costs.sampling import between, interval
from neurodeploy.quantity import Quantity
from neurodeploy.target import get_target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MEDIAN_ERROR = 1.4
COVERAGE = 0.8
"""What core dynamic must reach: median factor between prediction and measurement, share inside."""


@dataclass(frozen=True)
class Anchor:
    """A measurement with known counts; see `anchors.toml` for the fields."""

    name: str
    title: str
    chip: str
    lines: tuple[str, ...]
    per: str
    measured: Quantity
    counts: Mapping[str, Any]
    counted_by: str
    names: tuple[str, ...]
    cause: str
    level: str | None = None
    known: Mapping[str, Any] | None = None

    @property
    def core(self) -> bool:
        """Whether it judges core dynamic energy alone."""
        return self.lines == (CORE,)


@dataclass(frozen=True)
class Judged:
    """One row of the validation table.

    Attributes
    ----------
    predicted: by constants that do not rest on the measurement.
    stated: by all constants, as `energy` would print it.
    ratio: predicted over measured, with its interval.
    inside: whether the measurement lies in the 90 % interval of the prediction.
    """

    name: str
    title: str
    chip: str
    lines: tuple[str, ...]
    per: str
    measured: Quantity
    predicted: Quantity
    stated: Quantity
    ratio: Quantity
    inside: bool
    counted_by: str
    cause: str

    @property
    def factor(self) -> float:
        """How many times too high or too low the prediction is, at least 1."""
        return _factor(self.ratio.typical)

    @property
    def stated_factor(self) -> float:
        """The same of `stated`."""
        return _factor(self.stated.typical / self.measured.typical)

    @property
    def stated_inside(self) -> bool:
        """Whether the measurement lies in the 90 % interval of `stated`."""
        return self.stated.low <= self.measured.typical <= self.stated.high

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Validation:
    """All rows, and what they say of core dynamic energy."""

    rows: tuple[Judged, ...]

    @property
    def core(self) -> tuple[Judged, ...]:
        """Rows that judge core dynamic energy alone."""
        return tuple(row for row in self.rows if row.lines == (CORE,))

    @property
    def median_factor(self) -> float:
        """Median over `core` of the factor between prediction and measurement."""
        return float(np.median([row.factor for row in self.core]))

    @property
    def coverage(self) -> float:
        """Share of `core` whose measurement lies in the stated 90 % interval."""
        return float(np.mean([row.inside for row in self.core]))

    @property
    def stated_median_factor(self) -> float:
        """`median_factor` with all constants, some of which rest on these measurements."""
        return float(np.median([row.stated_factor for row in self.core]))

    @property
    def stated_coverage(self) -> float:
        """`coverage` with all constants, some of which rest on these measurements."""
        return float(np.mean([row.stated_inside for row in self.core]))

    @property
    def holds(self) -> bool:
        """Whether core dynamic reaches `MEDIAN_ERROR` and `COVERAGE`."""
        return self.median_factor <= MEDIAN_ERROR and self.coverage >= COVERAGE

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        source = "published measurements with known counts, core dynamic energy"
        names = ("median_factor", "coverage", "stated_median_factor", "stated_coverage")
        found = {name: getattr(self, name) for name in names}
        return {
            "rows": [row.to_dict() for row in self.rows],
            **{
                name: Quantity(value, value, value, "1", "derived", source).to_dict()
                for name, value in found.items()
            },
            "holds": self.holds,
        }


def _factor(ratio: float) -> float:
    return math.exp(abs(math.log(ratio)))


def anchors() -> tuple[Anchor, ...]:
    """All measurements of `anchors.toml`."""
    file = importlib.resources.files("neurodeploy.costs").joinpath("anchors.toml")
    tables = tomllib.loads(file.read_text("utf-8"))
    return tuple(
        Anchor(
            **{
                **item,
                "name": name,
                "lines": tuple(item["lines"]),
                "names": tuple(item["names"]),
                "measured": Quantity(kind="literature", **item["measured"]),
            }
        )
        for name, item in tables.items()
    )


def known_chip(name: str) -> Chip:
    """The chip of a target, or one that is known by its energy only."""
    return energy_only(name) if name in ENERGY_ONLY else get_target(name).chip


def validate(
    given: Sequence[Anchor] | None = None, chip_of: Callable[[str], Chip] = known_chip
) -> Validation:
    """Judge the energy models on `given` measurements, by default on all.

    Raises `TargetError` where the target of one is not installed.
    """
    return Validation(
        tuple(judge(one, chip_of(one.chip)) for one in (anchors() if given is None else given))
    )


def judge(anchor: Anchor, chip: Chip) -> Judged:
    """Predict one measurement: the lines that it holds, over its counts."""
    at_level = chip.at_level(anchor.level)
    predicted = _predict(
        anchor, at_level.judged_on(anchor.name), "constants that do not rest on it"
    )
    measured = anchor.measured.typical
    ratio = Quantity(
        predicted.low / measured,
        predicted.typical / measured,
        predicted.high / measured,
        "1",
        "derived",
        "predicted over measured",
    )
    return Judged(
        name=anchor.name,
        title=anchor.title,
        chip=at_level.title,
        lines=anchor.lines,
        per=anchor.per,
        measured=anchor.measured,
        predicted=predicted,
        stated=_predict(anchor, at_level, "all constants of the chip"),
        ratio=ratio,
        inside=predicted.low <= measured <= predicted.high,
        counted_by=anchor.counted_by,
        cause=anchor.cause,
    )


def _predict(anchor: Anchor, chip: Chip, source: str) -> Quantity:
    activity = {
        name: between(chip, f"{anchor.name} {name}", *value) if isinstance(value, list) else value
        for name, value in anchor.counts.items()
    }
    drawn = evaluate(model_of(chip), activity, chip)
    elsewhere = 0.0
    if anchor.known is not None:
        source += f"; {anchor.known['source']}"
        elsewhere = anchor.known["value"]
    total = drawn.sum(*anchor.lines) + elsewhere
    return interval(total, anchor.measured.unit, source)
