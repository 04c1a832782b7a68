"""Numbers at the edges, through all verbs on every target: a defined result or a clear refusal.

Warnings are errors here, so an overflow or a division by zero on the way is a failure as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurodeploy as nd
from neurodeploy.errors import ModelError, NeurodeployError
from neurodeploy.program import Program
from neurodeploy.trace import Trace
from tests.builders import AT_ONCE, NONE, SUBTRACT, ZERO, chain, lif

TARGETS = ("cpu8", "cpu16", "cpu8-shift", "loihi1", "loihi2", "spinnaker2")
TINY, HUGE = 5e-324, 1.7e308
EXTREME = (
    0.0, -0.0, TINY, -TINY, 2.2e-308, 1e-45, 1e-30, 1e-9, 0.1, 1.0, -1.0, 1e9, 3.5e38, 1e155, HUGE,
    -HUGE, math.inf, -math.inf, math.nan, 2.0**24 + 1, 127.5, 2.0**-12,
)  # fmt: skip
STEPS = 4


def spikes(how: str, shape: tuple[int, ...] = (2,), steps: int = STEPS) -> np.ndarray[Any, Any]:
    """uint8 (2, steps, *shape): none, all, or every third."""
    found = np.zeros((2, steps, *shape), np.uint8)
    found.reshape(-1)[:: {"none": found.size + 1, "all": 1, "some": 3}[how]] = how != "none"
    return found


def everything(graph: nir.NIRGraph, target: str, inputs: np.ndarray[Any, Any]) -> Trace | None:
    """Compile, run, verify with plain numpy and cost; None where one line refuses that."""
    try:
        program = nd.compile(graph, target=target, calibration=inputs)
        trace = nd.run(program, inputs)
        stage = nd.replay(program)
    except NeurodeployError as error:
        text = str(error)
        assert "\n" not in text
        return None
    assert stage.status == "passed"
    if not target.startswith("cpu"):
        for line in nd.energy(program, trace).lines:
            assert 0 <= line.total.low <= line.total.typical <= line.total.high < math.inf
    return trace


def layer(
    weight: Any = 0.75,
    bias: Any = 0.0,
    threshold: Any = 1.0,
    meaning: Any = SUBTRACT,
    **neuron: Any,
) -> nir.NIRGraph:
    """Two inputs, two neurons."""
    weights = np.array([[0.5, weight], [0.25, -0.5]], float)
    fc = nir.Affine(weights, np.array([bias, 0.0]))
    return chain((2,), fc=fc, lif=lif([0.5, 0.75], [threshold, 1.0], meaning, **neuron))


@settings(max_examples=100)
@given(
    data=st.fixed_dictionaries(
        {},
        optional={
            "weight": st.sampled_from(EXTREME) | st.floats(),
            "bias": st.sampled_from(EXTREME) | st.floats(),
            "threshold": st.sampled_from(EXTREME) | st.floats(),
            "tau": st.sampled_from(EXTREME).map(lambda x: np.array([x, ZERO.dt * 2])),
            "r": st.sampled_from(EXTREME).map(lambda x: np.array([x, 2.0])),
            "v_leak": st.sampled_from(EXTREME).map(lambda x: np.array([x, 0.0])),
        },
    ),
    target=st.sampled_from(TARGETS),
    meaning=st.sampled_from((ZERO, SUBTRACT, AT_ONCE, NONE)),
    how=st.sampled_from(("none", "all", "some")),
)
def test_any_parameter(data: dict[str, Any], target: str, meaning: Any, how: str) -> None:
    everything(layer(meaning=meaning, **data), target, spikes(how))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("how", ["none", "all"])
def test_one_neuron_and_one_step(target: str, how: str) -> None:
    graph = chain((1,), fc=nir.Linear(np.ones((1, 1))), lif=lif([0.5], 1.0, ZERO))
    for steps in (1, 5):
        trace = everything(graph, target, spikes(how, (1,), steps))
        assert trace is not None
        if how == "none":
            assert not trace.spikes["lif"].any()


@pytest.mark.parametrize("target", TARGETS)
def test_weights_that_are_all_zero(target: str) -> None:
    graph = chain((2,), fc=nir.Linear(np.zeros((2, 2))), lif=lif([0.5, 0.5], 1.0, ZERO))
    trace = everything(graph, target, spikes("all"))
    assert trace is None or not trace.spikes["lif"].any()


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (np.zeros((2, 0, 2), np.uint8), "empty"),
        (np.zeros((0, 4, 2), np.uint8), "empty"),
        (np.full((2, 4, 2), np.nan), "not finite"),
        (np.full((2, 4, 2), -np.inf), "not finite"),
    ],
)
def test_inputs_that_mean_nothing(inputs: np.ndarray[Any, Any], text: str) -> None:
    for target in TARGETS:
        with pytest.raises(NeurodeployError, match=text):
            nd.compile(layer(), target=target, calibration=inputs)


@pytest.mark.parametrize("value", [HUGE, -HUGE, TINY])
def test_inputs_at_the_edges_of_float64(value: float) -> None:
    for target in TARGETS:
        everything(layer(), target, np.full((2, STEPS, 2), value))


@pytest.mark.parametrize("target", ["cpu8", "loihi2", "spinnaker2"])
def test_many_steps_take_memory_of_their_own_size_only(target: str) -> None:
    steps = 100_000
    graph = chain((1,), fc=nir.Linear(np.ones((1, 1))), lif=lif([0.5], 1.0, ZERO))
    program = nd.compile(graph, target=target, calibration=spikes("some", (1,), 8))
    trace = nd.run(program, spikes("some", (1,), steps))
    assert trace.spikes["lif"].shape == (2, steps, 1)


def empty_input() -> nir.NIRGraph:
    return chain((0,), fc=nir.Linear(np.zeros((2, 0))), lif=lif([0.5, 0.5]))


def empty_layer() -> nir.NIRGraph:
    return chain((2,), fc=nir.Linear(np.zeros((0, 2))), lif=lif(np.zeros(0)))


def empty_image() -> nir.NIRGraph:
    return chain((1, 0, 4), flat=nir.Flatten({"input": np.array([1, 0, 4])}, 0, -1), lif=lif([0.5]))


@pytest.mark.parametrize("graph", [empty_input, empty_layer, empty_image])
def test_layers_of_no_neurons(graph: Callable[[], nir.NIRGraph]) -> None:
    with pytest.raises(ModelError):
        nd.load(graph())


@pytest.fixture(scope="module", params=TARGETS)
def program(request: pytest.FixtureRequest) -> Program:
    return nd.compile(layer(), target=request.param, calibration=spikes("some"))


LIMITS = (0, 1, -1, 127, -128, 255, 1 << 15, -(1 << 15), (1 << 31) - 1, -(1 << 31), (1 << 63) - 1,
          -(1 << 63))  # fmt: skip


@settings(max_examples=40)
@given(value=st.sampled_from(LIMITS), register=st.integers(0, 20), where=st.integers(0, 1))
def test_registers_at_their_limits(
    program: Program,
    tmp_path_factory: pytest.TempPathFactory,
    value: int,
    register: int,
    where: int,
) -> None:
    """Any register or weight of a program file at the edge of its type."""
    population = program.populations[0]
    names = sorted(population.parameters)
    path = tmp_path_factory.getbasetemp() / "edge.ndp"
    if register < len(names):
        old = population.parameters[names[register]]
        changed = {names[register]: np.full_like(old, value)}
        own = replace(population, parameters={**population.parameters, **changed})
        other = replace(program, populations=(own, *program.populations[1:]))
    else:
        first = program.synapses[0]
        weight = first.weight.copy()
        weight.reshape(-1)[where] = value
        other = replace(program, synapses=(replace(first, weight=weight), *program.synapses[1:]))
    other.save(path)
    run_or_refused(path)


def run_or_refused(path: Path) -> None:
    """A program from outside: it is verified, or one line says why not; what can be run runs."""
    inputs = spikes("all")
    try:
        program = Program.load(path)
        nd.run(program, inputs)
        nd.replay(program)
    except NeurodeployError as error:
        text = str(error)
        assert "\n" not in text
