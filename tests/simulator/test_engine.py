"""Runs of whole programs: against plain numpy, and however the work is cut."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from neurodeploy.errors import InputError
from neurodeploy.linear import Conv2d, Dense
from neurodeploy.network import InputPort
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.simulator import block, engine, kernels
from neurodeploy.simulator.engine import in_model_units, run, simulate
from neurodeploy.simulator.plan import plan, stepwise
from neurodeploy.targets.loihi import arithmetic
from neurodeploy.targets.loihi.machine import STATES, LoihiMachine
from neurodeploy.trace import Counting, Spikes, Trace
from tests.builders import convolutions, small_program, spikes_for

MACHINE = LoihiMachine()


@dataclass(frozen=True)
class Wide(LoihiMachine):
    """Computes activations itself, so that the engine takes 64 bits."""

    def shift(self, synapses: Synapses, low: int, high: int) -> int | None:
        return None


MACHINES = {"32 bits": MACHINE, "64 bits": Wide(), "plain": LoihiMachine(compiled=False)}


# --- the model: a program as plain numpy, step by step -------------------------------------------


def total(synapses: Synapses, spikes: Spikes) -> IntArray:
    """Exact sums of weights (samples, n) for spikes (samples, *in_shape)."""
    if synapses.kind == "one-to-one":
        return spikes.reshape(len(spikes), -1) * synapses.weight.reshape(-1)
    op: Dense | Conv2d
    weight = synapses.weight.astype(float)
    if synapses.kind == "dense":
        op = Dense(weight, synapses.in_shape, synapses.out_shape)
    else:
        op = Conv2d(
            weight, synapses.in_shape, synapses.stride, synapses.padding, synapses.dilation,
            synapses.groups,
        )  # fmt: skip
    return op.apply(spikes.astype(float)).reshape(len(spikes), -1).astype(np.int64)


def model(program: Program, spikes: Spikes) -> Trace:
    """What the program does; synapses that go backwards deliver one step later."""
    samples, steps = spikes.shape[:2]
    fired = {"in": spikes}
    states: dict[str, dict[str, IntArray]] = {}
    order = list(program.shapes)
    for p in program.populations:
        fired[p.name] = np.zeros((samples, steps, *p.shape), np.uint8)
        states[p.name] = {name: np.zeros((samples, steps, *p.shape), np.int64) for name in STATES}
    registers = {
        p.name: {k: np.broadcast_to(v.reshape(-1), p.size) for k, v in p.parameters.items()}
        for p in program.populations
    }
    u = {name: np.tile(r["u0"], (samples, 1)) for name, r in registers.items()}
    v = {name: np.tile(r["v0"], (samples, 1)) for name, r in registers.items()}
    for t in range(steps):
        for p in program.populations:
            current = np.zeros((samples, p.size), np.int64)
            for synapses in program.incoming(p.name):
                late = order.index(synapses.source) >= order.index(p.name)
                if t >= late:
                    sums = total(synapses, fired[synapses.source][:, t - late])
                    current += MACHINE.activation(sums, synapses)
            r = registers[p.name]
            bias = arithmetic.bias_current(r["bias_mant"], r["bias_exp"])
            a = arithmetic.wrap_int32(current)
            u[p.name], x = arithmetic.integrate(u[p.name], v[p.name], a, r["du"], r["dv"], bias)
            spike = arithmetic.fires(x, r["vth"]).astype(np.int64)
            v[p.name] = arithmetic.reset(x, spike)
            fired[p.name][:, t] = spike.reshape(samples, *p.shape)
            for name, values in zip(STATES, (u[p.name], v[p.name], x), strict=True):
                states[p.name][name][:, t] = values.reshape(samples, *p.shape)
    return Trace(fired, states)


def neurons(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Neurons:
    """Registers that let some neurons spike."""

    def each(low: int, high: int) -> IntArray:
        return rng.integers(low, high, shape if rng.random() < 0.5 else 1)

    parameters = {
        "du": each(0, 4096) if rng.random() < 0.5 else np.array([4095]),
        "dv": each(0, 4097) if rng.random() < 0.5 else rng.choice([0, 4096], 1),
        "vth": each(0, 300),
        "bias_mant": each(-400, 400),
        "bias_exp": each(0, 4),
        "u0": each(-999, 999),
        "v0": each(-999, 999),
    }  # fmt: skip
    return Neurons(name, shape, 1, parameters, np.ones(1))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """An input and up to four populations, connected forwards, backwards and to themselves."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes: dict[str, tuple[int, ...]] = {"in": (2, 5, 4)}
    synapses: list[Synapses] = []

    def connect(source: str, target: str, kind: Any, weight: Any, **geometry: Any) -> None:
        exponent = int(rng.choice([0, 0, 1, 3, -1]))
        name = f"{source}->{target}#{len(synapses)}"
        ends = (shapes[source], shapes[target])
        synapses.append(Synapses(name, source, target, kind, weight, exponent, *ends, **geometry))

    def dense(source: str, target: str) -> None:
        size = int(rng.choice([6, 127, 254, 3000]))
        counts = (int(np.prod(shapes[name])) for name in (target, source))
        connect(source, target, "dense", rng.integers(-size, size + 1, tuple(counts)))

    for index in range(draw(st.integers(1, 4))):
        name, before = f"p{index}", list(shapes)
        source = draw(st.sampled_from(before))
        if len(shapes[source]) == 3 and draw(st.booleans()):
            op = draw(convolutions(in_shape=shapes[source]))
            shapes[name] = op.out_shape
            weight = op.weight.astype(np.int64) * int(rng.choice([2, 25]))
            connect(
                source, name, "conv2d", weight, stride=op.stride, padding=op.padding,
                dilation=op.dilation, groups=op.groups,
            )  # fmt: skip
        else:
            shapes[name] = draw(st.sampled_from([(3,), (150,), (2, 5, 4)]))
            dense(source, name)
        if draw(st.booleans()):
            connect(name, name, "one-to-one", rng.integers(-254, 255, int(np.prod(shapes[name]))))
        for other in draw(st.lists(st.sampled_from([*before, name]), max_size=2)):
            dense(other, name)
            if other != "in" and draw(st.booleans()):
                dense(name, other)
    populations = [neurons(rng, name, shape) for name, shape in shapes.items() if name != "in"]
    port = InputPort("in", shapes["in"])
    return Program("loihi2", (port,), tuple(populations), tuple(synapses), ("p0",), {})


