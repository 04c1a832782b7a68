"""What a `Network` means: the executable specification, in float64."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import SemanticsError
from neurodeploy.network import Connection, Network, Population
from neurodeploy.trace import Inputs, Spikes, Trace, check_currents, check_names, concatenate

CHUNK_VALUES = 1 << 24
MAX_SPIKES = np.iinfo(np.uint8).max

Signal = NDArray[Any]


def simulate(
    network: Network,
    inputs: Inputs,
    *,
    record: Collection[str] = (),
    rounded: bool = False,
    progress: Callable[[int, int], None] | None = None,
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
    progress:
        Called with (samples done, samples) after each chunk.
    """
    signals = check_currents(inputs, {port.name: port.shape for port in network.inputs})
    check_names(record, [population.name for population in network.populations])
    samples, traces = len(next(iter(signals.values()))), []
    for part in chunks(network, signals):
        traces.append(_simulate(part, network, record, rounded))
        if progress is not None:
            progress(sum(trace.samples for trace in traces), samples)
    return concatenate(traces)


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
    kept = {p.name for p in network.populations if _kept(p, network, record)}
    for group in network.groups:
        for population, response in _respond(network, group, signals, kept, rounded):
            name = population.name
            spikes[name] = response.spikes
            signals[name] = response.sent(population)
            if name in network.outputs and population.readout == "membrane":
                values[name] = response.potential
            if name in record:
                states[name] = {"v": response.potential, "x": response.current}
    return Trace(spikes, states, values)


def _kept(population: Population, network: Network, record: Collection[str]) -> bool:
    """Whether anyone asks for the potentials of a population."""
    read = population.name in network.outputs and population.readout == "membrane"
    return read or not population.spiking or population.name in record


@dataclass(frozen=True, eq=False)
class Response:
    """What neurons did: arrays (samples, steps, *shape).

    `potential` is the membrane potential compared with the threshold, `current` what drove it; both
    are empty where they are not kept.
    """

    spikes: Spikes
    potential: Signal
    current: Signal

    def sent(self, population: Population) -> Signal:
        """What the neurons send: spikes, or potentials where they have no thresholds."""
        return self.spikes if population.spiking else self.potential


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
    ((_, response),) = _stepped(((population, current, ()),), {population.name}, rounded)
    return response


_Driven = tuple[Population, Signal, tuple[Connection, ...]]


def _respond(
    network: Network,
    group: tuple[Population, ...],
    signals: Mapping[str, Signal],
    kept: Collection[str],
    rounded: bool,
) -> list[tuple[Population, Response]]:
    """The responses of populations whose inputs from outside the group are known."""
    names = {population.name for population in group}
    driven: list[_Driven] = []
    for population in group:
        inside = tuple(c for c in network.incoming(population.name) if c.source in names)
        driven.append((population, currents(network, population, signals), inside))
    return _stepped(tuple(driven), kept, rounded)


def _stepped(
    driven: tuple[_Driven, ...], kept: Collection[str], rounded: bool
) -> list[tuple[Population, Response]]:
    """Step by step; within a step in the network's order."""
    single = rounded and all(p.semantics.rounding == "float32" for p, _, _ in driven)
    dtype = np.dtype(np.float32 if single else np.float64)
    neurons = {p.name: _Neurons(p, current, dtype, p.name in kept) for p, current, _ in driven}
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

    def __init__(
        self, population: Population, current: Signal, dtype: np.dtype[Any], keep: bool
    ) -> None:
        semantics = population.semantics
        if semantics.refractory or semantics.edge_delay:
            raise SemanticsError(
                "the reference defines no refractory period and no delay of every edge",
                node=population.name,
            )
        held = (semantics.reset, semantics.reset_timing) == ("subtract", "held")
        if semantics.spikes_per_step > 1 and held:
            raise SemanticsError(
                "several spikes per step with a held reset are not defined", node=population.name
            )
        shape = (len(current), *population.shape)
        self.population = population
        self.alpha = population.current_decay.astype(dtype)
        self.beta = population.decay.astype(dtype)
        self.theta = population.threshold.astype(dtype)
        self.leak = None if population.leak is None else population.leak.astype(dtype)
        self.dtype = dtype
        self.i = np.zeros(shape, dtype)
        self.v = np.full(shape, semantics.initial_state, dtype)
        self.fired = np.zeros(shape, bool)
        self.keep = keep
        states = current.shape if keep else (0,)
        self.response = Response(
            np.zeros(current.shape, np.uint8), np.zeros(states, dtype), np.zeros(states, dtype)
        )
        self.sent = self.response.sent(population)

    def step(self, t: int, x: Signal, late: Signal | None) -> None:
        """One step of `Semantics`' equations in snnTorch's order: ((beta v + x) + late) - reset.

        `late` is what arrives along connections that close cycles; with a synaptic current it is
        added to that: (alpha i + x) + late.  Source of the order: snntorch/_neurons/{leaky,
        synaptic,rleaky,rsynaptic}.py.  Writes what happened to `response`.
        """
        semantics, beta, theta = self.population.semantics, self.beta, self.theta
        self.i = self.alpha * self.i + x.astype(self.dtype, copy=False)
        rest = None if late is None else late.astype(self.dtype, copy=False)
        if rest is not None and self.alpha.any():
            self.i = self.i + rest
            rest = None
        current = self.i if self.leak is None else self.i + self.leak

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
        fired = self._fired(v)
        response = self.response
        response.spikes[:, t] = fired
        if self.keep:
            response.potential[:, t] = v
            response.current[:, t] = current if rest is None else current + rest
        if semantics.reset == "subtract" and semantics.reset_timing == "held":
            v = v - theta * (fired.astype(self.dtype) - held)
        self.v, self.fired = v, fired

    def _fired(self, v: Signal) -> Signal:
        """Spikes at potential `v`: whether one, or how many where a step may hold several."""
        semantics, theta = self.population.semantics, self.theta
        closed = semantics.comparison == ">="
        if semantics.spikes_per_step == 1:
            return np.asarray(v >= theta if closed else v > theta)
        levels = np.floor(v / theta) if closed else np.ceil(v / theta) - 1
        count = np.clip(levels, 0, semantics.spikes_per_step)
        if count.size and count.max() > MAX_SPIKES:
            raise SemanticsError(
                f"a neuron sends {count.max():.0f} spikes in one step, a trace holds {MAX_SPIKES}",
                node=self.population.name,
                hint="Scale the inputs or weights down, or the threshold up.",
            )
        return np.asarray(count)
