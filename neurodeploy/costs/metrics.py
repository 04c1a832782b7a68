"""Metrics in NeuroBench's names and definitions, of a program and what happened in a run of it.

Definitions: NeuroBench 2.3.0, `neurobench/metrics/static` and `neurobench/metrics/workload`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.mapping.connectivity import fan_out
from neurodeploy.program import IntArray, Program
from neurodeploy.quantity import Kind, Quantity
from neurodeploy.trace import Counting, Trace

WIDTHS = (np.int8, np.int16, np.int32, np.int64)


@dataclass(frozen=True)
class Metrics:
    """Counts per sample where they depend on the run; means over samples and steps.

    Attributes
    ----------
    footprint: bytes of all weights and registers, each array in the narrowest integers (8, 16, 32
        or 64 bits) that hold its values, or as its floats are.
    parameter_count: number of these values.
    connection_sparsity: zero weights over weights, of dense and convolutional synapses as stored.
    activation_sparsity: silent neurons and steps over all, of populations.
    effective_macs, effective_acs: weights that are not zero met by messages that are not zero, per
        sample: accumulates where in a step all messages of all samples are -1, 0 or 1,
        multiply-accumulates elsewhere.  Neither biases nor neurons count.
    dense: the same if no weight and no message were zero.
    """

    footprint: Quantity
    parameter_count: Quantity
    connection_sparsity: Quantity
    activation_sparsity: Quantity
    effective_macs: Quantity
    effective_acs: Quantity
    dense: Quantity

    def to_dict(self) -> dict[str, Any]:
        """Plain data, in NeuroBench's names."""
        data = asdict(self)
        names = {"Effective_MACs": "effective_macs", "Effective_ACs": "effective_acs"}
        operations = {name: data.pop(key) for name, key in {**names, "Dense": "dense"}.items()}
        return {**data, "synaptic_operations": operations}


@dataclass(frozen=True, eq=False)
class Seen:
    """What a run is to the metrics, in integers; runs of other samples can be added.

    Attributes
    ----------
    samples, steps: of the run.
    active: how often each neuron sent something, by population and input: int64 (neurons,), or
        (steps, neurons) where messages may be others than -1, 0 and 1.
    others: in which steps there are such, bool (steps,); of what sends nothing else, empty.
    """

    samples: int
    steps: int
    active: Mapping[str, IntArray]
    others: Mapping[str, NDArray[np.bool_]]

    def __add__(self, other: Seen) -> Seen:
        return Seen(
            self.samples + other.samples,
            self.steps,
            {name: active + other.active[name] for name, active in self.active.items()},
            {name: steps | other.others[name] for name, steps in self.others.items()},
        )

    def met(self, name: str) -> tuple[IntArray, IntArray]:
        """How often each neuron sent something, int64 (neurons,): in steps of -1, 0, 1, others."""
        active, others = self.active[name], self.others[name]
        if not others.size:
            return active, np.zeros_like(active)
        return active[~others].sum(axis=0), active[others].sum(axis=0)


def seen(program: Program, trace: Trace) -> Seen:
    """What the metrics are made from, of `trace`, a run of `program`."""
    found = {name: _active(trace, name) for name in program.shapes}
    return Seen(
        trace.samples,
        trace.steps,
        {name: active for name, (active, _) in found.items()},
        {name: others for name, (_, others) in found.items()},
    )


def metrics(program: Program, run: Seen | Trace) -> Metrics:
    """The metrics of a run of `program`."""
    if isinstance(run, Trace):
        run = seen(program, run)
    arrays = [synapses.weight for synapses in program.synapses]
    arrays += [a for population in program.populations for a in population.parameters.values()]
    stored = [s.weight for s in program.synapses if s.kind != "one-to-one"]
    zeros = sum(int(np.count_nonzero(weight == 0)) for weight in stored)
    weights = sum(weight.size for weight in stored)
    met = {name: run.met(name) for name in program.shapes}
    spikes = sum(int(sum(part.sum() for part in met[p.name])) for p in program.populations)
    cells = sum(p.size for p in program.populations) * run.samples * run.steps
    macs = acs = dense = 0
    for synapses in program.synapses:
        binary, others = (int(part @ fan_out(synapses)) for part in met[synapses.source])
        acs, macs = acs + binary, macs + others
        full = fan_out(replace(synapses, weight=np.ones_like(synapses.weight)))
        dense += int(full.sum()) * run.samples * run.steps
    per_sample = f"per sample, over {run.samples} samples"
    return Metrics(
        footprint=_exact(sum(_bytes(array) for array in arrays), "B", "counted", "as stored"),
        parameter_count=_exact(sum(a.size for a in arrays), "1", "counted", "weights, registers"),
        connection_sparsity=_exact(zeros / max(weights, 1), "1", "derived", "zeros over weights"),
        activation_sparsity=_exact(
            1 - spikes / max(cells, 1), "1", "derived", "silent cells over cells"
        ),
        effective_macs=_exact(macs / run.samples, "1", "counted", per_sample),
        effective_acs=_exact(acs / run.samples, "1", "counted", per_sample),
        dense=_exact(dense / run.samples, "1", "counted", per_sample),
    )


def _active(trace: Trace, name: str) -> tuple[IntArray, NDArray[np.bool_]]:
    """See `Seen`."""
    values = trace.values.get(name)
    graded = values is not None and values.dtype == np.int32
    if not graded and isinstance(trace.spikes, Counting):  # packed: never more than one
        return trace.counts(name).sum(axis=0).reshape(-1), np.zeros(0, np.bool_)
    sent = trace.sent(name).reshape(trace.samples, trace.steps, -1)
    return np.count_nonzero(sent, axis=0), np.abs(sent).max(axis=(0, 2)) > 1


def _bytes(array: NDArray[Any]) -> int:
    if array.dtype.kind == "f" or not array.size:
        return array.nbytes
    low, high = int(array.min()), int(array.max())
    fits = (w for w in WIDTHS if np.iinfo(w).min <= low and high <= np.iinfo(w).max)
    return array.size * np.dtype(next(fits)).itemsize


def _exact(value: float, unit: str, kind: Kind, source: str) -> Quantity:
    definition = f"NeuroBench's definition; {source}"
    return Quantity(float(value), float(value), float(value), unit, kind, definition)
