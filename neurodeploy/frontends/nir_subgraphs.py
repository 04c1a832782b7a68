"""Graphs within a NIR graph: inlined, so that the loader sees one level."""

from __future__ import annotations

import nir

from neurodeploy.errors import ModelError

MAX_DEPTH = 32


def inlined(graph: nir.NIRGraph, depth: int = 0) -> nir.NIRGraph:
    """The same graph with every subgraph's nodes in its place, named `subgraph.node`.

    What leads to a subgraph leads to what its Input leads to, and likewise for its Output.

    Raises
    ------
    ModelError
        A subgraph with several inputs or outputs, or none; an edge to a node that does not exist;
        nesting deeper than 32.
    """
    if depth > MAX_DEPTH:
        raise ModelError(f"subgraphs are nested deeper than {MAX_DEPTH}")
    if not any(isinstance(node, nir.NIRGraph) for node in graph.nodes.values()):
        return graph
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[tuple[str, str]] = []
    heads: dict[str, list[str]] = {}
    tails: dict[str, list[str]] = {}
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name], heads[name], tails[name] = node, [name], [name]
            continue
        inner = inlined(node, depth + 1)
        entry, leave = (_only(inner, kind, name) for kind in (nir.Input, nir.Output))
        nodes |= {f"{name}.{n}": x for n, x in inner.nodes.items() if n not in (entry, leave)}
        heads[name] = [f"{name}.{b}" for a, b in inner.edges if a == entry]
        tails[name] = [f"{name}.{a}" for a, b in inner.edges if b == leave]
        edges += [
            (f"{name}.{a}", f"{name}.{b}") for a, b in inner.edges if a != entry and b != leave
        ]
        if (entry, leave) in inner.edges:
            raise ModelError("its input leads straight to its output", node=name)
    for a, b in graph.edges:
        for end in (a, b):
            if end not in graph.nodes:
                raise ModelError(f"an edge names the node {end!r}, which does not exist")
        edges += [(x, y) for x in tails[a] for y in heads[b]]
    return nir.NIRGraph(nodes, edges, metadata=dict(graph.metadata), type_check=False)


def _only(graph: nir.NIRGraph, kind: type[nir.NIRNode], name: str) -> str:
    found = [n for n, node in graph.nodes.items() if isinstance(node, kind)]
    if len(found) != 1:
        raise ModelError(f"the subgraph has {len(found)} {kind.__name__} nodes", node=name)
    for a, b in graph.edges:
        for end in (a, b):
            if end not in graph.nodes:
                raise ModelError(f"an edge names the node {end!r}, which does not exist", node=name)
    return str(found[0])
