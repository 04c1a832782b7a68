"""The Wilson score interval."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.equivalence.statistics import Proportion, agreement

Z = 1.959963984540054
"""Quantile 0.975 of the normal distribution."""


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Table I of Newcombe (1998), Statistics in Medicine 17:857-872, method 3, to 4 digits.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_intervals(successes: int, trials: int, low: float, high: float) -> None:
    assert Proportion(successes, trials).interval == pytest.approx((low, high), abs=5e-5)


def counts() -> st.SearchStrategy[tuple[int, int]]:
    return st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts())
def test_the_ends_solve_the_score_equation(pair: tuple[int, int]) -> None:
    """|p - q| = z sqrt(q (1 - q) / n) at both ends q: what the interval is defined by."""
    k, n = pair
    low, high = Proportion(k, n).interval
    p = k / n
    assert 0 <= low <= p + 1e-12
    assert p - 1e-12 <= high <= 1
    for end in (low, high):
        assert abs(p - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / n), abs=1e-7)


@given(counts())
def test_failures_mirror_successes(pair: tuple[int, int]) -> None:
    k, n = pair
    low, high = Proportion(k, n).interval
    assert Proportion(n - k, n).interval == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_agreement_counts_equal_entries() -> None:
    found = agreement(np.array([1, 2, 3, 4]), np.array([1, 0, 3, 0]))
    assert found == Proportion(2, 4)
    assert found.value == 0.5
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["low"] < plain["value"] < plain["high"]
