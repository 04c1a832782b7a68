"""Which application a population gets, what is refused, and what surrounds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy import reference
from neurodeploy.errors import ModelError, NeurodeployError, SemanticsError
from neurodeploy.linear import Conv2d
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.semantics import Semantics, to_metadata
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.spinnaker2.lowering import lower
from neurodeploy.targets.spinnaker2.machine import SpiNNaker2Machine
from neurodeploy.targets.spinnaker2.options import Options
from tests.builders import (
    AT_ONCE,
    HELD,
    NONE,
    SUBTRACT,
    ZERO,
    conv,
    cuba,
    lif,
    network,
    recorded,
    spikes_for,
)
from tests.conformance.branches import joined, leaky_integrator, wait
from tests.targets.spinnaker2.quantised import quantised

MACHINE = SpiNNaker2Machine()


def lowered(net: Network, options: Options | None = None) -> Program:
    return lower(net, recorded(net, spikes_for(0, 1, 2, net.inputs[0].shape)), options)


def dense(meaning: Semantics, **changes: Any) -> Network:
    node = lif(np.full(3, 0.9), semantics=meaning, **changes)
    return network((4,), fc=nir.Linear(np.full((3, 4), 0.5)), lif=node)


def models(program: Program) -> dict[str, str]:
    return {p.name: p.model for p in program.populations}


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-20, 40, shape) / 64


# --- which application ---------------------------------------------------------------------------


def test_each_population_gets_the_application_that_it_needs() -> None:
    net = network(
        (1, 6, 6),
        a=conv(weights(2, 1, 3, 3), padding=1),
        convolved=lif(np.full((2, 6, 6), 0.75)),
        flat=nir.Flatten({"input": np.array([2, 6, 6])}, 0, -1),
        b=nir.Affine(weights(4, 72), np.zeros(4)),
        plain=lif(np.full(4, 0.75)),
        c=nir.Linear(weights(3, 4)),
        filtered=cuba(np.full(3, 0.5), np.full(3, 0.75)),
    )
    program = lowered(net)
    assert models(program) == {
        "convolved": "lif_conv2d",
        "plain": "lif_no_delay",
        "filtered": "lif_curr_exp_no_delay",
    }
    assert {p.name: p.depth for p in program.populations} == {
        "convolved": 1, "plain": 2, "filtered": 3,
    }  # fmt: skip
    assert [(s.name, s.port) for s in program.incoming("filtered")] == [
        ("plain->filtered excitatory", "excitatory"),
        ("plain->filtered inhibitory", "inhibitory"),
    ]
    exc, inh = (s.weight for s in program.incoming("filtered"))
    assert min(exc.min(), inh.min()) == 0
    assert not np.any((exc > 0) & (inh > 0))


def delayed(steps: int, **nodes: nir.NIRNode) -> Network:
    late = {"fc": nir.Linear(weights(3, 4)), "late": wait(np.full(3, steps))}
    return network((4,), **late, lif=nodes.get("lif", lif(np.full(3, 0.75))))


@pytest.mark.parametrize(
    ("steps", "options", "expected", "most"),
    [
        (1, Options(), {"lif": "lif"}, 15),
        (7, Options(), {"lif": "lif"}, 15),
        (8, Options(), {"lif": "lif_no_delay"}, 127),
        (2, Options(relays=True), {"lif": "lif_no_delay"}, 127),
    ],
)
def test_what_waits_does_so_in_synapses_or_in_relays(
    steps: int, options: Options, expected: dict[str, str], most: int
) -> None:
    net = delayed(steps)
    program = lowered(net, options)
    relays = [p for p in program.populations if p.name != "lif"]
    assert models(program) == expected | {p.name: "lif_no_delay" for p in relays}
    assert len(relays) == (steps if most == 127 else 0)
    synapses = program.incoming("lif")[0]
    assert most * 0.75 < np.abs(synapses.weight).max() <= most
    assert synapses.delay.tolist() == [0 if relays else steps]
    spikes = spikes_for(1, 3, 40, (4,))
    expected_trace = reference.simulate(quantised(net, program), spikes)
    found = simulate(program, spikes, MACHINE)
    assert expected_trace.spikes["lif"].any()
    np.testing.assert_array_equal(expected_trace.spikes["lif"], found.spikes["lif"])


def test_delays_leave_four_bits_to_a_synaptic_current_too() -> None:
    program = lowered(delayed(1, lif=cuba(np.full(3, 0.5), np.full(3, 0.75))))
    assert models(program) == {"lif": "lif_curr_exp"}


def test_convolutions_become_synapses_where_something_else_arrives() -> None:
    """A synaptic current; decays that differ within a channel; a dense branch beside it."""
    kernel, shape = weights(2, 1, 3, 3), (2, 4, 4)
    beta = np.linspace(0.5, 0.75, 32).reshape(shape)
    filtered = network((1, 4, 4), a=conv(kernel, padding=1), n=cuba(np.full(shape, 0.5), beta))
    uneven = network((1, 4, 4), a=conv(kernel, padding=1), n=lif(beta, semantics=SUBTRACT))
    for net, model in ((filtered, "lif_curr_exp_no_delay"), (uneven, "lif_no_delay")):
        program = lowered(net)
        assert models(program) == {"n": model}
        assert {s.kind for s in program.synapses} <= {"dense", "one-to-one"}
        spikes = spikes_for(1, 3, 40, (1, 4, 4))
        expected = reference.simulate(quantised(net, program), spikes).spikes["n"]
        assert expected.any()
        np.testing.assert_array_equal(expected, simulate(program, spikes, MACHINE).spikes["n"])
    program = lowered(network((1, 4, 4), a=conv(kernel, padding=1), n=lif(beta)))
    assert models(program) == {"n": "lif_conv2d"}, "registers may differ from neuron to neuron"


def test_groups_and_dilation_are_written_out() -> None:
    weight = weights(4, 1, 2, 2)
    net = network((2, 6, 6), a=conv(weight, groups=2, dilation=2), n=lif(np.full((4, 4, 4), 0.75)))
    program = lowered(net)
    (s,) = program.synapses
    assert (s.groups, s.dilation, s.weight.shape) == (1, (1, 1), (4, 2, 3, 3))
    x = spikes_for(3, 2, 5, (2, 6, 6)).astype(float)
    (op,) = net.connections[0].ops
    unit = program.population("n").unit
    kernel = Conv2d(s.weight / unit, (2, 6, 6))
    np.testing.assert_allclose(kernel.apply(x), op.apply(x), atol=1e-12)


def test_pools_linear_chains_and_bare_inputs_are_synapses_of_their_own() -> None:
    """What upstream drops, refuses or crashes on."""
    flat = nir.Flatten({"input": np.array([2, 4, 4])}, 0, -1)
    hidden = lif(np.full((2, 4, 4), 0.75))
    first = {"a": conv(weights(2, 1, 3, 3), padding=1), "hidden": hidden}
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    small = nir.Flatten({"input": np.array([2, 2, 2])}, 0, -1)
    out = lif(np.full(3, 0.75))
    nets = [
        network((1, 4, 4), **first, f=flat, fc=nir.Linear(weights(3, 32)), out=out),
        network((1, 4, 4), **first, p=pool, f=small, fc=nir.Linear(weights(3, 8)), out=out),
        network(
            (1, 4, 4),
            **first,
            f=flat,
            fc=nir.Affine(weights(5, 32), np.ones(5) / 64),
            again=nir.Affine(weights(3, 5), np.ones(3) / 32),
            out=out,
        ),
        network((3,), hidden=lif(np.full(3, 0.75)), fc=nir.Linear(weights(3, 3)), out=out),
    ]
    for net in nets:
        program = lowered(net)
        spikes = spikes_for(1, 4, 40, net.inputs[0].shape)
        expected = reference.simulate(quantised(net, program), spikes)
        found = simulate(program, spikes, MACHINE)
        for name in ("hidden", "out"):
            assert expected.spikes[name].any()
            np.testing.assert_array_equal(expected.spikes[name], found.spikes[name])


# --- biases --------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_bias_acts_from_the_first_step_of_the_model_on(depth: int) -> None:
    """Not from tick 0 on, as a chip's constant input does, nor spiking before that."""
    layers: dict[str, nir.NIRNode] = {}
    for i in range(depth):
        layers[f"fc{i}"] = nir.Affine(weights(4, 4), np.array([0.25, 0.125, -0.125, 0.0]))
        layers[f"lif{i}"] = lif(np.full(4, 0.5), semantics=SUBTRACT)
    net = network((4,), **layers)
    program = lowered(net)
    silent = np.zeros((1, 30, 4), np.uint8)
    expected = reference.simulate(quantised(net, program), silent)
    found = simulate(program, silent, MACHINE)
    for i in range(depth):
        np.testing.assert_array_equal(expected.spikes[f"lif{i}"], found.spikes[f"lif{i}"])
    notes = [x for x in program.lowerings if x.subject == "quantisation"]
    assert all(x.how == "exact" for x in notes), notes


