"""Whole programs of any format: the engine and the exported C against Python integers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import InputError
from neurodeploy.program import Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.simulator.plan import plan
from neurodeploy.targets.cpu.machine import RULES, STATES, FixedPointMachine
from neurodeploy.targets.cpu.vendor import run_in_c
from tests.builders import spikes_for
from tests.targets.cpu.drawn import RESETS, programs, run

MACHINE = FixedPointMachine()
STRICT = (
    "-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror",
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


def test_the_drawn_programs_reach_everything() -> None:
    """Otherwise the tests above prove little."""
    seen: dict[str, set[Any]] = {name: set() for name in (*RULES, "dtype", "kind", "overflow")}
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


def test_impossible_exponents_are_refused(program: Program) -> None:
    for exponent in (-1, 32):
        first, *rest = program.synapses
        broken = replace(program, synapses=(replace(first, exponent=exponent), *rest))
        with pytest.raises(InputError, match=f"exponent is {exponent}"):
            simulate(broken, spikes_for(0, 1, 1, program.inputs[0].shape), MACHINE)
