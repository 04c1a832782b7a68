"""What runs on the chip: a program cut for it on given inputs, and the network of the self-test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurodeploy.chip import Chip
from neurodeploy.errors import DesignRuleError
from neurodeploy.mapping.placement import faults, place
from neurodeploy.program import Golden, Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import Machine
from neurodeploy.targets.spinnaker2 import rules, selftest
from neurodeploy.targets.spinnaker2.budget import SHORTEST, budget
from neurodeploy.targets.spinnaker2.bundle.writing import Job
from neurodeploy.targets.spinnaker2.pes import Pes
from neurodeploy.trace import Messages


def job_of(
    program: Program,
    machine: Machine,
    chip: Chip,
    inputs: Mapping[str, Messages],
    labels: NDArray[np.int64] | None,
) -> Job:
    """`program` with ticks as these inputs need them, and its cores unless they need others.

    Raises `DesignRuleError` where the chip cannot hold or follow it on these inputs.
    """
    trace = simulate(program, inputs, machine)
    sent = {population.name: trace.sent(population.name) for population in program.populations}
    judged = replace(program, golden=Golden(inputs, sent))
    cores = Pes.of(judged, chip)
    if judged.mapped is not None and faults(judged, judged.mapped, cores):
        judged = replace(judged, mapped=None)  # other inputs need more memory
    violations = rules.check(judged, chip)
    if violations:
        raise DesignRuleError(violations)
    asked = budget(judged, place(judged, cores), chip)
    return Job(program, asked.atoms, asked.tick, inputs, labels)


def selftest_job() -> Job:
    """The network that a chip ran with 30 neurons per core and ticks of 1 ms."""
    program = selftest.program()
    atoms = {name: selftest.NEURONS_PER_CORE for name in program.shapes}
    recorded = {
        "population": selftest.FIELD,
        "ticks": selftest.TICKS,
        "sha256": selftest.SHA256,
    }
    inputs = {selftest.INPUT: selftest.inputs()}
    return Job(program, atoms, SHORTEST, inputs, recorded=recorded)
