"""Lowered networks in Lava itself: trained digits, branches, loops, delays and readouts.

The quantised reference is the float64 reference with the program's integers divided by their scale:
what is left between it and the chip is the rounding of states alone.
"""

from __future__ import annotations

from dataclasses import replace
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
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.vendor import run_in_lava
from neurodeploy.trace import Trace
from tests.builders import SUBTRACT, compiled, lif, merged, network, spikes_for

MACHINE = LoihiMachine()
LAVA_SAMPLES = 30


def quantised(net: Network, program: Program) -> Network:
    """`net` with the integers of `program`, whose neurons all reset by subtraction, in thresholds.

    The bias register holds b/(1-beta), see `lowering`.
    """
    synapses = {s.name: s for s in program.synapses}
    scale = {p.name: float(p.register("vth")[0]) for p in program.populations}

    def each(neurons: Neurons, values: NDArray[Any]) -> NDArray[np.float64]:
        shape = neurons.shape if values.size > 1 else (1,) * len(neurons.shape)
        return np.asarray(np.broadcast_to(values.reshape(shape), neurons.shape), np.float64)

    populations = []
    for population in net.populations:
        neurons = program.population(population.name)
        lost = each(neurons, neurons.register("du") + 1) / DECAY_ONE
        offset = bias_current(neurons.register("bias_mant"), neurons.register("bias_exp"))
        bias = each(neurons, offset) * lost / (64 * scale[neurons.name])
        one = np.ones(population.shape)
        populations.append(replace(population, decay=1 - lost, threshold=one, bias=bias))
    connections = []
    for connection in net.connections:
        (op,), s = connection.ops, synapses[connection.name]
        weight = s.weight * 2.0**s.exponent / scale[connection.target]
        connections.append(replace(connection, ops=(replace(op, weight=weight),)))
    return replace(net, populations=tuple(populations), connections=tuple(connections))


def differing(expected: Trace, actual: Trace, program: Program) -> tuple[int, int]:
    """(differing cells, cells) over all populations."""
    return totals(compare(expected, actual, [p.name for p in program.populations]))


def assert_lava_agrees(program: Program, inputs: dict[str, Any]) -> Trace:
    """Every spike of every population, and u and v, in Lava and in the simulator."""
    names = [p.name for p in program.populations]
    ours = simulate(program, inputs, MACHINE, record=names)
    lava = run_in_lava(program, inputs, timeout=300, states=True)
    for name in names:
        np.testing.assert_array_equal(ours.spikes[name], lava.spikes[name], err_msg=name)
        for state in ("u", "v"):
            np.testing.assert_array_equal(
                ours.states[name][state], lava.states[name][state], err_msg=f"{name}.{state}"
            )
    return ours


# --- snnTorch's default neuron, trained ----------------------------------------------------------


@pytest.fixture(scope="module")
def data() -> Digits:
    return load_data()


@pytest.mark.parametrize("name", ["dense_bias", "dense_plain", "conv_bias", "conv_plain"])
def test_digits_on_snntorchs_default_neurons(name: str, data: Digits) -> None:
    """All test images in the simulator, which equals Lava bit by bit on the first of them."""
    spikes, labels = encode(data.test_images), data.test_labels
    file = Path(__file__).with_name("digits") / f"{name}.nir"
    meant = merged(api.load(file))
    assert {p.semantics.reset for p in meant.populations} == {"subtract"}
    assert {p.semantics.reset_timing for p in meant.populations} == {"delayed"}
    program = api.compile(file, target="loihi2", calibration=encode(data.train_images[:128]))

    chip = simulate(program, spikes, MACHINE)
    assert_lava_agrees(program, {program.inputs[0].name: spikes[:LAVA_SAMPLES]})
    wrong, cells = differing(reference.simulate(quantised(meant, program), spikes), chip, program)
    assert wrong / cells < 1e-3
    before = (reference.simulate(meant, spikes).decisions(program.output) == labels).mean()
    after = (chip.decisions(program.output) == labels).mean()
    assert before > 0.9
    assert before - after <= 0.005


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
    assert_lava_agrees(program, {"input": spikes[:1]})
