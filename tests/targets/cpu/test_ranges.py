"""Certified ranges hold, whatever the input does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.bounds import ranges
from neurodeploy.program import Neurons, Range, Synapses
from neurodeploy.targets.cpu import bounds
from neurodeploy.targets.cpu.arithmetic import step
from neurodeploy.targets.cpu.format import FixedPoint
from neurodeploy.targets.cpu.machine import FixedPointMachine
from neurodeploy.targets.cpu.registers import NEURON, RULES
from tests.targets.cpu.drawn import RESETS

WIDTH = 16


@dataclass(frozen=True)
class Case:
    """One neuron with one synapse of each sign."""

    target: FixedPoint
    low: int
    high: int
    registers: dict[str, int]

    def certified(self) -> tuple[Range, ...]:
        """From what a program says."""
        parameters = {
            **{name: np.array([value]) for name, value in self.target.registers.items()},
            **{name: np.array([value]) for name, value in self.registers.items()},
        }
        neuron = Neurons("n", (1,), 1, parameters, np.ones(1))
        weight = np.array([[self.low, self.high]])
        synapses = Synapses("in->n", "in", "n", "dense", weight, 0, (2,), (1,))
        return ranges(neuron, (synapses,), FixedPointMachine(), bounds, {})

    def reached(self) -> dict[str, tuple[int, int]]:
        """Extremes of i and v over every sequence of six inputs, from the least to the greatest."""
        values = {**self.target.registers, **self.registers}
        rules = [values[name] for name in RULES]
        registers = [values[name] for name in NEURON]
        known = new = np.array([[values["v0"], 0, 0]])
        extremes = {"i": (0, 0), "v": (values["v0"], values["v0"])}
        while len(new):
            inputs = np.unique(np.linspace(self.low, self.high, 6).round().astype(np.int64))
            v, i, fired = (np.repeat(column, len(inputs)) for column in new.T)
            x = np.tile(inputs, len(new))
            after = step(v, i, fired, x, *registers, *rules)
            for name, arrays in (("i", after[1:2]), ("v", (after[0], after[3]))):
                seen = [extremes[name][0], extremes[name][1]]
                for array in arrays:
                    seen += [int(np.min(array)), int(np.max(array))]
                extremes[name] = (min(seen), max(seen))
            found = np.unique(np.stack(np.broadcast_arrays(*after[:3]), axis=1), axis=0)
            together = np.unique(np.concatenate([known, found]), axis=0)
            fresh = ~np.isin(_code(together), _code(known))
            known, new = together, together[fresh]
        return extremes


def _code(states: Any) -> Any:
    return ((states[:, 0] << WIDTH) + states[:, 1]) * 2 + states[:, 2]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    bits = draw(st.integers(0, 3))
    target = FixedPoint(
        "small", "small", 8, WIDTH, WIDTH - 1, "multiply" if bits else "shift", bits,
        draw(st.sampled_from(["floor", "nearest"])), "saturate",
    )  # fmt: skip
    threshold = draw(st.integers(1, 40))
    filtered = draw(st.integers(0, 1)) if bits == 1 else 0
    decay = st.integers(0, (1 << bits) - 1) if bits else st.integers(0, 3)
    registers = {
        "filtered": filtered,
        "reset": draw(st.integers(0, len(RESETS) - 1)),
        "closed": draw(st.integers(0, 1)),
        "decay": draw(decay),
        "current_decay": draw(decay),
        "threshold": threshold,
        "amount": draw(st.sampled_from([threshold, threshold, threshold // 2, 2 * threshold])),
        "bias": draw(st.integers(-3, 3)),
        "leak": draw(st.integers(-3, 3)) * filtered,
        "v0": draw(st.integers(-30, 60)),
    }
    if RESETS[registers["reset"]] == "subtract held":
        registers["amount"] = threshold
    return Case(target, draw(st.integers(-60, 0)), draw(st.integers(0, 90)), registers)


@settings(max_examples=300)
@given(cases())
def test_no_input_leaves_a_proven_range(case: Case) -> None:
    reached = case.reached()
    certified = case.certified()
    assert {item.register for item in certified} == (
        {"i", "v"} if case.registers["filtered"] else {"v"}
    )
    for item in certified:
        assert item.proven
        low, high = reached[item.register]
        assert item.low <= low
        assert high <= item.high


def test_the_proven_ranges_are_not_much_too_wide() -> None:
    """Half of them lie within a third of what some input reaches, or four units."""
    tight = []

    @settings(max_examples=150, database=None, derandomize=True)
    @given(cases())
    def look(case: Case) -> None:
        low, high = case.reached()["v"]
        found = case.certified()[-1]
        slack = (low - found.low) + (found.high - high)
        tight.append(slack <= max(4, (high - low) / 3))

    look()
    assert np.mean(tight) > 0.5


def test_without_a_leak_nothing_is_proven() -> None:
    """Unless every drive pushes inwards: then the other bound is the threshold's."""
    target = FixedPoint("small", "s", 8, WIDTH, WIDTH - 1, "multiply", 3, "floor", "saturate")
    registers = {
        "filtered": 0, "reset": RESETS.index("subtract delayed"), "closed": 0, "decay": 8,
        "current_decay": 0, "threshold": 10, "amount": 10, "bias": 0, "leak": 0, "v0": 0,
    }  # fmt: skip
    (item,) = Case(target, -1, 4, registers).certified()
    assert not item.proven
    (item,) = Case(target, 0, 4, registers).certified()
    assert item.proven
    assert (item.low, item.high) == (0, 14)
    (item,) = Case(target, 0, 11, registers).certified()
    assert not item.proven
