"""What spikes cost in the loss is what the chip counts, and what the energy report says."""

from __future__ import annotations

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.costs import count, per_spike
from neurodeploy.costs.models import model_of
from neurodeploy.errors import InputError
from neurodeploy.program import Program
from neurodeploy.target import get_target
from neurodeploy.torch.spike_cost import recorded, spike_energy, synaptic_events

RNG = np.random.default_rng(0)
SPIKES = (RNG.random((3, 9, 1, 6, 6)) < 0.3).astype(np.uint8)


def module() -> nn.Sequential:
    """A convolution with stride and borders, pooling, a dense layer with pruned weights."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        snn.Leaky(beta=0.8, threshold=0.4, init_hidden=True),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 5),
        snn.Leaky(beta=0.8, threshold=0.3, init_hidden=True),
        nn.Linear(5, 3),
        snn.Leaky(beta=0.8, init_hidden=True),
    )
    with torch.no_grad():
        net[4].weight[torch.rand(5, 36) < 0.5] = 0
    return net


def program(target: str) -> Program:
    graph = nd.from_snntorch(module(), torch.from_numpy(SPIKES[:, 0].astype(np.float32)))
    return nd.compile(graph, target=target, calibration=SPIKES)


@pytest.mark.parametrize("target", ["loihi2", "spinnaker2"])
def test_events_and_energy_of_a_program_are_those_that_are_counted(target: str) -> None:
    built = program(target)
    trace, placement, chip = (
        nd.run(built, SPIKES),
        nd.place(built),
        get_target(target).chip.at_level(None),
    )
    spikes = {name: torch.from_numpy(sent).float() for name, sent in trace.spikes.items()}
    counts = count(built, trace, placement)
    expected = counts.total(counts.synaptic_events).mean()
    assert synaptic_events(built)(spikes).item() == expected
    linear = {
        "synaptic events": counts.synaptic_events,
        "spikes": counts.spikes,
        "packets": counts.packets,
        "hops": counts.hops,
    }
    model, joules = model_of(chip), 0.0
    for term in model.terms:
        if term.line == model.lines[0] and term.counts[0] in linear:
            constants = [
                per_spike.bounds(chip, n, per_spike.UNITS[n[0]])[1] for n in term.constants
            ]
            joules += float(np.prod(constants) * counts.total(linear[term.counts[0]]).mean())
    assert spike_energy(built)(spikes).item() == pytest.approx(joules, rel=1e-12)


def test_events_of_a_module_have_a_gradient_and_count_weights_that_are_not_zero() -> None:
    net, steps = module(), torch.from_numpy(SPIKES.swapaxes(0, 1).astype(np.float32))
    cost = synaptic_events(net, steps[0])
    with recorded(net) as spikes:
        for step in steps:
            net(step)
    assert {name: tuple(sent.shape) for name, sent in spikes.items()} == {
        "1": (3, 9, 4, 6, 6),
        "5": (3, 9, 5),
        "7": (3, 9, 3),
    }
    kept = (net[4].weight != 0).float().reshape(5, 4, 3, 3)
    pooled = kept.sum(0).repeat_interleave(2, 1).repeat_interleave(2, 2)  # of each pixel
    by_hand = (spikes["1"].sum((0, 1)) * pooled).sum() + 3 * spikes["5"].sum()
    value = cost(spikes)
    assert value.item() == pytest.approx(by_hand.item() / 3, rel=1e-12)
    assert spikes["1"].sum() > 0
    torch.autograd.backward(value)
    assert net[0].weight.grad is not None
    assert net[0].weight.grad.abs().max() > 0
    assert not net[6].weight.grad.any(), "the last layer's spikes reach nothing"


def test_the_borders_of_a_convolution_reach_fewer() -> None:
    found = per_spike.events(program("loihi2"))["input"][0]
    assert (found[0, 0], found[0, 3], found[3, 3]) == (16, 24, 36)


def test_what_has_no_cost_is_refused() -> None:
    cost = synaptic_events(program("loihi2"))
    with pytest.raises(InputError, match="no population or input has this name"):
        cost({"9": torch.zeros(1, 2, 3)})
    with pytest.raises(InputError, match=r"shape \(1, 2, 3\), expected \(samples, steps, 5\)"):
        cost({"5": torch.zeros(1, 2, 3)})
    with pytest.raises(InputError, match="at least one, are needed"):
        cost({})
    with pytest.raises(InputError, match="needs a sample"):
        synaptic_events(module())