def assert_same(a: Trace, b: Trace, names: list[str]) -> None:
    assert list(a.spikes) == list(b.spikes)
    for name in names:
        assert np.array_equal(a.spikes[name], b.spikes[name]), name
        assert set(a.states[name]) == set(b.states[name]) == set(STATES)
        for state in STATES:
            assert np.array_equal(a.states[name][state], b.states[name][state]), (name, state)


@settings(max_examples=120, deadline=None)
@given(
    programs(), st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 7), st.integers(1, 3),
    st.sampled_from([1, 2000, 30_000, 1 << 21]), st.sampled_from([1, 200, 1 << 18]),
)  # fmt: skip
def test_any_program_however_it_is_cut(
    program: Program, seed: int, samples: int, steps: int, threads: int, size: int, helped: int
) -> None:
    """Batch size, number of threads, chunks and the width of the arithmetic change no bit."""
    names = [p.name for p in program.populations]
    spikes = spikes_for(seed, samples, steps, (2, 5, 4))
    expected = model(program, spikes)
    with (
        mock.patch.object(engine, "BLOCK_BYTES", size),
        mock.patch.object(block, "HELPED_SIZE", helped),
    ):
        for machine in MACHINES.values():
            found = simulate(program, spikes, machine, record=names, threads=threads)
            assert_same(found, expected, names)
            alone = simulate(program, spikes[-1:], machine, threads=threads)
            for name in names:
                assert np.array_equal(alone.spikes[name], expected.spikes[name][-1:])


def test_the_random_programs_spike_and_have_cycles() -> None:
    """Otherwise the test above proves little."""
    rates, cycles, narrow = [], [], []

    @settings(max_examples=60, database=None, derandomize=True)
    @given(programs())
    def look(program: Program) -> None:
        prepared = plan(program, MACHINE)
        trace = run(prepared, spikes_for(0, 2, 7, (2, 5, 4)))
        rates.extend(trace.spikes[unit.name].mean() for unit in prepared.units)
        cycles.append(max(len(g) * stepwise(g) for g in prepared.groups))
        narrow.extend(unit.cells.initial.dtype == np.int32 for unit in prepared.units)

    look()
    assert np.mean([0.02 < rate < 0.98 for rate in rates]) > 0.3
    assert np.mean([size > 0 for size in cycles]) > 0.2
    assert max(cycles) > 1
    assert 0.2 < np.mean(narrow) < 0.95


