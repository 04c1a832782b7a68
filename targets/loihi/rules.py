"""Loihi's design rules: every register and memory of a program against the chip's limits."""

from __future__ import annotations

from collections.abc import Iterator

from neurodeploy.chip import Chip
from neurodeploy.errors import Violation
from neurodeploy.mapping.partition import violations
from neurodeploy.mapping.placement import faults
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.targets.loihi.models import MODELS
from neurodeploy.targets.loihi.neurocores import Neurocores

# register -> (rule, limit in the chip file, signed, values beyond the bits, what to do)
RULES = {
    "vth": ("vth-bits", "threshold_bits", False, 0, "Lower the threshold or scale the weights."),
    "du": ("decay-bits", "decay_bits", False, 0, "Choose beta <= 4095/4096."),
    # 4096, no memory at all, is 4095 with the decay offset bit of the chip.
    "dv": ("decay-bits", "decay_bits", False, 1, "Choose beta in [0, 1]."),
    "bias_mant": ("bias-mantissa-bits", "bias_mantissa_bits", True, 0, "Reduce the bias."),
    "bias_exp": ("bias-exponent-bits", "bias_exponent_bits", False, 0, "Reduce the bias."),
    "u0": ("current-bits", "current_bits", True, 0, "Reduce the bias."),
    "v0": ("voltage-bits", "voltage_bits", True, 0, "Reduce the initial potential."),
}


def check(program: Program, chip: Chip) -> tuple[Violation, ...]:
    """All violations of all rules, by population and synapse.

    Rules are named `<chip>.<rule>`; limits and their sources come from the chip file.
    """
    found = list(_features(program, chip))
    for population in program.populations:
        found += _registers(population, chip)
        found += violations(population, program.incoming(population.name), Neurocores(chip))
    for synapses in program.synapses:
        found += _weights(synapses, chip)
    found += _delays(program, chip)
    found += _bias_inputs(program, chip)
    for item in program.ranges:
        reach, limit = max(-item.low, item.high), item.limit_high
        if reach > limit:
            name = "current_bits" if item.register == "u" else "voltage_bits"
            fix = "Give calibration data that is closer to what the network will see."
            found.append(_violation(chip, "state-range", item.node, reach, limit, name, fix))
    if program.mapped is not None and not found:
        found += faults(program, program.mapped, Neurocores(chip))
    return tuple(found)


def _violation(
    chip: Chip, rule: str, node: str, measured: float, limit: float, limit_name: str, fix: str
) -> Violation:
    record = chip.limits[limit_name]
    return Violation(f"{chip.name}.{rule}", node, measured, limit, record.unit, record.source, fix)


def _features(program: Program, chip: Chip) -> Iterator[Violation]:
    """What the chip must be able to do at all: graded messages, neurons beside CUBA LIF."""
    if not chip.limit("message_bits"):
        fix = "Send spikes, or compile for Loihi 2."
        graded = [*program.graded, *(item.name for item in program.synapses if item.graded)]
        for name in sorted(graded):
            yield _violation(chip, "graded-messages", name, 32, 0, "message_bits", fix)
    if not chip.limit("programmable_neurons"):
        fix = "Use leaky integrate-and-fire neurons without a bias input, or compile for Loihi 2."
        ports = {item.target for item in program.synapses if item.port != "current"}
        for population in program.populations:
            if population.model != "lif" or population.name in ports:
                name = population.name
                yield _violation(chip, "neuron-model", name, 1, 0, "programmable_neurons", fix)


def _registers(population: Neurons, chip: Chip) -> Iterator[Violation]:
    if population.model != "lif":
        yield from _documented(population, chip)
        return
    for own, (rule, name, signed, beyond, fix) in RULES.items():
        bits = chip.limit(name) - int(signed)
        highest = 2**bits - 1 + beyond
        lowest = -(2**bits) if signed else 0
        values = population.register(own)
        node = f"{population.name}.{own}"
        if values.max() > highest:
            yield _violation(chip, rule, node, float(values.max()), highest, name, fix)
        if values.min() < lowest:
            yield _violation(chip, rule, node, -float(values.min()), -lowest, name, fix)


