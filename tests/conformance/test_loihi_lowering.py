"""Lowered networks in Lava itself: trained digits, branches, loops, delays and readouts.

The quantised reference is the float64 reference with the program's integers: what is left between
it and the chip is the rounding of states alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from numpy.typing import NDArray

from neurodeploy import api, reference
from neurodeploy.equivalence.compare import compare, totals
from neurodeploy.models.digits_data import Digits, encode, load_data
from neurodeploy.network import Network
from neurodeploy.program import Neurons, Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, bias_current
from neurodeploy.targets.loihi.lava.runner import run
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.vendor import from_lava, to_lava
from neurodeploy.trace import Spikes, Trace
from tests.builders import (
    SUBTRACT,
    compiled,
    lif,
    merged,
    network,
    recorded,
    spikes_for,
)
from tests.conformance.branches import (
    NETWORKS,
    READOUTS,
    leaky_integrator,
    readout,
    residual_conv,
    weights,
)
from tests.pages_of_docs import check, row

MACHINE = LoihiMachine()
LAVA_SAMPLES = 30


def quantised(net: Network, program: Program) -> Network:
    """`net` with the integers of `program`, whose neurons all reset by subtraction.

    In the unit of the chip's weights, so that sums are exact.  The bias register holds b/(1-beta)
    in 1/64 of it, see `lowering`.
    """
    synapses = {s.name: s for s in program.synapses}

    def each(neurons: Neurons, values: NDArray[Any]) -> NDArray[np.float64]:
        shape = neurons.shape if values.size > 1 else (1,) * len(neurons.shape)
        return np.asarray(np.broadcast_to(values.reshape(shape), neurons.shape), np.float64)

    populations = []
    for population in net.populations:
        neurons = program.population(population.name)
        lost = each(neurons, neurons.register("du") + 1) / DECAY_ONE
        offset = bias_current(neurons.register("bias_mant"), neurons.register("bias_exp"))
        populations.append(
            replace(
                population,
                decay=1 - lost,
                threshold=each(neurons, neurons.register("vth")),
                bias=each(neurons, offset) * lost / 64,
            )
        )
    connections = []
    for connection in net.connections:
        (op,), s = connection.ops, synapses[connection.name]
        weight = s.weight * 2.0**s.exponent
        connections.append(replace(connection, ops=(replace(op, weight=weight),)))
    return replace(net, populations=tuple(populations), connections=tuple(connections))


def differing(expected: Trace, actual: Trace, program: Program) -> tuple[int, int]:
    """(differing cells, cells) over all populations."""
    return totals(compare(expected, actual, [p.name for p in program.populations]))


def assert_equal(program: Program, ours: Trace, lava: Trace) -> None:
    """Every spike, u, v and potential that is read."""
    for population in program.populations:
        name = population.name
        np.testing.assert_array_equal(ours.spikes[name], lava.spikes[name], err_msg=name)
        for state in ("u", "v"):
            np.testing.assert_array_equal(
                ours.states[name][state], lava.states[name][state], err_msg=f"{name}.{state}"
            )
    assert set(ours.values) == set(lava.values)
    for name, values in ours.values.items():
        np.testing.assert_array_equal(values, lava.values[name], err_msg=name)


@dataclass(frozen=True, eq=False)
class Case:
    """A network, lowered, on some spikes, in the simulator."""

    net: Network
    spikes: Spikes
    program: Program
    ours: Trace

    @classmethod
    def of(cls, net: Network, spikes: Spikes) -> Case:
        program = compiled(net, spikes)
        names = [population.name for population in program.populations]
        return cls(net, spikes, program, simulate(program, spikes, MACHINE, record=names))


def in_lava(cases: Mapping[str, Case]) -> dict[str, Trace]:
    """The same in Lava, all in one process."""
    inputs = [{case.net.inputs[0].name: case.spikes} for case in cases.values()]
    pairs = [*zip((case.program for case in cases.values()), inputs, strict=True)]
    results = run([to_lava(program, x, states=True) for program, x in pairs], timeout=600)
    found = (from_lava(*pair, result) for pair, result in zip(pairs, results, strict=True))
    return dict(zip(cases, found, strict=True))


# --- snnTorch's default neuron, trained ----------------------------------------------------------


@pytest.fixture(scope="module")
def data() -> Digits:
    return load_data()


DIGITS = ("dense_bias", "dense_plain", "conv_bias", "conv_plain")


@pytest.fixture(scope="module")
def digits(data: Digits) -> dict[str, Program]:
    calibration = encode(data.train_images[:128])
    return {
        name: api.compile(file(name), target="loihi2", calibration=calibration) for name in DIGITS
    }


def file(name: str) -> Path:
    return Path(__file__).with_name("digits") / f"{name}.nir"


def test_digits_on_snntorchs_default_neurons(digits: dict[str, Program], data: Digits) -> None:
    spikes, labels = encode(data.test_images), data.test_labels
    heads = (
        "network", "biases", "cells", "differ from the quantised model", "differ from the model",
        "correct: model", "quantised", "chip",
    )  # fmt: skip
    table = [row(*heads), row(*["---"] * len(heads))]
    for name, program in digits.items():
        meant = merged(api.load(file(name)))
        assert {p.semantics.reset for p in meant.populations} == {"subtract"}
        assert {p.semantics.reset_timing for p in meant.populations} == {"delayed"}
        traces = (
            reference.simulate(meant, spikes),
            reference.simulate(quantised(meant, program), spikes),
            simulate(program, spikes, MACHINE),
        )
        model, rounded, chip = traces
        correct = [int((t.decisions(program.output) == labels).sum()) for t in traces]
        wrong, cells = differing(rounded, chip, program)
        assert wrong / cells < 1e-3
        assert correct[0] > 0.9 * len(labels)
        assert correct[0] - correct[2] <= 0.005 * len(labels)
        kind, biases = name.split("_")
        share = differing(model, chip, program)[0] / cells
        said = (
            kind, "yes" if biases == "bias" else "no", f"{cells:,}",
            f"{wrong} ({wrong / cells:.4%})", f"{share:.2%}", *correct,
        )  # fmt: skip
        table.append(row(*said))
    check("loihi2.md", "digits", "\n".join(table))


def test_digits_in_lava(digits: dict[str, Program], data: Digits) -> None:
    """The first test images, bit by bit; the others then need the simulator only."""
    spikes = encode(data.test_images[:LAVA_SAMPLES])
    cases = {}
    for name, program in digits.items():
        names = [population.name for population in program.populations]
        ours = simulate(program, spikes, MACHINE, record=names)
        cases[name] = Case(merged(api.load(file(name))), spikes, program, ours)
    for name, lava in in_lava(cases).items():
        assert_equal(cases[name].program, cases[name].ours, lava)


def without_headroom(program: Program, bits: int) -> Program:
    """The same integers with `bits` fewer bits of the state below the weights' unit."""
    (neurons,) = program.populations
    vth = neurons.register("vth") >> bits
    assert np.array_equal(vth << bits, neurons.register("vth"))
    parameters = {**neurons.parameters, "vth": vth}
    synapses = tuple(replace(s, exponent=s.exponent - bits) for s in program.synapses)
    return replace(
        program, populations=(replace(neurons, parameters=parameters),), synapses=synapses
    )


