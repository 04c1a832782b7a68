"""Bundles: the same bytes everywhere, and nothing of others overwritten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.cli.files import load_inputs, load_labels
from neurodeploy.errors import DesignRuleError, FileError, InputError, ModelError, TargetError
from neurodeploy.network import InputPort
from neurodeploy.program import Program
from neurodeploy.targets.spinnaker2.bundle.jobs import selftest_job
from neurodeploy.targets.spinnaker2.bundle.writing import write_bundle
from tests.targets.spinnaker2.bundle.network import MACHINE, job, neurons, program, spikes


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_bytes_again_and_over_an_older_one(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    first = write_bundle(job(), selftest_job(), MACHINE, folder)
    assert write_bundle(job(), selftest_job(), MACHINE, folder) == first
    assert files(folder) == files(written)
    assert set(files(folder)) == {
        *("README.md", "deploy.py", "requirements.txt", "program.json", "program.ndp"),
        *("arrays.npz", "inputs.npz", "expected_spikes.npz"),
        *(f"selftest/{name}" for name in ("program.json", "arrays.npz")),
        *(f"selftest/{name}" for name in ("inputs.npz", "expected_spikes.npz")),
    }


def test_inputs_and_labels_are_files_that_other_commands_read(written: Path) -> None:
    given = load_inputs(str(written / "inputs.npz"))
    assert isinstance(given, dict)
    np.testing.assert_array_equal(given["input"], spikes())
    np.testing.assert_array_equal(load_labels(str(written / "inputs.npz")), job().labels)
    assert Program.load(written / "program.ndp").hash == program().hash


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("…", "utf-8")
    with pytest.raises(FileError, match="holds other files, and no bundle"):
        write_bundle(job(), selftest_job(), MACHINE, tmp_path)
    assert set(files(tmp_path)) == {"thesis.tex"}
    with pytest.raises(FileError, match="cannot be made"):
        write_bundle(job(), selftest_job(), MACHINE, tmp_path / "thesis.tex")


def test_an_input_called_labels(tmp_path: Path) -> None:
    made = program()
    renamed = replace(
        made,
        inputs=(InputPort("labels", (2, 8, 8)),),
        synapses=(replace(made.synapses[0], source="labels"), *made.synapses[1:]),
    )
    atoms = dict.fromkeys(renamed.shapes, 16)
    odd = replace(job(), program=renamed, atoms=atoms, inputs={"labels": spikes()})
    with pytest.raises(InputError, match="no labels can lie beside it"):
        write_bundle(odd, selftest_job(), MACHINE, tmp_path / "bundle")


def test_a_potential_that_is_reset_cannot_be_read_back(tmp_path: Path) -> None:
    made = program()
    spiking = neurons("read", (4,), 4, "lif_no_delay", 20.0, readout="membrane")
    odd = replace(job(), program=replace(made, populations=(*made.populations[:-1], spiking)))
    with pytest.raises(ModelError, match="read as membrane potential but spikes"):
        write_bundle(odd, selftest_job(), MACHINE, tmp_path / "bundle")


def test_cores_and_ticks_are_chosen_for_the_inputs(tmp_path: Path) -> None:
    """The verb: `write_bundle` with what the chip needs for these inputs."""
    digest = nd.bundle(program(), tmp_path / "bundle", spikes(), labels=np.zeros(2, np.int64))
    assert len(digest) == 64
    with pytest.raises(InputError, match="no golden traces"):
        nd.bundle(program(), tmp_path / "bundle")
    with pytest.raises(DesignRuleError, match="data-memory"):
        nd.bundle(program(), tmp_path / "long", np.zeros((1, 20_000, 2, 8, 8), np.uint8))


def test_a_target_without_bundles(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="it has no bundles"):
        nd.bundle(replace(program(), target="loihi2"), tmp_path, spikes())
