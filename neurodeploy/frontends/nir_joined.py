"""Neurons that a NIR graph says in several nodes, joined to the one neuron that they are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import ModelError, NeurodeployError, SemanticsError
from neurodeploy.frontends.nir_nodes import discretise, real_array
from neurodeploy.frontends.nir_split import INTEGRATORS, Links, Parts, own_semantics, split
from neurodeploy.linear import FloatArray, Shape
from neurodeploy.semantics import METADATA_KEY, Semantics, from_metadata, to_metadata

logger = logging.getLogger(__name__)

ULPS = 4
"""How far the factors of a loop may lie apart, in units of the least precise array's precision."""

_KINDS = {"threshold": nir.Threshold, "reset": nir.Scale, "current": nir.LI}

Found = dict[str, tuple[Any, Parts]]
"""By the name of its integrator: a neuron, and the nodes that it is joined from."""


def joined(graph: nir.NIRGraph, semantics: Semantics | None = None) -> nir.NIRGraph:
    """The same graph with every neuron that is said in several nodes as one LIF, IF or CubaLIF.

    What `nir_split.split` made comes back as it was.  Elsewhere a Threshold is joined with the
    integrator before it where nothing but Outputs reads that too, and with the loop from it where
    its factors are -aθ/g for one a > 0 (see `nir_split`), to within 4 units of the precision of
    the least precise array; it then resets by subtraction, delayed, of a thresholds, else never.
    An LI that leads to nothing but such a membrane is its synaptic current.

    Parameters
    ----------
    semantics:
        Has the dt for integrators without semantics of their own; without, these stay as they are.

    Raises
    ------
    SemanticsError
        A neuron that `split` made, of which nodes or edges were changed since.
    """
    found = _declared(graph)
    taken = {part for _, parts in found.values() for part in parts.names()}
    links = Links(graph)
    for name, node in sorted(graph.nodes.items()):
        if isinstance(node, nir.Threshold) and name not in taken:
            found |= _recognised(links, name, semantics)
    return _replaced(graph, found) if found else graph


def _replaced(graph: nir.NIRGraph, found: Found) -> nir.NIRGraph:
    inside = {edge for name, (_, parts) in found.items() for edge in parts.edges(name)}
    owner = {part: name for name, (_, parts) in found.items() for part in parts.names()}
    nodes = {
        name: found[name][0] if name in found else node
        for name, node in graph.nodes.items()
        if name not in owner
    }
    edges = {(owner.get(a, a), owner.get(b, b)) for a, b in graph.edges if (a, b) not in inside}
    return nir.NIRGraph(nodes, sorted(edges), metadata=dict(graph.metadata), type_check=False)


def _neuron(integrator: Any, current: Any, theta: Any) -> Any:
    """The neuron of an integrator, the LI of its synaptic current or None, and its thresholds."""
    if isinstance(integrator, nir.I):
        return nir.IF(**_spread(r=integrator.r, v_threshold=theta))
    rest = {"r": integrator.r, "v_leak": integrator.v_leak, "v_threshold": theta}
    if isinstance(integrator, nir.CubaLI):
        synapse = {"tau_syn": integrator.tau_syn, "w_in": integrator.w_in}
        return nir.CubaLIF(**_spread(tau_mem=integrator.tau_mem, **synapse, **rest))
    if current is None:
        return nir.LIF(**_spread(tau=integrator.tau, **rest))
    synapse = {"tau_syn": current.tau, "w_in": current.r}
    return nir.CubaLIF(**_spread(tau_mem=integrator.tau, **synapse, **rest))


def _spread(**values: Any) -> dict[str, FloatArray]:
    """Float64 arrays of one shape, scalars spread."""
    shape: Shape = max((np.shape(value) for value in values.values()), key=len)
    return {name: real_array(value, shape, name) for name, value in values.items()}


