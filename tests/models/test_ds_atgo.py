"""System D: the paper's formulas, a training of a few steps, and what becomes of it on chips."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import snntorch as snn
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neurodeploy as nd
from neurodeploy.errors import InputError
from neurodeploy.models import ds_atgo
from neurodeploy.models.data import load
from neurodeploy.models.ds_atgo_neurons import LEAST, AdaptivePLIF, gradient_width
from neurodeploy.models.layerwise import reset
from neurodeploy.models.system import Data
from neurodeploy.reference import simulate as reference
from tests.models.interrupting import check_interrupted

SMALL = replace(ds_atgo.RECIPE, epochs=4, batch_size=16, width=32, blocks=2)


@pytest.fixture(scope="module")
def data() -> Data:
    return load("digits", train=256, test=64)


@pytest.fixture(scope="module")
def net(data: Data) -> ds_atgo.ResidualNet:
    return ds_atgo.train(data, SMALL)


# --- the neurons


@given(st.floats(-5, 5))
def test_both_branches_of_the_papers_width_are_one_formula(measure: float) -> None:
    branch = 1 - math.tanh(1 - measure) if measure < 1 else 1 + math.tanh(measure - 1)
    assert gradient_width(torch.tensor(measure).double()).item() == pytest.approx(branch)


def test_normal_potentials_fire_at_the_rate_of_the_theorem() -> None:
    neurons = AdaptivePLIF(1, adaptive=True, width="threshold")
    for mean, spread in ((0.0, 1.0), (-0.5, 2.0), (3.0, 0.4)):
        currents = mean + spread * torch.randn(1, 500, 400, generator=_seeded())
        rate = neurons(currents).mean().item()
        assert rate == pytest.approx(1 - 0.841345, abs=0.003)


def test_the_average_threshold_is_of_each_step_bounded_and_saved() -> None:
    neurons = AdaptivePLIF(2, adaptive=True, width="fixed")
    currents = torch.stack([torch.full((4, 5), -3.0), torch.randn(4, 5, generator=_seeded())])
    spikes = neurons(currents)
    v = 0.2 * currents[0] + currents[1]  # nothing fired in the first step
    level = v.mean() + v.std(correction=0)
    assert not spikes[0].any()
    expected = torch.stack([0.9 + 0.1 * torch.tensor(LEAST), 0.9 + 0.1 * level])
    assert torch.allclose(neurons.state_dict()["threshold"], expected.detach())
    for _ in range(200):
        neurons(torch.full((2, 4, 5), -1.0))
    assert torch.all(neurons.threshold >= LEAST)
    assert torch.allclose(neurons.threshold, torch.full((2,), LEAST))


@pytest.mark.parametrize("width", ["fixed", "threshold", "spread"])
def test_gradients_are_a_rectangle_of_area_one(width: str) -> None:
    neurons = AdaptivePLIF(1, adaptive=True, width=width)  # type: ignore[arg-type]
    currents = (0.3 + 0.8 * torch.randn(1, 40, 50, generator=_seeded())).requires_grad_()
    torch.autograd.backward(neurons(currents).sum())
    x = currents.detach()
    spread = x.std(correction=0)
    level = x.mean() + spread
    k = {"fixed": 1.0, "threshold": 1 + torch.tanh(level - 1), "spread": 1 + torch.tanh(spread - 1)}
    expected = ((x - level).abs() < k[width] / 2) / k[width]
    assert currents.grad is not None
    assert 0.1 < (expected > 0).float().mean() < 0.9
    assert torch.allclose(currents.grad, expected)


def test_evaluation_neither_adapts_nor_moves_the_average() -> None:
    neurons = AdaptivePLIF(2, adaptive=True, width="threshold").eval()
    currents = 3 * torch.randn(2, 4, 5, generator=_seeded())
    spikes = neurons(currents)
    assert torch.equal(spikes[0], (currents[0] > 1).float())
    assert torch.equal(neurons.threshold, torch.ones(2))


def test_without_adaptation_the_threshold_is_one() -> None:
    neurons = AdaptivePLIF(1, adaptive=False, width="fixed")
    currents = 3 * torch.randn(1, 4, 5, generator=_seeded())
    assert torch.equal(neurons(currents), (currents > 1).float())
    assert neurons.exported().threshold == 1  # type: ignore[comparison-overlap]


# --- training


def test_a_few_steps_lower_the_loss_and_an_interrupted_training_ends_the_same(
    data: Data, net: ds_atgo.ResidualNet, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    thresholds = [layer.neurons.threshold for layer in net.layers()]
    assert all(torch.all((level >= LEAST) & (level != 1)) for level in thresholds)
    assert not net.training
    assert ds_atgo.evaluate(net, data.train_x, data.train_y) > 0.3
    check_interrupted(lambda to: ds_atgo.train(data, SMALL, checkpoint=to), net, 37, path)


def test_impossible_recipes_events_and_samples_are_refused(
    data: Data, net: ds_atgo.ResidualNet
) -> None:
    events = np.zeros((4, 5, 1, 8, 8), np.uint8)
    labels = np.arange(4)
    made = Data("made", events, labels, events, labels, 10, "zeros", True)
    recipe = replace(SMALL, steps=0, gradient="wide")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"steps is 0.*threshold, spread"):
        ds_atgo.build(recipe)
    with pytest.raises(InputError, match="images"):
        ds_atgo.train(made, SMALL)
    with pytest.raises(InputError, match="labels"):
        ds_atgo.evaluate(net, data.test_x, data.test_y[:3])


# --- deployment


@pytest.mark.parametrize("norm", [False, True])
def test_deployed_is_the_trained_network_with_mean_thresholds(data: Data, norm: bool) -> None:
    net = ds_atgo.train(data, replace(SMALL, norm=norm))
    for layer in net.layers():
        layer.neurons.threshold.copy_(layer.neurons.threshold.mean().expand(SMALL.steps))
    expected = _spikes(net, data.test_x)
    deployable = ds_atgo.deploy(net, data)
    spikes = deployable.encode(data.test_x)
    assert np.array_equal(spikes, expected[0])
    found = _deployed_spikes(deployable.module, spikes)
    assert len(found) == 4
    for have, want in zip(found, expected[1:], strict=True):
        assert want.any()
        assert np.array_equal(have, want)


def test_the_mean_over_time_of_the_thresholds_changes_few_spikes(
    data: Data, net: ds_atgo.ResidualNet
) -> None:
    """The loss of the deployment, as stated: what the steps' own thresholds would have done."""
    deployable = ds_atgo.deploy(net, data)
    sent = deployable.encode(data.test_x)
    spikes = [sent, *_deployed_spikes(deployable.module, sent)]
    own = _spikes(net, data.test_x)
    changed = [float((have != want).mean()) for have, want in zip(spikes, own, strict=True)]
    assert 0 < max(changed) < 0.1


