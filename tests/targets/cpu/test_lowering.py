"""From networks to the fixed-point grid: exact where it can be, bounded where not, else refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import ModelError, SemanticsError
from neurodeploy.frontends.nir import load
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.semantics import Semantics, to_metadata
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.cpu import cpu8, cpu8_shift, cpu16
from neurodeploy.targets.cpu.format import FixedPoint, installed_formats
from neurodeploy.targets.cpu.lowering import lower
from neurodeploy.targets.cpu.machine import FixedPointMachine
from neurodeploy.trace import Spikes, Trace
from tests.builders import (
    MEANINGS,
    NONE,
    SUBTRACT,
    ZERO,
    chain,
    conv,
    integrator,
    lif,
    merged,
    network,
    recorded,
    spikes_for,
)

FORMATS = [target.format for target in (cpu8, cpu16, cpu8_shift)]
each_format = pytest.mark.parametrize("target", FORMATS, ids=lambda item: item.name)


def lowered(net: Network, spikes: Spikes, target: FixedPoint) -> Program:
    program = lower(net, recorded(net, spikes), target)
    from neurodeploy.targets.cpu.rules import check

    assert not check(program, target)
    return program


def run(program: Program, spikes: Spikes) -> Trace:
    names = [population.name for population in program.populations]
    return simulate(program, spikes, FixedPointMachine(), record=names)


def two_layers(seed: int, threshold: float, semantics: Semantics = SUBTRACT) -> Network:
    rng = np.random.default_rng(seed)
    return network(
        (1, 5, 5),
        conv=conv(rng.normal(0.1, 0.4, (3, 1, 3, 3)), rng.normal(0, 0.1, 3), padding=1),
        a=lif(np.full((3, 5, 5), 0.9), threshold, semantics),
        flatten=nir.Flatten({"input": np.array([3, 5, 5])}, 0, -1),
        fc=nir.Affine(rng.normal(0, 0.3, (6, 75)), rng.normal(0, 0.1, 6)),
        b=lif(rng.uniform(0.3, 0.95, 6), threshold, semantics),
    )


# --- the grid ------------------------------------------------------------------------------------


@each_format
@settings(max_examples=15)
@given(st.integers(0, 10**6), st.floats(0.05, 20.0))
def test_errors_are_those_of_rounding(target: FixedPoint, seed: int, threshold: float) -> None:
    """The threshold has none, a weight half a step, a bias half a unit, a decay the grid's."""
    net, spikes = two_layers(seed, threshold), spikes_for(seed, 2, 8, (1, 5, 5))
    program = lowered(net, spikes, target)
    for population, neurons in zip(net.populations, program.populations, strict=True):
        (scale,), registers = neurons.unit, neurons.parameters
        assert registers["threshold"] == pytest.approx(threshold * scale, rel=1e-12)
        assert np.array_equal(registers["amount"], registers["threshold"])
        bias = registers["bias"].reshape(-1) / scale - population.bias.reshape(-1)
        assert np.abs(bias).max() <= 0.5 / scale
        kept = target.kept(registers["decay"].reshape(-1))
        error = np.abs(kept - population.decay.reshape(-1))
        if target.decay == "multiply":
            assert error.max() <= 0.5 / 2**target.decay_bits
        else:
            others = np.append(1 - 0.5 ** np.arange(target.state_bits), 1.0)
            best = np.abs(population.decay.reshape(-1, 1) - others).min(axis=1)
            assert np.array_equal(error, best)
        (connection,), (synapses,) = net.incoming(population.name), program.incoming(neurons.name)
        (op,) = connection.ops
        weight = synapses.weight * 2.0**synapses.exponent / scale - op.weight
        assert np.abs(weight).max() <= 0.5000001 * 2**synapses.exponent / scale
        assert target.weight_limit / 2 <= np.abs(synapses.weight).max() <= target.weight_limit


def test_what_the_notes_say_is_so() -> None:
    net, spikes = two_layers(3, 0.7), spikes_for(0, 2, 8, (1, 5, 5))
    program = lowered(net, spikes, cpu8.format)
    (note,) = (n for n in program.lowerings if (n.node, n.subject) == ("b", "quantisation"))
    (synapses,), neurons = program.incoming("b"), program.population("b")
    (op,) = net.incoming("b")[0].ops
    worst = np.abs(synapses.weight * 2.0**synapses.exponent / neurons.unit - op.weight)
    assert note.how == "approximate"
    assert f"threshold {neurons.parameters['threshold'][0]}, off by at most 0 thr" in note.text
    assert f"weights by {worst.max() / 0.7:.2g}," in note.text


