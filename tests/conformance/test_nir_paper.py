"""The reference against spikes that the NIR paper's authors stored.

Pedersen et al., Nature Communications 2024; files of neuromorphs/NIR `paper/03_rnn` at 7232ada: a
trained recurrent network of CUBA neurons, one test sample (decoded from a figure), and the first
layer's spikes as snnTorch and Norse produced them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodeploy import api
from neurodeploy.errors import FileError
from neurodeploy.reference import simulate
from neurodeploy.semantics import Semantics

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "nir_paper" / "03_rnn"
NETWORK = "braille_noDelay_noBias_subtract"


@pytest.mark.parametrize(
    ("framework", "semantics"),
    [
        ("snntorch", Semantics(reset="subtract", reset_timing="held")),
        ("norse", Semantics(reset="zero")),  # the reset that Norse ran in the paper
    ],
)
def test_a_trained_recurrent_network_gives_the_stored_spikes(
    framework: str, semantics: Semantics
) -> None:
    spikes = np.load(FOLDER / "braille_test0_input.npy")[None]
    stored = np.load(FOLDER / f"{framework}_activity_noDelay_noBias_subtract.npy")
    network = api.load(FOLDER / f"{NETWORK}.nir", semantics)
    layer = network.populations[0].name
    assert [c.delay for c in network.incoming(layer)] == [0, 1]
    found = simulate(network, spikes).spikes[layer][0]
    assert found.sum() > 100
    np.testing.assert_array_equal(found, stored.reshape(found.shape))


def test_another_reset_gives_other_spikes() -> None:
    spikes = np.load(FOLDER / "braille_test0_input.npy")[None]
    stored = np.load(FOLDER / "snntorch_activity_noDelay_noBias_subtract.npy")
    network = api.load(FOLDER / f"{NETWORK}.nir", Semantics(reset="subtract"))
    found = simulate(network, spikes).spikes[network.populations[0].name][0]
    assert np.count_nonzero(found != stored.reshape(found.shape)) == 46


def test_a_subgraph_with_a_dangling_edge_is_refused_by_name() -> None:
    with pytest.raises(FileError, match="'lif' which does not exist"):
        api.load(FOLDER / f"{NETWORK}_subgraph.nir", Semantics())