def _entries(graph: nir.NIRGraph, name: str) -> dict[str, Any]:
    return from_metadata(graph.nodes[name].metadata, node=name) or {}


def _semantics(graph: nir.NIRGraph, name: str, chosen: Semantics | None) -> Semantics | None:
    """A node's own semantics, or else those that the caller chose."""
    if "semantics" in _entries(graph, name):
        return own_semantics(graph.nodes[name], name)[0]
    return chosen


# Neurons that `split` made: the metadata say which nodes they are


def _declared(graph: nir.NIRGraph) -> Found:
    found: Found = {}
    for name, node in sorted(graph.nodes.items()):
        if isinstance(node, INTEGRATORS):
            entries = _entries(graph, name)
            if "parts" in entries:
                found[name] = _described(graph, name, entries)
    claimed = set(found)
    for name, (_, parts) in found.items():
        for part in parts.names():
            if part in claimed:
                raise _changed(name, f"its node {part!r}")
            claimed.add(part)
    again = split(_replaced(graph, found), found) if found else graph
    for name, (_, parts) in found.items():
        if name not in again.nodes or _entries(again, name).get("parts") != parts.to_dict():
            raise _changed(name, "the reset")
        near = {name, *parts.names()}
        before, after = ({e for e in g.edges if near & set(e)} for g in (graph, again))
        if before != after:
            a, b = min(before ^ after)
            raise _changed(name, f"the edge {a!r} -> {b!r}")
        if parts.reset is not None and not _same_scale(graph, again, name, parts):
            raise _changed(name, f"the scale of {parts.reset!r}")
    return found


def _same_scale(graph: nir.NIRGraph, again: nir.NIRGraph, name: str, parts: Parts) -> bool:
    loop, expected = graph.nodes[parts.reset], again.nodes[parts.reset].scale
    tolerance = _tolerance(graph.nodes[name], graph.nodes[parts.threshold], loop)
    try:
        scale = real_array(loop.scale, expected.shape, "scale")
    except ModelError:
        return False
    return bool(np.allclose(scale, expected, rtol=tolerance, atol=0))


def _described(graph: nir.NIRGraph, name: str, entries: Mapping[str, Any]) -> tuple[Any, Parts]:
    """The neuron that metadata describe."""
    said = entries["parts"]
    if not isinstance(said, dict) or not set(said) <= set(_KINDS):
        raise _changed(name, f"its parts {said!r}")
    for kind, part in said.items():
        if not isinstance(part, str) or not isinstance(graph.nodes.get(part), _KINDS[kind]):
            raise _changed(name, f"the {kind} {part!r}")
    parts, node = Parts(**said), graph.nodes[name]
    current = None if parts.current is None else graph.nodes[parts.current]
    try:
        if parts.threshold is None:
            theta = np.broadcast_to(np.asarray(entries["v_threshold"], float), np.shape(node.r))
        else:
            theta = graph.nodes[parts.threshold].threshold
        neuron = _neuron(node, current, theta)
    except (KeyError, ValueError, TypeError, NeurodeployError) as error:
        raise _changed(name, f"its parameters ({error})") from error
    kept = {k: v for k, v in entries.items() if k not in ("parts", "v_threshold")}
    neuron.metadata = {**node.metadata, **to_metadata(**kept)}
    return neuron, parts


def _changed(name: str, what: str) -> SemanticsError:
    return SemanticsError(
        f"{what} is not what its metadata say: the graph was changed since it was written",
        node=name,
        hint=f"Remove the node's {METADATA_KEY!r} metadata to have the graph read as it stands.",
    )


# Neurons of other files


