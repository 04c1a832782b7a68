"""What a written graph says of a model's semantics, and what an importer makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neurodeploy.equivalence.compare import Layer, compare
from neurodeploy.frontends.nir import means
from neurodeploy.frontends.nir_nodes import POPULATIONS, Steps, discretise, real_array
from neurodeploy.frontends.nir_split import INTEGRATORS, NEURONS, beyond_reset, own_semantics
from neurodeploy.linear import FloatArray
from neurodeploy.network import Network
from neurodeploy.reference import simulate
from neurodeploy.semantics import Semantics, from_metadata, to_metadata
from neurodeploy.trace import Inputs

SEED, SAMPLES, STEPS, DENSITY = 0, 4, 64, 0.25
UNIT = 4 * float(np.finfo(np.float64).eps)
"""How far an input gain may be from 1 and still be the rounding of r dt/tau."""


def portable(graph: nir.NIRGraph) -> nir.NIRGraph:
    r"""The graph with neurons as common importers take them: LIF, IF or CubaLIF of input gain 1.

    With forward Euler and step dt that is :math:`r = \tau / dt`, IF :math:`r = 1/dt`, CubaLIF
    :math:`w_{in} = \tau_{syn} / dt` too.  Time constants of a model with exact integration become
    those of the same decay by Euler, :math:`\tau = dt / (1 - \beta)`.  Another gain g is divided
    out of threshold and leak, :math:`\theta / g`, which changes no spike; where it cannot be (a
    potential that is read, an initial state, g not positive) r keeps it.

    Raises
    ------
    SemanticsError
        A neuron without semantics in its metadata.
    """
    nodes = {
        name: _portable(node, name) if isinstance(node, NEURONS) else node
        for name, node in graph.nodes.items()
    }
    return nir.NIRGraph(nodes, list(graph.edges), metadata=dict(graph.metadata), type_check=False)


def _portable(node: Any, name: str) -> Any:
    semantics, entries = own_semantics(node, name)
    shape = np.shape(node.v_threshold)
    steps = discretise(node, shape, semantics, str(entries.get("dtype", "")))
    leaky = not isinstance(node, nir.IF)
    euler = semantics.integrator == "euler" or not leaky
    if euler and np.all(np.abs(steps.gain - 1) <= UNIT):
        return node
    if not euler and max(steps.decay.max(), steps.current_decay.max()) == 1:
        return node  # there is no time constant for it
    free = entries.get("readout") != "membrane" and semantics.initial_state == 0
    scale = steps.gain if free and np.all(steps.gain > 0) else np.ones(shape)
    with np.errstate(over="ignore", invalid="ignore"):
        theta = real_array(node.v_threshold, shape, "v_threshold") / scale
        changes = {**_parameters(node, steps, scale, semantics), "v_threshold": theta}
    if theta.min() <= 0 or not all(np.all(np.isfinite(value)) for value in changes.values()):
        return node  # beyond the range of float64
    own = {**entries, "semantics": replace(semantics, integrator="euler").to_dict()}
    return replace(node, **changes, metadata={**node.metadata, **to_metadata(**own)})


def _parameters(
    node: Any, steps: Steps, scale: FloatArray, semantics: Semantics
) -> dict[str, FloatArray]:
    """What by Euler means the same as `steps`, with the potential divided by `scale`."""
    dt, gain = semantics.dt, steps.gain / scale
    if isinstance(node, nir.IF):
        return {"r": gain / dt}

    def time_constant(value: Any, decay: FloatArray) -> FloatArray:
        if semantics.integrator == "exact":
            return np.asarray(dt / (1 - decay))
        return real_array(value, gain.shape, "tau")

    if isinstance(node, nir.CubaLIF):
        tau_mem = time_constant(node.tau_mem, steps.decay)
        tau_syn = time_constant(node.tau_syn, steps.current_decay)
        leak = np.zeros(gain.shape) if steps.leak is None else steps.leak
        times = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": leak / scale * tau_mem / dt}
        return {**times, "r": tau_mem / dt, "w_in": gain * tau_syn / dt}
    tau = time_constant(node.tau, steps.decay)
    return {"tau": tau, "r": gain * tau / dt, "v_leak": steps.bias / scale * tau / dt}


# What is said


@dataclass(frozen=True)
class Statement:
    """How a file says what a time step of a population means.

    Attributes
    ----------
    nodes: the kinds of NIR nodes that are the population.
    reset: its kind and timing.
    only_in_metadata: what the nodes do not say: fields of `Semantics`, and `readout`.
    """

    population: str
    nodes: tuple[str, ...]
    reset: str
    only_in_metadata: tuple[str, ...]


def statements(graph: nir.NIRGraph) -> tuple[Statement, ...]:
    """How `graph`, as it is written, says the semantics of every population.

    dt and integrator are in the metadata alone, as NIR says nothing of time steps.
    """
    parts = _parts(graph)
    inside = {part for own in parts.values() for part in own.values()}
    return tuple(_statement(graph, name, parts[name]) for name in parts if name not in inside)


def _parts(graph: nir.NIRGraph) -> dict[str, dict[str, str]]:
    """The populations by name, and which nodes those are that `split` made several of."""
    names = [name for name in sorted(graph.nodes) if isinstance(graph.nodes[name], POPULATIONS)]
    entries = {
        name: from_metadata(graph.nodes[name].metadata, node=name) or {}
        for name in names
        if isinstance(graph.nodes[name], INTEGRATORS)
    }
    return {name: entries.get(name, {}).get("parts", {}) for name in names}


def _statement(graph: nir.NIRGraph, name: str, parts: Mapping[str, str]) -> Statement:
    node = graph.nodes[name]
    semantics, entries = own_semantics(node, name)
    order = (parts.get("current"), name, parts.get("threshold"), parts.get("reset"))
    nodes = tuple(type(graph.nodes[part]).__name__ for part in order if part is not None)
    missing, meaning = list(beyond_reset(semantics)), str(semantics.reset)
    if semantics.reset != "none":
        meaning = f"{meaning}, {semantics.reset_timing}"
    if isinstance(node, NEURONS):
        if meaning not in ("zero, immediate", "zero, delayed"):
            missing.insert(0, "reset")
        if entries.get("readout") == "membrane":
            missing.append("readout")
    return Statement(name, nodes, meaning, tuple(missing))


# What becomes of it


def literal(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph as one reads it who knows dt and nothing else of ours.

    Neurons are then what NIR's equations say by forward Euler: reset to zero, at once, where the
    potential is above the threshold.
    """
    parts = _parts(graph)
    owner = {part: name for name, own in parts.items() for part in own.values()}
    nodes = dict(graph.nodes)
    for name in parts:
        whole = owner.get(name, name)
        dt = own_semantics(graph.nodes[whole], whole)[0].dt
        metadata = to_metadata(semantics=Semantics(dt=dt).to_dict())
        nodes[name] = replace(graph.nodes[name], metadata=metadata)
    return nir.NIRGraph(nodes, list(graph.edges), metadata={}, type_check=False)


def deviation(
    network: Network, graph: nir.NIRGraph, inputs: Inputs | None = None
) -> tuple[Layer, ...]:
    """Spikes of `network` against those of `graph` taken literally, by the reference.

    Parameters
    ----------
    inputs:
        Spikes or currents (samples, steps, *shape) per input; if None, those of `random_spikes`.

    Returns
    -------
    tuple of Layer
        For every population that spikes in both, how many entries differ.

    Raises
    ------
    SemanticsError
        The reference does not define the semantics of a population.
    InputError
        `inputs` do not fit.
    """
    given = random_spikes(network) if inputs is None else inputs
    taken = means(literal(graph))
    silent = {p.name for net in (network, taken) for p in net.populations if not p.spiking}
    names = [p.name for p in network.populations if p.name not in silent]
    return compare(simulate(network, given), simulate(taken, given), names)


def random_spikes(network: Network) -> dict[str, NDArray[np.uint8]]:
    """Seeded random spikes for every input: 4 samples, 64 steps, a quarter of the entries."""
    rng = np.random.default_rng(SEED)
    return {
        port.name: (rng.random((SAMPLES, STEPS, *port.shape)) < DENSITY).astype(np.uint8)
        for port in network.inputs
    }