def test_headroom_takes_the_mismatch_to_zero() -> None:
    """60 inputs, 40 neurons: the lowering leaves every bit that the ranges allow."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0.05, 0.15, (40, 60))
    net = network((60,), fc=nir.Linear(weight), lif=lif(np.full(40, 0.9), semantics=SUBTRACT))
    spikes = spikes_for(1, 8, 300, (60,), 0.1)
    program = compiled(net, spikes)
    expected = reference.simulate(quantised(net, program), spikes)
    bits = min(s.exponent for s in program.synapses)
    assert bits >= 2
    wrong = [
        differing(expected, simulate(without_headroom(program, cut), spikes, MACHINE), program)[0]
        for cut in range(bits, -1, -1)
    ]
    assert wrong[0] > 0
    assert wrong[-1] == 0
    table = [
        row("bits below the weights' unit, besides the chip's 6", *range(bits + 1)),
        row(*["---"] * (bits + 2)),
        row("differing cells", *wrong),
    ]
    check("loihi2.md", "headroom", "\n".join(table))


# --- branches, loops, delays, readouts -----------------------------------------------------------


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    nets = {make.__name__: make(np.random.default_rng(5)) for make in NETWORKS}
    nets |= {name: readout(make) for name, (make, _) in READOUTS.items()}
    return {
        name: Case.of(net, spikes_for(2, 4, 50, net.inputs[0].shape, 0.3))
        for name, net in nets.items()
    }


def test_all_of_them_in_lava(cases: dict[str, Case]) -> None:
    for name, lava in in_lava(cases).items():
        assert_equal(cases[name].program, cases[name].ours, lava)


@pytest.mark.parametrize("name", [make.__name__ for make in NETWORKS])
def test_branches_loops_and_delays_mean_what_they_did(name: str, cases: dict[str, Case]) -> None:
    """All parameters lie on the grid; what differs from the model is the rounding of states."""
    case = cases[name]
    assert all(x.how == "exact" for x in case.program.lowerings if x.subject == "quantisation")
    expected = recorded(case.net, case.spikes)
    names = [population.name for population in case.net.populations]
    assert all(0.02 < expected.spikes[name].mean() < 0.9 for name in names)
    wrong, cells = totals(compare(expected, case.ours, names))
    assert wrong <= 1e-3 * cells


@pytest.mark.parametrize("name", READOUTS)
def test_potentials_that_are_read_are_the_models(name: str, cases: dict[str, Case]) -> None:
    """To within rounding, as long as the spikes are the same."""
    case, proven = cases[name], READOUTS[name][1]
    ranges = [r for r in case.program.ranges if r.node == "out" and r.register == "v"]
    assert [r.proven for r in ranges] == [proven]
    expected = recorded(case.net, case.spikes)
    same = np.ones(case.spikes.shape[:2], bool)
    for population in ("hidden", "out"):
        differs = expected.spikes[population] != case.ours.spikes[population]
        same &= ~np.logical_or.accumulate(differs.any(axis=2), axis=1)
    assert same.mean() > 0.5
    error = np.abs(expected.values["out"] - case.ours.values["out"])
    assert error[same].max() < 0.01
    assert np.array_equal(expected.decisions("out"), case.ours.decisions("out"))


def test_verify_compares_relays_and_potentials_with_lava() -> None:
    """A relay is no population of the model: it is compared with Lava only."""
    rng = np.random.default_rng(5)
    net = residual_conv(rng)
    spikes = spikes_for(2, 3, 40, (1, 5, 6), 0.3)
    program = api.compile(net, target="loihi2", calibration=spikes)
    assert {p.name for p in program.populations} - {p.name for p in net.populations} == {
        "input+1", "input+2", "lif1+1",
    }  # fmt: skip
    verdict = api.verify(program, spikes, vendor_samples=1)
    assert {s.name for s in verdict.stages if s.status != "passed"} == {"import"}
    assert len(verdict.stage("vendor").layers) == 6
    assert len(verdict.stage("lowering").layers) == 3
    net = network((6,), a=nir.Linear(weights(rng, 5, 6)), out=leaky_integrator(5))
    spikes = spikes_for(2, 3, 40, (6,), 0.3)
    program = api.compile(net, target="loihi2", calibration=spikes)
    verdict = api.verify(program, spikes, vendor_samples=1)
    not_run = {s.name for s in verdict.stages if s.status != "passed"}
    assert not_run == {"import", "pass merge-linear"}  # no spikes of a population to compare
    assert "0 of 200 potentials of out" in verdict.stage("vendor").text
