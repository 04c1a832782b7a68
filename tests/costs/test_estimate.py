"""The estimate against published figures, and what must hold for every program."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.chip import Chip
from neurodeploy.costs import Counts, EnergyReport, count, estimate
from neurodeploy.costs.estimate import ARITHMETIC, Line
from neurodeploy.costs.models import CORE, HOST, LOIHI, STATIC, product
from neurodeploy.costs.sampling import DRAWS, constant, triangular
from neurodeploy.errors import FileError
from neurodeploy.mapped import Mapped
from neurodeploy.mapping import Placement
from neurodeploy.mapping.traffic import Links, links
from neurodeploy.quantity import Kind, Quantity
from neurodeploy.trace import Trace

# PilotNet, leaky integrate-and-fire, one step on Loihi 2: synaptic events and neurons as published
# (lava-dl, netx/pilotnet_snn/benchmark.ipynb @d825ac50), spikes simulated, packets and hops
# estimated.
CORE_TERMS = tuple(term for term in LOIHI.terms if term.line == CORE)
ENERGIES = tuple(term.constants[0] for term in CORE_TERMS)
PILOTNET = {
    "synaptic events": 2_286_000,
    "neuron updates": 158_509,
    "spikes": 34_434,
    "packets": 53_000,
    "hops": 6 * 53_000,
    "core steps": 74,
}
MEASURED_CORE = 68.35e-6
MEASURED_STEP = 152.85e-6


def pilotnet() -> tuple[Counts, Placement]:
    def one(value: int) -> np.ndarray:
        return np.array([value])

    def on_cores(total: int, busiest: int) -> np.ndarray:
        others = (total - busiest) // 73
        return np.array([[busiest, *[others] * 73]])

    counts = Counts(
        steps=one(1),
        chip_steps=one(1),
        synaptic_events={"all": one(PILOTNET["synaptic events"])},
        updates={"all": one(PILOTNET["neuron updates"])},
        spikes={"all": one(PILOTNET["spikes"])},
        packets={"all": one(PILOTNET["packets"])},
        hops={"all": one(PILOTNET["hops"])},
        inputs={"in": one(0)},
        outputs={"all": one(0)},
        host_bytes=one(0),
        core_events=on_cores(PILOTNET["synaptic events"], 151_000),
        core_updates=on_cores(PILOTNET["neuron updates"], 3_168),
        core_spikes=on_cores(PILOTNET["spikes"], 1_200),
        core_packets=on_cores(PILOTNET["packets"], 0),
        barriers=one(1),
        links=Links(*np.zeros((4, 1, 1, 1), np.int64)),
    )
    core = {"all": np.arange(158_509) * 74 // 158_509}
    tiles = np.zeros((74, 2), np.int64)
    mapped = Mapped(core, tiles, (0, 0), 1, 1, 0, "one spike of each neuron")
    no_links = links(np.zeros((75, 74), np.int64), tiles, (0, 0))
    return counts, Placement(mapped, {}, (), barrier=True, links=no_links)


def core_terms(constants: dict[str, float]) -> dict[str, float]:
    """Every part of PilotNet's core line with these constants."""
    return {term.name: product(term, constants.__getitem__, PILOTNET) for term in CORE_TERMS}


def with_constants(chip: Chip, **values: tuple[float, float, float]) -> Chip:
    changed = {
        name: replace(chip.constants[name], low=low, typical=typical, high=high)
        for name, (low, typical, high) in values.items()
    }
    return replace(chip, constants={**chip.constants, **changed})


def test_typical_core_energy_of_pilotnet(chip: Chip) -> None:
    """Worked example: 67.4 uJ per step with 23.6 pJ per synaptic event, without core steps."""
    typical = {name: chip.constant(name).typical * 1e-12 for name in ENERGIES}
    typical |= {"e_syn": 23.6e-12, "e_core_step": 0.0}
    terms = core_terms(typical)
    assert sum(terms.values()) == pytest.approx(67.4e-6, rel=0.005)
    expected = {"synaptic events": 53.9, "neuron updates": 8.2, "spikes": 1.2, "packets": 2.9}
    for name, value in {**expected, "hops": 1.1}.items():
        assert terms[name] == pytest.approx(value * 1e-6, rel=0.03)


def test_interval_of_pilotnet(chip: Chip) -> None:
    """Worked example: 90 % interval 40 to 129 uJ, with the ranges of Loihi 1."""
    loihi1 = with_constants(chip, e_syn=(20, 23.6, 35.5), e_upd=(31, 52, 81), e_core_step=(0, 0, 0))
    core = estimate(*_swap(pilotnet(), loihi1)).line(CORE).total
    assert core.low == pytest.approx(40e-6, rel=0.03)
    assert core.high == pytest.approx(129e-6, rel=0.03)


