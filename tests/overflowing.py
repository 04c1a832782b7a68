"""A network whose current overflows, known by its arithmetic."""

from __future__ import annotations

import numpy as np

from neurodeploy.network import InputPort
from neurodeploy.program import Neurons, Program, Synapses


def overflowing(sign: int) -> Program:
    """Two inputs of weight sign 254 2^5 each into a current that decays by 1/4096 a step.

    Each step adds 64 (2 254 2^5) = 1,040,384 where both spike; u passes 2^23 at the ninth.
    """
    values = {
        "du": 0, "dv": 4096, "vth": (1 << 17) - 1, "bias_mant": 0, "bias_exp": 0, "u0": 0, "v0": 0,
    }  # fmt: skip
    parameters = {name: np.array([value]) for name, value in values.items()}
    neurons = Neurons("n", (2,), 1, parameters, np.ones(1))
    weight = sign * np.array([[254, 254], [2, 0]])
    synapses = Synapses("x->n", "x", "n", "dense", weight, 5, (2,), (2,))
    return Program("loihi2", (InputPort("x", (2,)),), (neurons,), (synapses,), ("n",), {})