def _bias_inputs(program: Program, chip: Chip) -> Iterator[Violation]:
    """What an analog input adds to the bias mantissa stays within its bits."""
    highest = 2 ** (chip.limit("bias_mantissa_bits") - 1) - 1
    for synapses in program.synapses:
        grid = program.grids.get(synapses.source)
        if grid is not None and synapses.port == "bias":
            own = program.population(synapses.target).register("bias_mant")
            measured = max(int(own.max()) + grid.high, -int(own.min()) - grid.low)
            if measured > highest:
                fix, name = "Reduce the bias or the input.", "bias_mantissa_bits"
                node = f"{synapses.target}.bias_mant"
                yield _violation(chip, "bias-mantissa-bits", node, measured, highest, name, fix)


def _delays(program: Program, chip: Chip) -> Iterator[Violation]:
    """Delays within their bits; nothing arrives before it is sent, or around a loop at once."""
    order = {name: index for index, name in enumerate(program.shapes)}
    depth = {population.name: population.depth for population in program.populations}
    longest = 2 ** chip.limit("delay_bits") - 1
    for synapses in program.synapses:
        name, most = synapses.name, int(synapses.delay.max())
        if most > longest:
            fix = "Delay less, or over several populations."
            yield _violation(chip, "delay-bits", name, most, longest, "delay_bits", fix)
        behind = depth[synapses.target] - depth.get(synapses.source, 0)
        forward = order[synapses.source] < order[synapses.target]
        if forward and behind == 0:
            continue  # a direct connection, without a synapse
        early = (0 if forward else 1) - (1 + int(synapses.delay.min()) - behind)
        if early > 0:
            fix, source = "Compile again.", "a synapse takes one step"
            yield Violation(f"{chip.name}.time", name, early, 0, "steps too early", source, fix)


def _documented(population: Neurons, chip: Chip) -> Iterator[Violation]:
    """Registers of other neuron models, against the widths that Lava documents."""
    source, fix = "Lava's process models (targets/loihi/models.py)", "Choose a value in range."
    known = MODELS[population.model].registers if population.model in MODELS else {}
    for own, values in population.parameters.items():
        low, high = known.get(own, (int(values.min()), int(values.max())))
        for measured, limit in ((int(values.max()), high), (-int(values.min()), -low)):
            if measured > limit:
                node = f"{population.name}.{own}"
                rule = f"{chip.name}.{own.replace('_', '-')}-range"
                yield Violation(rule, node, measured, limit, "units", source, fix)


def _weights(synapses: Synapses, chip: Chip) -> Iterator[Violation]:
    """Weights have `weight_bits` bits: of one sign up to 255, of both even in [-256, 254]."""
    steps = 2 ** (chip.limit("weight_bits") - 1)
    fix = "Compile again with calibration data, or clip the weights."
    low, high = int(synapses.weight.min()), int(synapses.weight.max())
    mixed = low < 0 < high
    for measured, limit in ((high, 2 * steps - 1 - mixed), (-low, 2 * steps - 1 + mixed)):
        if measured > limit:
            yield _violation(
                chip, "weight-bits", synapses.name, measured, limit, "weight_bits", fix
            )
    odd = int((synapses.weight % 2 != 0).sum()) * mixed
    if odd:
        yield _violation(chip, "weight-even", synapses.name, odd, 0, "weight_bits", fix)
    for name, sign in (("weight_exponent_max", 1), ("weight_exponent_min", -1)):
        measured, limit = sign * synapses.exponent, sign * chip.limit(name)
        if measured > limit:
            yield _violation(chip, "weight-exponent", synapses.name, measured, limit, name, fix)
