"""A merged network as a graph: loading it gives the network back."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import nir
import numpy as np
import pytest

from neurodeploy.errors import ModelError
from neurodeploy.frontends.nir import load
from neurodeploy.frontends.nir_again import graph_of
from neurodeploy.frontends.nir_write import _same
from neurodeploy.network import Network
from tests.builders import (
    AT_ONCE,
    SUBTRACT,
    conv,
    cuba,
    integrator,
    lif,
    merged,
    network,
    small_program,
)

RNG = np.random.default_rng(0)


def again(net: Network) -> Network:
    return merged(load(graph_of(net)))


def recurrent(delay: int) -> Network:
    """A loop of several steps, a branch around it, two outputs, a potential that is read."""
    one = np.ones(4)
    nodes: dict[str, nir.NIRNode] = {
        "input": nir.Input({"input": np.array([3])}),
        "fc": nir.Affine(RNG.normal(0, 1, (4, 3)), RNG.normal(0, 1, 4)),
        "lif": lif(0.75 * one, 2 * one, SUBTRACT, r=3 * one, v_leak=0.1 * one),
        "wait": nir.Delay(np.full(4, delay * SUBTRACT.dt)),
        "loop": nir.Affine(RNG.normal(0, 1, (4, 4)), RNG.normal(0, 1, 4)),
        "out": cuba(0.5 * np.ones(2), 0.75 * np.ones(2)),
        "last": nir.Affine(RNG.normal(0, 1, (2, 4)), RNG.normal(0, 1, 2)),
        "value": nir.Linear(RNG.normal(0, 1, (3, 2))),
        "o1": nir.Output({"output": np.array([4])}),
        "o2": nir.Output({"output": np.array([3])}),
    }
    edges = [*pairwise(("input", "fc", "lif", "last", "out", "value", "o2")), ("lif", "o1")]
    edges += [*pairwise(("lif", "wait", "loop", "lif"))]
    return merged(load(nir.NIRGraph(nodes, edges, type_check=False)))


@pytest.mark.parametrize("delay", [1, 3])
def test_loops_delays_branches_and_outputs(delay: int) -> None:
    net = recurrent(delay)
    assert any(connection.delay == delay for connection in net.connections)
    assert _same(again(net), net)


def test_convolutions_pools_and_thresholds() -> None:
    net, _, _ = small_program()
    assert _same(again(net), net)
    theta = RNG.uniform(1, 2, 8)
    changed = replace(
        net,
        populations=tuple(
            replace(p, threshold=theta, bias=p.bias + 0.25) if p.name == "lif2" else p
            for p in net.populations
        ),
    )
    assert _same(again(changed), changed)
    assert not _same(again(changed), net)


def test_integrators_and_a_bias_of_every_neuron() -> None:
    net = network(
        (2, 4, 4),
        conv=conv(RNG.normal(0, 1, (3, 2, 3, 3)), [0.5, 1, 2], padding=1),
        a=lif(np.full((3, 4, 4), 0.75)),
        wide=conv(RNG.normal(0, 1, (2, 3, 3, 3)), padding=1, groups=1),
        b=integrator(np.full((2, 4, 4), 1.5), AT_ONCE),
        flat=nir.Flatten({"input": np.array([2, 4, 4])}, 0, -1),
        fc=nir.Linear(RNG.normal(0, 1, (3, 32))),
        c=nir.Threshold(np.full(3, 0.5), metadata=lif(np.ones(1) / 2).metadata),
    )
    assert _same(again(net), net)
    first = net.populations[0]
    uneven = replace(first, bias=RNG.integers(-8, 8, first.shape) / 4)
    changed = replace(net, populations=(uneven, *net.populations[1:]))
    assert np.allclose(again(changed).populations[0].bias, uneven.bias, rtol=1e-6)
    second = replace(net.populations[1], bias=RNG.normal(0, 1, (2, 4, 4)))
    with pytest.raises(ModelError, match="its node has no v_leak"):
        graph_of(replace(net, populations=(first, second, net.populations[2])))


def test_a_matrix_onto_an_image_is_refused() -> None:
    net = network(
        (1, 5, 5),
        pool=nir.SumPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, 0])),
        conv=conv(RNG.normal(0, 1, (2, 1, 3, 3)), padding=1),
        lif=lif(np.full((2, 4, 4), 0.75)),
    )
    with pytest.raises(ModelError, match="matrix onto neurons of shape"):
        graph_of(net)
