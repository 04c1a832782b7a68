"""The target from a model to a verdict and a page: every stage works on float32 programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.pages.html import report
from neurodeploy.program import Program
from neurodeploy.reference import simulate
from neurodeploy.semantics import to_metadata
from tests.builders import DT, NONE, SUBTRACT, chain, lif, network, spikes_for

SPIKES = spikes_for(1, 12, 20, (10,))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Two layers with snnTorch's default reset, compiled, saved and loaded."""
    rng = np.random.default_rng(0)
    graph = chain(
        (10,),
        fc1=nir.Affine(rng.normal(0, 0.5, (16, 10)), rng.normal(0, 0.1, 16)),
        lif1=lif(np.full(16, 0.9), 1.0, SUBTRACT),
        fc2=nir.Linear(rng.normal(0, 0.5, (4, 16))),
        lif2=lif(np.full(4, 0.75), 1.0, SUBTRACT),
    )
    path = tmp_path_factory.mktemp("programs") / "two.ndp"
    nd.compile(graph, target="spinnaker2", calibration=SPIKES).save(path)
    return Program.load(path)


def test_every_stage_of_verification_runs_and_passes(program: Program, tmp_path: Path) -> None:
    reference = simulate(nd.network_of(program), SPIKES)
    verdict = nd.verify(program, SPIKES, source=reference.spikes)
    assert verdict.passed
    assert [stage.name for stage in verdict.stages] == [
        "import", "pass merge-linear", "lowering", "mapping", "golden", "vendor"
    ]  # fmt: skip
    assert "float32 states" in verdict.stage("lowering").title
    assert verdict.stage("vendor").mismatches == 0
    assert verdict.stage("vendor").cells == SPIKES.shape[0] * SPIKES.shape[1] * 20
    assert "no vendor's software" in verdict.stage("vendor").title
    report(tmp_path / "page.html", program, verdict, nd.energy(program, SPIKES), title="x")
    assert "How sure it is that the chip does" in (tmp_path / "page.html").read_text("utf-8")


def test_another_threshold_is_found_by_the_golden_traces(program: Program) -> None:
    first, second = program.populations
    lower = {**first.parameters, "threshold": first.float_register("threshold") * np.float32(0.7)}
    changed = replace(program, populations=(replace(first, parameters=lower), second))
    verdict = nd.verify(changed, SPIKES)
    assert verdict.stage("golden").status == "failed"
    assert verdict.stage("vendor").status == "passed"  # both run the changed program
    divergence = verdict.stage("lowering").first
    assert divergence is not None
    assert divergence.threshold == 1
    assert (divergence.potential >= 0.7) != divergence.expected_spike


def test_a_board_that_is_not_there_leaves_the_verdict_incomplete(program: Program) -> None:
    verdict = nd.verify(program, SPIKES, backend="board")
    assert (verdict.status, verdict.stage("vendor").status) == ("incomplete", "not run")


def test_potentials_that_are_read_are_compared_too() -> None:
    weight = np.random.default_rng(2).normal(0, 1, (3, 10))
    meaning = to_metadata(semantics=NONE.to_dict())
    leaky = nir.LI(np.full(3, 4 * DT), np.full(3, 4.0), np.zeros(3), metadata=meaning)
    net = network((10,), fc=nir.Linear(weight), out=leaky)
    program = nd.compile(net, target="spinnaker2", calibration=SPIKES)
    stage = nd.verify(program, SPIKES).stage("vendor")
    assert stage.status == "passed"
    assert f"0 of {SPIKES.shape[0] * SPIKES.shape[1] * 3:,} potentials of out" in stage.text
