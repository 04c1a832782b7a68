"""Files of the exact profile run by NIRTorch, which knows nothing of our metadata.

NIRTorch reads the file, wires what it finds and calls one module per node; the modules are written
here from NIR's equations by forward Euler, so nothing of ours takes part.  It delays what closes a
loop by a step.  Weights are dyadic, so that sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import nirtorch
import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from neurodeploy.api import write
from neurodeploy.frontends.snntorch import from_snntorch, reference_spikes
from tests.nir_torch import linear_node

DT = 1e-4
STEPS, BATCH = 60, 6


class Stateless(nn.Module):
    """A linear node, a Threshold, an Input or an Output."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.node = node

    def forward(self, x: Any) -> Any:
        if isinstance(self.node, (nir.Input, nir.Output)):
            return x
        if isinstance(self.node, nir.Threshold):
            return (x > torch.tensor(self.node.threshold, dtype=torch.float32)).float()
        return linear_node(self.node, x)


class Neuron(nn.Module):
    """By Euler tau dv/dt = -v + r i, for I and IF dv/dt = r i; LIF and IF reset to 0.

    i is the input, for CubaLI the current of tau_syn di/dt = -i + w_in x.
    """

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.spiking = isinstance(node, (nir.LIF, nir.IF))
        self.theta = torch.tensor(getattr(node, "v_threshold", np.inf), dtype=torch.float32)
        if isinstance(node, (nir.I, nir.IF)):
            steps = [0 * node.r, 0 * node.r + 1, 0 * node.r + 1, DT * node.r]
        else:
            cuba = isinstance(node, nir.CubaLI)
            share = DT / (node.tau_mem if cuba else node.tau)
            slow = DT / node.tau_syn if cuba else 1.0
            steps = [1 - slow + 0 * share, slow * node.w_in if cuba else 0 * share + 1,
                     1 - share, share * node.r]  # fmt: skip
        self.steps = [torch.tensor(step, dtype=torch.float32) for step in steps]

    def forward(self, x: Any, state: Any = None) -> Any:
        i, v = (torch.zeros_like(x),) * 2 if state is None else state
        keep, take, decay, gain = self.steps
        i = keep * i + take * x
        v = decay * v + gain * i
        if not self.spiking:
            return v, (i, v)
        spikes = (v > self.theta).float()
        return spikes, (i, v * (1 - spikes))


def run(path: Path, inputs: np.ndarray) -> np.ndarray:
    """What the file's output delivers, (batch, steps, neurons)."""
    stateless = (nir.Input, nir.Output, nir.Threshold, nir.Linear, nir.Affine, nir.Conv2d,
                 nir.AvgPool2d, nir.Flatten, nir.Scale)  # fmt: skip
    mapping: dict[Any, Callable[[Any], nn.Module]] = dict.fromkeys(stateless, Stateless)
    mapping |= dict.fromkeys((nir.LI, nir.I, nir.CubaLI, nir.LIF, nir.IF), Neuron)
    module = nirtorch.nir_to_torch(str(path), mapping, default_map={})
    state, outputs = None, []
    for t in range(inputs.shape[1]):
        y, state = module(torch.from_numpy(inputs[:, t]), state)
        outputs.append(y.numpy())
    return np.stack(outputs, axis=1)


def dyadic(module: nn.Module) -> nn.Module:
    """Weights and biases (twice as large), and thresholds, as multiples of 1/64."""
    with torch.no_grad():
        for layer in module.modules():
            for name in ("weight", "bias", "V", "threshold"):
                value = getattr(layer, name, None)
                if isinstance(value, torch.Tensor) and value.is_floating_point():
                    factor = 1 if name == "threshold" else 2
                    value.copy_((value * 64 * factor).round() / 64)
    return module.eval()


