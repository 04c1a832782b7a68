"""The edges of a NIR graph: checked, and graphs within it inlined, so the loader sees one level."""

from __future__ import annotations

import nir

from neurodeploy.errors import ModelError

MAX_DEPTH = 32
MAX_EDGES = 1 << 20


def inlined(graph: nir.NIRGraph, path: tuple[str, ...] = ()) -> nir.NIRGraph:
    """The same graph with every subgraph's nodes in its place, named `subgraph.node`.

    What leads to a subgraph leads to what its Input leads to, and likewise for its Output.  `path`
    names the subgraphs around `graph`.

    Raises
    ------
    ModelError
        A subgraph with several inputs or outputs, or none; an edge to a node that does not exist,
        out of an Output, into an Input, or there twice; nesting deeper than 32;
        more than 2^20 edges in all.
    """
    if len(path) > MAX_DEPTH:
        raise ModelError(f"subgraphs are nested deeper than {MAX_DEPTH}")
    _check_edges(graph, path)
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
        inner = inlined(node, (*path, name))
        entry, leave = (_only(inner, kind, name) for kind in (nir.Input, nir.Output))
        nodes |= {f"{name}.{n}": x for n, x in inner.nodes.items() if n not in (entry, leave)}
        heads[name] = [f"{name}.{b}" for a, b in inner.edges if a == entry]
        tails[name] = [f"{name}.{a}" for a, b in inner.edges if b == leave]
        edges += [
            (f"{name}.{a}", f"{name}.{b}") for a, b in inner.edges if a != entry and b != leave
        ]
        if (entry, leave) in inner.edges:
            raise ModelError("its input leads straight to its output", node=name)
    if sum(len(tails[a]) * len(heads[b]) for a, b in graph.edges) > MAX_EDGES:
        raise ModelError(f"its subgraphs make more than {MAX_EDGES} edges")
    edges += [(x, y) for a, b in graph.edges for x in tails[a] for y in heads[b]]
    return nir.NIRGraph(nodes, edges, metadata=dict(graph.metadata), type_check=False)


def _check_edges(graph: nir.NIRGraph, path: tuple[str, ...]) -> None:
    """Every edge joins two nodes that exist, once, in a direction that means something."""
    seen: set[tuple[str, str]] = set()
    for a, b in graph.edges:
        for name in (a, b):
            if name not in graph.nodes:
                where = ".".join(path) or None
                raise ModelError(
                    f"an edge names the node {name!r}, which does not exist", node=where
                )
        node = ".".join((*path, b))
        if (a, b) in seen:
            raise ModelError(f"the edge {a!r} -> {b!r} is there twice", node=node)
        if isinstance(graph.nodes[a], nir.Output):
            raise ModelError(f"it reads the output {a!r}", node=node)
        if isinstance(graph.nodes[b], nir.Input):
            raise ModelError(f"{a!r} is connected to an input", node=node)
        seen.add((a, b))


def _only(graph: nir.NIRGraph, kind: type[nir.NIRNode], name: str) -> str:
    found = [n for n, node in graph.nodes.items() if isinstance(node, kind)]
    if len(found) != 1:
        raise ModelError(f"the subgraph has {len(found)} {kind.__name__} nodes", node=name)
    return str(found[0])
