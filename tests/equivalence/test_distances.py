"""Distances of spike trains against closed forms and against their definitions."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.equivalence.distances import distances, van_rossum, victor_purpura
from neurodeploy.errors import InputError
from neurodeploy.trace import Spikes, Trace

STEPS = 30


def train(*times: int) -> Spikes:
    """One train (1, steps, 1) with a spike at each of `times`."""
    spikes = np.zeros((1, STEPS, 1), np.uint8)
    np.add.at(spikes, (0, list(times), 0), 1)
    return spikes


def test_one_spike_too_many() -> None:
    for step in (0, 7, STEPS - 1):
        assert van_rossum(train(step), train(), 4.0)[0, 0] == pytest.approx(1 / 2)
        assert victor_purpura(train(step), train())[0, 0] == 1


@pytest.mark.parametrize("apart", [1, 3, 12])
def test_one_spike_moved(apart: int) -> None:
    """1 - exp(-Δ/τ) (van Rossum 2001); min(2, q Δ)."""
    a, b = train(5), train(5 + apart)
    assert van_rossum(a, b, 4.0)[0, 0] == pytest.approx(1 - math.exp(-apart / 4))
    assert victor_purpura(a, b, 0.25)[0, 0] == min(2, apart / 4)


times = st.lists(st.integers(0, STEPS - 1), max_size=6).map(sorted)


@given(times, times, st.floats(0.5, 50))
def test_van_rossum_is_the_sum_over_pairs(a: list[int], b: list[int], tau: float) -> None:
    """D² = (Σ_aa + Σ_bb) / 2 - Σ_ab of exp(-|s - t| / τ): the integral done by hand."""

    def pairs(p: list[int], q: list[int]) -> float:
        return sum(math.exp(-abs(s - t) / tau) for s in p for t in q)

    expected = (pairs(a, a) + pairs(b, b)) / 2 - pairs(a, b)
    assert van_rossum(train(*a), train(*b), tau)[0, 0] == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(times, times), min_size=1, max_size=4), st.floats(0.01, 3))
def test_victor_purpura_is_the_cheapest_edit(pairs: list, cost: float) -> None:
    """Several trains at once, each by the definition."""

    def cheapest(a: list[int], b: list[int]) -> float:
        @functools.cache
        def at(i: int, j: int) -> float:
            if not i or not j:
                return i + j
            moved = at(i - 1, j - 1) + cost * abs(a[i - 1] - b[j - 1])
            return min(at(i - 1, j) + 1, at(i, j - 1) + 1, moved)

        return at(len(a), len(b))

    first, second = (np.concatenate([train(*pair[k]) for pair in pairs]) for k in (0, 1))
    expected = [cheapest(*pair) for pair in pairs]
    assert victor_purpura(first, second, cost)[:, 0] == pytest.approx(expected)


@given(times, times)
def test_limits_of_the_time_scale(a: list[int], b: list[int]) -> None:
    """Free moves leave the difference of counts, dear ones every spike without its like."""
    first, second = train(*a), train(*b)
    free, dear = victor_purpura(first, second, 1e-9), victor_purpura(first, second, 1e3)
    assert free[0, 0] == pytest.approx(abs(len(a) - len(b)), abs=1e-6)
    assert dear[0, 0] == np.abs(first.astype(int) - second).sum()


def test_distances_of_a_population() -> None:
    """Two samples, two neurons: one train has a spike too many, one has it two steps later."""
    a = np.zeros((2, 9, 2), np.uint8)
    a[:, 3] = 1
    b = a.copy()
    b[0, 7, 0] = 1
    b[1, 3, 1], b[1, 5, 1] = 0, 1
    found = distances(Trace({"p": a}), Trace({"p": b}), "p", 2.0)
    assert (found.equal, found.count_error, found.count_bias) == (0.5, 0.25, 0.25)
    assert found.van_rossum == pytest.approx((1 / 2 + 1 - math.exp(-1)) / 4)
    assert found.victor_purpura == pytest.approx((1 + 1) / 4)
    same = distances(Trace({"p": a}), Trace({"p": a}), "p")
    assert (same.equal, same.van_rossum, same.victor_purpura) == (1, 0, 0)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="shape"):
        van_rossum(train(1), train(1)[:, 1:])
    with pytest.raises(InputError, match="time constant is 0"):
        van_rossum(train(1), train(1), 0)
    with pytest.raises(InputError, match="cost is nan"):
        victor_purpura(train(1), train(1), math.nan)