def test_a_bias_passes_the_synaptic_current_from_a_neuron_of_its_own() -> None:
    """Upstream adds what it leads to in the end past the current, from the first tick on."""
    net = network(
        (4,),
        a=nir.Linear(weights(4, 4)), hidden=lif(np.full(4, 0.5)),
        fc=nir.Affine(weights(3, 4), np.array([9.0, -5.0, 0.0]) / 64),
        n=cuba(np.full(3, 0.75), np.full(3, 0.5)),
    )  # fmt: skip
    program = lowered(net)
    assert models(program)["n bias"] == "lif_no_delay"
    silent = np.zeros((1, 30, 4), np.uint8)
    expected = reference.simulate(net, silent).spikes["n"]
    assert expected.any()
    np.testing.assert_array_equal(expected, simulate(program, silent, MACHINE).spikes["n"])
    upstream = lowered(net, Options(upstream=True))
    assert len(upstream.populations) == 2
    assert np.any(simulate(upstream, silent, MACHINE).spikes["n"] != expected)
    notes = {x.subject: x for x in upstream.lowerings if x.node == "n"}
    assert notes["bias"].how == "approximate"


def test_a_bias_that_makes_neurons_spike_without_memory_is_refused() -> None:
    net = network((4,), fc=nir.Affine(weights(3, 4), np.full(3, 1.5)), n=lif(np.zeros(3)))
    with pytest.raises(ModelError, match="before any input reaches them"):
        lowered(net)


