"""System A: schedules, what freezing a layer norm is, and what becomes of the network on chips."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neurodeploy as nd
from neurodeploy.errors import InputError
from neurodeploy.models import layernorm
from neurodeploy.models.data import load
from neurodeploy.models.layerwise import SpikingNet, reset
from neurodeploy.models.system import Data
from tests.models.interrupting import check_interrupted

SMALL = replace(layernorm.RECIPE, epochs=2, width=24, depth=2, steps=6)


@pytest.fixture(scope="module")
def data() -> Data:
    return load("digits", train=256, test=64)


@pytest.fixture(scope="module")
def net(data: Data) -> SpikingNet:
    return layernorm.train(data, SMALL)


@given(st.sampled_from(layernorm.SCHEDULES), st.integers(1, 500), st.data())
def test_a_share_is_one(schedule: layernorm.Schedule, updates: int, draw: st.DataObject) -> None:
    update = draw.draw(st.integers(0, updates))
    assert 0 <= layernorm.share(schedule, update, updates) <= 1


def test_schedules_are_what_they_say() -> None:
    def at(schedule: layernorm.Schedule, *updates: int) -> list[float]:
        return [layernorm.share(schedule, update, 100) for update in updates]

    assert at("constant", 0, 50, 99) == [1, 1, 1]
    assert at("step", 0, 33, 34, 67) == pytest.approx([1, 1, 0.3, 0.09])
    assert at("exponential", 0, 50, 100) == pytest.approx([1, 0.1, 0.01])
    assert at("cosine", 0, 50, 100) == pytest.approx([1, 0.5, 0], abs=1e-12)
    assert at("warm-up", 0, 9, 10, 100) == pytest.approx([0.1, 1, 1, 0], abs=1e-12)
    assert at("warm restarts", 0, 24, 25, 50) == pytest.approx(
        [1, (1 + math.cos(0.96 * math.pi)) / 2, 1, 1]
    )


@pytest.mark.parametrize("schedule", layernorm.SCHEDULES)
def test_every_schedule_trains(schedule: layernorm.Schedule, data: Data) -> None:
    recipe = replace(SMALL, epochs=1, schedule=schedule)
    assert layernorm.evaluate(layernorm.train(data, recipe), data.test_x, data.test_y) > 0.1


def test_a_frozen_norm_is_the_norm_of_samples_with_the_mean_statistics(
    data: Data, net: SpikingNet
) -> None:
    """Of one sample again and again the mean statistics are its own."""
    one = replace(data, train_x=np.repeat(data.train_x[:1], 4, 0), train_y=data.train_y[:4])
    still = SpikingNet(dict(list(net.named_children())[:4]), net.steps)
    still.add_module("fc", nn.Identity())
    plain = layernorm.frozen(still, one)
    assert isinstance(plain.get_submodule("norm1"), nn.Identity)
    assert torch.equal(plain.responses(one.train_x, "lif1"), still.responses(one.train_x, "lif1"))
    whole = layernorm.frozen(net, data)
    assert not any(isinstance(layer, nn.LayerNorm) for layer in whole)
    lost = layernorm.evaluate(net, data.test_x, data.test_y) - layernorm.evaluate(
        whole, data.test_x, data.test_y
    )
    assert abs(lost) < 0.15


def test_what_is_deployed_spikes_as_the_frozen_network(data: Data, net: SpikingNet) -> None:
    deployable = layernorm.deploy(net, data)
    given_ = deployable.encode(data.test_x)
    plain = layernorm.frozen(net, data, first=2)
    assert np.array_equal(given_, net.responses(data.test_x, "lif1").numpy())
    reset(deployable.module)
    with torch.no_grad():
        steps = [deployable.module(x) for x in torch.from_numpy(given_).float().unbind(1)]
        expected = layernorm.scores(plain, torch.from_numpy(data.test_x))
    assert torch.allclose(torch.stack(steps, 1).mean(1), expected, atol=1e-5)


@pytest.mark.parametrize("target", ["loihi2", "spinnaker2"])
def test_it_compiles(target: str, data: Data, net: SpikingNet) -> None:
    deployable = layernorm.deploy(net, data)
    graph = nd.from_snntorch(deployable.module, deployable.sample)
    spikes = deployable.encode(data.train_x[:64])
    program = nd.compile(graph, target=target, calibration=spikes)
    verdict = nd.verify(program, spikes[:16], labels=data.train_y[:16], backend=None)
    assert verdict.stage("lowering").status == "passed"


def test_an_interrupted_training_ends_the_same(data: Data, net: SpikingNet, tmp_path: Path) -> None:
    """Of two epochs of four updates, in the second."""
    path = tmp_path / "checkpoint.pt"
    check_interrupted(lambda to: layernorm.train(data, SMALL, checkpoint=to), net, 6, path)


def test_impossible_recipes_are_refused(data: Data) -> None:
    with pytest.raises(InputError, match=r"epochs is 0"):
        layernorm.train(data, replace(SMALL, epochs=0))
