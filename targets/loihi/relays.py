"""Relays on Loihi 2, for convolutions: a synapse of weight 2 per neuron, no memory, threshold 1."""

from __future__ import annotations

import numpy as np

from neurodeploy.linear import Shape
from neurodeploy.lowering import Placed
from neurodeploy.program import Neurons, Synapses
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE
from neurodeploy.targets.loihi.ranges import certify
from neurodeploy.targets.loihi.reach import STATE_UNIT

WEIGHT, THRESHOLD = 2, 1
WHY = "Lava's convolutions have no delays"


def steps(synapses: Synapses) -> int:
    """Steps that synapses must wait in relays: those of a convolution."""
    return int(synapses.delay.max()) if synapses.kind == "conv2d" else 0


def relay(source: str, name: str, shape: Shape, depth: int) -> Placed:
    """See `neurodeploy.relays.Relay`; joined as a convolution of one pixel: images may be large."""
    registers = {"du": DECAY_ONE - 1, "dv": DECAY_ONE, "vth": THRESHOLD}
    registers |= dict.fromkeys(("bias_mant", "bias_exp", "u0", "v0"), 0)
    parameters = {key: np.array([value]) for key, value in registers.items()}
    neurons = Neurons(name, shape, depth, parameters, np.array([float(WEIGHT * STATE_UNIT)]))
    weight = np.full((shape[0], 1, 1, 1), WEIGHT)
    arriving = Synapses(
        f"{source}->{name}", source, name, "conv2d", weight, 0, shape, shape, groups=shape[0]
    )
    return Placed(neurons, (arriving,), (), certify(neurons, [arriving], {}, "voltage"))
