"""Exact counts of what a chip does for each sample, taken where the chip pays for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.mapping.connectivity import fan_out, reached
from neurodeploy.mapping.placement import Placement
from neurodeploy.mapping.routing import routes
from neurodeploy.mapping.traffic import Links, Load, flows
from neurodeploy.program import IntArray, Program
from neurodeploy.trace import Trace

MESSAGE_BYTES = 4
"""A message between host and chip is taken as one 32-bit word, the width of Lava's channels."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts per sample: int64 (samples,), or int64 (samples, cores) where named `core_...`.

    One inference runs at a time (no pipelining of samples), until the last population has answered
    the last input step: the chip makes steps + depth - first steps, and updates every neuron in
    each.  Its first step is that in which the input reaches neurons, at the least depth, or, of a
    chip whose inputs are on cores, that in which these send it, at depth 0.

    Attributes
    ----------
    steps: steps of the model.
    chip_steps: steps of the chip.
    synaptic_events: by name of the synapses; spikes times synapses of nonzero weight reached,
        counted at the destination core.  A spike counts in full, also in the last step.  Zero
        weights are taken as pruned.
    updates: by population; neurons times chip steps.
    spikes: by population; spikes generated.
    packets: by source (population or input); one per spike and destination core.
    hops: by source; tiles crossed by these packets.
    links: packets on every link, XY routes, int64 (samples, rows, columns) each.
    barriers: times that all cores wait for each other: once in every chip step, or never.
    inputs: by input; messages from the host, one per input spike or analog value that is not 0.
    outputs: by output population; messages to the host, one per output spike, or one per neuron
        and step where potentials are read.
    host_bytes: `MESSAGE_BYTES` for each message in either direction.
    core_events, core_updates, core_spikes, core_packets: synaptic events, updates, spikes generated
        and packets received per core.
    """

    steps: IntArray
    chip_steps: IntArray
    synaptic_events: Mapping[str, IntArray]
    updates: Mapping[str, IntArray]
    spikes: Mapping[str, IntArray]
    packets: Mapping[str, IntArray]
    hops: Mapping[str, IntArray]
    links: Links
    barriers: IntArray
    inputs: Mapping[str, IntArray]
    outputs: Mapping[str, IntArray]
    host_bytes: IntArray
    core_events: IntArray
    core_updates: IntArray
    core_spikes: IntArray
    core_packets: IntArray

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.steps)

    def to_tree(self) -> dict[str, Any]:
        """Arrays."""
        return {**vars(self), "links": vars(self.links)}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Counts:
        """The inverse of `to_tree`."""
        return cls(**{**tree, "links": Links(**tree["links"])})

    @classmethod
    def joined(cls, parts: Sequence[Counts]) -> Counts:
        """Of samples that follow each other."""
        trees = [part.to_tree() for part in parts]
        return cls.from_tree({name: _joined([tree[name] for tree in trees]) for name in trees[0]})

    def total(self, counts: Mapping[str, IntArray]) -> IntArray:
        """Sum of one of the mappings over its names, int64 (samples,)."""
        return np.asarray(sum(counts.values(), np.zeros(self.samples, np.int64)))


def count(program: Program, trace: Trace, placement: Placement) -> Counts:
    """Count what the chip does in `trace`, a run of `program` placed as `placement`.

    Raises
    ------
    InputError
        The trace lacks a population or input of the program, or has another shape.
    """
    spikes = _spikes_per_neuron(program, trace)
    samples = trace.samples
    on_cores = any(port.name in placement.core for port in program.inputs)
    first = 0 if on_cores else min(population.depth for population in program.populations)
    chip_steps = trace.steps + program.depth - first
    sources = _unique(synapses.source for synapses in program.synapses)
    packets, hops = {}, {}
    for source in sources:
        route = routes(source, program, placement)
        packets[source] = _dot(spikes[source], route.destinations)
        hops[source] = _dot(spikes[source], route.hops)
    inputs = {port.name: spikes[port.name].sum(axis=1) for port in program.inputs}
    outputs = {
        name: spikes[name].sum(axis=1)
        if program.population(name).readout == "spikes"
        else np.full(samples, program.population(name).size * trace.steps)
        for name in program.outputs
    }
    messages = sum((*inputs.values(), *outputs.values()), np.zeros(samples, np.int64))
    events: dict[str, IntArray] = {}
    core_events = np.zeros((samples, placement.cores), np.int64)
    for synapses in program.synapses:
        fired = spikes[synapses.source]
        events[synapses.name] = _dot(fired, fan_out(synapses)) + events.get(synapses.name, 0)
        cores, synapses_there = reached(synapses, placement.core[synapses.target])
        core_events[:, cores] += _dot(fired, synapses_there.T)
    load = Load(placement.tiles, placement.entry, samples)
    core_packets = np.zeros((samples, placement.cores), np.int64)
    for flow in flows(program, placement.core, placement.cores, spikes):
        load.add(flow.senders, np.full_like(flow.senders, flow.receiver), flow.packets)
        core_packets[:, flow.receiver] += flow.packets.sum(axis=0)
    return Counts(
        steps=np.full(samples, trace.steps),
        chip_steps=np.full(samples, chip_steps),
        synaptic_events=events,
        updates={p.name: np.full(samples, p.size * chip_steps) for p in program.populations},
        spikes={p.name: spikes[p.name].sum(axis=1) for p in program.populations},
        packets=packets,
        hops=hops,
        links=load.links(),
        barriers=np.full(samples, chip_steps * placement.barrier),
        inputs=inputs,
        outputs=outputs,
        host_bytes=MESSAGE_BYTES * np.asarray(messages),
        core_events=core_events,
        core_updates=np.tile(_neurons(program, placement) * chip_steps, (samples, 1)),
        core_spikes=_core_spikes(spikes, placement),
        core_packets=core_packets,
    )


def _joined(parts: Sequence[Any]) -> Any:
    """Arrays one after another, also within mappings."""
    if isinstance(parts[0], Mapping):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)


def _spikes_per_neuron(program: Program, trace: Trace) -> dict[str, IntArray]:
    """Spikes of each neuron, int64 (samples, neurons)."""
    result = {}
    for name, shape in program.shapes.items():
        if name not in trace.spikes:
            raise InputError("the trace has no spikes of it", node=name)
        counts = trace.counts(name)
        if counts.shape[1:] != shape:
            found = counts.shape[1:]
            raise InputError(f"the trace has shape {found}, the program {shape}", node=name)
        result[name] = counts.reshape(trace.samples, -1)
    return result


def _dot(spikes: IntArray, per_spike: IntArray) -> IntArray:
    """spikes @ per_spike, by way of float64, which is exact below 2^53."""
    return np.asarray((spikes.astype(np.float64) @ per_spike.astype(np.float64)).astype(np.int64))


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _neurons(program: Program, placement: Placement) -> IntArray:
    """Neurons on each core, those of inputs not among them."""
    core = [placement.core[population.name] for population in program.populations]
    return np.bincount(np.concatenate(core), minlength=placement.cores)


def _core_spikes(spikes: Mapping[str, IntArray], placement: Placement) -> IntArray:
    samples = len(next(iter(spikes.values())))
    result = np.zeros((samples, placement.cores), np.int64)
    for name, core in placement.core.items():
        for one in np.unique(core):
            result[:, one] += spikes[name][:, core == one].sum(axis=1)
    return result
