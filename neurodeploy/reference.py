"""What a `Network` means: the executable specification, in float64."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import SemanticsError
from neurodeploy.network import Connection, Network, Population
from neurodeploy.trace import Inputs, Spikes, Trace, check_currents, check_names, concatenate

CHUNK_VALUES = 1 << 24

Signal = NDArray[Any]


def simulate(
    network: Network,
    inputs: Inputs,
    *,
    record: Collection[str] = (),
    rounded: bool = False,
) -> Trace:
    """Run `network` on spikes, or currents, (samples, steps, *shape) from its initial state.

    Layer by layer over all steps, step by step within cycles; in chunks of samples, which bounds
    memory and changes no bit.

    Parameters
    ----------
    record:
        Populations whose membrane potential `v` (before any immediate reset) and the current `x`
        that drives it are kept.
    rounded:
        Round states to the precision of the model that they come from (`Semantics.rounding`) after
        every operation, in the order of `Semantics`' equations; weighted sums are still formed in
        float64 and rounded once.  A float32 model whose sums are exact gives the same bits.
    """
    signals = check_currents(inputs, {port.name: port.shape for port in network.inputs})
    check_names(record, [population.name for population in network.populations])
    parts = chunks(network, signals)
    return concatenate([_simulate(part, network, record, rounded) for part in parts])


def chunks(network: Network, signals: Mapping[str, Signal]) -> Iterator[dict[str, Signal]]:
    """`signals` in parts of consecutive samples whose currents fit a bounded memory."""
    samples, steps = next(iter(signals.values())).shape[:2]
    widest = max(int(np.prod(shape)) for shape in network.shapes.values())
    size = max(1, CHUNK_VALUES // (widest * steps))
    for start in range(0, samples, size):
        yield {name: array[start : start + size] for name, array in signals.items()}


def _simulate(
    inputs: Mapping[str, Signal], network: Network, record: Collection[str], rounded: bool
) -> Trace:
    signals = dict(inputs)
    spikes = {name: array for name, array in inputs.items() if array.dtype == np.uint8}
    values = {name: array for name, array in inputs.items() if array.dtype != np.uint8}
    states: dict[str, dict[str, Signal]] = {}
    for group in network.groups:
        for population, response in _respond(network, group, signals, rounded):
            name = population.name
            spikes[name] = response.spikes
            signals[name] = response.spikes if population.spiking else response.potential
            if name in network.outputs and population.readout == "membrane":
                values[name] = response.potential
            if name in record:
                states[name] = {"v": response.potential, "x": response.current}
    return Trace(spikes, states, values)


@dataclass(frozen=True, eq=False)
class Response:
    """What neurons did: arrays (samples, steps, *shape).

    `potential` is the membrane potential compared with the threshold, `current` what drove it.
    """

    spikes: Spikes
    potential: Signal
    current: Signal


def currents(network: Network, population: Population, signals: Mapping[str, Signal]) -> Signal:
    """What a population receives, float64 (samples, steps, *shape): bias and weighted signals.

    Sources that `signals` does not hold are left out.
    """
    samples, steps = next(iter(signals.values())).shape[:2]
    current = np.broadcast_to(population.bias, (samples, steps, *population.shape)).copy()
    for connection in network.incoming(population.name):
        if connection.source in signals and connection.delay < steps:
            sent = signals[connection.source][:, : steps - connection.delay]
            current[:, connection.delay :] += connection.apply(sent.astype(np.float64))
    return current


def neurons(current: Signal, population: Population, *, rounded: bool = False) -> Response:
    """The response to known input currents (samples, steps, *shape)."""
    ((_, response),) = _stepped(((population, current, ()),), rounded)
    return response


_Driven = tuple[Population, Signal, tuple[Connection, ...]]


def _respond(
    network: Network, group: tuple[Population, ...], signals: Mapping[str, Signal], rounded: bool
) -> list[tuple[Population, Response]]:
    """The responses of populations whose inputs from outside the group are known."""
    names = {population.name for population in group}
    driven: list[_Driven] = []
    for population in group:
        inside = tuple(c for c in network.incoming(population.name) if c.source in names)
        driven.append((population, currents(network, population, signals), inside))
    return _stepped(tuple(driven), rounded)


def _stepped(driven: tuple[_Driven, ...], rounded: bool) -> list[tuple[Population, Response]]:
    """Step by step; within a step in the network's order."""
    single = rounded and all(p.semantics.rounding == "float32" for p, _, _ in driven)
    dtype = np.dtype(np.float32 if single else np.float64)
    neurons = {p.name: _Neurons(p, current, dtype) for p, current, _ in driven}
    for t in range(driven[0][1].shape[1]):
        for population, current, inside in driven:
            late = None
            for connection in inside:
                if t >= connection.delay:
                    # One step at a time keeps the axis, so that no sample depends on another.
                    at = slice(t - connection.delay, t - connection.delay + 1)
                    sent = neurons[connection.source].sent[:, at].astype(np.float64)
                    arrived = connection.apply(sent)[:, 0]
                    late = arrived if late is None else late + arrived
            neurons[population.name].step(t, current[:, t], late)
    return [(p, neurons[p.name].response) for p, _, _ in driven]


