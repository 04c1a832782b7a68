"""The reference against the tools that write and run NIR files, spike by spike.

`test_the_same_graph_in_...` runs the tools themselves (the environment that `make` builds);
`FILES` were written by the tools' own exporters, with the spikes that they computed, by the scripts
in `nir_tools`.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.errors import ModelError, SemanticsError
from neurodeploy.frontends.nir import read
from neurodeploy.reference import simulate
from neurodeploy.semantics import to_metadata
from tests.builders import spikes_for

DT = 1e-3
FOLDER = Path(__file__).resolve().parent / "nir_tools" / "files"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "nir.md"

# --- the tools themselves ------------------------------------------------------------------------


def dyadic(rng: np.random.Generator, shape: tuple[int, ...], size: float) -> np.ndarray:
    """Multiples of 1/64: their sums are exact in float32 in any order."""
    return (np.round(rng.normal(0, size, shape) * 64) / 64).astype(np.float32)


def neuron(kind: str, rng: np.random.Generator, *shape: int, uniform: bool) -> nir.NIRNode:
    """`lif` and `weak` (r = 1) have tau, `cuba` has two; `if` and `step` (r = 1) have none."""
    ones, none = np.ones(shape), np.zeros(shape)
    theta = np.full(shape, 0.9871)  # no sum of multiples of 1/64 is at it
    draw = np.full(shape, rng.uniform(2.5, 9)) if uniform else rng.uniform(2.5, 9, shape)
    if kind in ("if", "step"):
        return nir.IF(ones / DT if kind == "if" else ones, ones, none)
    if kind == "cuba":
        ratio = 0.4 * draw
        return nir.CubaLIF(DT * ratio, DT * draw, draw, none, theta, none, ratio)
    return nir.LIF(DT * draw, draw if kind == "lif" else ones, none, theta, none)


def dense(kind: str, rng: np.random.Generator, *, uniform: bool) -> nir.NIRGraph:
    """Two layers of neurons."""
    gain = 5.0 if kind == "weak" else 1.0
    nodes = {
        "input": nir.Input(np.array([20])),
        "fc1": nir.Affine(dyadic(rng, (60, 20), 0.4 * gain), dyadic(rng, (60,), 0.1)),
        "lif1": neuron(kind, rng, 60, uniform=uniform),
        "fc2": nir.Linear(dyadic(rng, (30, 60), 0.4 * gain)),
        "lif2": neuron(kind, rng, 30, uniform=uniform),
        "output": nir.Output(np.array([30])),
    }
    return nir.NIRGraph(nodes, list(pairwise(nodes)))


def convolutional(kind: str, pool: type, rng: np.random.Generator) -> nir.NIRGraph:
    """Convolution, IF neurons, pooling, flattening, IF neurons."""
    nodes = {
        "input": nir.Input(np.array([2, 12, 12])),
        "conv": nir.Conv2d(
            (12, 12), dyadic(rng, (6, 2, 3, 3), 0.4), 1, 1, 1, 1, dyadic(rng, (6,), 0.1)
        ),
        "if1": neuron(kind, rng, 6, 12, 12, uniform=True),
        "pool": pool(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flatten": nir.Flatten({"input": np.array([6, 6, 6])}, 0, -1),
        "fc": nir.Linear(dyadic(rng, (10, 216), 0.3)),
        "if2": neuron(kind, rng, 10, uniform=True),
        "output": nir.Output(np.array([10])),
    }
    return nir.NIRGraph(nodes, list(pairwise(nodes)))


def recurrent(kind: str, rng: np.random.Generator, *, bias: bool, uniform: bool) -> nir.NIRGraph:
    """A recurrent layer, with or without a bias in its loop."""
    weight = dyadic(rng, (40, 40), 0.2)
    nodes = {
        "input": nir.Input(np.array([20])),
        "fc": nir.Affine(dyadic(rng, (40, 20), 0.4), dyadic(rng, (40,), 0.1)),
        "lif": neuron(kind, rng, 40, uniform=uniform),
        "loop": nir.Affine(weight, dyadic(rng, (40,), 0.3)) if bias else nir.Linear(weight),
        "output": nir.Output(np.array([40])),
    }
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "loop"), ("loop", "lif"), ("lif", "output")]
    return nir.NIRGraph(nodes, edges)


def branched(kind: str, rng: np.random.Generator, *, uniform: bool) -> nir.NIRGraph:
    """Two ways from the first layer to the second."""
    graph = dense(kind, rng, uniform=uniform)
    nodes = {**graph.nodes, "skip": nir.Linear(dyadic(rng, (30, 60), 0.2))}
    return nir.NIRGraph(nodes, [*graph.edges, ("lif1", "skip"), ("skip", "lif2")])


def looped(rng: np.random.Generator, *, uniform: bool) -> nir.NIRGraph:
    """The second layer feeds the first, with biases on the way."""
    graph = dense("cuba", rng, uniform=uniform)
    back = nir.Affine(dyadic(rng, (60, 30), 0.2), dyadic(rng, (60,), 0.3))
    nodes = {**graph.nodes, "back": back}
    return nir.NIRGraph(nodes, [*graph.edges, ("lif2", "back"), ("back", "lif1")])


def tie() -> nir.NIRGraph:
    """A neuron that an input of ones leads to exactly its threshold."""
    one = np.ones(1)
    nodes = {
        "input": nir.Input(np.array([1])),
        "fc": nir.Linear(np.array([[0.5]], np.float32)),
        "neuron": nir.IF(one, one, np.zeros(1)),
        "output": nir.Output(np.array([1])),
    }
    return nir.NIRGraph(nodes, [("input", "fc"), ("fc", "neuron"), ("neuron", "output")])


def graphs(tool: str) -> dict[str, nir.NIRGraph]:
    """What the tool's importer takes: SpikingJelly wants one time constant for all neurons."""
    rng = np.random.default_rng(11)
    uniform = tool == "spikingjelly"
    kind, pool = ("if", nir.AvgPool2d) if uniform else ("step", nir.SumPool2d)
    found = {
        "LIF": dense("lif" if uniform else "weak", rng, uniform=uniform),
        "CubaLIF": dense("cuba", rng, uniform=uniform),
        "convolution": convolutional(kind, pool, rng),
    }
    for bias in (False, True):
        found[f"recurrent{bias}"] = recurrent("cuba", rng, bias=bias, uniform=uniform)
    found["loop of two"] = looped(rng, uniform=uniform)
    if tool == "spikingjelly":
        found["branches"] = branched("lif", rng, uniform=True)
    return found


