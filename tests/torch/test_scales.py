"""Grids of few bits in training: their gradients, and integers that survive compilation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import snntorch as snn
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neurodeploy as nd
from neurodeploy.errors import InputError
from neurodeploy.torch.scales import Scale, WeightGrid, bake, on_grid


@given(st.integers(2, 8), st.sampled_from([100.0, 90.0, "learned"]), st.integers(0, 99))
def test_weights_are_the_nearest_multiples(bits: int, scale: Scale, seed: int) -> None:
    weight = torch.from_numpy(np.random.default_rng(seed).normal(0, 1, (5, 7)))
    grid, most = WeightGrid(weight, bits, scale), 2 ** (bits - 1) - 1
    found = grid(weight).detach()
    size = 100.0 if scale == "learned" else scale
    step = np.percentile(weight.abs().numpy(), size) / most
    expected = step * np.clip(np.rint(weight.numpy() / step), -most, most)
    assert np.allclose(found.numpy(), expected, rtol=1e-12)


def test_the_gradient_of_a_learned_step() -> None:
    weight = torch.tensor([0.26, -0.9, 0.44, 5.0, -5.0], dtype=torch.float64, requires_grad=True)
    grid = WeightGrid(weight, 3, "learned")
    assert isinstance(grid.step, nn.Parameter)
    with torch.no_grad():
        grid.step.fill_(0.5)
    for index, own in enumerate((1 - 0.52, -2 + 1.8, 1 - 0.88, 3, -3)):
        (to_weight, to_step) = torch.autograd.grad(grid(weight)[index], (weight, grid.step))
        assert to_step.item() == pytest.approx(own / math.sqrt(5 * 3), abs=1e-12)
        assert to_weight[index].item() == (abs(own) < 1)


@pytest.mark.parametrize("scale", [100.0, 95.0, "learned"])
def test_a_trained_grid_keeps_its_integers_on_a_chip(scale: Scale) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(12, 10),
        snn.Leaky(beta=0.75, reset_mechanism="zero", init_hidden=True),
        nn.Linear(10, 4),
        snn.Leaky(beta=0.75, reset_mechanism="zero", init_hidden=True),
    )
    on_grid(net[0], 4, scale)
    on_grid(net[2], 3, scale)
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    x = (torch.rand(6, 8, 12) < 0.5).float()
    before = net[0].weight.detach().clone()
    for _ in range(3):
        for layer in (net[1], net[3]):
            layer.reset_mem()
        loss = -torch.stack([net(step) for step in x]).sum(0)[:, 0].mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    trained = [net[i].weight.detach().clone() for i in (0, 2)]
    levels = [torch.round(w / _step(w)).numpy() for w in trained]
    assert [np.abs(one).max() <= most for one, most in zip(levels, (7, 3), strict=True)]
    assert not torch.equal(trained[0], before)
    bake(net)
    assert type(net[0]) is nn.Linear
    assert torch.equal(net[0].weight, trained[0])
    inputs = x.transpose(0, 1).numpy().astype(np.uint8)
    graph = nd.from_snntorch(net, x[0])
    for target in ("loihi2", "spinnaker2"):
        program = nd.compile(graph, target=target, calibration=inputs)
        for layer, whole in zip(("1", "3"), levels, strict=True):
            found = program.incoming(layer)[0].weight
            ratio = found[whole != 0] / whole[whole != 0]
            assert np.ptp(ratio) == 0, target
            assert np.array_equal(found != 0, whole != 0)


def _step(weight: torch.Tensor) -> torch.Tensor:
    """The least magnitude, of which at these widths all others turn out to be multiples."""
    return weight[weight != 0].abs().min()


def test_what_has_no_grid_is_refused() -> None:
    with pytest.raises(InputError, match="has no weights"):
        on_grid(nn.Flatten(), 4)
    with pytest.raises(InputError, match="bits is 1"):
        on_grid(nn.Linear(2, 2), 1)
    with pytest.raises(InputError, match="expected 'learned' or a percentile"):
        on_grid(nn.Linear(2, 2), 4, 0.0)
