"""From a model to a bundle, through `deploy.py` on a stand-in, and back as the vendor's runtime."""

from __future__ import annotations

import json
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy.cli import main
from tests.builders import ZERO, lif
from tests.targets.spinnaker2.bundle.network import deploy

COMPILE = ["compile", "model.nir", "--target", "spinnaker2", "--calibration", "x.npy", "-o"]
VERIFY = ["verify", "bundle/program.ndp", "--inputs", "bundle/inputs.npz"]
REPORT = ["--report", "bundle/report.json"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    random = np.random.default_rng(0)
    graph = nir.NIRGraph(
        {
            "input": nir.Input(np.array([6])),
            "fc": nir.Affine(random.normal(0.3, 0.4, (4, 6)), np.full(4, 0.05)),
            "lif": lif(np.full(4, 0.9), 1.0, ZERO),
            "output": nir.Output(np.array([4])),
        },
        [("input", "fc"), ("fc", "lif"), ("lif", "output")],
        type_check=False,
    )
    nir.write(str(tmp_path / "model.nir"), graph)
    np.save(tmp_path / "x.npy", (random.random((6, 12, 6)) < 0.4).astype(np.uint8))
    np.save(tmp_path / "y.npy", random.integers(0, 4, 6))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_and_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The golden traces run on the stand-in; what it recorded is the vendor stage."""
    assert main([*COMPILE, "bundle/"]) == 0
    assert deploy(folder / "bundle").report["status"] == "passed"
    capsys.readouterr()
    assert main([*VERIFY, *REPORT, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    vendor = next(stage for stage in said["stages"] if stage["name"] == "vendor")
    assert (vendor["status"], vendor["samples"], vendor["mismatches"]) == ("passed", 4, 0)
    assert "stand-in" in vendor["title"]
    assert said["report"]["problems"] == []


def test_inputs_and_labels_of_ones_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMPILE, "model.ndp"]) == 0
    options = ["--inputs", "x.npy", "--labels", "y.npy", "-o", "bundle"]
    assert main(["bundle", "model.ndp", *options]) == 0
    run = deploy(folder / "bundle")
    assert run.report["accuracy"]["samples"] == 6
    labelled = [*VERIFY, "--labels", "bundle/inputs.npz", *REPORT]
    assert main(labelled) == 0
    assert "stand-in" in capsys.readouterr().out


def test_what_a_run_complained_of_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every spike is equal, but a tick was late."""
    assert main([*COMPILE, "bundle/"]) == 0
    deploy(folder / "bundle", fault="late")
    assert main([*VERIFY, *REPORT]) == 1
    assert "late tick: sample 0" in capsys.readouterr().out


def test_spikes_that_were_lost_are_differences(folder: Path, capsys) -> None:
    assert main([*COMPILE, "bundle/"]) == 0
    deploy(folder / "bundle", fault="lost")
    capsys.readouterr()
    assert main([*VERIFY, *REPORT, "--json"]) == 1
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [stage["mismatches"] for stage in stages if stage["name"] == "vendor"] == [4]


def test_only_a_chip_measures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second report has the stand-in's figures under a version that does not say so."""
    assert main([*COMPILE, "bundle/"]) == 0
    run = deploy(folder / "bundle", "--record-power")
    energy = ["energy", *VERIFY[1:], *REPORT]
    assert main(energy) == 2
    assert "nothing in it was measured" in capsys.readouterr().err
    run.report["versions"]["spinnaker2"] = "0.8.0"
    (folder / "bundle" / "report.json").write_text(json.dumps(run.report), "utf-8")
    assert main([*energy, "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)["measured"]
    assert measured["energy per inference"]["kind"] == "measured"
    assert main(energy) == 0
    assert "estimate over measured: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ([*VERIFY, *REPORT, "--backend", "ticks"], "is the vendor's runtime already"),
        ([*VERIFY, *REPORT, "--no-vendor"], "is the vendor's runtime already"),
        ([*VERIFY, "--report", "none.json"], "cannot be read"),
        (["bundle", "bundle/program.ndp", "-o", "."], "holds other files"),
    ],
)
def test_wrong_use(folder: Path, capsys, command: list[str], text: str) -> None:
    assert main([*COMPILE, "bundle/"]) == 0
    assert main(command) == 2
    assert text in capsys.readouterr().err


def test_a_target_without_bundles(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loihi2" if word == "spinnaker2" else word for word in COMPILE] + ["b/"]) == 2
    assert "target loihi2: it has no bundles. Its programs are .ndp files." in (
        capsys.readouterr().err
    )
