"""Predictions against published measurements, each without the constants that rest on it.

The measurements are in `anchors.toml`.  A constant that rests on one of them is marked in its chip
file (`without.ANCHOR`), with what stands in its place where that measurement is the judge.
"""

from __future__ import annotations

import importlib.resources
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.costs.chips import ENERGY_ONLY, energy_only
from neurodeploy.costs.draws import at_typical, evaluate
from neurodeploy.costs.models import CORE, model_of
from neurodeploy.costs.sampling import between, interval
from neurodeploy.errors import NeurodeployError
from neurodeploy.quantity import Kind, Quantity
from neurodeploy.target import Simulates, find_targets, get_target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MEDIAN_ERROR = 1.4
COVERAGE = 0.8
"""What core dynamic must reach: median factor between nominal prediction and measurement, and share
of the measurements inside the 90 % interval."""


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
    kind: Kind = "literature"
    published: Mapping[str, Quantity] = field(default_factory=dict)
    rests_on: str = ""
    """The anchor under which constants are marked, where it is not its own."""


@dataclass(frozen=True)
class Judged:
    """One row of the validation table.

    Attributes
    ----------
    predicted: by constants that do not rest on the measurement.
    stated: by all constants, as `energy` would print it.
    ratio: predicted over measured, with its interval.
    nominal_ratio: the same of the nominal prediction, with each of those constants at its typical
        value; the median of draws differs, since constants may be further above than below that.
    inside: whether the measurement lies in the 90 % interval of the prediction.
    counts: what the prediction was made from.
    published: some of these as others published them.
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
    nominal_ratio: Quantity
    inside: bool
    counts: Mapping[str, Quantity]
    published: Mapping[str, Quantity]
    counted_by: str
    cause: str

    @property
    def factor(self) -> float:
        """How many times too high or too low the prediction is, at least 1."""
        return _factor(self.ratio.typical)

    @property
    def nominal_factor(self) -> float:
        """The same of `nominal_ratio`."""
        return _factor(self.nominal_ratio.typical)

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
    """All rows, and what they say of core dynamic energy.

    Attributes
    ----------
    simulated: networks that were simulated and counted here, end to end.
    not_run: target -> why its networks were not simulated.
    """

    rows: tuple[Judged, ...]
    simulated: tuple[Judged, ...] = ()
    not_run: Mapping[str, str] = field(default_factory=dict)

    @property
    def core(self) -> tuple[Judged, ...]:
        """Rows that judge core dynamic energy alone."""
        return tuple(row for row in self.rows if row.lines == (CORE,))

    @property
    def median_factor(self) -> float:
        """Median over `core` of the factor between prediction and measurement."""
        return float(np.median([row.factor for row in self.core]))

    @property
    def nominal_median_factor(self) -> float:
        """`median_factor` of nominal predictions."""
        return float(np.median([row.nominal_factor for row in self.core]))

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
        """Whether core dynamic reaches `MEDIAN_ERROR`, by nominal predictions, and `COVERAGE`."""
        return self.nominal_median_factor <= MEDIAN_ERROR and self.coverage >= COVERAGE

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        source = "published measurements with known counts, core dynamic energy"
        names = (
            "median_factor",
            "coverage",
            "nominal_median_factor",
            "stated_median_factor",
            "stated_coverage",
        )
        found = {name: getattr(self, name) for name in names}
        return {
            "rows": [row.to_dict() for row in self.rows],
            "simulated": [row.to_dict() for row in self.simulated],
            "not_run": dict(self.not_run),
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


def validate() -> Validation:
    """Judge the energy models on all measurements, and on networks that targets simulate.

    Raises `TargetError` where the target of a measurement is not installed.
    """
    simulated: list[Judged] = []
    not_run: dict[str, str] = {}
    for found in find_targets():
        if isinstance(found.target, Simulates):
            try:
                own = found.target.simulated()
            except NeurodeployError as error:
                not_run[found.name] = str(error)
                continue
            simulated += [judge(anchor, known_chip(anchor.chip)) for anchor in own]
    rows = tuple(judge(anchor, known_chip(anchor.chip)) for anchor in anchors())
    return Validation(rows, tuple(simulated), not_run)


def judge(anchor: Anchor, chip: Chip) -> Judged:
    """Predict one measurement: the lines that it holds, over its counts."""
    at_level = chip.at_level(anchor.level)
    held_out = at_level.judged_on(anchor.rests_on or anchor.name)
    predicted = _predict(anchor, held_out, "constants that do not rest on the measurement")
    measured = anchor.measured.typical
    ratio = Quantity(
        predicted.low / measured,
        predicted.typical / measured,
        predicted.high / measured,
        "1",
        "derived",
        "predicted over measured",
    )
    nominal = _predict(_middle(anchor), at_typical(held_out), "constants at their typical values")
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
        nominal_ratio=Quantity(
            *(nominal.typical / measured,) * 3,
            "1",
            "derived",
            "predicted over measured, constants at their typical values",
        ),
        inside=predicted.low <= measured <= predicted.high,
        counts={name: _counted(value, name, anchor) for name, value in anchor.counts.items()},
        published=anchor.published,
        counted_by=anchor.counted_by,
        cause=anchor.cause,
    )


def _middle(anchor: Anchor) -> Anchor:
    """The anchor with its counts as they are taken to be, without their bounds."""
    counts = {k: v[1] if isinstance(v, list) else v for k, v in anchor.counts.items()}
    return replace(anchor, counts=counts)


def _counted(value: Any, name: str, anchor: Anchor) -> Quantity:
    low, typical, high = value if isinstance(value, list) else (value,) * 3
    unit = "s" if name == "seconds" else "1"
    return Quantity(low, typical, high, unit, anchor.kind, anchor.counted_by)


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
