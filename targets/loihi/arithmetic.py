"""Loihi 2's integer arithmetic, as Lava's fixed-point models execute it: the specification.

Pure functions of int64 scalars or arrays without branches on values, so the same source serves the
numba kernel at the end, numpy and the range certificate.  Sources are Lava 0.10.0 files,
`lava-nc/lava: src/lava/proc/lif/models.py` (PyLifModelBitAcc), `dense/models.py` and
`conv/models.py`; the tests compare every function's results with Lava itself.

Units: weights, activations and `vth` share one unit; states `u`, `v` and the bias are in 1/64 of
it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from neurodeploy.simulator.jit import kernel, primitive

STATE_SHIFT = 6
"""Activations and thresholds are shifted left by this many bits to align with states."""
DECAY_BITS = 12
STATE_LIMIT = 1 << 23
"""States are 24-bit: u wraps at +-2^23, v saturates at +-(2^23 - 1)."""
DECAY_ONE = 1 << DECAY_BITS

Ints = Any  # int64, scalar or array: the functions below do not care which


@primitive
def wrap_int32(x: Ints) -> Ints:
    """((x + 2^31) mod 2^32) - 2^31: what storing into a 32-bit integer does."""
    return ((x + (1 << 31)) & ((1 << 32) - 1)) - (1 << 31)


def wrap_int24(x: Ints) -> Ints:
    """((x + 2^23) mod 2^24) - 2^23: Lava's `signed_clamp(x, 24)` for convolutions."""
    return ((x + (1 << 23)) & ((1 << 24) - 1)) - (1 << 23)


@primitive
def decay(state: Ints, factor: Ints) -> Ints:
    """rtz(state (4096 - factor) / 2^12): the product in 64 bits, rounded toward zero."""
    product = state * (DECAY_ONE - factor)
    return (product + ((product >> 63) & (DECAY_ONE - 1))) >> DECAY_BITS


def dense_activation(total: Ints, exponent: int) -> Ints:
    """int32(total << exponent), or floor(total / 2^-exponent) for a negative exponent."""
    if exponent > 0:
        return wrap_int32(total << exponent)
    return wrap_int32(total >> -exponent)


def conv_activation(total: Ints, exponent: int) -> Ints:
    """int24(total << exponent).

    Lava's Conv ignores exponents, so the shifted weights are handed to it: hence exponent >= 0.
    """
    return wrap_int24(total << exponent)


def bias_current(mantissa: Ints, exponent: Ints) -> Ints:
    """int32(mantissa << exponent), exponent in 0..7, in state units."""
    return wrap_int32(mantissa << exponent)


@primitive
def update_u(u: Ints, activation: Ints, du: Ints) -> Ints:
    """u' = int32(decay(u, du + 1) + int32(activation << 6)), wrapped once at +-2^23.

    One wrap only, and u' = +2^23 is kept, as Lava does; |u'| can leave 24 bits when the activation
    alone does.
    """
    x = wrap_int32(decay(u, du + 1) + wrap_int32(activation << STATE_SHIFT))
    return x - 2 * STATE_LIMIT * (x > STATE_LIMIT) + 2 * STATE_LIMIT * (x <= -STATE_LIMIT)


@primitive
def update_v(v: Ints, u: Ints, bias: Ints, dv: Ints) -> Ints:
    """v' = clip(int32(decay(v, dv) + u + bias), -(2^23 - 1), 2^23 - 1)."""
    x = wrap_int32(decay(v, dv) + u + bias)
    return np.minimum(np.maximum(x, 1 - STATE_LIMIT), STATE_LIMIT - 1)


@primitive
def fires(v: Ints, vth: Ints) -> Ints:
    """v > vth << 6, strictly."""
    return v > (vth << STATE_SHIFT)


@primitive
def reset(v: Ints, spike: Ints) -> Ints:
    """v' = 0 where the neuron spiked; u is not reset."""
    return v * (1 - spike)


@primitive
def integrate(u: Ints, v: Ints, a: Ints, du: Ints, dv: Ints, bias: Ints) -> Any:
    """(u, v) of a CUBA LIF neuron as its threshold is tested: u first, then v with the new u."""
    u = update_u(u, a, du)
    return u, update_v(v, u, bias, dv)


@kernel
def run_lif(
    current: Any,
    du: Any,
    dv: Any,
    vth: Any,
    u0: Any,
    v0: Any,
    bias: Any,
    own: Any,
    record: Any,
    spikes: Any,
    u_out: Any,
    v_out: Any,
    potential: Any,
) -> None:
    """CUBA LIF neurons over time: integrate, compare, reset; a neuron's own spike arrives one step
    later.

    Parameters
    ----------
    current: int64 (samples, steps, n), summed activations.
    du, dv, vth, u0, v0, bias, own: int64 (n,); `own` is the activation by a neuron's own spike.
    record: whether to fill the last three.
    spikes: uint8 (samples, steps, n), filled.
    u_out, v_out, potential: int64 like `current`: the states after the step, and v as it was
        compared with the threshold.
    """
    samples, steps, size = current.shape
    for b in prange(samples):
        for n in range(size):
            u, v, fired = u0[n], v0[n], 0
            for t in range(steps):
                a = wrap_int32(current[b, t, n] + own[n] * fired)
                u, v = integrate(u, v, a, du[n], dv[n], bias[n])
                if record:
                    potential[b, t, n] = v
                fired = int(fires(v, vth[n]))
                v = reset(v, fired)
                spikes[b, t, n] = fired
                if record:
                    u_out[b, t, n] = u
                    v_out[b, t, n] = v
