"""Spikes that were recorded on a SpiNNaker2 chip, reproduced by compiled programs.

ngr-francesco/dynamic-neural-field-spinnaker2 (Apache-2.0); see `targets/spinnaker2/selftest.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.program import Program
from neurodeploy.targets.spinnaker2 import arithmetic, selftest, ticks
from neurodeploy.targets.spinnaker2.selftest import LIF, LIF_CURR_EXP, Recorded

LIF_SHA256 = "bd00eb03039fb57ac8cecc7516e0235e8da5aae27d4e63cd02acff4544d97ffe"
"""Of what this simulator makes of `LIF`: of the recording only the number of spikes is known."""

both = pytest.mark.parametrize(
    ("network", "digest"), [(LIF_CURR_EXP, selftest.SHA256), (LIF, LIF_SHA256)]
)


def in_ticks(program: Program, **options: Any) -> np.ndarray:
    """The field's spikes by the second implementation, bool (400, 400)."""
    return selftest.raster(ticks.run_ticks(program, {"input": selftest.inputs()}, **options))


@both
def test_a_saved_program_makes_the_chips_spikes(
    network: Recorded, digest: str, tmp_path: Path
) -> None:
    selftest.program(network).save(tmp_path / "field.ndp")
    program = Program.load(tmp_path / "field.ndp")
    spikes = selftest.raster(nd.run(program, selftest.inputs()))
    assert int(spikes.sum()) == network.spikes
    assert selftest.digest(spikes) == digest


@both
def test_it_does_when_split_over_cores_as_it_was_recorded(network: Recorded, digest: str) -> None:
    cores = {
        "field": np.arange(selftest.NEURONS) // selftest.NEURONS_PER_CORE,
        "inhibitor": np.zeros(1, np.int64),
    }
    assert cores["field"].max() + 1 == 14
    spikes = in_ticks(selftest.program(network), cores=cores)
    assert selftest.digest(spikes) == digest


# --- other rules make other spikes ---------------------------------------------------------------

Patch = pytest.MonkeyPatch


def rule(name: str, function: Callable[..., Any]) -> Callable[[Patch, Program], Program]:
    def apply(patch: Patch, program: Program) -> Program:
        patch.setattr(arithmetic, name, function)
        return program

    return apply


def delayed(source: str) -> Callable[[Patch, Program], Program]:
    def apply(patch: Patch, program: Program) -> Program:
        synapses = [
            replace(s, delay=np.ones(1, np.int64)) if s.source == source else s
            for s in program.synapses
        ]
        return replace(program, synapses=tuple(synapses))

    return apply


def shared_decay(patch: Patch, program: Program) -> Program:
    inhibitor, field = program.populations
    parameters = {**field.parameters, "inh_decay": field.parameters["exc_decay"]}
    return replace(program, populations=(inhibitor, replace(field, parameters=parameters)))


def strictly(potential: Any, threshold: Any) -> Any:
    return potential > threshold


def test_what_the_recordings_can_tell() -> None:
    """Figures of `evidence`: spikes at exactly the threshold, and the next closest potential."""
    found = []
    for network in (LIF_CURR_EXP, LIF):
        trace = nd.run(selftest.program(network), selftest.inputs(), record=["field"])
        potential = trace.states["field"]["potential"][0, :-1].astype(float)
        distance = np.abs(potential - network.threshold)
        found.append((int(np.count_nonzero(distance == 0)), distance[distance > 0].min()))
    assert [ties for ties, _ in found] == [0, 132]
    assert 0.0079 < min(closest for _, closest in found) < 0.008


OTHERS = {
    "decay after input": (
        LIF_CURR_EXP,
        rule("decay_current", lambda current, decay, arriving: (current + arriving) * decay),
    ),
    "one decay for both currents": (LIF_CURR_EXP, shared_decay),
    "leak after input": (
        LIF_CURR_EXP,
        rule("integrate", lambda v, x, alpha, i_offset: (v + x + i_offset) * alpha),
    ),
    "input weighted by 1 - alpha": (
        LIF_CURR_EXP,
        rule("integrate", lambda v, x, a, i_offset: v * a + (x + i_offset) * (1 - a)),
    ),
    "potential never negative": (
        LIF_CURR_EXP,
        rule("integrate", lambda v, x, a, i: np.maximum(v * a + (x + i), np.float32(0))),
    ),
    "input a tick later": (LIF_CURR_EXP, delayed("input")),
    "recurrence a tick later": (LIF_CURR_EXP, delayed("field")),
    "the other reset": (
        LIF_CURR_EXP,
        rule("reset", lambda p, fired, threshold, v_reset, to: np.where(fired, v_reset, p)),
    ),
    "lif: input a tick later": (LIF, delayed("input")),
    "lif: the other reset": (
        LIF,
        rule("reset", lambda p, fired, threshold, v_reset, to: np.where(fired, p - threshold, p)),
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_rule_makes_other_spikes(name: str, monkeypatch: Patch) -> None:
    network, change = OTHERS[name]
    expected = in_ticks(selftest.program(network))
    other = in_ticks(change(monkeypatch, selftest.program(network)))
    assert np.count_nonzero(expected != other) > 200


def test_strictly_above_the_threshold_differs_in_as_many_cells_as_it_did_from_the_chip(
    monkeypatch: Patch,
) -> None:
    """15,642 of 160,000, as somebody else's model with `>` was from the recording."""
    expected = in_ticks(selftest.program(LIF))
    monkeypatch.setattr(arithmetic, "fires", strictly)
    spikes = in_ticks(selftest.program(LIF))
    assert (np.count_nonzero(expected != spikes), spikes.sum()) == (15_642, 19_384)
