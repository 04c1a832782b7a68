"""Tables of costs that are compared: two programs, and predictions with measurements."""

from __future__ import annotations

from rich.markup import escape

from neurodeploy.cli.output import Output
from neurodeploy.cli.tables import interval
from neurodeploy.costs.estimate import EnergyReport
from neurodeploy.costs.ranking import Ranking
from neurodeploy.costs.validation import COVERAGE, MEDIAN_ERROR, Validation
from neurodeploy.quantity import engineering


def sources(output: Output, report: EnergyReport) -> None:
    """Where every figure of an energy report comes from."""
    output.say("\n[bold]Sources[/]")
    named = [(line.name, line.total) for line in report.lines]
    named += [(part, q) for line in report.lines for part, q in line.parts.items()]
    named += [("total", report.total), ("latency", report.latency), ("power", report.power)]
    named += [*report.comparisons.items(), *report.measured.items()]
    for name, quantity in named:
        output.say(escape(f"  {name}: {quantity.source}"))


def ranking(output: Output, found: Ranking, first: str, second: str) -> None:
    """Which of two programs costs less, line by line."""
    output.table(
        f"{first} against {second}, {found.chip}",
        ("", "first over second", "interval", "P(first < second)"),
        [
            (
                name,
                f"{item.ratio.typical:.3g}",
                f"{item.ratio.low:.3g} … {item.ratio.high:.3g}",
                f"{item.probability.typical:.1%}",
            )
            for name, item in found.by_name.items()
        ],
    )


def validation(output: Output, found: Validation) -> None:
    """Every prediction against its measurement, what fails with its suspected cause."""
    output.table(
        "predicted (derived) against measured (literature); no constant rests on its measurement",
        ("", "measured", "median", "interval", "ratio", "inside", "nominal", "all"),
        [
            (
                row.name,
                engineering(row.measured.typical, row.measured.unit)
                + (f" per {row.per}" if row.measured.unit == "J" else ""),
                *interval(row.predicted)[:2],
                f"{row.ratio.typical:.2f}",
                "yes" if row.inside else "NO",
                f"{row.nominal_ratio.typical:.2f}",
                f"{row.stated.typical / row.measured.typical:.2f}",
            )
            for row in (*found.rows, *found.simulated)
        ],
    )
    output.say(
        "  ratio: median over measured; nominal: the same with constants at their typical values; "
        "all: with the constants, too, that rest on the measurement"
    )
    for row in (*found.rows, *found.simulated):
        output.say(f"  {row.name}  {row.title}; {row.chip}; {' + '.join(row.lines)}")
        output.say(f"      measured: {row.measured.source} ({row.measured.kind})")
        output.say(f"      predicted: {row.predicted.source} ({row.predicted.kind})")
        output.say(f"      counts: {row.counted_by}")
        for name, published in row.published.items():
            counted = row.counts[name]
            output.say(
                f"      {name}: {counted.typical:,.0f} ({counted.kind}), published "
                f"{published.typical:,.0f}, ratio {counted.typical / published.typical:.3f}"
            )
        if not row.inside:
            output.say(f"      outside its interval; suspected: {row.cause}")
    for name, reason in found.not_run.items():
        output.say(f"  NOT RUN: networks of {name}: {reason}")
    output.say(
        f"\nCore dynamic energy, {len(found.core)} networks, nominal predictions (constants at "
        f"their typical values): median factor {found.nominal_median_factor:.2f} (asked: "
        f"{MEDIAN_ERROR}), {found.coverage:.0%} inside the 90 % interval (asked: {COVERAGE:.0%}): "
        f"{'holds' if found.holds else 'does not hold'}. By the medians of draws: "
        f"{found.median_factor:.2f}. By these with all constants: "
        f"{found.stated_median_factor:.2f}, {found.stated_coverage:.0%}."
    )
