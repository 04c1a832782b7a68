"""NIR in: files to `nir.NIRGraph`, and a graph to the `Network` that it means.

NIR's own validation is weak (it accepts NaN, negative time constants and dangling shapes), so
everything is checked here; NIR's type inference is not used.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import nir
import numpy as np

from neurodeploy.errors import FileError, ModelError, NeurodeployError, SemanticsError
from neurodeploy.frontends.hdf5 import check_hdf5
from neurodeploy.frontends.nir_nodes import (
    NEURONS,
    discretise,
    linear_map,
    real_array,
    shape_of,
)
from neurodeploy.frontends.nir_subgraphs import inlined
from neurodeploy.linear import (
    FloatArray,
    LinearMap,
    Scale,
    Shape,
)
from neurodeploy.network import Connection, InputPort, Network, Population
from neurodeploy.semantics import METADATA_KEY, Semantics, from_metadata, to_metadata

logger = logging.getLogger(__name__)

Chains = list[tuple[str, tuple[LinearMap, ...]]]


def read(path: str | Path) -> nir.NIRGraph:
    """Read a `.nir` file.

    Raises
    ------
    FileError
        The file is missing, is not HDF5, is truncated, refers outside itself, declares more data
        than it can hold, or is not a NIR graph.
    """
    path = Path(path)
    check_hdf5(path)
    try:
        graph = nir.read(str(path), type_check=False)
    except Exception as error:  # NIR raises whatever its parsing meets
        raise FileError(
            f"not a readable NIR graph ({type(error).__name__}: {error})",
            node=str(path),
            hint="Write it again with nir.write.",
        ) from error
    if not isinstance(graph, nir.NIRGraph):
        raise FileError(f"holds a {type(graph).__name__}, not a graph", node=str(path))
    return graph


def load(graph: nir.NIRGraph, semantics: Semantics | None = None) -> Network:
    """Turn a NIR graph into the `Network` that it means.

    Parameters
    ----------
    semantics:
        For neurons whose node carries no semantics of its own.  A node's own metadata wins, so a
        file that says what it means is never reinterpreted.

    Raises
    ------
    ModelError
        An unsupported node, an impossible value or shape, a dangling or duplicate edge.
    SemanticsError
        A neuron without semantics, and none given.
    """
    return _Loader(inlined(graph), semantics).network()


class _Loader:
    """Walks one graph in topological order and collects what each node delivers."""

    def __init__(self, graph: nir.NIRGraph, semantics: Semantics | None) -> None:
        self.graph = graph
        self.semantics = semantics
        self.order, self.late = _order(graph)
        self.shapes: dict[str, Shape] = {}
        self.chains: dict[str, Chains] = {}
        self.constants: dict[str, FloatArray] = {}
        self.inputs: list[InputPort] = []
        self.populations: dict[str, Population] = {}
        self.gains: dict[str, FloatArray] = {}
        self.connections: list[Connection] = []
        self.outputs: list[str] = []
        self.metadata: dict[str, dict[str, Any]] = {}

    def network(self) -> Network:
        for name in self.order:
            try:
                self._visit(name, self.graph.nodes[name])
            except NeurodeployError as error:
                if error.node is None:
                    error.node = name
                raise
            except (ValueError, TypeError, IndexError, OverflowError, MemoryError) as error:
                raise ModelError(f"invalid parameters: {error}", node=name) from error
        for source, target in sorted(self.late):
            # These spikes arrive one step later; a constant acts from the start.
            self._connect(source, target, delay=1)
        annotated = _annotate(self.graph, self.metadata)
        return Network(
            tuple(self.inputs),
            tuple(self.populations.values()),
            tuple(self.connections),
            tuple(dict.fromkeys(self.outputs)),
            annotated,
        )

    def _sources(self, name: str) -> list[str]:
        return [a for a, b in self.graph.edges if b == name and (a, b) not in self.late]

    def _visit(self, name: str, node: nir.NIRNode) -> None:
        sources = self._sources(name)
        if isinstance(node, nir.Input):
            self._input(name, shape_of(node.input_type.get("input")))
            return
        if not sources:
            raise ModelError("nothing is connected to its input", node=name)
        shapes = {self.shapes[source] for source in sources}
        if len(shapes) != 1:
            raise ModelError(f"inputs of different shapes meet: {sorted(shapes)}", node=name)
        shape = shapes.pop()
        if isinstance(node, nir.Output):
            self._output(name, sources)
        elif isinstance(node, NEURONS):
            self._neurons(name, node, sources, shape)
        else:
            op, bias = linear_map(node, shape)
            self._linear(name, sources, op, bias)

    def _input(self, name: str, shape: Shape) -> None:
        self.inputs.append(InputPort(name, shape))
        self._deliver(name, shape)

    def _deliver(self, name: str, shape: Shape) -> None:
        """Let `name` be a source of spikes: a chain of no maps, and no constant."""
        self.shapes[name] = shape
        self.chains[name] = [(name, ())]
        self.constants[name] = np.zeros(shape)

    def _linear(
        self, name: str, sources: list[str], op: LinearMap, bias: FloatArray | None
    ) -> None:
        self.shapes[name] = op.out_shape
        self.chains[name] = [
            (start, (*ops, op)) for source in sources for start, ops in self.chains[source]
        ]
        constant = op.apply(np.sum([self.constants[source] for source in sources], axis=0))
        self.constants[name] = constant if bias is None else constant + bias

    def _neurons(
        self, name: str, node: nir.LIF | nir.IF | nir.CubaLIF, sources: list[str], shape: Shape
    ) -> None:
        entries = from_metadata(node.metadata, node=name) or {}
        semantics = self._semantics(name, entries)
        steps = discretise(node, shape, semantics, str(entries.get("dtype", "")))
        self.gains[name] = steps.gain
        threshold = real_array(node.v_threshold, shape, "v_threshold")
        self.populations[name] = Population(
            name, shape, steps.current_decay, steps.decay, threshold, steps.leak, semantics
        )
        self.metadata[name] = {**entries, "semantics": semantics.to_dict()}
        self._deliver(name, shape)
        for source in sources:
            self._connect(source, name, delay=0)

    def _connect(self, source: str, name: str, *, delay: int) -> None:
        """Lead what `source` delivers into a population: connections, and its constant as bias."""
        gain, population = self.gains[name], self.populations[name]
        if self.shapes[source] != population.shape:
            raise ModelError(
                f"{source!r} delivers {self.shapes[source]} to a layer of {population.shape}",
                node=name,
            )
        for start, ops in self.chains[source]:
            ops = ops if np.all(gain == 1.0) else (*ops, Scale(gain))
            path = 1 + sum((c.source, c.target) == (start, name) for c in self.connections)
            self.connections.append(Connection(start, name, ops, path, delay))
        bias = population.bias + self.constants[source] * gain
        self.populations[name] = replace(population, bias=bias)

    def _semantics(self, name: str, entries: Mapping[str, Any]) -> Semantics:
        own = entries.get("semantics")
        if own is not None:
            if not isinstance(own, dict):
                raise FileError(f"its semantics are {own!r}, not a table", node=name)
            return Semantics.from_dict(own, node=name)
        if self.semantics is None:
            raise SemanticsError(
                "the file does not say what a time step means (dt, reset, comparison)",
                node=name,
                hint="Choose it: semantics=Semantics(dt=…, reset=…), or --dt, --reset and "
                "--reset-timing on the command line.",
            )
        logger.info("%s: semantics chosen by the caller: %s", name, self.semantics)
        return self.semantics

    def _output(self, name: str, sources: list[str]) -> None:
        for source in sources:
            if source not in self.populations:
                raise ModelError(
                    f"the output reads {source!r}, which is not a neuron",
                    node=name,
                    hint='End the model with a neuron, for instance Leaky(reset_mechanism="none").',
                )
            self.outputs.append(source)


def plain(graph: nir.NIRGraph) -> dict[str, Any]:
    """A graph as plain data and arrays, with our metadata only; `nir.dict2NIRNode` reads it back.

    What other tools keep in metadata may be anything, and a program needs none of it.
    """
    tree: dict[str, Any] = graph.to_dict()
    for node in (tree, *tree["nodes"].values()):
        own = node.get("metadata", {})
        node["metadata"] = {key: own[key] for key in own if key == METADATA_KEY}
    return tree


def _order(graph: nir.NIRGraph) -> tuple[list[str], set[tuple[str, str]]]:
    """Node names, sources before targets, and the edges that close cycles.

    Where everything that is left waits in a cycle, it is opened at the neuron that something
    already ordered leads to (of several, the first by name): its other edges arrive one step later.
    """
    waiting = {name: {a for a, b in graph.edges if b == name} for name in graph.nodes}
    order: dict[str, None] = {}
    late: set[tuple[str, str]] = set()
    while waiting:
        ready = sorted(name for name, sources in waiting.items() if not sources - set(order))
        if not ready:
            ready = [_opening(graph, waiting, set(order))]
            late |= {(source, ready[0]) for source in waiting[ready[0]] - set(order)}
        for name in ready:
            order[name] = None
            del waiting[name]
    return list(order), late


def _opening(graph: nir.NIRGraph, waiting: Mapping[str, set[str]], done: set[str]) -> str:
    """The neuron at which a cycle is opened."""
    for name in sorted(waiting):
        if isinstance(graph.nodes[name], NEURONS) and waiting[name] & done:
            return name
    raise ModelError(
        f"the graph has a cycle through {', '.join(sorted(waiting))} that no neuron with another "
        "input opens"
    )


def _annotate(graph: nir.NIRGraph, metadata: Mapping[str, dict[str, Any]]) -> nir.NIRGraph:
    """The same graph with every neuron's semantics in its metadata; the argument is unchanged."""
    nodes = dict(graph.nodes)
    for name, entries in metadata.items():
        entries = {key: value for key, value in entries.items() if key != "schema"}
        merged = {**nodes[name].metadata, **to_metadata(**entries)}
        nodes[name] = cast(nir.NIRNode, replace(nodes[name], metadata=merged))
    return nir.NIRGraph(nodes, list(graph.edges), dict(graph.metadata), type_check=False)
