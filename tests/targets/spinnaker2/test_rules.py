"""Design rules of SpiNNaker2: what does not fit is explained, and fits once the advice is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurodeploy import api
from neurodeploy.errors import DesignRuleError, Violation
from neurodeploy.mapping import place
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.target import get_target
from neurodeploy.targets.spinnaker2 import rules, selftest
from neurodeploy.targets.spinnaker2.pes import Pes
from tests.builders import conv, lif, network, spikes_for

TARGET = get_target("spinnaker2")


def dense(sources: int, targets: int) -> Network:
    import nir

    rng = np.random.default_rng(0)
    weight = rng.choice([-1.0, 0.5, 1.0], (targets, sources))
    return network((sources,), fc=nir.Linear(weight), lif=lif(np.full(targets, 0.5), 3.0))


def image(pixels: int) -> Network:
    return network(
        (1, pixels, 1), conv=conv(np.ones((2, 1, 1, 1))), lif=lif(np.full((2, pixels, 1), 0.5))
    )


def compiled(net: Network, steps: int = 3, density: float = 0.2) -> Program:
    (port,) = net.inputs
    spikes = spikes_for(0, 1, steps, port.shape, density)
    return api.compile(net, target="spinnaker2", calibration=spikes)


def broken(net: Network, **options: Any) -> Violation:
    with pytest.raises(DesignRuleError) as caught:
        compiled(net, **options)
    (violation,) = caught.value.violations
    return violation


def test_one_neuron_too_many_in_a_channel() -> None:
    violation = broken(image(257))
    assert violation.rule == "spinnaker2.neurons-per-core"
    assert (violation.measured, violation.limit) == (257, 256)
    assert "smaller image" in violation.fix
    assert compiled(image(256)).golden is not None


def test_a_fan_in_that_no_memory_holds() -> None:
    """28 B for each source; 4,656 B of fixed regions and 24 B of registers beside them."""
    most = (67_328 - 4_656 - 24 - 4 * 4 * (3 + 1)) // 28
    violation = broken(dense(most + 1, 2))
    assert (violation.rule, violation.limit) == ("spinnaker2.data-memory", 67_328)
    assert 0 < violation.measured - violation.limit <= 28
    assert "fan-in" in violation.fix
    placement = api.place(compiled(dense(most, 2)))
    assert len(np.unique(placement.core["lif"])) == 2


def test_a_run_too_long_to_be_recorded() -> None:
    """A neuron of 2,000 inputs leaves room for some 400 ticks of 16 B."""
    violation = broken(dense(2_000, 1), steps=500, density=0.01)
    assert violation.rule == "spinnaker2.data-memory"
    assert "fewer steps" in violation.fix
    assert compiled(dense(2_000, 1), steps=400, density=0.01).golden is not None


def test_more_packets_than_a_pe_receives_in_a_tick() -> None:
    violation = broken(dense(700, 3), density=1.0)
    assert (violation.rule, violation.node) == ("spinnaker2.packets-per-tick", "lif")
    assert (violation.measured, violation.limit) == (700, 512)
    assert "to 73% of it" in violation.fix
    assert compiled(dense(700, 3), density=0.5).golden is not None
    assert compiled(dense(512, 3), density=1.0).golden is not None


def test_more_pes_than_the_largest_board_has() -> None:
    limits = {**TARGET.chip.limits}
    for name, value in (("chips_per_system", 1), ("cores_per_chip", 3), ("neurons_per_core", 30)):
        limits[name] = replace(limits[name], value=value)
    chip = replace(TARGET.chip, limits=limits)
    program = replace(compiled(dense(30, 61)), mapped=None)
    (violation,) = rules.check(program, chip)
    assert (violation.rule, violation.node) == ("spinnaker2.cores-per-system", "lif")
    assert (violation.measured, violation.limit) == (4, 3)
    assert "needs 1 PEs" in violation.fix
    assert rules.check(replace(compiled(dense(30, 60)), mapped=None), chip) == ()


def test_everything_is_said_at_once() -> None:
    program = selftest.program()
    first, second, *others = program.synapses
    bad = replace(
        program,
        synapses=(
            replace(first, weight=first.weight * 9, delay=np.array([8])),
            replace(second, weight=-second.weight, graded=True),
            *others,
        ),
        populations=(
            replace(program.populations[0], model="izhikevich"),
            program.populations[1],
        ),
    )
    found = {(v.rule.removeprefix("spinnaker2."), v.node) for v in TARGET.check(bad)}
    assert found == {
        ("neuron-model", selftest.INHIBITOR),
        ("weight-range", first.name),
        ("delay-range", first.name),
        ("weight-range", second.name),
        ("graded-messages", second.name),
    }
    assert all(v.source and v.fix for v in TARGET.check(bad))


def test_golden_inputs_are_stored_where_they_are_sent_from() -> None:
    program = compiled(dense(300, 2), steps=40, density=1.0)
    cores = TARGET.cores(program)
    assert isinstance(cores, Pes)
    assert cores.ticks == 41
    placement = place(program, cores)
    name = program.inputs[0].name
    assert np.bincount(placement.core[name]).tolist() == [100, 100, 100]
    memory = {item.name: item for item in placement.resources[name]}["data memory, busiest core"]
    assert memory.used == 4_656 + 4 * 100 * (1 + 40)


def test_a_synapse_that_takes_no_tick() -> None:
    """The simulator would deliver at once; the chip, and its second implementation, do not."""
    program = selftest.program()
    assert not TARGET.check(program)
    early = tuple(replace(population, depth=0) for population in program.populations)
    violations = TARGET.check(replace(program, populations=early))
    assert {v.rule for v in violations} == {"spinnaker2.tick-per-synapse"}
    assert [v.node for v in violations] == [
        "input->field, excitatory", "inhibitor->field, inhibitory",
    ]  # fmt: skip
    assert violations[0].fix == "Put field one step deeper than input."
