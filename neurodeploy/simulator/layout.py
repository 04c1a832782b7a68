"""Which lane each neuron of a population has: populations are simulated in tiles of 128 lanes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from neurodeploy.linear import Shape
from neurodeploy.program import IntArray

Number = TypeVar("Number", bound=np.generic)

TILE = 128
WORD = 64
HALVES = TILE // WORD
ALIGNMENT = 64
"""Bytes of a cache line: no vector of a power of two of lanes should straddle two lines."""


@dataclass(frozen=True)
class Layout:
    """Lanes of a population of `shape`.

    `pixel` = 0: neurons in C order.  Otherwise the shape is (channels, height, width) and the
    channels of a pixel lie side by side, in `pixel` lanes of which the last may be unused:
    lane (y width + x) pixel + c.
    """

    shape: Shape
    pixel: int = 0

    @functools.cached_property
    def used(self) -> int:
        """Number of lanes up to the last neuron's."""
        return math.prod(self.shape[1:]) * self.pixel if self.pixel else math.prod(self.shape)

    @functools.cached_property
    def tiles(self) -> int:
        """Number of tiles."""
        return -(-self.used // TILE)

    @functools.cached_property
    def lanes(self) -> int:
        """Number of lanes, those without a neuron among them."""
        return self.tiles * TILE

    @functools.cached_property
    def words(self) -> int:
        """Number of 64-bit words that hold one step's spikes."""
        return self.lanes // WORD

    @functools.cached_property
    def index(self) -> slice | IntArray:
        """Lanes of the neurons in C order."""
        if not self.pixel:
            return slice(0, self.used)
        grid = np.arange(self.used).reshape(*self.shape[1:], self.pixel)
        return np.moveaxis(grid[..., : self.shape[0]], -1, 0).reshape(-1)

    @functools.cached_property
    def valid(self) -> NDArray[np.uint64]:
        """The lanes that hold a neuron, as bits: uint64 (words,)."""
        flags = np.zeros(self.lanes, np.uint8)
        flags[self.index] = 1
        return np.packbits(flags, bitorder="little").view(np.uint64)

    def arrange(self, values: NDArray[Number]) -> NDArray[Number]:
        """Values of all neurons by lane: (lanes,); the first's where there is none."""
        flat = values.reshape(-1)
        result = np.full(self.lanes, flat[0])
        result[self.index] = flat
        return result

    def neurons(self, lanes: NDArray[Any]) -> NDArray[Any]:
        """Arrays (..., lanes) as (..., *shape)."""
        return lanes[..., self.index].reshape(*lanes.shape[:-1], *self.shape)

    def unpack(self, words: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Spikes (..., *shape), uint8, from bits (..., words)."""
        lead = words.shape[:-1]
        lanes = np.unpackbits(words.view(np.uint8), axis=-1, count=self.used, bitorder="little")
        if not self.pixel:
            return lanes.reshape(*lead, *self.shape)
        image = lanes.reshape(*lead, *self.shape[1:], self.pixel)[..., : self.shape[0]]
        return np.ascontiguousarray(np.moveaxis(image, -1, -3))


def aligned(shape: Shape, dtype: Any) -> NDArray[Any]:
    """An uninitialised array that begins at a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return np.asarray(raw[start : start + size].view(dtype).reshape(shape))


def tiled(rows: tuple[NDArray[Any], ...], dtype: Any) -> NDArray[Any]:
    """Arrays (lanes,) as one, (tiles, rows, 128)."""
    tiles = np.stack(rows).reshape(len(rows), -1, TILE).swapaxes(0, 1)
    return np.ascontiguousarray(tiles, dtype=dtype)
