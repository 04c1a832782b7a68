"""Bounds of ternary, adaptive-threshold and resonator neurons: no input leaves them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurodeploy.equivalence.certificate import certify, checked, observed
from neurodeploy.network import InputPort
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_target
from neurodeploy.targets.loihi.models import MODELS

LOIHI = get_target("loihi2")
SIZE, INPUTS, STEPS = 6, 4, 90
TAME: dict[str, tuple[int, int]] = {
    "du": (300, 4095), "dv": (300, 4096), "delta_i": (300, 4095), "delta_v": (300, 4096),
    "delta_theta": (300, 4096), "delta_r": (300, 4096), "bias_mant": (-40, 40), "u0": (-90, 90),
    "v0": (-900, 900), "i0": (-90, 90), "r0": (-900, 900), "vth_hi": (0, 60), "vth_lo": (-60, 0),
    "theta_0": (0, 3000), "theta_step": (-500, 2000), "vth": (1, 900), "decay_bits": (12, 12),
    "sin_decay": (-2500, 2500), "cos_decay": (-3000, 3000), "state_exp": (0, 3), "bias_exp": (0, 3),
}  # fmt: skip


def program(model: str, seed: int) -> Program:
    rng = np.random.default_rng(seed)
    spec = MODELS[model]
    parameters = {
        name: rng.integers(*TAME[name], 1 if name in spec.single else SIZE, endpoint=True)
        for name in spec.registers
    }
    neurons = Neurons("n", (SIZE,), 1, parameters, np.ones(1), model=model, graded=spec.graded)
    synapses = [
        Synapses(
            f"x->n.{port}", "x", "n", "dense", 2 * rng.integers(-40, 40, (SIZE, INPUTS)), 0,
            (INPUTS,), (SIZE,), port=port,
        )
        for port in spec.ports
    ]  # fmt: skip
    if not spec.graded and "current" in spec.ports:
        own = 2 * rng.integers(-40, 40, SIZE)
        synapses.append(Synapses("n->n", "n", "n", "one-to-one", own, 0, (SIZE,), (SIZE,)))
    port = InputPort("x", (INPUTS,))
    return Program("loihi2", (port,), (neurons,), tuple(synapses), ("n",), {})


def pushed(made: Program, seed: int) -> np.ndarray[Any, Any]:
    """Inputs that drive each neuron up and down, and in turns of many lengths, and noise."""
    rng = np.random.default_rng(seed)
    weight = np.concatenate([s.weight for s in made.synapses if s.kind == "dense"])
    sets = [(side * weight > 0).astype(np.uint8) for side in (1, -1)]
    trains = [np.repeat(one[:, None], STEPS, axis=1) for one in sets]
    for turn in (1, 2, 3, 5, 9, 17):
        up = (np.arange(STEPS) // turn % 2 == 0)[None, :, None]
        trains.append(np.where(up, sets[0][:, None], sets[1][:, None]))
    trains.append((rng.random((8, STEPS, INPUTS)) < rng.random((8, 1, 1))).astype(np.uint8))
    return np.concatenate(trains)


@pytest.mark.parametrize("model", ["ternary-lif", "atrlif", "rf", "rf-iz"])
def test_no_input_leaves_the_bounds(model: str) -> None:
    reached: dict[str, list[float]] = {}
    for seed in range(6):
        made = program(model, seed)
        (item,) = checked(made, LOIHI)
        trace = simulate(made, pushed(made, seed), LOIHI.machine, record=["n"])
        found = observed(made, LOIHI, item, trace)
        assert set(found) == {register.name for register in item.registers}
        for register in item.registers:
            values = found[register.name]
            if register.fits:
                assert (register.low <= values.min(axis=(0, 1))).all(), (seed, register.name)
                assert (values.max(axis=(0, 1)) <= register.high).all(), (seed, register.name)
                states = trace.states["n"][register.name].reshape(len(values), STEPS, -1)
                assert (register.low <= states.min(axis=(0, 1))).all()
                assert (states.max(axis=(0, 1)) <= register.high).all()
                wide = np.maximum(register.high - register.low, 1)
                reached.setdefault(register.name, []).append(
                    float((np.ptp(values, (0, 1)) / wide).max())
                )
    assert set(reached) == set(MODELS[model].states)
    for name, shares in reached.items():  # and they are not much too wide
        assert np.median(shares) > 0.4, (name, shares)


def test_a_resonator_that_does_not_decay_is_not_proven() -> None:
    made = program("rf", 0)
    (neurons,) = made.populations
    parameters = {**neurons.parameters, "cos_decay": np.array([4096]), "sin_decay": np.array([0])}
    still = Neurons("n", (SIZE,), 1, parameters, np.ones(1), model="rf", graded=False)
    kept = Program("loihi2", made.inputs, (still,), made.synapses, ("n",), {})
    (item,) = checked(kept, LOIHI)
    assert not any(register.fits for register in item.registers)
    certified = certify(kept, LOIHI)
    assert certified.unknown == ()
    assert certified.status != "proven"
