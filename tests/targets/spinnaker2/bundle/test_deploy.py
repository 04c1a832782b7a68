"""`deploy.py`, run for real in a process of its own, on a stand-in for py-spinnaker2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.targets.spinnaker2 import selftest
from tests.targets.spinnaker2.bundle.network import ATOMS, SAMPLES, STEPS, deploy, program


def test_every_spike_and_potential_is_as_expected(bundle: Path) -> None:
    run = deploy(bundle, "--eth-ip", "192.0.2.1")
    assert (run.code, run.report["status"], run.report["problems"]) == (0, "passed", []), run.stderr
    assert len(run.report["samples"]) == SAMPLES
    for sample in run.report["samples"]:
        assert set(sample["differences"]) == {"conv", "full", "late", "filtered", "read"}
        assert all(d["missing"] == d["extra"] == 0 for d in sample["differences"].values())
        assert sample["potentials"]["read"]["equal"]
        assert sample["time_done"] == 0.25
    assert "stand-in" in run.report["versions"]["spinnaker2"]
    assert run.report["accuracy"]["samples"] == SAMPLES


def test_what_it_calls(bundle: Path) -> None:
    """Every population and projection once; a fresh board and a reset for every sample."""
    run = deploy(bundle, "--eth-ip", "192.0.2.1")
    names = ["input", "conv", "full", "late", "filtered", "read"]
    assert [call["name"] for call in run.called("Population")] == names
    assert {call["atoms"] for call in run.called("set_max_atoms_per_core")} == {ATOMS}
    (kernel,) = run.called("Conv2DProjection")
    assert (kernel["shape"], kernel["params"]["pool_x"]) == ([2, 3, 3, 3], 2)
    lists = {(call["pre"], call["post"]): call["synapses"] for call in run.called("Projection")}
    weights = {name: s.weight for s in program().synapses for name in [s.name]}
    both = np.count_nonzero(weights["e excitatory"]) + np.count_nonzero(weights["e inhibitory"])
    assert lists["conv", "full"] == np.count_nonzero(weights["b"])
    assert lists["full", "filtered"] == both
    assert len(run.called("SpiNNaker2Chip")) == len(run.called("reset")) == SAMPLES
    assert [call["ticks"] for call in run.called("run")] == [STEPS + 4] * SAMPLES


def test_the_self_test_returns_what_a_chip_sent(bundle: Path) -> None:
    run = deploy(bundle, "--selftest")
    assert (run.code, run.report["status"]) == (0, "passed"), run.stderr
    assert run.report["samples"][0]["recorded"] == selftest.SHA256
    assert run.called("run")[0]["cores"] >= 14 + 14


@pytest.mark.parametrize(
    ("fault", "kind", "text", "code"),
    [
        ("late", "late tick", "core PE 0 needed 150% of tick 2", 1),
        ("lost", "lost spikes", "1 spikes are missing and 0 are extra", 1),
        ("extra", "different spikes", "0 spikes are missing and 1 are extra", 1),
        ("untimed", "unknown deadlines", "for input, conv", 1),
        ("impossible", "impossible spikes", "at tick 21, of", 2),
        ("dead", "failed start", "3 attempts failed: RuntimeError: no answer from the board", 2),
        ("old", "wrong version", "0.8.0 (stand-in, no hardware) lacks what this needs", 2),
    ],
)
def test_a_fault_is_named(bundle: Path, fault: str, kind: str, text: str, code: int) -> None:
    run = deploy(bundle, fault=fault)
    assert (run.code, run.kinds[0]) == (code, kind), run.stderr
    assert text in run.report["problems"][0]["text"]
    assert run.report["status"] == {1: "failed", 2: "incomplete"}[code]


def test_an_old_version_is_told_all_that_it_lacks(bundle: Path) -> None:
    (problem,) = deploy(bundle, fault="old").report["problems"]
    assert "Population.set_max_atoms_per_core" in problem["text"]
    assert "SpiNNaker2Chip.run(sys_tick_in_s=…)" in problem["text"]


def test_the_first_difference_is_at_its_tick_and_neuron(bundle: Path) -> None:
    """What the stand-in loses is the first spike of the first neuron that has one."""
    found = deploy(bundle, "--samples", "1", fault="lost").report["samples"][0]
    expected = np.load(bundle / "expected_spikes.npz")["late"][0]
    spikes = np.unpackbits(expected, axis=-1)[:, :32]
    neuron = int(spikes.any(axis=0).argmax())
    step = int(spikes[:, neuron].argmax())
    first = found["differences"]["late"]["first"]
    assert first == {"tick": step + 2, "step": step, "neuron": neuron}


def test_a_failed_start_is_tried_again(bundle: Path) -> None:
    run = deploy(bundle, fault="start")
    assert run.report["status"] == "passed"
    assert run.report["samples"][0]["failed_starts"] == ["RuntimeError: no answer from the board"]
    assert len(run.called("SpiNNaker2Chip")) == SAMPLES + 1


def test_what_was_computed_before_a_failure_is_kept(bundle: Path) -> None:
    run = deploy(bundle, fault="dies")
    assert (run.code, run.kinds, run.report["status"]) == (2, ["failed start"], "incomplete")
    (sample,) = run.report["samples"]
    assert sample["differences"]["read"]["missing"] == 0


def test_a_missing_package(bundle: Path) -> None:
    run = deploy(bundle, package=False)
    assert (run.code, run.kinds) == (2, ["missing package"])
    assert "pip install -r requirements.txt" in run.report["problems"][0]["text"]


def test_a_corrupted_file(bundle: Path) -> None:
    path = bundle / "arrays.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    run = deploy(bundle)
    assert (run.code, run.kinds) == (2, ["corrupted file"])
    assert "arrays.npz has SHA-256" in run.report["problems"][0]["text"]


def test_a_missing_file(bundle: Path) -> None:
    (bundle / "inputs.npz").unlink()
    run = deploy(bundle)
    assert (run.code, run.kinds) == (2, ["corrupted file"])
    assert "inputs.npz cannot be read" in run.report["problems"][0]["text"]


def test_a_wrong_hash(bundle: Path) -> None:
    path = bundle / "program.json"
    path.write_text(path.read_text("utf-8").replace('"atoms": 16', '"atoms": 17'), "utf-8")
    run = deploy(bundle)
    assert (run.code, run.kinds) == (2, ["wrong hash"])


def test_a_self_test_with_other_spikes(bundle: Path) -> None:
    run = deploy(bundle, "--selftest", fault="lost")
    assert (run.code, run.kinds) == (1, ["lost spikes", "selftest", "lost spikes"])


def test_options_of_a_board(bundle: Path) -> None:
    options = ("--sys-tick", "0.002", "--record-power", "--samples", "1")
    run = deploy(bundle, "--backend", "board48", "--stm-ip", "192.0.2.2", *options)
    assert run.report["status"] == "passed"
    (call,) = run.called("run")
    board = {"board": "SpiNNcloud48NodeBoard", "routing": "C2C", "sys_tick": 0.002, "power": True}
    assert call.items() >= board.items()
    assert run.report["samples"][0]["energy_in_J"] == pytest.approx(0.5 * 0.002 * (STEPS + 4))


def test_mapping_only(bundle: Path) -> None:
    run = deploy(bundle, "--mapping-only", "--routing", "mc")
    assert (run.code, run.report["status"]) == (0, "mapped")
    (call,) = run.called("run")
    assert (call["mapping_only"], call["routing"]) == (True, "MC")


def test_another_versions_names(bundle: Path) -> None:
    """`t_refract` and `measure_power`, as some versions have them; the stand-in takes no other."""
    run = deploy(bundle, "--record-power", "--samples", "1", variant="spelling")
    assert (run.code, run.report["power"]) == (0, "measure_power"), run.stderr
    lacking = deploy(bundle, "--mapping-only", variant="spelling")
    assert lacking.kinds == ["wrong version"]
    assert "run(mapping_only=…)" in lacking.report["problems"][0]["text"]


def test_brian2_deviates_as_documented(bundle: Path) -> None:
    """Ties are common where weights and thresholds are whole numbers."""
    run = deploy(bundle, "--backend", "brian2")
    assert (run.code, run.report["status"], run.report["backend"]) == (1, "failed", "brian2")
    for problem in run.report["problems"]:
        assert "documented to deviate: [threshold] it fires at v > threshold" in problem["text"]


def test_wrong_options_leave_no_report(bundle: Path) -> None:
    with pytest.raises(FileNotFoundError):
        deploy(bundle, "--samples", "0")


def test_it_needs_numpy_and_py_spinnaker2_only(bundle: Path) -> None:
    text = (bundle / "deploy.py").read_text("utf-8")
    lines = [line.split()[1] for line in text.splitlines() if line.startswith(("import", "from"))]
    assert {"numpy", "argparse"} <= set(lines)
    assert not [name for name in lines if name.startswith(("neurodeploy", "spinnaker2", "nir"))]
    assert json.loads((bundle / "program.json").read_text("utf-8"))["version"] == 1
