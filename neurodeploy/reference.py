"""What a `Network` means: the executable specification, in float64."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
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

    Layer by layer over all steps, step by step within cycles; in chunks of samples, which bounds
    memory and changes no bit.

    Parameters
    ----------
    record:
        Populations whose membrane potential `v` (before any immediate reset) and the current `x`
        that drives it are kept, float64.
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
    for group in network.groups:
        names = {population.name for population in group}
        if any(c.source in names for p in group for c in network.incoming(p.name)):
            found = _together(network, group, spikes)
        else:
            (population,) = group
            found = {population.name: neurons(currents(network, population, spikes), population)}
        for name, response in found.items():
            spikes[name] = response.spikes
            if name in record:
                states[name] = {"v": response.potential, "x": response.current}
    return Trace(spikes, states)


@dataclass(frozen=True, eq=False)
class Response:
    """What neurons did: arrays (samples, steps, *shape).

    `potential` is the membrane potential compared with the threshold, `current` what drove it.
    """

    spikes: Spikes
    potential: FloatArray
    current: FloatArray


def currents(network: Network, population: Population, spikes: Mapping[str, Spikes]) -> FloatArray:
    """What a population receives, float64 (samples, steps, *shape): bias and weighted spikes.

    Sources that `spikes` does not hold are left out.
    """
    samples, steps = next(iter(spikes.values())).shape[:2]
    current = np.broadcast_to(population.bias, (samples, steps, *population.shape)).copy()
    for connection in network.incoming(population.name):
        if connection.source in spikes and connection.delay < steps:
            sent = spikes[connection.source][:, : steps - connection.delay]
            current[:, connection.delay :] += connection.apply(sent.astype(np.float64))
    return current


def neurons(current: FloatArray, population: Population) -> Response:
    """The response to known input currents (samples, steps, *shape)."""
    response = _empty(current)
    state = _State.initial(population, len(current))
    for t in range(current.shape[1]):
        state = _advance(state, current[:, t], population, response, t)
    return response


def _together(
    network: Network, group: tuple[Population, ...], spikes: Mapping[str, Spikes]
) -> dict[str, Response]:
    """Populations on a cycle, step by step; within a step in the network's order."""
    fixed = {population.name: currents(network, population, spikes) for population in group}
    found = {name: _empty(current) for name, current in fixed.items()}
    states = {p.name: _State.initial(p, len(fixed[p.name])) for p in group}
    inside = {p.name: [c for c in network.incoming(p.name) if c.source in found] for p in group}
    for t in range(next(iter(fixed.values())).shape[1]):
        for population in group:
            name = population.name
            x = fixed[name][:, t]
            for connection in inside[name]:
                if t >= connection.delay:
                    # One step at a time keeps the axis, so that no sample depends on another.
                    at = slice(t - connection.delay, t - connection.delay + 1)
                    sent = found[connection.source].spikes[:, at].astype(np.float64)
                    x = x + connection.apply(sent)[:, 0]
            states[name] = _advance(states[name], x, population, found[name], t)
    return found


def _empty(current: FloatArray) -> Response:
    spikes = np.zeros(current.shape, np.uint8)
    return Response(spikes, np.zeros(current.shape), np.zeros(current.shape))


@dataclass(frozen=True, eq=False)
class _State:
    """Synaptic current, membrane potential and last spike of every neuron."""

    i: FloatArray
    v: FloatArray
    fired: NDArray[np.bool_]

    @classmethod
    def initial(cls, population: Population, samples: int) -> _State:
        semantics = population.semantics
        if semantics.refractory or semantics.edge_delay or semantics.spikes_per_step != 1:
            raise SemanticsError(
                "the reference defines no refractory period, edge delay or several spikes per step",
                node=population.name,
            )
        shape = (samples, *population.shape)
        return cls(np.zeros(shape), np.full(shape, semantics.initial_state), np.zeros(shape, bool))


def _advance(
    state: _State, x: FloatArray, population: Population, response: Response, t: int
) -> _State:
    """One step: the equations of `Semantics`, operations in snnTorch's order, (beta v + x) - reset.

    Source of the order: snntorch/_neurons/{leaky,synaptic}.py.  Writes what happened to `response`.
    """
    semantics = population.semantics
    beta, theta = population.decay, population.threshold
    v, fired, level = state.v, state.fired, theta
    i = population.current_decay * state.i + x
    if semantics.reset == "zero" and semantics.reset_timing == "after-input":
        v = np.where(fired, 0.0, beta * v + i)
    elif semantics.reset == "zero":
        v = beta * np.where(fired, 0.0, v) + i
    elif semantics.reset == "none":
        v = beta * v + i
    elif semantics.reset_timing == "delayed":
        v = (beta * v + i) - semantics.reset_amount * theta * fired
    elif semantics.reset_timing == "held":
        level = theta * (1 + (v > theta))
        v = beta * v + i
    elif semantics.reset_timing == "immediate":
        v = beta * (v - semantics.reset_amount * theta * fired) + i
    else:
        raise SemanticsError(
            f"subtraction with timing {semantics.reset_timing!r} is not defined",
            node=population.name,
        )
    fired = v >= level if semantics.comparison == ">=" else v > level
    response.potential[:, t], response.current[:, t], response.spikes[:, t] = v, i, fired
    if semantics.reset == "subtract" and semantics.reset_timing == "held":
        v = v - theta * fired
    return _State(i, v, fired)
