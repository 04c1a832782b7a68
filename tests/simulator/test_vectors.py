"""Vectors in kernels do what numpy does with arrays of their dtype."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numba.core.errors import TypingError

from neurodeploy.simulator.vectors import (
    average,
    flags,
    load,
    lowest,
    nonzero,
    ones,
    part,
    reinterpret,
    splat,
    store,
    widen,
)

OPERATIONS: list[Callable[[Any, Any], Any]] = [
    operator.add, operator.sub, operator.mul, operator.and_, operator.gt, operator.ge, operator.lt,
    operator.le, np.minimum, np.maximum,
]  # fmt: skip
DTYPES = [np.int8, np.int16, np.int32, np.int64]


@njit
def every(x: Any, y: Any) -> Any:
    """All operations, in the order of `OPERATIONS`."""
    sums = (x + y, x - y, x * y, x & y)
    return (*sums, x > y, x >= y, x < y, x <= y, np.minimum(x, y), np.maximum(x, y))


@njit
def combined(a: Any, b: Any, scalar: Any, out: Any) -> None:
    """16 elements from the third on with each other, and with a scalar on either side."""
    x, y = load(a, 2, 16), load(b, 2, 16)
    at = 0
    for results in (every(x, y), every(x, scalar), every(scalar, y)):
        for result in results:
            store(out, at, result)
            at += 16


@pytest.mark.parametrize("dtype", DTYPES)
def test_operators(dtype: Any) -> None:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(limits.bits)
    for scale in (int(limits.max), 3, 1):
        a, b = rng.integers(-scale - 1, scale, (2, 20), dtype=dtype, endpoint=True)
        x, y, z = a[2:18], b[2:18], b[0]
        found = np.zeros((3, len(OPERATIONS), 16), dtype)
        combined(a, b, int(z), found)
        for results, pair in zip(found, ((x, y), (x, z), (z, y)), strict=True):
            for result, operation in zip(results, OPERATIONS, strict=True):
                assert np.array_equal(result, operation(*pair).astype(dtype)), operation


def spread(dtype: Any) -> Any:
    """16 values of all sizes, without the largest."""
    limits = np.iinfo(dtype)
    low, high = int(limits.min), int(limits.max)
    return np.array([low, low + 1, *range(-6, 6), high // 3, high - 1], dtype)


def test_averages_of_all_unsigned_bytes() -> None:
    @njit
    def averaged(a: Any, b: Any, out: Any) -> None:
        for i in range(0, a.size, 64):
            store(out, i, average(load(a, i, 64), load(b, i, 64)))

    a, b = np.divmod(np.arange(1 << 16), 256)
    found = np.zeros(1 << 16, np.uint8)
    averaged(a.astype(np.uint8), b.astype(np.uint8), found)
    assert np.array_equal(found, (a + b + 1) // 2)


def test_parts_and_bits_of_vectors() -> None:
    @njit
    def both(a: Any, out: Any, other: Any) -> None:
        store(out, 0, part(load(a, 0, 16), 5, 4))
        store(other, 0, reinterpret(load(a, 0, 16), np.int32))

    values = np.random.default_rng(0).integers(-128, 128, 16).astype(np.int8)
    found, other = np.zeros(4, np.int8), np.zeros(4, np.int32)
    both(values, found, other)
    assert np.array_equal(found, values[5:9])
    assert np.array_equal(other, values.view(np.int32))


def test_shifts_keep_the_sign_and_drop_what_leaves() -> None:
    @njit
    def shifted(a: Any, by: Any, out: Any) -> None:
        store(out, 0, load(a, 0, 16) << by)
        store(out, 16, load(a, 0, 16) >> by)

    for dtype in DTYPES:
        limits = np.iinfo(dtype)
        a = spread(dtype)
        for by in range(limits.bits):
            out = np.zeros(32, dtype)
            shifted(a, by, out)
            assert np.array_equal(out, np.concatenate([a << dtype(by), a >> dtype(by)]))


@njit
def _widened(a: Any, out: Any) -> None:
    store(out, 0, widen(load(a, 0, 16), out.dtype) + splat(1, out.dtype, 16))


def test_widening_keeps_values() -> None:
    for narrow in DTYPES:
        for wide in DTYPES:
            a = spread(narrow)
            out = np.zeros(16, wide)
            if np.iinfo(wide).bits >= np.iinfo(narrow).bits:
                _widened(a, out)
                assert np.array_equal(out, a.astype(np.int64) + 1)
            else:
                with pytest.raises(TypingError):
                    _widened(a, out)


def test_nothing_is_stored_in_another_dtype() -> None:
    @njit
    def copy(a: Any, out: Any) -> None:
        store(out, 0, load(a, 0, 16))

    with pytest.raises(TypingError):
        copy(np.zeros(16, np.int32), np.zeros(16, np.int64))


@njit
def _masks(a: Any) -> Any:
    return nonzero(load(a, 0, 16)), nonzero(load(a, 0, 64))


@njit
def _spread_bits(word: Any, out: Any) -> None:
    store(out, 0, flags(word))


@njit
def _counted(word: Any) -> Any:
    return ones(word), lowest(word)


@settings(max_examples=50)
@given(st.integers(0, 2**64 - 1))
def test_words_of_bits(word: int) -> None:
    bits = np.array([word >> i & 1 for i in range(64)], np.uint8)
    assert _masks(bits * np.uint8(255)) == (word & 0xFFFF, word)
    out = np.zeros(64, np.int8)
    _spread_bits(np.uint64(word), out)
    assert np.array_equal(out, bits)
    expected = bin(word).count("1"), (word & -word).bit_length() - 1 if word else 64
    assert _counted(np.uint64(word)) == expected
