"""Exact sums of weights over spikes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neurodeploy.arrivals import ANY_MESSAGE, SPIKE, sums
from neurodeploy.errors import InputError
from neurodeploy.linear import Conv2d, Dense
from neurodeploy.program import IntArray, Synapses
from neurodeploy.simulator.kernels import MOST, list_events, list_values, room
from neurodeploy.simulator.layout import TILE, Layout
from neurodeploy.simulator.scratch import Scratch
from neurodeploy.simulator.synapses import (
    WHOLE,
    Bytes,
    Events,
    Part,
    Patches,
    Rows,
    lanes_of,
    prepare,
)
from neurodeploy.trace import Spikes
from tests.builders import convolutions, spikes_for


def dense(weight: Any, in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> Synapses:
    return Synapses("a->b", "a", "b", "dense", np.asarray(weight, np.int64), 0, in_shape, out_shape)


def convolution(op: Conv2d, factor: int = 1) -> Synapses:
    return Synapses(
        "a->b", "a", "b", "conv2d", op.weight.astype(np.int64) * factor, 0, op.in_shape,
        op.out_shape, op.stride, op.padding, op.dilation, op.groups,
    )  # fmt: skip


def weight_sums(
    sent: IntArray | Spikes,
    synapses: Synapses,
    source: Layout | None = None,
    target: Layout | None = None,
) -> IntArray:
    """Sums (samples, steps, n) of the weights that spikes (samples, steps, *in_shape) reach.

    Messages, int32, multiply them.
    """
    graded = sent.dtype == np.int32
    source = source or Layout(synapses.in_shape)
    target = target or lanes_of(synapses.out_shape, synapses.kind == "conv2d")
    prepared = prepare(synapses, source, target, graded)
    samples, steps = sent.shape[:2]
    lanes = np.zeros((samples, steps, source.lanes), sent.dtype)
    lanes[..., source.index] = sent.reshape(samples, steps, -1)
    words = np.packbits(lanes != 0, axis=-1, bitorder="little").view(np.uint64)
    rows, size = samples * steps, room(samples * steps, source.used)
    values = np.zeros(size, np.int32) if graded else None
    first, last = np.zeros((2, rows), np.uint64)
    events = Events(np.zeros(size, np.uint32), first, last, values)
    list_events(words, source.valid, 0, steps, source.used, events.lanes, first, last)
    if graded:
        list_values(lanes, 0, steps, events.lanes, first, last, events.values)
    current = np.full((target.tiles, rows, TILE), 99, np.int64 if graded else np.int32)
    for part in (Part(0, 3), Part(1, 3), Part(2, 3)):
        prepared.sums.add(events, prepared.halvings, True, part, current, Scratch())
    once = current.copy()
    prepared.sums.add(events, prepared.halvings + 1, False, WHOLE, current, Scratch())
    assert np.array_equal(current, once * 3)
    lanes = once.swapaxes(0, 1).reshape(samples, steps, -1)
    total = target.neurons(lanes).reshape(samples, steps, -1)
    total = total.astype(np.int64)
    bounds = sums(synapses, ANY_MESSAGE if graded else SPIKE)
    assert np.all(bounds.low <= total)
    assert np.all(total <= bounds.high)
    return total


def image(op: Conv2d, pixel: int) -> Layout:
    """A layout of the convolution's input."""
    return Layout(op.in_shape, op.in_shape[0] + pixel - 1 if pixel else 0)


@settings(max_examples=200)
@given(
    convolutions(), st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(0, 2),
    st.sampled_from([1, 6, 2**14]),
)  # fmt: skip
def test_convolutions(op: Conv2d, seed: int, density: float, pixel: int, factor: int) -> None:
    spikes = spikes_for(seed, 2, 3, op.in_shape, density)
    sums = weight_sums(spikes, convolution(op, factor), image(op, pixel))
    assert np.array_equal(sums, op.apply(spikes.astype(float)).reshape(2, 3, -1) * factor)


