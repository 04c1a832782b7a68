"""The machine refuses what the chip does not have, and states start where the chip's ticks lead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.errors import InputError
from neurodeploy.network import InputPort
from neurodeploy.program import Program, Synapses
from neurodeploy.semantics import Semantics, diff
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_target
from neurodeploy.targets.spinnaker2 import target
from neurodeploy.targets.spinnaker2.machine import settled
from neurodeploy.targets.spinnaker2.ticks import run_ticks
from tests.targets.spinnaker2.drawn import neurons


def program(model: str = "lif", weight: Any = 5, **changes: Any) -> Program:
    """Three inputs onto three neurons, one to one; `changes` of registers, or of the synapses."""
    fields = {"delay", "exponent", "graded", "port"}
    of_synapses = {name: value for name, value in changes.items() if name in fields}
    registers = {name: value for name, value in changes.items() if name not in fields}
    population = neurons("n", (3,), model, **registers)
    ports = ("current",) if "exc_decay" not in population.parameters else ("excitatory",)
    synapses = Synapses(
        "s", "input", "n", "one-to-one", np.full(3, weight), 0, (3,), (3,), port=ports[0]
    )
    synapses = replace(synapses, **of_synapses)
    return Program(
        "spinnaker2", (InputPort("input", (3,)),), (population,), (synapses,), ("n",), {}
    )


def one_spike(steps: int = 12) -> np.ndarray:
    spikes = np.zeros((1, steps, 3), np.uint8)
    spikes[0, 0, 1] = 1
    return spikes


def test_it_is_installed_and_states_its_semantics() -> None:
    assert get_target("spinnaker2") is target
    model = Semantics(reset="subtract", reset_timing="delayed")
    fields = [d.field for d in diff(model, target.semantics, node="n")]
    assert fields == ["reset", "reset_timing", "comparison", "edge_delay", "rounding"]


@pytest.mark.parametrize("field", range(8))
def test_a_spike_arrives_one_tick_after_its_delay_field(field: int) -> None:
    delayed = program(weight=9, delay=np.array([field]))
    for trace in (
        simulate(delayed, one_spike(), target.machine),
        run_ticks(delayed, {"input": one_spike()}),
    ):
        # Step 0 of a population at depth 1 is tick 1, when field 0 delivers.
        assert np.argwhere(trace.spikes["n"]).tolist() == [[0, field, 1]]


@pytest.mark.parametrize(
    ("threshold", "count"), [(9.0, 1), (np.nextafter(np.float32(9), np.float32(10)), 0)]
)
def test_a_neuron_fires_at_its_threshold(threshold: float, count: int) -> None:
    trace = simulate(program(weight=9, threshold=threshold), one_spike(), target.machine)
    assert trace.spikes["n"].sum() == count


@pytest.mark.parametrize(("reset", "expected"), [(0, 3.0), (1, -2.0)])
def test_both_resets(reset: int, expected: float) -> None:
    one = program(weight=11, reset=reset, v_reset=-2)
    trace = simulate(one, one_spike(), target.machine, record=["n"])
    states = trace.states["n"]
    assert states["v"].dtype == states["potential"].dtype == np.float32
    assert (states["v"][0, 0, 1], states["potential"][0, 0, 1]) == (expected, 11.0)


def test_states_survive_being_read_as_membrane_potential() -> None:
    one = program(weight=5, alpha_decay=1 / 3)
    unit = np.full(1, 2.0)
    (population,) = one.populations
    one = replace(one, populations=(replace(population, readout="membrane", unit=unit),))
    trace = nd.run(one, one_spike(3))
    third = np.float32(1 / 3)
    expected = [5.0, np.float32(5) * third, np.float32(5) * third * third]
    assert (2 * trace.values["n"][0, :, 1]).tolist() == [float(v) for v in expected]


def test_ticks_before_the_first_input_count() -> None:
    """At depth 3, i_offset acts three times before the model's first step."""
    deep = neurons("n", (2,), "lif", 3, v_init=[4.0, -1.0], i_offset=0.5, alpha_decay=0.5)
    assert settled(deep).tolist() == [1.375, 0.75]
    one = replace(program(), populations=(replace(deep, shape=(2,)),), synapses=())
    silent = np.zeros((1, 2, 3), np.uint8)
    for trace in (
        simulate(one, silent, target.machine, record=["n"]),
        run_ticks(one, {"input": silent}, states=True),
    ):
        assert trace.states["n"]["v"][0, 0].tolist() == [1.1875, 0.875]


