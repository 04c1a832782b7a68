"""Programs against files that others recorded: a chip's spikes, and one neuron in Brian2."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np

import neurodeploy as nd
from neurodeploy.network import InputPort
from neurodeploy.program import Program, Synapses
from neurodeploy.targets.spinnaker2 import arithmetic, selftest, ticks
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


def test_a_recurrent_layer_of_a_trained_network_as_the_chip_ran_it() -> None:
    """NIR paper, `03_rnn/s2_apply.py`: 40 neurons `lif_curr_exp_no_delay`, its hidden spikes.

    Of their script: forward Euler, weights scaled so that the largest is 127, reset by subtraction.
    py-spinnaker2 makes integers of the scaled weights by truncation: no other rounding fits.
    """
    folder = DATA / "nir_paper" / "03_rnn"
    nodes = nir.read(folder / "braille_noDelay_noBias_subtract.nir").nodes
    expected = np.load(folder / "s2_activity_noDelay_noBias_subtract.npy")
    weights = [nodes[name].weight.astype(np.float64) for name in ("fc1", "lif1.w_rec")]
    scale = 127 / max(np.abs(weight).max() for weight in weights)
    lif, dt = nodes["lif1.lif"], 1e-4
    gains = (dt / lif.tau_syn * lif.w_in, dt / lif.tau_mem * lif.r)
    assert np.allclose(gains, 1)

    def spikes(rounding: np.ufunc) -> np.ndarray:
        layer = neurons(
            "lif", (40,), "lif_curr_exp_no_delay",
            alpha_decay=1 - dt / lif.tau_mem, exc_decay=1 - dt / lif.tau_syn,
            inh_decay=1 - dt / lif.tau_syn, threshold=lif.v_threshold * scale,
        )  # fmt: skip
        synapses = [
            Synapses(
                f"{source} {port}", source, "lif", "dense",
                np.maximum(sign * rounding(weight * scale), 0).astype(np.int64), 0,
                weight.shape[1:], (40,), port=port,
            )
            for source, weight in zip(("input", "lif"), weights, strict=True)
            for port, sign in (("excitatory", 1), ("inhibitory", -1))
        ]  # fmt: skip
        program = Program(
            "spinnaker2", (InputPort("input", (12,)),), (layer,), tuple(synapses), ("lif",), {}
        )
        touched = np.load(folder / "braille_test0_input.npy")[None]
        trace = nd.run(program, touched)
        cores = {"lif": np.arange(40) // 10}  # as their script has it
        again = ticks.run_ticks(program, {"input": touched}, cores=cores)
        assert np.array_equal(trace.spikes["lif"], again.spikes["lif"])
        # In tick 0 no input has arrived.
        return np.concatenate([np.zeros((1, 40)), trace.spikes["lif"][0, :-1]])

    assert (expected.shape, expected.sum()) == ((256, 40), 119)
    assert np.count_nonzero(spikes(np.trunc) != expected) == 0
    assert np.count_nonzero(spikes(np.rint) != expected) > 50


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
