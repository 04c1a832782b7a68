"""The fixed-point machine's arithmetic: the specification.

Pure functions of integers without branches on values, so the same source serves scalars, numpy
arrays, the vectors of the numba kernel at the end, and the tests.  Configuration (widths and rules,
the same for a whole population) is branched on.

Integers are of 64 bits, or of 32 where `fits_int32`.  Every value that is written to a state
register passes through `fit`; sums within one update are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.simulator.jit import kernel, load, nonzero, primitive, store
from neurodeploy.simulator.layout import TILE, WORD

ZERO, ZERO_DELAYED, ZERO_AFTER_INPUT, SUBTRACT, SUBTRACT_DELAYED, SUBTRACT_HELD, NO_RESET = range(7)
"""Values of a population's `reset` register; see `step`."""

INT32_MAX = (1 << 31) - 1
EXACT = 2
"""In place of `saturates` where nothing that is written to a state can leave its register."""
SHIFTED_BITS = 30
"""Widest state for which `shift` rounds within 32 bits."""

Ints = Any  # scalar, array or vector: the functions below do not care which


@primitive
def saturate(x: Ints, width: int) -> Ints:
    """min(max(x, -2^(width-1)), 2^(width-1) - 1)."""
    return np.minimum(np.maximum(x, -(1 << (width - 1))), (1 << (width - 1)) - 1)


@primitive
def wrap(x: Ints, width: int) -> Ints:
    """((x + 2^(width-1)) mod 2^width) - 2^(width-1): two's complement of `width` bits."""
    return ((x + (1 << (width - 1))) & ((1 << width) - 1)) - (1 << (width - 1))


@primitive
def fit(x: Ints, width: int, saturates: int) -> Ints:
    """What a state register of `width` bits holds after x was written to it."""
    if saturates == EXACT:
        return x
    if saturates:
        return saturate(x, width)
    return wrap(x, width)


@primitive
def multiply(state: Ints, keep: Ints, bits: int, nearest: int) -> Ints:
    """floor(state keep / 2^bits), or floor(state keep / 2^bits + 1/2) where `nearest`.

    keep in 0..2^bits, bits in 1..15.  With state = 2^bits h + l that is
    h keep + floor((l keep + 2^(bits-1) nearest) / 2^bits), which leaves 32 bits nowhere if state
    does not.
    """
    low = (state & ((1 << bits) - 1)) * keep + (nearest << (bits - 1))
    return (state >> bits) * keep + (low >> bits)


@primitive
def shift(state: Ints, k: Ints, width: int, nearest: int) -> Ints:
    """state - floor(state / 2^k), or state - floor(state / 2^k + 1/2) where `nearest`.

    k in 0..width; k = width stands for no decay at all, k = 0 keeps nothing.
    """
    lost = (state + ((nearest << k) >> 1)) >> k
    return state - (lost & (0 - (k < width) * 1))


@primitive
def decay(state: Ints, factor: Ints, width: int, bits: int, nearest: int) -> Ints:
    """`multiply` by factor / 2^bits, or `shift` by factor where bits = 0."""
    if bits > 0:
        return multiply(state, factor, bits, nearest)
    return shift(state, factor, width, nearest)


@primitive
def fires(v: Ints, threshold: Ints, closed: int) -> Ints:
    """1 where v > threshold, or v >= threshold where `closed`; else 0."""
    return (v > threshold - closed) * 1


