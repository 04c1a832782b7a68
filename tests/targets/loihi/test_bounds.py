"""Bounds of u and v: what brute force reaches, no more and no less where they are said exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neurodeploy.arrivals import Interval
from neurodeploy.bounds import UNBOUNDED
from neurodeploy.network import InputPort
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, filter_u
from neurodeploy.targets.loihi.bounds import bound_u, registers
from neurodeploy.targets.loihi.machine import LoihiMachine

M24 = 1 << 23
MACHINE = LoihiMachine(compiled=False)


def u_of(du: int, u0: int, low: int, high: int) -> tuple[int, int]:
    """Bounds of one u without self-synapses."""
    values = {"du": du, "dv": 0, "vth": 1, "u0": u0}
    of_each = {name: np.array([value]) for name, value in values.items()}
    zero = np.zeros(1, np.int64)
    current = Interval(np.array([low]), np.array([high]))
    return bound_u(of_each, current, zero, Interval(zero, zero)).extremes


@settings(max_examples=200)
@given(
    st.integers(-300, 0), st.integers(0, 300), st.integers(-20_000, 20_000),
    st.integers(15, 4095) | st.sampled_from([31, 63, 409, 4095]),
)  # fmt: skip
@example(-1, 1, 0, 15)
@example(0, 0, -5, 4095)
def test_u_is_what_the_extremes_lead_to(low: int, high: int, u0: int, du: int) -> None:
    """Exact: constant extreme arrivals get there, and not one further."""
    reached = [u0]
    for a in (low, high):
        u = u0
        for _ in range(6000):
            after = int(filter_u(u, a, du))
            if after == u:
                break
            reached.append(u := after)
    # extremes counts 0 as reached where every bound has one sign
    assert u_of(du, u0, low, high) == (min(*reached, 0), max(*reached, 0))


@pytest.mark.parametrize("du", [0, 409, 4095])
def test_the_edge_of_24_bits_to_the_last_unit(du: int) -> None:
    """4096 (64 a - 1) / (du + 1) + 1, rounded down, is where arrivals of a end."""
    for a in (1, 7, 1000):
        assert u_of(du, 0, -a, a) == (
            -(4096 * (64 * a - 1) // (du + 1) + 1),
            4096 * (64 * a - 1) // (du + 1) + 1,
        )


def test_without_decay_there_is_no_bound() -> None:
    assert u_of(-1, 0, 0, 1) == (0, UNBOUNDED)
    assert u_of(-1, 3, 0, 0) == (0, 3)


def neurons(**changes: IntArray | int) -> Neurons:
    values = {"du": 4095, "dv": 0, "vth": 100, "bias_mant": 0, "bias_exp": 0, "u0": 0, "v0": 0}
    parameters = {name: np.atleast_1d(x) for name, x in {**values, **changes}.items()}
    return Neurons("n", (1,), 1, parameters, np.ones(1))


def program(population: Neurons, weight: list[int], own: int = 0) -> Program:
    inputs = len(weight)
    synapses = [Synapses("x->n", "x", "n", "dense", np.array([weight]), 0, (inputs,), (1,))]
    if own:
        reset = np.array([own])
        synapses.append(Synapses("n->n", "n", "n", "one-to-one", reset, 0, (1,), (1,)))
    port = InputPort("x", (inputs,))
    return Program("loihi2", (port,), (population,), tuple(synapses), ("n",), {})


def bounds(population: Neurons, weight: list[int], own: int = 0) -> dict[str, tuple[int, int]]:
    low, high = sum(min(w, 0) for w in weight), sum(max(w, 0) for w in weight)
    arriving = {"current": Interval(np.array([low]), np.array([high]))}
    found = registers(population, arriving, np.array([own]))
    return {r.name: (int(r.low[0]), int(r.high[0])) for r in found}


def reached(
    population: Neurons, weight: list[int], train: list[list[int]], own: int = 0
) -> IntArray:
    """The potential in each step."""
    spikes = np.array(train, np.uint8)[None]
    trace = simulate(program(population, weight, own), spikes, MACHINE, record=["n"])
    return np.asarray(trace.states["n"]["potential"][0, :, 0])


def test_the_highest_potential_is_reached_from_the_threshold() -> None:
    """100 arrives and does not fire, then everything at once: 64 (100 + 120), without leak."""
    population = neurons()
    assert bounds(population, [100, 20])["v"] == (0, 64 * 220)
    assert reached(population, [100, 20], [[1, 0], [1, 1]]).max() == 64 * 220


def test_the_lowest_potential_is_reached_exactly() -> None:
    for dv in (1024, 100, 4096):
        population = neurons(dv=dv)
        low, _ = bounds(population, [30, -8])["v"]
        assert reached(population, [30, -8], [[0, 1]] * 900).min() == low


def test_a_self_synapse_bounds_the_membrane_that_it_resets() -> None:
    """beta = 1/2, threshold 100: at most 50 and what arrives; 90 does not fire, then 45 + 90."""
    population = neurons(du=2047, dv=DECAY_ONE)
    weight, train = [10, 80], [[1, 1]] * 3
    assert bounds(population, [100, 90], -100)["u"][1] == 64 * (50 + 190)
    assert bounds(population, weight, -100)["u"][1] == 64 * (50 + 90)
    assert reached(population, weight, train, -100).max() == 64 * (45 + 90)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nothing_leaves_the_bounds(data: st.DataObject) -> None:
    """Of any neuron under any train, resets and start values included."""
    draw = data.draw
    weight = draw(st.lists(st.integers(-127, 127), min_size=2, max_size=4))
    own = draw(st.sampled_from([0, -60, -254, 40]))
    population = neurons(
        du=draw(st.sampled_from([4095, 2047, 409, 40])),
        dv=draw(st.sampled_from([0, 300, 2048, 4096])),
        vth=draw(st.integers(1, 200)),
        bias_mant=draw(st.integers(-2000, 2000)),
        bias_exp=draw(st.integers(0, 2)),
        u0=draw(st.integers(-9000, 9000)),
        v0=draw(st.integers(-9000, 9000)),
    )
    if draw(st.booleans()):
        population = replace(
            population, parameters={**population.parameters, "reset_interval": np.array([16])}
        )
    found = bounds(population, weight, own)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spikes = (rng.random((60, 48, len(weight))) < rng.random((60, 1, 1))).astype(np.uint8)
    spikes[:4] = np.array(weight) > 0
    spikes[4:8] = np.array(weight) < 0
    trace = simulate(program(population, weight, own), spikes, MACHINE, record=["n"])
    states = trace.states["n"]
    for register, kept in (("u", "u"), ("v", "v"), ("v", "potential")):
        low, high = found[register]
        if abs(low) < M24 and abs(high) < M24:
            assert low <= states[kept].min(), (register, low)
            assert states[kept].max() <= high, (register, high)
