"""The commands of docs/verifying.md run, and its figures hold."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy import api, reference
from neurodeploy.cli import main
from neurodeploy.equivalence.statistics import Proportion
from neurodeploy.program import Program
from tests.builders import SUBTRACT, chain, lif, spikes_for
from tests.pages_of_docs import FOLDER

PAGE = (FOLDER / "verifying.md").read_text("utf-8")
DIFFERS = "neurodeploy diff loihi.ndp spinnaker.ndp"


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    spikes = spikes_for(1, 20, 25, (6,))
    np.save("spikes.npy", spikes)
    graph = chain(
        (6,),
        fc=nir.Linear(rng.normal(0.3, 0.4, (4, 6))),
        lif=lif(np.full(4, 0.9), semantics=SUBTRACT),
    )
    for name, target in (("loihi", "loihi2"), ("spinnaker", "spinnaker2"), ("cpu", "cpu16")):
        api.compile(graph, target=target, calibration=spikes).save(f"{name}.ndp")
    program = Program.load("loihi.ndp")
    np.save("labels.npy", api.run(program, spikes).decisions("lif"))
    source = reference.simulate(api.network_of(program), spikes).spikes["lif"]
    np.savez("source.npz", lif=source)
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 8
    for line in commands:
        name, *arguments = shlex.split(line)
        assert name == "neurodeploy"
        code = main(arguments)
        allowed = (0, 1) if line.startswith((DIFFERS, "neurodeploy report")) else (0,)
        assert code in allowed, line
    for name in ("loihi.html", "verdict.xml", "trace.npz", "targets.html"):
        assert Path(name).stat().st_size > 0


def test_its_figure_holds() -> None:
    (said,) = re.findall(r"reaches\ndown to ([\d.]+) %", PAGE)
    assert f"{100 * Proportion(100, 100).interval[0]:.1f}" == said
