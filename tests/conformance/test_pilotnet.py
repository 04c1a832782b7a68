"""PilotNet from lava-dl's file to joules, against what was published of its run on Loihi 2."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from neurodeploy.cli import main
from neurodeploy.costs.validation import Judged, judge
from neurodeploy.mapping.connectivity import fan_out
from neurodeploy.quantity import engineering
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_target
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.netx import Options, read_program
from neurodeploy.targets.loihi.pilotnet import EVENTS, STEPS, network_file, pilotnet
from tests.costs.provenance import unproven
from tests.pages_of_docs import check, row

NEURONS, SPIKES = 158_509, 34_434
"""As published, and as another simulation of the same file gave them per step."""


@pytest.fixture(scope="module")
def found() -> Judged:
    chip = get_target("loihi2").chip
    return judge(pilotnet(chip), chip)


def test_synaptic_events_are_those_published(found: Judged) -> None:
    counted = found.counts["synaptic events"]
    assert counted.kind == "counted"
    assert counted.typical == pytest.approx(EVENTS, rel=0.05)
    assert found.counts["neuron updates"].typical == NEURONS
    assert found.counts["spikes"].typical == pytest.approx(SPIKES, rel=0.05)


def test_energy_is_the_measured_one_within_a_factor(found: Judged) -> None:
    """By constants that do not rest on this measurement."""
    assert found.measured.typical == pytest.approx(68.35e-6, rel=0.001)
    assert found.factor < 1.5
    assert found.inside


def test_events_recounted_with_torch() -> None:
    """Every spike through kernels of ones, without our own linear maps."""
    program = read_program(network_file(), Options(reset_interval=STEPS))
    (port,) = program.inputs
    silence = np.zeros((1, STEPS, *port.shape), np.int32)
    trace = simulate(program, {port.name: silence}, LoihiMachine())
    for synapses in program.synapses:
        spikes = torch.from_numpy(trace.counts(synapses.source).astype(np.float32))
        ones = torch.from_numpy((synapses.weight != 0).astype(np.float32))
        if synapses.kind == "conv2d":
            options = (synapses.stride, synapses.padding, synapses.dilation, synapses.groups)
            events = torch.nn.functional.conv2d(spikes, ones, None, *options).double().sum()
        elif synapses.kind == "dense":
            events = (ones.double() @ spikes.reshape(-1).double()).sum()
        else:
            events = (spikes.reshape(-1) * ones.reshape(-1)).double().sum()
        ours = (trace.counts(synapses.source).reshape(-1) * fan_out(synapses)).sum()
        assert int(events) == int(ours), synapses.name


def test_one_command_and_the_documentation(
    found: Judged, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["energy", "--validate", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert not data["not_run"]
    (printed,) = data["simulated"]
    assert printed == json.loads(json.dumps(found.to_dict()))
    assert not list(unproven(data))
    counted, published = found.counts["synaptic events"], found.published["synaptic events"]
    rows = [
        row("per step", "published", "neurodeploy", "ratio"),
        row(*["---"] * 4),
        row(
            "synaptic events",
            f"{published.typical:,.0f} ({published.kind})",
            f"{counted.typical:,.0f} ({counted.kind})",
            f"{counted.typical / published.typical:.3f}",
        ),
        row(
            "core dynamic energy",
            f"{engineering(found.measured.typical, 'J')} ({found.measured.kind})",
            f"{engineering(found.predicted.typical, 'J')}, "
            f"{engineering(found.predicted.low, 'J')} to {engineering(found.predicted.high, 'J')} "
            f"({found.predicted.kind})",
            f"{found.ratio.typical:.2f}",
        ),
    ]
    check("energy.md", "pilotnet", "\n".join(rows))
