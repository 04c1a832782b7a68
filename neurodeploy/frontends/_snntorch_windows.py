"""The windows of convolutions and poolings, one axis at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.linear import written_out


@dataclass(frozen=True)
class Window:
    """One axis of a convolution or pooling.

    Output i sees the inputs i `stride` - `low` + k `dilation`, k = 0 .. `size` - 1; what lies
    before the axis (`low` inputs) or after it (`high`) is zero.  Negative padding crops the axis.
    """

    size: int
    stride: int = 1
    low: int = 0
    high: int = 0
    dilation: int = 1

    @property
    def span(self) -> int:
        """Distance from the first input that an output sees to the last, both included."""
        return self.dilation * (self.size - 1) + 1

    @property
    def symmetric(self) -> bool:
        """Whether NIR can say the padding: one number, not negative, for both ends."""
        return self.low == self.high >= 0

    def outputs(self, length: int) -> int:
        """Number of outputs on an axis of `length`."""
        return (length + self.low + self.high - self.span) // self.stride + 1

    def seen(self, length: int, *, low: int = 0, high: int = 0) -> NDArray[np.int64]:
        """How many of an axis's inputs each output sees, `low` and `high` more at its ends."""
        first = np.arange(self.outputs(length)) * self.stride - self.low
        at = first[:, None] + self.dilation * np.arange(self.size)
        seen: NDArray[np.int64] = ((at >= -low) & (at < length + high)).sum(axis=1)
        return seen


def per_axis(value: Any, rank: int) -> tuple[int, ...]:
    """A number for each of `rank` axes, from torch's one or several."""
    return tuple(int(n) for n in np.broadcast_to(np.asarray(value), rank))


def centred(
    weight: NDArray[Any], windows: tuple[Window, ...]
) -> tuple[NDArray[Any], tuple[Window, ...]]:
    """The same convolution with as much padding before each axis as after it.

    `weight` is (out, in, *sizes).  Where the padding differs, or is negative, the kernel is written
    out without dilation and extended by zeros, P - low before and P - high after it with the
    padding P = max(low, high, 0); no output is added or lost.
    """
    result = []
    for axis, window in enumerate(windows, start=2):
        if window.symmetric:
            result.append(window)
            continue
        padding = max(window.low, window.high, 0)
        before, after = padding - window.low, padding - window.high
        weight = written_out(weight, axis, window.dilation, before, after)
        result.append(Window(weight.shape[axis], window.stride, padding, padding))
    return weight, tuple(result)
