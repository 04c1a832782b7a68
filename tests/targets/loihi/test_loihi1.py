"""Loihi 1: what it refuses, how its memory fills, and that its programs run as they are checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy import api
from neurodeploy.mapping.partition import partition, violations
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_backend, get_target
from neurodeploy.targets.loihi.neurocores import Neurocores, synaptic_words
from tests.builders import small_program

LOIHI1, LOIHI2 = get_target("loihi1"), get_target("loihi2")
CORES1, CORES2 = Neurocores(LOIHI1.chip), Neurocores(LOIHI2.chip)


def rules(program: Program) -> dict[str, str]:
    """Broken rules of both chips, with what broke them."""
    found = (*LOIHI1.check(program), *LOIHI2.check(program))
    return {violation.rule: violation.node for violation in found}


def dense(sources: int, targets: int) -> Synapses:
    weight = np.full((targets, sources), 2)
    return Synapses("a->b", "a", "b", "dense", weight, 0, (sources,), (targets,))


def neurons(*shape: int) -> Neurons:
    values = {"du": 4095, "dv": 100, "vth": 64, "bias_mant": 0, "bias_exp": 0, "u0": 0, "v0": 0}
    parameters = {name: np.array([value]) for name, value in values.items()}
    return Neurons("b", shape, 1, parameters, np.ones(1))


def test_a_program_for_loihi_1_is_equal_in_lava() -> None:
    network, _, spikes = small_program()
    program = api.compile(network, target="loihi1", calibration=spikes)
    assert program.target == "loihi1"
    inputs = {program.inputs[0].name: spikes[:2]}
    ours = simulate(program, inputs, LOIHI1.machine)
    theirs = get_backend(LOIHI1, None).run(program, inputs, timeout=120)
    for population in program.populations:
        assert ours.spikes[population.name].any()
        np.testing.assert_array_equal(
            ours.spikes[population.name], theirs.spikes[population.name], population.name
        )
    report = api.energy(program, ours)
    assert report.chip == "Intel Loihi 1"
    assert 0 < report.lines[0].total.low < report.lines[0].total.high


def test_graded_messages_need_loihi_2() -> None:
    program = small_program()[1]
    graded = replace(program, inputs=(replace(program.inputs[0], graded=True),))
    assert rules(graded) == {"loihi1.graded-messages": program.inputs[0].name}
    graded = replace(program, synapses=(replace(program.synapses[0], graded=True),))
    assert rules(graded)["loihi1.graded-messages"] == program.synapses[0].name
    first, *others = program.populations
    graded = replace(program, populations=(replace(first, graded=True), *others))
    assert rules(graded) == {"loihi1.graded-messages": first.name}


def test_neurons_other_than_cuba_lif_need_loihi_2() -> None:
    program = small_program()[1]
    first, *others = program.populations
    ternary = replace(program, populations=(replace(first, model="ternary-lif"), *others))
    assert rules(ternary)["loihi1.neuron-model"] == first.name
    synapses = (replace(program.synapses[0], port="bias"), *program.synapses[1:])
    fed = rules(replace(program, synapses=synapses))
    assert fed["loihi1.neuron-model"] == program.synapses[0].target
    assert "loihi2.neuron-model" not in fed


def test_a_core_holds_less_than_that_of_loihi_2() -> None:
    cores = [
        int(partition(neurons(1100), (dense(4, 1100),), cores).max()) + 1
        for cores in (CORES1, CORES2)
    ]
    assert cores == [2, 1]
    (broken,) = violations(neurons(2), (dense(4097, 2),), CORES1)
    assert (broken.rule, broken.measured, broken.limit) == ("loihi1.input-axons", 4097, 4096)
    assert not violations(neurons(2), (dense(4097, 2),), CORES2)


@pytest.mark.parametrize("n", [1, 6, 7, 64, 65, 300, 1024])
@pytest.mark.parametrize(("bits", "index"), [(8, 0), (8, 10)], ids=["dense", "convolution"])
def test_words_are_those_of_its_synapse_format(n: int, bits: int, index: int) -> None:
    """Blocks of 64 synapses with 10 bits of header, each rounded up to words of 64 bits."""
    blocks = [min(64, n - start) for start in range(0, n, 64)]
    expected = sum(-(-(size * (bits + index) + 10) // 64) for size in blocks)
    if index:
        shape = (n, 1, 1)
        synapses = Synapses(
            "a->b", "a", "b", "conv2d", np.ones((n, 1, 1, 1), np.int64), 0, (1, 1, 1), shape
        )
    else:
        synapses = dense(1, n)
    words = synaptic_words(synapses, np.zeros(n, np.int64), LOIHI1.chip)
    assert abs(int(words[0]) - expected) <= 1


def test_a_convolution_is_stored_for_every_source_neuron() -> None:
    weight = np.ones((4, 2, 3, 3), np.int64)
    synapses = Synapses("a->b", "a", "b", "conv2d", weight, 0, (2, 10, 10), (4, 8, 8))
    population = neurons(4, 8, 8)
    core = np.repeat([0, 1], [255, 1])
    use = CORES1.meter(population, (synapses,))(core)
    # All 200 source neurons with 36 synapses each; the 18 that one neuron listens to.
    assert use["input_axons"].tolist() == [200, 18]
    assert use["synaptic_memory"].tolist() == [200 * 11, 18]
    assert LOIHI2.chip.limit("kernel_header_words")
    assert CORES2.meter(population, (synapses,))(core)["input_axons"].tolist() == [1, 1]
