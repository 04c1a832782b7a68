"""Lava's bit-accurate models, run by the runner, against an independent model of their equations.

Without a Lava environment these tests fail: a comparison that did not run is not a pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neurodeploy.errors import LavaError
from neurodeploy.targets.loihi.lava import environment, runner
from neurodeploy.targets.loihi.lava.environment import LavaEnvironment
from neurodeploy.targets.loihi.lava.runner import (
    Forget,
    LavaInput,
    LavaNetwork,
    LavaPopulation,
    LavaSynapse,
)

Ints = NDArray[np.int64]
EVERYTHING = ("s", "u", "v")


def ints(values: Any) -> Ints:
    return np.asarray(values, dtype=np.int64)


def population(name: str, shape: tuple[int, ...], **changes: Any) -> LavaPopulation:
    values: dict[str, Any] = {
        "du": 4095,
        "dv": 4096,
        "vth": 100,
        "bias_mant": 0,
        "bias_exp": 0,
        "u0": 0,
        "v0": 0,
    }
    registers = {key: ints(changes.pop(key, value)) for key, value in values.items()}
    return LavaPopulation(name, shape, registers, **changes)


def spikes(rng: np.random.Generator, steps: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return (rng.random((steps, *shape)) < 0.4).astype(np.uint8)


def even(rng: np.random.Generator, *shape: int) -> Ints:
    return ints(2 * rng.integers(-128, 128, shape))


# --- the equations -------------------------------------------------------------------------------


def toward_zero(values: Ints, bits: int) -> Ints:
    return np.sign(values) * (np.abs(values) >> bits)


def int32(values: Ints) -> Ints:
    """Wrap into 32 bits, as Lava's arrays do."""
    return values.astype(np.int32).astype(np.int64)


def step_lif(r: Mapping[str, Ints], u: Ints, v: Ints, a: Ints) -> tuple[Ints, Ints, Ints]:
    """One step of Lava's bit-accurate LIF (PyLifModelBitAcc)."""
    limit = 2**23
    u = int32(toward_zero(u * (4096 - (r["du"] + 1)), 12) + (a << 6))
    u = np.where(u > limit, u - 2 * limit, u)
    u = np.where(u <= -limit, u + 2 * limit, u)
    v = int32(toward_zero(v * (4096 - r["dv"]), 12) + u + (r["bias_mant"] << r["bias_exp"]))
    v = np.clip(v, -limit + 1, limit - 1)
    s = (v > (r["vth"] << 6)).astype(np.int64)
    return u, np.where(s == 1, 0, v), s


