"""Runs of whole programs: against plain numpy, and however the work is cut."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from neurodeploy.simulator.stepwise import Stepwise
from neurodeploy.target import Cells
from neurodeploy.targets.loihi import arithmetic
from neurodeploy.targets.loihi.machine import STATES, LoihiMachine
from neurodeploy.targets.loihi.stepwise import lanes
from neurodeploy.trace import Counting, Trace
from tests.builders import convolutions, small_program, spikes_for


def leaky_sum(states: Any, currents: Any, registers: Any) -> Any:
    """A neuron with two ports that sends large sums."""
    total = currents["current"] - 3 * currents["second"] + (states["sum"] >> 1)
    total = arithmetic.wrap_int32(total)
    return {"sum": total}, total * (np.abs(total) > registers["vth"])


class Graded(LoihiMachine):
    """With `leaky_sum` besides the chip's own neurons."""

    def cells(self, population: Neurons, own: IntArray, bounds: tuple[int, int] | None) -> Cells:
        if population.model != "leaky-sum":
            return super().cells(population, own, bounds)
        return Stepwise.of(
            states={"sum": lanes(population, "v0")},
            recorded=("sum",),
            ports=("current", "second"),
            registers={"vth": lanes(population, "vth")},
            own=own,
            update=leaky_sum,
        )


class Wide(Graded):
    """Computes activations itself, so that the engine takes 64 bits."""

    def shift(self, synapses: Synapses, low: int, high: int) -> int | None:
        return None


MACHINE = Graded()
MACHINES = {"32 bits": MACHINE, "64 bits": Wide(), "plain": Graded(compiled=False)}


# --- the model: a program as plain numpy, by steps of the chip -----------------------------------


def total(synapses: Synapses, sent: IntArray) -> IntArray:
    """Exact sums of weights (samples, n) for messages (samples, *in_shape)."""
    received = sent.astype(np.int64) if synapses.graded else (sent != 0).astype(np.int64)
    if synapses.kind == "one-to-one":
        return received.reshape(len(sent), -1) * synapses.weight.reshape(-1)
    op: Dense | Conv2d
    weight = synapses.weight.astype(float)
    if synapses.kind == "dense":
        op = Dense(weight, synapses.in_shape, synapses.out_shape)
    else:
        op = Conv2d(
            weight, synapses.in_shape, synapses.stride, synapses.padding, synapses.dilation,
            synapses.groups,
        )  # fmt: skip
    return op.apply(received.astype(float)).reshape(len(sent), -1).astype(np.int64)


def model(program: Program, inputs: IntArray) -> Trace:
    """What the program does on the chip: a message takes a step, unless it stays in its depth."""
    samples, steps = inputs.shape[:2]
    order = list(program.shapes)
    depths = {"in": 0} | {p.name: p.depth for p in program.populations}
    sent: dict[str, IntArray] = {"in": inputs}
    states: dict[str, dict[str, IntArray]] = {}
    now: dict[str, dict[str, IntArray]] = {}
    for p in program.populations:
        sent[p.name] = np.zeros((samples, steps, *p.shape), np.int64)
        names = ("sum",) if p.graded else STATES
        states[p.name] = {name: np.zeros((samples, steps, *p.shape), np.int64) for name in names}
        r = registers(p)
        start = {"sum": r["v0"]} if p.graded else {"u": r["u0"], "v": r["v0"]}
        now[p.name] = {name: np.tile(values, (samples, 1)) for name, values in start.items()}

    def arriving(p: Neurons, port: str, chip_step: int) -> IntArray:
        current = np.zeros((samples, p.size), np.int64)
        for s in (s for s in program.incoming(p.name) if s.port == port):
            forward = order.index(s.source) < order.index(p.name)
            on_the_way = int(not forward or depths[s.source] != p.depth)
            for delay in np.unique(s.delay):
                t = chip_step - on_the_way - delay - depths[s.source]
                if t >= 0:
                    one = replace(s, weight=np.where(s.delay == delay, s.weight, 0))
                    current += MACHINE.activation(total(one, sent[s.source][:, t]), s)
        return arithmetic.wrap_int32(current)

    for chip_step in range(steps + max(depths.values())):
        for p in program.populations:
            t = chip_step - p.depth
            if not 0 <= t < steps:
                continue
            r, a = registers(p), arriving(p, "current", chip_step)
            if p.graded:
                currents = {"current": a, "second": arriving(p, "second", chip_step)}
                now[p.name], message = leaky_sum(now[p.name], currents, r)
            else:
                if (
                    "reset_interval" in r
                    and (chip_step + 1 - r["reset_offset"][0]) % r["reset_interval"][0] == 0
                ):
                    now[p.name] = dict.fromkeys(("u", "v"), np.zeros_like(a))
                mantissa = r["bias_mant"] + arriving(p, "bias", chip_step)
                bias = arithmetic.bias_current(mantissa, r["bias_exp"])
                u, v = now[p.name]["u"], now[p.name]["v"]
                u, x = arithmetic.integrate(u, v, a, r["du"], r["dv"], bias)
                message = arithmetic.fires(x, r["vth"]).astype(np.int64)
                now[p.name] = {"u": u, "v": arithmetic.reset(x, message), "potential": x}
            sent[p.name][:, t] = message.reshape(samples, *p.shape)
            for name, kept in states[p.name].items():
                kept[:, t] = now[p.name][name].reshape(samples, *p.shape)
    return Trace({name: (x != 0).astype(np.uint8) for name, x in sent.items()}, states,
                 {name: sent[name] for name in program.graded})  # fmt: skip


