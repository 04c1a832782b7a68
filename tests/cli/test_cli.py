"""The command line: its verbs, its exit codes, and one clear line for every kind of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy import api
from neurodeploy.cli import main
from neurodeploy.program import Program
from neurodeploy.semantics import Semantics, from_metadata, to_metadata
from tests import net_files
from tests.costs.provenance import unproven

SHAPE = (6,)


def lif(size: int, *, metadata: bool = True, tau: float = 1e-3) -> nir.LIF:
    ones = np.ones(size)
    entries = to_metadata(semantics=Semantics(reset="zero").to_dict()) if metadata else {}
    return nir.LIF(
        tau=tau * ones,
        r=tau / 1e-4 * ones,
        v_leak=0 * ones,
        v_threshold=ones,
        v_reset=0 * ones,
        metadata=entries,
    )


def graph(weight: np.ndarray | None = None, **options: object) -> nir.NIRGraph:
    if weight is None:
        weight = np.random.default_rng(0).normal(0.3, 0.4, (4, 6))
    nodes = {
        "input": nir.Input(np.array(SHAPE)),
        "fc": nir.Affine(weight, np.full(4, 0.05)),
        "lif": lif(4, **options),  # type: ignore[arg-type]
        "output": nir.Output(np.array([4])),
    }
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "output")]
    return nir.NIRGraph(nodes, edges, type_check=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, its inputs and its labels."""
    nir.write(str(tmp_path / "model.nir"), graph())
    rng = np.random.default_rng(1)
    np.save(tmp_path / "x.npy", (rng.random((20, 12, *SHAPE)) < 0.4).astype(np.uint8))
    np.save(tmp_path / "y.npy", rng.integers(0, 4, 20))
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMPILE = ["compile", "model.nir", "--target", "loihi2", "--calibration", "x.npy", "-o", "m.ndp"]