@pytest.mark.parametrize("target", ["loihi2", "spinnaker2"])
def test_it_compiles_and_decides_the_same(
    data: Data, net: ds_atgo.ResidualNet, target: str
) -> None:
    deployable = ds_atgo.deploy(net, data)
    graph = nd.from_snntorch(deployable.module, deployable.sample)
    assert nd.comparisons(graph)["random spikes"].unexplained == 0
    spikes = deployable.encode(data.test_x)
    program = nd.compile(graph, target=target, calibration=deployable.encode(data.train_x))
    trace = nd.run(program, spikes)
    (output,) = program.outputs
    decisions = reference(nd.load(graph), spikes).decisions(output)
    assert (trace.decisions(output) == decisions).mean() > 0.9


def test_activity_is_of_every_layer(data: Data, net: ds_atgo.ResidualNet) -> None:
    figures = ds_atgo.activity(net, data.test_x)
    rates = [float(spikes.mean()) for spikes in _spikes(net, data.test_x)]
    assert figures.shape == (5, 2)
    assert figures[:, 0] == pytest.approx(rates, rel=1e-5)
    assert np.all((figures[:, 1] > 0) & (figures[:, 1] < 1))
    assert not any(layer.neurons._forward_pre_hooks for layer in net.layers())


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _spikes(net: ds_atgo.ResidualNet, images: np.ndarray) -> list[np.ndarray]:
    """Of every layer, (N, T, width)."""
    found: list[np.ndarray] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out: found.append(out.transpose(0, 1).numpy()))
        for layer in net.layers()
    ]
    with torch.no_grad():
        net.eval()(torch.from_numpy(images))
    for hook in hooks:
        hook.remove()
    return found


def _deployed_spikes(module: nn.Module, spikes: np.ndarray) -> list[np.ndarray]:
    """Of every layer with spikes, (N, T, width)."""
    neurons = [m for m in module.modules() if isinstance(m, snn.Leaky) and not m.output]
    found: list[list[np.ndarray]] = [[] for _ in neurons]
    hooks = [
        layer.register_forward_hook(lambda _, __, out, to=to: to.append(out.numpy()))
        for layer, to in zip(neurons, found, strict=True)
    ]
    reset(module)
    with torch.no_grad():
        for step in torch.from_numpy(spikes).float().unbind(1):
            module(step)
    for hook in hooks:
        hook.remove()
    reset(module)
    return [np.stack(steps, 1) for steps in found]
