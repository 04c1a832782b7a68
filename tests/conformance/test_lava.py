"""Our integer arithmetic against Lava itself: everything sent and every state, bit by bit.

Random programs over all of Lava's fixed-point processes (`lava_programs`), with registers up to the
ends of their ranges.  Lava is required: without its environment these tests fail, they are not
skipped.  `lava_random` runs the same comparison over any number of networks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurodeploy.program import Neurons, Program
from neurodeploy.targets.loihi import arithmetic, arithmetic_neurons
from neurodeploy.targets.loihi.arithmetic_synapses import effective_weights
from neurodeploy.targets.loihi.lava import runner
from neurodeploy.targets.loihi.lava.runner import (
    LavaInput,
    LavaNetwork,
    LavaPopulation,
    LavaSynapse,
    run,
)
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.models import MODELS
from neurodeploy.targets.loihi.vendor import from_lava, to_lava
from neurodeploy.trace import Trace
from tests.conformance.lava_programs import Case, random_case
from tests.conformance.lava_random import (
    Reached,
    cases,
    differences,
    in_lava,
    in_simulator,
    judge,
)

NETWORKS = 66
Known = list[tuple[Case, Trace]]


@pytest.fixture(scope="module")
def known() -> Known:
    """Random cases with what Lava made of them."""
    chosen = cases(NETWORKS)
    return list(zip(chosen, in_lava(chosen), strict=True))


def test_random_networks_equal_lava(known: Known, capsys: pytest.CaptureFixture[str]) -> None:
    """Two samples back to back, so that the resets between samples are compared too."""
    reached = Reached()
    found = judge([case for case, _ in known], [lava for _, lava in known], reached)
    with capsys.disabled():
        sys.stdout.write(f"\n{reached}\n")
    assert found == []
    assert reached.networks >= 60
    assert reached.values > 100_000
    assert reached.messages > 10_000
    everything = {*MODELS, "dense", "one-to-one", "conv", "delay", "graded", "graded, counted",
                  "recurrent", "feedback", "several paths", "direct", "reset interval",
                  "input bias", "input imag", "input second"}  # fmt: skip
    assert not everything - set(reached.features)
    kinds = {"dense", "sparse", "delayed dense", "delayed sparse", "conv2d", "direct"}
    assert kinds == set(reached.processes)
    assert min(reached.events.values()) > 100
    assert len(reached.events) == 4


def quiet(case: Case) -> Case:
    """One sample, and nothing happens in any population before its first message arrives."""
    silent = {key: np.array([0]) for key in ("bias", "bias_mant", "u0", "v0", "i0", "r0")}

    def still(population: Neurons) -> Neurons:
        registers = {k: v for k, v in population.parameters.items() if k != "reset_offset"}
        registers.pop("reset_interval", None)
        registers |= {key: value for key, value in silent.items() if key in registers}
        for threshold in ("vth", "theta_0"):
            if threshold in registers:
                registers[threshold] = np.maximum(registers[threshold], 1)
        return replace(population, parameters=registers)

    populations = tuple(still(p) for p in case.program.populations)
    inputs = {name: sent[:1] for name, sent in case.inputs.items()}
    return replace(case, program=replace(case.program, populations=populations), inputs=inputs)


def test_unmodified_lava_without_resets_is_equal() -> None:
    """No scheduled reset at all: Lava's own models from their initial state, one sample."""
    chosen = [quiet(random_case(5000 + i, model)) for i, model in enumerate(MODELS)]
    networks = []
    for case in chosen:
        network = to_lava(case.program, case.inputs, states=True)
        populations = tuple(
            replace(p, reset=False, start=0, period=None) for p in network.populations
        )
        synapses = tuple(replace(s, forget=None) for s in network.synapses)
        networks.append(replace(network, populations=populations, synapses=synapses))
    for case, result in zip(chosen, run(networks, timeout=300), strict=True):
        lava = from_lava(case.program, case.inputs, result)
        assert differences(case, lava, in_simulator(case, LoihiMachine())) == []


# --- weights --------------------------------------------------------------------------------------


