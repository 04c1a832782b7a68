"""`verify` as a gate of continuous integration, and `diff`."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

import jsonschema
import nir
import numpy as np
import pytest
from junitparser import JUnitXml

from neurodeploy import api, reference
from neurodeploy.cli import main
from neurodeploy.program import Program
from tests.builders import SUBTRACT, chain, lif, spikes_for


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two programs for one model and one for another, inputs, labels and the reference's spikes."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    inputs = spikes_for(1, 20, 12, (6,))
    np.save(folder / "x.npy", inputs)
    first, other = (
        chain(
            (6,),
            fc=nir.Linear(rng.normal(0.3, 0.4, (4, 6))),
            lif=lif(np.full(4, 0.9), semantics=SUBTRACT),
        )
        for _ in range(2)
    )
    for name, graph, target in (
        ("a", first, "loihi2"), ("b", first, "cpu8"), ("c", other, "loihi2"),
    ):  # fmt: skip
        api.compile(graph, target=target, calibration=inputs).save(folder / f"{name}.ndp")
    network = api.network_of(Program.load(folder / "a.ndp"))
    source = reference.simulate(network, inputs)
    np.savez(folder / "source.npz", lif=source.spikes["lif"])
    np.save(folder / "y.npy", source.decisions("lif"))
    return folder


@pytest.fixture
def run(files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in the folder: its exit code, and its JSON."""
    monkeypatch.chdir(files)

    def command(text: str) -> tuple[int, dict[str, Any]]:
        code = main([*text.split(), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return command


VERIFY = "verify a.ndp --inputs x.npy --labels y.npy --no-vendor"


def test_the_json_keeps_the_schema_that_the_package_has(run: Any) -> None:
    text = importlib.resources.files("neurodeploy.equivalence").joinpath("verdict.schema.json")
    schema = json.loads(text.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    labelled = run(f"{VERIFY} --source source.npz --junit j.xml --fail-over accuracy-drop=1")
    for _, verdict in (labelled, run("verify b.ndp --inputs x.npy --no-vendor")):
        validator.validate(verdict)
        assert set(verdict) - {"junit"} == set(schema["required"])
        assert not list(validator.iter_errors({**verdict, "page": "p.html"}))
        assert list(validator.iter_errors({**verdict, "status": "fine"}))
    assert labelled[1]["paired"]["gained"] == 0
    assert labelled[1]["stages"][2]["layers"]


def test_a_stage_that_was_left_out_fails_a_strict_run(run: Any, files: Path) -> None:
    lax = "--fail-over accuracy-drop=1"
    assert run(f"{VERIFY} {lax}")[0] == 0
    assert run(f"{VERIFY} {lax} --strict --junit strict.xml")[0] == 1
    assert JUnitXml.fromfile(str(files / "strict.xml")).errors == 2
    code, verdict = run(f"{VERIFY} {lax} --source source.npz --junit lax.xml")
    assert (code, verdict["status"]) == (0, "incomplete")
    counts = JUnitXml.fromfile(str(files / "lax.xml"))
    assert (counts.errors, counts.failures, counts.skipped) == (0, 0, 1)
    cpu = "verify b.ndp --inputs x.npy --source source.npz --strict"
    code, verdict = run(f"{cpu} --fail-under agreement=0")
    assert (code, verdict["status"]) == (0, "passed")


@pytest.mark.parametrize(
    ("gates", "code"),
    [
        ("--fail-under agreement=0 --fail-over mismatch-rate=1", 0),
        ("--fail-under agreement=1.01", 1),
        ("--fail-over mismatch-rate=-0.01", 1),
        ("--fail-over accuracy-drop=-1.01", 1),
        ("--fail-under agreement=0 --fail-over accuracy-drop=1 --fail-over mismatch-rate=-1", 1),
    ],
)
def test_gates(gates: str, code: int, run: Any) -> None:
    found, verdict = run(f"{VERIFY} {gates}")
    assert found == code
    lowering = next(s for s in verdict["stages"] if s["name"] == "lowering")
    assert len(lowering["gates"]) == gates.count("--fail")
    assert all(gate["passed"] for gate in lowering["gates"]) == (code == 0)


def test_diff_of_programs(run: Any) -> None:
    code, found = run("diff a.ndp a.ndp")
    assert (code, found["equal"], found["fields"], found["first"]) == (0, True, [], None)
    code, found = run("diff a.ndp c.ndp --inputs x.npy")
    assert (code, found["equal"]) == (1, False)
    assert any(field.startswith("weight of ") for field in found["fields"])
    layer = next(x for x in found["layers"] if x["population"] == "lif")
    assert layer["cells"] == 20 * 12 * 4
    assert layer["mismatches"] > 0
    assert found["distances"][-1]["van_rossum"] > 0
    code, found = run("diff a.ndp b.ndp --inputs x.npy")
    assert "target" in found["fields"]


def test_diff_of_a_program_and_a_trace(run: Any, files: Path) -> None:
    """Also without inputs: a trace that `run` writes holds them."""
    run("run a.ndp --inputs x.npy -o a.npz")
    assert run("diff a.ndp a.npz")[0] == 0
    assert run("diff a.npz a.npz")[0] == 0
    with np.load(files / "a.npz") as trace:
        spikes = {name: trace[name].copy() for name in trace.files}
    spikes["lif"][3, 5, 2] ^= 1
    np.savez(files / "flipped.npz", **spikes)
    code, found = run("diff flipped.npz a.ndp")
    assert code == 1
    assert found["first"] == {"population": "lif", "sample": 3, "step": 5, "neuron": [2]}
    code, found = run("diff a.npz source.npz")
    assert (found["only_first"], found["equal"]) == (["input"], False)
    assert run("diff a.ndp source.npz")[0] == 2
