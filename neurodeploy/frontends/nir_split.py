r"""Neurons said in several NIR nodes, which plain NIR has no single node for.

No field of NIR says how a neuron resets, other than to a potential.  But its nodes can say two more
ways: an integrator that leads to a Threshold never resets, and with a loop of spikes scaled by s
into an integrator of input gain g it subtracts :math:`-s g`, one step after the spike.

    LI -> Threshold -> …          v = βv + g x,  S = v > θ
    Threshold -> Scale(s) -> LI   v = βv + g (x + s S of the step before)

The integrator is the LI, I or CubaLI of the neuron.  A CubaLI's current would filter the spikes of
a loop, so there it is two LI in a row, of which the second, the membrane, closes the loop.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import ModelError, SemanticsError
from neurodeploy.frontends.nir_nodes import discretise, real_array
from neurodeploy.linear import FloatArray
from neurodeploy.semantics import Semantics, diff, from_metadata, to_metadata

NEURONS = (nir.LIF, nir.IF, nir.CubaLIF)
INTEGRATORS = (nir.LI, nir.I, nir.CubaLI)


@dataclass(frozen=True)
class Parts:
    """The nodes of a neuron besides its integrator, which has the neuron's name and metadata.

    threshold: the Threshold; None where only the potential is read.
    reset: the Scale of the loop.
    current: the LI of the synaptic current, where the integrator is the membrane alone.
    """

    threshold: str | None = None
    reset: str | None = None
    current: str | None = None

    def names(self) -> Iterator[str]:
        """The nodes that there are."""
        yield from filter(None, (self.threshold, self.reset, self.current))

    def edges(self, name: str) -> set[tuple[str, str]]:
        """The edges within the neuron `name`."""
        path = (self.current, name, self.threshold, self.reset, name)
        return {(a, b) for a, b in pairwise(path) if a and b}

    def to_dict(self) -> dict[str, str]:
        """Plain data for metadata: the nodes that there are."""
        return {key: value for key, value in asdict(self).items() if value is not None}


class Links:
    """The neighbours of every node of a graph."""

    def __init__(self, graph: nir.NIRGraph) -> None:
        self.graph = graph
        self.sources: dict[str, set[str]] = {name: set() for name in graph.nodes}
        self.targets: dict[str, set[str]] = {name: set() for name in graph.nodes}
        for a, b in graph.edges:
            self.sources[b].add(a)
            self.targets[a].add(b)

    def readouts(self, name: str) -> set[str]:
        """The Outputs that read this node and nothing else."""
        return {
            target
            for target in self.targets[name]
            if isinstance(self.graph.nodes[target], nir.Output) and self.sources[target] == {name}
        }


def own_semantics(node: nir.NIRNode, name: str) -> tuple[Semantics, dict[str, Any]]:
    """A node's semantics and all of our entries in its metadata.

    Raises
    ------
    SemanticsError
        It has none.
    FileError
        They are malformed.
    """
    entries = from_metadata(node.metadata, node=name) or {}
    if not isinstance(entries.get("semantics"), dict):
        raise SemanticsError(
            "its metadata do not say what a time step means",
            node=name,
            hint="Load the graph with the semantics; the network's graph then has them.",
        )
    return Semantics.from_dict(entries["semantics"], node=name), entries


def membrane(node: Any) -> Any:
    """A neuron without its synaptic current."""
    if not isinstance(node, nir.CubaLIF):
        return node
    return nir.LIF(node.tau_mem, node.r, node.v_leak, node.v_threshold, node.v_reset)


def reset_factor(node: Any, semantics: Semantics, dtype: str) -> FloatArray | None:
    r"""The s of a neuron's loop, or None where its nodes cannot say the subtraction.

    :math:`s = -a \theta / g`, and :math:`-\beta a \theta / g` for an immediate reset: what is
    subtracted before the leak decays with the potential.  g is the input gain of the membrane,
    `dtype` as in `nir_nodes.discretise`.
    """
    if semantics.reset != "subtract" or semantics.reset_timing not in ("delayed", "immediate"):
        return None
    shape = np.shape(node.v_threshold)
    steps = discretise(membrane(node), shape, semantics, dtype)
    amount = semantics.reset_amount * real_array(node.v_threshold, shape, "v_threshold")
    if semantics.reset_timing == "immediate":
        amount = steps.decay * amount
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = np.asarray(-amount / steps.gain)
    return factor if np.all(np.isfinite(factor)) else None


def split(graph: nir.NIRGraph, names: Collection[str] | None = None) -> nir.NIRGraph:
    """The same graph with neurons as several nodes, where one node cannot say what they do.

    That is every LIF, IF and CubaLIF (or those of them in `names`) that never resets, or subtracts
    at once or delayed, fires strictly above the threshold and starts at rest.  `nir_joined.joined`
    is the inverse.  Neuron `n` becomes its integrator `n`, `n.threshold`, `n.reset` (the loop) and
    `n.current` (the synaptic current of a CubaLIF with a loop).  What read its spikes reads
    `n.threshold`; an Output that read its potential still reads `n`.

    Raises
    ------
    SemanticsError
        A neuron without semantics in its metadata.
    ModelError
        A parameter is impossible.
    """
    links = Links(graph)
    nodes, found = dict(graph.nodes), dict[str, Parts]()
    kept = set[tuple[str, str]]()
    for name, node in sorted(graph.nodes.items()):
        if not isinstance(node, NEURONS) or (names is not None and name not in names):
            continue
        semantics, entries = own_semantics(node, name)
        try:
            factor = reset_factor(node, semantics, str(entries.get("dtype", "")))
        except ModelError as error:
            error.node = name
            raise
        if (factor is None and semantics.reset != "none") or beyond_reset(semantics):
            continue
        read = links.readouts(name) if entries.get("readout") == "membrane" else set()
        kept |= {(name, output) for output in read}
        loop, cuba = factor is not None, isinstance(node, nir.CubaLIF)
        silent = not loop and bool(read) and read == links.targets[name]
        parts = Parts(
            None if silent else _new(nodes, f"{name}.threshold"),
            _new(nodes, f"{name}.reset") if loop else None,
            _new(nodes, f"{name}.current") if loop and cuba else None,
        )
        nodes |= _nodes(name, node, parts, factor)
        nodes[name].metadata = _marked(node, entries, parts)
        found[name] = parts
    sender = {name: parts.threshold or name for name, parts in found.items()}
    receiver = {name: parts.current or name for name, parts in found.items()}
    edges = {
        (a if (a, b) in kept else sender.get(a, a), receiver.get(b, b)) for a, b in graph.edges
    }
    edges = edges.union(*(parts.edges(name) for name, parts in found.items()))
    return nir.NIRGraph(nodes, sorted(edges), metadata=dict(graph.metadata), type_check=False)


def beyond_reset(semantics: Semantics) -> tuple[str, ...]:
    """The fields, besides the reset, that are other than NIR's equations say.

    dt, integrator and the arithmetic are no part of these equations.
    """
    unsaid = ("reset", "reset_amount", "reset_timing", "rounding", "overflow")
    plain = replace(Semantics(), **{field: getattr(semantics, field) for field in unsaid})
    return tuple(difference.field for difference in diff(semantics, plain, node=""))


def _new(nodes: Mapping[str, nir.NIRNode], stem: str) -> str:
    name, number = stem, 1
    while name in nodes:
        number += 1
        name = f"{stem}_{number}"
    return name


def _nodes(name: str, node: Any, parts: Parts, factor: FloatArray | None) -> dict[str, nir.NIRNode]:
    """The nodes of one neuron."""
    nodes: dict[str, nir.NIRNode] = {}
    if isinstance(node, nir.IF):
        nodes[name] = nir.I(node.r)
    elif isinstance(node, nir.LIF):
        nodes[name] = nir.LI(node.tau, node.r, node.v_leak)
    elif parts.current is None:
        nodes[name] = nir.CubaLI(node.tau_syn, node.tau_mem, node.r, node.v_leak, node.w_in)
    else:
        nodes[name] = nir.LI(node.tau_mem, node.r, node.v_leak)
        nodes[parts.current] = nir.LI(node.tau_syn, node.w_in, np.zeros_like(node.tau_syn))
    if parts.threshold is not None:
        nodes[parts.threshold] = nir.Threshold(node.v_threshold)
    if parts.reset is not None:
        nodes[parts.reset] = nir.Scale(factor)
    return nodes


def _marked(node: Any, entries: Mapping[str, Any], parts: Parts) -> dict[str, Any]:
    """The integrator's metadata: the neuron's, and which nodes it is."""
    own = {**entries, "parts": parts.to_dict()}
    if parts.threshold is None:
        theta = np.asarray(node.v_threshold, np.float64)
        own["v_threshold"] = theta.flat[0] if np.all(theta == theta.flat[0]) else theta.tolist()
    return {**node.metadata, **to_metadata(**own)}
