"""The order in which a NIR graph is read: sources first, cycles opened where they may be."""

from __future__ import annotations

from collections.abc import Mapping

import nir
import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.frontends.nir_nodes import POPULATIONS

Edge = tuple[str, str]


def ordered(graph: nir.NIRGraph) -> tuple[list[str], frozenset[Edge]]:
    """Node names, sources before targets, and the edges that close cycles.

    Where everything that is left waits in a cycle, it is opened at a node that does not need all of
    its inputs to be known: a Delay, or else a population that something already ordered leads to
    (of several, the first by name).  What reaches that node along its other edges comes from the
    steps before.

    Raises
    ------
    ModelError
        A cycle without a Delay that no population with another input opens.
    """
    waiting = {name: {a for a, b in graph.edges if b == name} for name in graph.nodes}
    order: dict[str, None] = {}
    late: set[Edge] = set()
    while waiting:
        ready = sorted(name for name, sources in waiting.items() if not sources - set(order))
        if not ready:
            ready = [_opening(graph, waiting, set(order))]
            late |= {(source, ready[0]) for source in waiting[ready[0]] - set(order)}
        for name in ready:
            order[name] = None
            del waiting[name]
    return list(order), frozenset(late)


def _opening(graph: nir.NIRGraph, waiting: Mapping[str, set[str]], done: set[str]) -> str:
    """The node at which a cycle is opened."""
    for name in sorted(waiting):
        node = graph.nodes[name]
        if isinstance(node, nir.Delay) and np.size(node.delay) and np.min(node.delay) > 0:
            return name
    for name in sorted(waiting):
        if isinstance(graph.nodes[name], POPULATIONS) and waiting[name] & done:
            return name
    raise ModelError(
        f"the graph has a cycle through {', '.join(sorted(waiting))} that no neuron with another "
        "input opens"
    )