def dyadic(seed: int, semantics: Semantics, leak: bool) -> Network:
    """Weights, biases and thresholds in sixteenths, decays of 1/2, 3/4 and 1/4."""
    rng = np.random.default_rng(seed)

    def some(*shape: int) -> Any:
        return rng.integers(-9, 11, shape) / 16

    alpha = np.full(6, 0.5)
    entries = to_metadata(semantics=semantics.to_dict())
    one, dt = np.ones(6), semantics.dt
    cuba = nir.CubaLIF(
        tau_syn=dt / (1 - alpha), tau_mem=dt / (1 - alpha), r=one / (1 - alpha), v_leak=0 * one,
        v_reset=0 * one, v_threshold=0.75 * one, w_in=one / (1 - alpha), metadata=entries,
    )  # fmt: skip
    return network(
        (1, 4, 4),
        conv=conv(some(3, 1, 3, 3), some(3) / 4, padding=1),
        a=lif(np.full((3, 4, 4), 0.75), 0.75, semantics),
        flatten=nir.Flatten({"input": np.array([3, 4, 4])}, 0, -1),
        fc=nir.Affine(some(6, 48), some(6) / 4),
        b=cuba if leak else lif(rng.choice([0.25, 0.5], 6), rng.choice([1.0, 1.25], 6), semantics),
    )


@pytest.mark.parametrize("comparison", [">", ">="])
@pytest.mark.parametrize("semantics", MEANINGS, ids=lambda s: f"{s.reset} {s.reset_timing}")
@pytest.mark.parametrize("current", [False, True], ids=["direct", "current"])
def test_dyadic_networks_are_exact(semantics: Semantics, comparison: Any, current: bool) -> None:
    """Every reset and comparison, spike by spike and state by state: nothing needs rounding."""
    if semantics.reset_amount != 1:
        semantics = replace(semantics, reset_amount=0.5)
    spikes = spikes_for(1, 8, 7, (1, 4, 4))
    for seed in range(3):
        net = dyadic(seed, replace(semantics, comparison=comparison), current)
        program = lowered(net, spikes, cpu16.format)
        notes = [note for note in program.lowerings if note.subject == "quantisation"]
        assert [note.how for note in notes] == ["exact", "exact"]
        expected, found = recorded(net, spikes), run(program, spikes)
        for neurons in program.populations:
            name = neurons.name
            assert 0.02 < expected.spikes[name].mean() < 0.98
            assert np.array_equal(expected.spikes[name], found.spikes[name])
            potential = found.states[name]["potential"] / neurons.unit
            assert np.array_equal(expected.states[name]["v"], potential)


@each_format
def test_a_threshold_that_is_met_but_not_passed(target: FixedPoint) -> None:
    for comparison, fires in ((">", 0), (">=", 1)):
        semantics = replace(ZERO, comparison=comparison)
        net = network((3,), fc=nir.Linear(np.full((1, 3), 0.25)), a=lif([0.0], 0.75, semantics))
        spikes = np.ones((1, 1, 3), np.uint8)
        assert run(lowered(net, spikes, target), spikes).spikes["a"] == fires


def test_initial_states_and_thresholds_of_neurons() -> None:
    semantics = replace(SUBTRACT, initial_state=-0.5)
    net = network(
        (2,), fc=nir.Linear(np.eye(2)), a=lif([0.5, 0.5], [0.25, 3.0], semantics)
    )  # fmt: skip
    program = lowered(net, spikes_for(0, 1, 5, (2,)), cpu8.format)
    (neurons,) = program.populations
    assert np.array_equal(neurons.parameters["threshold"] / neurons.unit, [0.25, 3.0])
    assert neurons.parameters["v0"] / neurons.unit == -0.5


# --- ranges --------------------------------------------------------------------------------------


@each_format
def test_scales_are_proven_safe_or_seen_to_be(target: FixedPoint) -> None:
    net, spikes = two_layers(0, 1.0), spikes_for(0, 4, 20, (1, 5, 5))
    for item in lowered(net, spikes, target).ranges:
        assert item.proven
        assert item.limit_low <= item.low < item.high <= item.limit_high
        assert max(-item.low, item.high) > 0.1 * item.limit_high  # and no room is wasted


