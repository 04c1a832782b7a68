"""The snnTorch front end against snnTorch itself.

`run_graph` is a small Euler interpreter of the produced NIR graph, with float32 operations in
snnTorch's order, so spikes must be equal entry by entry.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from neurodeploy.errors import InputError, ModelError  # noqa: E402
from neurodeploy.frontends.snntorch import from_snntorch, reference_spikes  # noqa: E402
from neurodeploy.semantics import Semantics, from_metadata  # noqa: E402
from tests.nir_torch import one_step, tensor32  # noqa: E402

BATCH, STEPS = 3, 25
DT = 1e-4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)


# An interpreter of NIR graphs


class Neuron:
    """One LIF or IF node, as its metadata say."""

    def __init__(self, node: Any, name: str) -> None:
        entries = from_metadata(node.metadata, node=name)
        assert entries is not None
        semantics = Semantics.from_dict(entries["semantics"])
        assert (semantics.comparison, semantics.integrator) == (">", "euler")
        assert semantics.rounding == "float32"
        assert semantics.edge_delay == 0
        self.reset, self.timing = semantics.reset, semantics.reset_timing
        if isinstance(node, nir.IF):
            decay, gain = np.ones_like(node.r), node.r * semantics.dt
        else:
            decay, gain = 1 - semantics.dt / node.tau, node.r * semantics.dt / node.tau
            assert not node.v_leak.any()
        assert not node.v_reset.any()
        assert (gain.astype(np.float32) == 1).all()
        assert node.v_threshold.dtype == decay.dtype == np.float64
        self.decay, self.threshold = tensor32(decay), tensor32(node.v_threshold)
        self.v = torch.zeros(node.v_threshold.shape)

    def step(self, x: Any) -> Any:
        before = (self.v - self.threshold > 0).float()
        if self.reset == "zero" and self.timing == "delayed":
            self.v = (1 - before) * self.v
        self.v = self.decay * self.v + x
        if self.reset == "subtract":
            self.v = self.v - before * self.threshold
        spikes = (self.v - self.threshold > 0).float()
        if self.reset == "subtract" and self.timing == "held":
            self.v = self.v - (spikes - before) * self.threshold
        elif self.reset == "zero" and self.timing == "immediate":
            self.v = self.v * (1 - spikes)
        return spikes


def run_graph(graph: Any, inputs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Spikes [B, T, ...] of every neuron node, and what every output node receives."""
    neurons = {
        name: Neuron(node, name)
        for name, node in graph.nodes.items()
        if isinstance(node, (nir.LIF, nir.IF))
    }
    sources = {n: [a for a, b in graph.edges if b == n] for n in graph.nodes}
    spikes: dict[str, list[Any]] = {name: [] for name in neurons}
    outputs: dict[str, list[Any]] = {
        name: [] for name, node in graph.nodes.items() if isinstance(node, nir.Output)
    }
    fire = {name: neuron.step for name, neuron in neurons.items()}
    for step in range(inputs.shape[1]):
        values = one_step(graph, inputs[:, step], sources, fire)
        for runs in (spikes, outputs):
            for name in runs:
                runs[name].append(values[name])
    stack = lambda runs: {name: torch.stack(run, 1) for name, run in runs.items()}  # noqa: E731
    return stack(spikes), stack(outputs)


def drive(*shape: int, steps: int = STEPS) -> Any:
    return (torch.rand(BATCH, steps, *shape) < 0.4).float() * 1.5


def agree(module: Any, graph: Any, inputs: Any, minimum: int = 1) -> dict[str, Any]:
    """Check that graph and module spike alike, every neuron node at least `minimum` times."""
    expected = reference_spikes(module, inputs.numpy(), graph)
    found, outputs = run_graph(graph, inputs)
    assert set(expected) == set(found)
    for name, spikes in expected.items():
        assert spikes.dtype == np.uint8
        np.testing.assert_array_equal(spikes, found[name].numpy().astype(np.uint8), err_msg=name)
        assert minimum <= spikes.sum() < spikes.size, name
    return outputs


