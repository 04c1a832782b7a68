"""The page of models: that it says what its JSON says, and that rows come out again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy.models import digits, table
from neurodeploy.models.results import OnChip, Results, Row, page
from neurodeploy.models.system import SYSTEMS, Ablation, Arm

FOLDER = Path(table.__file__).resolve().parent


@pytest.fixture(scope="module")
def results() -> Results:
    return Results.read(FOLDER / "results.json")


def stored(results: Results, system: str, data: str) -> Row:
    return next(row for row in results.rows if (row.system, row.data) == (system, data))


def experiment(system: str, data: str) -> table.Experiment:
    return next(e for e in table.EXPERIMENTS if (e.system, e.data) == (system, data))


def test_the_page_says_what_the_results_say(results: Results) -> None:
    assert (FOLDER / "README.md").read_text("utf-8") == page(results)
    assert results.to_json() == (FOLDER / "results.json").read_text("utf-8")


def test_the_results_are_of_these_recipes_and_say_what_is_missing(results: Results) -> None:
    made = {(e.system, e.data): e for e in table.EXPERIMENTS}
    found = {(row.system, row.data): row for row in results.rows}
    assert list(found) == [key for key in made if key in found]
    assert set(results.missing) == {
        *(f"{name} on {data}" for name, data in made if (name, data) not in found),
        *(f"the ablation of {name}" for name in SYSTEMS if name not in results.ablations),
    }
    for key, row in found.items():
        assert row.recipe == json.loads(json.dumps(asdict(made[key].recipe())))
        assert set(row.chips) == {"loihi2", "spinnaker2"}
    for found in results.ablations.values():
        for one in found:
            assert len(one.seeds) >= 3
            assert all(len(arm.values) == len(one.seeds) for arm in one.arms)


def same(row: Row, again: Row, points: float) -> None:
    """Equal up to what float sums of another machine may do."""
    for share, other in ((row.floating, again.floating), (row.deployed, again.deployed)):
        assert other.trials == share.trials
        assert other.value == pytest.approx(share.value, abs=points)
    for target, on_chip in row.chips.items():
        found = again.chips[target]
        assert isinstance(on_chip, OnChip)
        assert isinstance(found, OnChip)
        assert found.accuracy.value == pytest.approx(on_chip.accuracy.value, abs=points)
        assert found.cores == on_chip.cores
        for name in ("spikes", "core", "total"):
            one, other = getattr(on_chip, name), getattr(found, name)
            assert (one.unit, one.kind) == (other.unit, other.kind)
            assert other.typical == pytest.approx(one.typical, rel=4 * points)


def test_the_shipped_network_is_the_row_of_the_baseline(results: Results) -> None:
    made = experiment("baseline", "digits")
    again = table.measure(made, made.samples(), digits.load(), tuning=None)
    same(stored(results, "baseline", "digits"), again, 0.003)


def test_a_row_that_is_trained_again(results: Results) -> None:
    made = experiment("ds-atgo", "digits")
    data = made.samples()
    again = table.measure(made, data, table.train(made, data), tuning=None)
    same(stored(results, "ds-atgo", "digits"), again, 0.03)


def test_a_chip_that_refuses_says_why() -> None:
    graph = nir.NIRGraph.from_list(
        nir.Input(input_type={"input": np.array([2])}),
        nir.CubaLIF(*(np.full(2, v) for v in (0.02, 0.02, 1.0, 0.0, 1.0))),
        nir.Output(output_type={"output": np.array([2])}),
    )
    samples = np.ones((1, 4, 2), np.uint8), np.zeros(1, np.int64)
    found = table.on_chip(graph, "spinnaker2", samples, samples)
    assert isinstance(found, str)


def test_a_page_of_refusals_and_other_units() -> None:
    row = Row.from_dict(
        {
            "system": "made",
            "data": "glyphs28",
            "synthetic": True,
            "recipe": {"epochs": 1},
            "training_samples": 3,
            "floating": {"successes": 1, "trials": 4},
            "deployed": {"successes": 2, "trials": 4},
            "chips": {"loihi2": "no such neuron", "spinnaker2": "too large"},
        }
    )
    arms = (Arm("with", (0.5, 0.75)), Arm("without", (3.0, 5.0)))
    spikes = Ablation("it saves", "spikes", "spikes", "digits", (0, 1), arms, "It does not.")
    made = Results((row,), {"made": "A made one"}, {"made": (spikes,)}, {"numpy": "2"})
    text = page(made)
    assert "| `made` | glyphs28† | 25.0 (4.6–69.9) | 50.0 (15.0–85.0) | refused: no such" in text
    assert "| 0.625 ± 0.18 spikes | 4 ± 1.4 spikes |" in text
    assert "*It does not.*" in text