# --- what cannot be lowered ----------------------------------------------------------------------


def test_what_the_chip_cannot_do_is_refused_with_what_to_do() -> None:
    after_input = replace(ZERO, reset_timing="after-input")
    for meaning, text in (
        (HELD, "reset subtract, held.*reset_delay=True"),
        (after_input, "reset zero, after-input.*reset_delay=False"),
        (replace(ZERO, refractory=2), "refractory is 2"),
        (replace(ZERO, spikes_per_step=3), "spikes_per_step is 3"),
    ):
        net = dense(ZERO)
        (population,) = net.populations
        net = replace(net, populations=(replace(population, semantics=meaning),))
        trace = recorded(dense(ZERO), spikes_for(0, 1, 2, (4,)))
        with pytest.raises(SemanticsError, match=text):
            lower(net, trace)


def test_everything_that_is_refused_is_said_at_once() -> None:
    net = network(
        (4,),
        a=nir.Linear(weights(3, 4)), one=lif(np.full(3, 0.5), semantics=HELD),
        b=nir.Linear(weights(3, 3)), two=cuba(np.full(3, 0.5), np.full(3, 0.5), SUBTRACT),
    )  # fmt: skip
    with pytest.raises(NeurodeployError, match=r"2 things.*one: .*held.*two: its reset"):
        lowered(net)


def test_a_reset_that_would_pass_the_synaptic_current_needs_to_be_asked_for() -> None:
    net = network(
        (4,), a=nir.Linear(weights(3, 4)), n=cuba(np.full(3, 0.5), np.full(3, 0.75), SUBTRACT)
    )
    with pytest.raises(SemanticsError, match=r"pass the synaptic current.*nearest_reset"):
        lowered(net)
    program = lowered(net, Options(nearest_reset=True))
    notes = {x.subject: x for x in program.lowerings}
    assert notes["reset"].how == "approximate"
    assert "leaves 0.25 of it out" in notes["reset"].text
    assert "the reset by 0.25" in notes["quantisation"].text


def test_integers_are_no_spikes() -> None:
    net = dense(ZERO)
    trace = recorded(net, spikes_for(0, 1, 2, (4,)))
    net = replace(net, inputs=(replace(net.inputs[0], graded=True),))
    with pytest.raises(SemanticsError, match="sends integers"):
        lower(net, trace)


def test_loops_that_are_too_fast_are_refused() -> None:
    nodes = {
        "a": nir.Linear(weights(4, 4)), "one": lif(np.full(4, 0.5)),
        "b": nir.Linear(weights(4, 4)), "two": lif(np.full(4, 0.5)),
        "_back": nir.Linear(weights(4, 4)),
    }  # fmt: skip
    net = joined((4,), nodes, ("two", "_back"), ("_back", "one"))
    with pytest.raises(SemanticsError, match="takes a step on SpiNNaker2"):
        lowered(net)


# --- readouts ------------------------------------------------------------------------------------


def test_a_readout_never_reaches_its_threshold() -> None:
    net = network((4,), fc=nir.Linear(weights(3, 4)), out=leaky_integrator(3))
    program = lowered(net)
    assert program.population("out").float_register("threshold") == np.finfo(np.float32).max
    spikes = spikes_for(1, 2, 200, (4,))
    found = simulate(program, spikes, MACHINE)
    assert not found.spikes["out"].any()
    expected = reference.simulate(net, spikes).values["out"]
    np.testing.assert_allclose(found.values["out"], expected, atol=1e-5)


def test_a_potential_from_before_a_reset_to_zero_is_lost() -> None:
    for meaning, lost in ((ZERO, True), (SUBTRACT, False), (AT_ONCE, False), (NONE, False)):
        entries = to_metadata(semantics=meaning.to_dict(), readout="membrane")
        net = dense(meaning, metadata=entries)
        if lost:
            with pytest.raises(SemanticsError, match="keeps none from before a reset"):
                lowered(net)
        else:
            assert lowered(net).population("lif").readout == "membrane"


def test_sent_potentials_are_refused() -> None:
    net = network(
        (4,), a=nir.Linear(weights(3, 4)), li=leaky_integrator(3),
        b=nir.Linear(weights(2, 3)), out=lif(np.full(2, 0.5)),
    )  # fmt: skip
    with pytest.raises(SemanticsError, match="which take spikes"):
        lowered(net)
