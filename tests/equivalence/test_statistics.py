"""The Wilson score interval, how many samples it needs, and the exact test of McNemar."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.equivalence.statistics import (
    Paired,
    Proportion,
    agreement,
    paired,
    samples_needed,
)
from neurodeploy.errors import InputError

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


@given(st.floats(0, 1), st.floats(0.002, 0.49))
def test_the_samples_needed_are_the_least_that_do(proportion: float, margin: float) -> None:
    def half(n: int) -> float:
        root = math.sqrt(proportion * (1 - proportion) / n + Z * Z / (4 * n * n))
        return Z * root / (1 + Z * Z / n)

    n = samples_needed(proportion, margin)
    assert half(n) <= margin * (1 + 1e-12)
    assert n == 1 or half(n - 1) > margin * (1 - 1e-12)


def test_samples_needed_for_common_margins() -> None:
    """Near the normal approximation z² p (1 - p) / m²: 9604 for 1/2 and 1 %."""
    assert abs(samples_needed(0.5, 0.01) - (9604 - Z * Z)) < 1.5
    assert samples_needed(1.0, 0.01) == math.ceil(Z * Z * (1 / 0.02 - 1))
    for bad in ((1.1, 0.01), (0.5, 0.0), (0.5, 0.5), (math.nan, 0.1)):
        with pytest.raises(InputError):
            samples_needed(*bad)


@pytest.mark.parametrize("pair", [(0, 0), (1, 0), (5, 0), (3, 3), (2, 11), (40, 61), (900, 1000)])
def test_mcnemar_is_the_exact_binomial_test(pair: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    expected = binomtest(pair[0], sum(pair)).pvalue if sum(pair) else 1.0
    assert Paired(*pair).p_value == pytest.approx(expected, rel=1e-9)
    assert Paired(*pair[::-1]).p_value == Paired(*pair).p_value


def test_pairs_are_counted_where_one_is_right() -> None:
    found = paired(np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 1, 0, 0], bool))
    assert found == Paired(lost=2, gained=1)
    assert json.loads(json.dumps(found.to_dict()))["p_value"] == 1.0
