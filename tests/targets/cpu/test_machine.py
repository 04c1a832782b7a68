"""Whole programs of any format: the engine and the exported C against Python integers."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import InputError
from neurodeploy.network import InputPort
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.simulator.engine import simulate
from neurodeploy.simulator.plan import plan
from neurodeploy.targets.cpu.arithmetic import EXACT, INT32_MAX
from neurodeploy.targets.cpu.export import to_c
from neurodeploy.targets.cpu.format import FixedPoint
from neurodeploy.targets.cpu.machine import STATES, FixedPointMachine
from neurodeploy.targets.cpu.registers import RULES
from neurodeploy.targets.cpu.vendor import run_in_c
from tests.builders import spikes_for
from tests.targets.cpu.drawn import RESETS, programs, run

MACHINE = FixedPointMachine()
STRICT = (
    "-std=c99", "-O0", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror",
    "-fsanitize=undefined", "-fno-sanitize-recover",
)  # fmt: skip


@settings(max_examples=150)
@given(programs(), st.integers(0, 2**32 - 1), st.integers(1, 2), st.integers(1, 6))
def test_the_engine_runs_any_program(program: Program, seed: int, samples: int, steps: int) -> None:
    names = [p.name for p in program.populations]
    spikes = spikes_for(seed, samples, steps, program.inputs[0].shape)
    found, expected = simulate(program, spikes, MACHINE, record=names), run(program, spikes)
    for name in names:
        assert np.array_equal(found.spikes[name], expected.spikes[name]), name
        for state in STATES:
            assert np.array_equal(found.states[name][state], expected.states[name][state]), state


@settings(max_examples=25)
@given(programs(), st.integers(0, 2**32 - 1))
def test_exported_c_runs_any_program(program: Program, seed: int) -> None:
    """With all warnings as errors, and no behaviour that C does not define."""
    spikes = spikes_for(seed, 2, 6, program.inputs[0].shape)
    found = run_in_c(program, {"in": spikes}, timeout=60, flags=STRICT)
    expected = simulate(program, spikes, MACHINE)
    for population in program.populations:
        name = population.name
        assert np.array_equal(found.spikes[name], expected.spikes[name]), name


def every_rule(target: FixedPoint) -> Program:
    """Populations of every reset and comparison, with and without a current; small numbers, so that
    thresholds are met exactly and 8-bit states overflow."""
    rng = np.random.default_rng(0)
    populations, synapses, size = [], [], 12
    most = 1 << target.decay_bits if target.decay_bits else target.state_bits
    cases = itertools.product(range(len(RESETS)), (0, 1), (0, 1))
    for index, (reset, closed, filtered) in enumerate(cases):
        name = f"p{index}"
        threshold = rng.integers(2, 9, size)
        parameters = {
            **{key: np.array([value]) for key, value in target.registers.items()},
            "filtered": np.array([filtered]),
            "reset": np.array([reset]),
            "closed": np.array([closed]),
            "decay": rng.integers(most // 2, most + 1, size),
            "current_decay": rng.integers(0, most + 1, size),
            "threshold": threshold,
            "amount": rng.choice([threshold, 2 * threshold]),
            "bias": rng.integers(-1, 3, size),
            "leak": rng.integers(-1, 2, size),
            "v0": rng.integers(-8, 9, size),
        }
        populations.append(Neurons(name, (size,), 1, parameters, np.ones(1)))
        weight = rng.integers(-9, 11, (size, 5))
        synapses.append(Synapses(f"in->{name}", "in", name, "dense", weight, 0, (5,), (size,)))
    port = InputPort("in", (5,))
    return Program("drawn", (port,), tuple(populations), tuple(synapses), ("p0",), {})


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize("rounding", ["floor", "nearest"])
@pytest.mark.parametrize("bits", [0, 3])
def test_every_rule(bits: int, rounding: Any, overflow: Any) -> None:
    """Engine, Python integers and C, on every combination of the machine's rules."""
    decay: Any = "multiply" if bits else "shift"
    target = FixedPoint("drawn", "any", 8, 8, 7, decay, bits, rounding, overflow)
    program = every_rule(target)
    spikes = spikes_for(0, 2, 40, (5,))
    expected, engine = run(program, spikes), simulate(program, spikes, MACHINE)
    compiled = run_in_c(program, {"in": spikes}, timeout=60, flags=STRICT)
    met = {0: 0, 1: 0}
    for population in program.populations:
        name, registers = population.name, population.parameters
        potential = expected.states[name]["potential"]
        met[int(registers["closed"][0])] += int((potential == registers["threshold"]).sum())
        assert 0.01 < expected.spikes[name].mean() < 0.99
        assert np.array_equal(engine.spikes[name], expected.spikes[name]), name
        assert np.array_equal(compiled.spikes[name], expected.spikes[name]), name
    assert min(met.values()) > 50


