"""Lava's other fixed-point neurons: sigma-delta, resonators, adaptive thresholds, graded ones.

The specification, as in `arithmetic`: pure functions of integers without branches on values.  All
states and messages have 32 bits and wrap there unless a function says otherwise.  Sources are Lava
0.10.0 files under `lava-nc/lava: src/lava/proc/`, named in each docstring; the tests run every
function against Lava itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.simulator.jit import kernel, primitive
from neurodeploy.targets.loihi.arithmetic import STATE_LIMIT, Ints, decay, wrap_int32


@primitive
def toward_zero(x: Ints, bits: Ints) -> Ints:
    """rtz(x / 2^bits) = (x + (2^bits - 1 where x < 0)) >> bits."""
    return (x + ((1 << bits) - 1) * (x < 0)) >> bits


@primitive
def abs_int32(x: Ints) -> Ints:
    """|x| in 32 bits, where |-2^31| is -2^31."""
    return wrap_int32(abs(x))


# --- sigma-delta: sdn/process.py, sdn/models.py ---------------------------------------------------


@primitive
def update_sigma(sigma: Ints, a: Ints) -> Ints:
    """sigma' = int32(sigma + a); what a Sigma neuron sends, too."""
    return wrap_int32(sigma + a)


@primitive
def scaled(x: Ints, spike_exp: Ints, state_exp: Ints) -> Ints:
    """int32(x << (spike_exp + state_exp)): thresholds, biases, and a Delta's input in state units.

    One unit of input is 2^(spike_exp + state_exp) in the states and 2^spike_exp in a message.
    """
    return wrap_int32(x << (spike_exp + state_exp))


@primitive
def sigma_delta_activation(sigma: Ints, bias: Ints, relu: Ints) -> Ints:
    """act' = f(int32(sigma + bias)) with f(x) = max(x, 0) where relu = 1, else x."""
    x = wrap_int32(sigma + bias)
    return x * (1 - relu * (x < 0))


@primitive
def encode_delta(
    new: Ints, act: Ints, residue: Ints, error: Ints, vth: Ints, cum_error: Ints
) -> Any:
    """(s, residue', error') of Delta and SigmaDelta; act' is `new`.

    d = int32(new - act + residue);  error'' = int32(error + d) where cum_error = 1, else 0.
    s = d where |cum_error ? error'' : d| >= vth, else 0;  residue' = d - s;
    error' = error'' where s = 0, else 0.

    `vth` is in state units.  Lava's docstring says |d| > vth, its model computes >=.  In 32 bits
    |-2^31| is negative: -2^31 reaches no threshold, and sending it does not clear the error.
    """
    d = wrap_int32(new - act + residue)
    summed = wrap_int32(error + d) * cum_error
    sent = d * (abs_int32(summed + d * (1 - cum_error)) >= vth)
    return sent, wrap_int32(d - sent), summed * (1 - (abs_int32(sent) > 0))


@primitive
def delta_message(sent: Ints, state_exp: Ints) -> Ints:
    """floor(s / 2^state_exp); the bits cut off are lost, not kept in the residue."""
    return sent >> state_exp


@primitive
def step_sigma_delta(
    sigma: Ints,
    act: Ints,
    residue: Ints,
    error: Ints,
    a: Ints,
    bias: Ints,
    relu: Ints,
    vth: Ints,
    cum_error: Ints,
) -> Any:
    """(sigma', act', s, residue', error') for an input a; bias and vth are in state units."""
    sigma = update_sigma(sigma, a)
    new = sigma_delta_activation(sigma, bias, relu)
    sent, residue, error = encode_delta(new, act, residue, error, vth, cum_error)
    return sigma, new, sent, residue, error


@kernel
def run_sigma_delta(
    current: Any,
    registers: Any,
    state: Any,
    messages: Any,
    record: Any,
    sigma_out: Any,
    act_out: Any,
    residue_out: Any,
    error_out: Any,
) -> None:
    """SigmaDelta neurons over time; a neuron's own message arrives one step later.

    Parameters
    ----------
    current: int64 (tiles, samples, steps, 128), summed activations.
    registers: int64 (tiles, 6, 128): bias and vth in state units, relu, cum_error, state_exp, and
        the activation by 1 in a neuron's own message.
    state: int64 (tiles, samples, 5, 128), changed: sigma, act, residue, error, the last message.
    messages: int32, like `current`, to be filled.
    record: whether to fill the last four, which are like `current`.
    """
    tiles, samples, steps, lanes = current.shape
    for tile in range(tiles):
        for b in range(samples):
            for t in range(steps):
                for lane in range(lanes):
                    bias, vth = registers[tile, 0, lane], registers[tile, 1, lane]
                    relu, cum_error = registers[tile, 2, lane], registers[tile, 3, lane]
                    late = registers[tile, 5, lane] * state[tile, b, 4, lane]
                    sigma, act, sent, residue, error = step_sigma_delta(
                        state[tile, b, 0, lane],
                        state[tile, b, 1, lane],
                        state[tile, b, 2, lane],
                        state[tile, b, 3, lane],
                        wrap_int32(current[tile, b, t, lane] + late),
                        bias,
                        relu,
                        vth,
                        cum_error,
                    )
                    message = delta_message(sent, registers[tile, 4, lane])
                    state[tile, b, 0, lane], state[tile, b, 1, lane] = sigma, act
                    state[tile, b, 2, lane], state[tile, b, 3, lane] = residue, error
                    state[tile, b, 4, lane] = message
                    messages[tile, b, t, lane] = message
                    if record:
                        sigma_out[tile, b, t, lane], act_out[tile, b, t, lane] = sigma, act
                        residue_out[tile, b, t, lane] = residue
                        error_out[tile, b, t, lane] = error


