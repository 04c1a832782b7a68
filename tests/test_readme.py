"""The README's Python and its commands run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.cli import main

README = Path(__file__).resolve().parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)


def test_the_python_example_and_the_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import nir
    import torch

    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    # Ten random untrained outputs may decide otherwise on the chip; Lava may not.
    compared, verified, *_ = capsys.readouterr().out.splitlines()
    assert compared.startswith("every spike of")
    assert verified.split()[1] == "0"
    nir.write("model.nir", names["graph"])
    np.save("spikes.npy", names["x"])
    labels = names["verdict"].trace.decisions("3")
    np.save("labels.npy", labels)
    commands = [line for block in blocks("sh") for line in block.splitlines() if " model." in line]
    assert len(commands) == 10
    for line in commands:
        program, *arguments = shlex.split(line)
        assert program == "neurodeploy"
        assert main(arguments) in ((0, 1) if arguments[0] in ("verify", "explore") else (0,)), line
