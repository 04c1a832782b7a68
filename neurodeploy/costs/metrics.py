"""Metrics in NeuroBench's names and definitions, of a program and what happened in a run of it.

Definitions: NeuroBench 2.3.0, `neurobench/metrics/static` and `neurobench/metrics/workload`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.mapping.connectivity import fan_out
from neurodeploy.program import Program, Synapses
from neurodeploy.quantity import Kind, Quantity
from neurodeploy.trace import Trace

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


def metrics(program: Program, trace: Trace) -> Metrics:
    """The metrics of `trace`, a run of `program`."""
    arrays = [synapses.weight for synapses in program.synapses]
    arrays += [a for population in program.populations for a in population.parameters.values()]
    stored = [s.weight for s in program.synapses if s.kind != "one-to-one"]
    zeros = sum(int(np.count_nonzero(weight == 0)) for weight in stored)
    weights = sum(weight.size for weight in stored)
    spikes = sum(_active(trace.sent(p.name)) for p in program.populations)
    cells = sum(p.size for p in program.populations) * trace.samples * trace.steps
    macs = acs = dense = 0
    for synapses in program.synapses:
        effective = _operations(synapses, trace)
        acs, macs = acs + effective[0], macs + effective[1]
        full = fan_out(replace(synapses, weight=np.ones_like(synapses.weight)))
        dense += int(full.sum()) * trace.samples * trace.steps
    per_sample = f"per sample, over {trace.samples} samples"
    return Metrics(
        footprint=_exact(sum(_bytes(array) for array in arrays), "B", "counted", "as stored"),
        parameter_count=_exact(sum(a.size for a in arrays), "1", "counted", "weights, registers"),
        connection_sparsity=_exact(zeros / max(weights, 1), "1", "derived", "zeros over weights"),
        activation_sparsity=_exact(
            1 - spikes / max(cells, 1), "1", "derived", "silent cells over cells"
        ),
        effective_macs=_exact(macs / trace.samples, "1", "counted", per_sample),
        effective_acs=_exact(acs / trace.samples, "1", "counted", per_sample),
        dense=_exact(dense / trace.samples, "1", "counted", per_sample),
    )


def _operations(synapses: Synapses, trace: Trace) -> tuple[int, int]:
    """(accumulates, multiply-accumulates) over all samples and steps."""
    sent = trace.sent(synapses.source)
    reached = fan_out(synapses)
    steps = sent.reshape(trace.samples, trace.steps, -1)
    binary = np.array([np.isin(steps[:, t], (-1, 0, 1)).all() for t in range(trace.steps)])
    active = np.count_nonzero(steps, axis=0)  # (steps, neurons)
    per_step = (active * reached).sum(axis=1)
    return int(per_step[binary].sum()), int(per_step[~binary].sum())


def _active(sent: NDArray[Any]) -> int:
    return int(np.count_nonzero(sent))


def _bytes(array: NDArray[Any]) -> int:
    if array.dtype.kind == "f" or not array.size:
        return array.nbytes
    low, high = int(array.min()), int(array.max())
    fits = (w for w in WIDTHS if np.iinfo(w).min <= low and high <= np.iinfo(w).max)
    return array.size * np.dtype(next(fits)).itemsize


def _exact(value: float, unit: str, kind: Kind, source: str) -> Quantity:
    definition = f"NeuroBench's definition; {source}"
    return Quantity(float(value), float(value), float(value), unit, kind, definition)
