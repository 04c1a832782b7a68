"""`estimate`: counts times constants, as lines that are never merged silently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.costs.baselines import baselines
from neurodeploy.costs.counts import Counts
from neurodeploy.costs.draws import Drawn, draw, nominal, per_sample
from neurodeploy.costs.formulas import ACCUMULATE_45NM
from neurodeploy.costs.metrics import Metrics
from neurodeploy.costs.models import Model, Term, model_of
from neurodeploy.costs.notes import notes
from neurodeploy.costs.sampling import interval, spread
from neurodeploy.errors import InputError
from neurodeploy.linear import FloatArray
from neurodeploy.mapping.placement import Placement
from neurodeploy.quantity import Quantity

ARITHMETIC = "45 nm arithmetic only"
LITERATURE = "constants in circulation, dynamic only"


@dataclass(frozen=True)
class Line:
    """One line of the report with its parts, in J per inference.

    Attributes
    ----------
    total, parts: median and 5 to 95 % of all that is uncertain.
    nominal, nominal_parts: mean counts times the constants' typical values; here parts do add up.
    """

    name: str
    total: Quantity
    parts: Mapping[str, Quantity]
    nominal: Quantity
    nominal_parts: Mapping[str, Quantity]


@dataclass(frozen=True)
class Contributor:
    """The largest part of all lines, and its share of the sum of all parts' medians."""

    line: str
    part: str
    share: Quantity


@dataclass(frozen=True)
class EnergyReport:
    """Energy and latency of one inference.

    Quantities are the median with 5 and 95 % as low and high; medians of parts do not add up to the
    median of their sum exactly.

    Attributes
    ----------
    lines: what the program causes (dynamic), what flows while it runs, host and I/O; which lines
        there are depends on the chip (see `models`).
    total: the lines together.
    nominal: the sum of the lines' nominal energies.
    latency: time per inference, one inference at a time, in s.
    power: total over latency, in W.
    dominant: the largest part.
    comparisons: figures of other kinds, in no line: the usual 0.9 pJ per synaptic event, which is
        not an estimate for hardware, and others that their names and sources explain.
    counted: what was counted per inference; low, typical, high are minimum, mean, maximum.
    notes: assumptions and warnings.
    measured: what a run on the chip gave, by name; see `with_measured`.
    metrics: NeuroBench's, where they were asked for.
    """

    chip: str
    samples: int
    lines: tuple[Line, ...]
    total: Quantity
    nominal: Quantity
    latency: Quantity
    power: Quantity
    dominant: Contributor
    comparisons: Mapping[str, Quantity]
    counted: Mapping[str, Quantity]
    notes: tuple[str, ...]
    measured: Mapping[str, Quantity] = field(default_factory=dict)
    metrics: Metrics | None = None

    def line(self, name: str) -> Line:
        """The line called `name`, which must exist."""
        return next(line for line in self.lines if line.name == name)

    def with_measured(self, measured: Mapping[str, Quantity]) -> EnergyReport:
        """The report with what was measured on the chip beside it.

        Parameters
        ----------
        measured: by name, such as `total` (J), `power` (W) or `latency` (s), of kind `measured`.

        Raises
        ------
        InputError
            One is of another kind.
        """
        for name, quantity in measured.items():
            if quantity.kind != "measured":
                raise InputError(f"is {quantity.kind}, not measured", node=name)
        return replace(self, measured=dict(measured))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; metrics in NeuroBench's names."""
        metrics = None if self.metrics is None else self.metrics.to_dict()
        return {**asdict(self), "metrics": metrics}