def _recognised(links: Links, threshold: str, chosen: Semantics | None) -> Found:
    """The neuron whose Threshold this is, or nothing."""
    graph, sources = links.graph, links.sources[threshold]
    name = min(sources, default=threshold)
    node, theta = graph.nodes[name], graph.nodes[threshold].threshold
    read = links.readouts(name)
    if (
        len(sources) != 1
        or not isinstance(node, INTEGRATORS)
        or links.targets[name] != {threshold, *read}
        or (read and links.readouts(threshold))  # one neuron is read in one way
    ):
        return {}
    semantics, entries = _semantics(graph, name, chosen), _entries(graph, name)
    if semantics is None:
        return {}
    try:
        reset, amount = _loop(links, name, threshold, semantics)
        current = _current(links, name, reset, chosen)
        neuron = _neuron(node, None if current is None else graph.nodes[current], theta)
    except (NeurodeployError, ValueError, TypeError):
        return {}  # the loader says what is wrong with a node
    if not np.all(neuron.v_threshold > 0):
        return {}
    meaning = replace(
        semantics,
        reset="none" if reset is None else "subtract",
        reset_timing="immediate" if reset is None else "delayed",
        reset_amount=amount,
        comparison=(_semantics(graph, threshold, chosen) or semantics).comparison,
    )
    own = {**entries, "semantics": meaning.to_dict()}
    if read:
        own["readout"] = "membrane"
    neuron.metadata = {**node.metadata, **to_metadata(**own)}
    logger.info("%s and %s are one neuron: %s", name, threshold, meaning)
    return {name: (neuron, Parts(threshold, reset, current))}


def _loop(
    links: Links, name: str, threshold: str, semantics: Semantics
) -> tuple[str | None, float]:
    """The Scale that subtracts a thresholds, and a; no Scale and 1 where there is not one such."""
    graph = links.graph
    node, theta = graph.nodes[name], graph.nodes[threshold].threshold
    loops = [
        source
        for source in links.sources[name]
        if isinstance(graph.nodes[source], nir.Scale)
        and (links.sources[source], links.targets[source]) == ({threshold}, {name})
    ]
    if len(loops) != 1 or isinstance(node, nir.CubaLI):
        return None, 1.0
    scale = graph.nodes[loops[0]].scale
    spread = _spread(r=node.r, scale=scale, theta=theta)
    if not np.all(spread["theta"] > 0):
        return None, 1.0
    dtype = str(_entries(graph, name).get("dtype", ""))
    gain = discretise(_neuron(node, None, theta), spread["r"].shape, semantics, dtype).gain
    with np.errstate(over="ignore"):
        amounts = -spread["scale"] * gain / spread["theta"]
    tolerance = _tolerance(node, graph.nodes[threshold], graph.nodes[loops[0]])
    for amount in (1.0, float(np.median(amounts))):
        if amount > 0 and np.allclose(amounts, amount, rtol=tolerance, atol=0):
            return loops[0], amount
    return None, 1.0


def _current(links: Links, name: str, reset: str | None, chosen: Semantics | None) -> str | None:
    """The LI that is the synaptic current of the membrane `name`: without leak, and from rest."""
    graph = links.graph
    rest = links.sources[name] - {reset}
    source = min(rest, default=name)
    if len(rest) != 1 or links.targets[source] != {name}:
        return None
    steps = set()
    for part in (name, source):
        node, semantics = graph.nodes[part], _semantics(graph, part, chosen)
        if not isinstance(node, nir.LI) or np.any(node.v_leak):
            return None
        if semantics is None or semantics.initial_state != 0:
            return None
        dtype = str(_entries(graph, part).get("dtype", ""))
        steps.add((semantics.dt, semantics.integrator, dtype))
    return source if len(steps) == 1 else None


def _tolerance(*nodes: nir.NIRNode) -> float:
    """What the arrays of some nodes leave open, relative to the result."""
    arrays = [value for node in nodes for value in vars(node).values()]
    kinds = [value.dtype for value in arrays if isinstance(value, np.ndarray)]
    floats = [np.dtype(np.float64), *(kind for kind in kinds if kind.kind == "f")]
    return ULPS * max(float(np.finfo(kind).eps) for kind in floats)
