"""What docs/training.md says about `ChipModule`: the example runs, the table was measured."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

import neurodeploy as nd
from tests.builders import small_program
from tests.conformance import chip_module
from tests.pages_of_docs import FOLDER, check


def test_the_example_runs() -> None:
    _, program, given = small_program()
    text = (FOLDER / "training.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(import torch\n.*?)```", text, re.S)
    names = {
        "program": program,
        "spikes": torch.from_numpy(given).float(),
        "labels": torch.arange(6) % 3,
    }
    exec(compile(example, "training.md", "exec"), names)
    trained = names["trained"]
    assert isinstance(trained, nd.Program)
    assert any(
        np.any(one.weight != other.weight)
        for one, other in zip(trained.synapses, program.synapses, strict=True)
    )


def test_the_table_is_what_was_compared() -> None:
    tree = json.loads((FOLDER / "measured" / "chip_module.json").read_text("utf-8"))
    rows = tree["rows"]
    check("training.md", "exactness", chip_module.table(rows))
    for target in chip_module.TARGETS:
        own = [row for row in rows if row["target"] == target]
        assert [row["network"] for row in own] == list(chip_module.NETWORKS)
        assert sum(row["compared"] for row in own) >= 10**8
        assert not any(row["differing"] or row["potentials"] for row in own)


@pytest.mark.parametrize(("target", "network"), [("loihi2", "recurrent"), ("spinnaker2", "dense")])
def test_the_comparison_runs_again(target: str, network: str) -> None:
    row = chip_module.compare(target, network, 100, 4, 12)
    assert (row.differing, row.potentials) == (0, 0)
    assert 0.02 < row.spikes / row.compared < 0.7