def test_effective_weights_are_those_that_lava_multiplies_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights of any size, sign mode and precision, wipe-outs included, read column by column."""
    monkeypatch.setattr(runner, "validate", lambda network: None)
    rng = np.random.default_rng(0)
    populations, synapses, expected = [], [], {}
    limits = ((-300, 300), (0, 300), (-300, 0), (-100, 100))
    for index in range(24):
        low, high = limits[index % 4]
        weight = rng.integers(low, high, (9, 5), endpoint=True)
        mode, bits = rng.choice(["mixed", "excitatory", "inhibitory"]), int(rng.integers(0, 12))
        kind = "sparse" if index % 3 == 0 else "dense"
        name = f"n{index}"
        populations.append(LavaPopulation(name, (9,), {}, "sigma"))
        synapses.append(LavaSynapse(f"w{index}", "in", name, kind, weight, 0, mode, bits, 8))
        expected[name] = effective_weights(weight, mode, bits)
    one_at_a_time = np.concatenate([np.eye(5, dtype=np.int64), np.zeros((1, 5), np.int64)])
    inputs = (LavaInput("in", (5,), one_at_a_time, graded=True),)
    (result,) = run(
        [LavaNetwork("weights", 6, inputs, tuple(populations), tuple(synapses))], timeout=120
    )
    for name, weight in expected.items():
        sums = result.recorded[name]["s"].astype(np.int64)
        np.testing.assert_array_equal(np.diff(sums, axis=0).T, weight, err_msg=name)
    assert any(not weight.any() for weight in expected.values())  # wiped out


# --- the comparison can fail ----------------------------------------------------------------------


def floor(state: np.ndarray, factor: np.ndarray) -> np.ndarray:
    return (state * (4096 - factor)) >> 12


def at_threshold(v: np.ndarray, vth: np.ndarray) -> np.ndarray:
    return v >= (vth << 6)


def above_threshold(*args: Any) -> Any:
    """As Lava's docstring has it: |d| > vth."""
    *states, vth, cum_error = args
    return ENCODE(*states, vth + 1, cum_error)


ENCODE = arithmetic_neurons.encode_delta
MUTATIONS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "decay: floor instead of toward zero": (arithmetic, "decay", floor),
    "LIF: >= instead of >": (arithmetic, "fires", at_threshold),
    "dense: no wrap": (arithmetic, "dense_activation", lambda x, e: x << e if e > 0 else x >> -e),
    "conv: 32 bits": (arithmetic, "wrap_int24", arithmetic.wrap_int32),
    "RF: floor instead of toward zero": (arithmetic_neurons, "toward_zero", lambda x, n: x >> n),
    "sigma-delta: > instead of >=": (arithmetic_neurons, "encode_delta", above_threshold),
    "delta: rounded message": (
        arithmetic_neurons, "delta_message", lambda x, n: (x + ((1 << n) >> 1)) >> n),
    "graded: |-2^31| is 2^31": (arithmetic_neurons, "abs_int32", abs),
}  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_arithmetic_is_caught(
    known: Known, monkeypatch: pytest.MonkeyPatch, mutation: str
) -> None:
    monkeypatch.setattr(*MUTATIONS[mutation])
    machine = LoihiMachine(compiled=False)
    assert any(differences(case, lava, in_simulator(case, machine)) for case, lava in known)


def shifted(program: Program) -> Program:
    """One step of delay less wherever there is one."""
    synapses = tuple(replace(s, delay=np.maximum(s.delay - 1, 0)) for s in program.synapses)
    return replace(program, synapses=synapses)


def test_a_missing_step_of_delay_is_caught(known: Known) -> None:
    recurrent = [(c, lava) for c, lava in known if {"recurrent", "delay"} <= c.features]
    broken = [
        (replace(case, program=shifted(case.program)), lava)
        for case, lava in recurrent
        if not {"several paths", "direct"}
        & case.features  # their delays are what makes them causal
    ]
    assert any(differences(c, lava, in_simulator(c, LoihiMachine())) for c, lava in broken)
