"""The machine: compiled kernels, plain numpy and a model in Python integers do the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.program import IntArray, Neurons, Synapses
from neurodeploy.simulator.layout import TILE, Layout
from neurodeploy.targets.loihi.machine import STATES, LoihiMachine
from neurodeploy.targets.loihi.models import MODELS

M24, M31 = 2**23, 2**31
MACHINES = {
    "32 bits": (LoihiMachine(), (-M31, M31 - 1)),
    "64 bits": (LoihiMachine(), None),
    "plain": (LoihiMachine(compiled=False), None),
}
each_machine = pytest.mark.parametrize("name", MACHINES)


def run(
    name: str, current: IntArray, neurons: Neurons, own: Any = 0, record: bool = True
) -> tuple[Any, dict[str, IntArray]]:
    """Spikes and states (samples, steps, n) for currents of that shape, in two calls."""
    machine, bounds = MACHINES[name]
    layout = Layout(neurons.shape)
    registers = {
        key: values if values.size == 1 else layout.arrange(values)
        for key, values in neurons.parameters.items()
    }
    placed = replace(neurons, shape=(layout.lanes,), parameters=registers)
    feedback = layout.arrange(np.broadcast_to(np.asarray(own, np.int64), neurons.size))
    cells = machine.cells(placed, feedback, bounds)
    assert cells.initial.dtype == (np.int32 if name == "32 bits" else np.int64)
    samples, steps, n = current.shape
    padded = np.zeros((samples, steps, layout.lanes), cells.initial.dtype)
    padded[..., :n] = current
    tiles = np.ascontiguousarray(padded.reshape(samples, steps, -1, TILE).transpose(2, 0, 1, 3))
    state = np.repeat(cells.initial[:, None], samples, axis=1)
    words = np.zeros((samples, steps, layout.words), np.uint64)
    kept = []
    for part in (slice(0, steps // 2), slice(steps // 2, steps)):
        piece = np.ascontiguousarray(tiles[:, :, part])
        before = piece.copy()
        buffers = tuple(np.zeros_like(piece) for _ in cells.recorded) if record else ()
        cells.advance({"current": piece}, state, words, part.start, 0, buffers, None)
        assert np.array_equal(piece, before)
        kept.append(buffers)
    states = {
        key: np.concatenate([first, second], axis=2).transpose(1, 2, 0, 3).reshape(padded.shape)
        for key, first, second in zip(cells.recorded, *kept, strict=True)
    } if record else {}  # fmt: skip
    spikes = layout.unpack(words).reshape(current.shape)
    return spikes, {key: values[..., :n] for key, values in states.items()}


def population(shape: tuple[int, ...] = (4,), **registers: Any) -> Neurons:
    values = dict.fromkeys(MODELS["lif"].registers, 0) | {"du": 4095, "vth": 100} | registers
    parameters = {name: np.atleast_1d(np.asarray(v, np.int64)) for name, v in values.items()}
    return Neurons("n", shape, 1, parameters, np.ones(1))


def i32(x: int) -> int:
    return (x + 2**31) % 2**32 - 2**31


def rtz(x: int) -> int:
    return x // 4096 if x >= 0 else -(-x // 4096)


def model(current: list[int], registers: dict[str, int], own: int) -> dict[str, list[int]]:
    """One neuron over time, in Python integers."""
    u, v, fired = registers["u0"], registers["v0"], 0
    bias = registers["bias_mant"] * 2 ** registers["bias_exp"]
    out: dict[str, list[int]] = {name: [] for name in ("spikes", *STATES)}
    for a in current:
        a = i32(a + own * fired)
        u = i32(rtz(u * (4095 - registers["du"])) + i32(a * 64))
        u = u - 2 * M24 if u > M24 else u
        u = u + 2 * M24 if u <= -M24 else u
        v = i32(rtz(v * (4096 - registers["dv"])) + u + bias)
        v = min(max(v, 1 - M24), M24 - 1)
        fired = int(v > registers["vth"] * 64)
        for name, value in (("potential", v), ("spikes", fired), ("u", u), ("v", (1 - fired) * v)):
            out[name].append(value)
        v = (1 - fired) * v
    return out


def random_case(seed: int) -> tuple[IntArray, Neurons, IntArray]:
    """Registers over their whole ranges and currents that wrap and saturate now and then."""
    rng = np.random.default_rng(seed)
    n = 4
    size = int(rng.choice([100, 20_000, 2**17, 2**27]))
    current = rng.integers(-size, size, (3, 25, n))
    registers = {
        "du": rng.integers(0, 4096, n) if rng.random() < 0.7 else np.array([4095]),
        "dv": rng.integers(0, 4097, n) if rng.random() < 0.7 else rng.choice([0, 4096], 1),
        "vth": rng.integers(0, 2**17, n) // int(rng.choice([1, 100])),
        "bias_mant": rng.integers(-4096, 4096, n),
        "bias_exp": rng.integers(0, 8, 1),
        "u0": rng.integers(-M24, M24, n),
        "v0": rng.integers(-M24, M24, n),
    }
    own = rng.integers(-256, 255, n) << rng.integers(0, 8)
    return current, population(**registers), own * (rng.random() < 0.7)


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1))
def test_all_machines_and_the_model_agree(seed: int) -> None:
    current, neurons, own = random_case(seed)
    results = [run(name, current, neurons, own) for name in MACHINES]
    for i in range(4):
        registers = {k: int(np.broadcast_to(v, 4)[i]) for k, v in neurons.parameters.items()}
        for b in range(3):
            expected = model(current[b, :, i].tolist(), registers, int(own[i]))
            for spikes, states in results:
                assert spikes[b, :, i].tolist() == expected["spikes"]
                assert set(states) == set(STATES)
                for name in STATES:
                    assert states[name][b, :, i].tolist() == expected[name], name


def test_the_random_cases_reach_wrap_saturation_and_spikes() -> None:
    """Otherwise the test above proves little."""
    wrapped = saturated = spiking = silent = 0
    for seed in range(40):
        spikes, states = run("plain", *random_case(seed))
        wrapped += int((np.abs(np.diff(states["u"], axis=1)) > M24).any())
        saturated += int((np.abs(states["potential"]) == M24 - 1).any())
        spiking += int(spikes.any())
        silent += int((spikes == 0).any())
    assert min(wrapped, saturated, spiking, silent) >= 10


@each_machine
def test_recording_does_not_change_spikes(name: str) -> None:
    for seed in range(10):
        case = random_case(seed)
        spikes, states = run(name, *case, record=False)
        assert states == {}
        assert np.array_equal(spikes, run(name, *case)[0])


@each_machine
def test_an_own_spike_arrives_one_step_later(name: str) -> None:
    """Constant input 3 and threshold 2 without memory: the self-synapse acts every other step."""
    current = np.full((1, 6, 1), 3)
    spikes, states = run(name, current, population((1,), dv=4096, vth=2), -2)
    assert spikes[0, :, 0].tolist() == [1, 0, 1, 0, 1, 0]
    assert (states["u"][0, :, 0] // 64).tolist() == [3, 1, 3, 1, 3, 1]


@each_machine
def test_registers_of_one_value_and_of_the_populations_shape(name: str) -> None:
    rng = np.random.default_rng(0)
    current = rng.integers(-200, 300, (2, 20, 6))
    full = rng.integers(0, 4097, (1, 2, 3))
    one = run(name, current, population((1, 2, 3), dv=400))[0]
    same = run(name, current, population((1, 2, 3), dv=np.full((1, 2, 3), 400)))[0]
    assert np.array_equal(one, same)
    each = run(name, current, population((1, 2, 3), dv=full))[1]["v"]
    for i, dv in enumerate(full.reshape(-1)):
        alone = run(name, current[:, :, i : i + 1], population((1,), dv=dv))[1]["v"]
        assert np.array_equal(alone[:, :, 0], each[:, :, i])


@each_machine
def test_more_neurons_than_a_tile(name: str) -> None:
    rng = np.random.default_rng(1)
    current, vth = rng.integers(-200, 300, (2, 9, 300)), rng.integers(0, 900, 300)
    spikes = run(name, current, population((300,), dv=400, vth=vth))[0]
    for i in (0, 63, 64, 127, 128, 299):
        alone = run(name, current[:, :, i : i + 1], population((1,), dv=400, vth=vth[i]))[0]
        assert np.array_equal(alone[:, :, 0], spikes[:, :, i])
    assert spikes.mean() > 0.1


@pytest.mark.parametrize(
    ("change", "narrow"),
    [
        ({}, True),
        ({"du": 0, "dv": 4096, "vth": 2**25 - 1}, True),
        ({"du": -1}, False),
        ({"dv": 4097}, False),
        ({"dv": -1}, False),
        ({"vth": 2**25}, False),
        ({"u0": 2**31}, False),
        ({"v0": -(2**31)}, False),
    ],
)
def test_32_bits_serve_where_they_are_exact(change: dict[str, int], narrow: bool) -> None:
    cells = LoihiMachine().cells(population((128,), **change), np.zeros(128, np.int64), (-1, 1))
    assert (cells.initial.dtype == np.int32) == narrow


def test_activations_by_kind() -> None:
    total = np.array([-3, 5, 2**22])
    dense = Synapses("a->b", "a", "b", "dense", np.ones((1, 1), np.int64), 2, (1,), (1,))
    machine = LoihiMachine()
    assert machine.activation(total, dense).tolist() == [-12, 20, 2**24]
    conv = Synapses(
        "a->b", "a", "b", "conv2d", np.ones((1, 1, 1, 1), np.int64), 2, (1, 1, 1), (1, 1, 1)
    )
    assert machine.activation(total, conv).tolist() == [-12, 20, 0]


@given(st.sampled_from(["dense", "conv2d"]), st.integers(-2, 9), st.integers(-(2**31), 2**31 - 1))
def test_a_shift_is_the_activation(kind: Any, exponent: int, edge: int) -> None:
    """Wherever there is one; and there is one where the activation is far from wrapping."""
    synapses = Synapses("a->b", "a", "b", kind, np.ones(1, np.int64), exponent, (1,), (1,))
    machine = LoihiMachine()
    bounds = min(edge, 0), max(edge, 0)
    shift = machine.shift(synapses, *bounds)
    if shift is None:
        assert exponent < 0 or abs(edge) << exponent >= (2**23 if kind == "conv2d" else 2**31)
        return
    totals = np.array([edge, edge // 3, 0])
    assert np.array_equal(totals << shift, machine.activation(totals, synapses))


BREAKS = {
    "rounds down": ("decay", lambda x, f: (x * (4096 - f)) >> 12),
    "at the threshold": ("fires", lambda v, vth: v >= vth << 6),
    "no reset": ("reset", lambda v, s: v),
    "forgets the offset of the current's decay": (
        "update_u",
        lambda u, a, du: ((u * (4096 - du)) >> 12) + (a << 6),
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_kernel_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above fails for each of these."""
    from neurodeploy.targets.loihi import arithmetic

    current = np.random.default_rng(0).integers(-40, 60, (4, 200, 4))
    current[:, ::7] = 0
    neurons = population(du=4000, dv=900, vth=[0, 1, 30, 60])
    right = run("32 bits", current, neurons)
    function, broken = BREAKS[name]
    monkeypatch.setattr(arithmetic, function, broken)
    wrong = run("plain", current, neurons)
    assert not np.array_equal(right[1]["potential"], wrong[1]["potential"]) or not np.array_equal(
        right[0], wrong[0]
    )
