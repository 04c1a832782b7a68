"""What follows from a program's weights and registers, made anew after they changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from neurodeploy import compilation
from neurodeploy.bounds import Register
from neurodeploy.equivalence.certificate import checked
from neurodeploy.program import Program, Range
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import Target


def renewed(program: Program, target: Target) -> Program:
    """`program` with its own ranges, golden traces of the same inputs, and cores.

    Where a range is not proven for every input, it is the extremes seen on the golden inputs.

    Raises
    ------
    DesignRuleError
        What the chip cannot hold.
    """
    golden = program.golden
    if golden is None:
        return replace(program, ranges=tuple(_ranges(program, target, {})), mapped=None)
    names = [population.name for population in program.populations]
    states = simulate(program, golden.inputs, target.machine, record=names).states
    fresh = replace(program, ranges=tuple(_ranges(program, target, states)), mapped=None)
    done = compilation.completed(fresh, target, golden.inputs)
    return replace(done, provenance=program.provenance)


def _ranges(
    program: Program, target: Target, states: Mapping[str, Mapping[str, NDArray[Any]]]
) -> Iterator[Range]:
    for item in checked(program, target):
        name = item.population.name
        for register in item.registers:
            yield _range(name, register, states.get(name, {}).get(register.name))


def _range(node: str, register: Register, seen: NDArray[Any] | None) -> Range:
    low, high = float(register.low.min()), float(register.high.max())
    if not register.fits and seen is not None:
        low, high = float(seen.min()), float(seen.max())
    return Range(node, register.name, low, high, *register.limits, proven=register.fits)
