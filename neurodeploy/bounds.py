"""Bounds of a chip's registers over all inputs, from its own integer arithmetic.

A state's update is monotone in the state and in what arrives.  So the greatest value that any input
can cause is where the greatest arrivals, step after step, lead to: the least U, not below the
start, with update(U) <= U.  That value is reached by that very input, so the bound is exact, not
only safe; a spike in between, after which a state is reset, is bounded safely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from neurodeploy.arrivals import Interval
from neurodeploy.program import IntArray, Neurons, Synapses

UNBOUNDED = 1 << 45
"""Stands for everything from here on; no chip has a register of so many bits."""
FLOAT_STEPS = 1 << 14
Beyond = Literal["wraps", "saturates", "is rounded", "is infinite", "is refused"]
Update = Callable[[IntArray], IntArray]


@dataclass(frozen=True, eq=False)
class Register:
    """What is written to one register of every neuron of a population, over all inputs.

    Attributes
    ----------
    low, high: least and greatest value, (neurons,), int64, or float64 where the chip has float32.
    limits: least and greatest that it holds.
    beyond: what becomes of a value beyond them.
    """

    name: str
    low: NDArray[Any]
    high: NDArray[Any]
    limits: tuple[float, float]
    beyond: Beyond

    @property
    def fits(self) -> bool:
        """Whether no input can lead beyond the limits."""
        least, most = self.limits
        return bool(np.all(self.low >= least) and np.all(self.high <= most))


def climb(update: Update, start: IntArray) -> IntArray:
    """The least U >= start with update(U) <= U, or `UNBOUNDED` where there is none below that.

    `update` is monotone, and what it takes a state down by grows with the state; that a U found is
    one is checked in any case, so that it always is a bound.
    """
    low, high = start.copy(), np.full_like(start, UNBOUNDED)
    settled = update(start) <= start
    while np.any(high - low > 1):
        middle = (low + high) // 2
        enough = update(middle) <= middle
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    found = np.where(settled, start, high)
    return np.where(update(found) <= found, found, UNBOUNDED)


def sink(update: Update, start: IntArray) -> IntArray:
    """The greatest L <= start with update(L) >= L, or -`UNBOUNDED`."""
    return -climb(lambda x: -update(-x), -start)


def climb_float(
    update: Callable[[NDArray[np.float32]], NDArray[np.float32]], start: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Where repeated steps up lead to in float32, exactly; infinity where that takes too long."""
    found = start
    for _ in range(FLOAT_STEPS):
        after = np.maximum(found, update(found))
        if np.array_equal(after, found):
            return found
        found = after
    return np.where(update(found) <= found, found, np.float32(np.inf))


@runtime_checkable
class Certifies(Protocol):
    """A target that bounds the registers of its chip over all inputs."""

    def accumulator(self, synapses: Synapses) -> tuple[int, int]:
        """Least and greatest activation that the chip holds."""

    def registers(
        self, population: Neurons, arriving: Mapping[str, Interval], own: NDArray[np.int64]
    ) -> tuple[Register, ...]:
        """Bounds of all that is written to the registers; nothing where none are known.

        A register called `message` bounds what graded neurons send.

        Parameters
        ----------
        arriving: what one step can bring to each port, without what neurons send themselves.
        own: what a neuron's spike adds to its own current one step later, int64 (neurons,).
        """

    def written(
        self,
        population: Neurons,
        own: NDArray[np.int64],
        currents: Mapping[str, NDArray[np.int64]],
        states: Mapping[str, NDArray[Any]],
        fired: NDArray[np.int64],
    ) -> Mapping[str, NDArray[Any]]:
        """What integer registers were given to hold in each step, before any wraps or saturates.

        All arrays are (samples, steps, neurons); nothing for a model without bounds.

        Parameters
        ----------
        currents: what arrived at each port.
        states: recorded states.
        fired: what the neurons sent.
        """
