"""SpiNNaker2's design rules: every register, synapse and memory of a program against its limits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.errors import DesignRuleError, Violation
from neurodeploy.mapping.partition import violations
from neurodeploy.mapping.placement import place
from neurodeploy.program import Program, Synapses
from neurodeploy.targets.spinnaker2.budget import budget
from neurodeploy.targets.spinnaker2.models import MODELS, Model
from neurodeploy.targets.spinnaker2.pes import Pes

WORDS = "py-spinnaker2's synapse words (targets/spinnaker2/models.py)"


def check(program: Program, chip: Chip) -> tuple[Violation, ...]:
    """All violations of all rules, by population and synapse.

    Recordings, inputs and rates are judged on the program's golden traces, once it has these.
    """
    cores = Pes.of(program, chip)
    found: list[Violation] = []
    for population in program.populations:
        incoming = program.incoming(population.name)
        if population.model not in MODELS:
            fix = f"There are: {', '.join(MODELS)}."
            rule = f"{chip.name}.neuron-model"
            found.append(Violation(rule, population.name, 1, 0, "neuron models", WORDS, fix))
            continue
        for synapses in incoming:
            found += _synapses(synapses, MODELS[population.model], chip)
        found += violations(population, incoming, cores)
    if found:
        return tuple(found)
    try:
        placement = place(program, cores)
    except DesignRuleError as error:
        return error.violations
    if program.golden is not None:
        asked = budget(program, placement, chip)
        for population in program.populations:
            own = np.unique(placement.core[population.name])
            found += _packets(population.name, int(asked.packets[own].max()), program, chip)
    return tuple(found)


def _synapses(synapses: Synapses, model: Model, chip: Chip) -> Iterator[Violation]:
    """Weights and delays within the bits of a synapse word."""
    name = synapses.name
    if synapses.port not in model.ports:
        fix = f"Its neurons have: {', '.join(model.ports)}."
        yield Violation(f"{chip.name}.port", name, 1, 0, "ports", WORDS, fix)
    low, high = model.weights if "current" in model.ports else (0, model.weights[1])
    fix = "Compile again, or clip the weights."
    for measured, limit in (
        (int(synapses.weight.max()), high),
        (-int(synapses.weight.min()), -low),
    ):
        if measured > limit:
            rule = f"{chip.name}.weight-range"
            yield Violation(rule, name, measured, limit, "steps", WORDS, fix)
    most = int(synapses.delay.max())
    if most > model.delays:
        rule = f"{chip.name}.delay-range"
        fix = "Delay less, or over several populations."
        yield Violation(rule, name, most, model.delays, "ticks beyond the first", WORDS, fix)
    if synapses.graded:
        rule, fix = f"{chip.name}.graded-messages", "Send spikes."
        yield Violation(rule, name, 1, 0, "graded messages", WORDS, fix)


def _packets(name: str, measured: int, program: Program, chip: Chip) -> Iterator[Violation]:
    """Spikes that a PE receives in one tick."""
    record = chip.limits["packets_per_tick"]
    if measured > record.value:
        sources = ", ".join(dict.fromkeys(s.source for s in program.incoming(name)))
        fix = (
            f"Make {sources} spike less at once, to {record.value / measured:.0%} of it (a lower "
            "input rate spread over more steps, a higher threshold), or connect fewer neurons."
        )
        yield Violation(
            f"{chip.name}.packets-per-tick", name, measured, record.value, record.unit,
            record.source, fix,
        )  # fmt: skip
