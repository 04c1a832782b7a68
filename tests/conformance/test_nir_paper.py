"""The reference against what the NIR paper's authors published and stored.

Pedersen et al., Nature Communications 2024; files of neuromorphs/NIR `paper/` at 7232ada.
`01_lif`: one neuron, its input, potential and spikes in several tools.  `02_cnn`: a trained
convolutional network.  `03_rnn`: a trained recurrent network of CUBA neurons, one test sample
(decoded from a figure), and the first layer's spikes as three tools computed them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

import neurodeploy as nd
from neurodeploy.errors import FileError, ModelError
from neurodeploy.frontends.nir import read
from neurodeploy.reference import simulate
from tests.builders import spikes_for

DT = 1e-4
FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "nir_paper"
LIF, CNN, RNN = FOLDER / "01_lif", FOLDER / "02_cnn", FOLDER / "03_rnn"
BRAILLE = RNN / "braille_noDelay_noBias_subtract.nir"

# --- one neuron ----------------------------------------------------------------------------------


def recording(tool: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input spikes (1, 1000, 1), potentials and spikes (1000)."""
    table = np.loadtxt(LIF / f"lif_{tool}.csv", delimiter=",")
    return table[None, :, :1], table[:, 1], table[:, 2]


def run(graph: nir.NIRGraph, semantics: Any, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    """The only neuron's potential at the end of every step, and its spikes."""
    network = nd.load(graph, semantics)
    (population,) = network.populations
    trace = simulate(network, inputs, record=[population.name])
    v = trace.states[population.name]["v"][0, :, 0]
    spikes = trace.spikes[population.name][0, :, 0]
    if population.semantics.reset_timing == "immediate":
        reset_to_zero = population.semantics.reset == "zero"
        v = v - spikes * (v if reset_to_zero else population.threshold[0])
    return v, spikes


@pytest.mark.parametrize(
    ("tool", "preset", "changes", "unit", "tolerance"),
    [
        ("norse", "norse", {}, 1.0, 1e-7),
        ("norse", "euler", {}, 1.0, 1e-7),
        # In snnTorch the input is not divided by tau/dt = 25.
        ("snntorch", "snntorch", {"reset": "zero", "reset_timing": "immediate"}, 25.0, 1e-6),
        ("rockpool", "rockpool", {}, 1.0, 1e-7),
    ],
)
def test_one_neuron(
    tool: str, preset: str, changes: dict[str, Any], unit: float, tolerance: float
) -> None:
    graph = read(LIF / f"lif_{'rockpool' if tool == 'rockpool' else 'norse'}.nir")
    inputs, potential, spikes = recording(tool)
    v, found = run(graph, nd.preset(preset, dt=DT, **changes), inputs)
    assert found.sum() == 4
    assert np.array_equal(found, spikes)
    assert np.abs(unit * v - potential).max() < tolerance


def test_one_neuron_in_spyx() -> None:
    """Recorded with the weight times dt/tau, as Spyx adds its input as it is."""
    graph = read(LIF / "lif_norse.nir")
    weight = graph.nodes["0"].weight * DT / graph.nodes["1"].tau
    nodes = {**graph.nodes, "0": replace(graph.nodes["0"], weight=weight)}
    inputs, potential, spikes = recording("spyx")
    scaled = nir.NIRGraph(nodes, list(graph.edges), type_check=False)
    v, found = run(scaled, nd.preset("spyx", dt=DT), inputs)
    assert np.array_equal(found[:-1], spikes[1:])
    assert np.abs(v - potential).max() < 1e-7


def test_one_neuron_in_spinnaker2() -> None:
    """Recorded from a simulation in Brian2 without its first step, with a weight rounded to 102."""
    inputs, potential, spikes = recording("spinnaker2")
    semantics = nd.preset("spinnaker2", dt=DT, integrator="euler", reset="zero")
    v, found = run(read(LIF / "lif_norse.nir"), semantics, inputs)
    assert np.array_equal(found[1:], spikes[:-1])
    assert np.abs(v[1:] * 25 * 102 / 102.02 - potential[:-1]).max() < 1e-6


def test_one_neuron_solved_exactly() -> None:
    """The recording resets within a step, at the very time of the spike: v is equal until then."""
    inputs, potential, spikes = recording("exact")
    v, found = run(read(LIF / "lif_norse.nir"), "exact", inputs)
    assert np.array_equal(found, spikes)
    until = int(np.flatnonzero(spikes)[0])
    assert np.abs(v - potential)[:until].max() < 1e-9
    v, _ = run(read(LIF / "lif_norse.nir"), "euler", inputs)
    assert np.abs(v - potential)[:until].max() > 1e-4


def test_a_wrong_shape_of_the_output_is_refused() -> None:
    with pytest.raises(ModelError, match=r"output: is declared as \(1, 1, 1\) and gets \(1,\)"):
        nd.load(LIF / "lif_rockpool.nir", "exact")


# --- trained networks ----------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["norse", "spikingjelly"])
def test_the_trained_networks_in_the_tool_itself(tool: str, run_tool: Any) -> None:
    sample = np.load(RNN / "braille_test0_input.npy")[None].astype(np.uint8)
    # SpikingJelly takes IF neurons of r = 1/dt only.
    jobs = {
        "cnn": (read(CNN / "cnn_sinabs.nir"), 1.0, spikes_for(5, 2, 15, (2, 34, 34), 0.1)),
        "rnn": (read(BRAILLE), DT, np.concatenate([sample, spikes_for(6, 3, 256, (12,), 0.5)])),
    }
    cells = 0
    for name, sent in run_tool(tool, jobs).items():
        graph, dt, inputs = jobs[name]
        found = simulate(nd.load(graph, nd.preset(tool, dt=dt)), inputs).spikes
        for population, spikes in sent.items():
            assert spikes.any()
            np.testing.assert_array_equal(found[population], spikes, f"{name} {population}")
            cells += spikes.size
    assert cells == 2 * 15 * 8970 + 4 * 256 * 47


def test_the_convolutional_network_with_several_spikes_per_step() -> None:
    network = nd.load(CNN / "cnn_sinabs.nir", "sinabs")
    found = simulate(network, spikes_for(5, 1, 15, (2, 34, 34), 0.5)).spikes
    assert found[network.outputs[0]].shape == (1, 15, 10)
    assert max(int(spikes.max()) for spikes in found.values()) > 1


@pytest.mark.parametrize(
    ("tool", "changes", "late"),
    [
        ("snntorch", {"reset_timing": "held"}, 0),  # it was trained with reset_delay=False
        ("norse", {}, 0),  # Norse ran it with another reset
        ("spyx", {}, 1),
    ],
)
def test_a_trained_recurrent_network_gives_the_stored_spikes(
    tool: str, changes: dict[str, Any], late: int
) -> None:
    spikes = np.load(RNN / "braille_test0_input.npy")[None]
    stored = np.load(RNN / f"{tool}_activity_noDelay_noBias_subtract.npy").reshape(256, 40)
    network = nd.load(BRAILLE, nd.preset(tool, dt=DT, **changes))
    found = simulate(network, spikes).spikes["lif1.lif"][0]
    assert found.sum() > 100
    np.testing.assert_array_equal(found[: 256 - late], stored[late:])


def test_another_reset_gives_other_spikes() -> None:
    spikes = np.load(RNN / "braille_test0_input.npy")[None]
    stored = np.load(RNN / "snntorch_activity_noDelay_noBias_subtract.npy")
    found = simulate(nd.load(BRAILLE, nd.Semantics(reset="subtract")), spikes).spikes["lif1.lif"][0]
    assert np.count_nonzero(found != stored.reshape(found.shape)) == 46


def test_a_trained_model_is_what_its_file_says() -> None:
    """Weights and decays of the state dictionary, bit for bit."""
    path = RNN / "model_noDelay_noBias_ref_subtract.pt"
    model = torch.load(path, weights_only=True, map_location="cpu")
    network = nd.load(BRAILLE, "snntorch")
    for name, layer in (("lif1.lif", "lif1"), ("lif2", "lif2")):
        (population,) = (p for p in network.populations if p.name == name)
        assert np.all(population.current_decay == float(model[f"{layer}.alpha"]))
        assert np.all(population.decay == float(model[f"{layer}.beta"]))
        assert np.all(population.threshold == float(model[f"{layer}.threshold"]))
    for source, target, weight in (
        ("input", "lif1.lif", "fc1.weight"),
        ("lif1.lif", "lif1.lif", "lif1.recurrent.weight"),
        ("lif1.lif", "lif2", "fc2.weight"),
    ):
        (connection,) = (c for c in network.incoming(target) if c.source == source)
        assert len(connection.ops) == 1, "the gain is exactly 1"
        matrix = model[weight].numpy()
        assert np.array_equal(connection.apply(np.eye(matrix.shape[1])).T, matrix)


def test_a_subgraph_with_a_dangling_edge_is_refused_by_name() -> None:
    with pytest.raises(FileError, match="'lif' which does not exist"):
        nd.load(RNN / f"{BRAILLE.stem}_subgraph.nir", nd.Semantics())
