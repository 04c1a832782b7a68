"""A machine of our choice: stand-ins for every interpreter that can be found on one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.mapping.conftest import any_synapses, chip, neurons  # noqa: F401
from tests.targets.loihi.interpreters import fake_python


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a Python for Lava: an empty home, PATH and pyenv, and a running 3.14."""
    for name in ("NEURODEPLOY_LAVA_PYTHON", "NEURODEPLOY_LAVA_ENV", "XDG_DATA_HOME", "PYENV_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    running = fake_python(tmp_path / "running", (3, 14, 1))
    monkeypatch.setattr(sys, "executable", str(running))
    return tmp_path
