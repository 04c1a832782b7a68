"""NIR in: files to `nir.NIRGraph`, and a graph to the `Network` that it means.

NIR's own validation is weak (it accepts NaN, negative time constants and dangling shapes), so
everything is checked here; NIR's type inference is not used.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import nir

from neurodeploy.errors import FileError
from neurodeploy.frontends.comparisons import without_comparisons
from neurodeploy.frontends.hdf5 import check_hdf5
from neurodeploy.frontends.nir_joined import joined
from neurodeploy.frontends.nir_loader import Loader
from neurodeploy.frontends.nir_presets import applied
from neurodeploy.frontends.nir_subgraphs import inlined
from neurodeploy.frontends.presets import Preset, preset
from neurodeploy.network import Network
from neurodeploy.semantics import METADATA_KEY, Semantics

SIZES = frozenset(
    ("shape", "input_shape", "input", "output", "kernel_size", "stride", "padding", "dilation",
     "groups", "start_dim", "end_dim", "input_type", "output_type")
)  # fmt: skip
"""Fields of NIR's nodes with which `nir` computes in Python as it reads them."""


def read(path: str | Path) -> nir.NIRGraph:
    """Read a `.nir` file.

    Raises
    ------
    FileError
        The file is missing, is not HDF5, is truncated, refers outside itself, declares more data
        than it can hold, or is not a NIR graph.
    """
    path = Path(path)
    check_hdf5(path, SIZES)
    try:
        graph = nir.read(str(path), type_check=False)
    except Exception as error:  # NIR raises whatever its parsing meets
        raise FileError(
            f"not a readable NIR graph ({type(error).__name__}: {error})",
            node=str(path),
            hint="Write it again with the tool that made it.",
        ) from error
    if not isinstance(graph, nir.NIRGraph):
        raise FileError(f"holds a {type(graph).__name__}, not a graph", node=str(path))
    return graph


def load(graph: nir.NIRGraph, semantics: Semantics | Preset | str | None = None) -> Network:
    """Turn a NIR graph into the `Network` that it means.

    Parameters
    ----------
    semantics:
        For neurons whose node carries no semantics of its own, or the name of a preset, such as
        `norse` (see `frontends.presets`).  A node's own metadata wins, so a file that says what it
        means is never reinterpreted.

    Raises
    ------
    ModelError
        An unsupported node, an impossible value or shape, a dangling or duplicate edge.
    SemanticsError
        A neuron without semantics, and none given; a preset that is unknown, or that cannot say
        what this graph means; a neuron that `write` said in several nodes, of which some were
        changed.
    """
    return means(copy.deepcopy(graph), semantics)


def means(graph: nir.NIRGraph, semantics: Semantics | Preset | str | None = None) -> Network:
    """As `load`, of a graph that nobody changes: the network shares its arrays."""
    return loader(graph, semantics).network()


def loader(graph: nir.NIRGraph, semantics: Semantics | Preset | str | None) -> Loader:
    """What `means` reads the graph with; it also knows what every node delivers."""
    chosen = preset(semantics) if isinstance(semantics, str) else semantics
    flat = inlined(graph)
    if isinstance(chosen, Preset):
        return Loader(joined(applied(flat, chosen)), None)
    return Loader(joined(flat, chosen), chosen)


def plain(graph: nir.NIRGraph) -> dict[str, Any]:
    """A graph as plain data and arrays, with our metadata only; `nir.dict2NIRNode` reads it back.

    What other tools keep in metadata may be anything, and a program needs none of it; nor does it
    need what comparisons found, which may depend on the machine.
    """
    tree: dict[str, Any] = graph.to_dict()
    tree["metadata"] = without_comparisons(graph)
    for node in tree["nodes"].values():
        own = node.get("metadata", {})
        node["metadata"] = {key: own[key] for key in own if key == METADATA_KEY}
    return tree