@pytest.mark.parametrize(
    ("channels", "groups"), [(7, 1), (8, 1), (17, 1), (40, 1), (66, 3), (33, 33)]
)
def test_convolutions_with_many_channels(channels: int, groups: int) -> None:
    rng = np.random.default_rng(channels)
    weight = rng.integers(-127, 128, (channels, 33 // groups if groups > 1 else 2, 3, 2))
    op = Conv2d(
        weight.astype(float), (weight.shape[1] * groups, 5, 6), (1, 1), (1, 0), (1, 1), groups
    )
    spikes = spikes_for(channels, 2, 3, op.in_shape, 0.3)
    sums = weight_sums(spikes, convolution(op))
    assert np.array_equal(sums, op.apply(spikes.astype(float)).reshape(2, 3, -1))


shapes = st.lists(st.integers(1, 5), min_size=1, max_size=3)


@settings(max_examples=100)
@given(shapes, shapes, st.integers(0, 2**32 - 1), st.sampled_from([1, 127, 254, 2**15, 2**20]))
def test_dense_maps(source: list[int], target: list[int], seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-size, size + 1, (int(np.prod(target)), int(np.prod(source))))
    op = Dense(weight.astype(float), tuple(source), tuple(target))
    spikes = spikes_for(seed, 2, 3, op.in_shape)
    sums = weight_sums(spikes, dense(weight, op.in_shape, op.out_shape))
    assert np.array_equal(sums, op.apply(spikes.astype(float)).reshape(2, 3, -1))


@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_dense_maps_between_images(seed: int, source: bool, target: bool) -> None:
    shape, out = (3, 4, 5), (2, 3, 3)
    weight = np.random.default_rng(seed).integers(-99, 99, (18, 60))
    spikes = spikes_for(seed, 2, 3, shape)
    layouts = Layout(shape, 4 * source), Layout(out, 8 * target)
    sums = weight_sums(spikes, dense(weight, shape, out), *layouts)
    assert np.array_equal(sums, spikes.reshape(2, 3, -1) @ weight.T)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([300, 2**25]))
def test_one_to_one_synapses(seed: int, target: bool, size: int) -> None:
    shape = (2, 3, 9)
    weight = np.random.default_rng(seed).integers(-size, size, 54)
    synapses = Synapses("a->b", "a", "b", "one-to-one", weight, 0, shape, shape)
    spikes = spikes_for(seed, 2, 3, shape)
    sums = weight_sums(spikes, synapses, Layout(shape, 2), Layout(shape, 8 * target))
    assert np.array_equal(sums, spikes.reshape(2, 3, -1) * weight)


@pytest.mark.parametrize("sign", [-1, 1])
def test_more_events_than_16_bits_can_add(sign: int) -> None:
    """Weights of 8 bits are added as bytes for as long as averages tell the rest of the sum."""
    weight = np.full((130, 2000), sign * 127)
    weight[1:3] *= -1
    synapses = dense(weight, (2000,), (130,))
    sums = prepare(synapses, Layout((2000,)), Layout((130,))).sums
    assert isinstance(sums, Bytes)
    for count in (MOST - 1, MOST, MOST + 1, 2 * MOST, 2 * MOST + 1, 2000):
        spikes = np.zeros((1, 1, 2000), np.uint8)
        spikes[..., :count] = 1
        assert np.array_equal(weight_sums(spikes, synapses)[0, 0], weight[:, 0] * count)


def test_every_pair_of_8_bit_weights() -> None:
    """Both weights of 16 bits come back, whatever the other one is."""
    values = np.arange(-127, 128)
    weight = np.zeros((128, 255), np.int64)
    spikes = np.eye(255, dtype=np.uint8)[None]
    for low in values:
        weight[0], weight[64] = low, values
        sums = weight_sums(spikes, dense(weight, (255,), (128,)))
        assert np.array_equal(sums[0], weight.T)


def test_the_narrowest_weights_that_hold_the_values() -> None:
    for largest, dtype in ((127, None), (128, np.int16), (32767, np.int16), (32768, np.int32)):
        for sign in (-1, 1):
            weight = [[sign * largest, 1]]
            sums = prepare(dense(weight, (2,), (1,)), Layout((2,)), Layout((1,))).sums
            assert isinstance(sums, Bytes if dtype is None else Rows)
            assert isinstance(sums, Bytes) or sums.weight.dtype == dtype


def test_shared_powers_of_two_are_taken_out() -> None:
    weight = np.array([[-254, 8], [0, 2]]) << 3
    prepared = prepare(dense(weight, (2,), (2,)), Layout((2,)), Layout((2,)))
    assert prepared.halvings == 4
    assert isinstance(prepared.sums, Bytes)
    assert prepare(dense([[0, 0]], (2,), (1,)), Layout((2,)), Layout((1,))).halvings == 0


@given(st.integers(-3, 3))
@example(0)
def test_fields_have_16_bits_where_no_sum_leaves_them(offset: int) -> None:
    """At the bound exactly, and every partial sum with it."""
    weight = np.array([16383, 16384 + offset, -16383, -16384 + offset])
    op = Conv2d(np.zeros((1, 4, 1, 1)), (4, 1, 1))
    synapses = replace(convolution(op), weight=weight.reshape(1, 4, 1, 1))
    prepared = prepare(synapses, Layout(op.in_shape), lanes_of((1, 1, 1), True))
    assert isinstance(prepared.sums, Patches)
    assert prepared.sums.weight.dtype == (np.int16 if offset == 0 else np.int32)
    for chosen in range(16):
        spikes = np.array([chosen >> i & 1 for i in range(4)], np.uint8).reshape(1, 1, 4, 1, 1)
        assert weight_sums(spikes, synapses).item() == weight @ spikes.reshape(-1)


def messages_for(seed: int, shape: tuple[int, ...]) -> IntArray:
    """Integers of 32 bits of all sizes, with both ends: int32 (2, 3, *shape)."""
    rng = np.random.default_rng(seed)
    size = rng.integers(0, 32, (2, 3, *shape))
    values = rng.integers(-(2**31), 2**31, size.shape) >> size
    ends = rng.choice([-(2**31), 2**31 - 1], values.shape)
    return np.where(rng.random(values.shape) < 0.1, ends, values).astype(np.int32)


@settings(max_examples=100)
@given(convolutions(), st.integers(0, 2**32 - 1), st.integers(0, 2), st.sampled_from([1, 6, 2**14]))
def test_convolutions_of_messages(op: Conv2d, seed: int, pixel: int, factor: int) -> None:
    sent = messages_for(seed, op.in_shape)
    found = weight_sums(sent, convolution(op, factor), image(op, pixel))
    assert np.array_equal(found, op.apply(sent.astype(float)).reshape(2, 3, -1) * factor)


@settings(max_examples=100)
@given(shapes, shapes, st.integers(0, 2**32 - 1), st.sampled_from([1, 127, 254, 2**15, 2**22]))
def test_dense_maps_of_messages(source: list[int], target: list[int], seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-size, size + 1, (int(np.prod(target)), int(np.prod(source))))
    sent = messages_for(seed, tuple(source))
    found = weight_sums(sent, dense(weight, tuple(source), tuple(target)))
    assert np.array_equal(found, sent.reshape(2, 3, -1).astype(np.int64) @ weight.T)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([300, 2**25]))
