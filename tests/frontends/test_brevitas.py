"""Layers of Brevitas through the snnTorch front end, against Brevitas itself."""

from __future__ import annotations

import copy
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

import brevitas.nn as qnn  # noqa: E402
from brevitas import quant  # noqa: E402
from brevitas.core.function_wrapper.stochastic_round import StochasticRoundSte  # noqa: E402
from brevitas.quant import fixed_point  # noqa: E402
from brevitas.quant import float as float_quant  # noqa: E402
from brevitas.quant import shifted_scaled_int as shifted  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from neurodeploy.errors import ModelError  # noqa: E402
from neurodeploy.frontends.comparisons import comparisons  # noqa: E402
from neurodeploy.frontends.nir import read  # noqa: E402
from neurodeploy.frontends.snntorch import from_snntorch  # noqa: E402
from neurodeploy.semantics import from_metadata  # noqa: E402

DYADIC = {
    "weight_quant": quant.Int8WeightPerTensorFixedPoint,
    "bias_quant": fixed_point.Int8BiasPerTensorFixedPointInternalScaling,
}
PER_CHANNEL = {**DYADIC, "weight_quant": fixed_point.Int8WeightPerChannelFixedPoint}
FOUR_BIT = {**PER_CHANNEL, "weight_bit_width": 4}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(3)


def hidden(beta: float = 0.875) -> Any:
    return snn.Leaky(beta, init_hidden=True, threshold=0.5)


def neuron_after(*parts: Any) -> Any:
    return nn.Sequential(*parts, hidden())


def dense(**options: Any) -> Any:
    return neuron_after(qnn.QuantLinear(20, 6, **options))


def entry(node: Any) -> Any:
    return (from_metadata(node.metadata, node="0") or {}).get("quantisation")


def integers(node: Any) -> Any:
    """The integers of a node's weights, in float64, as its metadata say them."""
    scale = np.array(entry(node)["scale"])
    return np.rint(node.weight / scale.reshape(-1, *(1,) * (node.weight.ndim - 1)))


# Spikes