def estimate(
    counts: Counts, chip: Chip, placement: Placement, metrics: Metrics | None = None
) -> EnergyReport:
    """Energy and latency per inference from counts, with what is uncertain drawn jointly.

    part  = product of its constants and counts (`models`)
    line  = (sum of its parts) x model error of the line
    total = (sum of all parts, without the lines' errors) x model error of totals
    T     = steps x tick in real time, or between a lower bound, T_typical and
            latency_slack T_typical; see `formulas.latency`

    Constants are log-triangular between their low, typical and high (triangular from 0), errors
    log-normal, counts resampled over the samples (bootstrap); see `sampling`.  The error of
    totals was found with core lines that had no error of their own, so both are not multiplied.

    Parameters
    ----------
    metrics: of the same run, for the report; with them processors stand among the comparisons.

    Raises
    ------
    TargetError
        Nothing is known about the chip's energies.
    FileError
        The chip file lacks a constant.
    """
    model, drawn = model_of(chip), draw(counts, chip, placement)
    exact = nominal(counts, chip, placement)
    return EnergyReport(
        chip=chip.title,
        samples=counts.samples,
        lines=tuple(_line(name, model, drawn, exact[name], chip) for name in model.lines),
        total=interval(
            drawn.total,
            "J",
            "sum of " + ", ".join(model.lines) + _error(model.total_error, chip),
        ),
        nominal=_nominal(_sum({name: _sum(parts) for name, parts in exact.items()})),
        latency=interval(drawn.seconds, "s", "; ".join(_sources(model, chip))),
        power=interval(drawn.total / drawn.seconds, "W", "total over latency"),
        dominant=_dominant(drawn),
        comparisons={
            ARITHMETIC: interval(
                ACCUMULATE_45NM.typical * drawn.activity["synaptic events"],
                "J",
                f"45 nm arithmetic only, not an estimate for hardware: {ACCUMULATE_45NM.source}, "
                "per synaptic event",
            ),
            **_literature(model, drawn, chip),
            **({} if metrics is None else baselines(metrics)),
        },
        counted=_counted(counts, placement),
        notes=notes(counts, chip, placement),
        metrics=metrics,
    )


def _line(
    name: str, model: Model, drawn: Drawn, exact: Mapping[str, FloatArray], chip: Chip
) -> Line:
    terms = {term.name: term for term in model.terms if term.line == name}
    parts = drawn.lines[name]
    return Line(
        name,
        interval(
            _sum(parts),
            "J",
            "sum of " + ", ".join(parts) + _error(model.errors.get(name, ""), chip),
        ),
        {part: interval(energy, "J", _source(terms[part], chip)) for part, energy in parts.items()},
        _nominal(_sum(exact)),
        {part: _nominal(energy) for part, energy in exact.items()},
    )


def _nominal(energy: FloatArray) -> Quantity:
    return interval(energy, "J", "mean counts x typical constants, without model errors")


def _error(name: str, chip: Chip) -> str:
    return f"; model error: {chip.constant(name).source}" if name else ""


def _literature(model: Model, drawn: Drawn, chip: Chip) -> dict[str, Quantity]:
    if not model.literature:
        return {}
    source = "not in the total; " + "; ".join(_source(term, chip) for term in model.literature)
    return {LITERATURE: interval(_sum(drawn.literature), "J", source)}


def _dominant(drawn: Drawn) -> Contributor:
    medians = {
        (line, part): float(np.median(energy))
        for line, parts in drawn.lines.items()
        for part, energy in parts.items()
    }
    line, part = max(medians, key=medians.__getitem__)
    everything = _sum({str(index): _sum(parts) for index, parts in enumerate(drawn.lines.values())})
    with np.errstate(invalid="ignore"):
        share = np.nan_to_num(drawn.lines[line][part] / everything)
    return Contributor(line, part, interval(share, "1", "its part of the sum of all lines"))


def _sum(parts: Mapping[str, FloatArray]) -> FloatArray:
    return np.asarray(sum(parts.values()))


def _source(term: Term, chip: Chip) -> str:
    counts = " x ".join(term.counts)
    constants = "; ".join(f"{name}: {chip.constant(name).source}" for name in term.constants)
    return f"{counts} x {' x '.join(term.constants)}; {constants}"


def _sources(model: Model, chip: Chip) -> list[str]:
    names = (model.tick,) if model.tick else _LATENCY
    return [f"{name}: {chip.constant(name).source}" for name in names]


_LATENCY = ("t_syn", "t_upd", "t_spk", "t_sync", "t_mgmt", "latency_slack")


def _counted(counts: Counts, placement: Placement) -> dict[str, Quantity]:
    source = f"bit-accurate run of {counts.samples} samples; minimum, mean, maximum"
    counted = {
        **per_sample(counts, placement),
        "steps": counts.steps,
        "host bytes": counts.host_bytes,
        "barriers": counts.barriers,
        "synaptic events, busiest core": counts.core_events.max(axis=1),
        "packets, busiest core": counts.core_packets.max(axis=1),
        "packets, busiest link": np.max(
            [one.max(axis=(1, 2)) for one in counts.links.each], axis=0
        ),
    }
    return {name: spread(values, "1", source) for name, values in counted.items()}
