"""The machine: compiled kernels, plain numpy and a model in Python integers do the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.program import IntArray, Neurons, Synapses
from neurodeploy.targets.loihi.machine import REGISTERS, STATES, LoihiMachine

COMPILED, PLAIN = LoihiMachine(), LoihiMachine(compiled=False)
M24 = 2**23


def population(shape: tuple[int, ...] = (4,), **registers: Any) -> Neurons:
    values = dict.fromkeys(REGISTERS, 0) | {"du": 4095, "vth": 100} | registers
    parameters = {name: np.atleast_1d(np.asarray(v, np.int64)) for name, v in values.items()}
    return Neurons("n", shape, 1, parameters, np.ones(1))


def self_synapse(weight: Any, exponent: int = 0) -> tuple[Synapses, ...]:
    weight = np.asarray(weight, np.int64)
    shape = (len(weight),)
    return (Synapses("n->n", "n", "n", "one-to-one", weight, exponent, shape, shape),)


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


def random_case(seed: int) -> tuple[IntArray, Neurons, tuple[Synapses, ...], IntArray]:
    """Registers over their whole ranges and currents that wrap and saturate now and then."""
    rng = np.random.default_rng(seed)
    n = 4
    size = int(rng.choice([100, 20_000, 2**17, 2**27]))
    current = rng.integers(-size, size, (3, 25, n))
    registers = {
        "du": rng.integers(0, 4096, n) if rng.random() < 0.7 else np.array([4095]),
        "dv": rng.integers(0, 4097, n),
        "vth": rng.integers(0, 2**17, n) // int(rng.choice([1, 100])),
        "bias_mant": rng.integers(-4096, 4096, n),
        "bias_exp": rng.integers(0, 8, 1),
        "u0": rng.integers(-M24, M24, n),
        "v0": rng.integers(-M24, M24, n),
    }
    weight, exponent = rng.integers(-256, 255, n), int(rng.integers(0, 8))
    recurrent = self_synapse(weight, exponent) if rng.random() < 0.7 else ()
    own = (weight << exponent) if recurrent else np.zeros(n, np.int64)
    return current, population(**registers), recurrent, own


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1))
def test_compiled_plain_and_model_agree(seed: int) -> None:
    current, neurons, recurrent, own = random_case(seed)
    results = [m.neurons(current, neurons, recurrent, True) for m in (COMPILED, PLAIN)]
    for spikes, states in results:
        assert spikes.dtype == np.uint8
        assert set(states) == set(STATES)
        for i in range(4):
            registers = {k: int(np.broadcast_to(v, 4)[i]) for k, v in neurons.parameters.items()}
            for b in range(3):
                expected = model(current[b, :, i].tolist(), registers, int(own[i]))
                assert spikes[b, :, i].tolist() == expected["spikes"]
                for name in STATES:
                    assert states[name][b, :, i].tolist() == expected[name], name


def test_the_random_cases_reach_wrap_saturation_and_spikes() -> None:
    """Otherwise the test above proves little."""
    wrapped = saturated = spiking = silent = 0
    for seed in range(40):
        current, neurons, recurrent, _ = random_case(seed)
        spikes, states = PLAIN.neurons(current, neurons, recurrent, True)
        wrapped += int((np.abs(np.diff(states["u"], axis=1)) > M24).any())
        saturated += int((np.abs(states["potential"]) == M24 - 1).any())
        spiking += int(spikes.any())
        silent += int((spikes == 0).any())
    assert min(wrapped, saturated, spiking, silent) >= 10


@pytest.mark.parametrize("machine", [COMPILED, PLAIN], ids=["compiled", "plain"])
def test_recording_does_not_change_spikes(machine: LoihiMachine) -> None:
    for seed in range(10):
        current, neurons, recurrent, _ = random_case(seed)
        before = current.copy()
        spikes, states = machine.neurons(current, neurons, recurrent, False)
        assert states == {}
        assert np.array_equal(spikes, machine.neurons(current, neurons, recurrent, True)[0])
        assert np.array_equal(current, before)


@pytest.mark.parametrize("machine", [COMPILED, PLAIN], ids=["compiled", "plain"])
def test_an_own_spike_arrives_one_step_later(machine: LoihiMachine) -> None:
    """Constant input 3 and threshold 2 without memory: the self-synapse acts every other step."""
    current = np.full((1, 6, 1), 3)
    neurons = population((1,), dv=4096, vth=2)
    spikes, states = machine.neurons(current, neurons, self_synapse([-1], 1), True)
    assert spikes[0, :, 0].tolist() == [1, 0, 1, 0, 1, 0]
    assert (states["u"][0, :, 0] // 64).tolist() == [3, 1, 3, 1, 3, 1]


@pytest.mark.parametrize("machine", [COMPILED, PLAIN], ids=["compiled", "plain"])
def test_registers_of_one_value_and_of_the_populations_shape(machine: LoihiMachine) -> None:
    rng = np.random.default_rng(0)
    current = rng.integers(-200, 300, (2, 20, 6))
    full = rng.integers(0, 4097, (1, 2, 3))
    one = machine.neurons(current, population((1, 2, 3), dv=400), (), False)[0]
    same = machine.neurons(current, population((1, 2, 3), dv=np.full((1, 2, 3), 400)), (), False)[0]
    assert np.array_equal(one, same)
    each = machine.neurons(current, population((1, 2, 3), dv=full), (), True)[1]["v"]
    for i, dv in enumerate(full.reshape(-1)):
        alone = machine.neurons(current[:, :, i : i + 1], population((1,), dv=dv), (), True)
        assert np.array_equal(alone[1]["v"][:, :, 0], each[:, :, i])


def test_activations_by_kind() -> None:
    total = np.array([-3, 5, 2**22])
    dense = Synapses("a->b", "a", "b", "dense", np.ones((1, 1), np.int64), 2, (1,), (1,))
    assert COMPILED.activation(total, dense).tolist() == [-12, 20, 2**24]
    conv = Synapses(
        "a->b", "a", "b", "conv2d", np.ones((1, 1, 1, 1), np.int64), 2, (1, 1, 1), (1, 1, 1)
    )
    assert COMPILED.activation(total, conv).tolist() == [-12, 20, 0]


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
    right = COMPILED.neurons(current, neurons, (), True)
    function, broken = BREAKS[name]
    monkeypatch.setattr(arithmetic, function, broken)
    wrong = PLAIN.neurons(current, neurons, (), True)
    assert not np.array_equal(right[1]["potential"], wrong[1]["potential"]) or not np.array_equal(
        right[0], wrong[0]
    )