class Loop(nn.Module):
    """Several layers, states passed explicitly, the time loop in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = qnn.QuantConv2d(2, 6, 3, stride=2, padding=1, groups=2, **FOUR_BIT)
        self.lif1 = snn.Leaky(0.75, threshold=0.25)
        self.fc = qnn.QuantLinear(6 * 4 * 3, 10, **DYADIC)
        self.lif2 = snn.Leaky(0.875, threshold=0.25)

    def forward(self, x: Any) -> Any:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes = []
        for step in range(x.shape[0]):
            spk, mem1 = self.lif1(self.conv(x[step]), mem1)
            spk, mem2 = self.lif2(self.fc(spk.flatten(1)), mem2)
            spikes.append(spk)
        return torch.stack(spikes)


MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "two layers": (
        lambda: nn.Sequential(
            qnn.QuantLinear(20, 30, **DYADIC),
            hidden(),
            qnn.QuantLinear(30, 8, **FOUR_BIT),
            hidden(),
        ),
        (20,),
    ),
    "image": (
        lambda: neuron_after(qnn.QuantConv2d(2, 5, (3, 2), dilation=(1, 2), **PER_CHANNEL)),
        (2, 8, 7),
    ),
    "series": (
        lambda: neuron_after(qnn.QuantConv1d(4, 6, 3, stride=2, padding=1, **FOUR_BIT)),
        (4, 15),
    ),
    "same padding": (
        lambda: neuron_after(qnn.QuantConv1d(4, 6, 5, padding="same", **DYADIC)),
        (4, 15),
    ),
    "loop": (Loop, (2, 8, 6)),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_spike_is_equal_where_sums_are_exact(name: str) -> None:
    """Scales are powers of two, inputs and decays have few bits: no sum rounds."""
    build, shape = MODELS[name]
    net, steps = build().train(), 40
    spikes = (np.random.default_rng(0).random((8, steps, *shape)) < 0.3).astype(np.float32)
    sample = torch.rand((steps, 2, *shape) if name == "loop" else (2, *shape))
    state = copy.deepcopy(net.state_dict())

    found = comparisons(from_snntorch(net, sample, inputs=spikes))

    assert set(found) == {"random spikes", "given inputs"}
    for comparison in found.values():
        assert comparison.first is None
        assert not comparison.ties
        for layer in comparison.layers:
            assert 0 < layer.expected_spikes < layer.cells
            assert not layer.mismatches
    assert all(part.training for part in net.modules())
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_a_model_trained_with_quantised_weights() -> None:
    net = nn.Sequential(
        qnn.QuantLinear(20, 30, weight_bit_width=4),
        hidden(),
        qnn.QuantLinear(30, 8, weight_bit_width=4),
        snn.Leaky(0.875, init_hidden=True, output=True),
    )
    optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
    before = net[0].quant_weight().value.detach().clone()
    data = (torch.rand(16, 5, 20) < 0.3).float()
    for _ in range(3):
        net[1].reset_mem()
        net[3].reset_mem()
        membrane = sum(net(data[:, step])[1] for step in range(5))
        optimiser.zero_grad()
        F.cross_entropy(membrane, torch.arange(16) % 8).backward()
        optimiser.step()

    graph = from_snntorch(net, data[:, 0])

    assert not torch.equal(net[0].quant_weight().value, before)
    for name in ("0", "2"):
        node, weight = graph.nodes[name], net.get_submodule(name).quant_weight()
        np.testing.assert_array_equal(node.weight, weight.value.detach().numpy())
        np.testing.assert_array_equal(integers(node), weight.int().numpy())
    assert all(found.passed for found in comparisons(graph).values())


# Weights


def with_weights(**options: Any) -> list[Callable[[], Any]]:
    return [
        lambda: qnn.QuantLinear(20, 6, **options),
        lambda: qnn.QuantConv1d(4, 6, 3, **options),
        lambda: qnn.QuantConv2d(4, 6, 3, groups=2, **options),
    ]


QUANTISERS: dict[str, tuple[list[Callable[[], Any]], int, int]] = {
    # layers, bits, scales
    "default": (with_weights(), 8, 1),
    "per channel": (with_weights(weight_quant=quant.Int8WeightPerChannelFloat), 8, 6),
    "four bits": (
        with_weights(weight_quant=quant.Int8WeightPerChannelFloat, weight_bit_width=4),
        4,
        6,
    ),
    "fixed point": (with_weights(weight_quant=quant.Int8WeightPerTensorFixedPoint), 8, 1),
    "fixed point per channel": (
        with_weights(weight_quant=fixed_point.Int8WeightPerChannelFixedPoint),
        8,
        6,
    ),
    "learned scale": (with_weights(weight_scaling_impl_type="parameter_from_stats"), 8, 1),
    "normalised": (with_weights(weight_quant=quant.Int8WeightNormL2PerChannelFixedPoint), 8, 6),
    "wide range": (with_weights(weight_narrow_range=False), 8, 1),
    "ternary": (with_weights(weight_quant=quant.SignedTernaryWeightPerTensorConst), 2, 1),
    "binary": (with_weights(weight_quant=quant.SignedBinaryWeightPerTensorConst), 2, 1),
    "16 bits": (with_weights(weight_bit_width=16), 16, 1),
    "unsigned": (with_weights(weight_signed=False, weight_narrow_range=False), 8, 1),
    "float64": (with_weights(dtype=torch.float64), 8, 1),
}
SHAPES = {1: (20,), 2: (4, 9), 3: (4, 9, 9)}


@pytest.mark.parametrize("name", QUANTISERS)
def test_weights_are_integers_times_the_scale(name: str, tmp_path: Path) -> None:
    """In the type of the model, bit for bit, and after a file is written and read."""
    builds, bits, scales = QUANTISERS[name]
    for build in builds:
        net = neuron_after(build())
        shape, dtype = SHAPES[net[0].weight.dim() - 1], net[0].weight.dtype
        sample = torch.rand(2, *shape)
        if dtype == torch.float64:
            net.double()
        net(sample.to(dtype))  # some quantisers set their scale, or clip their weights, at first

        graph = from_snntorch(net, sample)
        nir.write(tmp_path / "graph.nir", graph)

        weight = net[0].quant_weight()
        value = weight.value.detach().numpy()
        for node in (graph.nodes["0"], read(tmp_path / "graph.nir").nodes["0"]):
            assert node.weight.dtype == value.dtype
            np.testing.assert_array_equal(node.weight, value)
            np.testing.assert_array_equal(integers(node), weight.int().numpy())
            said = entry(node)
            signed = name != "unsigned"
            assert (said["bits"], said["signed"], said["zero_point"]) == (bits, signed, 0)
            assert len(said["scale"]) == scales
            np.testing.assert_array_equal(said["scale"], weight.scale.detach().numpy().ravel())
            lowest = -(2 ** (bits - 1)) if signed else 0
            assert lowest <= integers(node).min() < integers(node).max() < lowest + 2**bits
            product = weight.int().numpy().astype(value.dtype) * weight.scale.detach().numpy()
            np.testing.assert_array_equal(product, node.weight)
        assert all(found.passed for found in comparisons(graph).values())


@pytest.mark.parametrize("bias_quant", [None, quant.Int8BiasPerTensorFloatInternalScaling])
def test_bias_is_what_the_layer_adds(bias_quant: Any) -> None:
    net = dense(bias_quant=bias_quant, weight_quant=quant.Int8WeightPerTensorFixedPoint)
    graph = from_snntorch(net, torch.rand(2, 20))
    net[0].eval()
    with torch.no_grad():
        added = net[0](torch.zeros(1, 20))[0].numpy()
    np.testing.assert_array_equal(graph.nodes["0"].bias, added)
    assert (bias_quant is None) == np.array_equal(added, net[0].bias.detach().numpy())


@pytest.mark.parametrize("weight_quant", [None, quant.Int8WeightPerChannelFloat])
def test_a_batch_norm_is_folded_into_the_scale(weight_quant: Any) -> None:
    norm = nn.BatchNorm2d(5)
    norm.running_mean.uniform_(-0.5, 0.5)
    norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(norm.weight, -1, 1)
    options = {} if weight_quant is None else {"weight_quant": weight_quant}
    net = neuron_after(qnn.QuantConv2d(2, 5, 3, **options), norm)
    graph = from_snntorch(net, torch.rand(2, 2, 6, 6))
    node, weight = graph.nodes["0"], net[0].quant_weight()
    assert node.weight.dtype == np.float64
    np.testing.assert_array_equal(integers(node), weight.int().numpy())
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    expected = (weight.scale.reshape(-1) * factor).detach().numpy()
    assert (expected < 0).any()
    np.testing.assert_allclose(entry(node)["scale"], expected, rtol=1e-6)
    assert all(found.passed for found in comparisons(graph).values())


def test_nothing_is_said_of_weights_that_are_not_quantised() -> None:
    net = neuron_after(qnn.QuantLinear(20, 6, weight_quant=None), qnn.QuantIdentity(act_quant=None))
    graph = from_snntorch(net, torch.rand(2, 20))
    assert list(graph.nodes) == ["input", "0", "2", "output"]
    assert entry(graph.nodes["0"]) is None
    np.testing.assert_array_equal(graph.nodes["0"].weight, net[0].weight.detach().numpy())


# Refusals


class Subclass(qnn.QuantLinear):
    pass


class RandomRounding(StochasticRoundSte):
    def __init__(self) -> None:
        super().__init__(deterministic_inference=False, seed=1)


REFUSED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "input": (lambda: dense(input_quant=quant.Int8ActPerTensorFloat), "0", "its input_quant"),
    "output": (lambda: dense(output_quant=quant.Int8ActPerTensorFloat), "0", "its output_quant"),
    "returned": (lambda: dense(return_quant_tensor=True), "0", "more than a tensor"),
    "identity": (lambda: nn.Sequential(qnn.QuantIdentity(), hidden()), "0", "its act_quant"),
    "relu": (
        lambda: neuron_after(qnn.QuantLinear(20, 6), qnn.QuantReLU()),
        "1",
        "QuantReLU is not supported",
    ),
    "subclass": (lambda: neuron_after(Subclass(20, 6)), "0", "a subclass of QuantLinear"),
    "bias": (lambda: dense(bias_quant=quant.Int32Bias), "0", "its bias_quant takes the scale"),
    "accumulator": (
        lambda: dense(weight_quant=quant.Int8AccumulatorAwareWeightQuant),
        "0",
        "its weight_quant takes the scale",
    ),
    "zero point": (
        lambda: dense(weight_quant=shifted.ShiftedUint8WeightPerTensorFloat),
        "0",
        "a zero point",
    ),
    "float": (
        lambda: dense(weight_quant=float_quant.Fp8e4m3WeightPerTensorFloat),
        "0",
        "FloatQuantTensor",
    ),
    "scale per input": (
        lambda: dense(
            weight_scaling_impl_type="const", weight_scaling_init=torch.linspace(0.3, 0.5, 20)
        ),
        "0",
        "scales of shape (20,)",
    ),
    "unsigned binary": (
        lambda: dense(weight_quant=quant.SignedBinaryWeightPerTensorConst, weight_signed=False),
        "0",
        "not 1-bit integers",
    ),
    "one bit": (lambda: dense(weight_bit_width=1), "0", "not 1-bit integers"),
    "24 bits": (lambda: dense(weight_bit_width=24), "0", "too long for torch.float32"),
    "random": (
        lambda: dense(weight_float_to_int_impl=RandomRounding),
        "0",
        "another quant_weight in each call",
    ),
    "unset": (
        lambda: dense(weight_scaling_impl_type="parameter_from_stats"),
        "0.weight_quant.tensor_quant.scaling_impl.value",
        "run the model once",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_path_reason_and_way_out(name: str) -> None:
    build, node, words = REFUSED[name]
    net = build().train()
    state = copy.deepcopy(net.state_dict())
    with pytest.raises(ModelError) as caught:
        from_snntorch(net, torch.rand(3, 20))
    assert words in str(caught.value)
    assert caught.value.node == node
    assert caught.value.hint
    assert all(part.training and not part._forward_hooks for part in net.modules())
    assert net.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_padding_by_the_size_of_the_input_is_refused() -> None:
    net = neuron_after(qnn.QuantConv1d(4, 6, 3, stride=2, padding="same"))
    with pytest.raises(ModelError, match="pads by the size of its input") as caught:
        from_snntorch(net, torch.rand(2, 4, 15))
    assert caught.value.node == "0"


def test_brevitas_is_not_imported_for_a_model_without_it() -> None:
    code = (
        "import sys, torch, snntorch as snn\n"
        "from neurodeploy.frontends.snntorch import from_snntorch\n"
        "net = torch.nn.Sequential(torch.nn.Linear(4, 4), snn.Leaky(0.9, init_hidden=True))\n"
        "from_snntorch(net, torch.rand(1, 4))\n"
        "sys.exit('brevitas' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
