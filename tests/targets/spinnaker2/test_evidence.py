"""What is known of the chip is data, complete, shown to people and in the documentation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from neurodeploy.cli import main
from neurodeploy.target import Basis
from neurodeploy.targets.spinnaker2 import selftest, target
from neurodeploy.targets.spinnaker2.evidence import EVIDENCE
from neurodeploy.targets.spinnaker2.models import MODELS
from tests import pages_of_docs as docs
from tests.targets.spinnaker2.drawn import neurons


def test_every_model_has_its_evidence() -> None:
    assert [name for name in EVIDENCE if name in MODELS] == sorted(
        MODELS, key=lambda name: list(EVIDENCE).index(name)
    )
    assert {item.basis for item in EVIDENCE.values()} == set(get_args(Basis))


def test_a_program_is_told_what_it_uses() -> None:
    program = selftest.program()
    subjects = [item.subject for item in target.evidence(program)]
    always = ["last bit of the potential", "a core that does not finish its tick"]
    assert subjects == ["lif", "lif_curr_exp", *always]
    late = replace(program.synapses[0], delay=np.array([3]))
    started = neurons("inhibitor", (1,), "lif", 0, v_init=-1, v_reset=-1, reset=1)
    program = replace(
        program,
        synapses=(late, *program.synapses[1:]),
        populations=(started, program.populations[1]),
    )
    features = ["delay fields 1 to 7", "v_reset other than 0", "v_init other than 0"]
    assert [e.subject for e in target.evidence(program)][2:] == [*features, *always]


def test_people_see_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    selftest.program().save(tmp_path / "field.ndp")
    assert main(["inspect", str(tmp_path / "field.ndp")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "how sure it is that spinnaker2 does this" in shown
    assert "recorded on a chip" in shown
    assert main(["inspect", str(tmp_path / "field.ndp"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["evidence"][0]["basis"] == "recorded on a chip"


def test_the_documentation_says_the_same() -> None:
    rows = [docs.row("", "basis", "what is known", "source"), docs.row(*["---"] * 4)]
    rows += [docs.row(e.subject, e.basis, e.text, e.source) for e in EVIDENCE.values()]
    docs.check("spinnaker2.md", "evidence", "\n".join(rows))
