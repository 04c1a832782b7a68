"""Design rules: each one fires, all at once, and an intact program breaks none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import nir
import numpy as np
import pytest

from neurodeploy import api
from neurodeploy.errors import DesignRuleError, InputError
from neurodeploy.mapping import place
from neurodeploy.network import Network
from neurodeploy.program import Program, Range, Synapses
from neurodeploy.target import get_target
from neurodeploy.targets.loihi.neurocores import Neurocores
from tests.builders import lif, network, small_program, spikes_for

TARGET = get_target("loihi2")
Harm = Callable[[Program], Program]


@pytest.fixture(scope="module")
def program() -> Program:
    return small_program()[1]


def register(name: str, value: int) -> Harm:
    def harm(program: Program) -> Program:
        first, *others = program.populations
        parameters = {**first.parameters, name: np.array([value])}
        return replace(program, populations=(replace(first, parameters=parameters), *others))

    return harm


def synapse(**changes: object) -> Harm:
    def harm(program: Program) -> Program:
        first, *others = program.synapses
        return replace(program, synapses=(replace(first, **changes), *others))

    return harm


def depth(value: int) -> Harm:
    def harm(program: Program) -> Program:
        first, *others = program.populations
        return replace(program, populations=(replace(first, depth=value), *others))

    return harm


def loop(program: Program) -> Program:
    """The second population reaches the first, made one step deeper, in the step of its spike."""
    late = synapse(delay=np.array([2]))(depth(3)(program))
    first, second = late.populations[:2]
    weight = np.full((first.size, second.size), 2)
    back = Synapses("b", second.name, first.name, "dense", weight, 0, second.shape, first.shape)
    return replace(late, synapses=(*late.synapses, back))


def weight(value: int) -> Harm:
    def harm(program: Program) -> Program:
        changed = program.synapses[0].weight.copy()
        changed.flat[0] = value
        return synapse(weight=changed)(program)

    return harm


def reach(register: str) -> Harm:
    item = Range("lif1", register, -1.0, 2.0**24, -(2.0**23), 2.0**23, False)
    return lambda program: replace(program, ranges=(item,))


BROKEN: dict[str, tuple[Harm, str, float, float]] = {
    "threshold": (register("vth", 1 << 17), "loihi2.vth-bits", 1 << 17, (1 << 17) - 1),
    "negative threshold": (register("vth", -5), "loihi2.vth-bits", 5, 0),
    "no current decay": (register("du", -1), "loihi2.decay-bits", 1, 0),
    "current decay": (register("du", 4096), "loihi2.decay-bits", 4096, 4095),
    "voltage decay": (register("dv", 4097), "loihi2.decay-bits", 4097, 4096),
    "bias": (register("bias_mant", 4096), "loihi2.bias-mantissa-bits", 4096, 4095),
    "negative bias": (register("bias_mant", -4097), "loihi2.bias-mantissa-bits", 4097, 4096),
    "bias exponent": (register("bias_exp", 8), "loihi2.bias-exponent-bits", 8, 7),
    "initial current": (register("u0", 1 << 23), "loihi2.current-bits", 1 << 23, (1 << 23) - 1),
    "initial voltage": (register("v0", 1 << 23), "loihi2.voltage-bits", 1 << 23, (1 << 23) - 1),
    "large weight": (weight(256), "loihi2.weight-bits", 256, 254),
    "small weight": (weight(-258), "loihi2.weight-bits", 258, 256),
    "odd weight": (weight(3), "loihi2.weight-even", 1, 0),
    "large exponent": (synapse(exponent=8), "loihi2.weight-exponent", 8, 7),
    "small exponent": (synapse(exponent=-8), "loihi2.weight-exponent", 8, 7),
    "long delay": (synapse(delay=np.array([64])), "loihi2.delay-bits", 64, 63),
    "too early": (depth(3), "loihi2.time", 2, 0),
    "loop at once": (loop, "loihi2.time", 1, 0),
    "current range": (reach("u"), "loihi2.state-range", 2.0**24, 2.0**23),
}


def test_a_compiled_program_breaks_none(program: Program) -> None:
    assert TARGET.check(program) == ()


@pytest.mark.parametrize("case", BROKEN)
def test_each_rule(case: str, program: Program) -> None:
    harm, rule, measured, limit = BROKEN[case]
    (violation,) = TARGET.check(harm(program))
    assert (violation.rule, violation.measured, violation.limit) == (rule, measured, limit)
    assert violation.node
    assert violation.source
    assert violation.fix


def test_all_violations_come_at_once(program: Program) -> None:
    for harm in (register("vth", 1 << 17), register("dv", 5000), weight(3)):
        program = harm(program)
    assert len(TARGET.check(program)) == 3


def test_a_missing_register_is_one_clear_error(program: Program) -> None:
    first, *others = program.populations
    parameters = {k: v for k, v in first.parameters.items() if k != "du"}
    broken = replace(program, populations=(replace(first, parameters=parameters), *others))
    with pytest.raises(InputError, match="lif1: it has no register du"):
        TARGET.check(broken)


def test_verify_refuses_a_program_that_breaks_rules(program: Program) -> None:
    spikes = np.zeros((1, 4, *program.inputs[0].shape), np.uint8)
    with pytest.raises(DesignRuleError, match="vth-bits") as caught:
        api.verify(register("vth", 1 << 17)(program), spikes, vendor_samples=None)
    assert len(caught.value.violations) == 1


@pytest.mark.parametrize(
    ("target", "most", "rule"),
    [("loihi1", 4096, "input-axons"), ("loihi2", 12_000, "synaptic-memory")],
)
def test_a_fan_in_too_large_is_explained_and_a_smaller_one_compiles(
    target: str, most: int, rule: str
) -> None:
    def model(inputs: int) -> Network:
        weight = np.full((2, inputs), 0.25)
        return network((inputs,), fc=nir.Linear(weight), lif=lif(np.full(2, 0.5)))

    def compiled(inputs: int) -> Program:
        spikes = spikes_for(0, 1, 3, (inputs,), 0.1)
        return api.compile(model(inputs), target=target, calibration=spikes)

    with pytest.raises(DesignRuleError) as caught:
        compiled(most + 1)
    (violation,) = caught.value.violations
    assert (violation.rule, violation.node) == (f"{target}.{rule}", "lif")
    assert (violation.measured, violation.limit) == (most + 1, most)
    assert "reduce its fan-in" in violation.fix
    assert api.place(compiled(most)).cores == 1


def test_more_cores_than_the_largest_system_has(program: Program) -> None:
    limits = dict(TARGET.chip.limits)
    for name, value in (("chips_per_system", 1), ("cores_per_chip", 6), ("neurons_per_core", 20)):
        limits[name] = replace(limits[name], value=value)
    cores = Neurocores(replace(TARGET.chip, limits=limits))
    assert place(program, cores).cores == 6  # 72, 8 and 3 neurons
    limits["neurons_per_core"] = replace(limits["neurons_per_core"], value=17)
    with pytest.raises(DesignRuleError) as caught:
        place(program, Neurocores(replace(TARGET.chip, limits=limits)))
    (violation,) = caught.value.violations
    assert (violation.rule, violation.node) == ("loihi2.cores-per-system", "lif1")
    assert (violation.measured, violation.limit) == (7, 6)
    assert "needs 1 neurocores" in violation.fix