def test_estimate_of_pilotnet_holds_the_measurement(chip: Chip) -> None:
    report = estimate(*_swap(pilotnet(), chip))
    core = report.line(CORE).total
    assert core.typical == pytest.approx(MEASURED_CORE, rel=0.06)
    assert core.low == pytest.approx(35.8e-6, rel=0.03)
    assert core.high == pytest.approx(117e-6, rel=0.03)
    assert report.latency.low < MEASURED_STEP < report.latency.high
    assert report.comparisons[ARITHMETIC].typical < 0.04 * MEASURED_CORE
    assert "not an estimate" in report.comparisons[ARITHMETIC].source


def test_lower_bound_of_pilotnet_latency(chip: Chip) -> None:
    """151 k events x 0.76 ns + 3168 x 4.85 ns + 1200 x 3 ns + 0.2 us = 134 us."""
    no_slack = with_constants(
        chip, latency_slack=(1, 1, 1), t_sync=(200, 200, 200), t_mgmt=(0, 0, 0)
    )
    latency = estimate(*_swap(pilotnet(), no_slack)).latency
    assert latency.low == pytest.approx(134e-6, rel=0.005)
    assert latency.high == pytest.approx(latency.low)


def test_without_uncertainty_the_report_is_the_formulas(chip: Chip) -> None:
    typical = {name: (c.typical,) * 3 for name, c in chip.constants.items()}
    exact = with_constants(
        chip, **{**typical, "model_gsd_core": (1, 1, 1), "model_gsd_total": (1, 1, 1)}
    )
    counts, placement = pilotnet()
    counts = replace(counts, inputs={"in": np.array([300])}, outputs={"all": np.array([20])})
    report = estimate(counts, exact, placement)
    constants = {name: chip.constant(name).typical * 1e-12 for name in ENERGIES}
    terms = core_terms(constants | {"e_core_step": 10e-9})
    time = 151_000 * 0.76e-9 + 3_168 * 4.85e-9 + 1_200 * 3e-9 + 0.2e-6 + 3e-6
    expected = {
        "latency": (report.latency, time),
        "static": (report.line(STATIC).parts["static"], 0.2 * time),
        "management": (report.line(STATIC).parts["management"], 0.8 * time),
        "inputs": (report.line(HOST).parts["input messages"], 300 * 3.9e-9),
        "outputs": (report.line(HOST).parts["output messages"], 20 * 3.9e-9),
        "core": (report.line(CORE).total, sum(terms.values())),
        "total": (report.total, sum(terms.values()) + time + 320 * 3.9e-9),
        "arithmetic": (report.comparisons[ARITHMETIC], 2_286_000 * 0.9e-12),
        **{name: (report.line(CORE).parts[name], value) for name, value in terms.items()},
    }
    for name, (quantity, value) in expected.items():
        assert quantity.low == pytest.approx(value, rel=1e-9), name
        assert quantity.high == pytest.approx(value, rel=1e-9), name


def test_nominal_energy_is_mean_counts_times_typical_constants(chip: Chip) -> None:
    counts, placement = pilotnet()
    counts = replace(counts, inputs={"in": np.array([300])}, outputs={"all": np.array([20])})
    report = estimate(counts, chip, placement)
    constants = {name: chip.constant(name).typical * 1e-12 for name in ENERGIES}
    terms = core_terms(constants | {"e_core_step": 10e-9})
    management = chip.constant("t_mgmt").typical * 1e-6
    time = 151_000 * 0.76e-9 + 3_168 * 4.85e-9 + 1_200 * 3e-9 + 0.2e-6 + management
    core = report.line(CORE)
    assert {n: q.typical for n, q in core.nominal_parts.items()} == pytest.approx(terms)
    assert core.nominal.typical == pytest.approx(sum(terms.values()))
    assert report.line(STATIC).nominal.typical == pytest.approx(time)
    assert report.nominal.typical == pytest.approx(sum(terms.values()) + time + 320 * 3.9e-9)
    assert report.nominal.typical == pytest.approx(sum(x.nominal.typical for x in report.lines))


def _swap(counted: tuple[Counts, Placement], chip: Chip) -> tuple[Counts, Chip, Placement]:
    return counted[0], chip, counted[1]


def run(case: Any, chip: Chip) -> EnergyReport:
    return estimate(count(case.program, case.trace, case.placement), chip, case.placement)


def quantities(report: EnergyReport) -> list[Quantity]:
    lines = report.lines
    return [
        report.total,
        report.nominal,
        report.latency,
        report.comparisons[ARITHMETIC],
        *report.counted.values(),
        *(quantity for line in lines for quantity in _all_of(line)),
    ]


def _all_of(line: Line) -> tuple[Quantity, ...]:
    return (line.total, *line.parts.values(), line.nominal, *line.nominal_parts.values())


def test_every_number_has_unit_kind_source_and_order(case: Callable, chip: Chip) -> None:
    report = run(case(0), chip)
    for quantity in quantities(report):
        assert quantity.low <= quantity.typical <= quantity.high
        assert quantity.kind in get_args(Kind)
        assert quantity.source
        assert quantity.unit in ("J", "s", "1")
        assert (quantity.kind == "counted") == (quantity.unit == "1")


