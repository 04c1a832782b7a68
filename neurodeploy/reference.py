"""What a `Network` means: the executable specification, in float64."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import SemanticsError
from neurodeploy.linear import FloatArray
from neurodeploy.network import Network, Population
from neurodeploy.trace import Spikes, Trace, check_inputs, check_names, concatenate

CHUNK_VALUES = 1 << 24


def simulate(
    network: Network,
    inputs: NDArray[Any] | Mapping[str, NDArray[Any]],
    *,
    record: Collection[str] = (),
) -> Trace:
    """Run `network` on spikes (samples, steps, *shape) from its initial state.

    Layer by layer over all steps; in chunks of samples, which bounds memory and changes no bit.

    Parameters
    ----------
    record:
        Populations whose membrane potential `v` (before any immediate reset) and input current
        `x` are kept, float64.
    """
    spikes = check_inputs(inputs, {port.name: port.shape for port in network.inputs})
    check_names(record, [population.name for population in network.populations])
    return concatenate([_simulate(part, network, record) for part in chunks(network, spikes)])


def chunks(network: Network, spikes: Mapping[str, Spikes]) -> Iterator[dict[str, Spikes]]:
    """`spikes` in parts of consecutive samples whose currents fit a bounded memory."""
    samples, steps = next(iter(spikes.values())).shape[:2]
    widest = max(int(np.prod(shape)) for shape in network.shapes.values())
    size = max(1, CHUNK_VALUES // (widest * steps))
    for start in range(0, samples, size):
        yield {name: array[start : start + size] for name, array in spikes.items()}


def _simulate(inputs: Mapping[str, Spikes], network: Network, record: Collection[str]) -> Trace:
    spikes = dict(inputs)
    states: dict[str, dict[str, NDArray[Any]]] = {}
    for population in network.populations:
        current = currents(network, population, spikes)
        spikes[population.name], potential = neurons(current, population)
        if population.name in record:
            states[population.name] = {"v": potential, "x": current}
    return Trace(spikes, states)


def currents(network: Network, population: Population, spikes: Mapping[str, Spikes]) -> FloatArray:
    """What a population receives, float64 (samples, steps, *shape): bias and weighted spikes."""
    samples, steps = next(iter(spikes.values())).shape[:2]
    current = np.broadcast_to(population.bias, (samples, steps, *population.shape)).copy()
    for connection in network.incoming(population.name):
        current += connection.apply(spikes[connection.source].astype(np.float64))
    return current


def neurons(current: FloatArray, population: Population) -> tuple[Spikes, FloatArray]:
    """Spikes and membrane potentials for currents (samples, steps, *shape).

    The equations stand in `Semantics`; operations are in snnTorch's order,
    (beta v + x) - reset (snntorch/_neurons/leaky.py).  The potential returned for a step is the one
    compared with the threshold.

    Raises
    ------
    SemanticsError
        Semantics that this reference does not define.
    """
    semantics = population.semantics
    if semantics.refractory or semantics.edge_delay or semantics.spikes_per_step != 1:
        raise SemanticsError(
            "the reference defines no refractory period, edge delay or several spikes per step",
            node=population.name,
        )
    beta, theta = population.decay, population.threshold
    spikes = np.zeros(current.shape, np.uint8)
    potential = np.empty_like(current)
    v = np.full((len(current), *population.shape), semantics.initial_state)
    fired = np.zeros(v.shape, bool)
    at_threshold = semantics.comparison == ">="
    for step in range(current.shape[1]):
        x = current[:, step]
        level = theta
        if semantics.reset == "zero":
            v = beta * np.where(fired, 0.0, v) + x
        elif semantics.reset == "none":
            v = beta * v + x
        elif semantics.reset_timing == "delayed":
            v = (beta * v + x) - semantics.reset_amount * theta * fired
        elif semantics.reset_timing == "held":
            above = v > theta
            v = beta * v + x
            level = theta * (1 + above)
        else:
            v = beta * (v - semantics.reset_amount * theta * fired) + x
        fired = v >= level if at_threshold else v > level
        potential[:, step] = v
        spikes[:, step] = fired
        if semantics.reset == "subtract" and semantics.reset_timing == "held":
            v = v - theta * fired
    return spikes, potential