class _Neurons:
    """A population's state and what it has done so far; every operation in `dtype`."""

    def __init__(self, population: Population, current: Signal, dtype: np.dtype[Any]) -> None:
        semantics = population.semantics
        if semantics.refractory or semantics.edge_delay or semantics.spikes_per_step != 1:
            raise SemanticsError(
                "the reference defines no refractory period, edge delay or several spikes per step",
                node=population.name,
            )
        shape = (len(current), *population.shape)
        self.population = population
        self.alpha = population.current_decay.astype(dtype)
        self.beta = population.decay.astype(dtype)
        self.theta = population.threshold.astype(dtype)
        self.dtype = dtype
        self.i = np.zeros(shape, dtype)
        self.v = np.full(shape, semantics.initial_state, dtype)
        self.fired = np.zeros(shape, bool)
        self.response = Response(
            np.zeros(current.shape, np.uint8),
            np.zeros(current.shape, dtype),
            np.zeros(current.shape, dtype),
        )
        self.sent = self.response.spikes if population.spiking else self.response.potential

    def step(self, t: int, x: Signal, late: Signal | None) -> None:
        """One step of `Semantics`' equations in snnTorch's order: ((beta v + x) + late) - reset.

        `late` is what arrives along connections that close cycles; with a synaptic current it is
        added to that: (alpha i + x) + late.  Source of the order: snntorch/_neurons/{leaky,
        synaptic,rleaky,rsynaptic}.py.  Writes what happened to `response`.
        """
        semantics, beta, theta = self.population.semantics, self.beta, self.theta
        self.i = self.alpha * self.i + x.astype(self.dtype, copy=False)
        current, rest = self.i, None if late is None else late.astype(self.dtype, copy=False)
        if rest is not None and self.alpha.any():
            self.i = current = current + rest
            rest = None

        def driven(v: Signal) -> Signal:
            leaked = beta * v + current
            return leaked if rest is None else leaked + rest

        v, fired = self.v, self.fired
        if semantics.reset == "zero" and semantics.reset_timing == "after-input":
            v = np.where(fired, self.dtype.type(0), driven(v))
        elif semantics.reset == "zero":
            v = driven(np.where(fired, self.dtype.type(0), v))
        elif semantics.reset == "none":
            v = driven(v)
        elif semantics.reset_timing == "delayed":
            v = driven(v) - semantics.reset_amount * theta * fired
        elif semantics.reset_timing == "held":
            held = v > theta
            v = driven(v) - theta * held
        elif semantics.reset_timing == "immediate":
            v = driven(v - semantics.reset_amount * theta * fired)
        else:
            raise SemanticsError(
                f"subtraction with timing {semantics.reset_timing!r} is not defined",
                node=self.population.name,
            )
        fired = v >= theta if semantics.comparison == ">=" else v > theta
        response = self.response
        response.potential[:, t], response.spikes[:, t] = v, fired
        response.current[:, t] = current if rest is None else current + rest
        if semantics.reset == "subtract" and semantics.reset_timing == "held":
            v = v - theta * (fired.astype(self.dtype) - held)
        self.v, self.fired = v, fired