def test_three_lines_stand_apart(case: Callable, chip: Chip) -> None:
    report = run(case(0), chip)
    assert tuple(report.line(CORE).parts) == tuple(term.name for term in CORE_TERMS)
    assert tuple(report.line(STATIC).parts) == ("static", "management")
    assert tuple(report.line(HOST).parts) == ("input messages", "output messages")
    for line in report.lines:
        assert line.total.high <= sum(part.high for part in line.parts.values()) * (1 + 1e-9)
        assert line.total.low >= sum(part.low for part in line.parts.values()) * (1 - 1e-9)


def test_same_input_same_report(case: Callable, chip: Chip) -> None:
    first, second = run(case(4), chip), run(case(4), chip)
    assert first == second
    data = first.to_dict()
    assert json.loads(json.dumps(data)) == json.loads(json.dumps(second.to_dict()))
    assert data["lines"][0]["total"]["unit"] == "J"


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), rate=st.floats(0.05, 0.4))
def test_more_spikes_never_cost_less(seed: int, rate: float, case: Callable, chip: Chip) -> None:
    quiet = case(seed, rate)
    extra = np.random.default_rng(seed + 1)
    louder = quiet._replace(
        trace=Trace(
            {
                name: np.maximum(spikes, extra.random(spikes.shape) < 0.2).astype(np.uint8)
                for name, spikes in quiet.trace.spikes.items()
            }
        )
    )
    before, after = run(quiet, chip), run(louder, chip)
    for old, new in zip(quantities(before), quantities(after), strict=True):
        for bound in ("low", "typical", "high"):
            assert getattr(new, bound) >= getattr(old, bound) * (1 - 1e-12)


def test_constants_are_drawn_alike_for_all_programs_of_a_chip(chip: Chip) -> None:
    draws = constant(chip, "e_syn")
    assert draws.shape == (DRAWS,)
    assert draws.tolist() == constant(chip, "e_syn").tolist()
    assert draws.tolist() != constant(chip, "e_upd").tolist()
    assert 14e-12 <= draws.min() <= draws.max() <= 30e-12
    other = replace(chip, name="another")
    assert draws.tolist() != constant(other, "e_syn").tolist()


@given(
    u=st.floats(0, 1),
    bounds=st.lists(st.floats(0, 100, allow_subnormal=False), min_size=3, max_size=3),
)
def test_triangular_quantiles_invert_the_distribution(u: float, bounds: list[float]) -> None:
    low, mode, high = sorted(bounds)
    x = float(triangular(np.array(u), low, mode, high))
    assert low - 1e-9 <= x <= high + 1e-9
    if min(high - low, mode - low, high - mode) > 1e-3:
        if x < mode:
            found = (x - low) ** 2 / ((high - low) * (mode - low))
        else:
            found = 1 - (high - x) ** 2 / ((high - low) * (high - mode))
        assert math.isclose(found, u, abs_tol=1e-6)


def test_extrapolation_is_stated(case: Callable, chip: Chip) -> None:
    notes = run(case(0, 0.5), chip).notes
    assert any("Extrapolated: firing rate is 0." in note for note in notes)
    assert any("Extrapolated: fan out" in note for note in notes)
    assert not any("Extrapolated: cores" in note for note in notes)
    assert any("not pipelined" in note for note in notes)
    assert set(chip.notes) <= set(notes)
    assert not any("Extrapolated" in note for note in estimate(*_swap(pilotnet(), chip)).notes)


def test_silence_is_a_result(case: Callable, chip: Chip) -> None:
    report = run(case(5, 0.0), chip)
    assert report.line(CORE).parts["synaptic events"].high == 0
    assert report.line(CORE).parts["neuron updates"].low > 0
    assert any("firing rate is 0 " in note for note in report.notes)


def test_several_chips_pay_static_power_each(case: Callable, chip: Chip) -> None:
    one = case(6)
    mapped = replace(one.placement.mapped, chips=3)
    three = one._replace(placement=replace(one.placement, mapped=mapped))
    single, triple = run(one, chip), run(three, chip)
    assert triple.line(STATIC).total.typical == pytest.approx(3 * single.line(STATIC).total.typical)
    assert triple.line(CORE) == single.line(CORE)
    assert any("3 chips" in note for note in triple.notes)


def test_a_constant_that_is_missing_or_in_another_unit_is_named(case: Callable, chip: Chip) -> None:
    constants = {name: value for name, value in chip.constants.items() if name != "e_hop"}
    with pytest.raises(FileError, match="loihi2: its chip file has no constant 'e_hop'"):
        run(case(0), replace(chip, constants=constants))
    wrong = replace(chip.constants["e_syn"], unit="mW")
    with pytest.raises(FileError, match="constant e_syn is in 'mW', expected one of pJ, nJ"):
        run(case(0), replace(chip, constants={**chip.constants, "e_syn": wrong}))
