"""From a program back to the network that its weights and biases mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodeploy import lowering
from neurodeploy.network import Network, Population
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE, STATE_SHIFT, bias_current
from neurodeploy.targets.loihi.resolve import mode_of


def raised(program: Program, network: Network) -> Network:
    """`network` with the weights w 2^(e+6) / unit of `program`, and its biases.

    The unit is u's, for each model unit; weights of analog input are those of a step of its grid.

    Raises
    ------
    ModelError
        As `lowering.raised`.
    """
    steps = {name: grid.step for name, grid in program.grids.items()}

    def factor(synapses: Synapses) -> float:
        return float(2.0 ** (synapses.exponent + STATE_SHIFT)) / steps.get(synapses.source, 1.0)

    return lowering.raised(network, program, factor, _biased)


def _biased(population: Population, neurons: Neurons) -> Population:
    """The bias b of the register c = b/(1-d) + l, with the decay d of u; see `unit.Unit.offset`."""
    register = bias_current(neurons.register("bias_mant"), neurons.register("bias_exp"))
    offset = np.broadcast_to(register / neurons.unit, population.shape)
    memory = np.broadcast_to(neurons.register("du") + 1, population.shape)
    unfiltered = mode_of(population) == "current"
    leak = None if unfiltered else population.leak
    past = 0.0 if leak is None else leak
    return replace(population, bias=(offset - past) * memory / DECAY_ONE, leak=leak)
