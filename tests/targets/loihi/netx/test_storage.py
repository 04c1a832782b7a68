"""What NetX stores of weights, and that Lava computes with the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neurodeploy.targets.loihi.netx.storage import storage, stored

MATRICES = arrays(np.int64, (3, 4), elements=st.integers(-127, 127))


@given(MATRICES.filter(lambda w: bool(np.any(w > 0))))
def test_even_weights_of_which_some_are_positive_are_kept(half: np.ndarray) -> None:
    (kept,), exponent = stored("layer/0", 2 * half)
    assert np.array_equal(kept, (2 * half) << -exponent)
    assert np.abs(kept).max() <= 255
    assert storage(2 * half).bits <= 8


@given(MATRICES.filter(lambda w: bool(np.any(w > 0) and np.any(w < 0))))
def test_small_odd_weights_of_both_signs_are_kept(weight: np.ndarray) -> None:
    (kept,), exponent = stored("layer/0", weight)
    assert np.array_equal(kept, weight << -exponent)
    assert np.all(kept % 2 == 0)
