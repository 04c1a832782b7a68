"""Lowered networks in Lava itself: trained digits, branches, loops, delays and readouts.

The quantised reference is the float64 reference with the program's integers: what is left between
it and the chip is the rounding of states alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from numpy.typing import NDArray

from neurodeploy import api, reference
from neurodeploy.equivalence.compare import compare, totals
from neurodeploy.frontends.nir import load
from neurodeploy.linear import FloatArray
from neurodeploy.models.digits_data import Digits, encode, load_data
from neurodeploy.network import Network
from neurodeploy.program import Neurons, Program
from neurodeploy.semantics import Semantics, to_metadata
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, bias_current
from neurodeploy.targets.loihi.lava.runner import run
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.vendor import from_lava, to_lava
from neurodeploy.trace import Spikes, Trace
from tests.builders import (
    DT,
    NONE,
    SUBTRACT,
    ZERO,
    compiled,
    conv,
    cuba,
    lif,
    merged,
    network,
    recorded,
    spikes_for,
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


def joined(
    shape: tuple[int, ...], nodes: dict[str, nir.NIRNode], *more: tuple[str, str]
) -> Network:
    """A chain of `nodes` from input to output, with `more` edges; loose nodes are named `_...`."""
    chain = ["input", *(name for name in nodes if not name.startswith("_")), "output"]
    last = next(n for n in reversed(nodes.values()) if hasattr(n, "r"))
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(last.r.shape))}
    graph = nir.NIRGraph({**ends, **nodes}, [*pairwise(chain), *more], type_check=False)
    return merged(load(graph))


def weights(rng: np.random.Generator, *shape: int) -> FloatArray:
    """On the grid of a threshold of 1, mostly excitatory."""
    return rng.integers(-20, 40, shape) / 64


def neurons(*shape: int, meaning: Semantics = SUBTRACT) -> nir.LIF:
    return lif(np.full(shape, 0.75), semantics=meaning)


def residual_dense(rng: np.random.Generator) -> Network:
    """Two layers and none, one, or a layer of its own beside them."""
    nodes = {
        "a": nir.Linear(weights(rng, 8, 6)), "lif1": neurons(8),
        "b": nir.Linear(weights(rng, 8, 8)), "lif2": neurons(8, meaning=ZERO),
        "c": nir.Linear(weights(rng, 8, 8)), "lif3": neurons(8),
        "_skip": nir.Linear(weights(rng, 8, 6)),
    }  # fmt: skip
    edges = ("lif1", "lif3"), ("input", "_skip"), ("_skip", "lif3")
    return joined((6,), nodes, *edges)


def residual_conv(rng: np.random.Generator) -> Network:
    """As ResNet: the same image beside two convolutions, and the input through one of its own."""
    nodes = {
        "a": conv(weights(rng, 2, 1, 3, 3), padding=1), "lif1": neurons(2, 5, 6),
        "b": conv(weights(rng, 3, 2, 3, 3), padding=1), "lif2": neurons(3, 5, 6),
        "c": conv(weights(rng, 2, 3, 3, 3), padding=1), "lif3": neurons(2, 5, 6),
        "_skip": conv(weights(rng, 2, 1, 1, 1)),
    }  # fmt: skip
    edges = ("lif1", "lif3"), ("input", "_skip"), ("_skip", "lif3")
    return joined((1, 5, 6), nodes, *edges)


def recurrent(rng: np.random.Generator) -> Network:
    """All to all and one to one, with snnTorch's reset, before a layer without a loop."""
    nodes = {
        "a": nir.Linear(weights(rng, 8, 6)), "lif1": neurons(8),
        "b": nir.Linear(weights(rng, 4, 8)), "lif2": neurons(4),
        "_all": nir.Linear(weights(rng, 8, 8) / 2),
        "_one": nir.Scale(np.array([0.5, -0.25, 0.125, -0.5])),
    }  # fmt: skip
    edges = ("lif1", "_all"), ("_all", "lif1"), ("lif2", "_one"), ("_one", "lif2")
    return joined((6,), nodes, *edges)


def recurrent_conv(rng: np.random.Generator) -> Network:
    nodes = {
        "a": conv(weights(rng, 2, 1, 3, 3), padding=1), "lif1": neurons(2, 4, 4),
        "_back": conv(weights(rng, 2, 2, 3, 3) / 2, padding=1),
    }  # fmt: skip
    return joined((1, 4, 4), nodes, ("lif1", "_back"), ("_back", "lif1"))


