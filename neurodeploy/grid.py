"""Analog values on their way into a chip: integers on a declared grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError, ModelError
from neurodeploy.linear import FloatArray

TOLERANCE = 2.0**-20
"""Relative; the products and quotients of float32 numbers are closer to what they mean."""


@dataclass(frozen=True)
class Grid:
    r"""What stands for an analog value x: the integer :math:`m = \mathrm{round}(x / step)`.

    Halves go to even.  A value that no integer in low..high stands for is refused, not clipped.

    Attributes
    ----------
    step: units of the model per integer, positive.
    low, high: integers that may be sent, low <= 0 <= high, within 32 bits.
    """

    step: float
    low: int
    high: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.step) and self.step > 0):
            raise ModelError(f"the step of a grid is {self.step}, expected a positive number")
        if not -(1 << 31) <= self.low <= 0 <= self.high < 1 << 31:
            raise ModelError(
                f"a grid from {self.low} to {self.high} does not hold 0 or leaves 32 bits"
            )

    def quantise(self, values: NDArray[Any], node: str) -> NDArray[np.int32]:
        """The integers for finite `values` of any shape.

        Raises `InputError`, naming `node`, where a value lies outside the grid.
        """
        messages = np.rint(np.asarray(values, np.float64) / self.step)
        wrong = int(np.count_nonzero((messages < self.low) | (messages > self.high)))
        if wrong:
            raise InputError(
                f"{wrong} of {values.size} values lie outside {self.low * self.step:g}.."
                f"{self.high * self.step:g}, the range of the program's grid; they span "
                f"{np.min(values):g}..{np.max(values):g}",
                node=node,
                hint="Clip them, or compile with calibration data that spans what will come.",
            )
        return np.asarray(messages.astype(np.int32))

    def values(self, messages: NDArray[np.integer[Any]]) -> FloatArray:
        """What integers stand for, in units of the model."""
        return np.asarray(messages * self.step, np.float64)


def grid_step(values: FloatArray, most: int) -> float | None:
    """The largest s > 0 of which every value is a whole multiple, up to `most`, if there is one.

    Whole up to a relative error of 2^-20.
    """
    sizes = np.abs(values[values != 0])
    levels = np.unique(sizes[:: max(1, sizes.size // 4096)])
    if not levels.size or levels.size > 4 * most or levels[-1] / 2 / most > levels[0]:
        return None
    levels = levels if sizes.size <= 4096 else np.unique(sizes)
    for divisor in range(1, most + 1):
        ratio = levels / levels[0] * divisor
        if np.all(np.abs(ratio - np.rint(ratio)) <= TOLERANCE * ratio):
            largest = float(np.rint(ratio[-1]))
            return float(levels[-1]) / largest if largest <= most else None
    return None


def row_steps(weights: Sequence[FloatArray], most: int) -> FloatArray | None:
    """`grid_step` of each row (first axis) of some arrays of as many rows, (rows,).

    Rows that hold nothing but zeros have the step 1.  None where one row has no such step.
    """
    steps = []
    for row in zip(*weights, strict=True):
        values = np.concatenate([part.reshape(-1) for part in row])
        step = grid_step(values, most) if values.any() else 1.0
        if step is None:
            return None
        steps.append(step)
    return np.array(steps)
