"""Data that others published, where it lies beside the repository, and the tools' interpreter."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy.targets.loihi.lava import environment

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "nir_paper"
NEED_DATA = ["test_nir_paper.py", "test_spinnaker2_published.py", "test_spinnaker2_recorded.py"]
collect_ignore = [] if DATA.is_dir() else NEED_DATA

WORKER = Path(__file__).resolve().parent / "nir_tools" / "worker.py"
ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv-nir"

Job = tuple[nir.NIRGraph, float, np.ndarray]
RunTool = Callable[[str, Mapping[str, Job]], dict[str, Any]]


@pytest.fixture(scope="session")
def run_tool(tmp_path_factory: pytest.TempPathFactory) -> RunTool:
    """Runs graphs in `norse` or `spikingjelly`: (tool, name -> (graph, dt, spikes)) -> spikes."""
    python = Path(os.environ.get("NEURODEPLOY_NIR_ENV", ENVIRONMENT)) / "bin" / "python"

    def run(tool: str, jobs: Mapping[str, Job]) -> dict[str, Any]:
        if not python.exists():
            pytest.fail(f"no Norse and SpikingJelly: {python} is missing, `make nir` builds it")
        folder = tmp_path_factory.mktemp(tool)
        for name, (graph, _, spikes) in jobs.items():
            nir.write(folder / f"{name}.nir", graph)
            np.save(folder / f"{name}.npy", spikes)
        steps = {name: dt for name, (_, dt, _) in jobs.items()}
        (folder / "jobs.json").write_text(json.dumps(steps), "utf-8")
        command = [str(python), "-W", "ignore", str(WORKER), tool, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            pytest.fail(f"{tool}: {done.stderr[-2000:]}")
        return {name: dict(np.load(folder / f"{name}.npz")) for name in jobs}

    return run


@pytest.fixture(scope="session")
def lava_dl_tests() -> Path:
    """The folder of NetX's tests and their ground truth, which lava-dl's wheel installs."""
    python = environment.locate().python
    place = "lib/python3.*/site-packages/tests/lava/lib/dl/netx"
    folders = sorted(python.parents[1].glob(place))
    if not folders:
        pytest.fail(f"no tests of lava-dl: {python.parents[1] / place} is missing")
    return folders[0]
