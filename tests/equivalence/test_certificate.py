"""Certificates: proofs that no search undoes, refutations that run, and bounds that are reached."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.cli import main
from neurodeploy.equivalence import certificate
from neurodeploy.equivalence.certificate import certify, checked
from neurodeploy.equivalence.verdict import verify
from neurodeploy.program import Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_target
from tests.builders import small_program
from tests.equivalence import certificate_search
from tests.overflowing import overflowing
from tests.pages_of_docs import part_of

LOIHI = get_target("loihi2")


@pytest.fixture(scope="module")
def found() -> list[certificate_search.Found]:
    """A short search in one program of each target."""
    made = certificate_search.programs()
    names = ("loihi2, subtract", "cpu8, held", "spinnaker2, at once", "loihi2, synaptic")
    return [certificate_search.search(name, *made[name], 3000, 0, 300) for name in names]


def test_no_short_search_leaves_a_bound(found: list[certificate_search.Found]) -> None:
    assert [item.outside for item in found] == [0] * 4
    assert all(item.first >= item.first_registers // 4 for item in found)


def test_a_bound_one_unit_too_tight_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search can fail: it reaches exact bounds, and so sees what lies one unit within."""
    program, target = certificate_search.programs()["loihi2, zero"]
    (first, second) = checked(program, target)
    u, v = first.registers
    tighter = replace(first, registers=(replace(u, high=u.high - 1), v))
    monkeypatch.setattr(certificate_search, "checked", lambda *_: (tighter, second))
    assert certificate_search.search("x", program, target, 600, 0, 300).outside > 0


def test_the_long_run_in_the_documentation_found_nothing() -> None:
    """10^6 inputs: the page shows what the command printed, and for the programs of today."""
    rows = part_of("certificates.md", "search").strip().splitlines()
    assert rows[: len(certificate_search.HEADER)] == list(certificate_search.HEADER)
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]
    assert [row[0] for row in cells[:-1]] == list(certificate_search.programs())
    assert int(cells[-1][1].replace(",", "")) >= 10**6
    assert {row[2] for row in cells} == {"0"}


@pytest.mark.parametrize("sign", [1, -1])
def test_what_overflows_is_refuted_by_an_input_that_does_so(sign: int) -> None:
    program = overflowing(sign)
    bound = certify(program, LOIHI).of("n", "u")
    assert bound.status == "refuted"
    assert bound.overflow is not None
    assert sign * bound.overflow.value > 2**23
    states = simulate(program, bound.overflow.inputs, LOIHI.machine, record=["n"]).states["n"]
    index = (0, bound.overflow.step, *bound.overflow.neuron)
    assert states["u"][index] == bound.overflow.value - sign * 2**24
    assert sign * states["u"][:, : bound.overflow.step].min() >= 0


def test_whatever_the_file_says_of_ranges_is_not_believed() -> None:
    program = overflowing(1)
    _, other, _ = small_program()
    certified = certify(replace(program, ranges=other.ranges), LOIHI)
    assert certified.status == "refuted"


def test_neither_is_said_where_neither_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "attacks", lambda *_: iter(()))
    certified = certify(overflowing(1), LOIHI)
    assert certified.of("n", "u").status == "neither"
    assert certified.status == "neither"


def test_models_without_bounds_are_named() -> None:
    program = overflowing(1)
    (population,) = program.populations
    registers = {"bias": np.zeros(1, np.int64), "relu": np.ones(1, np.int64)}
    other = {n: np.array([1]) for n in ("vth", "spike_exp", "state_exp", "cum_error")}
    sigma = replace(population, model="sigma-delta", graded=True, parameters={**registers, **other})
    certified = certify(replace(program, populations=(sigma,)), LOIHI)
    assert certified.unknown == ("n",)
    assert certified.status == "neither"


def test_the_certificate_is_part_of_verdict_and_inspection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, program, spikes = small_program()
    verdict = verify(program, network, LOIHI, spikes, vendor_samples=None)
    assert verdict.certificate is not None
    assert verdict.certificate.status == "proven"
    data: dict[str, Any] = json.loads(json.dumps(verdict.to_dict()["certificate"], default=str))
    assert [item["how"] for item in data["lowerings"]] == [x.how for x in program.lowerings]
    program.save(tmp_path / "x.ndp")
    assert main(["inspect", str(tmp_path / "x.ndp")]) == 0
    assert "certificate over all inputs: proven" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "x.ndp"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["certificate"]["status"] == "proven"
    Program.load(tmp_path / "x.ndp")
    overflowing(1).save(tmp_path / "y.ndp")
    main(["inspect", str(tmp_path / "y.ndp")])
    assert "refuted" in capsys.readouterr().out