# --- resonate and fire: rf/process.py, rf/models.py, rf_iz/models.py ------------------------------


@primitive
def resonate(
    real: Ints,
    imag: Ints,
    a_real: Ints,
    a_imag: Ints,
    sin_decay: Ints,
    cos_decay: Ints,
    decay_bits: Ints,
    state_exp: Ints,
) -> Any:
    """(real', imag') of RF and RF_IZ before a reset.

    real' = clip(rtz(cos real / 2^b) - rtz(sin imag / 2^b) + int32(a_real << state_exp)),
    imag' = clip(rtz(sin real / 2^b) + rtz(cos imag / 2^b) + int32(a_imag << state_exp)),
    with b = decay_bits and clip to +-(2^23 - 1).  sin_decay is Lava's
    int((1 - alpha) sin(2 pi / period) 2^b), cos_decay the same with cos.
    """
    re = (
        toward_zero(cos_decay * real, decay_bits)
        - toward_zero(sin_decay * imag, decay_bits)
        + wrap_int32(a_real << state_exp)
    )
    im = (
        toward_zero(sin_decay * real, decay_bits)
        + toward_zero(cos_decay * imag, decay_bits)
        + wrap_int32(a_imag << state_exp)
    )
    return (
        np.minimum(np.maximum(re, 1 - STATE_LIMIT), STATE_LIMIT - 1),
        np.minimum(np.maximum(im, 1 - STATE_LIMIT), STATE_LIMIT - 1),
    )


@primitive
def rf_fires(real: Ints, imag: Ints, imag_before: Ints, vth: Ints) -> Ints:
    """RF: real' >= vth and imag' >= 0 and imag < 0; nothing is reset.

    vth is Lava's int(vth 2^state_exp).
    """
    return (real >= vth) & (imag >= 0) & (imag_before < 0)


@primitive
def rf_iz_fires(imag: Ints, vth: Ints) -> Ints:
    """RF_IZ: imag' >= vth."""
    return imag >= vth


@primitive
def rf_iz_reset(real: Ints, imag: Ints, vth: Ints, spike: Ints) -> Any:
    """(real, imag) after a spike: 0 and vth - 1, else unchanged."""
    return real * (1 - spike), spike * (vth - 1) + (1 - spike) * imag


# --- adaptive threshold: atrlif/models.py ---------------------------------------------------------
# Lava multiplies by 4096 delta and 64 theta_0 in float64 and shifts the products as integers.  For
# delta = D / 4096 and theta_0 = T / 64 with whole D and T these products, and those with a 32-bit
# state, are whole numbers below 2^53: nothing is rounded, and the integer formulas below are the
# same.  A program holds D and T.  Current and voltage are those of `arithmetic.integrate`.


@primitive
def update_theta(theta: Ints, theta_0: Ints, delta_theta: Ints) -> Ints:
    """theta' = int32(rtz(int32(theta - theta_0) (4096 - delta_theta) / 2^12) + theta_0)."""
    return wrap_int32(decay(wrap_int32(theta - theta_0), delta_theta) + theta_0)


@primitive
def update_r(r: Ints, delta_r: Ints) -> Ints:
    """r' = rtz(r (4096 - delta_r) / 2^12)."""
    return decay(r, delta_r)


@primitive
def atrlif_fires(v: Ints, r: Ints, theta: Ints) -> Ints:
    """int32(v - r) >= theta; v is not reset."""
    return wrap_int32(v - r) >= theta


@primitive
def refract(r: Ints, theta: Ints, theta_step: Ints, spike: Ints) -> Any:
    """(r, theta) after a spike: r + 2 theta and theta + theta_step, in 32 bits."""
    return wrap_int32(r + 2 * theta * spike), wrap_int32(theta + theta_step * spike)


# --- graded: prodneuron/models.py, graded/models.py -----------------------------------------------


@primitive
def product(a: Ints, b: Ints, exponent: Ints) -> Ints:
    """v = floor(int32(a b) / 2^exponent) of a ProdNeuron."""
    return wrap_int32(a * b) >> exponent


@primitive
def graded_message(v: Ints, vth: Ints) -> Ints:
    """v where |v| > vth, else 0: ProdNeuron and GradedVec.  In 32 bits |-2^31| is negative."""
    return v * (abs_int32(v) > vth)


@primitive
def graded_relu_message(v: Ints, vth: Ints) -> Ints:
    """v where v > vth, else 0: GradedReluVec."""
    return v * (v > vth)
