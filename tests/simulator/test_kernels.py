"""Spikes as bits and as events."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.simulator.kernels import AHEAD, list_events, pack
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
    events = np.full(rows * neurons + AHEAD, 7777, np.uint32)
    first = np.full(rows + 1, 7777, np.uint64)
    list_events(words.reshape(samples, steps, -1), layout.valid, start, stop, events, first)
    expected = [
        np.flatnonzero(spikes[b, t]) if t >= 0 else np.empty(0)
        for b in range(samples)
        for t in range(start, stop)
    ]
    assert first.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    for row, lanes in enumerate(expected):
        assert events[first[row] : first[row + 1]].tolist() == lanes.tolist()


def test_bits_of_lanes_without_a_neuron_are_no_events() -> None:
    layout = Layout((3, 2, 2), 8)
    words = np.full((1, 1, layout.words), 2**64 - 1, np.uint64)
    events, first = np.zeros(layout.used + AHEAD, np.uint32), np.zeros(2, np.uint64)
    list_events(words, layout.valid, 0, 1, events, first)
    assert events[: first[1]].tolist() == [0, 1, 2, 8, 9, 10, 16, 17, 18, 24, 25, 26]
