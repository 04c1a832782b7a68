"""What one spike of each neuron costs: the share of counts and energies that spikes cause."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.costs.models import Term, model_of
from neurodeploy.costs.sampling import UNITS, bounds
from neurodeploy.linear import FloatArray
from neurodeploy.lowering import only_map
from neurodeploy.mapping.connectivity import fan_out
from neurodeploy.mapping.placement import Placement
from neurodeploy.mapping.routing import routes
from neurodeploy.network import Network
from neurodeploy.passes import MergeLinear
from neurodeploy.program import IntArray, Program


def events(program: Program) -> dict[str, IntArray]:
    """Synaptic events of one spike, by source: int64 of its shape; see `connectivity.fan_out`."""
    found = {name: np.zeros(shape, np.int64) for name, shape in program.shapes.items()}
    for synapses in program.synapses:
        found[synapses.source] += fan_out(synapses).reshape(program.shapes[synapses.source])
    return found


def events_of(network: Network) -> dict[str, IntArray]:
    """As `events`, from the weights of a network that are not 0.

    Linear maps count as the one map that a chip holds for them (`passes.MergeLinear`).
    Self-synapses that a chip needs for a reset are not among them.
    """
    found = {name: np.zeros(shape, np.int64) for name, shape in network.shapes.items()}
    for connection in MergeLinear().run(network).connections:
        op = only_map(connection)
        ones = replace(op, weight=(op.weight != 0).astype(np.float64))
        reached = ones.adjoint(np.ones((1, *op.out_shape)))[0]
        found[connection.source] += np.rint(reached).astype(np.int64)
    return found


def energy(program: Program, chip: Chip, placement: Placement) -> dict[str, FloatArray]:
    """Energy of one spike in J, by source: float64 of its shape.

    The parts of the report's first line, what the program causes (`models`), that grow with spikes:
    synaptic events, packets and hops, and for a population the spike itself.  With the constants'
    typical values; parts of neurons and steps are what they are without a spike.

    Raises
    ------
    TargetError
        Nothing is known about the chip's energies.
    FileError
        The chip file lacks a constant.
    """
    model = model_of(chip)
    terms = [term for term in model.terms if term.line == model.lines[0]]
    inputs, reached = {port.name for port in program.inputs}, events(program)
    return {
        name: _of_one(
            terms,
            {
                "synaptic events": reached[name],
                "spikes": np.full(shape, float(name not in inputs)),
                **_traffic(name, program, placement),
            },
            lambda constant: bounds(chip, constant, UNITS[constant[0]])[1],
        )
        for name, shape in program.shapes.items()
    }


def _traffic(name: str, program: Program, placement: Placement) -> dict[str, IntArray]:
    route, shape = routes(name, program, placement), program.shapes[name]
    return {"packets": route.destinations.reshape(shape), "hops": route.hops.reshape(shape)}


def _of_one(
    terms: list[Term], counts: Mapping[str, Any], constant: Callable[[str], float]
) -> FloatArray:
    total = np.zeros(counts["spikes"].shape)
    for term in terms:
        if set(term.counts) <= set(counts):
            parts = [counts[name] for name in term.counts]
            total += math.prod(map(constant, term.constants)) * math.prod(parts[1:], start=parts[0])
    return total