def registers(p: Neurons) -> dict[str, IntArray]:
    """Of every neuron."""
    return {name: np.broadcast_to(v.reshape(-1), p.size) for name, v in p.parameters.items()}


def neurons(rng: np.random.Generator, name: str, shape: tuple[int, ...], **fields: Any) -> Neurons:
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
    if rng.random() < 0.2:
        parameters |= {
            "reset_interval": rng.integers(1, 5, 1),
            "reset_offset": rng.integers(0, 9, 1),
        }
    return replace(Neurons(name, shape, 1, parameters, np.ones(1)), **fields)


@st.composite
def programs(draw: st.DrawFn, plain: bool = False) -> Program:
    """An input and up to four populations, connected forwards, backwards and to themselves.

    Unless it is `plain`, some send integers, are a step deeper or have several ports, and synapses
    have delays.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes: dict[str, tuple[int, ...]] = {"in": (2, 5, 4)}
    depths, graded = {"in": int(plain)}, {"in": not plain and draw(st.booleans())}
    synapses: list[Synapses] = []

    def connect(source: str, target: str, kind: Any, weight: Any, **fields: Any) -> None:
        exponent = int(rng.choice([0, 0, 1, 3, -1]))
        name = f"{source}->{target}#{len(synapses)}"
        ends = (shapes[source], shapes[target])
        if not plain:
            order = list(shapes)
            forward = order.index(source) < order.index(target)
            early = depths[target] - depths[source]
            least = max(0, early - (early != 0) if forward else early)
            most = least + int(rng.choice([1, 1, 4, 40]))
            shape = weight.shape if kind == "dense" and rng.random() < 0.3 else (1,)
            fields["delay"] = rng.integers(least, most, shape)
            fields["graded"] = bool(rng.random() < 0.7)
            fields["port"] = str(
                rng.choice(["current", "current", "second" if graded[target] else "bias"])
            )
        synapses.append(Synapses(name, source, target, kind, weight, exponent, *ends, **fields))

    def dense(source: str, target: str) -> None:
        size = int(rng.choice([6, 127, 254, 3000]))
        counts = (int(np.prod(shapes[name])) for name in (target, source))
        connect(source, target, "dense", rng.integers(-size, size + 1, tuple(counts)))

    for index in range(draw(st.integers(1, 4))):
        name, before = f"p{index}", list(shapes)
        depths[name] = 1 if plain else draw(st.integers(0, 3))
        graded[name] = not plain and draw(st.booleans())
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
    populations = [
        neurons(rng, name, shape, depth=depths[name], graded=graded[name],
                model="leaky-sum" if graded[name] else "lif")
        for name, shape in shapes.items() if name != "in"
    ]  # fmt: skip
    port = InputPort("in", shapes["in"], graded["in"])
    return Program("loihi2", (port,), tuple(populations), tuple(synapses), ("p0",), {})


def inputs_for(program: Program, seed: int, samples: int, steps: int) -> IntArray:
    """Spikes, or integers of all sizes."""
    spikes = spikes_for(seed, samples, steps, (2, 5, 4)).astype(np.int64)
    if "in" not in program.graded:
        return spikes
    rng = np.random.default_rng(seed)
    return spikes * (rng.integers(-(2**31), 2**31, spikes.shape) >> rng.integers(0, 32))


def assert_same(a: Trace, b: Trace, names: list[str]) -> None:
    assert list(a.spikes) == list(b.spikes)
    assert set(a.values) == set(b.values)
    for name, values in a.values.items():
        assert values.dtype == np.int32
        assert np.array_equal(values, b.values[name]), name
    for name in names:
        assert np.array_equal(a.spikes[name], b.spikes[name]), name
        assert set(a.states[name]) == set(b.states[name])
        for state in a.states[name]:
            assert np.array_equal(a.states[name][state], b.states[name][state]), (name, state)


@settings(max_examples=120, deadline=None)
@given(
    st.one_of(programs(), programs(plain=True)), st.integers(0, 2**32 - 1), st.integers(1, 5),
    st.integers(1, 12), st.integers(1, 3),
    st.sampled_from([1, 2000, 30_000, 1 << 21]), st.sampled_from([1, 200, 1 << 18]),
    st.sampled_from([1, 9, 1 << 9]),
)  # fmt: skip
def test_any_program_however_it_is_cut(
    program: Program, seed: int, samples: int, steps: int, threads: int, size: int, helped: int,
    rows: int,
) -> None:  # fmt: skip
    """Batch size, number of threads, chunks and the width of the arithmetic change no bit."""
    names = [p.name for p in program.populations]
    spikes = inputs_for(program, seed, samples, steps)
    expected = model(program, spikes)
    with (
        mock.patch.object(engine, "BLOCK_BYTES", size),
        mock.patch.object(block, "HELPED_SIZE", helped),
        mock.patch.object(block, "ROWS", rows),
    ):
        for machine in MACHINES.values():
            found = simulate(program, spikes, machine, record=names, threads=threads)
            assert_same(found, expected, names)
            alone = simulate(program, spikes[-1:], machine, threads=threads)
            for name in names:
                assert np.array_equal(alone.spikes[name], expected.spikes[name][-1:])


@pytest.mark.parametrize("rows", [1, 100, 1 << 9])
@pytest.mark.parametrize("helped", [1, 1 << 30])
def test_neurons_that_add_up_what_arrives(rows: int, helped: int) -> None:
    """Several tiles, several groups of samples: as with sums and neurons one after the other."""
    rng = np.random.default_rng(0)
    registers = {"du": 1000, "dv": 100, "vth": 300, "bias_mant": 3, "bias_exp": 2, "u0": 0, "v0": 0}
    neurons = Neurons(
        "out", (300,), 1, {k: np.array([v]) for k, v in registers.items()}, np.ones(1)
    )
    weight = 4 * rng.integers(-30, 40, (300, 90))
    synapses = Synapses("in->out", "in", "out", "dense", weight, 1, (90,), (300,))
    program = Program("loihi2", (InputPort("in", (90,)),), (neurons,), (synapses,), ("out",), {})
    spikes = (rng.random((7, 40, 90)) < 0.2).astype(np.uint8)
    prepared = plan(program, MACHINE)
    assert prepared.units[0].adds is not None
    expected = model(program, spikes)
    assert 0.05 < expected.spikes["out"].mean() < 0.95
    with mock.patch.object(block, "ROWS", rows), mock.patch.object(block, "HELPED_SIZE", helped):
        assert_same(run(prepared, spikes, record=["out"], threads=2), expected, ["out"])


def test_the_random_programs_spike_and_have_cycles() -> None:
    """Otherwise the test above proves little."""
    rates, cycles, narrow, links, adds = [], [], [], [], []

    @settings(max_examples=100, database=None, derandomize=True)
    @given(st.one_of(programs(), programs(plain=True)))
    def look(program: Program) -> None:
        prepared = plan(program, MACHINE)
        trace = run(prepared, inputs_for(program, 0, 2, 12))
        rates.extend(trace.spikes[unit.name].mean() for unit in prepared.units)
        cycles.append(max(len(g) * stepwise(g) for g in prepared.groups))
        narrow.extend(unit.cells.initial.dtype == np.int32 for unit in prepared.units)
        links.extend(link for unit in prepared.units for link in unit.links)
        adds.extend(unit.adds is not None for unit in prepared.units)

    look()
    assert np.mean([0.02 < rate < 0.98 for rate in rates]) > 0.3
    assert np.mean([size > 0 for size in cycles]) > 0.2
    assert max(cycles) > 1
    assert 0.2 < np.mean(narrow) < 0.95
    assert np.mean(adds) > 0.05
    assert np.mean([link.graded for link in links]) > 0.1
    assert np.mean([2 <= link.delay < 12 for link in links]) > 0.1
    assert {link.port for link in links} == {"current", "second", "bias"}


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


def chain(*links: tuple[str, str, int], depths: dict[str, int]) -> Program:
    """One neuron each that sends what arrives, joined one to one with a delay."""
    synapses = tuple(
        Synapses(f"{a}->{b}", a, b, "one-to-one", np.ones(1, np.int64), 0, (1,), (1,),
                 delay=np.array([delay]), graded=True)
        for a, b, delay in links
    )  # fmt: skip
    registers = {"vth": np.zeros(1, np.int64), "v0": np.zeros(1, np.int64)}
    cells = tuple(
        Neurons(name, (1,), depth, registers, np.ones(1), "leaky-sum", True)
        for name, depth in depths.items()
    )
    return Program("loihi2", (InputPort("in", (1,), True),), cells, synapses, ("a",), {})


@pytest.mark.parametrize(
    ("depths", "delay", "arrives"),
    [
        ({"a": 1, "b": 2}, 0, 0),
        ({"a": 1, "b": 2}, 3, 3),
        ({"a": 1, "b": 3}, 1, 0),
        ({"a": 1, "b": 1}, 0, 0),
        ({"a": 0, "b": 0}, 2, 2),
        ({"a": 3, "b": 1}, 0, 3),
        ({"a": 1, "b": 2}, 60, 60),
    ],
)
def test_a_message_arrives_when_it_does_on_the_chip(
    depths: dict[str, int], delay: int, arrives: int
) -> None:
    first = max(0, depths["a"] - 1)
    program = chain(("in", "a", first), ("a", "b", delay), depths=depths)
    inputs = np.zeros((2, 62, 1))
    inputs[0, 0] = 2**20
    trace = simulate(program, inputs, MACHINE)
    assert not trace.spikes["b"][0, :arrives].any()
    assert trace.values["b"][0, arrives, 0] == 2**20
    assert not trace.spikes["b"][1].any()


@pytest.mark.parametrize(
    ("links", "depths", "early"),
    [
        ([("in", "a", 0), ("a", "b", 0)], {"a": 1, "b": 3}, 1),
        ([("in", "b", 1), ("in", "a", 0)], {"a": 1, "b": 4}, 2),
        ([("in", "a", 0), ("a", "b", 0), ("b", "a", 0)], {"a": 3, "b": 2}, 1),
    ],
)
def test_no_message_arrives_before_it_is_sent(
    links: list[tuple[str, str, int]], depths: dict[str, int], early: int
) -> None:
    links = [(a, b, delay + (b == "a" and a == "in") * (depths["a"] - 1)) for a, b, delay in links]
    with pytest.raises(InputError, match=f"arrive {early} steps before they are sent"):
        plan(chain(*links, depths=depths), MACHINE)


def test_a_port_that_the_neurons_lack_is_refused() -> None:
    program = chain(("in", "a", 0), depths={"a": 1})
    (synapses,) = program.synapses
    broken = replace(program, synapses=(replace(synapses, port="bias"),))
    with pytest.raises(InputError, match=r"in->a: a has no port 'bias'.*current, second"):
        plan(broken, MACHINE)


def test_lif_neurons_send_no_integers() -> None:
    _, program, _ = small_program()
    first, *rest = program.populations
    broken = replace(program, populations=(replace(first, graded=True), *rest))
    with pytest.raises(InputError, match="'lif' send spikes"):
        plan(broken, MACHINE)


def test_only_sources_with_synapses_are_looked_at() -> None:
    """A delay that few sources have costs what these cost."""
    weight, delay = np.ones((3, 200), np.int64), np.zeros((3, 200), np.int64)
    weight[:, 7], delay[:, 150] = 0, 4
    synapses = Synapses("in->a", "in", "a", "dense", weight, 0, (200,), (3,), delay=delay)
    cells = neurons(np.random.default_rng(0), "a", (3,))
    program = Program("loihi2", (InputPort("in", (200,)),), (cells,), (synapses,), ("a",), {})
    (unit,) = plan(program, MACHINE).units
    found = {link.delay: np.unpackbits(link.reached.view(np.uint8)).sum() for link in unit.links}
    assert found == {0: 198, 4: 1}
    more = Synapses("in->a#2", "in", "a", "dense", np.ones((3, 200), np.int64), 0, (200,), (3,))
    one = replace(synapses, delay=np.zeros(1, np.int64))
    spikes = spikes_for(0, 2, 5, (200,))
    results = [
        simulate(replace(program, synapses=both), spikes, MACHINE, record=["a"])
        for both in ((one, more), (more, one))
    ]
    together = replace(more, weight=one.weight + more.weight)
    expected = simulate(replace(program, synapses=(together,)), spikes, MACHINE, record=["a"])
    for trace in results:
        assert_same(trace, expected, ["a"])


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


def test_an_interruption_while_work_is_handed_out_ends_the_run() -> None:
    """Threads that have got a block wait for the others to be handed out."""
    _, program, _ = small_program()
    spikes, submit, handed = np.zeros((8, 12, 1, 6, 6), np.uint8), ThreadPoolExecutor.submit, []

    def interrupted(pool: ThreadPoolExecutor, *work: Any) -> Any:
        if len(handed) == 2:
            raise KeyboardInterrupt
        handed.append(submit(pool, *work))
        return handed[-1]

    with (
        mock.patch.object(engine, "BLOCK_BYTES", 1),
        mock.patch.object(ThreadPoolExecutor, "submit", interrupted),
        pytest.raises(KeyboardInterrupt),
    ):
        simulate(program, spikes, MACHINE, threads=2)
    assert all(future.done() for future in handed)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_in_a_block_is_raised(threads: int) -> None:
    def advance(*_: Any) -> None:
        raise ZeroDivisionError

    class Broken(LoihiMachine):
        def cells(self, population: Neurons, own: Any, bounds: Any) -> Any:
            cells = super().cells(population, own, bounds)
            return SimpleNamespace(
                initial=cells.initial, recorded=(), ports=cells.ports, advance=advance
            )

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


def test_a_potential_can_only_be_read_where_there_is_one() -> None:
    _, program, spikes = small_program()
    *others, last = program.populations
    registers = {"vth": np.array([1]), "exp": np.array([0])}
    graded = replace(last, model="graded", graded=True, readout="membrane", parameters=registers)
    with pytest.raises(InputError, match="lif3: its neurons have no membrane potential"):
        simulate(replace(program, populations=(*others, graded)), spikes, MACHINE)


def test_potentials_that_are_read_are_values_in_units_of_the_model() -> None:
    """In all blocks and chunks; and states that nobody asks for are not kept."""
    _, program, spikes = small_program()
    *others, last = program.populations
    read = replace(program, populations=(*others, replace(last, readout="membrane")))
    states = simulate(program, spikes, MACHINE, record=["lif3"]).states["lif3"]
    trace = simulate(read, spikes, MACHINE, threads=2)
    assert not trace.states
    assert np.array_equal(trace.values["lif3"], states["potential"] / last.unit)


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
