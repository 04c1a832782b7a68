"""From a flat NIR graph to the `Network` that it means, node by node."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import nir
import numpy as np

from neurodeploy.errors import FileError, ModelError, NeurodeployError, SemanticsError
from neurodeploy.frontends.nir_nodes import (
    MAX_ELEMENTS,
    POPULATIONS,
    SPIKING,
    delays,
    discretise,
    linear_map,
    shape_of,
    threshold_of,
)
from neurodeploy.frontends.nir_order import ordered
from neurodeploy.frontends.presets import PRESETS
from neurodeploy.linear import FloatArray, LinearMap, Scale, Shape
from neurodeploy.network import Connection, InputPort, Network, Population
from neurodeploy.semantics import Semantics, from_metadata, to_metadata

logger = logging.getLogger(__name__)
MAX_PATHS = 4096
"""From neurons and inputs to a node: with every pair of branches there are twice as many."""


@dataclass(frozen=True)
class _Chain:
    """What `start` (an input, a population or an opened Delay) sends, after `ops` and `delay`."""

    start: str
    ops: tuple[LinearMap, ...] = ()
    delay: int = 0


@dataclass(frozen=True, eq=False)
class _Arrival:
    """A chain that ends at a population; `late` where its last edge closes a cycle."""

    chain: _Chain
    target: str
    late: bool


class Loader:
    """Walks one graph in order and collects what each node delivers.

    A Delay at which a cycle is opened is followed back only when all nodes are known.
    """

    def __init__(self, graph: nir.NIRGraph, semantics: Semantics | None) -> None:
        self.graph = graph
        self.semantics = semantics
        self.order, self.late = ordered(graph)
        self.sources: dict[str, list[str]] = {name: [] for name in graph.nodes}
        for source, target in sorted(graph.edges):
            self.sources[target].append(source)
        self.elements = 0
        self.shapes: dict[str, Shape] = {}
        self.chains: dict[str, list[_Chain]] = {}
        self.constants: dict[str, FloatArray] = {}
        self.inputs: list[InputPort] = []
        self.populations: dict[str, Population] = {}
        self.gains: dict[str, FloatArray] = {}
        self.arrivals: list[_Arrival] = []
        self.masks: dict[str, dict[int, FloatArray]] = {}  # of each Delay: which elements wait
        self.opened: set[str] = set()  # Delays at which a cycle is opened
        self.outputs: list[str] = []
        self.metadata: dict[str, dict[str, Any]] = {}

    def network(self) -> Network:
        """The network; raises as `frontends.nir.load` says."""
        for name in self.order:
            with named(name):
                self._visit(name, self.graph.nodes[name])
                self.elements += math.prod(self.shapes.get(name, (0,)))
                if self.elements > MAX_ELEMENTS:
                    raise ModelError(f"with it there are more than {MAX_ELEMENTS} elements")
                if len(self.chains.get(name, ())) > MAX_PATHS:
                    raise ModelError(
                        f"more than {MAX_PATHS} paths lead to it from neurons and inputs",
                        hint="Put neurons between the branches.",
                    )
        for source, target in sorted(self.late):
            with named(target):
                self._close(source, target)
        return Network(
            tuple(self.inputs),
            tuple(self.populations.values()),
            tuple(self._connections()),
            tuple(dict.fromkeys(self.outputs)),
            _annotate(self.graph, self.metadata),
        )

    def _visit(self, name: str, node: nir.NIRNode) -> None:
        if isinstance(node, nir.Input):
            self.inputs.append(InputPort(name, shape_of(node.input_type.get("input"))))
            self._deliver(name, self.inputs[-1].shape)
            return
        everything = self.sources[name]
        sources = [source for source in everything if (source, name) not in self.late]
        if not everything:
            raise ModelError("nothing is connected to its input", node=name)
        if isinstance(node, nir.Delay):
            self._delay(name, node, sources, opened=len(sources) < len(everything))
            return
        shapes = {self.shapes[source] for source in sources}
        if len(shapes) != 1:
            raise ModelError(f"inputs of different shapes meet: {sorted(shapes)}", node=name)
        shape = shapes.pop()
        if isinstance(node, nir.Output):
            self._output(name, node, sources, shape)
        elif isinstance(node, POPULATIONS):
            self._population(name, node, sources, shape)
        else:
            ops, bias = linear_map(node, shape)
            self.shapes[name] = ops[-1].out_shape
            self.chains[name] = [replace(c, ops=(*c.ops, *ops)) for c in self._chains(sources)]
            constant = np.sum([self.constants[source] for source in sources], axis=0)
            for op in ops:
                constant = op.apply(constant)
            self.constants[name] = constant if bias is None else constant + bias

    def _chains(self, sources: list[str]) -> Iterator[_Chain]:
        for source in sources:
            yield from self.chains[source]

    def _deliver(self, name: str, shape: Shape) -> None:
        """Let `name` be a start: a chain of no maps, and no constant."""
        self.shapes[name] = shape
        self.chains[name] = [_Chain(name)]
        self.constants[name] = np.zeros(shape)

    # Populations

    def _population(self, name: str, node: Any, sources: list[str], shape: Shape) -> None:
        entries = from_metadata(node.metadata, node=name) or {}
        semantics = self._semantics(name, entries)
        spiking = isinstance(node, SPIKING)
        if isinstance(node, nir.Threshold) or not spiking:
            semantics = replace(semantics, reset="none", reset_timing="immediate")
        steps = discretise(node, shape, semantics, str(entries.get("dtype", "")))
        self.gains[name] = steps.gain
        origin = {} if "semantics" in entries else {"semantics_from": "caller"}
        self.metadata[name] = {**entries, **origin, "semantics": semantics.to_dict()}
        self._add(
            Population(
                name,
                shape,
                steps.current_decay,
                steps.decay,
                threshold_of(node, shape),
                steps.bias,
                semantics,
                "membrane" if not spiking or entries.get("readout") == "membrane" else "spikes",
                steps.leak,
            )
        )
        for source in sources:
            self._arrive(source, name, late=False)

    def _add(self, population: Population) -> None:
        self.populations[population.name] = population
        self._deliver(population.name, population.shape)

    def _arrive(self, source: str, name: str, *, late: bool) -> None:
        """Lead what `source` delivers into a population: its chains, and its constant as bias."""
        population = self.populations[name]
        if self.shapes[source] != population.shape:
            raise ModelError(
                f"{source!r} delivers {self.shapes[source]} to a layer of {population.shape}",
                node=name,
            )
        self.arrivals += [_Arrival(chain, name, late) for chain in self.chains[source]]
        bias = population.bias + self.constants[source] * self.gains[name]
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
                hint=f"Choose it by name ({', '.join(PRESETS)}) with semantics=… or --semantics, "
                "with single fields in --dt, --reset and so on, or give a Semantics.",
            )
        logger.info("%s: semantics chosen by the caller: %s", name, self.semantics)
        return self.semantics

    # Outputs

    def _output(self, name: str, node: nir.Output, sources: list[str], shape: Shape) -> None:
        declared = shape_of(node.output_type.get("output"))
        if declared != shape:
            raise ModelError(f"is declared as {declared} and gets {shape}", node=name)
        (source, *others) = sources
        if others:
            self._value(name, sources, shape)
        elif source in self.populations:
            self.outputs.append(source)
        else:
            self._value(source, sources, shape)

    def _value(self, name: str, sources: list[str], shape: Shape) -> None:
        """Read a value that no neuron computes: a population that keeps nothing, v = x."""
        if name not in self.populations:
            first = next(iter(self.populations.values()), None)
            if first is None:
                raise ModelError("no neuron leads to it", node=name, hint="Add a LIF population.")
            none = np.zeros(shape)
            semantics = replace(first.semantics, reset="none", reset_timing="immediate")
            theta = np.full(shape, np.inf)
            self.gains[name] = np.ones(shape)
            self.populations[name] = Population(
                name, shape, none, none, theta, none, semantics, "membrane"
            )
            for source in sources:
                self._arrive(source, name, late=False)
        self.outputs.append(name)

    # Delays and cycles

    def _delay(self, name: str, node: nir.Delay, sources: list[str], *, opened: bool) -> None:
        shape = shape_of(np.shape(node.delay))
        entries = from_metadata(node.metadata, node=name) or {}
        dt = self._step(name, entries)
        self.metadata[name] = {**entries, "dt": dt}
        steps = delays(node, shape, dt)
        self.masks[name] = {int(d): (steps == d).astype(np.float64) for d in np.unique(steps)}
        self._deliver(name, shape)
        if not opened:
            self.chains[name] = [
                delayed for source in sources for delayed in self._delayed(source, name)
            ]
        elif 0 in self.masks[name]:
            raise ModelError("closes a cycle and delays some elements by no step", node=name)
        else:
            self.opened.add(name)

    def _step(self, name: str, entries: Mapping[str, Any]) -> float:
        """The dt that a Delay was written for: its own, that of all neurons, or the caller's."""
        if "dt" in entries:
            return Semantics(dt=entries["dt"]).validate(node=name).dt
        every = [
            (from_metadata(node.metadata, node=other) or {}).get("semantics")
            for other, node in self.graph.nodes.items()
        ]
        found = {own["dt"] for own in every if isinstance(own, dict) and "dt" in own}
        if len(found) == 1:
            return Semantics(dt=found.pop()).validate(node=name).dt
        return self._semantics(name, entries).dt

    def _delayed(self, source: str, name: str) -> Iterator[_Chain]:
        """What the Delay `name` makes of what `source` delivers, a chain for each delay in it."""
        if self.shapes[source] != self.shapes[name]:
            raise ModelError(
                f"{source!r} delivers {self.shapes[source]} to a delay of {self.shapes[name]}",
                node=name,
            )
        if np.any(self.constants[source] != 0):
            raise ModelError(
                "delays a constant, which would have to start late",
                node=name,
                hint="Put the Delay before the bias.",
            )
        masks = self.masks[name]
        for chain in self.chains[source]:
            for delay, mask in masks.items():
                ops = chain.ops if len(masks) == 1 else (*chain.ops, Scale(mask))
                yield _Chain(chain.start, ops, chain.delay + delay)

    def _close(self, source: str, target: str) -> None:
        """Add an edge that closes a cycle; a constant that it brings acts from the start."""
        if target in self.populations:
            self._arrive(source, target, late=True)

    def _followed(self, chain: _Chain, through: tuple[str, ...] = ()) -> Iterator[_Chain]:
        """The chain from where it really starts, back through Delays that opened cycles."""
        if chain.start not in self.opened:
            yield chain
            return
        name = chain.start
        if name in through:
            raise ModelError("the cycle holds no neuron", node=name)
        for source in sorted(a for a, b in self.graph.edges if b == name):
            for delayed in self._delayed(source, name):
                for first in self._followed(delayed, (*through, name)):
                    yield _Chain(first.start, (*first.ops, *chain.ops), first.delay + chain.delay)

    def _connections(self) -> Iterator[Connection]:
        count: dict[tuple[str, str], int] = {}
        for arrival in self.arrivals:
            gain = self.gains[arrival.target]
            for chain in self._followed(arrival.chain):
                ops = chain.ops if np.all(gain == 1.0) else (*chain.ops, Scale(gain))
                ends = (chain.start, arrival.target)
                count[ends] = count.get(ends, 0) + 1
                delay = max(chain.delay, 1) if arrival.late else chain.delay
                yield Connection(*ends, ops, count[ends], delay)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Give what is raised inside the name of its node, and make it one of our errors."""
    try:
        yield
    except NeurodeployError as error:
        error.node = error.node or name
        raise
    except (ValueError, TypeError, IndexError, OverflowError, MemoryError) as error:
        raise ModelError(f"invalid parameters: {error}", node=name) from error


def _annotate(graph: nir.NIRGraph, metadata: Mapping[str, dict[str, Any]]) -> nir.NIRGraph:
    """The same graph with the semantics in the nodes' metadata; the argument is unchanged."""
    nodes = dict(graph.nodes)
    for name, entries in metadata.items():
        merged = {**nodes[name].metadata, **to_metadata(**entries)}
        nodes[name] = cast(nir.NIRNode, replace(nodes[name], metadata=merged))
    return nir.NIRGraph(nodes, list(graph.edges), dict(graph.metadata), type_check=False)
