"""A chip's step as a value is the simulator's bit by bit, a model's the reference's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy import reference
from neurodeploy.equivalence.causes import Attribution
from neurodeploy.equivalence.dynamics import model_dynamics, potentials, spikes
from neurodeploy.frontends.nir import load
from neurodeploy.network import Network
from neurodeploy.program import POTENTIAL
from neurodeploy.simulator.engine import in_model_units, simulate
from neurodeploy.target import get_target
from neurodeploy.trace import check_currents, check_inputs
from tests.builders import (
    AT_ONCE,
    MEANINGS,
    NONE,
    SUBTRACT,
    ZERO,
    chain,
    conv,
    cuba,
    integrator,
    lif,
    merged,
    network,
    recorded,
    spikes_for,
)


def dense(semantics: Any, *, bias: float = 0.05, beta: Any = 0.9) -> Network:
    """20 inputs, 24 neurons with their own decays and thresholds, 6 more."""
    rng = np.random.default_rng(1)
    return network(
        (20,),
        first=nir.Affine(rng.normal(0.1, 0.3, (24, 20)), rng.normal(0, bias, 24)),
        one=lif(np.linspace(0.6, 0.95, 24) if beta is None else np.full(24, beta),
                np.linspace(0.8, 1.3, 24), semantics=semantics),
        second=nir.Linear(rng.normal(0.1, 0.4, (6, 24))),
        two=lif(np.full(6, 0.8), semantics=semantics),
    )  # fmt: skip


def filtered(semantics: Any, bias: float = 0.05) -> Network:
    """Neurons with a synaptic current and a constant input."""
    rng = np.random.default_rng(2)
    return network(
        (20,),
        first=nir.Affine(rng.normal(0.1, 0.3, (24, 20)), rng.normal(0, bias, 24)),
        one=cuba(np.full(24, 0.7), np.linspace(0.6, 0.95, 24), semantics=semantics),
    )


def images(semantics: Any) -> Network:
    """A convolution, pooling, and a dense layer."""
    rng = np.random.default_rng(5)
    return network(
        (2, 7, 6),
        conv=conv(rng.normal(0.1, 0.3, (4, 2, 3, 3)), padding=1, stride=2, bias=0.05),
        one=lif(np.full((4, 4, 3), 0.875), semantics=semantics),
        flatten=nir.Flatten({"input": np.array([4, 4, 3])}, 0, -1),
        fc=nir.Linear(rng.normal(0, 0.4, (8, 48))),
        two=lif(np.full(8, 0.9), semantics=semantics),
    )


LEAKY = {f"{s.reset}-{s.reset_timing}-{s.reset_amount}": s for s in MEANINGS}
CASES: list[Any] = [
    *(pytest.param(t, dense(s), id=f"{t}-{n}") for t in ("cpu8", "cpu8-shift", "cpu16")
      for n, s in LEAKY.items()),
    *(pytest.param(t, images(s), id=f"{t}-images-{s.reset}")
      for t in ("cpu8", "loihi2", "spinnaker2") for s in (ZERO, SUBTRACT)),
    *(pytest.param("loihi2", dense(s, beta=None), id=f"loihi2-{s.reset}-{s.reset_timing}")
      for s in (ZERO, SUBTRACT, replace(SUBTRACT, reset_amount=0.3), AT_ONCE, NONE)),
    *(pytest.param("spinnaker2", dense(s), id=f"spinnaker2-{s.reset}-{s.reset_timing}")
      for s in (ZERO, SUBTRACT, AT_ONCE, NONE)),
    *(pytest.param(t, filtered(ZERO), id=f"{t}-cuba") for t in ("cpu8", "loihi2", "spinnaker2")),
    pytest.param("spinnaker2", filtered(AT_ONCE), id="spinnaker2-cuba-subtract"),
]  # fmt: skip


def attribution(target: Any, net: Network, data: Any) -> Attribution:
    """Of a run of the program, on its own spikes instead of the reference's."""
    program = target.lower(net, recorded(net, data))
    given = check_currents(data, program.input_shapes)
    sent = check_inputs(given, program.input_shapes, program.graded, program.grids)
    names = [p.name for p in net.populations]
    actual = simulate(program, sent, target.machine, record=names)
    return Attribution(program, net, given, sent, actual, target, actual)