def test_compile_run_verify_energy_inspect(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(COMPILE) == 0
    assert main(["inspect", "m.ndp"]) == 0
    assert main(["inspect", "model.nir", "--target", "loihi2"]) == 0
    assert main(["run", "m.ndp", "--inputs", "x.npy", "-o", "trace.npz"]) == 0
    assert main(["energy", "m.ndp", "--inputs", "x.npy"]) == 0
    assert main(["targets"]) == 0
    text = capsys.readouterr().out
    for expected in ("core dynamic", "counted", "lif"):
        assert expected in text
    with np.load(folder / "trace.npz") as trace:
        assert trace["lif"].shape == (20, 12, 4)


def test_inspect_says_whether_it_fits_and_where(folder: Path, capsys) -> None:
    command = ["inspect", "model.nir", "--target", "spinnaker2", "--map", "m.svg"]
    assert main([*command, "--calibration", "x.npy", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["fits"]
    total = {item["name"]: (item["used"], item["available"]) for item in data["resources"]["total"]}
    assert total["cores"] == (2, 148)
    proposed = {(p["node"], p["what"]): p["typical"] for p in data["proposals"]}
    assert proposed["lif", "set_max_atoms_per_core"] == 4
    assert proposed["program", "sys_tick_in_s"] == 1e-3
    assert (folder / "m.svg").read_text("utf-8").startswith("<svg ")
    assert main(command) == 0
    text = capsys.readouterr().out
    for expected in ("rates below are those of random input", "sys_tick_in_s", "wrote m.svg"):
        assert expected in text


def test_inspect_gives_every_reason_why_it_does_not_fit(folder: Path, capsys) -> None:
    nodes = {
        "input": nir.Input(np.array([1, 257, 1])),
        "conv": nir.Conv2d((257, 1), np.ones((1, 1, 1, 1)), 1, 0, 1, 1, np.zeros(1)),
        "lif": nir.LIF(
            **{name: np.full((1, 257, 1), value) for name, value in (
                ("tau", 1e-3), ("r", 10.0), ("v_leak", 0.0), ("v_threshold", 1.0), ("v_reset", 0.0),
            )},
            metadata=to_metadata(semantics=Semantics(reset="zero").to_dict()),
        ),
        "output": nir.Output(np.array([1, 257, 1])),
    }  # fmt: skip
    edges = [("input", "conv"), ("conv", "lif"), ("lif", "output")]
    nir.write("image.nir", nir.NIRGraph(nodes, edges, type_check=False))
    assert main(["inspect", "image.nir", "--target", "spinnaker2", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert not data["fits"]
    (violation,) = data["reasons"]["violations"]
    assert violation["rule"] == "spinnaker2.neurons-per-core"
    assert main(["inspect", "image.nir", "--target", "spinnaker2"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "it does not compile for spinnaker2" in text
    assert "257 > 256 neurons per PE" in text
    assert main(["inspect", "image.nir", "--map", "m.svg"]) == 2


def test_energy_of_two_programs_with_all_sources(folder: Path, capsys) -> None:
    assert main(COMPILE) == 0
    capsys.readouterr()
    command = ["energy", "m.ndp", "--inputs", "x.npy", "--against", "m.ndp"]
    assert main([*command, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert not list(unproven(data))
    assert data["ranking"]["by_name"]["total"]["probability"]["typical"] == 0.5
    assert main(command) == 0
    text = " ".join(capsys.readouterr().out.split())
    parts = [q for line in data["lines"] for q in (line["total"], *line["parts"].values())]
    for quantity in (*parts, data["total"], data["latency"], *data["comparisons"].values()):
        assert quantity["source"] in text
    assert "50.0%" in text
    assert main([*command, "--level", "x"]) == 2
    assert "no performance level 'x'" in capsys.readouterr().err


def test_verify_without_the_vendor_says_not_run(folder: Path, capsys) -> None:
    assert main(COMPILE) == 0
    assert main(["verify", "m.ndp", "--inputs", "x.npy", "--no-vendor", "--page", "m.html"]) == 0
    assert "NOT RUN" in capsys.readouterr().out
    assert "NOT RUN" in (folder / "m.html").read_text("utf-8").upper()


def test_verify_in_lava(folder: Path, capsys) -> None:
    assert main(COMPILE) == 0
    capsys.readouterr()
    assert main(["verify", "m.ndp", "--inputs", "x.npy", "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    vendor = next(stage for stage in verdict["stages"] if stage["name"] == "vendor")
    assert vendor["status"] == "passed"
    assert vendor["cells"] == 20 * 12 * 4
    assert vendor["mismatches"] == 0


def test_the_chip_itself_says_what_it_needs(folder: Path, capsys) -> None:
    assert main(COMPILE) == 0
    assert main(["verify", "m.ndp", "--inputs", "x.npy", "--backend", "loihi2"]) == 1
    assert "NOT RUN" in capsys.readouterr().out
    assert main(["run", "m.ndp", "--inputs", "x.npy", "--backend", "loihi2"]) == 2
    assert "lava-loihi" in capsys.readouterr().err
    assert main(["run", "m.ndp", "--inputs", "x.npy", "--timeout", "0"]) == 2


def test_run_in_lava(folder: Path, capsys) -> None:
    assert main(COMPILE) == 0
    counts = []
    for backend in ([], ["--backend", "lava"]):
        capsys.readouterr()
        assert main(["run", "m.ndp", "--inputs", "x.npy", "--json", *backend]) == 0
        counts.append(json.loads(capsys.readouterr().out)["spikes"])
    assert counts[0] == counts[1]
    assert counts[0]["lif"]


def test_analog_input_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """Tables and files say what is sent: integers, with delays and ports where there are any."""
    rng = np.random.default_rng(0)
    x = np.round(rng.random((4, 12, 6)) * 16) / 16
    np.save(folder / "analog16.npy", x)
    compiling = ["compile", "model.nir", "--target", "loihi2", "--calibration", "analog16.npy"]
    assert main([*compiling, "-o", "a.ndp"]) == 0
    assert "messages" in capsys.readouterr().out
    assert main(["run", "a.ndp", "--inputs", "analog16.npy", "-o", "trace.npz"]) == 0
    with np.load(folder / "trace.npz") as trace:
        assert trace["input"].dtype == np.int32
        assert np.array_equal(trace["input"] / 16, x)
        assert trace["lif"].dtype == np.uint8
    capsys.readouterr()
    assert main(["inspect", "a.ndp", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["grids"] == {"input": {"step": 0.0625, "low": 0, "high": 16}}
    arriving = data["synapses"][0]
    assert (arriving["graded"], arriving["port"], arriving["delay"]) == (True, "current", 0)
    assert main(["verify", "a.ndp", "--inputs", "analog16.npy", "--no-vendor"]) == 0
    assert "the input's grid" in " ".join(capsys.readouterr().out.split())


def test_potentials_that_are_read_are_kept(folder: Path) -> None:
    from neurodeploy.semantics import to_metadata
    from tests.builders import DT, NONE, chain

    entries = to_metadata(semantics=NONE.to_dict())
    beta = np.full(4, 0.5)
    li = nir.LI(DT / (1 - beta), 1 / (1 - beta), np.zeros(4), metadata=entries)
    nir.write(str(folder / "read.nir"), chain((6,), fc=nir.Linear(np.ones((4, 6))), li=li))
    compiling = ["compile", "read.nir", "--target", "loihi2", "--calibration", "x.npy"]
    assert main([*compiling, "-o", "r.ndp"]) == 0
    assert main(["run", "r.ndp", "--inputs", "x.npy", "-o", "trace.npz"]) == 0
    with np.load(folder / "trace.npz") as trace:
        assert trace["li.potential"].shape == (20, 12, 4)
        assert trace["li.potential"].any()
        assert not trace["li"].any()


def test_a_missing_lava_fails_verify(folder: Path, capsys, monkeypatch) -> None:
    assert main(COMPILE) == 0
    monkeypatch.setenv("NEURODEPLOY_LAVA_ENV", str(folder / "nowhere"))
    assert main(["verify", "m.ndp", "--inputs", "x.npy"]) == 1
    assert "NOT RUN" in capsys.readouterr().out


def test_convert_says_how_semantics_are_said(folder: Path, capsys) -> None:
    nir.write(str(folder / "bare.nir"), graph(metadata=False))
    convert = ["convert", "bare.nir", "--dt", "1e-4", "--reset", "subtract"]
    convert += ["--reset-timing", "delayed"]
    assert main([*convert, "-o", "exact.nir"]) == 0
    text = capsys.readouterr().out
    for expected in ("LI → Threshold → Scale", "subtract, delayed", "in the graph", "exact.nir"):
        assert expected in text
    assert "deviation" not in text
    portable = [*convert, "-o", "portable.nir", "--profile", "portable", "--inputs", "x.npy"]
    assert main(portable) == 0
    text = capsys.readouterr().out
    for expected in ("LIF", "only in metadata: reset", "deviation", "960"):
        assert expected in text
    assert main([*portable, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["populations"][0]["only_in_metadata"] == ["reset"]
    assert data["deviation"][0]["cells"] == 20 * 12 * 4
    assert data["deviation"][0]["mismatches"] > 0
    assert main(["inspect", "portable.nir", "--json"]) == 0
    (population,) = json.loads(capsys.readouterr().out)["populations"]
    assert population["semantics"]["reset"] == "subtract"


def test_convert_says_what_nir_does_not_read(folder: Path, capsys) -> None:
    grouped = nir.Conv2d(None, np.ones((2, 1, 3, 3)), 1, "same", 1, 2, np.zeros(2))
    nodes = {
        "input": nir.Input(np.array([2, 4, 4])),
        "conv": grouped,
        "if": nir.IF(*np.ones((2, 2, 4, 4))),
        "output": nir.Output(np.array([2, 4, 4])),
    }
    edges = [("input", "conv"), ("conv", "if"), ("if", "output")]
    source = nir.NIRGraph(nodes, edges, type_check=False)
    source.nodes["conv"].input_shape = (4, 4)
    nir.write(str(folder / "grouped.nir"), source)
    assert main(["convert", "grouped.nir", "-o", "out.nir", "--dt", "1e-3"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "the type check of nir.read does not accept it" in text
    assert "[1 4 4]" in text


@pytest.mark.parametrize("command", ["inspect", "run", "energy"])
def test_json_is_one_document(folder: Path, capsys, command: str) -> None:
    assert main(COMPILE) == 0
    capsys.readouterr()
    inputs = [] if command == "inspect" else ["--inputs", "x.npy"]
    assert main([command, "m.ndp", *inputs, "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "inspect",
        "compile",
        "convert",
        "run",
        "verify",
        "diff",
        "report",
        "energy",
        "lava",
        "targets",
    ],
)
def test_every_command_has_help_with_an_example(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"Example: neurodeploy {command}" in capsys.readouterr().out


def bad_files(folder: Path) -> None:
    """One file for each kind of bad input."""
    whole = (folder / "model.nir").read_bytes()
    (folder / "cut.nir").write_bytes(whole[: len(whole) // 2])
    (folder / "text.nir").write_text("not HDF5")
    weight = np.ones((4, 6))
    weight[1, 2] = np.nan
    nir.write(str(folder / "nan.nir"), graph(weight))
    nir.write(str(folder / "bare.nir"), graph(metadata=False))
    readout = graph()
    entries = to_metadata(semantics=Semantics().to_dict())
    readout.nodes["lif"] = nir.LI(np.ones(4), np.ones(4), np.zeros(4), metadata=entries)
    nir.write(str(folder / "readout.nir"), readout)
    np.save(folder / "shape.npy", np.zeros((20, 12, 7), np.uint8))
    np.save(folder / "dtype.npy", np.full((20, 12, 6), "a"))
    np.save(folder / "analog.npy", np.full((20, 12, 6), 0.5))
    np.save(folder / "objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    (folder / "cut.npy").write_bytes((folder / "x.npy").read_bytes()[:100])
    np.savez(folder / "other.npz", other=np.zeros((20, 12, 4), np.uint8))
    program = (folder / "m.ndp").read_bytes()
    (folder / "cut.ndp").write_bytes(program[: len(program) // 2])
    (folder / "odd.ndp").write_bytes(program.replace(b"loihi2", b"loihi9"))


def compiling(model: str = "model.nir", calibration: str = "x.npy") -> list[str]:
    return ["compile", model, "--target", "loihi2", "--calibration", calibration, "-o", "n.ndp"]


BAD = {
    "missing model": (compiling("no.nir"), "no such file"),
    "truncated HDF5": (compiling("cut.nir"), "not a complete HDF5 file"),
    "not HDF5": (compiling("text.nir"), "not a complete HDF5 file"),
    "NaN weight": (compiling("nan.nir"), "not finite"),
    "no semantics": (compiling("bare.nir"), "euler, exact, snntorch, norse"),
    "a step of no length": ([*compiling("bare.nir"), "--dt", "0"], "dt is 0.0"),
    "semantics without a word on it": (
        [*compiling("bare.nir"), "--semantics", "norse", "--dt", "1e-4"],
        "lif: r is 10, which 'norse with dt=0.0001' takes for 1",
    ),
    "no spikes": (
        [*compiling("readout.nir"), "--target", "cpu16"],
        "its membrane potential is read",
    ),
    "missing calibration": (compiling(calibration="no.npy"), "no such file"),
    "wrong input shape": (compiling(calibration="shape.npy"), "expected (samples, steps, 6)"),
    "wrong dtype": (compiling(calibration="dtype.npy"), "not numeric"),
    "not spikes": (["run", "m.ndp", "--inputs", "analog.npy"], "neither 0 nor 1"),
    "pickled objects": (compiling(calibration="objects.npy"), "objects"),
    "truncated array": (compiling(calibration="cut.npy"), "not a complete"),
    "unknown target": (["inspect", "model.nir", "--target", "loihi9"], "unknown target"),
    "missing program": (["run", "no.ndp", "--inputs", "x.npy"], "no such file"),
    "truncated program": (["run", "cut.ndp", "--inputs", "x.npy"], "archive"),
    "altered program": (["run", "odd.ndp", "--inputs", "x.npy"], "archive"),
    "wrong run inputs": (["run", "m.ndp", "--inputs", "shape.npy"], "expected (samples"),
    "wrong labels": (
        ["verify", "m.ndp", "--inputs", "x.npy", "--labels", "x.npy", "--no-vendor"],
        "labels have shape",
    ),
    "unknown gate": (
        ["verify", "m.ndp", "--inputs", "x.npy", "--no-vendor", "--fail-under", "luck=1"],
        "--fail-under: 'luck=1' is no gate, expected agreement=VALUE",
    ),
    "gate without a number": (
        ["verify", "m.ndp", "--inputs", "x.npy", "--no-vendor", "--fail-over", "mismatch-rate"],
        "expected accuracy-drop=VALUE or mismatch-rate=VALUE",
    ),
    "gate without labels": (
        ["verify", "m.ndp", "--inputs", "x.npy", "--no-vendor", "--fail-over", "accuracy-drop=0"],
        "gate accuracy-drop: needs labels",
    ),
    "source of one array": (
        ["verify", "m.ndp", "--inputs", "x.npy", "--no-vendor", "--source", "x.npy"],
        "expected an .npz with one per population",
    ),
    "nothing in common": (["diff", "m.ndp", "other.npz", "--inputs", "x.npy"], "in common"),
    "unwritable output": (
        ["compile", "model.nir", "--target", "loihi2", "--calibration", "x.npy", "-o", "no/m.ndp"],
        "cannot be written",
    ),
    "unwritable graph": (["convert", "model.nir", "-o", "no/n.nir"], "cannot be written"),
    "graph without semantics": (["convert", "bare.nir", "-o", "n.nir"], "--dt"),
    "inputs for nothing": (
        ["convert", "model.nir", "-o", "n.nir", "--inputs", "x.npy"],
        "deviation of the portable profile",
    ),
    "no such interpreter": (["lava", "install", "--python", "no-python"], "no-python"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_clear_line(case: str, folder: Path, capsys, monkeypatch) -> None:
    assert main(COMPILE) == 0
    bad_files(folder)
    monkeypatch.setenv("NEURODEPLOY_LAVA_ENV", str(folder / "nowhere"))
    capsys.readouterr()
    arguments, expected = BAD[case]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("neurodeploy: ")
    assert captured.err.count("\n") == 1
    assert expected in captured.err
    assert not (folder / "n.ndp").exists()
    assert not (folder / "n.nir").exists()


@pytest.mark.parametrize(
    ("options", "said_by", "dt"),
    [
        (["--dt", "2e-4", "--reset", "zero"], "euler with dt=0.0002, reset=zero", 2e-4),
        (["--semantics", "snntorch"], "snntorch", 1e-4),
        (["--semantics", "exact", "--dt", "1e-3"], "exact with dt=0.001", 1e-3),
    ],
)
def test_semantics_from_the_command_line(
    options: list[str], said_by: str, dt: float, folder: Path, capsys
) -> None:
    """They are printed, and stored in the program's graph."""
    nir.write(str(folder / "bare.nir"), graph(metadata=False))
    assert main([*compiling("bare.nir"), *options]) == 0
    assert f"where the file does not say its semantics: {said_by}" in capsys.readouterr().out
    assert main(["inspect", "bare.nir", *options, "--json"]) == 0
    (population,) = json.loads(capsys.readouterr().out)["populations"]
    assert (population["semantics_from"], population["semantics"]["dt"]) == (said_by, dt)
    stored = api.network_of(Program.load("n.ndp")).graph.nodes["lif"]
    assert from_metadata(stored.metadata, node="lif")["semantics_from"] == said_by
    assert main(["inspect", "model.nir", *options, "--json"]) == 0
    (population,) = json.loads(capsys.readouterr().out)["populations"]
    assert population["semantics_from"] == "file"


def test_a_net_file_of_lava_dl(folder: Path, capsys) -> None:
    weight = 2 * np.random.default_rng(2).integers(-20, 40, (4, 6))
    net_files.write(folder / "model.net", net_files.dense(weight, net_files.cuba()))
    assert main(["inspect", "model.net", "--target", "loihi2"]) == 0
    assert main(compiling("model.net")) == 0
    assert main(["run", "n.ndp", "--inputs", "x.npy"]) == 0
    assert "layer0" in capsys.readouterr().out
    net_files.write(folder / "bad.net", net_files.dense(weight, net_files.cuba(v_th=-1)))
    assert main(["inspect", "bad.net"]) == 2
    assert capsys.readouterr().err == (
        "neurodeploy: layer/0/neuron: vThMant holds -1, expected 1 to 131071\n"
    )


def test_errors_as_json(folder: Path, capsys) -> None:
    assert main(["inspect", "no.nir", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)
    assert (error["error"], error["node"]) == ("FileError", "no.nir")


def test_a_process_shows_no_traceback(folder: Path) -> None:
    command = [sys.executable, "-m", "neurodeploy", "inspect", "no.nir"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "neurodeploy: no.nir: no such file\n"
