"""Loihi 2's integer arithmetic, as Lava's fixed-point models execute it: the specification.

Pure functions of integers without branches on values, so the same source serves scalars, numpy
arrays, the vectors of the numba kernel at the end, and the range certificate.  Integers are of 64
bits, or of 32 where `fits_int32`: there a product is never formed in full, and sums wrap as the
chip's do.  Sources are Lava 0.10.0 files,
`lava-nc/lava: src/lava/proc/lif/models.py` (PyLifModelBitAcc), `dense/models.py` and
`conv/models.py`; the tests compare every function's results with Lava itself.

Units: weights, activations and `vth` share one unit; states `u`, `v` and the bias are in 1/64 of
it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.simulator.jit import COMPILES, kernel, load, nonzero, primitive, store
from neurodeploy.simulator.layout import HALVES, TILE, WORD

if COMPILES:
    from neurodeploy.simulator.kernels import sum_rows

STATE_SHIFT = 6
"""Activations and thresholds are shifted left by this many bits to align with states."""
DECAY_BITS = 12
STATE_LIMIT = 1 << 23
"""States are 24-bit: u wraps at +-2^23, v saturates at +-(2^23 - 1)."""
DECAY_ONE = 1 << DECAY_BITS

INT32_MAX = (1 << 31) - 1

Ints = Any  # scalar, array or vector: the functions below do not care which


@primitive
def wrap_int32(x: Ints) -> Ints:
    """((x + 2^31) mod 2^32) - 2^31: what storing into a 32-bit integer does."""
    return ((x + (1 << 31)) & ((1 << 32) - 1)) - (1 << 31)


def wrap_int16(x: Ints) -> Ints:
    """((x + 2^15) mod 2^16) - 2^15: what storing into a 16-bit integer does."""
    return ((x + (1 << 15)) & ((1 << 16) - 1)) - (1 << 15)


def wrap_int24(x: Ints) -> Ints:
    """((x + 2^23) mod 2^24) - 2^23: Lava's `signed_clamp(x, 24)` for convolutions."""
    return ((x + (1 << 23)) & ((1 << 24) - 1)) - (1 << 23)


@primitive
def decay(state: Ints, factor: Ints) -> Ints:
    """rtz(state keep / 2^12) with keep = 4096 - factor in 0..4096, rounded toward zero.

    With state = 4096 h + l that is h keep + floor((l keep + (4095 where state < 0)) / 4096), which
    leaves 32 bits nowhere if state does not.
    """
    keep = DECAY_ONE - factor
    low = (state & (DECAY_ONE - 1)) * keep + (DECAY_ONE - 1) * (state < 0)
    return (state >> DECAY_BITS) * keep + (low >> DECAY_BITS)


def dense_activation(total: Ints, exponent: int) -> Ints:
    """int32(total) << exponent, or floor(int32(total) / 2^-exponent) for a negative exponent.

    In 32 bits throughout; Lava adds up spikes in 64, where the sum cannot leave 32.
    """
    if exponent > 0:
        return wrap_int32(total << exponent)
    return wrap_int32(total) >> -exponent


def conv_activation(total: Ints, exponent: int) -> Ints:
    """int24(total << exponent).

    Lava's Conv ignores exponents, so the shifted weights are handed to it: hence exponent >= 0.
    """
    return wrap_int24(total << exponent)


def bias_current(mantissa: Ints, exponent: Ints) -> Ints:
    """int32(int16(mantissa) << exponent), exponent in 0..7, in state units."""
    return wrap_int32(wrap_int16(mantissa) << exponent)


@primitive
def filter_u(u: Ints, activation: Ints, du: Ints) -> Ints:
    """x = int32(decay(u, du + 1) + int32(activation << 6)): u' before it wraps at 24 bits."""
    return wrap_int32(decay(u, du + 1) + wrap_int32(activation << STATE_SHIFT))


@primitive
def wrap_u(x: Ints) -> Ints:
    """x wrapped once at +-2^23.

    One wrap only, and x = +2^23 is kept, as Lava does; the result can leave 24 bits when the
    activation alone does.
    """
    return x - 2 * STATE_LIMIT * (x > STATE_LIMIT) + 2 * STATE_LIMIT * (x <= -STATE_LIMIT)


@primitive
def update_u(u: Ints, activation: Ints, du: Ints) -> Ints:
    """u' = wrap_u(filter_u(u, activation, du))."""
    return wrap_u(filter_u(u, activation, du))


@primitive
def sum_v(v: Ints, u: Ints, bias: Ints, dv: Ints) -> Ints:
    """x = int32(decay(v, dv) + u + bias): v' before it saturates at 24 bits."""
    return wrap_int32(decay(v, dv) + u + bias)


@primitive
def update_v(v: Ints, u: Ints, bias: Ints, dv: Ints) -> Ints:
    """v' = clip(sum_v(v, u, bias, dv), -(2^23 - 1), 2^23 - 1)."""
    x = sum_v(v, u, bias, dv)
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
def fires_ternary(v: Ints, vth_hi: Ints, vth_lo: Ints) -> Ints:
    """TernaryLIF: 1 where v > vth_hi << 6, -1 where v < vth_lo << 6; both at once make 0."""
    return 1 * fires(v, vth_hi) - (v < (vth_lo << STATE_SHIFT))


