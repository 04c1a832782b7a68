"""Neurons that the model has not: relays, and those that fire in every step.

Both are `lif_no_delay` with weights of 1 and a threshold of 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.linear import Shape
from neurodeploy.lowering import Placed
from neurodeploy.program import IntArray, Neurons, Program, Range, Synapses
from neurodeploy.targets.spinnaker2.arithmetic import EXACT
from neurodeploy.targets.spinnaker2.models import TO_V_RESET
from neurodeploy.targets.spinnaker2.scale import split

BIAS = " bias"
"""Ends the name of the neuron that sends a population its bias."""


def relay(source: str, name: str, shape: Shape, depth: int) -> Placed:
    """A population without memory; see `neurodeploy.relays.Relay`."""
    neurons = _neurons(name, shape, depth, alpha_decay=0.0, i_offset=0.0, v_init=0.0)
    one = np.ones(neurons.size, np.int64)
    arriving = Synapses(f"{source}->{name}", source, name, "one-to-one", one, 0, shape, shape)
    bounds = Range(name, "current", 0, 1, -EXACT, EXACT, proven=True)
    return Placed(neurons, (arriving,), (), (bounds,))


def bias_synapses(
    name: str, shape: Shape, taken: Mapping[str, Any], bias: IntArray, limit: int
) -> list[Synapses]:
    """Synapses from one neuron to each of a population: as many as it takes to add up to `bias`."""
    source = f"{name}{BIAS}"
    while source in taken:
        source += "'"
    base = f"{source}->{name}"
    return [
        Synapses(
            name=base if path == 1 else f"{base}#{path}",
            source=source,
            target=name,
            kind="dense",
            weight=weight.reshape(-1, 1),
            exponent=0,
            in_shape=(1,),
            out_shape=shape,
        )
        for path, weight in enumerate(split(bias, limit), 1)
    ]


def with_bias_neurons(program: Program) -> Program:
    """`program` with the neurons that `bias_synapses` start from.

    Each runs one tick ahead of the population that it drives, at depth k, and fires from tick k on:
    it adds 1 in every tick, fires at 1, and starts k below 0.
    """
    depths = {population.name: population.depth for population in program.populations}
    known = program.shapes
    found = {
        s.source: _neurons(
            s.source,
            (1,),
            depths[s.target] - 1,
            alpha_decay=1.0,
            i_offset=1.0,
            v_init=1.0 - depths[s.target],
        )
        for s in program.synapses
        if s.source not in known
    }
    populations = sorted((*found.values(), *program.populations), key=lambda p: p.depth)
    return replace(program, populations=tuple(populations))


def _neurons(name: str, shape: Shape, depth: int, **registers: float) -> Neurons:
    values = {**registers, "threshold": 1.0, "v_reset": 0.0}
    parameters: dict[str, NDArray[Any]] = {
        key: np.array([value], np.float32) for key, value in values.items()
    }
    parameters["reset"] = np.array([TO_V_RESET])
    return Neurons(name, shape, depth, parameters, np.ones(1), model="lif_no_delay")
