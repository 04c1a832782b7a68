"""System C: its schedule, its grid, a training of a few steps, and what becomes of it on chips."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neurodeploy as nd
from neurodeploy.errors import InputError, ModelError
from neurodeploy.models import quantised
from neurodeploy.models.data import load
from neurodeploy.models.integer_layers import integer_layers
from neurodeploy.models.layerwise import reset
from neurodeploy.models.quantised import SpikingNet
from neurodeploy.models.system import Data, Deployable
from neurodeploy.reference import simulate

SMALL = replace(quantised.RECIPE, epochs=3)


@pytest.fixture(scope="module")
def data() -> Data:
    return load("digits", train=320, test=100)


@pytest.fixture(scope="module")
def net(data: Data) -> SpikingNet:
    return quantised.train(data, SMALL)


# --- the schedule


def test_the_rate_falls_and_rises_again_and_is_the_authors() -> None:
    assert [quantised.cosine(k, 42) for k in (0, 21, 42, 84)] == pytest.approx([1, 0.5, 0, 1])
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for k in range(31):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.3 * quantised.cosine(k, 10))
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("fixed", [1, 1, 1, 1, 1]),
        ("loss-dependent", [1, 1, 0.5, 0.25, 0.25]),
        ("cosine", [1, 0.5, 0, 0.5, 1]),
        ("one-shot", [1, 0.853553, 0.5, 0.146447, 0]),
    ],
)
def test_each_schedule_after_each_epoch(schedule: str, rates: list[float]) -> None:
    recipe = replace(SMALL, epochs=4, half_period=2, schedule=schedule)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    found = quantised.scheduler(optimizer, recipe, updates=3)
    seen = [1.0]
    for loss in (0.9, 1.0, 0.95, 0.8):
        for _ in range(3):
            optimizer.step()
            if schedule not in ("fixed", "loss-dependent"):
                found.step()
        if schedule == "loss-dependent":
            found.step(loss)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx(rates, abs=1e-6)


# --- the grid


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_are_few_integers_and_equal_the_formula(bits: int) -> None:
    torch.manual_seed(0)
    net = quantised.build(replace(SMALL, bits=bits))
    for name, layer in integer_layers(net).items():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            weight, q = net.get_parameter(f"{name}.weight").detach(), 2 ** (bits - 1) - 1
            step = weight.abs().max() / q
            assert torch.equal(layer.weight, (weight / step).round().clamp(-q, q))
            assert len(layer.weight.unique()) <= 2 * q + 1


@pytest.mark.parametrize("mechanism", ["subtract", "zero"])
def test_integers_spike_as_the_trained_weights(data: Data, mechanism: str) -> None:
    """Equal but for float32 rounding, which decides only where a potential is at its threshold."""
    net = quantised.train(data, replace(SMALL, epochs=1, reset=mechanism))  # type: ignore[arg-type]
    whole = SpikingNet(integer_layers(net), net.steps).eval()
    x = torch.from_numpy(data.test_x)
    with torch.no_grad():
        expected, found = net.spikes(x), whole.spikes(x)
    for name, spikes in expected.items():
        assert spikes.any()
        assert (found[name] != spikes).float().mean() < 1e-3


def test_convolution_and_pool_are_one_convolution_of_sums(net: SpikingNet, data: Data) -> None:
    """4 x 4, stride 2: a quarter of the integers, added up where their windows overlap."""
    merged = _merged(net)
    x = (torch.rand(5, 8, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    conv = integer_layers(net)["conv2"]
    with torch.no_grad():
        expected = nn.functional.avg_pool2d(conv(x), 2)
        found = nn.functional.conv2d(x, merged / 4, stride=2, padding=1)
    assert torch.equal(found, expected)
    assert merged.abs().max() <= 4 * 7


# --- training


def test_a_few_steps_learn_and_an_interrupted_training_ends_the_same(
    data: Data, net: SpikingNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not net.training
    assert quantised.evaluate(net, data.train_x, data.train_y) > 0.5
    path, spikes, calls = tmp_path / "checkpoint.pt", SpikingNet.spikes, 0

    def interrupted(self: SpikingNet, x: Tensor) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls == 15:  # within the second epoch of ten updates
            raise KeyboardInterrupt
        return spikes(self, x)

    monkeypatch.setattr(SpikingNet, "spikes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quantised.train(data, SMALL, checkpoint=path)
    resumed = quantised.train(data, SMALL, checkpoint=path).state_dict()
    assert calls == 15 + 20
    expected = net.state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in expected.items())


def test_float_weights_need_no_brevitas_and_few_bits_name_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "brevitas.nn", None)
    quantised.build(replace(SMALL, bits=None))
    with pytest.raises(ModelError, match=r"neurodeploy-snn\[quantised\]"):
        quantised.build(SMALL)


def test_impossible_recipes_and_samples_are_refused(net: SpikingNet, data: Data) -> None:
    recipe = replace(SMALL, bits=1, half_period=0, schedule="cosin")  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        quantised.build(recipe, (1, 3, 8))
    for part in ("bits is 1", "half_period is 0", "one-shot", "3 x 8"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="labels"):
        quantised.evaluate(net, data.test_x, data.test_y[:3])


# --- deployment


def test_the_host_sends_the_first_layers_spikes(data: Data, net: SpikingNet) -> None:
    deployable = quantised.deploy(net, data)
    spikes = deployable.encode(data.test_x)
    with torch.no_grad():
        layers = net.spikes(torch.from_numpy(data.test_x))
    assert np.array_equal(spikes, layers["lif1"].transpose(0, 1).numpy())
    assert spikes.dtype == np.uint8
    assert deployable.sample.shape == (1, 8, 4, 4)
    counts = _counts(deployable, spikes)
    expected = layers["lif3"].sum(0).numpy()
    assert (counts != expected).mean() < 1e-3  # float32 rounding at a threshold


def test_events_go_through_the_whole_network_on_the_chip() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 3
    events = (rng.random((12, 6, 2, 8, 8)) < 0.1 + 0.3 * labels[:, None, None, None, None]).astype(
        np.uint8
    )
    data = Data("made", events, labels, events, labels, 3, "random", True)
    net = quantised.train(data, replace(SMALL, batch_size=4))
    deployable = quantised.deploy(net, data)
    assert np.array_equal(deployable.encode(events), events)
    with torch.no_grad():
        expected = net.spikes(torch.from_numpy(events))["lif3"].sum(0).numpy()
    assert (_counts(deployable, events) != expected).mean() < 0.05
    graph = nd.from_snntorch(deployable.module, deployable.sample)
    assert nd.run(nd.compile(graph, target="loihi2", calibration=events), events).steps == 6


@pytest.mark.parametrize("target", ["loihi2", "spinnaker2"])
def test_it_compiles_and_decides_the_same(data: Data, net: SpikingNet, target: str) -> None:
    deployable = quantised.deploy(net, data)
    graph = nd.from_snntorch(deployable.module, deployable.sample)
    spikes = deployable.encode(data.test_x)
    program = nd.compile(graph, target=target, calibration=deployable.encode(data.train_x))
    (output,) = program.outputs
    decisions = simulate(nd.load(graph), spikes).decisions(output)
    assert (nd.run(program, spikes).decisions(output) == decisions).mean() > 0.9
    classifier = next(s for s in program.synapses if (s.source, s.target) == ("lif2", "lif3"))
    whole = _multiple(classifier.weight, integer_layers(net)["fc"].weight)
    assert whole == (target == "loihi2")  # with subtraction, SpiNNaker2 needs the scale for it


def test_with_reset_to_zero_spinnaker2_keeps_the_integers_of_every_layer(data: Data) -> None:
    net = quantised.train(data, replace(SMALL, epochs=1, reset="zero"))
    deployable = quantised.deploy(net, data)
    graph = nd.from_snntorch(deployable.module, deployable.sample)
    program = nd.compile(
        graph, target="spinnaker2", calibration=deployable.encode(data.train_x[:20])
    )
    convolution, classifier = (synapses.weight for synapses in program.synapses)
    assert _multiple(classifier, integer_layers(net)["fc"].weight)
    merged = _merged(net)
    for have, want in zip(convolution, merged, strict=True):
        assert _multiple(have, want) or _multiple(have, -want)  # a batch norm may turn the sign


def _merged(net: SpikingNet) -> Tensor:
    weight = integer_layers(net)["conv2"].get_parameter("weight").detach()
    merged = torch.zeros(*weight.shape[:2], 4, 4)
    for i in range(2):
        for j in range(2):
            merged[:, :, i : i + 3, j : j + 3] += weight
    return merged


def _multiple(found: np.ndarray, integers: Tensor) -> bool:
    """Whether `found` is the integers times one whole number."""
    want = integers.detach().numpy().astype(int)
    factor = round(np.abs(found).max() / np.abs(want).max())
    return factor >= 1 and np.array_equal(found, factor * want)


def _counts(deployable: Deployable, spikes: np.ndarray) -> np.ndarray:
    reset(deployable.module)
    with torch.no_grad():
        steps = [deployable.module(x) for x in torch.from_numpy(spikes).float().unbind(1)]
    reset(deployable.module)
    return torch.stack(steps).sum(0).numpy()
