"""The backend `brian2`: absent, and by the stand-in with the deviation that is documented."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import TargetError
from neurodeploy.network import InputPort
from neurodeploy.program import Program, Synapses
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_backend
from neurodeploy.targets.spinnaker2 import target
from tests.targets.spinnaker2.bundle.network import MACHINE, STANDIN, neurons, program, spikes

QUARTER = np.float32(0.25)


def run(made: Program, given: Mapping[str, Any], **options: Any) -> Any:
    return get_backend(target, "brian2").run(made, given, timeout=60.0, **options)


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.syspath_prepend(STANDIN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def test_without_py_spinnaker2_it_says_what_to_install() -> None:
    with pytest.raises(TargetError, match=r"cannot be imported here.*pip install"):
        run(program(), {"input": spikes()})


def test_without_ties_it_equals_the_chip(standin: None) -> None:
    given, made = {"input": spikes()}, program()
    apart = tuple(
        replace(p, parameters={**p.parameters, "threshold": p.parameters["threshold"] + QUARTER})
        for p in made.populations
    )
    made = replace(made, populations=apart)
    found, expected = run(made, given), simulate(made, given, MACHINE)
    for population in apart:
        same = found.spikes[population.name] == expected.spikes[population.name]
        assert np.all(same), population.name
    with pytest.raises(TargetError, match="spikes only"):
        run(program(), given, states=True)


def test_at_a_tie_the_chip_fires_and_brian2_does_not(standin: None) -> None:
    """One input of weight 5, threshold 5: a tie at every spike."""
    made = Program(
        "spinnaker2",
        (InputPort("input", (1,)),),
        (neurons("out", (1,), 1, "lif_no_delay", 5.0),),
        (Synapses("s", "input", "out", "dense", np.array([[5]]), 0, (1,), (1,)),),
        ("out",),
        {},
    )
    given = {"input": np.eye(4, dtype=np.uint8)[:1, :, None]}
    assert simulate(made, given, MACHINE).spikes["out"].sum() == 1
    assert run(made, given).spikes["out"].sum() == 0


def test_a_time_limit(standin: None) -> None:
    with pytest.raises(TargetError, match=r"did not finish within 0.01 s"):
        get_backend(target, "brian2").run(program(), {"input": spikes()}, timeout=0.01)


def test_a_failure_is_passed_on(standin: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_FAULT", "old")
    with pytest.raises(TargetError, match=r"wrong version.*set_max_atoms_per_core"):
        run(program(), {"input": spikes()})
