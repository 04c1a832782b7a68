"""Synapses of a `.net` file: weights, convolution geometry, biases and delays, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import FileError, ModelError
from neurodeploy.frontends.lava_dl_fields import MAX_SIZE, Fields, IntArray
from neurodeploy.linear import Conv2d, Pair, Shape, written_out

WEIGHTS = (-256, 255)
"""What 8-bit weights of Loihi 2 hold, with or without sign; SLAYER writes even -256..254."""
BIASES = (-(1 << 12), (1 << 12) - 1)
"""The 13-bit mantissa of the bias register."""
MAX_DELAY = 62
"""The limit of SLAYER's delays, and of NetX."""


def matrix(fields: Fields, name: str, size: int, inputs: int | None = None) -> IntArray:
    """Dense weights (size, inputs); a flat array is cut into rows, as NetX does."""
    weight = _weights(fields, name)
    if weight.ndim == 1 and weight.size % size == 0:
        weight = weight.reshape(size, -1)
    if weight.ndim != 2 or len(weight) != size:
        raise fields.error(name, f"has shape {weight.shape}, the layer {size} outputs")
    if inputs is not None and weight.shape[1] != inputs:
        raise fields.error(name, f"has shape {weight.shape}, expected {(size, inputs)}")
    return weight


def kernel(fields: Fields) -> IntArray:
    """Convolution weights (out channels, in channels / groups, height, width).

    SLAYER's convolutions have a third axis, of size 1, for time.
    """
    weight = _weights(fields, "weight")
    if weight.ndim == 5 and weight.shape[4] == 1:
        weight = weight[..., 0]
    if weight.ndim != 4:
        raise fields.error("weight", f"has shape {weight.shape}, expected 4 dimensions")
    fields.agree("kernelSize", *weight.shape[2:])
    return weight


def _weights(fields: Fields, name: str) -> IntArray:
    if fields.is_group(name):
        raise ModelError(
            f"{name} is complex, for resonate-and-fire neurons",
            node=fields.node,
            hint="Train with slayer.block.cuba.",
        )
    hint = "Export from blocks with their own 8-bit quantisation (`quantize_8bit`)."
    return fields.integers(name, *WEIGHTS, hint)


@dataclass(frozen=True)
class Geometry:
    """(height, width) of each option of a convolution or pooling."""

    stride: Pair
    padding: Pair
    dilation: Pair

    @classmethod
    def read(cls, fields: Fields) -> Geometry:
        """The fields `stride`, `padding` and `dilation`."""
        return cls(fields.pair("stride", 1), fields.pair("padding", 0), fields.pair("dilation", 1))

    def input_sizes(self, kernel: Shape, out: Shape) -> Pair | None:
        """The (height, width) from which `out` comes, where only one can: with stride 1.

        n = m - 1 + d (k - 1) + 1 - 2p, from torch.nn.Conv2d's m = (n + 2p - d (k - 1) - 1)/s + 1.
        """
        if self.stride != (1, 1):
            return None
        height, width = (
            m + d * (k - 1) - 2 * p
            for m, d, k, p in zip(out, self.dilation, kernel, self.padding, strict=True)
        )
        return (height, width) if min(height, width) >= 1 else None


def convolution(
    fields: Fields, weight: IntArray, in_shape: Shape, geometry: Geometry, groups: int
) -> Conv2d:
    """The convolution; its output is what the field `shape` says."""
    padded = [n + 2 * p for n, p in zip(in_shape[1:], geometry.padding, strict=False)]
    if math.prod((*in_shape[:1], *padded)) > MAX_SIZE:
        raise fields.error("padding", f"is {geometry.padding}: more than {MAX_SIZE} inputs")
    try:
        op = Conv2d(
            weight.astype(np.float64),
            in_shape,
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            groups,
        )
    except ModelError as error:
        raise FileError(error.message, node=fields.node) from error
    shape = fields.shape("shape")
    if op.out_shape != shape:
        raise fields.error("shape", f"is {shape}, the convolution makes {op.out_shape}")
    return op


def pooling(fields: Fields, in_shape: Shape, geometry: Geometry) -> Conv2d:
    """The depthwise convolution that a pooling is.

    SLAYER's Pool (`slayer/synapse/layer.py`) appends n mod k rows of zeros to the n rows of each
    channel, and likewise columns, and then slides its window over the rows of all channels as if
    they were one image.  Each channel has its own windows only if there is no padding and the
    stride, at least the window's height, divides the number of rows.

    Raises
    ------
    ModelError
        Windows reach from one channel into the next.
    """
    weight = kernel(fields)
    if weight.shape[:2] != (1, 1):
        raise fields.error("weight", f"has shape {weight.shape}, expected (1, 1, height, width)")
    if len(in_shape) != 3:
        raise ModelError(f"a pooling of an input of shape {in_shape}", node=fields.node)
    channels, height, _ = in_shape
    rows, stride = height + height % weight.shape[2], geometry.stride[0]
    reach = geometry.dilation[0] * (weight.shape[2] - 1) + 1
    if channels > 1 and (geometry.padding[0] or rows % stride or reach > stride):
        raise ModelError(
            f"SLAYER slides this pooling over the {rows} rows of all channels as one image, and "
            f"windows of {reach} rows every {stride} reach from one channel into the next",
            node=fields.node,
            hint="Use a stride of the kernel's height that divides the image's, and no padding.",
        )
    for axis in (0, 1):
        weight, geometry = _appended(weight, in_shape[1 + axis], geometry, axis)
    return convolution(fields, np.repeat(weight, channels, axis=0), in_shape, geometry, channels)


def _appended(
    weight: IntArray, size: int, geometry: Geometry, axis: int
) -> tuple[IntArray, Geometry]:
    """Kernel and geometry that stand for the a = n mod k zeros that SLAYER appends along an axis.

    Where a window reaches into them, padding of a more on both sides and a kernel with a leading
    zeros do the same: windows start where they did, and there are
    floor((n + a + 2p - d (k - 1) - 1)/s) + 1 of them.
    """
    taps = weight.shape[2 + axis]
    stride, padding, dilation = (
        option[axis] for option in (geometry.stride, geometry.padding, geometry.dilation)
    )
    more, reach = size % taps, dilation * (taps - 1) + 1
    spare = size + 2 * padding - reach
    if spare < 0 or spare // stride == (spare + more) // stride:
        return weight, geometry

    def changed(option: Pair, value: int) -> Pair:
        return (value, option[1]) if axis == 0 else (option[0], value)

    return written_out(weight, 2 + axis, dilation, more, 0), replace(
        geometry,
        padding=changed(geometry.padding, padding + more),
        dilation=changed(geometry.dilation, 1),
    )
