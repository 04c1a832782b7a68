"""Analog values as integers on a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.errors import InputError, ModelError
from neurodeploy.grid import Grid, grid_step

LEVELS = 127


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6), st.integers(0, 255), st.integers(1, 4095))
def test_rounding_is_off_by_half_a_step_at_most(
    seed: int, step: float, below: int, above: int
) -> None:
    grid = Grid(step, -below, above)
    values = np.random.default_rng(seed).uniform(-below * step, above * step, 50)
    messages = grid.quantise(values, "x")
    assert messages.dtype == np.int32
    assert np.abs(grid.values(messages) - values).max() <= step / 2 * (1 + 1e-9)
    assert np.array_equal(grid.quantise(grid.values(messages), "x"), messages)


def test_halves_go_to_even() -> None:
    found = Grid(0.5, -9, 9).quantise(np.array([0.25, 0.75, 1.25, -0.25, -0.75]), "x")
    assert found.tolist() == [0, 2, 2, 0, -2]


def test_what_lies_outside_is_refused_and_not_clipped() -> None:
    grid = Grid(0.5, -2, 4)
    assert grid.quantise(np.array([-1.24, 2.24]), "x").tolist() == [-2, 4]
    with pytest.raises(InputError, match=r"x: 2 of 3 values lie outside -1\.\.2, .* span -1\.3"):
        grid.quantise(np.array([-1.3, 0, 2.3]), "x")


@pytest.mark.parametrize("step", [0.0, -1.0, np.inf, np.nan])
def test_a_step_is_positive(step: float) -> None:
    with pytest.raises(ModelError, match="expected a positive number"):
        Grid(step, 0, 1)


@pytest.mark.parametrize("ends", [(1, 2), (-2, -1), (0, 1 << 31), (-(1 << 31) - 1, 0)])
def test_a_grid_holds_0_and_32_bits(ends: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match="does not hold 0 or leaves 32 bits"):
        Grid(1.0, *ends)


@given(
    st.integers(0, 2**32 - 1),
    st.floats(1e-4, 1e3),
    st.sampled_from([np.float32, np.float64]),
)
def test_the_step_of_a_grid_is_found(seed: int, step: float, dtype: Any) -> None:
    whole = np.random.default_rng(seed).integers(-127, 128, 30)
    whole[:2] = 126, 127  # nothing larger divides all
    found = grid_step((whole * step).astype(dtype).astype(float).reshape(5, 6), LEVELS)
    assert found == pytest.approx(step, rel=1e-6)
    assert grid_step(whole * step * np.linspace(1, 1.01, 30), LEVELS) is None
    assert grid_step(np.arange(1, 200) * step, LEVELS) is None
    assert grid_step(np.zeros(3), LEVELS) is None
