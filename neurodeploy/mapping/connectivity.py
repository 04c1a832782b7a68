"""Which synapses one spike reaches, exactly, per source neuron."""

from __future__ import annotations

import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.linear import Conv2d, Dense, FloatArray, LinearMap, Scale
from neurodeploy.program import IntArray, Synapses


def fan_out(synapses: Synapses) -> IntArray:
    """Synapses of nonzero weight that one spike of each source neuron reaches.

    int64 (source neurons,), C order.  With C = (W != 0) it is C^T 1: column sums of a dense matrix;
    for a convolution the kernel taps that hit the output, borders and stride included.
    """
    return _onto(synapses, np.ones(synapses.out_shape))


def reached(synapses: Synapses, core: IntArray) -> tuple[IntArray, IntArray]:
    """On which cores the synapses that a spike reaches lie.

    Parameters
    ----------
    core: core of each target neuron, int64 (target neurons,), C order.

    Returns
    -------
    cores: int64 (m,), the cores that occur in `core`, ascending.
    counts: int64 (m, source neurons): synapses of nonzero weight that one spike of a source neuron
        reaches on that core, C^T [target on core].  Their sum over cores is `fan_out`.
    """
    cores = np.unique(core)
    on_core = ((core == one).reshape(synapses.out_shape).astype(np.float64) for one in cores)
    return cores, np.stack([_onto(synapses, targets) for targets in on_core])


def _onto(synapses: Synapses, targets: FloatArray) -> IntArray:
    """C^T targets, int64 (source neurons,); sums of ones are exact in float64."""
    counts = _existing(synapses).adjoint(targets[None])
    return np.asarray(np.rint(counts).astype(np.int64).reshape(-1))


def _existing(synapses: Synapses) -> LinearMap:
    """C: the connection with every nonzero weight replaced by 1."""
    ones = (synapses.weight != 0).astype(np.float64)
    if synapses.kind == "dense":
        return Dense(ones, synapses.in_shape, synapses.out_shape)
    if synapses.kind == "one-to-one":
        return Scale(ones.reshape(synapses.in_shape))
    if synapses.kind == "conv2d":
        return Conv2d(
            ones,
            synapses.in_shape,
            synapses.stride,
            synapses.padding,
            synapses.dilation,
            synapses.groups,
        )
    raise ModelError(f"unknown kind of synapses {synapses.kind!r}", node=synapses.name)
