"""Lava's other neurons against models in Python integers; `conformance` asks Lava itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from neurodeploy.targets.loihi.arithmetic_neurons import (
    abs_int32,
    atrlif_fires,
    encode_delta,
    graded_message,
    graded_relu_message,
    product,
    refract,
    resonate,
    rf_fires,
    rf_iz_reset,
    sigma_delta_activation,
    toward_zero,
    update_theta,
)

M24, M32 = 2**23, 2**31
INT32 = st.integers(-M32, M32 - 1) | st.sampled_from([-M32, -M32 + 1, -1, 0, 1, M32 - 1])
STATE = st.integers(1 - M24, M24 - 1)


def i32(x: int) -> int:
    return (x + M32) % (2 * M32) - M32


def rtz(x: int, bits: int) -> int:
    return x // 2**bits if x >= 0 else -(-x // 2**bits)


@given(st.integers(-(2**45), 2**45), st.integers(0, 16))
@example(-1, 0)
@example(-4096, 12)
def test_toward_zero(x: int, bits: int) -> None:
    assert toward_zero(x, bits) == rtz(x, bits)


@given(INT32)
def test_abs_int32_is_that_of_a_32_bit_integer(x: int) -> None:
    with np.errstate(over="ignore"):
        assert abs_int32(x) == int(np.abs(np.array([x], np.int32))[0])


def model_delta(new: int, act: int, residue: int, error: int, vth: int, cum: int) -> Any:
    """As `sdn/models.py` goes about it, in Python integers."""
    delta = i32(i32(new - act) + residue)
    if cum:
        error = i32(error + delta)
        sent = delta if i32(abs(error)) >= vth else 0
        error = 0 if i32(abs(sent)) > 0 else error
    else:
        sent = delta if i32(abs(delta)) >= vth else 0
    return sent, i32(delta - sent), error


@given(INT32, INT32, INT32, INT32, st.integers(0, M32 - 1) | st.integers(0, 5), st.booleans())
@example(-M32, 0, 0, 0, 0, False)
@example(0, 0, -M32, 0, 1, False)
@example(0, 0, -M32, 1, 1, True)
@example(3, 0, 0, 0, 3, False)
def test_encode_delta(new: int, act: int, residue: int, error: int, vth: int, cum: bool) -> None:
    error = error if cum else 0
    found = encode_delta(new, act, residue, error, vth, int(cum))
    assert found == model_delta(new, act, residue, error, vth, int(cum))


@given(INT32, INT32)
def test_activation(sigma: int, bias: int) -> None:
    assert sigma_delta_activation(sigma, bias, 0) == i32(sigma + bias)
    assert sigma_delta_activation(sigma, bias, 1) == max(i32(sigma + bias), 0)


@given(STATE, STATE, INT32, INT32, st.integers(-4096, 4096), st.integers(-4096, 4096))
def test_resonate(re: int, im: int, a: int, b: int, sin: int, cos: int) -> None:
    real = rtz(cos * re, 12) - rtz(sin * im, 12) + i32(a << 6)
    imag = rtz(sin * re, 12) + rtz(cos * im, 12) + i32(b << 6)
    ends = [min(max(x, 1 - M24), M24 - 1) for x in (real, imag)]
    assert list(resonate(re, im, a, b, sin, cos, 12, 6)) == ends


def test_a_resonator_fires_where_its_phase_turns() -> None:
    assert rf_fires(5, 0, -1, 5)
    assert not rf_fires(4, 0, -1, 5)
    assert not rf_fires(5, -1, -1, 5)
    assert not rf_fires(5, 0, 0, 5)
    assert rf_iz_reset(7, 9, 5, 1) == (0, 4)
    assert rf_iz_reset(7, 9, 5, 0) == (7, 9)


@given(INT32, STATE, st.integers(0, 4096), INT32, INT32, st.booleans())
def test_thresholds_adapt(theta: int, rest: int, delta: int, r: int, v: int, fired: bool) -> None:
    decayed = i32(rtz(i32(theta - rest) * (4096 - delta), 12) + rest)
    assert update_theta(theta, rest, delta) == decayed
    assert atrlif_fires(v, r, theta) == (i32(v - r) >= theta)
    assert refract(r, theta, rest, int(fired)) == (
        (i32(r + 2 * theta), i32(theta + rest)) if fired else (r, theta)
    )


@given(INT32, INT32, st.integers(0, 31), st.integers(-5, M32 - 1))
@example(-M32, 1, 0, 3)
def test_graded_neurons(a: int, b: int, exponent: int, vth: int) -> None:
    v = i32(a * b) // 2**exponent
    assert product(a, b, exponent) == v
    assert graded_message(v, vth) == (v if i32(abs(v)) > vth else 0)
    assert graded_relu_message(v, vth) == (v if v > vth else 0)
