"""Synapses as the kernels read them: narrow integers, in the order of the lanes.

Weights that all share a factor 2^k are divided by it, so that Loihi's even weights fit 8 bits.
Bounds of the sums follow from the integer weights alone and choose the accumulators: 16 bits where
no input can leave them, else 32.  Sums of weights times messages of 32 bits take 64, which hold
them wherever 32 hold the sum of the weights.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neurodeploy import arrivals
from neurodeploy.linear import Pair, Shape
from neurodeploy.program import IntArray, Synapses
from neurodeploy.simulator.kernels import ADD_PATCHES, add_bytes, add_rows
from neurodeploy.simulator.layout import TILE, WORD, Layout, aligned
from neurodeploy.simulator.scratch import Scratch

INT8_MAX = (1 << 7) - 1
INT16_MAX = (1 << 15) - 1


@dataclass(frozen=True)
class Part:
    """One of `count` shares of a work that threads do together."""

    index: int
    count: int

    def of(self, size: int) -> slice:
        """The share of `size` things."""
        return slice(size * self.index // self.count, size * (self.index + 1) // self.count)


WHOLE = Part(0, 1)


@dataclass(frozen=True, eq=False)
class Events:
    """What is sent in some rows: see `kernels.list_events`; `values` are None for spikes."""

    lanes: NDArray[np.uint32]
    first: NDArray[np.uint64]
    last: NDArray[np.uint64]
    values: NDArray[np.int32] | None = None


class Sums(Protocol):
    """Adds the weights that events reach, times the events' values."""

    def add(
        self,
        events: Events,
        shift: int,
        fresh: bool,
        part: Part,
        current: NDArray[Any],
        scratch: Scratch,
    ) -> None:
        """current (+)= sums 2^shift, or the share of that that is `part`.

        `current` is (tiles, rows, 128), int32, or int64 where events have values; `fresh`
        overwrites it.
        """


@dataclass(frozen=True, eq=False)
class Bytes:
    """All-to-all synapses of 8 bits.

    Attributes
    ----------
    weight: uint8 (tiles, source lanes + 1, 128); see `kernels.add_bytes`.
    """

    weight: NDArray[np.uint8]

    def pending(self, events: Events, shift: int, part: Part) -> tuple[Any, ...]:
        """What `kernels.sum_rows` takes, for the tiles of `part`."""
        weight = self.weight[part.of(len(self.weight))]
        return events.lanes, events.first, events.last, weight, shift

    def add(
        self,
        events: Events,
        shift: int,
        fresh: bool,
        part: Part,
        current: NDArray[Any],
        scratch: Scratch,
    ) -> None:
        tiles = part.of(len(current))
        weight, target = self.weight[tiles], current[tiles]
        add_bytes(events.lanes, events.first, events.last, weight, shift, fresh, target)


@dataclass(frozen=True, eq=False)
class Rows:
    """All-to-all synapses of more than 8 bits, or for messages.

    Attributes
    ----------
    weight: int16 or int32 (tiles, source lanes, 128).
    """

    weight: NDArray[Any]

    def add(
        self,
        events: Events,
        shift: int,
        fresh: bool,
        part: Part,
        current: NDArray[Any],
        scratch: Scratch,
    ) -> None:
        tiles = part.of(len(current))
        weight, target = self.weight[tiles], current[tiles]
        add_rows(
            events.lanes, events.first, events.last, events.values, weight, shift, fresh, target
        )