def filtered(rng: np.random.Generator) -> Network:
    """Synaptic currents in a loop, as CubaLIF with recurrent weights."""
    nodes = {
        "a": nir.Affine(weights(rng, 8, 6) / 2, np.full(8, 1 / 64)),
        "lif1": cuba(np.full(8, 0.5), np.full(8, 0.75)),
        "_all": nir.Linear(weights(rng, 8, 8) / 4),
    }
    return joined((6,), nodes, ("lif1", "_all"), ("_all", "lif1"))


def loop_of_two(rng: np.random.Generator) -> Network:
    """Two synapses and two steps of delay."""
    nodes = {
        "a": nir.Linear(weights(rng, 6, 6)), "lif1": neurons(6),
        "b": nir.Linear(weights(rng, 4, 6)), "lif2": neurons(4),
        "_back": nir.Linear(weights(rng, 6, 4)), "_late": wait(np.full(6, 2)),
    }  # fmt: skip
    return joined((6,), nodes, ("lif2", "_back"), ("_back", "_late"), ("_late", "lif1"))


def delays(rng: np.random.Generator) -> Network:
    """One per neuron, and one for a whole image."""
    nodes = {
        "a": conv(weights(rng, 2, 1, 3, 3), padding=1), "late": wait(np.full((2, 4, 4), 2)),
        "lif1": neurons(2, 4, 4),
        "flat": nir.Flatten({"input": np.array([2, 4, 4])}, 0, -1),
        "each": wait(rng.integers(0, 9, 32)),
        "b": nir.Linear(weights(rng, 5, 32) / 2), "lif2": neurons(5),
    }  # fmt: skip
    return joined((1, 4, 4), nodes)


def wait(steps: NDArray[Any]) -> nir.Delay:
    return nir.Delay(steps * DT)


NETWORKS = (
    residual_dense, residual_conv, recurrent, recurrent_conv, filtered, loop_of_two, delays,
)  # fmt: skip


def leaky_integrator(n: int) -> nir.LI:
    beta = np.full(n, 0.875)
    entries = to_metadata(semantics=NONE.to_dict())
    return nir.LI(DT / (1 - beta), 1 / (1 - beta), np.zeros(n), metadata=entries)


def filtered_integrator(n: int) -> nir.CubaLI:
    alpha, beta = np.full(n, 0.5), np.full(n, 0.875)
    entries = to_metadata(semantics=NONE.to_dict())
    return nir.CubaLI(
        tau_syn=DT / (1 - alpha), tau_mem=DT / (1 - beta), r=1 / (1 - beta), v_leak=np.zeros(n),
        w_in=1 / (1 - alpha), metadata=entries,
    )  # fmt: skip


def without_leak(n: int) -> nir.I:
    return nir.I(np.full(n, 1 / DT), metadata=to_metadata(semantics=NONE.to_dict()))


def read(meaning: Semantics) -> Callable[[int], nir.LIF]:
    """Neurons that spike, of which the potential is read."""
    entries = to_metadata(semantics=meaning.to_dict(), readout="membrane")
    return lambda n: lif(np.full(n, 0.875), semantics=meaning, metadata=entries)


READOUTS = {
    "leaky": (leaky_integrator, True),
    "with a synaptic current": (filtered_integrator, True),
    "without leak": (without_leak, False),
    "reset to zero": (read(ZERO), True),
    "subtracting": (read(SUBTRACT), True),
}


def readout(make: Callable[[int], nir.NIRNode]) -> Network:
    rng = np.random.default_rng(3)
    return network(
        (6,),
        a=nir.Linear(weights(rng, 12, 6)),
        hidden=neurons(12),
        b=nir.Affine(weights(rng, 5, 12), np.arange(-2, 3) / 64),
        out=make(5),
    )


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
    assert verdict.passed, verdict.to_dict()
    assert len(verdict.stage("vendor").layers) == 6
    assert len(verdict.stage("lowering").layers) == 3
    net = network((6,), a=nir.Linear(weights(rng, 5, 6)), out=leaky_integrator(5))
    spikes = spikes_for(2, 3, 40, (6,), 0.3)
    program = api.compile(net, target="loihi2", calibration=spikes)
    verdict = api.verify(program, spikes, vendor_samples=1)
    assert verdict.passed, verdict.to_dict()
    assert "0 of 200 potentials of out" in verdict.stage("vendor").text
