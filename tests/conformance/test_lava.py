"""Our integer arithmetic against Lava itself: spikes, u and v, bit by bit.

Networks are drawn at random over the registers' whole ranges, so that currents wrap and voltages
saturate.  Lava is required: without its environment these tests fail, they are not skipped.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurodeploy.network import InputPort
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi import arithmetic
from neurodeploy.targets.loihi.lava.runner import run
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.vendor import from_lava, to_lava
from neurodeploy.trace import Trace

NETWORKS_PER_RUN = 6
RUNS = 9
STEPS = 40


def registers(rng: np.random.Generator, size: int, membrane: str) -> dict[str, np.ndarray]:
    """Random registers: one value for all neurons, or one each, as Lava's models accept."""

    def draw(low: int, high: int) -> np.ndarray:
        return rng.integers(low, high, size if rng.random() < 0.5 else 1, endpoint=True)

    wide = rng.random() < 0.5
    return {
        "du": draw(-1, 4095) if membrane == "both" else np.array([4095]),
        "dv": draw(0, 4096),
        "vth": draw(0, 131071 if wide else 4000),
        "bias_mant": draw(-4096, 4095) if rng.random() < 0.7 else np.array([0]),
        "bias_exp": rng.integers(0, 8, 1),
        "u0": draw(-(2**23) + 1, 2**23 - 1) if wide else np.array([0]),
        "v0": draw(-(2**23) + 1, 2**23 - 1) if wide else np.array([0]),
    }


def weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Anything on the grid, or mostly of one sign and large, so that sums leave 24 bits."""
    if rng.random() < 0.5:
        return 2 * rng.integers(-128, 128, shape)
    return int(rng.choice([-1, 1])) * 2 * rng.integers(-10, 128, shape)


def random_program(seed: int) -> Program:
    """An input, a convolution or dense layer, a dense layer; some have self-synapses."""
    rng = np.random.default_rng(seed)
    image = (int(rng.integers(1, 3)), int(rng.integers(3, 7)), int(rng.integers(3, 7)))
    synapses: list[Synapses] = []
    if rng.random() < 0.5:
        groups = image[0] if rng.random() < 0.3 else 1
        channels = groups * int(rng.integers(1, 4))
        kernel = (channels, image[0] // groups, *rng.integers(1, 4, 2).tolist())
        first = Synapses(
            "in->a",
            "in",
            "a",
            "conv2d",
            weights(rng, kernel),
            int(rng.integers(0, 8)),
            image,
            (),
            stride=tuple(rng.integers(1, 3, 2).tolist()),
            padding=tuple(rng.integers(0, 2, 2).tolist()),
            dilation=(1, 1),
            groups=groups,
        )
        size = [
            (n + 2 * p - k) // s + 1
            for n, p, k, s in zip(image[1:], first.padding, kernel[2:], first.stride, strict=True)
        ]
        shape: tuple[int, ...] = (channels, *size)
    else:
        shape = (int(rng.integers(1, 12)),)
        matrix = weights(rng, (shape[0], int(np.prod(image))))
        first = Synapses("in->a", "in", "a", "dense", matrix, int(rng.integers(-4, 8)), image, ())
    synapses.append(replace(first, out_shape=shape))
    count = int(np.prod(shape))
    last = (int(rng.integers(1, 8)),)
    synapses.append(
        Synapses(
            "a->b",
            "a",
            "b",
            "dense",
            weights(rng, (last[0], count)),
            int(rng.integers(-4, 8)),
            shape,
            last,
        )
    )
    populations = []
    for name, its_shape, depth in (("a", shape, 1), ("b", last, 2)):
        n = int(np.prod(its_shape))
        kind = "both" if rng.random() < 0.7 else "voltage"
        values = {
            key: value.reshape(its_shape) if value.size > 1 else value
            for key, value in registers(rng, n, kind).items()
        }
        populations.append(Neurons(name, its_shape, depth, values, np.ones(1)))
        if rng.random() < 0.5:
            synapses.append(
                Synapses(
                    f"{name}->{name}",
                    name,
                    name,
                    "one-to-one",
                    weights(rng, (n,)),
                    int(rng.integers(0, 8)),
                    its_shape,
                    its_shape,
                )
            )
    return Program(
        "loihi2", (InputPort("in", image),), tuple(populations), tuple(synapses), ("b",), {}
    )


def random_inputs(program: Program, seed: int, samples: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, 1])
    shape = (samples, STEPS, *program.inputs[0].shape)
    return {"in": (rng.random(shape) < rng.uniform(0.05, 0.9)).astype(np.uint8)}


def assert_equal(program: Program, lava: Trace, ours: Trace) -> None:
    for population in program.populations:
        name = population.name
        np.testing.assert_array_equal(ours.spikes[name], lava.spikes[name], err_msg=f"{name}.s")
        for state in ("u", "v"):
            np.testing.assert_array_equal(
                ours.states[name][state], lava.states[name][state], err_msg=f"{name}.{state}"
            )


class Reached:
    """How often the rare paths of the arithmetic were taken, so that the test is not vacuous."""

    def __init__(self) -> None:
        self.networks = self.spikes = self.wraps = self.saturations = 0

    def add(self, program: Program, trace: Trace) -> None:
        self.networks += 1
        for population in program.populations:
            states = trace.states[population.name]
            self.spikes += int(trace.spikes[population.name].sum())
            saturated = np.abs(states["potential"]) == arithmetic.STATE_LIMIT - 1
            self.saturations += int(saturated.sum())
            jumps = np.abs(np.diff(states["u"], axis=1)) > arithmetic.STATE_LIMIT
            self.wraps += int(jumps.sum())


@pytest.fixture(scope="module")
def reached() -> Reached:
    return Reached()


@settings(
    max_examples=RUNS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seeds=st.lists(
        st.integers(0, 2**32 - 1),
        min_size=NETWORKS_PER_RUN,
        max_size=NETWORKS_PER_RUN,
        unique=True,
    )
)
def test_random_networks_equal_lava(seeds: list[int], reached: Reached) -> None:
    """Two samples back to back, so that the resets between samples are compared too."""
    programs = [random_program(seed) for seed in seeds]
    inputs = [random_inputs(p, seed, 2) for p, seed in zip(programs, seeds, strict=True)]
    networks = [to_lava(p, x, states=True) for p, x in zip(programs, inputs, strict=True)]
    results = run(networks, timeout=300)
    for program, x, result in zip(programs, inputs, results, strict=True):
        ours = simulate(program, x, LoihiMachine(), record=("a", "b"))
        assert_equal(program, from_lava(program, x, result), ours)
        reached.add(program, ours)


def test_the_random_networks_reached_the_rare_paths(reached: Reached) -> None:
    assert reached.networks >= 50
    assert reached.spikes > 1000
    assert reached.wraps > 100
    assert reached.saturations > 100


def test_unmodified_lava_without_resets_is_equal() -> None:
    """No scheduled reset at all: Lava's own models from their initial state, one sample."""
    programs = [quiet_start(random_program(seed)) for seed in range(1000, 1008)]
    inputs = [random_inputs(p, seed, 1) for seed, p in enumerate(programs)]
    networks = []
    for program, x in zip(programs, inputs, strict=True):
        network = to_lava(program, x, states=True)
        populations = tuple(
            replace(p, reset=False, start=0, period=None) for p in network.populations
        )
        networks.append(replace(network, populations=populations))
    for program, x, result in zip(programs, inputs, run(networks, timeout=300), strict=True):
        ours = simulate(program, x, LoihiMachine(), record=("a", "b"))
        assert_equal(program, from_lava(program, x, result), ours)


