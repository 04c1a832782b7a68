"""Sums of weights in floating point that are exact: every partial sum is an integer it holds.

float32 holds all integers up to 2^24 and float64 up to 2^53, so products and sums below that are
exact in any order, fused or not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from neurodeploy.arrivals import ANY_MESSAGE
from neurodeploy.errors import ModelError
from neurodeploy.program import Program, Synapses
from neurodeploy.torch.cells import Arithmetic, Levels

SINGLE, DOUBLE = 1 << 24, 1 << 53
NARROW = 1 << 10
"""Messages below this have no more bits than the least precise float32 product of a GPU keeps."""


@dataclass(frozen=True, eq=False)
class Link:
    """Synapses on tensors.

    Attributes
    ----------
    index: of the synapses in the program.
    wait: steps that a message takes through synapses of delay 0.
    counts: whether every message that is not 0 counts as one spike, instead of being multiplied.
    bound: the largest magnitude of a sum.
    """

    synapses: Synapses
    index: int
    wait: int
    counts: bool
    bound: float
    dtype: torch.dtype

    @classmethod
    def of(cls, program: Program, index: int, wait: int, levels: Levels | None) -> Link:
        """The synapses `index`, whose weights are trained within `levels`, or fixed.

        Raises
        ------
        ModelError
            Their sums may leave 53 bits.
        """
        synapses = program.synapses[index]
        graded = synapses.source in program.graded
        counts = graded and not synapses.graded
        message = largest_message(program, synapses.source) if graded and not counts else 1
        bound = _reach(synapses, levels) * message
        if bound >= DOUBLE:
            raise ModelError(
                f"sums of up to {bound:.3g} are beyond what float64 holds exactly, {DOUBLE:,}",
                node=synapses.name,
                hint="Reduce the fan-in, or compile with calibration data that spans the input.",
            )
        single = bound <= SINGLE and message < NARROW
        dtype = torch.float32 if single else torch.float64
        return cls(synapses, index, wait, counts, bound, dtype)

    @property
    def delays(self) -> tuple[int, ...]:
        """All that synapses have, in steps beyond `wait`."""
        return tuple(int(delay) for delay in np.unique(self.synapses.delay))

    @property
    def least(self) -> int:
        """After how many steps the first message arrives."""
        return self.wait + self.delays[0]

    def arriving(self, sent: Tensor, weight: Tensor, arithmetic: Arithmetic) -> Tensor:
        """All that arrives in as many steps as `sent` has, (steps, samples, neurons).

        Parameters
        ----------
        sent: (steps, samples, *shape) from the first step on; before it nothing was sent.
        """
        first, *others = (self._later(sent, *each, arithmetic) for each in self.by_delay(weight))
        for other in others:
            first = first + other
        return first

    def _later(self, sent: Tensor, delay: int, weight: Tensor, arithmetic: Arithmetic) -> Tensor:
        steps, samples = sent.shape[:2]
        wait = min(self.wait + delay, steps)
        rows = sent[: steps - wait].flatten(0, 1)
        found = self.activation(rows, weight, arithmetic)
        found = found.reshape(steps - wait, samples, math.prod(self.synapses.out_shape))
        return F.pad(found, (0, 0, 0, 0, wait, 0)) if wait else found

    def by_delay(self, weight: Tensor) -> list[tuple[int, Tensor]]:
        """(delay, the weights of that delay) for each."""
        delay = self.synapses.delay
        if delay.size == 1:
            return [(self.delays[0], weight)]
        each = torch.from_numpy(delay).to(weight.device)
        return [(steps, weight * (each == steps)) for steps in self.delays]

    def activation(self, rows: Tensor, weight: Tensor, arithmetic: Arithmetic) -> Tensor:
        """What (rows, *in_shape) cause: (rows, neurons)."""
        rows = rows != 0 if self.counts else rows
        total = self._total(rows.to(self.dtype), weight.to(self.dtype))
        return arithmetic.activation(total, self.synapses, self.bound)

    def _total(self, rows: Tensor, weight: Tensor) -> Tensor:
        synapses = self.synapses
        if synapses.kind == "dense":
            return F.linear(rows.flatten(1), weight)
        if synapses.kind == "one-to-one":
            return rows.flatten(1) * weight.reshape(-1)
        geometry = synapses.stride, synapses.padding, synapses.dilation, synapses.groups
        # cuDNN may go through Fourier or Winograd transforms, which round.
        with torch.backends.cudnn.flags(enabled=False):
            return F.conv2d(rows, weight, None, *geometry).flatten(1)


def largest_message(program: Program, source: str) -> int:
    """The largest magnitude of what a graded input or population sends."""
    grid = program.grids.get(source)
    return -ANY_MESSAGE[0] if grid is None else max(-grid.low, grid.high)


def _reach(synapses: Synapses, levels: Levels | None) -> float:
    """The largest sum of the magnitudes of the weights of one neuron."""
    if levels is None:
        size = np.abs(synapses.weight.astype(np.float64))
        return float(size.reshape(len(size), -1).sum(axis=1).max(initial=0.0))
    shape = synapses.weight.shape
    return levels.reach * float(np.prod(shape[1:])) if len(shape) > 1 else levels.reach