def test_without_leak_the_calibration_data_decide() -> None:
    net = network(
        (4,), fc=nir.Linear(np.full((2, 4), -0.3)), a=integrator(np.ones(2), SUBTRACT)
    )  # fmt: skip
    spikes = spikes_for(0, 2, 30, (4,))
    program = lowered(net, spikes, cpu8.format)
    (item,) = program.ranges
    assert not item.proven
    trace = run(program, spikes)
    assert item.low == pytest.approx(trace.states["a"]["potential"].min(), rel=0.01)
    assert program.lowerings[1].how == "approximate"
    assert "not proven" in program.lowerings[1].text


def test_huge_weights_are_refused() -> None:
    net = network((1,), fc=nir.Linear(np.full((1, 1), 1e6)), a=lif([0.9]))
    with pytest.raises(ModelError, match=r"a: the threshold is below one state unit.*wider states"):
        lowered(net, spikes_for(0, 1, 5, (1,)), cpu8_shift.format)


# --- loops ---------------------------------------------------------------------------------------


def test_loops_are_exact_too() -> None:
    """A population that feeds itself all to all, one step later."""
    rng = np.random.default_rng(0)
    first, loop = rng.integers(-4, 9, (5, 3)) / 16, rng.integers(-8, 9, (5, 5)) / 16
    graph = chain((3,), fc=nir.Linear(first), a=lif(np.full(5, 0.5), 1.0, SUBTRACT))
    graph.nodes["loop"] = nir.Linear(loop)
    graph.edges += [("a", "loop"), ("loop", "a")]
    net = merged(load(graph))
    spikes = spikes_for(0, 8, 12, (3,))
    program = lowered(net, spikes, cpu16.format)
    expected = recorded(net, spikes).spikes["a"]
    assert expected.any()
    assert np.array_equal(expected, run(program, spikes).spikes["a"])


# --- refusals ------------------------------------------------------------------------------------


def test_everything_is_refused_at_once() -> None:
    semantics = replace(ZERO, refractory=2, spikes_per_step=3)
    net = network(
        (2,),
        fc=nir.Linear(np.eye(2)), a=lif([0.5, 0.5], semantics=ZERO),
        last=nir.Linear(np.eye(2)), b=lif([0.5, 0.5], semantics=replace(ZERO, edge_delay=1)),
    )  # fmt: skip
    trace = recorded(replace(net, populations=tuple(
        replace(p, semantics=ZERO) for p in net.populations
    )), spikes_for(0, 1, 3, (2,)))  # fmt: skip
    first, second = net.populations
    broken = replace(net, populations=(replace(first, semantics=semantics), second))
    with pytest.raises(SemanticsError) as caught:
        lower(broken, trace, cpu8.format)
    text = str(caught.value)
    assert text.startswith("3 things cannot be lowered")
    for part in ("a: refractory is 2", "a: spikes_per_step is 3", "b: edge_delay is 1"):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reset": "subtract", "reset_timing": "after-input"}, "reset subtract, after-input, is"),
        ({"reset": "subtract", "reset_amount": -1.0}, r"reset_amount is -1.0 .machine: at least 0"),
    ],
)
def test_resets_without_a_meaning_are_refused(changes: dict[str, Any], message: str) -> None:
    net = network((2,), fc=nir.Linear(np.eye(2)), a=lif([0.5, 0.5]))
    trace = recorded(net, spikes_for(0, 1, 3, (2,)))
    (population,) = net.populations
    broken = replace(population, semantics=replace(ZERO, **changes))
    with pytest.raises(SemanticsError, match=message):
        lower(replace(net, populations=(broken,)), trace, cpu8.format)


def test_potentials_that_are_read_are_refused() -> None:
    net = network((2,), fc=nir.Linear(np.eye(2)), a=lif([0.5, 0.5], semantics=NONE))
    trace = recorded(net, spikes_for(0, 1, 3, (2,)))
    read = replace(net.populations[0], readout="membrane")
    with pytest.raises(SemanticsError, match=r"a: its membrane potential is read.*Let the network"):
        lower(replace(net, populations=(read,)), trace, cpu8.format)


def test_the_installed_formats_are_tested() -> None:
    assert {item.name for item in FORMATS} == {item.name for item in installed_formats()}
