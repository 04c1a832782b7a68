"""A bundle run here: in py-spinnaker2's Brian2 backend, by the same `deploy.py` as on a board."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from neurodeploy.errors import FileError, ModelError, TargetError
from neurodeploy.program import Program
from neurodeploy.targets.spinnaker2.budget import SHORTEST
from neurodeploy.targets.spinnaker2.bundle.jobs import selftest_job
from neurodeploy.targets.spinnaker2.bundle.reading import read_report
from neurodeploy.targets.spinnaker2.bundle.writing import Job, write_bundle
from neurodeploy.targets.spinnaker2.machine import SpiNNaker2Machine
from neurodeploy.trace import Messages, Trace

ATOMS = 128
"""Neurons on a core, of which Brian2 has none: any number does."""


def run_in_brian2(program: Program, inputs: Mapping[str, Messages], *, timeout: float) -> Trace:
    """Spikes of all samples, as py-spinnaker2's Brian2 backend has them.

    Raises
    ------
    TargetError
        py-spinnaker2 is not installed here, cannot be told the program, failed, or took more than
        `timeout` seconds.
    """
    if importlib.util.find_spec("spinnaker2") is None:
        raise TargetError(
            "py-spinnaker2 cannot be imported here",
            node="backend brian2",
            hint="pip install brian2 git+https://gitlab.com/spinnaker2/py-spinnaker2.git",
        )
    job = Job(program, dict.fromkeys(program.shapes, ATOMS), SHORTEST, inputs)
    with tempfile.TemporaryDirectory(prefix="neurodeploy-brian2-") as place:
        folder = Path(place) / "bundle"
        try:
            write_bundle(job, selftest_job(), SpiNNaker2Machine(), folder)
            subprocess.run(
                [sys.executable, str(folder / "deploy.py"), "--backend", "brian2"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
            report = read_report(folder / "report.json", program)
        except subprocess.TimeoutExpired:
            raise TargetError(
                f"Brian2 did not finish within {timeout:g} s", node="backend brian2"
            ) from None
        except (FileError, ModelError) as error:
            raise TargetError(error.message, node="backend brian2", hint=error.hint) from error
        return report.run(program, inputs, timeout=timeout)
