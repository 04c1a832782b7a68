"""Programs against files that others recorded: a chip's spikes, and one neuron in Brian2."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import neurodeploy as nd
from neurodeploy.network import InputPort
from neurodeploy.program import Program, Synapses
from neurodeploy.targets.spinnaker2 import arithmetic, selftest
from tests.targets.spinnaker2.drawn import neurons

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RECORDING = DATA / "spinnaker2_dnf" / "chip_spikes_lif_curr_exp_incremental.txt"


def recorded() -> np.ndarray:
    """Spikes of the chip, bool (400 ticks, 400 neurons)."""
    neuron, tick = np.loadtxt(RECORDING, delimiter=",", dtype=int).T
    spikes = np.zeros((selftest.TICKS, selftest.NEURONS), bool)
    spikes[tick, neuron] = True
    assert (neuron.size, spikes.sum()) == (10_188, 10_188)
    return spikes


def test_every_cell_of_the_chips_recording() -> None:
    expected = recorded()
    spikes = selftest.raster(nd.run(selftest.program(), selftest.inputs()))
    assert expected.size == 160_000
    assert np.count_nonzero(spikes != expected) == 0
    assert selftest.digest(expected) == selftest.SHA256


def test_one_neuron_as_py_spinnaker2_had_brian2_run_it() -> None:
    """NIR paper, `01_lif/lif_spinnaker2.csv`: input spikes, potential after the reset, spikes.

    Float64 states and float32 parameters; tau = 25 steps, a weight of 1 rounded on a grid of 102.02
    to 102, threshold 2.5.
    """
    x, v, fired = np.loadtxt(DATA / "nir_paper" / "01_lif" / "lif_spinnaker2.csv", delimiter=",").T
    assert fired.sum() == 4
    alpha, threshold, unit = np.float32(0.96), np.float32(2.5 * 102.02), 102.02
    state, potentials, spikes = np.float64(0), [], []
    for total in 102 * x:
        potential = arithmetic.integrate(state, total, np.float64(alpha), 0.0)
        spikes.append(arithmetic.fires(potential, threshold))
        state = arithmetic.reset(potential, spikes[-1], threshold, np.float64(0), True)
        potentials.append(state / unit)
    assert np.array_equal(spikes, fired)
    assert np.abs(np.array(potentials) - v).max() < 7e-16

    neuron = neurons("n", (1,), "lif_no_delay", reset=1, alpha_decay=alpha, threshold=threshold)
    synapses = Synapses("s", "x", "n", "one-to-one", np.array([102]), 0, (1,), (1,))
    program = Program(
        "spinnaker2", (InputPort("x", (1,)),), (neuron,), (synapses,), ("n",), {}
    )  # fmt: skip
    trace = nd.run(program, x.reshape(1, -1, 1), record=["n"])
    assert np.array_equal(trace.spikes["n"].ravel(), fired)
    assert np.abs(trace.states["n"]["v"].ravel() / unit - v).max() < 1e-6