def test_the_compiler_sees_no_floating_point() -> None:
    """Between spikes in and spikes out, in whatever types the kernels were compiled for."""

    @settings(max_examples=40, database=None, derandomize=True)
    @given(programs())
    def look(program: Program) -> None:
        for machine in (MACHINE, Wide()):
            simulate(program, spikes_for(0, 2, 7, (2, 5, 4)), machine).counts(program.outputs[0])

    look()
    used = {
        **{name: k for name, k in vars(kernels).items() if hasattr(k, "nopython_signatures")},
        "add_patches": kernels.ADD_PATCHES[8],
        "run_lif": arithmetic.run_lif,
    }
    assert len(used) >= 7
    for name, kernel in used.items():
        signatures = kernel.nopython_signatures
        assert signatures, f"{name} was not used"
        for signature in signatures:
            afresh = njit(kernel.py_func)
            afresh.compile(signature.args)
            text = afresh.inspect_llvm(signature.args)
            assert not re.search(r"\b(float|double|half|f(add|sub|mul|div|ptosi))\b", text), name


def test_a_group_is_the_shortest_run_that_no_cycle_leaves() -> None:
    def population(name: str) -> Neurons:
        return neurons(np.random.default_rng(0), name, (3,))

    def synapses(source: str, target: str, kind: Any = "dense") -> Synapses:
        weight = np.ones(3 if kind == "one-to-one" else (3, 3), np.int64)
        return Synapses(f"{source}->{target}", source, target, kind, weight, 0, (3,), (3,))

    names = ["a", "b", "c", "d", "e"]
    chain = [synapses(x, y) for x, y in zip(["in", *names], names, strict=False)]
    program = Program(
        "loihi2", (InputPort("in", (3,)),), tuple(map(population, names)),
        (*chain, synapses("c", "b"), synapses("e", "e"), synapses("d", "d", "one-to-one")),
        ("e",), {},
    )  # fmt: skip
    groups = plan(program, MACHINE).groups
    assert [[unit.name for unit in group] for group in groups] == [["a"], ["b", "c"], ["d"], ["e"]]
    assert [stepwise(group) for group in groups] == [False, True, False, True]


# --- runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_progress_counts_samples(threads: int) -> None:
    _, program, spikes = small_program()
    calls: list[tuple[int, int]] = []
    with mock.patch.object(engine, "BLOCK_BYTES", 1):
        simulate(
            program,
            spikes,
            MACHINE,
            threads=threads,
            progress=lambda done, of: calls.append((done, of)),
        )
    assert calls == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interruption_ends_the_run(threads: int) -> None:
    """At once: blocks that have not begun do not run, and no thread is left."""
    _, program, _ = small_program()
    spikes = np.zeros((4000, 12, 1, 6, 6), np.uint8)
    before, calls = threading.active_count(), []

    def interrupt(done: int, of: int) -> None:
        calls.append(done)
        raise KeyboardInterrupt

    with mock.patch.object(engine, "BLOCK_BYTES", 1), pytest.raises(KeyboardInterrupt):
        simulate(program, spikes, MACHINE, threads=threads, progress=interrupt)
    assert calls == [1]
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_in_a_block_is_raised(threads: int) -> None:
    def advance(*_: Any) -> None:
        raise ZeroDivisionError

    class Broken(LoihiMachine):
        def cells(self, population: Neurons, own: Any, bounds: Any) -> Any:
            cells = super().cells(population, own, bounds)
            return SimpleNamespace(initial=cells.initial, recorded=(), advance=advance)

    _, program, spikes = small_program()
    with mock.patch.object(engine, "BLOCK_BYTES", 1), pytest.raises(ZeroDivisionError):
        simulate(program, spikes, Broken(), threads=threads)


def test_a_prepared_program_runs_any_number_of_times() -> None:
    _, program, spikes = small_program()
    prepared = plan(program, MACHINE)
    first, second = (run(prepared, part) for part in (spikes, spikes[:2, :5]))
    for name in program.shapes:
        assert np.array_equal(first.spikes[name][:2, :5], second.spikes[name])


