"""The DVS-gesture network of Arfa et al.: predicted power against what was measured."""

from __future__ import annotations

import pytest

import neurodeploy as nd
from neurodeploy.costs import EnergyReport
from neurodeploy.costs.estimate import LITERATURE
from neurodeploy.costs.models import BASELINE, DYNAMIC
from neurodeploy.quantity import Quantity, engineering
from neurodeploy.target import get_target
from tests.costs.provenance import unproven
from tests.dvs_gesture import dvs_gesture, gestures
from tests.pages_of_docs import check, row

LEVELS = {"0.8 V, 300 MHz": (0.5647, 1.2479), "0.5 V, 150 MHz": (0.2354, 0.4246)}
"""W of the chip with all elements asleep and with all busy (chip paper, arXiv 2607.24396)."""
PUBLISHED = 0.765e-3
"""J per tick of 1 ms at 0.8 V, on 147 elements (arXiv 2504.06748)."""
STEPS = 200
DEPTH = 5
"""Layers of neurons: a spike takes a tick from the inputs and from layer to layer."""


@pytest.fixture(scope="module")
def reports() -> dict[str, EnergyReport]:
    program = nd.compile(dvs_gesture(), target="spinnaker2", calibration=gestures(1, 1, STEPS))
    trace = nd.run(program, gestures(2, 4, STEPS))
    return {level: nd.energy(program, trace, level=level) for level in LEVELS}


@pytest.mark.parametrize("level", LEVELS)
def test_power_lies_between_the_sleeping_and_the_busy_chip(
    level: str, reports: dict[str, EnergyReport]
) -> None:
    report = reports[level]
    asleep, busy = LEVELS[level]
    assert asleep < report.power.typical < busy
    assert report.power.high < busy
    assert report.dominant.line == BASELINE
    ticks = report.counted["chip steps"].typical
    assert ticks == STEPS + DEPTH
    assert report.counted["barriers"].typical == 0
    assert report.counted["neuron updates"].typical == 7_859 * ticks
    assert not list(unproven(report.to_dict()))


def test_the_first_level_is_the_one_without_a_name(reports: dict[str, EnergyReport]) -> None:
    chip = get_target("spinnaker2").chip
    assert chip.at_level().title == reports["0.8 V, 300 MHz"].chip


def test_the_table_in_the_documentation(reports: dict[str, EnergyReport]) -> None:
    rows = [row("per tick of 1 ms", *LEVELS), row("---", *["---"] * len(LEVELS))]

    def line(name: str, of: dict[str, Quantity]) -> None:
        cells = []
        for level, value in of.items():
            ticks = reports[level].counted["chip steps"].typical
            low, typical, high = (
                engineering(v / ticks, "J") for v in (value.low, value.typical, value.high)
            )
            cells.append(f"{typical}, {low} to {high}")
        rows.append(row(name, *cells))

    for name in (BASELINE, DYNAMIC):
        line(name, {level: report.line(name).total for level, report in reports.items()})
    line("total", {level: report.total for level, report in reports.items()})
    rows.append(row("published (arXiv 2504.06748)", engineering(PUBLISHED, "J"), ""))
    at_high = reports["0.8 V, 300 MHz"]
    predicted = at_high.total.typical / at_high.counted["chip steps"].typical
    rows.append(row("predicted over published", f"{predicted / PUBLISHED:.2f}", ""))
    line(
        f"{LITERATURE} (not in the total)",
        {level: report.comparisons[LITERATURE] for level, report in reports.items()},
    )
    check("energy.md", "gestures", "\n".join(rows))