def correlate(s: Ints, synapse: LavaSynapse, shape: tuple[int, ...]) -> Ints:
    """A convolution as torch means it, one output at a time."""
    weight, groups = synapse.weight, synapse.groups
    (pad_y, pad_x), (step_y, step_x) = synapse.padding, synapse.stride
    padded = np.pad(s, ((0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    per_group = weight.shape[1]
    out = np.zeros(shape, dtype=np.int64)
    for c, y, x in np.ndindex(*shape):
        first = c // (shape[0] // groups) * per_group
        for i, ky, kx in np.ndindex(*weight.shape[1:]):
            row = y * step_y + ky * synapse.dilation[0]
            column = x * step_x + kx * synapse.dilation[1]
            out[c, y, x] += weight[c, i, ky, kx] * padded[first + i, row, column]
    return out << synapse.weight_exp


def activation(s: Ints, synapse: LavaSynapse, shape: tuple[int, ...]) -> Ints:
    if synapse.kind == "conv2d":
        return correlate(s, synapse, shape)
    total = synapse.weight @ s.ravel()
    exponent = synapse.weight_exp
    return (total << exponent if exponent > 0 else total >> -exponent).reshape(shape)


def is_reset(p: LavaPopulation, t: int) -> bool:
    if not p.reset or t < p.start:
        return False
    return t == p.start if p.period is None else (t - p.start) % p.period == 0


def simulate(network: LavaNetwork) -> dict[str, dict[str, Ints]]:
    """Every spike and state of a network; a synapse delivers in t what it received in t - 1."""
    populations = {p.name: p for p in network.populations}
    on_the_way = {
        synapse.name: np.zeros(populations[synapse.target].shape, dtype=np.int64)
        for synapse in network.synapses
    }
    state = {
        p.name: tuple(p.registers[key] + np.zeros(p.shape, np.int64) for key in ("u0", "v0"))
        for p in network.populations
    }
    recorded = {
        name: {field: np.zeros((network.steps, *p.shape), np.int64) for field in "suv"}
        for name, p in populations.items()
    }
    for t in range(network.steps):
        sent = {source.name: source.data[t].astype(np.int64) for source in network.inputs}
        for name, p in populations.items():
            a = np.zeros(p.shape, dtype=np.int64)
            for synapse in network.synapses:
                forgotten = synapse.source == name and is_reset(p, t)
                if synapse.target == name and not forgotten:
                    a += on_the_way[synapse.name]
            if is_reset(p, t):
                state[name] = tuple(p.registers[key] + 0 * a for key in ("u0", "v0"))
            u, v, sent[name] = step_lif(p.registers, *state[name], a)
            state[name] = (u, v)
            for field, values in (("s", sent[name]), ("u", u), ("v", v)):
                recorded[name][field][t] = values
        on_the_way = {
            synapse.name: activation(
                sent[synapse.source], synapse, populations[synapse.target].shape
            )
            for synapse in network.synapses
        }
    return recorded


# --- the networks --------------------------------------------------------------------------------


def dense_network() -> LavaNetwork:
    """Two samples back to back, reset in between; two self-synapses, feedback, all sign modes."""
    rng = np.random.default_rng(1)
    sample, steps = spikes(rng, 12, (6,)), 25
    data = np.concatenate([sample, sample, np.zeros((1, 6), np.uint8)])
    hidden = population(
        "hidden",
        (5,),
        du=rng.integers(0, 2000, 5),
        dv=rng.integers(0, 4097, 5),
        vth=rng.integers(20, 200, 5),
        bias_mant=rng.integers(-40, 60, 5),
        bias_exp=rng.integers(0, 7, 5),
        u0=rng.integers(-9000, 9000, 5),
        v0=rng.integers(-9000, 9000, 5),
        start=1,
        period=12,
        reset=True,
        record=EVERYTHING,
    )
    out = population(
        "out", (3,), du=900, dv=200, vth=60, start=14, period=None, reset=True, record=EVERYTHING
    )
    diagonal = np.eye(5, dtype=np.int64)
    return LavaNetwork(
        "dense",
        steps,
        (LavaInput("in", (6,), data),),
        (hidden, out),
        (
            LavaSynapse("forward", "in", "hidden", "dense", even(rng, 5, 6)),
            LavaSynapse("reset a", "hidden", "hidden", "dense", -80 * diagonal,
                        forget=Forget(1, 12)),
            LavaSynapse("reset b", "hidden", "hidden", "dense", -7 * diagonal, 2, "inhibitory",
                        forget=Forget(1, 12)),
            LavaSynapse("readout", "hidden", "out", "dense", even(rng, 3, 5) // 8 * 8, -3,
                        num_weight_bits=6),
            LavaSynapse("more", "hidden", "out", "dense", ints(rng.integers(0, 50, (3, 5))), 0,
                        "excitatory"),
        ),
    )  # fmt: skip


def convolutional_network() -> LavaNetwork:
    """Nothing is symmetric: sizes, kernels, strides, padding and dilation differ in x and y."""
    rng = np.random.default_rng(2)
    steps = 20
    first = population(
        "first", (4, 7, 5), du=1200, dv=1000, vth=rng.integers(50, 400, (4, 7, 5)),
        bias_mant=rng.integers(-9, 30, (4, 7, 5)), bias_exp=6,
        start=1, period=10, reset=True, record=EVERYTHING,
    )  # fmt: skip
    second = population(
        "second", (6, 2, 5), du=800, vth=300, start=3, period=4, reset=False, record=EVERYTHING
    )
    out = population("out", (3,), du=100, dv=300, vth=500, record=EVERYTHING)
    diagonal = np.eye(140, dtype=np.int64)
    return LavaNetwork(
        "convolutional",
        steps,
        (LavaInput("in", (2, 6, 9), spikes(rng, steps, (2, 6, 9))),),
        (first, second, out),
        (
            LavaSynapse("c1", "in", "first", "conv2d", even(rng, 4, 2, 2, 3),
                        stride=(1, 2), padding=(1, 1)),
            LavaSynapse("self", "first", "first", "dense", -2 * diagonal * rng.integers(0, 90, 140),
                        1, forget=Forget(1, 10)),
            LavaSynapse("c2", "first", "second", "conv2d", even(rng, 6, 2, 2, 3), 2,
                        stride=(2, 1), padding=(0, 1), dilation=(3, 1), groups=2),
            LavaSynapse("flat", "second", "out", "dense", even(rng, 3, 60)),
            LavaSynapse("back", "out", "second", "dense", even(rng, 60, 3), 3),
        ),
    )  # fmt: skip


def unconnected_network() -> LavaNetwork:
    """A self-synapse too large for a dense matrix, and a population that nothing is joined to."""
    rng = np.random.default_rng(3)
    large = population("large", (3, 12, 15), du=300, dv=100, vth=80, bias_mant=200, bias_exp=3,
                       start=2, period=5, reset=True, record=EVERYTHING)  # fmt: skip
    weight = -2 * np.eye(540, dtype=np.int64) * rng.integers(0, 100, 540)
    return LavaNetwork(
        "unconnected",
        15,
        (),
        (large, population("alone", (2,), bias_mant=[900, 1500], dv=50, record=EVERYTHING)),
        (LavaSynapse("self", "large", "large", "sparse", weight, -1, forget=Forget(2, 5)),),
    )


@pytest.fixture(scope="module")
def lava() -> LavaEnvironment:
    try:
        return environment.locate()
    except LavaError as error:
        missing = str(error)
    pytest.fail(missing, pytrace=False)


@pytest.fixture(scope="module")
def networks() -> tuple[LavaNetwork, ...]:
    return (dense_network(), convolutional_network(), unconnected_network())


@pytest.fixture(scope="module")
def in_lava(
    lava: LavaEnvironment, networks: tuple[LavaNetwork, ...]
) -> dict[str, Mapping[str, Mapping[str, NDArray[Any]]]]:
    results = runner.run(networks, environment=lava, timeout=120)
    return {
        network.name: result.recorded for network, result in zip(networks, results, strict=True)
    }


@pytest.mark.parametrize("index", [0, 1, 2], ids=["dense", "convolutional", "unconnected"])
def test_lava_equals_its_equations(
    in_lava: dict[str, Mapping[str, Mapping[str, NDArray[Any]]]],
    networks: tuple[LavaNetwork, ...],
    index: int,
) -> None:
    network = networks[index]
    expected = simulate(network)
    for name, fields in expected.items():
        assert 0.02 < fields["s"].mean() < 0.98, f"{name} does not do enough to be a test"
        for field, values in fields.items():
            np.testing.assert_array_equal(
                in_lava[network.name][name][field], values, f"{name} {field}"
            )


def test_a_reset_makes_the_second_sample_equal_the_first(
    in_lava: dict[str, Mapping[str, Mapping[str, NDArray[Any]]]],
) -> None:
    for values in in_lava["dense"]["hidden"].values():
        np.testing.assert_array_equal(values[1:13], values[13:25])
    assert (in_lava["dense"]["hidden"]["v"][0] != in_lava["dense"]["hidden"]["v"][12]).any()


def test_a_failure_inside_a_model_ends_the_run_with_its_reason(
    lava: LavaEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "validate", lambda network: None)
    network = dense_network()
    hidden = network.populations[0]
    bad = replace(hidden, registers={**hidden.registers, "du": ints([1, 2])})
    network = replace(network, populations=(bad, network.populations[1]))
    with pytest.raises(LavaError, match=r"signal 15 .*ValueError: operands could not be"):
        runner.run([network], environment=lava, timeout=60)


def test_a_network_that_lava_refuses_is_named(
    lava: LavaEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "validate", lambda network: None)
    network = convolutional_network()
    bad = replace(network.synapses[0], groups=3)
    network = replace(network, synapses=(bad, *network.synapses[1:]))
    with pytest.raises(LavaError, match=r"convolutional: Lava failed: ValueError: .*groups = 3"):
        runner.run([dense_network(), network], environment=lava, timeout=60)


def test_sums_of_a_convolution_that_leave_32_bits_are_an_error(lava: LavaEnvironment) -> None:
    """Lava's Conv would convert them from float64 into whatever the processor makes of it."""
    network = LavaNetwork(
        "wide",
        3,
        (LavaInput("in", (1, 1, 2), np.full((3, 1, 1, 2), 2**24), graded=True),),
        (LavaPopulation("out", (1, 1, 2), {}, "sigma"),),
        (LavaSynapse("c", "in", "out", "conv2d", ints([[[[128]]]]), num_message_bits=24),),
    )
    with pytest.raises(LavaError, match=r"FloatingPointError: invalid value"):
        runner.run([network], environment=lava, timeout=60)
