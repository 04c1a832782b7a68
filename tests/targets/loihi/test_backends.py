"""Other places where a program runs: Lava, and the chip that nobody here has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neurodeploy import api
from neurodeploy.errors import TargetError
from neurodeploy.program import Program
from neurodeploy.target import get_backend, get_target
from neurodeploy.targets.loihi.lava import environment
from neurodeploy.trace import Spikes
from tests.builders import small_program
from tests.targets.loihi.interpreters import script

LOIHI = get_target("loihi2")


@pytest.fixture(scope="module")
def case() -> tuple[Program, Spikes]:
    _, program, spikes = small_program()
    return program, spikes[:2]


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, python: str) -> None:
    """Make an environment, of a certain Python, whose interpreter only writes down an answer."""
    monkeypatch.setenv("NEURODEPLOY_LAVA_ENV", str(folder))
    marker = {"schema": 1, "versions": environment.requirements(python)}
    (folder / environment.MARKER).write_text(json.dumps(marker))
    script(
        folder / "bin" / "python",
        f"for job; do :; done\ncat >\"$job/result.json\" <<'END'\n{answer}\nEND\n",
    )


def test_a_program_runs_in_lava_as_in_the_simulator(case: tuple[Program, Spikes]) -> None:
    program, spikes = case
    record = [population.name for population in program.populations]
    ours = api.run(program, spikes, record=record)
    theirs = api.run(program, spikes, record=record, backend="lava")
    for name in record:
        assert ours.spikes[name].any()
        np.testing.assert_array_equal(ours.spikes[name], theirs.spikes[name])
        for state in ("u", "v"):
            np.testing.assert_array_equal(ours.states[name][state], theirs.states[name][state])


def test_lava_is_the_first_and_an_unknown_one_is_refused(case: tuple[Program, Spikes]) -> None:
    assert get_backend(LOIHI, None) is not None
    assert get_backend(LOIHI, None) == get_backend(LOIHI, "lava")
    with pytest.raises(TargetError, match=r"unknown backend 'nx'. It has: lava, .*loihi2"):
        api.run(*case, backend="nx")
    with pytest.raises(TargetError, match="unknown backend 'nx'"):
        api.verify(*case, backend="nx")
    with pytest.raises(TargetError, match="loihi1: unknown backend 'loihi2'"):
        get_backend(get_target("loihi1"), "loihi2")


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("3.10", "Lava (lava-nc 0.10.0)"),
        ("3.12", "Lava (lava-nc 0.10.0 on Python 3.12 with neurodeploy's shim)"),
    ],
)
def test_reports_say_on_what_lava_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, said: str
) -> None:
    installed(tmp_path, monkeypatch, "{}", python)
    assert get_backend(LOIHI, "lava").title == said


def test_a_missing_lava_has_a_title_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURODEPLOY_LAVA_ENV", str(tmp_path))
    assert get_backend(LOIHI, "lava").title == "Lava (lava-nc 0.10.0)"
