"""Potentials are the model's when the input arrives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.errors import ModelError
from neurodeploy.targets.spinnaker2 import arithmetic
from neurodeploy.targets.spinnaker2.start import Floats, start


def after(v: Floats, alpha: Floats, offset: Floats, depth: int) -> list[Floats]:
    """Potentials after each of `depth` ticks without input."""
    found = []
    for _ in range(depth):
        v = arithmetic.integrate(v, np.float32(0), alpha, offset)
        found.append(v)
    return found


def single(*values: float) -> Floats:
    return np.array(values, np.float32)


@given(
    st.floats(0.05, 1),
    st.floats(-20, 20),
    st.integers(0, 12),
    st.floats(0, 50),
)
def test_ticks_before_the_input_leave_no_trace(
    alpha: float, offset: float, depth: int, meant: float
) -> None:
    a, c, threshold = single(alpha), single(offset), single(100)
    try:
        v_init, moved = start(np.array([meant]), a, c, threshold, depth, "lif")
    except ModelError:
        assert float(c[0]) / (1 - alpha + 1e-9) >= 99  # a constant input that makes it spike
        return
    ticks = after(v_init, a, c, depth)
    assert all(v < threshold for v in ticks)
    final = ticks[-1] if ticks else v_init
    assert moved[0] == pytest.approx(abs(float(a[0]) * (float(final[0]) - meant)))
    if offset >= 0 and meant == 0:
        assert moved[0] <= 2.0**-20 * (1 + abs(offset)) * (1 + depth)


def test_a_start_above_the_threshold_is_lowered_and_counted() -> None:
    """A negative bias asks for a start so high that the neuron would spike on the way down."""
    a, c, threshold = single(0.5), single(-10), single(100)
    v_init, moved = start(np.zeros(1), a, c, threshold, 6, "lif")
    assert all(v < threshold for v in after(v_init, a, c, 6))
    assert 0 < moved[0] < 10
    assert start(np.zeros(1), a, c, threshold, 3, "lif")[1] == 0


def test_without_memory_only_the_threshold_matters() -> None:
    a, threshold = single(0), single(100)
    assert start(np.zeros(1), a, single(99), threshold, 5, "lif")[1] == 0
    with pytest.raises(ModelError, match="before any input"):
        start(np.zeros(1), a, single(100), threshold, 5, "lif")
