"""snn.Alpha as plain NIR: integrators, their difference, a factor, and a threshold."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")

from torch import nn  # noqa: E402

from neurodeploy import api  # noqa: E402
from neurodeploy.frontends.snntorch import from_snntorch, reference_spikes  # noqa: E402
from neurodeploy.reference import simulate  # noqa: E402
from neurodeploy.semantics import from_metadata  # noqa: E402

BATCH, STEPS, SIZE = 4, 50, 8


def network(alpha: Any, beta: Any, **options: Any) -> Any:
    torch.manual_seed(1)
    neuron = snn.Alpha(alpha, beta, reset_mechanism="none", init_hidden=True, **options)
    net = nn.Sequential(nn.Linear(6, SIZE), neuron)
    for parameter in net[0].parameters():
        parameter.data = torch.randint(-12, 13, parameter.shape) / 16
    return net


def drive() -> Any:
    return (torch.rand(BATCH, STEPS, 6) < 0.4).float()


def potentials(net: Any, inputs: Any) -> Any:
    net[1].reset_mem()
    with torch.no_grad():
        found = []
        for step in range(STEPS):
            net(inputs[:, step])
            found.append(net[1].mem)
    return torch.stack(found, 1).numpy()


@pytest.mark.parametrize(
    ("alpha", "beta"),
    [(0.9, 0.8), (torch.linspace(0.6, 0.95, SIZE), torch.linspace(0.0, 0.55, SIZE)), (1.0, 0.5)],
    ids=["scalar", "vector", "no decay"],
)
def test_the_potential_is_snntorchs_bit_for_bit(alpha: Any, beta: Any) -> None:
    net, inputs = network(alpha, beta, threshold=0.75), drive()
    graph = from_snntorch(net, inputs[:, 0])
    trace = simulate(api.load(graph), inputs.numpy(), record=["1"], rounded=True)
    np.testing.assert_array_equal(trace.states["1"]["v"], potentials(net, inputs))
    expected = reference_spikes(net, inputs.numpy(), graph)["1"]
    np.testing.assert_array_equal(trace.spikes["1"], expected)
    assert 10 < expected.sum() < expected.size - 10


def test_the_graph_is_plain_nir() -> None:
    graph = from_snntorch(network(0.9, 0.8), drive()[:, 0], dt=1e-3)
    assert {name: type(node) for name, node in graph.nodes.items()} == {
        "input": nir.Input,
        "0": nir.Affine,
        "1.excitatory": nir.LI,
        "1.inhibitory": nir.LI,
        "1.negative": nir.Scale,
        "1.difference": nir.LI,
        "1.factor": nir.Scale,
        "1": nir.Threshold,
        "output": nir.Output,
    }
    assert set(graph.edges) == {
        ("input", "0"),
        ("0", "1.excitatory"),
        ("0", "1.inhibitory"),
        ("1.inhibitory", "1.negative"),
        ("1.excitatory", "1.difference"),
        ("1.negative", "1.difference"),
        ("1.difference", "1.factor"),
        ("1.factor", "1"),
        ("1", "output"),
    }
    for name, decay in (("excitatory", 0.9), ("inhibitory", 0.8), ("difference", 0.0)):
        node = graph.nodes[f"1.{name}"]
        np.testing.assert_array_equal((1 - 1e-3 / node.tau).astype(np.float32), np.float32(decay))
        entries = from_metadata(node.metadata, node=name)
        assert entries is not None
        assert entries["semantics"]["dt"] == 1e-3
    factor = np.log(0.9) / (np.log(0.8) - np.log(0.9)) + 1
    np.testing.assert_allclose(graph.nodes["1.factor"].scale, factor, rtol=1e-6)


def test_its_potential_can_be_an_output() -> None:
    class Read(nn.Sequential):
        def forward(self, x: Any) -> Any:
            return super().forward(x)[-1]

    net, inputs = Read(*network(0.9, 0.8, output=True)), drive()
    found = simulate(api.load(from_snntorch(net, inputs[:, 0])), inputs.numpy(), rounded=True)
    np.testing.assert_array_equal(found.values["1"], potentials(net, inputs))