def test_one_to_one_synapses_of_messages(seed: int, target: bool, size: int) -> None:
    shape = (2, 3, 9)
    weight = np.random.default_rng(seed).integers(-size, size, 54)
    synapses = Synapses("a->b", "a", "b", "one-to-one", weight, 0, shape, shape)
    sent = messages_for(seed, shape)
    found = weight_sums(sent, synapses, Layout(shape, 2), Layout(shape, 8 * target))
    assert np.array_equal(found, sent.reshape(2, 3, -1).astype(np.int64) * weight)


def test_the_largest_sum_of_messages_fits_64_bits() -> None:
    sent = np.full((1, 1, 2), -(2**31), np.int32)
    for weight in ([2**31 - 1, 0], [2**30, 2**30 - 1], [-(2**30), 1 - 2**30]):
        (((total,),),) = weight_sums(sent, dense([weight], (2,), (1,)))
        assert total == sum(weight) * -(2**31)


def test_sums_at_the_edge_of_32_bits() -> None:
    most = 2**31 - 1
    spikes = np.ones((1, 1, 2), np.uint8)
    for weight, ok in (([most - 5, 5], True), ([-most, 0], True), ([most, 1], False),
                       ([-most, -1], False), ([-(2**63), 0], False)):  # fmt: skip
        synapses = dense([weight], (2,), (1,))
        if ok:
            prepare(synapses, Layout((2,)), Layout((1,)))
            assert sums(synapses).extremes == (min(sum(weight), 0), max(sum(weight), 0))
        else:
            with pytest.raises(InputError, match=r"a->b: .*more than 2147483647"):
                prepare(synapses, Layout((2,)), Layout((1,)))
    halves = dense([[2**30 - 1, 2**29]], (2,), (1,))
    assert weight_sums(spikes, halves).tolist() == [[[2**30 - 1 + 2**29]]]
