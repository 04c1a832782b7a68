"""What is said of a network and the model that it was made from."""

from __future__ import annotations

import json

import nir
import numpy as np
import pytest

from neurodeploy import reference
from neurodeploy.equivalence.imported import Comparison, compare_import
from neurodeploy.errors import FileError
from neurodeploy.network import Network
from neurodeploy.trace import Trace
from tests.builders import NONE, lif, network, spikes_for

SPIKES = {"input": spikes_for(0, 3, 10, (4,))}


def model() -> Network:
    """Two layers with a leaky integrator between them."""
    rng = np.random.default_rng(1)
    return network(
        (4,),
        fc=nir.Linear(rng.normal(0.5, 0.5, (5, 4))),
        lif1=lif(np.full(5, 0.75)),
        last=nir.Linear(rng.normal(0.5, 0.5, (3, 5))),
        filter=nir.LI(*lif_li(3), metadata=lif([0.5], semantics=NONE).metadata),
        more=nir.Linear(np.eye(3) * 3),
        lif2=lif(np.full(3, 0.5)),
    )


def lif_li(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    node = lif(np.full(size, 0.5))
    return node.tau, node.r, node.v_leak


def spikes_of(net: Network) -> dict[str, np.ndarray]:
    found = reference.simulate(net, SPIKES).spikes
    return {name: found[name].copy() for name in ("lif1", "lif2")}


def test_an_equal_model() -> None:
    net = model()
    found = compare_import(net, SPIKES, Trace(spikes_of(net)))
    assert found.passed
    assert str(found) == "every spike of 240 cells is equal"
    assert (found.samples, found.steps, found.first) == (3, 10, None)
    assert [layer.population for layer in found.layers] == ["lif1", "lif2"]
    assert all(layer.expected_spikes > 10 for layer in found.layers)


def test_the_first_difference_comes_with_its_margin() -> None:
    net = model()
    source = spikes_of(net)
    source["lif2"][1, 4, 2] ^= 1
    source["lif1"][2, 6, 0] ^= 1
    found = compare_import(net, SPIKES, Trace(source))
    trace = reference.simulate(net, SPIKES, record=["lif2"])
    assert not found.passed
    assert found.first is not None
    assert (found.first.cell.population, found.first.cell.step) == ("lif2", 4)
    assert found.first.potential == trace.states["lif2"]["v"][1, 4, 2]
    assert found.first.margin == found.first.potential - 1.0
    assert found.first.expected_spike == bool(source["lif2"][1, 4, 2])
    assert found.unexplained >= 2
    assert "from its threshold" in str(found.first)


def test_it_is_plain_data_and_back() -> None:
    net = model()
    source = spikes_of(net)
    source["lif2"][1, 4, 2] ^= 1
    found = compare_import(net, SPIKES, Trace(source))
    assert Comparison.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize("change", [{"layers": 3}, {"first": {}}, {"samples": None, "more": 1}])
def test_what_is_no_comparison_is_refused(change: dict[str, object]) -> None:
    net = model()
    data = compare_import(net, SPIKES, Trace(spikes_of(net))).to_dict()
    with pytest.raises(FileError, match="cannot be read"):
        Comparison.from_dict({**data, **change})
