"""The probe of the surrogate's width: deep networks vanish where it is narrow."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional as F

from neurodeploy.errors import InputError
from neurodeploy.torch.gradients import TRAINABLE, probe_gradients

STEPS, BATCH, WIDTH = 3, 8, 24


def deep(depth: int, slope: float) -> tuple[nn.Sequential, Callable[[], Tensor]]:
    """Linear, batch norm, neuron, `depth` times; and a loss on a fixed batch."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        neuron = snn.Leaky(beta=0.9, spike_grad=surrogate.fast_sigmoid(slope), init_hidden=True)
        layers += [nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), neuron]
    net = nn.Sequential(*layers)
    x, y = (torch.rand(STEPS, BATCH, WIDTH) < 0.5).float(), torch.randint(0, WIDTH, (BATCH,))

    def loss() -> Tensor:
        for layer in net:
            if isinstance(layer, snn.Leaky):
                layer.reset_mem()
        return F.cross_entropy(torch.stack([net(step) for step in x]).sum(0), y)

    return net, loss


def test_the_ratio_falls_with_the_slope_and_crosses_one() -> None:
    net, loss = deep(10, 25)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = probe_gradients(net, loss)
    assert list(found.ratios) == sorted(found.ratios, reverse=True)
    assert found.ratios[0] > 1 > found.ratios[-1]
    assert found.ratio == found.ratios[found.slopes.index(25)]
    assert found.balanced in (1, 2, 5)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert probe_gradients(net, loss, [25]).ratio == found.ratio, "surrogates are as they were"


def test_a_surrogate_that_is_too_narrow_or_too_wide_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for slope, word in ((25.0, "too narrow"), (0.1, "too wide")):
        net, loss = deep(10, slope)
        with caplog.at_level(logging.WARNING):
            found = probe_gradients(net, loss, [0.1, 2, 25])
        assert not TRAINABLE[0] <= found.ratio <= TRAINABLE[1]
        assert found.warning is not None
        assert word in found.warning
        assert f"slope={found.balanced:g}" in found.warning
        assert found.warning in caplog.text
        caplog.clear()
    assert probe_gradients(*deep(2, 25.0), [25]).warning is None
    assert not caplog.text


def test_what_cannot_be_probed_is_refused() -> None:
    net, loss = deep(2, 25.0)
    with pytest.raises(InputError, match="there are 0, 0 and 7"):
        probe_gradients(nn.Flatten(), loss)
    with pytest.raises(InputError, match="no gradient"):
        probe_gradients(net, lambda: loss().detach())


def test_a_network_in_which_nothing_arrives_says_so() -> None:
    net, loss = deep(2, 25.0)
    found = probe_gradients(net, lambda: 0 * loss(), [25])
    assert found.warning is not None
    assert "no gradient reaches any layer" in found.warning
