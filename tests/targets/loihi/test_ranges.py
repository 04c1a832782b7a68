"""Certified ranges hold, whatever the input tries."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.linear import Conv2d, fan_in_bounds
from neurodeploy.network import InputPort
from neurodeploy.program import IntArray, Neurons, Program, Range, Synapses
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.ranges import certify
from neurodeploy.targets.loihi.reach import Mode
from neurodeploy.trace import Spikes
from tests.builders import (
    NONE,
    SUBTRACT,
    ZERO,
    compiled,
    convolutions,
    lif,
    network,
    spikes_for,
)

MACHINE = LoihiMachine()
STEPS = 48


@dataclass(frozen=True)
class Case:
    """One dense population on the chip's grid."""

    mode: Mode
    self_reset: bool
    weight: IntArray
    exponent: int
    iota: IntArray
    vth: int
    bias: IntArray

    @property
    def program(self) -> Program:
        n, inputs = self.weight.shape
        current = self.mode == "current"
        parameters = {
            "du": self.iota - 1 if current else np.array([4095]),
            "dv": np.array([4096]) if current else self.iota,
            "vth": np.array([self.vth]),
            "bias_mant": self.bias,
            "bias_exp": np.array([3]),
            "u0": -8 * self.bias if current else np.array([0]),
            "v0": np.array([0]),
        }
        neurons = Neurons("n", (n,), 1, parameters, np.array([64.0 * self.vth]))
        synapses = [
            Synapses("x->n", "x", "n", "dense", self.weight, self.exponent, (inputs,), (n,))
        ]
        if self.self_reset:
            own = np.full(n, -self.vth)
            synapses.append(Synapses("n->n", "n", "n", "one-to-one", own, 0, (n,), (n,)))
        port = InputPort("x", (inputs,))
        return Program("loihi2", (port,), (neurons,), tuple(synapses), ("n",), {})

    def ranges(self) -> dict[str, Range]:
        states = {name: np.zeros((1, 1, *self.iota.shape)) for name in ("v", "x")}
        program = self.program
        found = certify(program.populations[0], program.synapses, states, self.mode)
        return {item.register: item for item in found}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    mode, self_reset = draw(
        st.sampled_from([("voltage", False), ("current", False), ("current", True)])
    )
    n, inputs = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    even = st.integers(-127, 127).map(lambda w: 2 * w)
    weight = np.array(draw(st.lists(even, min_size=n * inputs, max_size=n * inputs)))
    lowest = 1 if mode == "current" else 0
    decays = st.integers(lowest, 4096) | st.sampled_from([1, 2, 409, 1024, 2048, 4095, 4096])
    return Case(
        mode=mode,
        self_reset=self_reset,
        weight=weight.reshape(n, inputs),
        exponent=draw(st.integers(0, 3)),
        iota=np.array(draw(st.lists(decays, min_size=n, max_size=n))),
        vth=draw(st.integers(1, 127)) * 2,
        bias=np.array(draw(st.lists(st.integers(-4095, 4095), min_size=n, max_size=n))),
    )