@primitive
def step(
    v: Ints,
    i: Ints,
    fired: Ints,
    x: Ints,
    factor: Ints,
    current_factor: Ints,
    threshold: Ints,
    amount: Ints,
    bias: Ints,
    leak: Ints,
    width: int,
    bits: int,
    nearest: int,
    saturates: int,
    filtered: int,
    reset: int,
    closed: int,
) -> Any:
    """One step: (v, i, S, p), with p the potential as it is compared with the threshold.

    With S' the neuron's own spike (0 or 1) of the step before, D the decays, F = `fit`:

    filtered:  i = F(D(i) + x + bias), d = i + leak;   otherwise  d = x + bias.

    =================  ==================================================================
    reset              update
    =================  ==================================================================
    ZERO               p = F(D(v) + d);  S = [p > threshold];  v = p (1 - S)
    ZERO_DELAYED       p = F(D(v (1 - S')) + d);  S = [p > threshold];  v = p
    ZERO_AFTER_INPUT   p = F((D(v) + d) (1 - S'));  S = [p > threshold];  v = p
    SUBTRACT           p = F(D(v) + d);  S = [p > threshold];  v = F(p - amount S)
    SUBTRACT_DELAYED   p = F(D(v) + d - amount S');  S = [p > threshold];  v = p
    SUBTRACT_HELD      R = [v > threshold];  p = F(D(v) + d - amount R);
                       S = [p > threshold];  v = F(p - amount (S - R))
    NO_RESET           p = F(D(v) + d);  S = [p > threshold];  v = p
    =================  ==================================================================

    [p > threshold] is `fires`; R is always strict.
    """
    if filtered:
        i = fit(decay(i, current_factor, width, bits, nearest) + x + bias, width, saturates)
        d = i + leak
    else:
        d = x + bias
    held = fires(v, threshold, 0)
    if reset == ZERO_DELAYED:
        v = v * (1 - fired)
    y = decay(v, factor, width, bits, nearest) + d
    if reset == ZERO_AFTER_INPUT:
        y = y * (1 - fired)
    elif reset == SUBTRACT_DELAYED:
        y = y - amount * fired
    elif reset == SUBTRACT_HELD:
        y = y - amount * held
    p = fit(y, width, saturates)
    fired = fires(p, threshold, closed)
    v = p
    if reset == ZERO:
        v = p * (1 - fired)
    elif reset == SUBTRACT:
        v = fit(p - amount * fired, width, saturates)
    elif reset == SUBTRACT_HELD:
        v = fit(p - amount * (fired - held), width, saturates)
    return v, i, fired, p


def fits_int32(width: int, bits: int, states: int | None, arriving: int, *registers: Ints) -> bool:
    """Whether 32-bit integers give the same result as 64-bit ones.

    Two states, everything that arrives and all `registers` (threshold, amount, bias, leak, what a
    neuron's own spike adds) together must fit.

    Parameters
    ----------
    width, bits: of states, and of decays as `decay` takes them.
    states: largest magnitude of what is written to one, if it is known to fit its width.
    arriving: largest magnitude of what arrives in a step.
    """
    if bits == 0 and width > SHIFTED_BITS:
        return False
    largest = 1 << (width - 1) if states is None else states
    total = arriving + sum(int(np.abs(values).max(initial=0)) for values in registers)
    return 2 * largest + total <= INT32_MAX


@kernel
def run_neurons(
    current: Any,
    registers: Any,
    width: Any,
    bits: Any,
    nearest: Any,
    saturates: Any,
    filtered: Any,
    reset: Any,
    closed: Any,
    state: Any,
    words: Any,
    start: Any,
    first: Any,
    record: Any,
    v_out: Any,
    i_out: Any,
    potential: Any,
) -> None:
    """Neurons over time; a neuron's own spike arrives one step later.

    Parameters
    ----------
    current: int32 or int64 (tiles, samples, steps, 128), summed weights.
    registers: (tiles, 7, 128), of the same dtype: factor, current_factor, threshold, amount, bias,
        leak, and what a neuron's own spike adds.
    width, ..., closed: see `step`.
    state: (tiles, samples, 3, 128), of the same dtype, changed: v, i, and whether it fired.
    words, start, first: see `target.Cells.advance`.
    record: whether to fill the last three.
    v_out, i_out, potential: like `current`: v and i after the step, and p.
    """
    tiles, samples, steps, _ = current.shape
    for half in range(tiles * TILE // WORD):
        tile, lane = half * WORD // TILE, half * WORD % TILE
        at = tile * 7 * TILE + lane
        factor, current_factor = load(registers, at, WORD), load(registers, at + TILE, WORD)
        threshold = load(registers, at + 2 * TILE, WORD)
        amount = load(registers, at + 3 * TILE, WORD)
        bias, leak = load(registers, at + 4 * TILE, WORD), load(registers, at + 5 * TILE, WORD)
        own = load(registers, at + 6 * TILE, WORD)
        for b in range(samples):
            q = (tile * samples + b) * 3 * TILE + lane
            v, i = load(state, q, WORD), load(state, q + TILE, WORD)
            fired = load(state, q + 2 * TILE, WORD)
            at = (tile * samples + b) * steps * TILE + lane
            for t in range(steps):
                x = load(current, at, WORD) + own * fired
                v, i, fired, p = step(
                    v, i, fired, x, factor, current_factor, threshold, amount, bias, leak,
                    width, bits, nearest, saturates, filtered, reset, closed,
                )  # fmt: skip
                words[b, start + t, first * TILE // WORD + half] = nonzero(fired)
                if record:
                    store(v_out, at, v)
                    store(i_out, at, i)
                    store(potential, at, p)
                at += TILE
            store(state, q, v)
            store(state, q + TILE, i)
            store(state, q + 2 * TILE, fired)