def restarts(t: Ints, interval: Ints, offset: Ints) -> Ints:
    """LIFReset: u = v = 0 before the update of Lava's step t = 1, 2, ... where t = offset (mod
    interval); the input of that step counts."""
    return t % interval == offset % interval


@primitive
def integrate(u: Ints, v: Ints, a: Ints, du: Ints, dv: Ints, bias: Ints) -> Any:
    """(u, v) of a CUBA LIF neuron as its threshold is tested: u first, then v with the new u."""
    u = update_u(u, a, du)
    return u, update_v(v, u, bias, dv)


def fits_int32(du: Ints, dv: Ints, vth: Ints, *others: Ints) -> bool:
    """Whether 32-bit integers give the same result as 64-bit ones for any input.

    The decays must be in range, the shifted threshold and the `others` (bias, own activation,
    initial states) within 32 bits.  Sums that leave 32 bits wrap on the chip too.
    """
    decays = np.all((du >= 0) & (du < DECAY_ONE)) and np.all((dv >= 0) & (dv <= DECAY_ONE))
    limits = [(vth, INT32_MAX >> STATE_SHIFT), *((values, INT32_MAX) for values in others)]
    return bool(decays) and all(bool(np.all(abs(values) <= most)) for values, most in limits)


@kernel
def run_lif(
    current: Any,
    sums: Any,
    registers: Any,
    own: Any,
    forgets_u: Any,
    forgets_v: Any,
    keeps_v: Any,
    wraps_u: Any,
    biases: Any,
    restart: Any,
    state: Any,
    words: Any,
    step: Any,
    first: Any,
    record: Any,
    u_out: Any,
    v_out: Any,
    potential: Any,
) -> None:
    """CUBA LIF neurons over time: integrate, compare, reset; a neuron's own spike arrives one step
    later.

    Parameters
    ----------
    current: int32 or int64 (tiles, samples, steps, 128), summed activations; or a buffer for them,
        int32 (1, some samples, steps, 128), where there are `sums`.
    sums: what to add up, see `kernels.sum_rows`, or None.
    registers: (tiles, 4, 128), of the same dtype: du, dv, vth, bias.
    own: (tiles, 128), of the same dtype: the activation by a neuron's own spike; None if all are 0.
    forgets_u, forgets_v, keeps_v: whether every du is 4095, every dv 4096, every dv 0.
    wraps_u: whether u may have to be wrapped.
    biases: like `current`: the bias of each step; None if it is that of the registers.
    restart: bool (steps,), where u = v = 0 before the step; None if nowhere.
    state: (tiles, samples, 3, 128), of the same dtype, changed: u, v, and what its own spike adds
        to the next current.
    words, step, first: see `target.Cells.advance`.
    record: whether to fill the last three.
    u_out, v_out, potential: like `current`: the states after the step, and v as it was compared
        with the threshold.
    """
    tiles, samples = state.shape[:2]
    _, group, steps, _ = current.shape
    groups = -(-samples // group)
    for i in range(tiles * groups * HALVES):
        tile, half = i // (groups * HALVES), i % HALVES
        start, lane = i // HALVES % groups * group, half * WORD
        stop = min(start + group, samples)
        if sums is not None and half == 0:
            sum_rows(sums, tile, start * steps, stop * steps, current)
        p = tile * 4 * TILE + lane
        du, dv = load(registers, p, WORD), load(registers, p + TILE, WORD)
        vth, bias = load(registers, p + 2 * TILE, WORD), load(registers, p + 3 * TILE, WORD)
        if own is not None:
            back = load(own, tile * TILE + lane, WORD)
        for b in range(start, stop):
            q = (tile * samples + b) * 3 * TILE + lane
            u, v = load(state, q, WORD), load(state, q + TILE, WORD)
            if own is not None:
                late = load(state, q + 2 * TILE, WORD)
            at = (tile * samples + b) * steps * TILE + lane
            x = at if sums is None else (b - start) * steps * TILE + lane
            for t in range(steps):
                a = load(current, x, WORD)
                if own is not None:
                    a = wrap_int32(a + late)
                if restart is not None and restart[t]:
                    u, v = u * 0, v * 0
                if biases is not None:
                    bias = load(biases, at, WORD)
                # The constants let the compiler leave multiplications out.
                u = filter_u(u, a, DECAY_ONE - 1) if forgets_u else filter_u(u, a, du)
                if wraps_u:
                    u = wrap_u(u)
                if forgets_v:
                    v = update_v(v, u, bias, DECAY_ONE)
                elif keeps_v:
                    v = update_v(v, u, bias, 0)
                else:
                    v = update_v(v, u, bias, dv)
                fired = fires(v, vth)
                if record:
                    store(potential, at, v)
                v = reset(v, fired)
                if own is not None:
                    late = back * fired
                words[b, step + t, (first + tile) * HALVES + half] = nonzero(fired)
                if record:
                    store(u_out, at, u)
                    store(v_out, at, v)
                at += TILE
                x += TILE
            store(state, q, u)
            store(state, q + TILE, v)
            if own is not None:
                store(state, q + 2 * TILE, late)