def quiet_start(program: Program) -> Program:
    """Without bias and initial state nothing happens before the first spike arrives."""
    zero = {key: np.array([0]) for key in ("bias_mant", "u0", "v0")}
    populations = tuple(
        replace(p, parameters={**p.parameters, **zero}) for p in program.populations
    )
    return replace(program, populations=populations)


# --- the comparison can fail ---------------------------------------------------------------------


def broken_rounding(state: np.ndarray, factor: np.ndarray) -> np.ndarray:
    return (state * (4096 - factor)) >> 12  # floor instead of toward zero


def broken_comparison(v: np.ndarray, vth: np.ndarray) -> np.ndarray:
    return v >= (vth << 6)  # fires at the threshold too


@pytest.fixture(scope="module")
def lava_case() -> tuple[Program, dict[str, np.ndarray], Trace]:
    """A network on the grid of its threshold, so that potentials often equal it."""
    parameters = {
        "du": np.array([700]),
        "dv": np.array([4096]),
        "vth": np.array([300]),
        "bias_mant": np.array([0]),
        "bias_exp": np.array([0]),
        "u0": np.array([0]),
        "v0": np.array([0]),
    }
    exact = {**parameters, "du": np.array([4095]), "vth": np.array([100])}
    signed = 2 * np.random.default_rng(5).integers(-128, 128, (8, 6))
    program = Program(
        "loihi2",
        (InputPort("in", (6,)),),
        (Neurons("a", (8,), 1, parameters, np.ones(1)), Neurons("b", (4,), 2, exact, np.ones(1))),
        (
            Synapses("in->a", "in", "a", "dense", signed, 0, (6,), (8,)),
            Synapses("a->b", "a", "b", "dense", np.full((4, 8), 50), 0, (8,), (4,)),
        ),
        ("b",),
        {},
    )
    inputs = random_inputs(program, 3, 2)
    (result,) = run([to_lava(program, inputs, states=True)], timeout=120)
    return program, inputs, from_lava(program, inputs, result)


def test_the_intact_arithmetic_passes(lava_case) -> None:
    program, inputs, lava = lava_case
    ours = simulate(program, inputs, LoihiMachine(compiled=False), record=("a", "b"))
    assert_equal(program, lava, ours)
    assert np.count_nonzero(ours.states["b"]["potential"] == 100 << 6) > 10  # ties are there


@pytest.mark.parametrize(
    ("name", "broken"),
    [("decay", broken_rounding), ("fires", broken_comparison)],
    ids=["floor instead of toward zero", ">= instead of >"],
)
def test_a_broken_kernel_is_caught(lava_case, monkeypatch, name, broken) -> None:
    program, inputs, lava = lava_case
    monkeypatch.setattr(arithmetic, name, broken)
    ours = simulate(program, inputs, LoihiMachine(compiled=False), record=("a", "b"))
    with pytest.raises(AssertionError):
        assert_equal(program, lava, ours)


def test_a_missing_step_of_delay_is_caught(lava_case) -> None:
    """Without the chip's own step per layer, another step of Lava's run is read."""
    program, inputs, _ = lava_case
    early = replace(
        program, populations=tuple(replace(p, depth=p.depth - 1) for p in program.populations)
    )
    (result,) = run([to_lava(program, inputs, states=True)], timeout=120)
    ours = simulate(program, inputs, LoihiMachine(), record=("a", "b"))
    with pytest.raises(AssertionError):
        assert_equal(program, from_lava(early, inputs, result), ours)