BAD: dict[str, tuple[Callable[[], Program], str]] = {
    "an unknown model": (
        lambda: with_model("lif2"),
        "no neuron model 'lif2'. There are: lif, lif_no_delay",
    ),
    "a missing register": (lambda: without("threshold"), "no register threshold"),
    "a register of integers": (
        lambda: with_register("threshold", np.array([8])),
        "register threshold holds int64, expected float32",
    ),
    "no number": (lambda: program(i_offset=np.nan), "i_offset holds what is not a finite number"),
    "infinity": (lambda: program(threshold=np.inf), "threshold holds what is not a finite number"),
    "another reset": (lambda: program(reset=2), r"reset holds \[2\], expected one value: 0"),
    "two resets": (lambda: program(reset=[0, 1, 0]), r"reset holds \[0, 1, 0"),
    "a refractory period": (lambda: program("lif_curr_exp", t_refrac=2), "t_refrac is not 0"),
    "integer messages": (lambda: graded(), "send spikes only"),
    "weights beyond float32": (
        lambda: program(weight=(1 << 24) + 1),
        "sum up to 16,777,217; float32 holds every integer up to 16,777,216 only",
    ),
    "a negative magnitude": (
        lambda: program("lif_curr_exp", weight=-5),
        "a weight is negative, but port excitatory takes magnitudes",
    ),
    "a port that neurons lack": (lambda: program(port="excitatory"), "no port 'excitatory'"),
    "a delay field of 4 bits": (lambda: program(delay=np.array([8])), "field is 8, at most 7 fits"),
    "an exponent": (lambda: program(exponent=1), "neither exponents nor messages"),
    "spikes before any input": (
        lambda: program(v_init=9.0, alpha_decay=1.0),
        "spike at tick 0 already, but input reaches them at tick 1. Lower v_init",
    ),
}  # fmt: skip


def with_model(model: str) -> Program:
    one = program()
    return replace(one, populations=(replace(one.populations[0], model=model),))


def with_register(name: str, values: Any) -> Program:
    one = program()
    parameters = {**one.populations[0].parameters, name: values}
    return replace(one, populations=(replace(one.populations[0], parameters=parameters),))


def without(name: str) -> Program:
    one = program()
    parameters = {k: v for k, v in one.populations[0].parameters.items() if k != name}
    return replace(one, populations=(replace(one.populations[0], parameters=parameters),))


def graded() -> Program:
    one = program()
    return replace(one, populations=(replace(one.populations[0], graded=True),))


@pytest.mark.parametrize("name", BAD)
def test_what_the_chip_cannot_run_is_refused(name: str) -> None:
    make, message = BAD[name]
    with pytest.raises(InputError, match=message):
        simulate(make(), one_spike(), target.machine)


def test_a_self_synapse_counts_towards_the_sum() -> None:
    one = program(weight=(1 << 24) - 5)
    own = Synapses("own", "n", "n", "one-to-one", np.full(3, 6), 0, (3,), (3,))
    with pytest.raises(InputError, match="16,777,217"):
        simulate(replace(one, synapses=(*one.synapses, own)), one_spike(), target.machine)
    less = replace(own, weight=np.full(3, -6))  # of another sign, summed on its own
    simulate(replace(one, synapses=(*one.synapses, less)), one_spike(), target.machine)
