"""A preset applied to a NIR graph: the same graph, saying what a time step means.

What a tool does differently from NIR's equations is written out in plain NIR, so that whoever reads
the result needs the preset no longer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import nir
import numpy as np

from neurodeploy.errors import ModelError, SemanticsError
from neurodeploy.frontends.nir_loader import named
from neurodeploy.frontends.nir_nodes import POPULATIONS, real_array, shape_of, share_of
from neurodeploy.frontends.nir_order import Edge, ordered
from neurodeploy.frontends.presets import Preset, Rule
from neurodeploy.linear import FloatArray, Shape
from neurodeploy.semantics import Semantics, from_metadata, to_metadata

STEP_TOLERANCE = 1e-3  # of a step length computed from float32 fields


def applied(graph: nir.NIRGraph, preset: Preset) -> nir.NIRGraph:
    """`graph`, flat, with the meaning that `preset` gives to neurons that carry none.

    Their metadata get `semantics`, and `semantics_from` with the preset's name.  Fields that the
    tool ignores get the value that it acts by.  Spikes that arrive a step later pass a Delay, and a
    bias that acts a step late comes from a neuron that always fires.  The argument is unchanged.

    Raises
    ------
    SemanticsError
        A neuron or field that the preset says nothing about, or branches that its tool joins in an
        order of its own; with node and field.
    ModelError
        A parameter without meaning.
    """
    nodes = dict(graph.nodes)
    bare = [name for name, node in nodes.items() if _is_bare(name, node)]
    if not bare:
        return graph
    for name in bare:
        with named(name):
            nodes[name] = _neuron(nodes[name], preset)
    changed = _with(graph, nodes, graph.edges)
    if preset.sample_axes:
        changed = _without_sample_axes(changed)
    if preset.channels_last:
        changed = _channels_first(changed, preset)
    if preset.own_input:
        changed = _with_own_input(changed)
    if not preset.joins:
        _check_joins(changed, preset)
    if preset.late_bias:
        changed = _late_biases(changed, preset)
    if preset.semantics.edge_delay:
        inputs = [name for name, node in nodes.items() if isinstance(node, nir.Input)]
        changed = _delayed(changed, [*bare, *inputs * preset.delayed_inputs], preset.semantics)
    return changed


def _is_bare(name: str, node: nir.NIRNode) -> bool:
    entries = from_metadata(node.metadata, node=name) or {}
    return isinstance(node, POPULATIONS) and entries.get("semantics") is None


def _with(
    graph: nir.NIRGraph, nodes: dict[str, nir.NIRNode], edges: Iterable[Edge]
) -> nir.NIRGraph:
    return nir.NIRGraph(nodes, list(edges), dict(graph.metadata), type_check=False)


# Neurons


def _neuron(node: Any, preset: Preset) -> nir.NIRNode:
    kind = type(node).__name__
    rule = Rule() if preset.rules is None else preset.rules.get(kind)
    if rule is None:
        raise SemanticsError(
            f"the semantics {preset.name!r} say nothing about nir.{kind}",
            hint="Choose others, such as euler or exact.",
        )
    for name, value in rule.requires.items():
        _check_field(node, name, value, preset)
    # A delay of every edge is written out as Delay nodes.
    semantics = replace(preset.semantics, **{**rule.changes, "edge_delay": 0})
    entries: dict[str, Any] = {"dtype": preset.dtype} if preset.dtype else {}
    entries |= from_metadata(node.metadata, node=kind) or {}
    entries |= {"semantics": semantics.to_dict(), "semantics_from": preset.name}
    fields = _gains(node, rule, semantics, preset)
    metadata = {**node.metadata, **to_metadata(**entries)}
    return cast(nir.NIRNode, replace(node, **fields, metadata=metadata))


def _check_field(node: Any, name: str, value: float, preset: Preset) -> None:
    if getattr(node, name, None) is None:
        return
    array = _array(node, name)
    wrong = array[~np.isclose(array, value, rtol=1e-6, atol=0)]
    if wrong.size:
        raise SemanticsError(
            f"{name} is {wrong[0]:g}, which {preset.name!r} takes for {value:g}",
            hint=f"Write {value:g} there, or choose other semantics, such as euler or exact.",
        )


def _array(node: Any, name: str) -> FloatArray:
    value = getattr(node, name)
    return real_array(value, np.shape(value), name)


def _gains(node: Any, rule: Rule, semantics: Semantics, preset: Preset) -> dict[str, FloatArray]:
    """The fields r and w_in with which NIR's equations give the tool's weight of the input."""
    if isinstance(node, nir.IF):
        if rule.gain == "file":
            return {}
        per_step = _array(node, "r") if rule.gain == "step" else np.ones(np.shape(node.r))
        return {"r": per_step / semantics.dt}
    if isinstance(node, (nir.LIF, nir.LI)):
        membrane = _share(node, "tau", semantics, preset)
    elif isinstance(node, (nir.CubaLIF, nir.CubaLI)):
        membrane = _share(node, "tau_mem", semantics, preset)
    else:
        return {}
    if preset.r_holds_dt:
        _check_step(node, semantics.dt, preset)
    if rule.gain == "file":
        return {}
    if isinstance(node, nir.CubaLIF):
        synapse = _share(node, "tau_syn", semantics, preset)
        return {"r": 1 / membrane, "w_in": _weight(synapse, rule)}
    return {"r": _weight(membrane, rule)}


def _share(node: Any, name: str, semantics: Semantics, preset: Preset) -> FloatArray:
    try:
        return share_of(_array(node, name), np.shape(getattr(node, name)), semantics)
    except ModelError as error:
        error.hint = preset.hint or error.hint
        raise


def _weight(share: FloatArray, rule: Rule) -> FloatArray:
    """What a share of the input is multiplied with to make it 1, or the decay 1 - share."""
    return (1 - share) / share if rule.gain == "decayed" else 1 / share


def _check_step(node: Any, dt: float, preset: Preset) -> None:
    """Compare dt with the step u τ for which r = exp(-u)/u, that is u exp(u) = 1/r."""
    tau, r = _array(node, "tau_mem" if hasattr(node, "tau_mem") else "tau"), _array(node, "r")
    if r.min() <= 0:
        raise ModelError(f"r is {r.min():g}, expected a positive number")
    u = 1 / (1 + r)
    for _ in range(20):  # Newton's method; the function is convex
        u = u - (u * np.exp(u) - 1 / r) / ((1 + u) * np.exp(u))
    found = np.ravel(u * tau)
    if np.any(np.abs(found - dt) > STEP_TOLERANCE * dt):
        raise SemanticsError(
            f"r says that a step is {found[0]:g} s, and {preset.name!r} that it is {dt:g} s",
            hint=f"Choose the file's: --dt {found[0]:.4g}.",
        )


# Edges


def _without_sample_axes(graph: nir.NIRGraph) -> nir.NIRGraph:
    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        if isinstance(node, (nir.Input, nir.Output)):
            *axes, size = _declared(name, node)
            if math.prod(axes) == 1:
                nodes[name] = type(node)(np.array([size]))
    return _with(graph, nodes, graph.edges)


def _declared(name: str, node: nir.NIRNode) -> Shape:
    """The shape of its input that a node declares."""
    with named(name):
        return shape_of((node.input_type or {}).get("input"))


def _channels_first(graph: nir.NIRGraph, preset: Preset) -> nir.NIRGraph:
    """Weights written for (height, width, channels), flattened, as those for channels first."""
    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        shape = _declared(name, node) if isinstance(node, nir.Flatten) else ()
        if len(shape) < 2:
            continue
        order = np.arange(math.prod(shape)).reshape(*shape[1:], shape[0])
        columns = np.moveaxis(order, -1, 0).ravel()
        for target in (b for a, b in graph.edges if a == name):
            layer = nodes[target]
            dense = isinstance(layer, (nir.Affine, nir.Linear)) and np.ndim(layer.weight) == 2
            if not dense or np.shape(layer.weight)[1] != columns.size:
                raise SemanticsError(
                    f"{preset.name!r} has the channels last here, which can be written out for a "
                    f"dense layer of {columns.size} inputs only",
                    node=target,
                )
            weight = np.asarray(layer.weight)[:, columns]
            nodes[target] = cast(nir.NIRNode, replace(layer, weight=weight))
    return _with(graph, nodes, graph.edges)


def _with_own_input(graph: nir.NIRGraph) -> nir.NIRGraph:
    """Let what reaches a neuron by its recurrent weights only reach it directly."""
    edges = list(graph.edges)
    for name, node in graph.nodes.items():
        sources = {a for a, b in edges if b == name}
        if not isinstance(node, POPULATIONS) or len(sources) != 1:
            continue
        (weights,) = sources
        around = {a for a, b in edges if b == weights} - {name}
        if (name, weights) in edges and {b for a, b in edges if a == weights} == {name}:
            edges = [(a, name if b == weights and a in around else b) for a, b in edges]
    return _with(graph, graph.nodes, edges)


def _check_joins(graph: nir.NIRGraph, preset: Preset) -> None:
    _, late = ordered(graph)
    for name in graph.nodes:
        sources = sorted(a for a, b in graph.edges if b == name and (a, b) not in late)
        if len(sources) > 1:
            raise SemanticsError(
                f"{' and '.join(sources)} meet here, in an order that {preset.name!r} leaves open",
                node=name,
                hint="Choose semantics that add them up in the same step, such as euler.",
            )


def _late_biases(graph: nir.NIRGraph, preset: Preset) -> nir.NIRGraph:
    """Biases between a population and an edge that closes a cycle, as spikes of a neuron.

    y = W x + b becomes y = W x + b S with S = 1 in every step, so that b passes what S passes.
    """
    _, late = ordered(graph)
    on_the_way = [source for source, _ in late]
    for name in on_the_way:
        if not isinstance(graph.nodes[name], (*POPULATIONS, nir.Delay)):
            on_the_way += [a for a, b in graph.edges if b == name and a not in on_the_way]
    for name in sorted(set(on_the_way)):
        if np.any(getattr(graph.nodes[name], "bias", 0)):
            graph = _with_neuron_as_bias(graph, name, preset)
    return graph


def _with_neuron_as_bias(graph: nir.NIRGraph, name: str, preset: Preset) -> nir.NIRGraph:
    node = graph.nodes[name]
    if not isinstance(node, nir.Affine) or np.ndim(node.weight) != 2:
        raise SemanticsError(
            f"its bias acts one step late under {preset.name!r}, which is written out for dense "
            "layers only",
            node=name,
            hint="Choose semantics under which it acts at once, such as euler.",
        )
    source, start = next((n, x) for n, x in graph.nodes.items() if isinstance(x, nir.Input))
    shape = _declared(source, start)
    with named(name):
        bias = real_array(node.bias, np.shape(node.weight)[:1], "bias")
    semantics = replace(preset.semantics, reset="zero", integrator="euler")
    # dv/dt = (1 - v)/dt: one Euler step leads to 1 from anywhere.
    one, none = np.ones(1), np.zeros(1)
    neuron = nir.LIF(
        tau=one * semantics.dt,
        r=none,
        v_leak=one,
        v_threshold=one / 2,
        v_reset=none,
        metadata=to_metadata(semantics=semantics.to_dict(), semantics_from=preset.name),
    )
    weight, flat, feed, always, spread = (
        _free(f"{name}.{part}", graph.nodes)
        for part in ("weight", "flat", "feed", "always", "bias")
    )
    nodes = {
        **graph.nodes,
        name: nir.Scale(np.ones(len(bias))),
        weight: nir.Linear(node.weight),
        flat: nir.Flatten({"input": np.array(shape)}, 0, -1),
        feed: nir.Linear(np.zeros((1, math.prod(shape)))),
        always: neuron,
        spread: nir.Linear(bias[:, None]),
    }
    edges = [(a, weight if b == name else b) for a, b in graph.edges]
    path = (source, flat, feed, always, spread, name)
    return _with(graph, nodes, [*edges, (weight, name), *pairwise(path)])


def _delayed(graph: nir.NIRGraph, starts: list[str], semantics: Semantics) -> nir.NIRGraph:
    """Let what `starts` send arrive later, but for what an Output reads."""
    nodes, names = dict(graph.nodes), {}
    seconds = semantics.edge_delay * semantics.dt
    read = {name for name, node in nodes.items() if isinstance(node, nir.Output)}
    for source in starts:
        if not any(a == source and b not in read for a, b in graph.edges):
            continue
        node, names[source] = nodes[source], _free(f"{source}.delay", nodes)
        spiking = not isinstance(node, nir.Input)
        shape = np.shape(node.v_threshold) if spiking else _declared(source, node)
        delay = nir.Delay(np.full(shape, seconds), metadata=to_metadata(dt=semantics.dt))
        nodes[names[source]] = delay
    edges = [(a if b in read else names.get(a, a), b) for a, b in graph.edges]
    return _with(graph, nodes, [*edges, *names.items()])


def _free(name: str, nodes: Mapping[str, nir.NIRNode]) -> str:
    """`name`, or one like it that no node has."""
    return name if name not in nodes else _free(f"{name}_", nodes)
