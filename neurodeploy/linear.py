"""Linear maps between populations: what a spike vector becomes on its way to the next neurons.

Every map is bias-free (constant currents belong to the population), computes in float64 on arrays
of shape (..., *in_shape) and has its exact adjoint, which lets passes merge maps without building
matrices.  Weights may be kept in float32, which halves their memory and changes no bit.  Shapes are
(channels, height, width) for images; flattening is C order, as in torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import ModelError

Shape = tuple[int, ...]
Pair = tuple[int, int]
FloatArray = NDArray[np.float64]
Weights = NDArray[np.float32] | NDArray[np.float64]

BLOCK_VALUES = 1 << 20


class LinearMap(Protocol):
    """A bias-free linear map."""

    @property
    def in_shape(self) -> Shape:
        """Shape of one input."""

    @property
    def out_shape(self) -> Shape:
        """Shape of one output."""

    def apply(self, x: FloatArray) -> FloatArray:
        """Map (..., *in_shape) to (..., *out_shape)."""

    def adjoint(self, y: FloatArray) -> FloatArray:
        """Map (..., *out_shape) to (..., *in_shape) by the transposed matrix."""


def _split(x: FloatArray, shape: Shape) -> tuple[Shape, FloatArray]:
    """Leading axes of `x`, and `x` with these axes made one."""
    lead = x.shape[: x.ndim - len(shape)]
    return lead, x.reshape((math.prod(lead), *shape))


@dataclass(frozen=True, eq=False)
class Dense:
    """y = W x on the C-order flattening of x.

    `weight` is (out, in), float32 or float64.
    """

    weight: Weights
    in_shape: Shape
    out_shape: Shape

    def __post_init__(self) -> None:
        expected = (math.prod(self.out_shape), math.prod(self.in_shape))
        if self.weight.shape != expected:
            raise ModelError(f"dense weight has shape {self.weight.shape}, expected {expected}")

    def apply(self, x: FloatArray) -> FloatArray:
        lead = x.shape[: x.ndim - len(self.in_shape)]
        rows = x.reshape((*lead, -1))
        # One product for each leading index but the last: no sample depends on its neighbours, not
        # even in the last bit.
        y = np.concatenate([rows @ block.T for block in self._blocks()], axis=-1)
        return y.reshape((*lead, *self.out_shape))

    def adjoint(self, y: FloatArray) -> FloatArray:
        lead, flat = _split(y, self.out_shape)
        rows, start = flat.reshape(len(flat), -1), 0
        x = np.zeros((len(flat), self.weight.shape[1]))
        for block in self._blocks():
            x += rows[:, start : start + len(block)] @ block
            start += len(block)
        return x.reshape((*lead, *self.in_shape))

    def _blocks(self) -> Iterator[FloatArray]:
        """Some rows after others in float64: all at once, unless they have to be converted."""
        size = len(self.weight)
        if self.weight.dtype != np.float64:
            size = max(1, BLOCK_VALUES // self.weight.shape[1])
        for start in range(0, len(self.weight), size):
            yield self.weight[start : start + size].astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class Conv2d:
    """y[o, i, j] = sum over c, k, l of W[o, c, k, l] x[c, i s - p + k d, j s - p + l d].

    The cross-correlation of `torch.nn.Conv2d`; x is zero outside its size.  `weight` is
    (out channels, in channels / groups, kernel height, kernel width), float32 or float64; `stride`,
    `padding`, `dilation` are (height, width).
    """

    weight: Weights
    in_shape: Shape
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        if self.weight.ndim != 4 or len(self.in_shape) != 3:
            raise ModelError(
                f"convolution of shape {self.weight.shape} on {self.in_shape}: expected a "
                "4-dimensional weight on (channels, height, width)"
            )
        channels, out = self.in_shape[0], self.weight.shape[0]
        if channels != self.weight.shape[1] * self.groups or out % self.groups:
            raise ModelError(
                f"convolution weight {self.weight.shape} with {self.groups} groups does not fit "
                f"{channels} input channels"
            )
        if min(*self.stride, *self.dilation) < 1 or min(self.padding) < 0:
            raise ModelError("convolution needs stride >= 1, dilation >= 1, padding >= 0")
        if min(self.out_shape) < 1:
            raise ModelError(f"convolution output would be empty: {self.out_shape}")

    @property
    def out_shape(self) -> Shape:
        """(out channels, height, width), as torch computes it."""
        size = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                self.in_shape[1:],
                self.weight.shape[2:],
                self.stride,
                self.padding,
                self.dilation,
                strict=True,
            )
        ]
        return (self.weight.shape[0], *size)

    def _padded(self) -> Shape:
        channels, height, width = self.in_shape
        return (channels, height + 2 * self.padding[0], width + 2 * self.padding[1])

    def _taps(self) -> Iterator[tuple[FloatArray, tuple[slice, slice]]]:
        """Each kernel tap's (groups, out/groups, in/groups) matrix and where it reads."""
        _, height, width = self.out_shape
        grouped = self.weight.reshape(self.groups, -1, *self.weight.shape[1:])
        for row in range(self.weight.shape[2]):
            for column in range(self.weight.shape[3]):
                top, left = row * self.dilation[0], column * self.dilation[1]
                rows = slice(top, top + (height - 1) * self.stride[0] + 1, self.stride[0])
                columns = slice(left, left + (width - 1) * self.stride[1] + 1, self.stride[1])
                yield grouped[:, :, :, row, column].astype(np.float64), (rows, columns)

    def apply(self, x: FloatArray) -> FloatArray:
        lead, flat = _split(x, self.in_shape)
        (top, left), (_, height, width) = self.padding, self.in_shape
        padded = np.zeros((len(flat), *self._padded()))
        padded[:, :, top : top + height, left : left + width] = flat
        y = np.zeros(
            (len(flat), self.groups, self.weight.shape[0] // self.groups, *self.out_shape[1:])
        )
        for matrix, (rows, columns) in self._taps():
            window = padded[:, :, rows, columns]
            window = window.reshape(len(flat), self.groups, -1, math.prod(window.shape[2:]))
            y += (matrix @ window).reshape(y.shape)
        return y.reshape((*lead, *self.out_shape))

    def adjoint(self, y: FloatArray) -> FloatArray:
        lead, flat = _split(y, self.out_shape)
        grouped = flat.reshape(len(flat), self.groups, -1, *self.out_shape[1:])
        padded = np.zeros((len(flat), *self._padded()))
        for matrix, (rows, columns) in self._taps():
            part = np.einsum("goc,bgohw->bgchw", matrix, grouped, optimize=True)
            padded[:, :, rows, columns] += part.reshape(len(flat), -1, *part.shape[3:])
        (top, left), (_, height, width) = self.padding, self.in_shape
        x = padded[:, :, top : top + height, left : left + width]
        return x.reshape((*lead, *self.in_shape))


@dataclass(frozen=True, eq=False)
class Scale:
    """y = factor * x, element by element; `factor` is float64 of the whole shape."""

    factor: FloatArray

    @property
    def in_shape(self) -> Shape:
        return self.factor.shape

    @property
    def out_shape(self) -> Shape:
        return self.factor.shape

    def apply(self, x: FloatArray) -> FloatArray:
        return x * self.factor

    def adjoint(self, y: FloatArray) -> FloatArray:
        return y * self.factor


@dataclass(frozen=True)
class Reshape:
    """The same numbers in another shape (C order); what flattening is."""

    in_shape: Shape
    out_shape: Shape

    def __post_init__(self) -> None:
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            raise ModelError(f"cannot reshape {self.in_shape} into {self.out_shape}")

    def apply(self, x: FloatArray) -> FloatArray:
        return x.reshape((*_split(x, self.in_shape)[0], *self.out_shape))

    def adjoint(self, y: FloatArray) -> FloatArray:
        return y.reshape((*_split(y, self.out_shape)[0], *self.in_shape))


def pool2d(in_shape: Shape, kernel: Pair, stride: Pair, padding: Pair, *, average: bool) -> Conv2d:
    """Sum or average pooling as the depthwise convolution that it is.

    Every tap weighs 1 (sum) or 1/(kernel area) (average, padding counted as zeros).
    """
    value = 1.0 / math.prod(kernel) if average else 1.0
    weight = np.full((in_shape[0], 1, *kernel), value)
    return Conv2d(weight, in_shape, stride, padding, (1, 1), in_shape[0])


def written_out(
    weight: NDArray[Any], axis: int, dilation: int, before: int, after: int
) -> NDArray[Any]:
    """A kernel without dilation along one axis: gaps as zeros, more zeros `before` and `after` it.

    With as many more inputs of padding, at each end, a convolution with it gives the same outputs.
    """
    kernel = np.moveaxis(weight, axis, 0)
    span = dilation * (len(kernel) - 1) + 1
    wide = np.zeros((before + span + after, *kernel.shape[1:]), weight.dtype)
    wide[before : before + span : dilation] = kernel
    return np.ascontiguousarray(np.moveaxis(wide, 0, axis))


def ungrouped(conv: Conv2d) -> FloatArray:
    """The kernel with all input channels, zeros between groups: (out, in, height, width)."""
    out, per_group = conv.weight.shape[:2]
    full = np.zeros((out, conv.in_shape[0], *conv.weight.shape[2:]))
    for group in range(conv.groups):
        rows = slice(group * out // conv.groups, (group + 1) * out // conv.groups)
        full[rows, group * per_group : (group + 1) * per_group] = conv.weight[rows]
    return full


def fan_in_bounds(weights: Iterable[FloatArray], size: int) -> tuple[FloatArray, FloatArray]:
    """Least and most that one step's spikes can deliver to each of `size` neurons: (low, high).

    `weights` have the outputs first; a convolution's channel bounds hold for all its pixels.
    """
    low, high = np.zeros(size), np.zeros(size)
    for weight in weights:
        rows = weight.reshape(len(weight), -1)
        pixels = size // len(rows)
        low += np.repeat(np.minimum(rows, 0).sum(axis=1), pixels)
        high += np.repeat(np.maximum(rows, 0).sum(axis=1), pixels)
    return low, high


def describe(op: LinearMap) -> str:
    """One short line for people, e.g. `Conv2d 8x16 6x6 stride 2`."""
    if isinstance(op, Conv2d):
        out, per_group, height, width = op.weight.shape
        text = f"Conv2d {per_group * op.groups}→{out}, {height}x{width}"
        extras: list[tuple[str, Any, Any]] = [
            ("stride", op.stride, (1, 1)),
            ("padding", op.padding, (0, 0)),
            ("dilation", op.dilation, (1, 1)),
        ]
        for name, value, default in extras:
            if value != default:
                text += f", {name} {value[0] if value[0] == value[1] else value}"
        return text if op.groups == 1 else f"{text}, {op.groups} groups"
    if isinstance(op, Dense):
        return f"Dense {op.weight.shape[1]}→{op.weight.shape[0]}"
    return f"{type(op).__name__} {op.in_shape}→{op.out_shape}"
