"""Spikes as bits and as events."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from neurodeploy.simulator.kernels import (
    GROUP,
    list_bits,
    list_events,
    list_in_turn,
    pack,
    room,
)
from neurodeploy.simulator.layout import Layout
from tests.builders import spikes_for


@settings(max_examples=60)
@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 300),
    st.floats(0, 1),
    st.integers(-3, 3),
    st.integers(0, 4),
)
def test_events_are_the_spikes_of_each_row(
    samples: int, steps: int, neurons: int, density: float, start: int, length: int
) -> None:
    spikes = spikes_for(neurons, samples, steps, (neurons,), density)
    stop = min(start + length, steps)
    start = min(start, stop)
    layout = Layout((neurons,))
    words = np.full((samples * steps, layout.words), 2**64 - 1, np.uint64)
    pack(spikes.reshape(samples * steps, neurons), words)
    assert np.array_equal(layout.unpack(words.reshape(samples, steps, -1)), spikes)
    rows = samples * (stop - start)
    events = np.full(room(rows, neurons), 7777, np.uint32)
    first, last = np.full((2, rows), 7777, np.uint64)
    words = words.reshape(samples, steps, -1)
    list_events(words, layout.valid, start, stop, 999, events, first, last)
    expected = [
        np.flatnonzero(spikes[b, t]) if t >= 0 else np.empty(0)
        for b in range(samples)
        for t in range(start, stop)
    ]
    padded = [-(-len(lanes) // GROUP) * GROUP for lanes in expected]
    assert first.tolist() == np.cumsum([0, *padded])[:-1].tolist()
    for row, lanes in enumerate(expected):
        assert events[first[row] : last[row]].tolist() == lanes.tolist()
        assert np.all(events[last[row] : first[row] + np.uint64(padded[row])] == 999)


@pytest.mark.parametrize("function", {list_in_turn, list_bits})
@given(st.integers(0, 64), st.integers(0, 2**32 - 1))
def test_the_bits_of_a_word(function: Any, count: int, seed: int) -> None:
    bits = np.sort(np.random.default_rng(seed).choice(64, count, replace=False))
    word = np.uint64(sum(1 << int(bit) for bit in bits))
    events = np.zeros(3 + 64 + GROUP, np.uint32)
    listing(function)(word, 128, events, np.uint64(3))
    assert events[:3].tolist() == [0, 0, 0]
    assert events[3 : 3 + count].tolist() == (bits + 128).tolist()


@functools.cache
def listing(function: Any) -> Any:
    @njit
    def call(word: Any, lane: Any, events: Any, n: Any) -> None:
        function(word, lane, events, n)

    return call


def test_bits_of_lanes_without_a_neuron_are_no_events() -> None:
    layout = Layout((3, 2, 2), 8)
    words = np.full((1, 1, layout.words), 2**64 - 1, np.uint64)
    events, (first, last) = np.zeros(room(1, layout.used), np.uint32), np.zeros((2, 1), np.uint64)
    list_events(words, layout.valid, 0, 1, 99, events, first, last)
    assert events[: last[0]].tolist() == [0, 1, 2, 8, 9, 10, 16, 17, 18, 24, 25, 26]
