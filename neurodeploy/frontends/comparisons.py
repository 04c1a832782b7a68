"""What a graph's metadata says of the model that it was made from."""

from __future__ import annotations

from collections.abc import Mapping

import nir

from neurodeploy.equivalence.imported import Comparison
from neurodeploy.errors import FileError
from neurodeploy.semantics import from_metadata, to_metadata

KEY = "comparisons"


def comparisons(graph: nir.NIRGraph) -> dict[str, Comparison]:
    """How equal the graph was found to its model when it was made, by the kind of inputs.

    Empty where it was not compared.

    Raises
    ------
    FileError
        The metadata cannot be read.
    """
    found = (from_metadata(graph.metadata, node="graph") or {}).get(KEY, {})
    if not isinstance(found, dict):
        raise FileError(f"its comparisons are {found!r}, not a table", node="graph")
    return {name: Comparison.from_dict(data) for name, data in found.items()}


def with_comparisons(graph: nir.NIRGraph, found: Mapping[str, Comparison]) -> nir.NIRGraph:
    """The same graph, changed in place: its metadata say what was found."""
    entries = from_metadata(graph.metadata, node="graph") or {}
    data = {name: comparison.to_dict() for name, comparison in found.items()}
    graph.metadata.update(to_metadata(**{**entries, KEY: data}))
    return graph


def without_comparisons(graph: nir.NIRGraph) -> dict[str, str]:
    """The graph's metadata of ours but for its comparisons, which depend on the machine."""
    entries = from_metadata(graph.metadata, node="graph")
    if entries is None:
        return {}
    return to_metadata(**{k: v for k, v in entries.items() if k != KEY})