def attacks(case: Case, seed: int) -> Spikes:
    """Inputs that drive neurons up, down, to just below the threshold and over it, and noise."""
    rng = np.random.default_rng(seed)
    n, inputs = case.weight.shape
    trains = []
    for i in range(n):
        up, down = (case.weight[i] > 0).astype(int), (case.weight[i] < 0).astype(int)
        none, every = np.zeros(inputs, int), np.ones(inputs, int)
        for first, then in itertools.permutations((up, down, none, every), 2):
            for turn in (1, 2, 5, STEPS // 2):
                trains.append(np.array([first] * turn + [then] * (STEPS - turn)))
                trains.append(np.array(([first] * turn + [then] * turn) * STEPS)[:STEPS])
        trains += [held_below(case, i, up, rng), held_below(case, i, down, rng)]
    for density in (0.05, 0.3, 0.7):
        trains += list((rng.random((4, STEPS, inputs)) < density).astype(int))
    return np.array(trains, np.uint8)


def held_below(case: Case, i: int, last: IntArray, rng: Any) -> IntArray:
    """The subset of inputs per step that brings neuron i closest to its threshold, then `last`."""
    inputs = case.weight.shape[1]
    subsets = [np.array(bits) for bits in itertools.product((0, 1), repeat=inputs)]
    gains = np.array([int(case.weight[i] @ s) << case.exponent for s in subsets]) * 64
    level, b, bias = case.vth * 64, 1 - case.iota[i] / 4096, 8 * int(case.bias[i])
    offset = bias if case.mode == "current" else 0
    state, train = -float(offset), []
    for step in range(STEPS):
        if step and step % 12 == 0:
            train.append(last)
            state = 0.0
            continue
        after = b * state + gains + (bias if case.mode == "voltage" else 0)
        allowed = after + offset <= level
        best = int(np.argmax(np.where(allowed, after, -np.inf))) if allowed.any() else 0
        train.append(subsets[best])
        state = float(after[best])
    return np.array(train)


def assert_inside(case: Case, seed: int) -> bool:
    """Run the attacks and compare; whether all of the case was proven."""
    ranges = case.ranges()
    trace = simulate(case.program, attacks(case, seed), MACHINE, record=["n"])
    for register, states in (("u", ("u",)), ("v", ("v", "potential"))):
        item = ranges[register]
        if not item.proven:
            continue
        assert item.limit_low <= item.low <= item.high <= item.limit_high
        for name in states:
            values = trace.states["n"][name]
            assert item.low <= values.min(), (name, int(values.min()), item)
            assert values.max() <= item.high, (name, int(values.max()), item)
    return all(item.proven for item in ranges.values())


@settings(max_examples=120)
@given(cases(), st.integers(0, 2**32 - 1))
def test_no_attack_leaves_a_proven_range(case: Case, seed: int) -> None:
    assert_inside(case, seed)


def one(
    mode: Mode,
    weight: list[int],
    vth: int,
    iota: int,
    bias: int = 0,
    self_reset: bool = False,
    exponent: int = 0,
) -> Case:
    return Case(
        mode, self_reset, np.array([weight]), exponent, np.array([iota]), vth, np.array([bias])
    )


@pytest.mark.parametrize(
    "case",
    [
        one("voltage", [4, 10, -6], 14, 1024),
        one("voltage", [4, 10, -6], 14, 0, bias=-20),
        one("voltage", [2], 2, 4096, bias=4095),
        one("current", [2, -2], 100, 410),
        one("current", [2, -2], 100, 410, bias=3000, self_reset=True),
        one("current", [2, -200], 100, 3, bias=-500, self_reset=True),
        one("current", [254, -2], 100, 4096, self_reset=True),
        one("current", [254, -2], 100, 4095, bias=-40, self_reset=True),
        one("current", [200, -2], 100, 1, bias=4095, self_reset=True),
    ],
)
def test_special_cases(case: Case) -> None:
    assert_inside(case, 0)


@pytest.mark.parametrize("bias", [0, 20])
def test_an_integrator_that_is_only_excited_is_proven(bias: int) -> None:
    """Without leak nothing is rounded, and the reset bounds what only grows."""
    case = one("voltage", [4, 10], 14, 0, bias=bias)
    assert case.ranges()["v"].proven
    assert assert_inside(case, 0)


def test_bounds_are_not_much_wider_than_what_can_be_reached() -> None:
    """A proof by infinity would prove nothing: the extremes are met within a few units."""
    case = one("voltage", [10, -6], 14, 1024)
    ranges = case.ranges()
    trace = simulate(case.program, attacks(case, 0), MACHINE, record=["n"])
    potential, u = trace.states["n"]["potential"], trace.states["n"]["u"]
    assert (u.min(), u.max()) == (-6 * 64, 10 * 64)
    assert ranges["u"].low == pytest.approx(-6 * 64, abs=1)
    assert ranges["u"].high == pytest.approx(10 * 64, abs=1)
    assert ranges["v"].low == pytest.approx(potential.min(), abs=8)
    assert potential.max() > 0.8 * ranges["v"].high


@pytest.mark.parametrize(
    "case",
    [
        one("voltage", [-254], 254, 0),
        one("voltage", [-254], 254, 1, exponent=5),
        one("current", [254, 254], 254, 1, exponent=5),
        one("current", [254] * 60, 254, 10, self_reset=True, exponent=5),
        one("voltage", [254] * 60, 254, 4096, exponent=5),
    ],
)
def test_what_can_overflow_is_not_proven(case: Case) -> None:
    inputs = case.weight.shape[1]
    ranges = case.ranges()
    assert not ranges["v"].proven
    on = np.full((1, 40_000, inputs), 1, np.uint8)
    states = simulate(case.program, on, MACHINE, record=["n"]).states["n"]
    wrapped = np.abs(np.diff(states["u"], axis=1)).max() > 2**23 or states["u"].max() > 2**23
    assert not (wrapped and ranges["u"].proven)
    assert wrapped or np.abs(states["potential"]).max() == 2**23 - 1


@given(convolutions(), st.integers(0, 2**32 - 1))
def test_a_channels_bounds_hold_for_all_its_pixels(op: Conv2d, seed: int) -> None:
    low, high = fan_in_bounds([op.weight, op.weight], int(np.prod(op.out_shape)))
    x = spikes_for(seed, 1, 20, op.in_shape)[0].astype(float)
    total = op.apply(x).reshape(20, -1) + op.apply(x[::-1]).reshape(20, -1)
    assert (low <= total).all()
    assert (total <= high).all()
    assert low.shape == high.shape == (int(np.prod(op.out_shape)),)


@pytest.mark.parametrize("semantics", [ZERO, NONE, SUBTRACT], ids=lambda s: s.reset)
@pytest.mark.parametrize("bias", [0.0, 0.02, -0.02])
def test_what_is_not_proven_covers_the_calibration_data(semantics: Any, bias: float) -> None:
    """Chip registers on the calibration data lie in the range that is said to have been seen."""
    rng = np.random.default_rng(2)
    net = network(
        (200,),
        fc=nir.Affine(rng.normal(0, 0.3, (4, 200)), np.full(4, bias)),
        lif=lif(np.full(4, 0.995), semantics=semantics),
    )
    spikes = spikes_for(0, 4, 60, (200,), 0.02)
    program = compiled(net, spikes)
    states = simulate(program, spikes, MACHINE, record=["lif"]).states["lif"]
    assert not all(item.proven for item in program.ranges)
    for item in program.ranges:
        name = "u" if item.register == "u" else "potential"
        slack = 0.02 * (item.high - item.low)
        assert item.low - slack <= states[name].min(), (item, int(states[name].min()))
        assert states[name].max() <= item.high + slack, (item, int(states[name].max()))
