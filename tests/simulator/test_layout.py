"""Neurons, lanes and bits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.simulator.layout import Layout, aligned
from tests.builders import spikes_for

layouts = st.builds(
    lambda shape, spare, last: Layout(shape, (shape[0] + spare) * last),
    st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(1, 7)),
    st.integers(0, 5),
    st.booleans(),
)


@given(layouts)
def test_every_neuron_has_a_lane_of_its_own(layout: Layout) -> None:
    size = int(np.prod(layout.shape))
    lanes = np.arange(layout.lanes)[layout.index]
    assert len(set(lanes.tolist())) == size
    assert lanes.max() == layout.used - 1 if not layout.pixel else lanes.max() < layout.used
    assert layout.lanes == layout.tiles * 128 == layout.words * 64 >= layout.used
    if layout.pixel:
        width = layout.shape[2]
        for c, y, x in np.ndindex(layout.shape):
            at = np.ravel_multi_index((c, y, x), layout.shape)
            assert lanes[at] == (y * width + x) * layout.pixel + c


@given(layouts)
def test_back_and_forth(layout: Layout) -> None:
    values = np.random.default_rng(0).integers(-99, 99, layout.shape)
    lanes = layout.arrange(values)
    assert np.array_equal(layout.neurons(np.stack([lanes, -lanes])), np.stack([values, -values]))
    everywhere = layout.arrange(np.array([5]))
    assert np.all(everywhere == 5)
    spikes = spikes_for(0, 2, 3, layout.shape)
    flags = np.ones((2, 3, layout.lanes), np.uint8)
    flags[..., layout.index] = spikes.reshape(2, 3, -1)
    words = np.packbits(flags, axis=-1, bitorder="little").view(np.uint64)
    assert np.array_equal(layout.unpack(words), spikes)
    assert layout.unpack(words).flags.c_contiguous
    valid = np.unpackbits(layout.valid.view(np.uint8), bitorder="little")
    assert np.array_equal(np.flatnonzero(valid), np.sort(np.arange(layout.lanes)[layout.index]))


def test_buffers_begin_at_a_cache_line() -> None:
    for size in range(1, 40):
        array = aligned((size, 3), np.int16)
        assert array.ctypes.data % 64 == 0
        assert (array.shape, array.dtype) == ((size, 3), np.int16)
