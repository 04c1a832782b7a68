"""The reference against snnTorch itself, through NIR: the whole way in, spike by spike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from neurodeploy import api
from neurodeploy.equivalence.compare import compare
from neurodeploy.frontends.snntorch import from_snntorch, reference_spikes
from neurodeploy.reference import simulate
from neurodeploy.trace import Trace

RESETS = [
    {"reset_mechanism": "subtract", "reset_delay": True},
    {"reset_mechanism": "subtract", "reset_delay": False},
    {"reset_mechanism": "zero", "reset_delay": True},
    {"reset_mechanism": "zero", "reset_delay": False},
    {"reset_mechanism": "none"},
]


def dense(**reset: Any) -> tuple[nn.Module, tuple[int, ...]]:
    """Per-neuron decays and thresholds."""
    net = nn.Sequential(
        nn.Linear(12, 24),
        snn.Leaky(
            beta=torch.rand(24) * 0.5 + 0.5,
            threshold=torch.rand(24) * 0.6 + 0.7,
            init_hidden=True,
            **reset,
        ),
        nn.Linear(24, 6, bias=False),
        snn.Leaky(beta=0.8, init_hidden=True, **reset),
    )
    return net, (12,)


def convolutional(**reset: Any) -> tuple[nn.Module, tuple[int, ...]]:
    """Convolutions, batch norm, pooling, dropout, flattening."""
    net = nn.Sequential(
        nn.Conv2d(2, 6, (3, 2), stride=(1, 2), padding=(1, 0)),
        nn.BatchNorm2d(6),
        snn.Leaky(beta=0.9, init_hidden=True, **reset),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 6, 3, padding=1, groups=3, bias=False),
        snn.Leaky(beta=torch.rand(6, 1, 1), init_hidden=True, **reset),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(6 * 4 * 2, 5),
        snn.Leaky(beta=0.7, threshold=0.5, init_hidden=True, **reset),
    )
    norm = net[1]
    norm.running_mean.uniform_(-0.2, 0.2)
    norm.running_var.uniform_(0.5, 2.0)
    return net, (2, 8, 8)


@pytest.mark.parametrize("reset", RESETS, ids=str)
@pytest.mark.parametrize("build", [dense, convolutional])
def test_reference_equals_snntorch(build: Any, reset: dict[str, Any]) -> None:
    """Float32 sums differ from float64 ones in the last bits, so a tie may fall either way."""
    torch.manual_seed(3)
    net, shape = build(**reset)
    net.eval()
    for parameter in net.parameters():
        parameter.data.mul_(2.0)
    spikes = (np.random.default_rng(4).random((16, 40, *shape)) < 0.4).astype(np.float32)
    graph = from_snntorch(net, torch.from_numpy(spikes[:1, 0]))
    network = api.load(graph)
    source = Trace(reference_spikes(net, spikes, graph))
    names = [population.name for population in network.populations]
    layers = compare(source, simulate(network, spikes), names)
    cells = sum(layer.cells for layer in layers)
    assert all(layer.expected_spikes > 0.01 * layer.cells for layer in layers)
    assert sum(layer.mismatches for layer in layers) <= 1e-4 * cells


HIDDEN = {"init_hidden": True}


def test_synaptic_currents_from_snntorch_to_lava() -> None:
    """The whole way: reset to zero with a synaptic current, per-neuron decays and biases."""
    torch.manual_seed(7)
    reset = {"reset_mechanism": "zero", "reset_delay": False}
    net = nn.Sequential(
        nn.Linear(12, 20),
        snn.Synaptic(alpha=torch.rand(20) * 0.9, beta=torch.rand(20), **reset, **HIDDEN),
        nn.Linear(20, 4),
        snn.Synaptic(alpha=0.5, beta=0.9, **reset, **HIDDEN),
    )
    net[0].weight.data.mul_(2.0)
    net.eval()
    spikes = (np.random.default_rng(8).random((40, 30, 12)) < 0.4).astype(np.float32)
    graph = from_snntorch(net, torch.from_numpy(spikes[:1, 0]))
    program = api.compile(graph, target="loihi2", calibration=spikes)
    verdict = api.verify(
        program, spikes, source=reference_spikes(net, spikes, graph), vendor_samples=10
    )
    vendor, lowering = verdict.stage("vendor"), verdict.stage("lowering")
    assert (vendor.status, vendor.mismatches) == ("passed", 0)
    assert vendor.cells == 10 * 30 * 24
    assert verdict.stage("import").status == "passed"
    assert lowering.layers[0].spikes > 0
    assert lowering.mismatches < 0.02 * lowering.cells
