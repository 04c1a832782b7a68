"""Where a potential starts, so that it is the model's when the input arrives.

Neurons run from tick 0 on, and the input reaches a population of depth k at tick k.  Until then its
potential decays and takes its constant input, which the model's does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import ModelError
from neurodeploy.linear import FloatArray
from neurodeploy.targets.spinnaker2 import arithmetic

Floats = NDArray[np.float32]
FARTHEST = 2.0**100


def start(
    meant: FloatArray, alpha: Floats, offset: Floats, threshold: Floats, depth: int, node: str
) -> tuple[Floats, FloatArray]:
    r"""(v_init, by how much that moves the potential of the model's first step), in chip units.

    A tick without input turns v into alpha v + c with the constant input c; going `depth` of them
    back from `meant` gives v_init.  On the way v is kept below the threshold.

    Parameters
    ----------
    meant: float64 potentials before the model's first step; the others are float32 registers, all
        of one shape.

    Raises
    ------
    ModelError
        The constant input alone makes a neuron spike.
    """
    v, a, c = meant.copy(), alpha.astype(np.float64), offset.astype(np.float64)
    for tick in range(depth, 0, -1):
        v = np.divide(v - c, a, out=np.zeros_like(v), where=a != 0)
        v = np.clip(v, -FARTHEST, FARTHEST)
        if tick > 1:
            v = np.minimum(v, threshold * (1 - 2.0**-20))
    v_init = v.astype(np.float32)
    found = v_init
    for _ in range(depth):
        found = arithmetic.integrate(found, np.float32(0), alpha, offset)
        if np.any(arithmetic.fires(found, threshold)):
            raise ModelError(
                "its constant input makes neurons spike before any input reaches them",
                node=node,
                hint="Reduce the bias, or raise the threshold.",
            )
    return v_init, np.abs(a * (found - meant))
