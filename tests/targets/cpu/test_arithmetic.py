"""The fixed-point primitives against Python integers: exhaustively where narrow, else drawn."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from neurodeploy.targets.cpu import arithmetic
from neurodeploy.targets.cpu.arithmetic import fires, fits_int32, multiply, saturate, shift, wrap

HALF = Fraction(1, 2)


def states(width: int) -> range:
    return range(-(1 << (width - 1)), 1 << (width - 1))


def model_multiply(state: int, keep: int, bits: int, nearest: int) -> int:
    return floor(Fraction(state * keep, 2**bits) + HALF * nearest)


def model_shift(state: int, k: int, width: int, nearest: int) -> int:
    lost = 0 if k == width else floor(Fraction(state, 2**k) + (HALF * nearest if k else 0))
    return state - lost


def model_wrap(x: int, width: int) -> int:
    while x >= 1 << (width - 1):
        x -= 1 << width
    while x < -(1 << (width - 1)):
        x += 1 << width
    return x


@pytest.mark.parametrize("nearest", [0, 1])
def test_decays_at_every_state_and_factor(nearest: int) -> None:
    """All 8-bit states; numpy, Python and compiled scalars agree with fractions."""
    v = np.array(states(8))
    for bits in range(1, 9):
        for keep in range((1 << bits) + 1):
            expected = [model_multiply(int(x), keep, bits, nearest) for x in v]
            assert multiply(v, np.int64(keep), bits, nearest).tolist() == expected
            assert all(abs(x) <= 128 for x in expected)
    for k in range(9):
        expected = [model_shift(int(x), k, 8, nearest) for x in v]
        assert shift(v, np.full_like(v, k), 8, nearest).tolist() == expected


def test_full_and_no_decay_are_exact() -> None:
    """Otherwise a neuron without leak would leak, and one without memory remember."""
    v = np.array(states(10))
    for nearest in (0, 1):
        assert np.array_equal(multiply(v, 1 << 7, 7, nearest), v)
        assert not multiply(v, 0, 7, nearest).any()
        assert np.array_equal(shift(v, np.full_like(v, 10), 10, nearest), v)
        assert not shift(v, np.zeros_like(v), 10, nearest).any()


@pytest.mark.parametrize("width", [2, 3, 8])
def test_registers_at_every_value(width: int) -> None:
    inside = states(width)
    for x in range(-5 << width, 5 << width):
        assert wrap(x, width) == model_wrap(x, width)
        assert saturate(x, width) == min(max(x, inside[0]), inside[-1])


@given(st.integers(-(2**31), 2**31 - 1), st.integers(1, 15), st.data())
def test_wide_states(state: int, bits: int, data: st.DataObject) -> None:
    keep, nearest = data.draw(st.integers(0, 1 << bits)), data.draw(st.integers(0, 1))
    assert multiply(state, keep, bits, nearest) == model_multiply(state, keep, bits, nearest)
    k = data.draw(st.integers(0, 32))
    assert shift(state, k, 32, nearest) == model_shift(state, k, 32, nearest)


@given(st.integers(-(2**40), 2**40), st.integers(8, 32))
def test_wide_registers(x: int, width: int) -> None:
    assert wrap(x, width) == (x + 2 ** (width - 1)) % 2**width - 2 ** (width - 1)
    assert saturate(x, width) == min(max(x, -(2 ** (width - 1))), 2 ** (width - 1) - 1)


@given(st.integers(2, 30), st.integers(1, 15), st.data())
def test_multiply_needs_no_more_than_32_bits(width: int, bits: int, data: st.DataObject) -> None:
    """The same formula in int32 arrays, where any overflow would show."""
    edge = 1 << (width - 1)
    v = data.draw(st.lists(st.integers(-edge, edge - 1) | st.sampled_from([-edge, edge - 1])))
    keep, nearest = data.draw(st.integers(0, 1 << bits)), data.draw(st.integers(0, 1))
    narrow, wide = np.array(v, np.int32), np.array(v, np.int64)
    found = multiply(narrow, np.int32(keep), bits, nearest)
    assert found.dtype == np.int32
    assert np.array_equal(found, multiply(wide, keep, bits, nearest))
    k = data.draw(st.integers(0, width))
    lost = shift(narrow, np.full(narrow.shape, k, np.int32), width, nearest)
    assert np.array_equal(lost, shift(wide, np.full(wide.shape, k), width, nearest))


def test_comparisons() -> None:
    for v, threshold in itertools.product(range(-3, 4), repeat=2):
        assert fires(v, threshold, 0) == (v > threshold)
        assert fires(v, threshold, 1) == (v >= threshold)


@pytest.mark.parametrize("name", ["saturate", "wrap", "multiply", "shift", "fires"])
def test_compiled_scalars(name: str) -> None:
    """What kernels call is what numpy calls."""
    function: Callable[..., Any] = getattr(arithmetic, name)
    compiled = njit(function)
    extra = {"saturate": (5,), "wrap": (5,), "multiply": (3, 3, 1), "shift": (2, 8, 1)}
    arguments = extra.get(name, (4, 1))
    for v in states(8):
        assert compiled(v, *arguments) == function(v, *arguments)


def test_32_bits_are_refused_where_sums_could_leave_them() -> None:
    one = np.array([1 << 29])
    assert fits_int32(24, 0, None, (1 << 31) - 1 - (1 << 24))
    assert not fits_int32(24, 0, None, (1 << 31) - (1 << 24))
    assert fits_int32(24, 8, None, 0, one, one)
    assert not fits_int32(24, 8, None, 0, one, one, -one, one)
    assert not fits_int32(31, 8, None, 0)
    assert fits_int32(32, 8, (1 << 30) - 1, 1)
    assert not fits_int32(32, 8, (1 << 30) - 1, 2)
    assert not fits_int32(32, 0, 1, 1)
