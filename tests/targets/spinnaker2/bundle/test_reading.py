"""Reports, read back: spikes as they were recorded, figures as measured, nothing else trusted."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.errors import FileError, NeurodeployError, TargetError
from neurodeploy.program import Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.spinnaker2.bundle.reading import read_report
from tests.targets.spinnaker2.bundle.network import MACHINE, SAMPLES, STEPS, deploy, job, spikes


@pytest.fixture(scope="module")
def finished(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with power, by the stand-in, which says so in it."""
    import shutil

    folder = Path(shutil.copytree(written, tmp_path_factory.mktemp("finished") / "bundle"))
    assert deploy(folder, "--record-power").code == 0
    return folder / "report.json"


@pytest.fixture(scope="module")
def program(written: Path) -> Program:
    return Program.load(written / "program.ndp")


@pytest.fixture
def changed(finished: Path, tmp_path: Path) -> Any:
    """A copy of the report after a change of its data."""

    def change(how: Any) -> Path:
        data = json.loads(finished.read_text("utf-8"))
        how(data)
        path = tmp_path / "report.json"
        path.write_text(json.dumps(data), "utf-8")
        return path

    return change


def pretend(data: dict[str, Any]) -> None:
    """A version without the word stand-in: what a report of a real chip has."""
    data["versions"]["spinnaker2"] = "0.8.0"


def test_the_recorded_spikes_come_back_in_time_of_the_model(finished, program) -> None:
    report = read_report(finished, program)
    given = {"input": spikes()}
    trace = report.run(program, given, timeout=1.0)
    expected = simulate(program, given, MACHINE)
    for population in program.populations:
        found = trace.spikes[population.name]
        np.testing.assert_array_equal(found, expected.spikes[population.name])
    np.testing.assert_array_equal(trace.values["read"], expected.values["read"])
    assert sum(int(trace.spikes[p.name].sum()) for p in program.populations) > 100


def test_what_ran_in_a_stand_in_was_not_measured(finished, program) -> None:
    report = read_report(finished, program)
    assert "stand-in" in report.title
    with pytest.raises(TargetError, match=r"nothing in it was measured: it ran in .*\(stand-in"):
        _ = report.measured


def test_what_ran_on_a_chip_was_measured(changed, program) -> None:
    report = read_report(changed(pretend), program)
    assert report.title == "a SpiNNaker2 chip, measured with py-spinnaker2 0.8.0"
    found = report.measured
    assert {quantity.kind for quantity in found.values()} == {"measured"}
    assert all(report.title in quantity.source for quantity in found.values())
    energy = found["energy per inference"]
    assert (energy.low, energy.typical, energy.unit) == (energy.high, energy.high, "J")
    assert energy.typical == pytest.approx(0.5 * 1e-3 * (STEPS + 4))
    assert found["slowest core in a tick"].typical == pytest.approx(0.25e-3)


def test_a_run_in_brian2_says_where_it_deviates(written: Path, tmp_path: Path, program) -> None:
    import shutil

    folder = Path(shutil.copytree(written, tmp_path / "bundle"))
    deploy(folder, "--backend", "brian2", "--samples", "1")
    report = read_report(folder / "report.json", program)
    assert "Brian2" in report.title
    assert "v > threshold" in report.title
    with pytest.raises(TargetError, match="measured"):
        _ = report.measured


def test_problems_are_passed_on(changed, program) -> None:
    def late(data: dict[str, Any]) -> None:
        data["problems"].append({"kind": "late tick", "text": "core 3"})

    assert read_report(changed(late), program).problems == ("late tick: core 3",)


def test_other_inputs_or_more_samples_than_were_run(finished, program) -> None:
    report = read_report(finished, program)
    other = {"input": 1 - spikes()}
    with pytest.raises(TargetError, match="sample 0 was run on other inputs"):
        report.run(program, other, timeout=1.0)
    with pytest.raises(TargetError, match="3 samples are asked for, 2 were run"):
        report.run(program, {"input": spikes(3)}, timeout=1.0)


def test_samples_that_did_not_finish_do_not_count(changed, program) -> None:
    def half(data: dict[str, Any]) -> None:
        del data["samples"][1]["spikes"]["late"]

    assert read_report(changed(half), program).samples == SAMPLES - 1


def bomb(data: dict[str, Any]) -> None:
    packed = base64.b64encode(zlib.compress(bytes(100_000_000))).decode()
    data["samples"][0]["spikes"]["late"] = packed


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (lambda d: d["samples"].clear(), "no sample ran to the end"),
        (lambda d: d.update(program="0" * 64), "of another program"),
        (lambda d: d.update(version=2), "not a report of version 1"),
        (lambda d: d.update(versions={}), "no sample ran to the end"),
        (lambda d: d.update(samples=3), "not a report"),
        (lambda d: d.pop("format"), "not a report"),
        (lambda d: d.update(problems=[3]), "not a report"),
        (lambda d: d.update(ticks="many"), "ticks"),
        (lambda d: d.pop("ticks"), "ticks"),
        (lambda d: d["samples"][0].update(spikes=3), "not a report"),
        (lambda d: d["samples"][0]["spikes"].update(late="no base 64"), "cannot be read"),
        (lambda d: d["samples"][0]["spikes"].update(late=None), "not a report"),
        (lambda d: d["samples"][0]["potentials"].clear(), "no sample ran to the end"),
        (lambda d: (pretend(d), d["samples"][0].update(energy_in_J=float("nan"))), "finite"),
        (lambda d: (pretend(d), d["samples"][0].update(energy_in_J="1")), "not a report"),
        (lambda d: (pretend(d), d.update(accuracy={"right": 1, "samples": 0})), "not a report"),
        (bomb, "another size"),
    ],
)
def test_a_report_is_not_trusted(changed, program, how: Any, text: str) -> None:
    with pytest.raises(NeurodeployError, match=text):
        read_report(changed(how), program).run(program, {"input": spikes()}, timeout=1.0)


def test_a_truncated_report(finished: Path, tmp_path: Path, program) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(finished.read_bytes()[:-100])
    with pytest.raises(FileError, match="not a report"):
        read_report(path, program)
    with pytest.raises(FileError, match="cannot be read"):
        read_report(tmp_path / "none.json", program)


def test_it_is_a_backend_of_verify_and_needs_its_own_program(finished, program) -> None:
    report = read_report(finished, program)
    other = replace(program, provenance={"other": "one"})
    with pytest.raises(TargetError, match="its own program only"):
        report.run(other, job().inputs, timeout=1.0)
    assert nd.read_report(finished, program).samples == SAMPLES
