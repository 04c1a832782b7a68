"""The integer kernels against big-integer models written from Lava's published update rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numba import njit

from neurodeploy.targets.loihi import arithmetic
from neurodeploy.targets.loihi.arithmetic import (
    bias_current,
    conv_activation,
    decay,
    dense_activation,
    fires,
    integrate,
    reset,
    update_u,
    update_v,
    wrap_int24,
    wrap_int32,
)

M24 = 2**23
M32 = 2**31

EDGES = [s * (m + d) for s in (-1, 1) for m in (0, 64, 4096, 2**17, M24, M24 << 6, M32)
         for d in (-2, -1, 0, 1, 2)]  # fmt: skip


def near(limit: int) -> st.SearchStrategy[int]:
    """Whole numbers in +-limit, the edges of all registers among them."""
    inside = [e for e in EDGES if -limit <= e <= limit]
    return st.integers(-limit, limit) | st.sampled_from(inside)


# --- the model: Python integers, signs and floors spelled out ------------------------------------


def i32(x: int) -> int:
    return (x + 2**31) % 2**32 - 2**31


def i24(x: int) -> int:
    return (x + 2**23) % 2**24 - 2**23


def rtz(x: int, bits: int) -> int:
    return x // 2**bits if x >= 0 else -(-x // 2**bits)


def model_u(u: int, a: int, du: int) -> int:
    u = i32(rtz(u * (4096 - (du + 1)), 12) + i32(a * 64))
    if u > M24:
        u -= 2 * M24
    if u <= -M24:
        u += 2 * M24
    return u


def model_v(v: int, u: int, bias: int, dv: int) -> int:
    return min(max(i32(rtz(v * (4096 - dv), 12) + u + bias), 1 - M24), M24 - 1)


def model_dense(total: int, exponent: int) -> int:
    return i32(i32(total) * 2**exponent) if exponent > 0 else i32(total) // 2**-exponent


# --- functions -----------------------------------------------------------------------------------


STATES, DECAYS, INT32 = near(M24), st.integers(0, 4095), near(M32 - 1)


@given(near(2**40))
@example(M32)
@example(-M32)
@example(M24)
@example(-M24)
def test_wraps(x: int) -> None:
    assert wrap_int32(x) == i32(x)
    assert wrap_int24(x) == i24(x)


@given(INT32, st.integers(0, 4096))
def test_decay_rounds_toward_zero(state: int, factor: int) -> None:
    assert decay(state, factor) == rtz(state * (4096 - factor), 12)
    assert decay(-state, factor) == -decay(state, factor)


@given(near(2**40), st.integers(-12, 12))
def test_dense_activations(total: int, exponent: int) -> None:
    assert dense_activation(total, exponent) == model_dense(total, exponent)


@given(near(2**31), st.integers(0, 7))
def test_convolution_activations(total: int, exponent: int) -> None:
    assert conv_activation(total, exponent) == i24(total * 2**exponent)


@given(st.integers(-4096, 4095), st.integers(0, 7))
def test_bias(mantissa: int, exponent: int) -> None:
    assert bias_current(mantissa, exponent) == mantissa * 2**exponent


@given(STATES, INT32, st.integers(-1, 4095))
@example(M24, 0, -1)
@example(-M24, 0, -1)
@example(0, M24 // 64, 4095)
@example(0, -M24 // 64, 4095)
@example(0, M24 // 64 + 1, 4095)
@example(0, M32 // 64 - 1, 4095)
@example(0, M32 // 64, 4095)
@example(0, 3 * M24 // 64, 4095)
def test_current(u: int, a: int, du: int) -> None:
    assert update_u(u, a, du) == model_u(u, a, du)


def test_the_current_wraps_once_and_keeps_its_upper_edge() -> None:
    """u = +2^23 stays, -2^23 becomes +2^23, and three times 2^23 leaves the 24 bits."""
    unit = M24 // 64
    assert [int(update_u(0, n * unit, 4095)) for n in (1, -1, 2, 3, -3)] == [
        M24, M24, 0, M24, -M24
    ]  # fmt: skip
    assert update_u(0, 4 * unit, 4095) == 2 * M24


@given(STATES, near(M32 - 1), near(4096 << 7), st.integers(0, 4096))
@example(M24 - 1, M24, 0, 0)
@example(1 - M24, -M24, 0, 0)
@example(0, M32 - 1, 1, 4096)
@example(0, 1 - M32, -2, 4096)
def test_voltage(v: int, u: int, bias: int, dv: int) -> None:
    assert update_v(v, u, bias, dv) == model_v(v, u, bias, dv)


@given(STATES, st.integers(0, 2**17 - 1), st.integers(-1, 1))
def test_the_threshold_is_strict(v: int, vth: int, offset: int) -> None:
    assert bool(fires(v, vth)) == (v > vth * 64)
    assert bool(fires(vth * 64 + offset, vth)) == (offset > 0)


@given(STATES, st.booleans())
def test_reset(v: int, spike: bool) -> None:
    assert reset(v, int(spike)) == (0 if spike else v)


# --- one source for scalars, arrays and compiled code --------------------------------------------


@njit
def compiled(u: Any, v: Any, a: Any, du: Any, dv: Any, bias: Any, vth: Any) -> Any:
    u2, v2 = arithmetic.integrate(u, v, a, du, dv, bias)
    spike = arithmetic.fires(v2, vth)
    return u2, v2, int(spike), arithmetic.reset(v2, int(spike))


ROWS = st.tuples(STATES, STATES, INT32, st.integers(-1, 4095), st.integers(0, 4096),
                 near(4096 << 7), st.integers(0, 2**17 - 1))  # fmt: skip


def model_step(u: int, v: int, a: int, du: int, dv: int, bias: int, vth: int) -> tuple[int, ...]:
    u = model_u(u, a, du)
    v = model_v(v, u, bias, dv)
    spike = int(v > vth * 64)
    return u, v, spike, 0 if spike else v


@given(st.lists(ROWS, min_size=1, max_size=30))
def test_scalars_arrays_and_compiled_code_agree(rows: list[tuple[int, ...]]) -> None:
    expected = [model_step(*row) for row in rows]
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    u, v = integrate(*columns[:6])
    spikes = fires(v, columns[6]).astype(np.int64)
    arrays = zip(u.tolist(), v.tolist(), spikes.tolist(), reset(v, spikes).tolist(), strict=True)
    assert list(arrays) == expected
    assert [tuple(compiled(*row)) for row in rows] == expected


@pytest.mark.parametrize("function", [wrap_int32, wrap_int24])
def test_wrapping_an_array_is_storing_it(function: Callable[[Any], Any]) -> None:
    values = np.array(EDGES, np.int64)
    if function is wrap_int32:
        assert np.array_equal(function(values), values.astype(np.int32))
    assert function(values).tolist() == [
        i32(x) if function is wrap_int32 else i24(x) for x in EDGES
    ]