@pytest.mark.parametrize(
    ("width", "keep", "reach", "dtype"),
    [
        (24, 1, 1 << 30, np.int32),
        (24, 1, INT32_MAX, np.int64),
        (31, 1, 5, np.int32),
        (32, 1, 5, np.int32),
        (32, 1, 1 << 30, np.int64),
        (31, 2, 5, np.int64),
    ],
)
def test_sums_that_could_leave_32_bits_get_64(
    width: int, keep: int, reach: int, dtype: Any
) -> None:
    """Halved states are bounded by what arrives; without a leak they fill their register."""
    one = np.ones(1, np.int64)
    parameters = {
        "state_bits": width * one, "decay_bits": one, "nearest": one, "saturate": one,
        "filtered": one, "reset": one, "closed": one, "decay": keep * one, "current_decay": one,
        "threshold": one, "amount": one, "bias": one, "leak": one, "v0": one,
    }  # fmt: skip
    neurons = Neurons("n", (128,), 1, parameters, np.ones(1))
    for bounds in ((-reach, 0), (-reach, reach)):
        assert MACHINE.cells(neurons, np.zeros(128, np.int64), bounds).initial.dtype == dtype
    assert MACHINE.cells(neurons, np.zeros(128, np.int64), None).initial.dtype == np.int64


def test_the_drawn_programs_reach_everything() -> None:
    """Otherwise the tests above prove little."""
    seen: dict[str, set[Any]] = {
        name: set() for name in (*RULES, "dtype", "exact", "kind", "overflow")
    }
    rates = []

    @settings(max_examples=150, database=None, derandomize=True)
    @given(programs())
    def look(program: Program) -> None:
        names = [p.name for p in program.populations]
        trace = simulate(
            program, spikes_for(0, 2, 6, program.inputs[0].shape), MACHINE, record=names
        )
        for population, unit in zip(program.populations, plan(program, MACHINE).units, strict=True):
            for name in RULES:
                seen[name].add(int(population.parameters[name][0]))
            seen["dtype"].add(unit.cells.initial.dtype)
            cells: Any = unit.cells
            seen["exact"].add(cells.rules.saturate == EXACT)
            edge = 2 ** (int(population.parameters["state_bits"][0]) - 1)
            potential = trace.states[population.name]["potential"]
            seen["overflow"].add(bool((potential == edge - 1).any() or (potential == -edge).any()))
            rates.append(trace.spikes[population.name].mean())
        seen["kind"] |= {synapses.kind for synapses in program.synapses}

    look()
    assert seen["reset"] == set(range(len(RESETS)))
    for name in ("nearest", "saturate", "filtered", "closed"):
        assert seen[name] == {0, 1}
    assert seen["dtype"] == {np.dtype(np.int32), np.dtype(np.int64)}
    assert seen["kind"] == {"dense", "conv2d", "one-to-one"}
    assert seen["overflow"] == {False, True}
    assert seen["exact"] == {False, True}
    assert {8, 32} <= seen["state_bits"]
    assert {0, 15} <= seen["decay_bits"]
    assert 0.1 < np.mean(rates) < 0.7


@pytest.fixture(scope="module")
def program() -> Program:
    found: list[Program] = []

    @settings(max_examples=1, database=None, derandomize=True)
    @given(programs())
    def first(drawn: Program) -> None:
        found.append(drawn)

    first()
    return found[0]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("state_bits", 80, "state_bits holds .80., expected one value in 8..32"),
        ("reset", 7, "reset holds"),
        ("decay", 1 << 20, "register decay is in"),
        ("decay", -1, "register decay is in"),
        ("v0", 1 << 40, "register v0 is in"),
        ("bias", 1 << 40, "register bias is in"),
        ("bias", None, "has no register bias"),
        ("closed", None, "has no register closed"),
    ],
)
def test_impossible_registers_are_refused(
    program: Program, name: str, value: int | None, message: str
) -> None:
    """A program may come from a file."""
    first, *rest = program.populations
    parameters = {key: a for key, a in first.parameters.items() if key != name}
    if value is not None:
        parameters[name] = np.array([value])
    broken = replace(program, populations=(replace(first, parameters=parameters), *rest))
    with pytest.raises(InputError, match=message):
        simulate(broken, spikes_for(0, 1, 1, program.inputs[0].shape), MACHINE)


def test_what_other_machines_have_is_refused(program: Program) -> None:
    """By the simulator, and by the export, which would leave it out."""
    (port,), (first, *rest), (synapses, *others) = (
        program.inputs, program.populations, program.synapses,
    )  # fmt: skip
    spikes = spikes_for(0, 1, 2, port.shape)
    for changed in (
        replace(program, populations=(replace(first, model="sigma"), *rest)),
        replace(program, populations=(replace(first, graded=True), *rest)),
        replace(program, populations=(replace(first, depth=2), *rest)),
        replace(program, synapses=(replace(synapses, delay=np.array([1])), *others)),
        replace(program, synapses=(replace(synapses, graded=True), *others)),
    ):
        words = "none of this machine's|neither delays nor graded|sends integers|before they are"
        with pytest.raises(InputError, match=words):
            simulate(changed, spikes, MACHINE)
        with pytest.raises(InputError, match=words):
            to_c(changed)
    elsewhere = replace(program, synapses=(replace(synapses, port="bias"), *others))
    with pytest.raises(InputError, match=r"has no port 'bias'.*have: current"):
        simulate(elsewhere, spikes, MACHINE)
    integers = replace(program, inputs=(replace(port, graded=True),))
    with pytest.raises(InputError, match="sends integers"):
        to_c(integers)


def test_impossible_exponents_are_refused(program: Program) -> None:
    for exponent in (-1, 32):
        first, *rest = program.synapses
        broken = replace(program, synapses=(replace(first, exponent=exponent), *rest))
        with pytest.raises(InputError, match=f"exponent is {exponent}"):
            simulate(broken, spikes_for(0, 1, 1, program.inputs[0].shape), MACHINE)
