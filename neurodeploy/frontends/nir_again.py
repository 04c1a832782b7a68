"""A network as a NIR graph again: what a network means whose weights were changed after loading.

Neurons keep their nodes; between them stands one node for each connection, after a Flatten or a
Delay where it needs them.  Loading the graph gives the network back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import nir
import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.frontends.nir_nodes import POPULATIONS, share_of
from neurodeploy.linear import Conv2d, FloatArray
from neurodeploy.lowering import only_map
from neurodeploy.network import Connection, Network, Population
from neurodeploy.semantics import Semantics, to_metadata


def graph_of(network: Network) -> nir.NIRGraph:
    """The graph that means `network`, every connection of which is one `Dense` or `Conv2d`.

    Thresholds, biases and weights are the network's, time constants and semantics those of the
    nodes of `network.graph`.  Biases stand in the node of a connection; where they differ within a
    channel of a convolution, in the neurons' `v_leak`, of which only float32 is certain.

    Raises
    ------
    ModelError
        A matrix onto neurons of more than one axis, which no node of NIR is; a bias that neither
        a connection nor the neurons can hold.
    """
    nodes: dict[str, nir.NIRNode] = {
        port.name: nir.Input({"input": np.array(port.shape)}) for port in network.inputs
    }
    edges: list[tuple[str, str]] = []
    for population in network.populations:
        carrier = _carrier(network, population)
        node = _neurons(network, population, leaking=carrier is None)
        nodes[population.name] = node
        for connection in network.incoming(population.name):
            bias = population.bias if connection is carrier else np.zeros(population.shape)
            chain = dict(_chain(network, connection, population, bias))
            names = [connection.source, *chain, population.name]
            nodes |= chain
            edges += pairwise(names)
    for name in network.outputs:
        output = _free(f"{name}.output", nodes)
        nodes[output] = nir.Output({"output": np.array(network.shapes[name])})
        edges.append((name, output))
    return nir.NIRGraph(nodes, edges, type_check=False)


def _free(name: str, nodes: dict[str, nir.NIRNode]) -> str:
    while name in nodes:
        name += "'"
    return name


def _carrier(network: Network, population: Population) -> Connection | None:
    """The connection whose node holds the population's bias; None where none can."""
    flat = population.bias.reshape(len(population.bias), -1)
    even = bool(np.all(flat == flat[:, :1]))
    found = [
        connection
        for connection in network.incoming(population.name)
        if even or not isinstance(only_map(connection), Conv2d)
    ]
    return min(found, key=lambda connection: connection.delay, default=None)


def _neurons(network: Network, population: Population, *, leaking: bool) -> nir.NIRNode:
    """The population's node with an input gain of 1, its threshold, and its bias if `leaking`."""
    name, shape, semantics = population.name, population.shape, population.semantics
    node = network.graph.nodes.get(name)
    if not isinstance(node, POPULATIONS):  # a value that is read where no neuron computes it
        one, entries = np.ones(shape), {"semantics": semantics.to_dict()}
        return nir.LI(semantics.dt * one, one, 0 * one, metadata=to_metadata(**entries))
    changes: dict[str, Any] = {}
    if isinstance(node, (nir.IF, nir.I)):
        changes["r"] = np.full(shape, 1.0 / semantics.dt)
    elif isinstance(node, (nir.CubaLIF, nir.CubaLI)):
        changes["r"] = _unit_gain(node.tau_mem, population, semantics)
        changes["w_in"] = _unit_gain(node.tau_syn, population, semantics)
    elif isinstance(node, (nir.LIF, nir.LI)):
        changes["r"] = _unit_gain(node.tau, population, semantics)
        changes["v_leak"] = np.zeros(shape)
        if leaking:
            changes["v_leak"] = population.bias / share_of(node.tau, shape, semantics)
    if leaking and "v_leak" not in changes and np.any(population.bias):
        raise ModelError(
            "its bias differs within a channel of a convolution and its node has no v_leak",
            node=name,
            hint="Use one bias per channel, or neurons with a leak.",
        )
    if population.spiking:
        key = "threshold" if isinstance(node, nir.Threshold) else "v_threshold"
        changes[key] = population.threshold
    return replace(node, **changes)


def _unit_gain(tau: Any, population: Population, semantics: Semantics) -> FloatArray:
    """The factor by which the input's gain becomes 1; see `nir_nodes.discretise`."""
    times = np.broadcast_to(np.asarray(tau, np.float64), population.shape)
    if semantics.integrator == "euler":
        return np.asarray(times / semantics.dt)
    return 1.0 / share_of(times, population.shape, semantics)


def _chain(
    network: Network, connection: Connection, population: Population, bias: FloatArray
) -> Iterator[tuple[str, nir.NIRNode]]:
    """The nodes of a connection in order."""
    op, name = only_map(connection), connection.name
    shape = network.shapes[connection.source]
    if connection.delay:
        dt = population.semantics.dt
        late = np.full(shape, connection.delay * dt)
        yield f"{name}.delay", nir.Delay(late, metadata=to_metadata(dt=dt))
    if isinstance(op, Conv2d):
        yield name, nir.Conv2d(
            op.in_shape[1:], op.weight, op.stride, op.padding, op.dilation, op.groups,
            bias.reshape(len(bias), -1)[:, 0],
        )  # fmt: skip
        return
    if len(op.out_shape) != 1:
        raise ModelError(
            f"is a matrix onto neurons of shape {op.out_shape}, which no node of NIR is",
            node=name,
            hint="Keep pooling and padding such that it stays a convolution, or use flat neurons.",
        )
    if len(op.in_shape) > 1:
        yield f"{name}.flatten", nir.Flatten({"input": np.array(op.in_shape)}, 0, -1)
    yield name, nir.Affine(op.weight, bias) if np.any(bias) else nir.Linear(op.weight)