def dense(**reset: Any) -> tuple[nn.Module, tuple[int, ...]]:
    beta, theta = torch.rand(24) * 0.5 + 0.45, torch.rand(24) * 0.6 + 0.7
    return nn.Sequential(
        nn.Linear(12, 24),
        snn.Leaky(beta=beta, threshold=theta, init_hidden=True, **reset),
        nn.Linear(24, 6, bias=False),
        snn.Leaky(beta=1.0, threshold=0.75, init_hidden=True, **reset),
    ), (12,)


def convolutional(**reset: Any) -> tuple[nn.Module, tuple[int, ...]]:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        snn.Leaky(beta=0.9, threshold=0.5, init_hidden=True, **reset),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 9, 7),
        snn.Leaky(beta=torch.rand(7), threshold=0.25, init_hidden=True, **reset),
    ), (2, 6, 6)


def synaptic(**reset: Any) -> tuple[nn.Module, tuple[int, ...]]:
    alpha, beta = torch.rand(16) * 0.6 + 0.2, torch.rand(16) * 0.6 + 0.3
    return nn.Sequential(
        nn.Linear(12, 16), snn.Synaptic(alpha=alpha, beta=beta, init_hidden=True, **reset)
    ), (12,)


def recurrent(**reset: Any) -> tuple[nn.Module, tuple[int, ...]]:
    """Without a bias in the loop, which NIRTorch leaves out of the first step."""
    neurons = snn.RLeaky(beta=0.8, linear_features=16, init_hidden=True, **reset)
    neurons.recurrent.bias = None
    return nn.Sequential(nn.Linear(12, 16), neurons), (12,)


SUBTRACT, NONE = {"reset_mechanism": "subtract"}, {"reset_mechanism": "none"}
ZERO = {"reset_mechanism": "zero"}


@pytest.mark.parametrize(
    ("build", "reset"),
    [
        (dense, SUBTRACT), (dense, ZERO), (dense, NONE),
        (convolutional, SUBTRACT), (convolutional, ZERO), (convolutional, NONE),
        (synaptic, SUBTRACT), (synaptic, NONE), (recurrent, SUBTRACT), (recurrent, NONE),
    ],
)  # fmt: skip
def test_the_exact_profile_in_nirtorch_is_snntorch(
    build: Any, reset: dict[str, str], tmp_path: Path
) -> None:
    torch.manual_seed(11)
    net, shape = build(**reset)
    dyadic(net)
    spikes = (np.random.default_rng(12).random((BATCH, STEPS, *shape)) < 0.5).astype(np.float32)
    graph = from_snntorch(net, torch.from_numpy(spikes[:1, 0]), dt=DT)
    written = write(graph, tmp_path / "net.nir")
    assert all(not statement.only_in_metadata for statement in written.statements)
    (last,) = (a for a, b in graph.edges if b == "output")
    expected = reference_spikes(net, spikes, graph)[last]
    assert 0.02 < expected.mean() < 0.9
    assert np.array_equal(run(written.path, spikes), expected)


def test_a_potential_that_is_read_is_read(tmp_path: Path) -> None:
    """Of a last layer that never resets: an LI that an Output reads, and no Threshold."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(12, 5)
            self.lif = snn.Leaky(beta=0.75, reset_mechanism="none")

        def forward(self, x: Any, mem: Any = None) -> Any:
            _, mem = self.lif(self.fc(x), mem)
            return mem

    torch.manual_seed(3)
    net = dyadic(Net())
    spikes = (np.random.default_rng(4).random((BATCH, STEPS, 12)) < 0.5).astype(np.float32)
    mem, expected = torch.zeros(BATCH, 5), []
    with torch.no_grad():
        for t in range(STEPS):
            mem = net(torch.from_numpy(spikes[:, t]), mem)
            expected.append(mem.numpy())
    written = write(from_snntorch(net, torch.zeros(1, 12), dt=DT), tmp_path / "net.nir")
    assert {type(node) for node in nir.read(written.path).nodes.values()} == {
        nir.Input, nir.Affine, nir.LI, nir.Output
    }  # fmt: skip
    assert np.array_equal(run(written.path, spikes), np.stack(expected, axis=1))