def hidden(beta: Any = 0.9, **options: Any) -> Any:
    return snn.Leaky(beta, init_hidden=True, **options)


def chain() -> Any:
    return nn.Sequential(nn.Linear(6, 4), hidden())


def by_hand(net: Any, inputs: Any) -> Any:
    """Outputs of a module whose forward is one step, [B, T, ...]."""
    with torch.no_grad():
        return torch.stack([net(inputs[:, step]) for step in range(inputs.shape[1])], 1)


# Ways to write a module


class Cell(nn.Module):
    """One step; explicit state."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.lif1 = snn.Leaky(0.8, **options)
        self.fc2 = nn.Linear(8, 4)
        self.lif2 = snn.Leaky(0.7, threshold=0.5, **options)


class RequiredState(Cell):
    def forward(self, x: Any, mem1: Any, mem2: Any) -> Any:
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        spk2, mem2 = self.lif2(self.fc2(spk1), mem=mem2)
        return spk2, (mem1, mem2)


class OptionalState(Cell):
    def forward(self, x: Any, mem1: Any = None, mem2: Any = None, scale: float = 1.0) -> Any:
        if mem1 is None:
            mem1, mem2 = self.lif1.init_leaky(), torch.zeros(x.shape[0], 4)
        spk1, mem1 = self.lif1(self.fc1(x), mem1.detach())
        spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
        return {"spikes": spk2, "state": [mem1, mem2]}


class ImplicitState(Cell):
    def forward(self, x: Any) -> Any:
        spk1, _ = self.lif1(self.fc1(x))
        return self.lif2(self.fc2(spk1))


class AttributeState(Cell):
    def forward(self, x: Any) -> Any:
        spk1, self.mem1 = self.lif1(self.fc1(x), getattr(self, "mem1", None))
        spk2, self.mem2 = self.lif2(self.fc2(spk1), getattr(self, "mem2", None))
        return spk2


class Repeated(Cell):
    """The tutorials' way: the same input in every step."""

    def forward(self, x: Any) -> Any:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for _ in range(STEPS):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes, dim=0), torch.stack(membranes, dim=0)


class Hoisted(Cell):
    """The first current is computed once."""

    def forward(self, x: Any) -> Any:
        mem1, mem2 = torch.zeros(x.size(0), 8), torch.zeros(x.size(0), 4)
        current = self.fc1(x)
        out = torch.zeros(STEPS, x.size(0), 4)
        for step in range(STEPS):
            spk1, mem1 = self.lif1(current, mem1)
            out[step], mem2 = self.lif2(self.fc2(spk1), mem2)
        return out


class Loop(Cell):
    """Time first; the input is indexed."""

    def forward(self, x: Any) -> Any:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes = []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


class LayerMajor(Cell):
    """Time first; one layer after the other, the input unbound by iteration."""

    def forward(self, x: Any) -> Any:
        first, mem1, mem2 = [], None, None
        for entry in x:
            spk1, mem1 = self.lif1(self.fc1(entry), mem1)
            first.append(spk1)
        out = []
        for spk1 in first:
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(spk2)
        return out


class BatchFirst(Cell):
    """Batch first; hidden state, reset in forward."""

    def forward(self, x: Any) -> Any:
        self.lif1.reset_mem()
        self.lif2.reset_mem()
        return torch.stack([self.lif2(self.fc2(self.lif1(self.fc1(y)))) for y in x.unbind(1)], 1)


class Transposed(BatchFirst):
    """Batch first; brought to time first by a view."""

    def forward(self, x: Any) -> Any:
        return super().forward(x.transpose(0, 1).transpose(0, 1))


STEP_MODULES: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "required state": (RequiredState, (6,)),
    "optional state": (OptionalState, (6,)),
    "implicit state": (ImplicitState, (6,)),
    "attribute state": (AttributeState, (6,)),
    "repeated input": (Repeated, (6,)),
    "hoisted current": (Hoisted, (6,)),
    "time first": (Loop, (STEPS, 6)),
    "layer major": (LayerMajor, (STEPS, 6)),
    "batch first": (lambda: BatchFirst(init_hidden=True), (STEPS, 6)),
    "transposed": (lambda: Transposed(init_hidden=True), (STEPS, 6)),
}


