"""System B: gradients over the surrogate's slope, batch norms that fold, skips on chips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import neurodeploy as nd
from neurodeploy.errors import InputError
from neurodeploy.models import deep_residual
from neurodeploy.models.data import load
from neurodeploy.models.layerwise import reset
from neurodeploy.models.system import Data
from neurodeploy.reference import simulate as reference
from tests.models.interrupting import check_interrupted

SMALL = replace(deep_residual.RECIPE, epochs=2, width=24, blocks=2, steps=6)


@pytest.fixture(scope="module")
def data() -> Data:
    return load("digits", train=256, test=64)


@pytest.fixture(scope="module")
def net(data: Data) -> deep_residual.DeepNet:
    return deep_residual.train(data, SMALL)


def test_gradients_fall_with_the_slope_and_cross_one(data: Data) -> None:
    """Exploding where the surrogate is wide, vanishing where it is narrow, the more the deeper."""
    found = deep_residual.probe(data, deep_residual.PLAIN)
    assert all(a > b for a, b in zip(found.ratios, found.ratios[1:], strict=False))
    assert found.ratios[0] > 1 > found.ratios[-1]
    shallow = deep_residual.probe(data, replace(deep_residual.PLAIN, blocks=1))
    assert shallow.ratios[0] < found.ratios[0]
    assert shallow.ratios[-1] > found.ratios[-1]


@pytest.mark.parametrize("skip", [True, False])
def test_steps_are_layers(skip: bool, data: Data) -> None:
    """Layer by layer over all steps, and step by step, in evaluation mode."""
    net = deep_residual.build(replace(SMALL, skip=skip)).eval()
    deployable = deep_residual.deploy(net, data)
    spikes = torch.from_numpy(deployable.encode(data.test_x)).float()
    with torch.no_grad():
        reset(deployable.module)
        steps = torch.stack([deployable.module(x) for x in spikes.unbind(1)])
        reset(net)
        assert torch.equal(steps, net(torch.from_numpy(data.test_x)))


def test_batch_norms_fold(data: Data, net: deep_residual.DeepNet) -> None:
    """The graph, whose weights hold them, spikes as the network."""
    deployable = deep_residual.deploy(net, data)
    spikes = deployable.encode(data.test_x)
    network = nd.load(nd.from_snntorch(deployable.module, deployable.sample))
    found = reference(network, spikes).spikes[network.outputs[0]]
    with torch.no_grad():
        reset(net)
        expected = net(torch.from_numpy(data.test_x)).transpose(0, 1).numpy()
    assert np.mean(found != expected) < 2e-3


@pytest.mark.parametrize("target", ["loihi2", "spinnaker2"])
def test_it_compiles(target: str, data: Data, net: deep_residual.DeepNet) -> None:
    deployable = deep_residual.deploy(net, data)
    graph = nd.from_snntorch(deployable.module, deployable.sample)
    spikes = deployable.encode(data.train_x[:64])
    program = nd.compile(graph, target=target, calibration=spikes)
    decided = nd.run(program, spikes).decisions(program.output)
    right = deep_residual.evaluate(net, data.train_x[:64], data.train_y[:64])
    assert np.mean(decided == data.train_y[:64]) > right - 0.1


def test_an_interrupted_training_ends_the_same(
    data: Data, net: deep_residual.DeepNet, tmp_path: Path
) -> None:
    """Of two epochs of four updates, in the second."""
    path = tmp_path / "checkpoint.pt"
    check_interrupted(lambda to: deep_residual.train(data, SMALL, checkpoint=to), net, 6, path)


def test_impossible_recipes_are_refused(data: Data) -> None:
    with pytest.raises(InputError, match=r"blocks is 0 and slope 0"):
        deep_residual.build(replace(SMALL, blocks=0, slope=0))