@pytest.fixture(scope="module", params=["norse", "spikingjelly"])
def ran(request: Any, run_tool: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The tool's name, the jobs, and the spikes that the tool computed."""
    tool = request.param
    jobs = {
        name: (
            graph,
            DT,
            spikes_for(3, 6, 60, tuple(graph.nodes["input"].input_type["input"]), 0.3),
        )
        for name, graph in graphs(tool).items()
    }
    jobs["tie"] = (tie(), 1.0, np.ones((1, 12, 1), np.uint8))
    return tool, jobs, run_tool(tool, jobs)


def test_the_same_graph_in_the_tool_itself(ran: Any) -> None:
    tool, jobs, sent = ran
    cells = 0
    for name, (graph, dt, inputs) in jobs.items():
        trace = simulate(nd.load(graph, nd.preset(tool, dt=dt)), inputs)
        for population, spikes in sent[name].items():
            assert 0.01 < spikes.mean() < 0.9, (name, population)
            np.testing.assert_array_equal(trace.spikes[population], spikes, f"{name} {population}")
            cells += spikes.size
    assert cells > 400_000
    assert f"| {cells:,} neuron-steps" in DOCUMENT.read_text("utf-8")


def test_norse_joins_branches_in_its_own_order(run_tool: Any) -> None:
    """Which is why the preset refuses them: the order of edges decides what meets in one step."""
    graph = branched("weak", np.random.default_rng(12), uniform=False)
    with pytest.raises(SemanticsError, match="lif2: fc2 and skip meet here"):
        nd.load(graph, nd.preset("norse", dt=DT))
    other = nir.NIRGraph(dict(graph.nodes), graph.edges[::-1])
    inputs = spikes_for(3, 6, 60, (20,), 0.3)
    sent = run_tool("norse", {"one": (graph, DT, inputs), "other": (other, DT, inputs)})
    assert np.array_equal(sent["one"]["lif1"], sent["other"]["lif1"])
    same_step = simulate(nd.load(graph, nd.preset("euler", dt=DT)), inputs).spikes["lif2"]
    assert any(np.any(found["lif2"] != same_step) for found in sent.values())


def test_a_potential_at_the_threshold(ran: Any) -> None:
    """It grows by 0.5 a step: Norse waits for 1.5, SpikingJelly fires at 1.0."""
    tool, _, sent = ran
    (spikes,) = sent["tie"].values()
    every = {"norse": 3, "spikingjelly": 2}[tool]
    assert np.flatnonzero(spikes).tolist() == list(range(every - 1, 12, every))


# --- files that the tools wrote ------------------------------------------------------------------

# name -> (changes to the preset of that tool, steps from the reference's spike to the tool's)
FILES: dict[str, tuple[dict[str, Any], int]] = {
    "lava_lif": ({}, 0),
    "norse_iaf": ({}, 0),
    "norse_lif": ({"dt": 1e-6}, 0),  # Norse writes dt times tau
    "rockpool_lif": ({}, 0),
    "sinabs_iaf": ({}, 0),
    "sinabs_lif": ({}, 0),
    "snntorch_leaky": ({}, 0),
    "snntorch_rleaky": ({}, 0),
    "snntorch_zero": ({"reset": "zero"}, 0),
    "spikingjelly_conv": ({}, 0),
    "spikingjelly_cuba": ({}, 0),
    "spyx_conv": ({}, 1),
    "spyx_dense": ({}, 1),
    "spyx_rlif": ({}, 1),
}


def stored(name: str, folder: Path) -> tuple[nir.NIRGraph, np.ndarray, dict[str, np.ndarray]]:
    """A file, read as a user would, with the inputs and spikes that belong to it."""
    path = folder / f"{name}.nir"
    path.write_bytes(gzip.decompress((FOLDER / f"{name}.nir.gz").read_bytes()))
    arrays = dict(np.load(FOLDER / f"{name}.npz"))
    return read(path), arrays.pop("input"), arrays


def mismatches(network: nd.Network, inputs: Any, sent: dict[str, Any], late: int = 0) -> int:
    found = simulate(network, inputs).spikes
    return sum(
        int(np.count_nonzero(found[name][:, : spikes.shape[1] - late] != spikes[:, late:]))
        for name, spikes in sent.items()
    )


@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_the_spikes_of_the_tool_that_wrote_it(name: str, tmp_path: Path) -> None:
    changes, late = FILES[name]
    graph, inputs, sent = stored(name, tmp_path)
    network = nd.load(graph, nd.preset(name.partition("_")[0], **changes))
    assert set(sent) <= set(network.shapes)
    assert mismatches(network, inputs, sent, late) == 0


@pytest.mark.parametrize("name", FILES)
def test_another_reset_gives_other_spikes(name: str, tmp_path: Path) -> None:
    """The recordings can tell."""
    changes, late = FILES[name]
    graph, inputs, sent = stored(name, tmp_path)
    right = nd.preset(name.partition("_")[0], **changes)
    other = "subtract" if right.semantics.reset == "zero" else "zero"
    wrong = nd.preset(name.partition("_")[0], **{**changes, "reset": other})
    assert mismatches(nd.load(graph, wrong), inputs, sent, late) > 0


def test_every_tool_with_a_preset_has_a_file_but_spinnaker2() -> None:
    from neurodeploy.frontends.presets import PRESETS

    tools = {name.partition("_")[0] for name in FILES}
    assert set(PRESETS) - tools == {"euler", "exact", "spinnaker2"}


def test_the_documentation_names_every_file() -> None:
    names = {path.name.removesuffix(".nir.gz") for path in FOLDER.glob("*.nir.gz")}
    assert set(FILES) <= names
    text = DOCUMENT.read_text("utf-8")
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_norse_writes_other_time_constants(tmp_path: Path) -> None:
    """Norse itself reads its file as faster than a step; the refusal says what to do."""
    graph, _, _ = stored("norse_lif", tmp_path)
    with pytest.raises(ModelError, match=r"1: dt = 0.001 s is longer .* --dt 1e-6"):
        nd.load(graph, "norse")


def test_norse_writes_lifcell_without_the_gain_of_its_synapse(tmp_path: Path) -> None:
    """LIFCell adds its input to the current as it is: w_in should be tau_syn/dt, and is 1."""
    graph, inputs, sent = stored("norse_cuba", tmp_path)
    with pytest.raises(ModelError, match="--dt 1e-6"):
        nd.load(graph, "norse")
    semantics = nd.preset("norse", dt=1e-6)
    assert mismatches(nd.load(graph, semantics), inputs, sent) > 0
    node = graph.nodes["1"]
    mended = replace(node, w_in=np.asarray(node.tau_syn) / 1e-6)
    mended = nir.NIRGraph({**graph.nodes, "1": mended}, list(graph.edges), type_check=False)
    assert mismatches(nd.load(mended, semantics), inputs, sent) == 0


def test_sinabs_does_not_write_norm_input(tmp_path: Path) -> None:
    """Without norm_input, sinabs adds inputs as they are, and writes r = 1 all the same."""
    graph, inputs, sent = stored("sinabs_raw", tmp_path)
    assert mismatches(nd.load(graph, "sinabs"), inputs, sent) > 0
    nodes = dict(graph.nodes)
    said = to_metadata(semantics=nd.preset("sinabs").semantics.to_dict(), dtype="float32")
    for name in sent:
        share = -np.expm1(-1 / nodes[name].tau.astype(float))
        nodes[name] = replace(nodes[name], r=1 / share, metadata=said)
    mended = nir.NIRGraph(nodes, list(graph.edges), type_check=False)
    assert mismatches(nd.load(mended), inputs, sent) == 0


def test_rockpool_writes_the_axes_of_its_sample(tmp_path: Path) -> None:
    graph, _, _ = stored("rockpool_lif", tmp_path)
    with pytest.raises(ModelError, match=r"shape \(1, 12\)"):
        nd.load(graph, "exact")
    with pytest.raises(SemanticsError, match=r"r says that a step is 0.001 s.*--dt 0.001"):
        nd.load(graph, nd.preset("rockpool", dt=1e-4))
