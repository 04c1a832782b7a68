"""Depths, delays and relays: when spikes arrive."""

from __future__ import annotations

import nir
import numpy as np
import pytest

from neurodeploy.linear import Dense
from neurodeploy.network import Connection, InputPort, Network, Population
from neurodeploy.timing import closed_too_soon, depths, waiting
from tests.builders import SUBTRACT

ONE = np.ones(1)


def wired(*edges: tuple[str, str, int]) -> Network:
    """Populations a, b, c, d of one neuron, fed by `x`; edges are (source, target, delay)."""
    populations = tuple(
        Population(name, (1,), 0 * ONE, ONE / 2, ONE, 0 * ONE, SUBTRACT) for name in "abcd"
    )
    count: dict[tuple[str, str], int] = {}
    connections = []
    for source, target, delay in edges:
        count[source, target] = count.get((source, target), 0) + 1
        op = Dense(np.ones((1, 1)), (1,), (1,))
        connections.append(Connection(source, target, (op,), count[source, target], delay))
    graph = nir.NIRGraph({}, [], type_check=False)
    return Network((InputPort("x", (1,)),), populations, tuple(connections), ("d",), graph)


def test_depths_are_the_longest_paths() -> None:
    net = wired(("x", "a", 0), ("a", "b", 0), ("x", "c", 3), ("b", "d", 0), ("c", "d", 0))
    depth = depths(net)
    assert depth == {"x": 0, "a": 1, "b": 2, "c": 1, "d": 3}
    assert [waiting(c, depth) for c in net.connections] == [0, 0, 3, 0, 1]


def test_a_loop_passes_its_synapses_one_by_one() -> None:
    net = wired(("x", "a", 0), ("a", "a", 1), ("a", "b", 0), ("b", "c", 0), ("c", "a", 3))
    depth = depths(net)
    assert not [*closed_too_soon(net, "Loihi 2")]
    assert (depth["a"], depth["b"], depth["c"]) == (1, 2, 3)
    assert [waiting(c, depth) for c in net.connections] == [0, 0, 0, 0, 0]


def test_what_a_late_connection_reaches_is_as_deep() -> None:
    """d reaches b a step later, so b is as deep as d, and its input waits."""
    net = wired(("x", "a", 0), ("x", "c", 0), ("c", "d", 0), ("d", "b", 1), ("x", "b", 0))
    depth = depths(net)
    assert depth == {"x": 0, "a": 1, "b": 2, "c": 1, "d": 2}
    assert [waiting(c, depth) for c in net.connections] == [0, 0, 0, 0, 1]


def test_connections_of_no_step_and_of_two() -> None:
    """An input that is a's bias, and one whose sums reach b a step later; c's bias waits."""
    net = wired(("x", "a", 0), ("a", "b", 0), ("x", "b", 0), ("a", "c", 0), ("x", "c", 0))
    names = [c.name for c in net.connections]
    assert names[2:] == ["x->b", "a->c", "x->c"]
    steps = {"x->a": 0, "x->b": 2, "x->c": 0}
    depth = depths(net, steps)
    assert depth == {"x": 0, "a": 0, "b": 2, "c": 1, "d": 1}
    found = {c.name: waiting(c, depth, steps.get(c.name, 1)) for c in net.connections}
    assert found == {"x->a": 0, "a->b": 1, "x->b": 0, "a->c": 0, "x->c": 1}


@pytest.mark.parametrize(
    ("edges", "named"),
    [
        ([("a", "b", 0), ("b", "a", 1)], ["b->a"]),
        ([("a", "b", 0), ("b", "c", 0), ("c", "a", 2)], ["c->a"]),
        ([("a", "b", 0), ("b", "a", 1), ("c", "d", 0), ("d", "c", 1)], ["b->a", "d->c"]),
        ([("a", "c", 0), ("c", "b", 1), ("b", "a", 1), ("a", "d", 0)], ["b->a"]),
    ],
)
def test_loops_that_are_too_fast_are_all_named(
    edges: list[tuple[str, str, int]], named: list[str]
) -> None:
    found = [*closed_too_soon(wired(("x", "a", 0), *edges), "Loihi 2")]
    assert sorted(str(error.node) for error in found) == named
    assert all("synapses, each of which takes a step" in str(error) for error in found)
