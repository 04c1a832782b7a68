"""SpiNNaker2's design rules: every register, synapse and memory of a program against its limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.errors import DesignRuleError, Violation
from neurodeploy.mapping.partition import violations
from neurodeploy.mapping.placement import place
from neurodeploy.program import Program, Synapses
from neurodeploy.targets.spinnaker2.budget import budget
from neurodeploy.targets.spinnaker2.models import MODELS, Model
from neurodeploy.targets.spinnaker2.pes import Pes

WORDS = "py-spinnaker2's synapse words and applications (targets/spinnaker2/models.py)"


@dataclass(frozen=True)
class Rule:
    """One rule beside the memories of a PE (`pes.BOUNDS`).

    Attributes
    ----------
    name: of `spinnaker2.name`.
    what: is compared with the limit.
    unit: of both.
    fix: what to do; may have fields in braces.
    """

    name: str
    what: str
    unit: str
    fix: str


RULES = {
    rule.name: rule
    for rule in (
        Rule("neuron-model", "populations of other models", "populations", "There are: {models}."),
        Rule(
            "port", "synapses to inputs that neurons lack", "synapses", "Its neurons have: {ports}."
        ),
        Rule(
            "weight-range",
            "greatest weight, of either sign",
            "steps",
            "Compile again, or clip the weights.",
        ),
        Rule(
            "delay-range",
            "greatest delay field",
            "ticks beyond the first",
            "Delay less, or over several populations.",
        ),
        Rule("graded-messages", "synapses that multiply messages", "synapses", "Send spikes."),
        Rule(
            "tick-per-synapse",
            "synapses without a tick",
            "synapses",
            "Put {end} one step deeper than {start}.",
        ),
        Rule(
            "packets-per-tick",
            "spikes that a PE receives in the busiest tick of the golden inputs",
            "packets per PE and tick",
            "Make {sources} spike less at once, to {share:.0%} of it (a lower input rate spread "
            "over more steps, a higher threshold), or connect fewer neurons.",
        ),
    )
}


def check(program: Program, chip: Chip) -> tuple[Violation, ...]:
    """All violations of all rules, by population and synapse.

    Recordings, inputs and rates are judged on the program's golden traces, once it has these.
    """
    cores = Pes.of(program, chip)
    found: list[Violation] = []
    for population in program.populations:
        incoming = program.incoming(population.name)
        if population.model not in MODELS:
            known = ", ".join(MODELS)
            found.append(_violation(chip, "neuron-model", population.name, 1, 0, models=known))
            continue
        for synapses in incoming:
            found += _synapses(synapses, MODELS[population.model], chip)
            found += _tick(synapses, program, chip)
        found += violations(population, incoming, cores)
    if found:
        return tuple(found)
    try:
        placement = place(program, cores)
    except DesignRuleError as error:
        return error.violations
    if program.golden is None:
        return ()
    packets = budget(program, placement, chip).packets
    limit = chip.limits["packets_per_tick"]
    for population in program.populations:
        most = int(packets[np.unique(placement.core[population.name])].max())
        if most > limit.value:
            sources = ", ".join(dict.fromkeys(s.source for s in program.incoming(population.name)))
            found.append(
                _violation(
                    chip,
                    "packets-per-tick",
                    population.name,
                    most,
                    limit.value,
                    limit.source,
                    sources=sources,
                    share=limit.value / most,
                )
            )
    return tuple(found)


def _violation(
    chip: Chip,
    rule: str,
    node: str,
    measured: float,
    limit: float,
    cited: str = WORDS,
    **fix: str | float,
) -> Violation:
    found = RULES[rule]
    name, text = f"{chip.name}.{rule}", found.fix.format(**fix)
    return Violation(name, node, measured, limit, found.unit, cited, text)


def _synapses(synapses: Synapses, model: Model, chip: Chip) -> Iterator[Violation]:
    """Weights and delays within the bits of a synapse word."""
    name = synapses.name
    if synapses.port not in model.ports:
        yield _violation(chip, "port", name, 1, 0, ports=", ".join(model.ports))
    low, high = model.weights if "current" in model.ports else (0, model.weights[1])
    for measured, limit in (
        (int(synapses.weight.max()), high),
        (-int(synapses.weight.min()), -low),
    ):
        if measured > limit:
            yield _violation(chip, "weight-range", name, measured, limit)
    most = int(synapses.delay.max())
    if most > model.delays:
        yield _violation(chip, "delay-range", name, most, model.delays)
    if synapses.graded:
        yield _violation(chip, "graded-messages", name, 1, 0)


def _tick(synapses: Synapses, program: Program, chip: Chip) -> Iterator[Violation]:
    """A spike arrives a tick after it was sent at least, so forward is always deeper."""
    order = list(program.shapes)
    depth = dict.fromkeys(program.input_shapes, 0) | {p.name: p.depth for p in program.populations}
    source, target = synapses.source, synapses.target
    if order.index(source) < order.index(target) and depth[source] == depth[target]:
        ends = {"start": source, "end": target}
        yield _violation(chip, "tick-per-synapse", synapses.name, 1, 0, **ends)