@pytest.mark.parametrize("name", STEP_MODULES)
def test_every_way_to_hold_state_and_time(name: str) -> None:
    build, shape = STEP_MODULES[name]
    net = build()
    time_first = name in ("time first", "layer major")
    sample = torch.rand(shape[0], BATCH, *shape[1:]) if time_first else torch.rand(BATCH, *shape)
    graph = from_snntorch(net, sample)
    assert sorted(graph.nodes) == ["fc1", "fc2", "input", "lif1", "lif2", "output"]
    assert graph.edges == [
        ("fc1", "lif1"),
        ("fc2", "lif2"),
        ("input", "fc1"),
        ("lif1", "fc2"),
        ("lif2", "output"),
    ]
    inputs = (
        drive(6) if len(shape) == 2 or "state" in name else drive(6)[:, :1].expand(-1, STEPS, -1)
    )
    agree(net, graph, inputs.contiguous())


def test_reference_is_the_module_called_by_hand() -> None:
    net, inputs = RequiredState(), drive(6)
    graph = from_snntorch(net, inputs[:, 0])
    mem1, mem2, out = torch.zeros(BATCH, 8), torch.zeros(BATCH, 4), []
    with torch.no_grad():
        for step in range(STEPS):
            spikes, (mem1, mem2) = net(inputs[:, step], mem1, mem2)
            out.append(spikes)
    expected = torch.stack(out, 1).numpy()
    assert expected.any()
    np.testing.assert_array_equal(
        reference_spikes(net, inputs.numpy(), graph)["lif2"], expected.astype(np.uint8)
    )
    loop = Loop()
    loop.load_state_dict(net.state_dict())
    with torch.no_grad():
        np.testing.assert_array_equal(loop(inputs.transpose(0, 1)).transpose(0, 1), expected)


def test_sequential_of_hidden_neurons() -> None:
    net = nn.Sequential(
        nn.Linear(6, 8), hidden(), nn.Linear(8, 4, bias=False), hidden(0.5, threshold=0.2)
    )
    inputs = drive(6)
    graph = from_snntorch(net, inputs[:, 0])
    assert [type(graph.nodes[n]).__name__ for n in "0123"] == ["Affine", "LIF", "Linear", "LIF"]
    assert graph.nodes["0"].weight.dtype == np.float32
    outputs = agree(net, graph, inputs)
    np.testing.assert_array_equal(outputs["output"], by_hand(net, inputs))


def test_nested_sequential_and_output_of_both() -> None:
    net = nn.Sequential(
        nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), hidden()),
        nn.Sequential(
            nn.Identity(), nn.Sequential(nn.Linear(8, 4), hidden(0.5, threshold=0.2, output=True))
        ),
    )
    graph = from_snntorch(net, drive(6)[:, 0])
    assert list(graph.nodes) == ["input", "0.0", "0.2", "1.1.0", "1.1.1", "output"]
    agree(net, graph, drive(6))


def test_a_bare_neuron() -> None:
    net = hidden(0.9)
    graph = from_snntorch(net, torch.rand(BATCH, 5))
    assert graph.edges == [("input", "leaky"), ("leaky", "output")]
    agree(net, graph, drive(5))


class Residual(nn.Module):
    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 8), hidden()
        self.fc2, self.lif2 = nn.Linear(8, 8), hidden(0.8)
        self.fc3, self.lif3 = nn.Linear(8, 4), hidden(0.7)
        self.in_place = in_place

    def forward(self, x: Any) -> Any:
        spk1 = self.lif1(self.fc1(x))
        current = self.fc2(spk1)
        if self.in_place:
            current += spk1
        else:
            current = torch.add(current, spk1)
        spk2 = self.lif2(current)
        return self.lif3(self.fc3(sum([spk1, spk2])))


