"""Every import is compared: what is run, what is found, and where it is kept."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from neurodeploy import api
from neurodeploy.cli import main
from neurodeploy.equivalence.compare import totals
from neurodeploy.errors import FileError, InputError
from neurodeploy.frontends import _snntorch_graph as graphs
from neurodeploy.frontends.comparisons import comparisons
from neurodeploy.frontends.nir import plain
from neurodeploy.frontends.snntorch import from_snntorch
from neurodeploy.semantics import from_metadata, to_metadata


def model() -> nn.Module:
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Linear(5, 8),
        snn.Leaky(0.9, init_hidden=True),
        nn.Linear(8, 3),
        snn.Leaky(0.8, init_hidden=True),
    )
    net[0].weight.data.abs_().mul_(2)
    net[2].weight.data.abs_().mul_(2)
    return net


def test_random_spikes_and_given_inputs() -> None:
    given = np.random.default_rng(0).random((2, 6, 5), np.float32)
    found = comparisons(from_snntorch(model(), torch.zeros(7, 5), inputs=given))
    assert set(found) == {"random spikes", "given inputs"}
    random = found["random spikes"]
    assert (random.samples, random.steps) == (3, 8)
    assert [layer.population for layer in random.layers] == ["1", "3"]
    assert all(layer.expected_spikes for layer in random.layers)
    assert (found["given inputs"].samples, found["given inputs"].steps) == (2, 6)
    assert all(c.passed and totals(c.layers)[0] == 0 for c in found.values())


class FixedBatch(nn.Module):
    """As in a tutorial that flattens with the batch size written down."""

    def __init__(self) -> None:
        super().__init__()
        self.net = model()

    def forward(self, x: Any) -> Any:
        if len(x) != 6:
            raise ValueError("made for batches of 6")
        return self.net(x)


def test_a_model_made_for_one_batch_size_gets_it() -> None:
    found = comparisons(from_snntorch(FixedBatch(), torch.zeros(6, 5)))
    assert found["random spikes"].samples == 6


class Steps(nn.Module):
    """A loop of a fixed number of steps over one input, which therefore must not change."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(5, 4), snn.Leaky(0.9)

    def forward(self, x: Any) -> Any:
        mem, spikes = self.lif.init_leaky(), []
        for _ in range(11):
            spk, mem = self.lif(self.fc(x), mem)
            spikes.append(spk)
        return torch.stack(spikes)


def test_a_loop_over_one_input_is_run_as_long_as_it_runs() -> None:
    found = comparisons(from_snntorch(Steps(), torch.zeros(2, 5)))["random spikes"]
    assert (found.samples, found.steps, found.passed) == (2, 11, True)


def test_a_graph_that_is_not_the_model_is_found_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A builder that loses a bias: said in a warning, and in what is returned."""
    right = graphs.Builder.graph

    def wrong(builder: Any) -> Any:
        graph = right(builder)
        graph.nodes["0"].bias = graph.nodes["0"].bias + 0.5
        return graph

    monkeypatch.setattr(graphs.Builder, "graph", wrong)
    with caplog.at_level(logging.WARNING):
        found = comparisons(from_snntorch(model(), torch.zeros(1, 5)))["random spikes"]
    assert not found.passed
    assert found.first is not None
    assert "not equal on random spikes" in caplog.text
    assert str(found.first) in caplog.text


def test_given_inputs_must_fit() -> None:
    with pytest.raises(InputError, match="expected float32"):
        from_snntorch(model(), torch.zeros(1, 5), inputs=np.zeros((2, 6, 4), np.float32))


def test_a_program_does_not_hold_them() -> None:
    """They may depend on the machine, and a program's bytes must not."""
    graph = from_snntorch(model(), torch.zeros(1, 5))
    entries = from_metadata(plain(api.load(graph).graph)["metadata"], node="graph")
    assert entries is not None
    assert "comparisons" not in entries
    assert entries["framework"] == "snntorch"
    assert comparisons(graph)


def test_metadata_that_hold_something_else_are_refused() -> None:
    graph = from_snntorch(model(), torch.zeros(1, 5))
    graph.metadata.update(to_metadata(comparisons=3))
    with pytest.raises(FileError, match="not a table"):
        comparisons(graph)


def test_inspect_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    api.write(from_snntorch(model(), torch.zeros(1, 5)), tmp_path / "model.nir")
    assert main(["inspect", str(tmp_path / "model.nir")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "compared with its source on random spikes: every spike of 88 cells is equal" in text
    assert main(["inspect", str(tmp_path / "model.nir"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["comparisons"]["random spikes"]["unexplained"] == 0
    assert data["populations"][0]["readout"] == "spikes"
