"""Models of chips beside Loihi, processors, and what a report says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.chip import Chip, load_chip
from neurodeploy.costs import EnergyReport, count, estimate, metrics
from neurodeploy.costs.baselines import processors
from neurodeploy.costs.chips import ENERGY_ONLY, energy_only
from neurodeploy.costs.draws import evaluate
from neurodeploy.costs.estimate import ARITHMETIC, LITERATURE
from neurodeploy.costs.models import BASELINE, DYNAMIC, HOST, IDLE, SPINNAKER1, SPINNAKER2
from neurodeploy.errors import FileError, InputError, TargetError
from neurodeploy.quantity import Quantity
from tests.costs.provenance import unproven

FILE = Path(__file__).parents[2] / "targets" / "spinnaker2" / "spinnaker2.toml"
HIGH, LOW = "0.8 V, 300 MHz", "0.5 V, 150 MHz"
BUSY = {HIGH: 1.2479, LOW: 0.4246}
"""W of a chip with all of 152 elements busy (chip paper, arXiv 2607.24396)."""


@pytest.fixture(scope="module")
def spinnaker2() -> Chip:
    return load_chip(FILE)


def typical(chip: Chip) -> Chip:
    """Without uncertainty."""
    return replace(
        chip,
        constants={n: replace(q, low=q.typical, high=q.typical) for n, q in chip.constants.items()},
    )


def report(case: Callable, chip: Chip, level: str | None = None) -> EnergyReport:
    one = case(0)
    counts = count(one.program, one.trace, one.placement)
    return estimate(counts, chip.at_level(level), one.placement, metrics(one.program, one.trace))


@pytest.mark.parametrize("level", [HIGH, LOW])
def test_a_chip_with_all_elements_busy(spinnaker2: Chip, level: str) -> None:
    """The constants give back the measured powers of the sleeping and of the busy chip."""
    chip = typical(spinnaker2.at_level(level))
    megahertz = 300e6 if level == HIGH else 150e6
    activity = {"seconds": 1, "chips": 1, "cycles": 152 * megahertz}
    drawn = evaluate(SPINNAKER2, activity, chip)
    assert drawn.total[0] == pytest.approx(BUSY[level], rel=0.005)
    assert drawn.sum(BASELINE)[0] == pytest.approx(0.565 if level == HIGH else 0.235)


def test_lines_of_spinnaker2(case: Callable, spinnaker2: Chip) -> None:
    high, low = report(case, spinnaker2), report(case, spinnaker2, LOW)
    assert high.chip == f"SpiNNaker2, {HIGH}"
    assert low.chip == f"SpiNNaker2, {LOW}"
    assert [line.name for line in high.lines] == [DYNAMIC, BASELINE]
    assert high.dominant.part == "sleeping chip"
    assert high.dominant.share.low > 0.9
    assert high.line(BASELINE).total.typical > 2 * low.line(BASELINE).total.typical
    steps = high.counted["chip steps"].typical
    assert high.latency.low == high.latency.high == pytest.approx(1e-3 * steps)
    assert set(high.comparisons) >= {ARITHMETIC, LITERATURE}
    in_circulation = (
        0.45e-9 * high.counted["synaptic events"].typical
        + 2.19e-9 * high.counted["neuron updates"].typical
    )
    assert high.comparisons[LITERATURE].typical == pytest.approx(in_circulation, rel=0.01)
    assert any("error of the model itself is unknown" in note for note in high.notes)
    with pytest.raises(FileError, match=r"no performance level 'x'.*It has: 0.8 V, 300 MHz, 0.5 V"):
        spinnaker2.at_level("x")


def test_cycles_per_event_update_and_tick(case: Callable, spinnaker2: Chip) -> None:
    chip = typical(spinnaker2.at_level(HIGH))
    found = report(case, chip)
    counted = {name: q.typical for name, q in found.counted.items()}
    cycles = {
        "synaptic events": 25 * counted["synaptic events"],
        "neuron updates": 150 * counted["neuron updates"],
        "ticks of processing elements": 2000 * counted["core steps"],
    }
    for name, value in cycles.items():
        assert found.line(DYNAMIC).parts[name].typical == pytest.approx(15e-12 * value, rel=0.01)


def test_spinnaker1_is_known_by_its_energy_only() -> None:
    assert ENERGY_ONLY == ("spinnaker1",)
    chip = typical(energy_only("spinnaker1"))
    activity = {
        "synaptic events": 1e6,
        "neuron updates": 1e4,
        "spikes": 1e3,
        "input messages": 100,
        "chips": 48,
        "seconds": 1,
    }
    drawn = evaluate(SPINNAKER1, activity, chip)
    assert drawn.sum(DYNAMIC)[0] == pytest.approx(8e-3 + 92e-5 + 1e-5)
    assert drawn.sum(IDLE)[0] == pytest.approx(23.05, rel=0.001)
    assert drawn.sum(HOST)[0] == pytest.approx(3.4e-4)


def test_a_chip_without_a_model_has_no_energy(case: Callable, spinnaker2: Chip) -> None:
    with pytest.raises(TargetError, match="no energies or times are known"):
        report(case, replace(spinnaker2, energy_model="", levels={}))


def test_processors_follow_their_measured_curves() -> None:
    xeon, quadro = processors()
    assert xeon.energy(172_800, 1).typical == pytest.approx(6.677e-3)
    assert quadro.energy(172_800, 64).typical == pytest.approx(0.731e-3)
    # Half the network takes as long; of 21 networks the throughput is the bound.
    assert xeon.energy(86_400, 1).typical == pytest.approx(6.677e-3)
    assert xeon.energy(42 * 172_800, 1).typical == pytest.approx(2 * 6.677e-3, rel=0.01)
    for one in (xeon, quadro):
        for batch in one.curve:
            for operations in (1e3, 172_800, 1e8):
                found = one.energy(operations, batch)
                assert 0 < found.low <= found.typical <= found.high
    assert max(j for j, _ in xeon.curve.values()) > 19 * min(j for j, _ in xeon.curve.values())


@pytest.mark.parametrize("which", ["loihi2", "spinnaker2"])
def test_every_joule_second_and_watt_has_its_kind_and_source(
    which: str, case: Callable, chip: Chip, spinnaker2: Chip
) -> None:
    data = json.loads(json.dumps(report(case, chip if which == "loihi2" else spinnaker2).to_dict()))
    assert not list(unproven(data))
    data["power"] = 3.0
    data["lines"][0]["total"]["source"] = " "
    assert list(unproven(data)) == ["/lines/0/total", "/power"]


def test_what_was_measured_stands_beside(case: Callable, spinnaker2: Chip) -> None:
    found = report(case, spinnaker2)
    power = Quantity(0.7, 0.71, 0.72, "W", "measured", "shunts of the board, 20 s")
    assert (
        found.with_measured({"power": power}).to_dict()["measured"]["power"]["kind"] == "measured"
    )
    with pytest.raises(InputError, match="power: is derived, not measured"):
        found.with_measured({"power": replace(power, kind="derived")})


def test_the_largest_part_is_named(case: Callable, chip: Chip) -> None:
    found = report(case, chip)
    parts = {(line.name, n): q.typical for line in found.lines for n, q in line.parts.items()}
    assert (found.dominant.line, found.dominant.part) == max(parts, key=parts.__getitem__)
    assert 0 < found.dominant.share.low <= found.dominant.share.high <= 1
    assert np.isclose(found.power.typical, found.total.typical / found.latency.typical, rtol=0.2)