@dataclass(frozen=True, eq=False)
class Patches:
    """Synapses to a neighbourhood: a spike lays a patch of vectors down; see `add_patches`.

    Attributes
    ----------
    vector: lanes of a vector.
    field: size of the accumulator field: the target's pixels, a margin, and zeros at the end.
    """

    vector: int
    corner: NDArray[np.int32]
    patch: NDArray[np.int32]
    weight: NDArray[Any]
    steps: NDArray[np.int32]
    home: NDArray[np.int32]
    field: int

    def add(
        self,
        events: Events,
        shift: int,
        fresh: bool,
        part: Part,
        current: NDArray[Any],
        scratch: Scratch,
    ) -> None:
        rows = part.of(current.shape[1])
        field = scratch(f"field {part.index}", (self.field,), self.weight.dtype)
        ADD_PATCHES[self.vector](
            events.lanes,
            events.first,
            events.last,
            events.values,
            self.corner,
            self.patch,
            self.weight,
            self.steps,
            self.home,
            field,
            shift,
            fresh,
            rows.start,
            rows.stop,
            current,
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """Synapses ready to run: total = (what `sums` adds) 2^halvings."""

    sums: Sums
    halvings: int


def prepare(synapses: Synapses, source: Layout, target: Layout, graded: bool = False) -> Prepared:
    """Narrow and arrange the weights.

    Parameters
    ----------
    graded: for messages of 32 bits that multiply the weights.

    Raises
    ------
    InputError
        The weights of one neuron may sum up to more than 32 bits hold.
    """
    low, high = arrivals.sums(synapses).extremes
    halvings = _halvings(synapses.weight)
    weight = synapses.weight >> halvings
    sums: Sums
    if synapses.kind == "dense":
        sums = _dense(weight, source, target, graded)
    else:
        small = max(-low, high) >> halvings <= INT16_MAX
        dtype = np.int64 if graded else np.int16 if small else np.int32
        build = _convolution if synapses.kind == "conv2d" else _one_to_one
        sums = build(weight.astype(dtype), synapses, source, target)
    return Prepared(sums, halvings)


def vector_lanes(channels: int) -> int:
    """Lanes of the vectors that hold the channels of a pixel."""
    return next((lanes for lanes in ADD_PATCHES if lanes >= channels), max(ADD_PATCHES))


def _halvings(weight: IntArray) -> int:
    """The largest k for which 2^k divides every weight."""
    together = int(np.bitwise_or.reduce(weight, axis=None))
    return (together & -together).bit_length() - 1 if together else 0


def _dense(weight: IntArray, source: Layout, target: Layout, graded: bool) -> Bytes | Rows:
    reach = max(-int(weight.min(initial=0)), int(weight.max(initial=0)))
    dtype = np.int16 if reach <= INT16_MAX else np.int32
    by_source = np.zeros((len(weight), source.used), dtype)
    by_source[:, source.index] = weight
    by_lane = np.zeros((target.lanes, source.used), dtype)
    by_lane[target.index] = by_source
    tiles = by_lane.reshape(target.tiles, TILE, -1).transpose(0, 2, 1)
    if graded or reach > INT8_MAX:
        return Rows(_aligned(tiles))
    weight8 = aligned((len(tiles), source.used + 1, TILE), np.uint8)
    weight8[:, :-1, 0::2] = tiles[..., :WORD] + 128
    weight8[:, :-1, 1::2] = tiles[..., WORD:] + 128
    weight8[:, -1] = 128
    return Bytes(weight8)


def _aligned(values: NDArray[Any]) -> NDArray[Any]:
    result = aligned(values.shape, values.dtype)
    result[:] = values
    return result


def _one_to_one(
    weight: NDArray[Any], synapses: Synapses, source: Layout, target: Layout
) -> Patches:
    """Each patch is one vector with one weight in it."""
    vector = min(ADD_PATCHES)
    lane = np.arange(target.lanes)[target.index]
    one = np.zeros((lane.size, vector), weight.dtype)
    one[np.arange(lane.size), lane % vector] = weight.reshape(-1)
    return Patches(
        vector=vector,
        corner=source.arrange(lane - lane % vector).astype(np.int32),
        patch=source.arrange(np.arange(lane.size) * vector).astype(np.int32),
        weight=one,
        steps=np.zeros(1, np.int32),
        home=np.arange(0, target.lanes, vector, dtype=np.int32),
        field=target.lanes,
    )


@dataclass(frozen=True)
class _Axis:
    """One axis of a convolution: input y + padding = q stride + phase reaches outputs q - R + 1..q.

    Output q - R + 1 + j gets the weight at k dilation = phase + (R - 1 - j) stride.
    """

    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def reach(self) -> int:
        """R: outputs that one input can reach."""
        return (self.kernel - 1) * self.dilation // self.stride + 1

    @property
    def size(self) -> int:
        """The outputs, R - 1 more before the first, and those behind the last that are reached."""
        last = (self.inputs - 1 + self.padding) // self.stride
        return self.reach - 1 + max(last + 1, self.outputs)

    def place(self) -> tuple[IntArray, IntArray]:
        """(q, phase) of every input."""
        return np.divmod(np.arange(self.inputs) + self.padding, self.stride)

    def taps(self) -> list[tuple[int, int, int]]:
        """All (phase, j, k)."""
        found = []
        for phase, j in itertools.product(range(self.stride), range(self.reach)):
            k, rest = divmod(phase + (self.reach - 1 - j) * self.stride, self.dilation)
            if not rest and k < self.kernel:
                found.append((phase, j, k))
        return found


def _convolution(
    weight: NDArray[Any], synapses: Synapses, source: Layout, target: Layout
) -> Patches:
    """A field of pixels; the patch of an input covers the outputs that it reaches."""
    channels, (out, per_group) = synapses.in_shape[0], weight.shape[:2]
    rows, columns = (_axis(synapses, i) for i in range(2))
    pixel, vector = target.pixel, vector_lanes(target.shape[0])
    # The output channels of an input channel's group, and the vectors that they lie in.
    each = out // synapses.groups
    start = np.arange(channels) // per_group * each
    offset = start - start % vector
    depth = -(-int((start - offset).max() + each) // vector)
    values = np.zeros(
        (channels, rows.stride, columns.stride, rows.reach, columns.reach, depth * vector),
        weight.dtype,
    )
    grouped = weight.reshape(synapses.groups, each, per_group, *weight.shape[2:])
    by_input = grouped.transpose(0, 2, 1, 3, 4).reshape(channels, each, *weight.shape[2:])
    lanes = (start - offset)[:, None] + np.arange(each)
    for (down, i, k), (right, j, m) in itertools.product(rows.taps(), columns.taps()):
        place = values[:, down, right, i, j]
        place[np.arange(channels)[:, None], lanes] = by_input[:, :, k, m]
    vectors = values.reshape(channels * rows.stride * columns.stride, -1, vector)
    used = vectors.any(axis=(0, 2))
    grid = np.arange(rows.size * columns.size).reshape(rows.size, columns.size) * pixel
    steps = grid[: rows.reach, : columns.reach, None] + np.arange(0, depth * vector, vector)
    (y, a), (x, b) = rows.place(), columns.place()
    corner = offset[:, None, None] + grid[y[:, None], x]
    kind = (np.arange(channels)[:, None, None] * rows.stride + a[:, None]) * columns.stride + b
    inside = grid[rows.reach - 1 :, columns.reach - 1 :][: rows.outputs, : columns.outputs]
    zeros = rows.size * columns.size * pixel + depth * vector
    home = np.full(target.lanes // vector, zeros)
    home[: target.used // vector] = (inside.reshape(-1, 1) + np.arange(0, pixel, vector)).reshape(
        -1
    )
    return Patches(
        vector=vector,
        corner=source.arrange(corner).astype(np.int32),
        patch=source.arrange(kind * int(used.sum()) * vector).astype(np.int32),
        weight=_aligned(vectors[:, used]),
        steps=steps.reshape(-1)[used].astype(np.int32),
        home=home.astype(np.int32),
        field=zeros + vector,
    )


def _axis(synapses: Synapses, axis: int) -> _Axis:
    def of(pair: Pair) -> int:
        return pair[axis]

    return _Axis(
        inputs=synapses.in_shape[1 + axis],
        outputs=synapses.out_shape[1 + axis],
        kernel=synapses.weight.shape[2 + axis],
        stride=of(synapses.stride),
        padding=of(synapses.padding),
        dilation=of(synapses.dilation),
    )


def lanes_of(shape: Shape, convolved: bool) -> Layout:
    """The layout of a population: channels last where a convolution ends at it."""
    if not convolved:
        return Layout(shape)
    vector = vector_lanes(shape[0])
    return Layout(shape, math.ceil(shape[0] / vector) * vector)
