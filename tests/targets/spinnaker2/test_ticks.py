"""The simulator against the second implementation, which lives in the chip's time, on its cores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import TargetError
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_backend
from neurodeploy.targets.spinnaker2 import target
from neurodeploy.targets.spinnaker2.ticks import run_ticks
from tests.builders import spikes_for
from tests.targets.spinnaker2.drawn import neurons, random_program


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_random_programs_are_equal_in_every_bit_of_every_state(seed: int) -> None:
    program = random_program(seed)
    spikes = spikes_for(seed, 3, 14, (2, 5, 5))
    names = [p.name for p in program.populations]
    expected = simulate(program, spikes, target.machine, record=names)
    rng = np.random.default_rng(seed)
    cores = {p.name: rng.integers(0, 5, p.size) for p in program.populations}
    for split in (None, cores):
        actual = run_ticks(program, {"input": spikes}, cores=split, states=True)
        for name in names:
            assert np.array_equal(actual.spikes[name], expected.spikes[name])
            for state, values in actual.states[name].items():
                assert values.tobytes() == expected.states[name][state].tobytes(), state


def test_the_programs_spike() -> None:
    """Otherwise the test above would compare nothing."""
    spiking = 0
    for seed in range(20):
        program, spikes = random_program(seed), spikes_for(seed, 3, 14, (2, 5, 5))
        trace = simulate(program, spikes, target.machine)
        rates = [trace.spikes[p.name].mean() for p in program.populations]
        spiking += min(rates) > 0.01 and max(rates) < 0.95
    assert spiking >= 12


def test_potentials_beyond_float32_are_the_same_infinities() -> None:
    program, spikes = random_program(1), spikes_for(1, 2, 8, (2, 5, 5))
    first, second = program.populations
    changes = {
        "threshold": np.full(1, np.finfo(np.float32).max),
        "v_init": np.array([1e38] * 75 + [-1e38] * 75, np.float32),
        "alpha_decay": np.full(1, 1.5, np.float32),
    }
    grown = replace(second, parameters={**second.parameters, **changes})
    program = replace(program, populations=(first, grown))
    expected = simulate(program, spikes, target.machine, record=["b"])
    actual = run_ticks(program, {"input": spikes}, states=True)
    potential = expected.states["b"]["potential"]
    assert np.isposinf(potential).any()
    assert np.isneginf(potential).any()
    assert potential.tobytes() == actual.states["b"]["potential"].tobytes()
    assert np.array_equal(expected.spikes["b"], actual.spikes["b"])


def test_it_is_the_first_backend_and_no_vendors() -> None:
    program, spikes = random_program(1), spikes_for(1, 2, 8, (2, 5, 5))
    backend = get_backend(target, None)
    assert "no vendor's software" in backend.title
    trace = backend.run(program, {"input": spikes}, timeout=60, states=True)
    assert trace.spikes["b"].shape == (2, 8, 150)
    assert trace.states["b"]["v"].dtype == np.float32
    with pytest.raises(TargetError, match="took more than 0 s"):
        backend.run(program, {"input": spikes}, timeout=0)
    first, second = program.populations
    unknown = replace(program, populations=(first, replace(second, model="izhikevich")))
    with pytest.raises(TargetError, match="no neuron model 'izhikevich'"):
        backend.run(unknown, {"input": spikes}, timeout=60)


def test_spikes_before_any_input_are_reported() -> None:
    program, spikes = random_program(1), spikes_for(1, 1, 3, (2, 5, 5))
    early = neurons("b", (150,), "lif", 2, v_init=9.0)
    program = replace(program, populations=(program.populations[0], early), synapses=())
    with pytest.raises(TargetError, match="b: spikes before any input can reach it"):
        run_ticks(program, {"input": spikes})


def test_no_board_is_driven_from_here() -> None:
    program, spikes = random_program(1), spikes_for(1, 1, 3, (2, 5, 5))
    with pytest.raises(TargetError, match="on its owner's machine"):
        get_backend(target, "board").run(program, {"input": spikes}, timeout=1)
