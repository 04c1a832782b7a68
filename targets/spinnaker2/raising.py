"""From a program back to the network that its weights and biases mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodeploy import lowering
from neurodeploy.network import Network, Population
from neurodeploy.program import Neurons, Program
from neurodeploy.targets.spinnaker2.resolve import filtered


def raised(program: Program, network: Network) -> Network:
    """`network` with the weights w / scale, and the biases i_offset / scale, of `program`.

    A constant that a synaptic current filters comes from a neuron of its own; it stays.

    Raises
    ------
    ModelError
        As `lowering.raised`.
    """
    return lowering.raised(network, program, lambda synapses: 1.0, _biased)


def _biased(population: Population, neurons: Neurons) -> Population:
    if filtered(population):
        return population
    offset = neurons.float_register("i_offset").astype(np.float64)
    bias = np.broadcast_to(np.asarray(offset / neurons.unit), population.shape)
    return replace(population, bias=bias.copy(), leak=None)