def assert_equal(case: Attribution) -> None:
    """Every potential on the program's own spikes is the simulator's."""
    for population in case.network.populations:
        samples, neurons = case.actual.samples, population.size
        neuron, sample = np.divmod(np.arange(samples * neurons), samples)
        found = case.potential(population.name, sample, neuron)
        neurons_of = case.program.population(population.name)
        states = in_model_units(case.actual.states[population.name], neurons_of)[POTENTIAL]
        expected = states.reshape(samples, -1, neurons).transpose(1, 2, 0).reshape(found.shape)
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(("target", "net"), CASES)
def test_the_chips_step_is_the_simulators(target: str, net: Network) -> None:
    data = spikes_for(4, 5, 30, net.inputs[0].shape)
    assert_equal(attribution(get_target(target), net, data))


def test_an_integrator_is_described_half_a_unit_above_the_chips() -> None:
    weight = np.random.default_rng(3).integers(-3, 5, (7, 9)) / 2.0
    net = network((9,), w=nir.Linear(weight), one=integrator(np.full(7, 2.0), AT_ONCE))
    case = attribution(get_target("spinnaker2"), net, spikes_for(4, 5, 30, (9,)))
    assert case.actual.spikes["one"].any()
    unit = case.program.population("one").unit
    neuron, sample = np.divmod(np.arange(35), 5)
    states = in_model_units(case.actual.states["one"], case.program.population("one"))[POTENTIAL]
    expected = states.transpose(1, 2, 0).reshape(30, 35)
    assert np.allclose(case.potential("one", sample, neuron), expected + 0.5 / unit, atol=1e-12)
    assert not sum(layer.local + layer.propagated for layer in case.layers())


@pytest.mark.parametrize("net", ["analog", "delayed"])
def test_what_only_the_chip_has_is_passed_through(net: str) -> None:
    """Sums of analog convolutions, relays, delays in synapses, and neurons that supply a bias."""
    rng = np.random.default_rng(8)
    nodes: dict[str, nir.NIRNode]
    if net == "analog":
        nodes = {
            "conv": conv(rng.normal(0.1, 0.3, (2, 1, 3, 3)), padding=1),
            "one": lif(np.full((2, 5, 5), 0.9), semantics=SUBTRACT),
        }
        data: Any = rng.random((3, 25, 1, 5, 5))
        cases = [("loihi2", chain((1, 5, 5), **nodes))]
    else:
        nodes = {
            "w": nir.Linear(rng.normal(0.2, 0.4, (8, 6))),
            "one": lif(np.full(8, 0.8)),
            "late": nir.Delay(np.full(8, 3 * ZERO.dt)),
            "v": nir.Linear(rng.normal(0.2, 0.4, (5, 8))),
            "two": lif(np.full(5, 0.8)),
        }
        data = spikes_for(2, 4, 25, (6,))
        cases = [(t, chain((6,), **nodes)) for t in ("loihi2", "spinnaker2")]
    for target, graph in cases:
        assert_equal(attribution(get_target(target), merged(load(graph)), data))


@pytest.mark.parametrize("semantics", MEANINGS, ids=list(LEAKY))
@pytest.mark.parametrize("net", [dense, filtered])
def test_the_models_step_is_the_references(net: Any, semantics: Any) -> None:
    network = net(semantics)
    data = spikes_for(4, 6, 40, (20,))
    trace = recorded(network, data)
    population = network.populations[0]
    current = trace.states[population.name]["x"]
    model = model_dynamics(population, np.ones(population.size))
    if net is filtered:
        current = reference.currents(network, population, {"input": data}) - population.bias
    else:
        current = current - population.bias
    for sample in range(6):
        found = potentials(model, (current[sample],), None)
        assert np.allclose(found, trace.states[population.name]["v"][sample], atol=1e-12)
        assert np.array_equal(spikes(model, found), trace.spikes[population.name][sample])