@settings(max_examples=20, deadline=None)
@given(programs(), st.integers(1, 3), st.sampled_from([1, 9, 127, 128, 600]))
def test_spikes_are_counted_as_bits(program: Program, samples: int, steps: int) -> None:
    trace = simulate(program, spikes_for(0, samples, steps, (2, 5, 4)), MACHINE)
    for name in program.shapes:
        found = trace.counts(name)
        assert found.dtype == np.int64
        assert np.array_equal(found, trace.spikes[name].sum(axis=1, dtype=np.int64))
    assert isinstance(trace.spikes, Counting)


def test_spikes_are_kept_as_bits() -> None:
    _, program, spikes = small_program()
    trace = simulate(program, spikes, MACHINE)
    assert list(trace.spikes) == list(program.shapes)
    assert len(trace.spikes) == 4
    assert all(name in trace.spikes for name in program.shapes)
    assert "lif9" not in trace.spikes
    assert trace.spikes["input"] is trace.spikes["input"]
    assert trace.spikes["lif1"].dtype == np.uint8
    assert (trace.samples, trace.steps) == (6, 12)
    with pytest.raises(KeyError):
        trace.spikes["typo"]


def test_recording_changes_no_spike_and_keeps_only_what_was_asked() -> None:
    _, program, spikes = small_program()
    plain, one = (
        simulate(program, spikes, MACHINE),
        simulate(program, spikes, MACHINE, record=["lif2"]),
    )
    assert plain.states == {}
    assert set(one.states) == {"lif2"}
    for name, values in plain.spikes.items():
        assert np.array_equal(values, one.spikes[name])
        assert values.dtype == np.uint8


def test_recording_an_unknown_population_is_an_error() -> None:
    _, program, spikes = small_program()
    with pytest.raises(InputError, match="typo"):
        simulate(program, spikes, MACHINE, record=["typo"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[:, :, 0], "expected"),
        (lambda x: x * 2, "neither 0 nor 1"),
        (lambda x: x.astype(complex), "not numeric"),
        (lambda x: x[:0], "empty"),
        (lambda x: {"x": x}, "inputs are named x, the network's input"),
    ],
)
def test_inputs_that_do_not_fit(change: Any, words: str) -> None:
    _, program, spikes = small_program()
    with pytest.raises(InputError, match=words):
        simulate(program, change(spikes), MACHINE)


def test_a_missing_synapse_changes_the_result() -> None:
    """Every synapse is used, the self-synapse too."""
    _, program, spikes = small_program()
    whole = simulate(program, spikes, MACHINE)
    assert whole.spikes["lif3"].any()
    for index, synapses in enumerate(program.synapses):
        rest = tuple(s for i, s in enumerate(program.synapses) if i != index)
        partial = simulate(replace(program, synapses=rest), spikes, MACHINE)
        name = synapses.target
        assert not np.array_equal(partial.spikes[name], whole.spikes[name])


def test_states_in_model_units() -> None:
    _, program, spikes = small_program()
    population = program.population("lif2")
    trace = simulate(program, spikes, MACHINE, record=["lif2"])
    scaled = in_model_units(trace.states["lif2"], population)
    unit = np.broadcast_to(population.unit, population.shape)
    assert np.allclose(scaled["v"] * unit, trace.states["lif2"]["v"], rtol=1e-14)
    fired = scaled["potential"] > np.linspace(0.8, 1.2, 8)
    assert np.array_equal(fired, trace.spikes["lif2"].astype(bool))


def test_runs_of_one_plan_share_no_buffer_at_the_same_time() -> None:
    """Nor do they keep more of them than threads that ran at once."""
    _, program, spikes = small_program()
    prepared = plan(program, MACHINE)
    expected = run(prepared, spikes)
    with mock.patch.object(engine, "BLOCK_BYTES", 1), ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: run(prepared, spikes, threads=2), range(12)))
    for name in program.shapes:
        for trace in found:
            assert np.array_equal(trace.spikes[name], expected.spikes[name])
    assert 1 <= len(prepared.spare) <= 6
    assert len({id(scratch) for scratch in prepared.spare}) == len(prepared.spare)
