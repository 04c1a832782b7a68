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
    sources: dict[str, set[str]] = {name: set() for name in graph.nodes}
    followers: dict[str, set[str]] = {name: set() for name in graph.nodes}
    for source, target in graph.edges:
        sources[target].add(source)
        followers[source].add(target)
    missing = {name: len(own) for name, own in sources.items()}
    order: dict[str, None] = {}
    late: set[Edge] = set()
    ready = [name for name, count in missing.items() if not count]
    while len(order) < len(sources):
        if not ready:
            waiting = {name: own for name, own in sources.items() if name not in order}
            ready = [_opening(graph, waiting, set(order))]
            late |= {(source, ready[0]) for source in waiting[ready[0]] - set(order)}
        order.update(dict.fromkeys(sorted(ready)))
        reached = [name for source in ready for name in followers[source]]
        for name in reached:
            missing[name] -= 1
        ready = [name for name in dict.fromkeys(reached) if not missing[name] and name not in order]
    return list(order), frozenset(late)


def _opening(graph: nir.NIRGraph, waiting: Mapping[str, set[str]], done: set[str]) -> str:
    """The node at which a cycle is opened."""
    for name in sorted(waiting):
        node = graph.nodes[name]
        delay = np.asarray(node.delay if isinstance(node, nir.Delay) else ())
        if delay.size and delay.dtype.kind in "biuf" and delay.min() > 0:  # else refused as it is
            return name
    for name in sorted(waiting):
        if isinstance(graph.nodes[name], POPULATIONS) and waiting[name] & done:
            return name
    raise ModelError(
        f"the graph has a cycle through {', '.join(sorted(waiting))} that no neuron with another "
        "input opens"
    )
