"""The demo: what it must reach, and that the README says what it prints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from neurodeploy.cli import main
from neurodeploy.quantity import engineering
from tests.targets.spinnaker2.bundle.network import deploy

README = Path(__file__).resolve().parents[2] / "README.md"


def run(folder: Path, *options: str) -> dict[str, Any]:
    """The demo's JSON."""
    capture = pytest.MonkeyPatch()
    lines: list[str] = []
    capture.setattr("sys.stdout.write", lines.append)
    try:
        assert main(["demo", "--out", str(folder), "--json", *options]) == 0
    finally:
        capture.undo()
    return json.loads("".join(lines))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The demo's JSON; Lava is required."""
    return run(tmp_path_factory.mktemp("demo"))


def stage(demo: dict[str, Any], name: str) -> dict[str, Any]:
    return next(s for s in demo["verdict"]["stages"] if s["name"] == name)


def test_every_stage_ran_and_passed(demo) -> None:
    assert demo["verdict"]["status"] == "passed"
    assert [s["name"] for s in demo["verdict"]["stages"]] == [
        "import",
        "pass merge-linear",
        "lowering",
        "mapping",
        "golden",
        "vendor",
    ]


def test_lava_agrees_on_every_layer_and_step_of_100_images(demo) -> None:
    vendor = stage(demo, "vendor")
    assert vendor["samples"] >= 100
    assert [layer["population"] for layer in vendor["layers"]] == ["lif1", "lif2", "lif3"]
    assert vendor["cells"] == vendor["samples"] * 16 * (8 * 64 + 16 * 16 + 10)
    assert vendor["mismatches"] == 0


def test_accuracy(demo) -> None:
    before = demo["verdict"]["reference_accuracy"]["value"]
    after = demo["verdict"]["accuracy"]["value"]
    assert before >= 0.96
    assert abs(before - after) <= 0.01


def test_it_writes_its_files(demo) -> None:
    for name in ("digits.html", "digits.nir", "digits.ndp"):
        assert (Path(demo["folder"]) / name).stat().st_size > 10_000


def test_the_readme_says_what_the_demo_prints(demo) -> None:
    """Integer figures exactly, energies as printed.

    Float sums differ in the last bit from machine to machine, so a few of millions of spikes of the
    float models may fall the other way; those two figures may be off by one in 100,000 cells.
    """
    text = README.read_text("utf-8")
    table = text[text.index("<!-- demo figures") : text.index("It writes")]
    table = re.sub(r"\s+", " ", table)
    verdict, energy = demo["verdict"], demo["energy"]
    accuracies = [verdict[key]["value"] for key in ("reference_accuracy", "accuracy")]
    expected = [" and ".join(f"{100 * value:.2f} %" for value in accuracies)]
    said = [
        tuple(int(n.replace(",", "")) for n in pair)
        for pair in re.findall(r"([\d,]+) of ([\d,]+)", table)
    ]
    for (differing, cells), name in zip(said, ("import", "lowering", "vendor"), strict=True):
        found = stage(demo, name)
        slack = 0 if name == "vendor" else 1e-5 * cells
        assert cells == found["cells"]
        assert abs(differing - found["mismatches"]) <= slack
    expected.append(f"{energy['counted']['synaptic events']['typical']:,.0f}")
    for line in (energy["lines"][0]["total"], energy["total"]):
        low, typical, high = (engineering(line[key], "J") for key in ("low", "typical", "high"))
        assert low.split()[1] == high.split()[1]
        expected.append(f"{typical}, {low.split()[0]} to {high}")
    missing = [figure for figure in expected if figure not in table]
    assert not missing


def test_spinnaker2_and_the_bundle_that_it_writes(tmp_path: Path) -> None:
    """Accuracy, mismatch, resources, energy; and `deploy.py`, on a stand-in, equals all of it."""
    said = run(tmp_path, "--target", "spinnaker2")
    assert said["verdict"]["status"] == "passed"
    assert stage(said, "import")["cells"] > 5_000_000
    assert stage(said, "vendor")["mismatches"] == 0
    assert (
        said["verdict"]["accuracy"]["value"]
        >= said["verdict"]["reference_accuracy"]["value"] - 0.01
    )
    assert said["resources"]["chips"] == 1
    assert 1e-3 < said["energy"]["total"]["typical"] < 0.1
    deployed = deploy(tmp_path / "bundle", "--samples", "5")
    assert deployed.report["status"] == "passed", deployed.stderr
    assert deployed.report["accuracy"] == {"right": 5, "samples": 5}
