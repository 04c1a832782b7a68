"""SpiNNaker2 programs against what others published of theirs.

The tutorial's N-MNIST network (bvogginger/NIR_Tutorial_at_NICE_2024; `scnn_mnist.nir` is the NIR
paper's `cnn_sinabs.nir`), and the spikes of the hidden layer that the NIR paper stores as
SpiNNaker2's (neuromorphs/NIR @7232ada, paper/03_rnn: `s2_apply.py` runs sample 0 on a chip, by
forward Euler with dt = 1e-4 and scaled weights, and saves
`s2_activity_noDelay_noBias_subtract.npy`).
"""

from __future__ import annotations

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.semantics import Semantics
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.spinnaker2.lowering import lower
from neurodeploy.targets.spinnaker2.machine import SpiNNaker2Machine
from neurodeploy.targets.spinnaker2.options import Options
from tests.builders import merged, recorded, spikes_for
from tests.conformance.conftest import DATA

UPSTREAM = Options(upstream=True)
BRAILLE = DATA / "03_rnn" / "braille_noDelay_noBias_subtract.nir"


def test_the_tutorials_network_has_the_tutorials_parameters() -> None:
    net = merged(nd.load(DATA / "02_cnn" / "cnn_sinabs.nir", "norse"))
    program = lower(net, recorded(net, spikes_for(0, 1, 1, (2, 34, 34))), UPSTREAM)
    thresholds = {"1": 70.97803, "3": 126.58856, "6": 203.07148, "10": 107.19018, "12": 195.74942}
    sizes = {"1": 4096, "3": 4096, "6": 512, "10": 256, "12": 10}
    for population in program.populations:
        name = population.name
        convolved = name in ("1", "3", "6")
        assert population.model == ("lif_conv2d" if convolved else "lif_no_delay")
        assert population.size == sizes.pop(name)
        (threshold,) = population.float_register("threshold").tolist()
        assert threshold == pytest.approx(thresholds[name], abs=1e-5)
        assert population.float_register("alpha_decay").tolist() == [1.0]
        assert population.float_register("i_offset").tolist() == [0.0]
        assert population.register("reset").tolist() == [1]
    assert not sizes
    found = {s.target: (s.kind, s.weight.shape, s.stride, s.padding) for s in program.synapses}
    assert found == {
        "1": ("conv2d", (16, 2, 5, 5), (2, 2), (1, 1)),
        "3": ("conv2d", (16, 16, 3, 3), (1, 1), (1, 1)),
        # sum pooling by 2 and 3 x 3 weights, padded by 1: upstream's pool_x, pool_y
        "6": ("conv2d", (8, 16, 6, 6), (2, 2), (2, 2)),
        "10": ("dense", (256, 512), (1, 1), (0, 0)),
        "12": ("dense", (10, 256), (1, 1), (0, 0)),
    }
    assert program.synapses[3].weight.size == 131_072
    assert program.synapses[4].weight.size == 2_560


def test_the_spikes_that_spinnaker2_recorded() -> None:
    """None of 10,200 cells differs: 255 steps, 40 recurrent neurons, 119 spikes.

    At depth 1 the chip spikes a tick later than the model.
    """
    net = merged(nd.load(BRAILLE, Semantics(dt=1e-4, reset="subtract")))
    program = lower(net, recorded(net, np.zeros((1, 1, 12), np.uint8)), UPSTREAM)
    sample = np.load(DATA / "03_rnn" / "braille_test0_input.npy")[None]
    stored = np.load(DATA / "03_rnn" / "s2_activity_noDelay_noBias_subtract.npy").reshape(256, 40)
    hidden = program.population("lif1.lif")
    assert (hidden.model, hidden.depth) == ("lif_curr_exp_no_delay", 1)
    assert (stored.sum(), stored[0].any()) == (119, False)
    found = simulate(program, sample, SpiNNaker2Machine()).spikes[hidden.name][0]
    assert np.count_nonzero(found[:-1] != stored[1:]) == 0
