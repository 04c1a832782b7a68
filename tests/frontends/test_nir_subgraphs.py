"""Subgraphs mean what their nodes mean in their place."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy import api, reference
from neurodeploy.errors import ModelError
from neurodeploy.frontends.nir_subgraphs import inlined
from neurodeploy.semantics import Semantics

SEMANTICS = Semantics(dt=1e-3)
WEIGHT = np.random.default_rng(0).uniform(-1, 3, (4, 3))
BACK = np.random.default_rng(1).uniform(-1, 1, (4, 4))


def lif() -> nir.LIF:
    one = np.ones(4)
    return nir.LIF(tau=0.01 * one, r=10 * one, v_leak=0 * one, v_threshold=one, v_reset=0 * one)


def flat() -> nir.NIRGraph:
    nodes = {
        "input": nir.Input(np.array([3])),
        "fc": nir.Linear(WEIGHT),
        "lif": lif(),
        "back": nir.Linear(BACK),
        "output": nir.Output(np.array([4])),
    }
    edges = [
        ("input", "fc"), ("fc", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output"),
    ]  # fmt: skip
    return nir.NIRGraph(nodes, edges, type_check=False)


def cell() -> nir.NIRGraph:
    """The recurrent layer as a graph of its own."""
    nodes = {
        "in": nir.Input(np.array([4])),
        "lif": lif(),
        "back": nir.Linear(BACK),
        "out": nir.Output(np.array([4])),
    }
    edges = [("in", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "out")]
    return nir.NIRGraph(nodes, edges, type_check=False)


def nested(levels: int = 1, inner: nir.NIRGraph | None = None) -> nir.NIRGraph:
    inner = cell() if inner is None else inner
    for _ in range(levels - 1):
        nodes = {
            "in": nir.Input(np.array([4])), "cell": inner, "out": nir.Output(np.array([4])),
        }  # fmt: skip
        inner = nir.NIRGraph(nodes, [("in", "cell"), ("cell", "out")], type_check=False)
    nodes = {
        "input": nir.Input(np.array([3])),
        "fc": nir.Linear(WEIGHT),
        "cell": inner,
        "output": nir.Output(np.array([4])),
    }
    edges = [("input", "fc"), ("fc", "cell"), ("cell", "output")]
    return nir.NIRGraph(nodes, edges, type_check=False)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_a_subgraph_gives_the_same_spikes(levels: int, tmp_path: Path) -> None:
    spikes = (np.random.default_rng(2).random((3, 30, 3)) < 0.4).astype(np.uint8)
    nir.write(str(tmp_path / "a.nir"), nested(levels))
    network = api.load(tmp_path / "a.nir", SEMANTICS)
    name = ".".join(["cell"] * levels) + ".lif"
    assert network.outputs == (name,)
    found = reference.simulate(network, spikes).spikes[name]
    expected = reference.simulate(api.load(flat(), SEMANTICS), spikes).spikes["lif"]
    np.testing.assert_array_equal(found, expected)
    assert found.any()


def test_a_flat_graph_is_left_as_it_is() -> None:
    graph = flat()
    assert inlined(graph) is graph


def test_two_inputs_are_refused() -> None:
    inner = cell()
    inner.nodes["more"] = nir.Input(np.array([4]))
    with pytest.raises(ModelError, match="cell: the subgraph has 2 Input nodes"):
        inlined(nested(inner=inner))


def test_an_empty_subgraph_is_refused() -> None:
    with pytest.raises(ModelError, match="cell: the subgraph has 0 Input nodes"):
        inlined(nested(inner=nir.NIRGraph({}, [], type_check=False)))


def test_a_subgraph_that_does_nothing_is_refused() -> None:
    inner = cell()
    inner.edges.append(("in", "out"))
    with pytest.raises(ModelError, match="straight to its output"):
        inlined(nested(inner=inner))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ModelError, match="nested deeper than 32"):
        inlined(nested(levels=40))