@pytest.mark.parametrize("in_place", [False, True])
def test_residual_adds_are_fan_in(in_place: bool) -> None:
    net = Residual(in_place)
    graph = from_snntorch(net, drive(6)[:, 0])
    assert {("lif1", "lif2"), ("fc2", "lif2"), ("lif1", "fc3"), ("lif2", "fc3")} < set(graph.edges)
    agree(net, graph, drive(6))


class Shared(nn.Module):
    """One Linear used twice within a step, and one used by two consumers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.a, self.b, self.c = nn.Linear(6, 6), hidden(), hidden(0.8), hidden(0.7)

    def forward(self, x: Any) -> Any:
        current = self.fc(x)
        return self.c(self.fc(self.b(current) + self.a(current)))


def test_a_linear_layer_used_twice_is_two_nodes() -> None:
    net = Shared()
    graph = from_snntorch(net, drive(6)[:, 0])
    assert set(graph.nodes) == {"input", "fc", "fc_2", "a", "b", "c", "output"}
    np.testing.assert_array_equal(graph.nodes["fc"].weight, graph.nodes["fc_2"].weight)
    agree(net, graph, drive(6))


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.output, self.left, self.right = nn.Linear(6, 8), hidden(), hidden(0.8)
        self.unused = hidden()

    def forward(self, x: Any) -> Any:
        current = self.output(x)
        self.unused(current)
        return self.left(current), {"right": self.right(current)}


def test_two_heads_and_an_unused_neuron(caplog: pytest.LogCaptureFixture) -> None:
    net = Heads()
    graph = from_snntorch(net, drive(6)[:, 0])
    assert set(graph.nodes) == {
        "input", "output_2", "left", "right", "output.left", "output.right"
    }  # fmt: skip
    assert "unused" in caplog.text
    agree(net, graph, drive(6))


class MembraneReadout(Cell):
    def forward(self, x: Any) -> Any:
        spk1, mem1 = self.lif1(self.fc1(x))
        _, mem2 = self.lif2(self.fc2(spk1))
        return mem1, mem2


def test_membrane_readout_is_noted() -> None:
    net = MembraneReadout(reset_mechanism="none")
    graph = from_snntorch(net, drive(6)[:, 0])
    entries = {n: from_metadata(graph.nodes[n].metadata, node=n) for n in ("lif1", "lif2")}
    assert entries["lif2"]["readout"] == "membrane"
    assert "readout" not in entries["lif1"]
    assert ("lif2", "output") in graph.edges


# Layers


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.lif1, self.pool = hidden(torch.linspace(0.5, 0.9, 4).view(4, 1, 1)), nn.AvgPool2d(2)
        self.flatten, self.fc = nn.Flatten(), nn.Linear(4 * 3 * 4, 5, bias=False)
        self.bn2, self.lif2 = nn.BatchNorm1d(5), hidden(threshold=0.3)

    def forward(self, x: Any) -> Any:
        x = self.pool(self.lif1(self.bn1(self.conv1(x))))
        return self.lif2(self.bn2(self.fc(self.flatten(x))))


def trained_norms(net: Any) -> Any:
    """Give the batch norms statistics and factors as training leaves them."""
    for part in net.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.3, 2)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias, 0.2, 0.2)
    return net


def test_batch_norms_are_folded_in_float64() -> None:
    net = trained_norms(ConvNet())
    inputs = drive(2, 6, 8)
    graph = from_snntorch(net, inputs[:, 0])
    assert list(graph.nodes) == [
        "input", "conv1", "lif1", "pool", "flatten", "fc", "lif2", "output"
    ]  # fmt: skip
    conv, fc = graph.nodes["conv1"], graph.nodes["fc"]
    assert conv.weight.dtype == conv.bias.dtype == fc.weight.dtype == fc.bias.dtype == np.float64
    double = copy.deepcopy(net).double().eval()
    with torch.no_grad():
        x = inputs[:, 0].double()
        expected = double.bn1(double.conv1(x))
        found = F.conv2d(x, torch.from_numpy(conv.weight), torch.from_numpy(conv.bias), padding=1)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        x = torch.rand(BATCH, 48, dtype=torch.float64)
        expected = double.bn2(double.fc(x))
        found = F.linear(x, torch.from_numpy(fc.weight), torch.from_numpy(fc.bias))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    # In float32 the folded sum is rounded otherwise, so a spike in ten thousand may differ.
    spikes, _ = run_graph(graph, inputs)
    for name, expected in reference_spikes(net, inputs.numpy(), graph).items():
        assert expected.any()
        assert np.mean(expected != spikes[name].numpy()) < 1e-3


def test_a_layer_used_with_and_without_its_norm() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.bn = nn.Linear(6, 4), nn.BatchNorm1d(4, affine=False)
            self.lif = hidden()

        def forward(self, x: Any) -> Any:
            current = self.fc(x)
            return self.lif(self.bn(current) + current)

    graph = from_snntorch(trained_norms(Net()), torch.rand(BATCH, 6))
    assert {("fc", "lif"), ("fc_2", "lif")} < set(graph.edges)
    assert {graph.nodes["fc"].weight.dtype, graph.nodes["fc_2"].weight.dtype} == {
        np.dtype(np.float32),
        np.dtype(np.float64),
    }


CONVS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_size": 3},
    "stride": {"kernel_size": 3, "stride": (2, 1)},
    "padding": {"kernel_size": (3, 5), "padding": (0, 2)},
    "dilation": {"kernel_size": (3, 1), "dilation": (2, 1), "padding": 1},
    "groups": {"kernel_size": (2, 3), "groups": 2, "stride": 2},
    "depthwise": {"kernel_size": 3, "groups": 4},
    "same": {"kernel_size": (3, 5), "padding": "same"},
    "valid": {"kernel_size": (1, 4), "padding": "valid"},
    "no bias": {"kernel_size": 3, "bias": False},
}


@pytest.mark.parametrize("name", CONVS)
def test_convolutions(name: str, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, **CONVS[name]), hidden(0.8, threshold=0.4))
    inputs = drive(4, 7, 9)
    graph = from_snntorch(net, inputs[:, 0])
    assert tuple(graph.nodes["0"].input_type["input"]) == (4, 7, 9)
    assert tuple(graph.nodes["0"].output_type["output"]) == graph.nodes["1"].tau.shape
    agree(net, graph, inputs)
    agree(net, round_trip(graph, tmp_path), inputs)


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2),
        nn.AvgPool2d((3, 2), stride=(1, 2), padding=1),
        nn.AvgPool2d(2, padding=1, count_include_pad=False, divisor_override=4),
        nn.AvgPool2d(3, count_include_pad=False),
    ],
)
def test_average_pooling(pool: Any, tmp_path: Path) -> None:
    net = nn.Sequential(pool, hidden(0.8, threshold=0.6))
    inputs = drive(2, 7, 8)
    graph = from_snntorch(net, inputs[:, 0])
    agree(net, graph, inputs)
    agree(net, round_trip(graph, tmp_path), inputs)


@pytest.mark.parametrize(
    "flatten",
    [
        nn.Flatten(),
        nn.Flatten(-3),
        lambda x: torch.flatten(x, 1),
        lambda x: torch.flatten(start_dim=1, input=x),
        lambda x: x.flatten(1),
        lambda x: x.view(x.size(0), -1),
        lambda x: x.reshape(x.shape[0], x.shape[1] * 12),
        lambda x: x.contiguous().clone().view(len(x), -1),
    ],
)
def test_every_way_to_flatten(flatten: Any, tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.lif1 = nn.Conv2d(1, 2, 3), hidden(threshold=0.2)
            self.fc, self.lif2 = nn.Linear(24, 3), hidden(threshold=0.2)
            self.flat = flatten

        def forward(self, x: Any) -> Any:
            return self.lif2(self.fc(self.flat(self.lif1(self.conv(x)))))

    net, inputs = Net(), drive(1, 5, 6)
    graph = from_snntorch(net, inputs[:, 0])
    node = next(n for n in graph.nodes.values() if isinstance(n, nir.Flatten))
    assert (node.start_dim, node.end_dim) == (0, -1)
    assert tuple(node.input_type["input"]) == (2, 3, 4)
    assert tuple(node.output_type["output"]) == (24,)
    agree(net, round_trip(graph, tmp_path), inputs)


# Neurons


def vector(low: float, high: float, *shape: int) -> Any:
    return torch.linspace(low, high, int(np.prod(shape))).view(shape)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize(
    ("beta", "threshold"),
    [
        (0.9, 1.0),
        (vector(0.1, 0.99, 5), 0.7),
        (0.8, vector(0.3, 1.2, 5)),
        (vector(0.5, 0.9, 4, 1, 1), vector(0.3, 1.2, 4, 1, 1)),
        (vector(-0.3, 0.9, 1, 4, 3, 5), 1),
        (np.float64(0.9), np.float64(0.7)),
        (1, 2.0),
        (1.7, 2.0),
    ],
)
def test_resets_and_parameters(reset: str, delay: bool, beta: Any, threshold: Any) -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        hidden(beta, threshold=threshold, reset_mechanism=reset, reset_delay=delay),
    )
    inputs = drive(2, 5, 7)
    graph = from_snntorch(net, inputs[:, 0])
    assert graph.nodes["1"].v_threshold.shape == (4, 3, 5)
    agree(net, graph, inputs)
    entries = from_metadata(graph.nodes["1"].metadata, node="1")
    timing = {"subtract": "held"}.get(reset, "immediate")
    if delay and reset != "none":
        timing = "delayed"
    expected = Semantics(dt=DT, reset=reset, reset_timing=timing, rounding="float32")  # type: ignore[arg-type]
    assert entries == {
        "schema": 1,
        "module": "1",
        "dtype": "float32",
        "semantics": expected.to_dict(),
    }


def test_learned_parameters_and_unclamped_beta() -> None:
    beta = torch.tensor([-0.2, 0.3, 0.999])
    net = nn.Sequential(
        nn.Linear(6, 3), hidden(beta, learn_beta=True, learn_threshold=True, threshold=0.4)
    )
    graph = from_snntorch(net, drive(6)[:, 0])
    assert graph.nodes["1"].tau[0] == DT
    agree(net, graph, drive(6))


def test_beta_of_one_is_an_if() -> None:
    net = nn.Sequential(nn.Linear(6, 3), hidden(torch.tensor([1.0, 1.5, 1.0])))
    graph = from_snntorch(net, drive(6)[:, 0], dt=1e-3)
    node = graph.nodes["1"]
    assert isinstance(node, nir.IF)
    np.testing.assert_array_equal(node.r, np.full(3, 1 / 1e-3))
    agree(net, graph, drive(6))


@pytest.mark.parametrize("factor", [0.5, vector(-1.0, 2.0, 8)])
@pytest.mark.parametrize("delay", [True, False])
def test_graded_spikes_are_scaled(factor: Any, delay: bool, tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.Linear(6, 8),
        hidden(0.8, graded_spikes_factor=factor, reset_delay=delay),
        nn.Linear(8, 4),
        hidden(0.7, threshold=0.3),
    )
    inputs = drive(6)
    graph = from_snntorch(net, inputs[:, 0])
    assert {("1", "1.graded"), ("1.graded", "2")} < set(graph.edges)
    assert graph.nodes["1.graded"].scale.shape == (8,)
    agree(net, round_trip(graph, tmp_path), inputs)


def test_graded_output() -> None:
    net = nn.Sequential(nn.Linear(6, 4), hidden(0.8, graded_spikes_factor=0.25))
    inputs = drive(6)
    graph = from_snntorch(net, inputs[:, 0])
    outputs = agree(net, graph, inputs)
    np.testing.assert_array_equal(outputs["output"], by_hand(net, inputs))


# What the machine has: without a CUDA device, only the CPU.
@pytest.mark.parametrize("device", ["cpu", "cuda"][: 1 + torch.cuda.is_available()])
def test_the_device_of_a_module_does_not_matter(device: str) -> None:
    net = RequiredState()
    inputs = drive(6)
    graph = from_snntorch(net, inputs[:, 0])
    again = from_snntorch(net.to(device), inputs[:, 0])
    assert again.edges == graph.edges
    for name, node in graph.nodes.items():
        np.testing.assert_equal(again.nodes[name].to_dict(), node.to_dict())
    assert net.fc1.weight.device.type == device
    assert reference_spikes(net, inputs.numpy(), again)["lif2"].any()


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 1.0])
def test_beta_comes_back_bit_for_bit(dt: float) -> None:
    generator = np.random.default_rng(0)
    beta = generator.uniform(0, 1, 100_000).astype(np.float32)
    below = np.nextafter(np.float32(1), np.float32(0))
    beta[:5] = [0, 2.0**-24, 0.5, below, np.nextafter(below, np.float32(0))]
    beta = np.minimum(beta, below)
    net = hidden(torch.from_numpy(beta.copy()))
    node = from_snntorch(net, torch.zeros(1, len(beta)), dt=dt).nodes["leaky"]
    assert node.tau.dtype == node.r.dtype == np.float64
    np.testing.assert_array_equal((1 - dt / node.tau).astype(np.float32), beta)
    np.testing.assert_array_equal((node.r * dt / node.tau).astype(np.float32), 1)


# The graph as a file


def round_trip(graph: Any, folder: Path) -> Any:
    path = folder / "graph.nir"
    nir.write(path, graph)
    return nir.read(path, type_check=False)


def test_a_file_keeps_everything(tmp_path: Path) -> None:
    net = trained_norms(ConvNet())
    graph = from_snntorch(net, torch.rand(BATCH, 2, 6, 8), dt=1e-3)
    again = round_trip(graph, tmp_path)
    assert set(again.nodes) == set(graph.nodes)
    assert again.edges == graph.edges
    assert again.metadata == graph.metadata
    for name, node in graph.nodes.items():
        other = again.nodes[name]
        assert type(other) is type(node)
        assert other.metadata == node.metadata
        for field, value in node.to_dict().items():
            if isinstance(value, np.ndarray):
                assert other.to_dict()[field].dtype == value.dtype
            np.testing.assert_array_equal(other.to_dict()[field], value)
    entries = from_metadata(again.metadata, node="graph")
    assert entries is not None
    assert set(entries.pop("comparisons")) == {"random spikes"}
    assert entries == {
        "schema": 1,
        "producer": "neurodeploy",
        "framework": "snntorch",
        "framework_version": snn.__version__,
        "dt": 1e-3,
        "forward": {"loop": False, "inputs": [["input", None]], "arguments": {}},
    }


def test_the_same_model_gives_the_same_file(tmp_path: Path) -> None:
    program = (
        "import sys, torch, nir, snntorch as snn\n"
        "from neurodeploy.frontends.snntorch import from_snntorch\n"
        "torch.manual_seed(0)\n"
        "net = torch.nn.Sequential(torch.nn.Linear(4, 4), snn.Leaky(0.9, init_hidden=True),\n"
        "                          torch.nn.Linear(4, 4), snn.Leaky(0.9, init_hidden=True))\n"
        "nir.write(sys.argv[1], from_snntorch(net, torch.rand(1, 4)))\n"
    )
    files = []
    for seed in ("1", "2"):
        path = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", program, str(path)],
            check=True,
            timeout=120,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        files.append(path.read_bytes())
    assert files[0] == files[1]


# The model afterwards


class Careless(Cell):
    """A forward that changes much."""

    def __init__(self) -> None:
        super().__init__(init_hidden=True)
        self.bn = nn.BatchNorm1d(8)
        self.history: list[Any] = []
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Any) -> Any:
        self.calls += 1
        self.last = x
        torch.rand(3)
        spikes = self.lif2(self.fc2(self.lif1(self.bn(self.fc1(x)))))
        self.history.append(spikes)
        return spikes


def test_the_model_is_left_as_it_was() -> None:
    net = Careless().train()
    net.lif1.eval()
    sample = torch.rand(BATCH, 6)
    net(sample).sum().backward()  # leaves hidden states that belong to an autograd graph
    hooked = []
    handle = net.fc1.register_forward_hook(lambda *_: hooked.append(1))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    versions = [tensor._version for tensor in net.parameters()]
    attributes = {
        name: {k: v for k, v in part.__dict__.items() if not k.startswith("_")}
        for name, part in net.named_modules()
    }
    inputs = drive(6).numpy()
    mem, history, random = net.lif1.mem, list(net.history), torch.get_rng_state()
    hooks = {name: len(part._forward_pre_hooks) for name, part in net.named_modules()}
    before = sample.clone()

    graph = from_snntorch(net, sample)
    reference_spikes(net, inputs, graph)

    assert net.lif1.mem is mem
    assert net.lif1.mem.grad_fn is not None
    assert net.history == history
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(sample, before)
    assert versions == [tensor._version for tensor in net.parameters()]
    for name, value in net.state_dict().items():
        assert torch.equal(value, state[name]), name
    for name, part in net.named_modules():
        kept = {k: v for k, v in part.__dict__.items() if not k.startswith("_")}
        assert kept.keys() == attributes[name].keys()
        assert all(kept[key] is value for key, value in attributes[name].items())
        assert len(part._forward_pre_hooks) == hooks[name]
    handle.remove()
    assert hooked  # the user's own hook ran, and could be removed
    assert torch.is_grad_enabled()


def test_a_dirty_hidden_state_does_not_matter_nor_does_failure() -> None:
    net = nn.Sequential(nn.Linear(6, 4), hidden(), nn.ReLU())
    net(torch.rand(BATCH, 6) * 9)
    mem = net[1].mem
    with pytest.raises(ModelError):
        from_snntorch(net, torch.rand(BATCH, 6))
    assert net[1].mem is mem
    assert net.training
    inputs = drive(6)
    clean = nn.Sequential(*net[:2])
    agree(clean, from_snntorch(clean, inputs[:, 0]), inputs)


def test_copies_and_shared_hooks_work() -> None:
    net = copy.deepcopy(nn.Sequential(nn.Linear(6, 4), hidden()))
    agree(net, from_snntorch(net, torch.rand(BATCH, 6)), drive(6))


def test_what_reference_spikes_refuses() -> None:
    net, inputs = chain(), drive(6)
    graph = from_snntorch(net, inputs[:, 0])
    for wrong in (inputs.double(), inputs[:, :, :5], inputs[:0], inputs[:, 0]):
        with pytest.raises(InputError, match="float32"):
            reference_spikes(net, wrong.numpy(), graph)
    with pytest.raises(ModelError, match="not made from this module"):
        reference_spikes(Cell(), inputs.numpy(), graph)
    with pytest.raises(ModelError, match="not made from this module"):
        reference_spikes(net, inputs.numpy(), nir.NIRGraph(graph.nodes, graph.edges, {}, False))
    repeated = Repeated()
    graph = from_snntorch(repeated, inputs[:, 0])
    with pytest.raises(ModelError, match="change over time"):
        reference_spikes(repeated, inputs.numpy(), graph)
    with pytest.raises(ModelError, match=f"ran {STEPS} steps on an input of 1"):
        reference_spikes(repeated, inputs[:, :1].numpy(), graph)


@pytest.mark.parametrize("sample", [None, np.zeros((2, 6), np.float32), torch.zeros(6)])
def test_a_sample_is_a_tensor_with_a_batch_axis(sample: Any) -> None:
    with pytest.raises(InputError, match="batch axis"):
        from_snntorch(chain(), sample)


@pytest.mark.parametrize("dt", [0.0, -1.0, float("inf"), float("nan")])
def test_dt_is_a_positive_time(dt: float) -> None:
    with pytest.raises(InputError, match="dt is"):
        from_snntorch(chain(), torch.zeros(1, 6), dt=dt)
