"""Bounds of a chip's registers over all inputs, from its own integer arithmetic.

A state's update is monotone in the state and in what arrives.  So the greatest value that any input
can cause is where the greatest arrivals, step after step, lead to: the least U, not below the
start, with update(U) <= U.  That value is reached by that very input, so the bound is exact, not
only safe; a spike in between, after which a state is reset, is bounded safely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from neurodeploy import arrivals
from neurodeploy.arrivals import Arrival, Interval
from neurodeploy.program import IntArray, Neurons, Range, Synapses

if TYPE_CHECKING:
    from neurodeploy.target import Machine

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


@dataclass(frozen=True, eq=False)
class Checked:
    """A population's registers, with what they follow from.

    Attributes
    ----------
    accumulators: of each that arrives, the activation as it would be without limits.
    own: what a neuron's spike adds to its own current one step later, int64 (neurons,).
    """

    population: Neurons
    arriving: tuple[Arrival, ...]
    accumulators: tuple[Register, ...]
    registers: tuple[Register, ...]
    own: IntArray


def check(
    population: Neurons, arriving: tuple[Arrival, ...], own: IntArray, target: Certifies
) -> Checked:
    """The bounds that ranges, certificates and the simulator rest on."""
    accumulators = tuple(_accumulator(arrival, target) for arrival in arriving)
    none = Interval(np.zeros(population.size, np.int64), np.zeros(population.size, np.int64))
    ports = {"current": none}
    for arrival, register in zip(arriving, accumulators, strict=True):
        port = arrival.synapses.port
        ports[port] = ports.get(port, none) + _delivered(register)
    return Checked(
        population, arriving, accumulators, target.registers(population, ports, own), own
    )


def _accumulator(arrival: Arrival, target: Certifies) -> Register:
    """sum 2^exponent."""
    exponent, sums = arrival.synapses.exponent, arrival.sums
    low, high = (
        side << exponent if exponent >= 0 else side >> -exponent for side in (sums.low, sums.high)
    )
    limits = target.accumulator(arrival.synapses)
    return Register("activation", low, high, limits, "wraps")


def _delivered(register: Register) -> Interval:
    if register.fits:
        return Interval(register.low, register.high)
    least, most = (np.full_like(register.low, limit) for limit in register.limits)
    return Interval(least, most)


def ranges(
    population: Neurons,
    incoming: Iterable[Synapses],
    machine: Machine,
    target: Certifies,
    seen: Mapping[str, tuple[float, float]],
    messages: Mapping[str, tuple[int, int]] = arrivals.NOTHING_KNOWN,
) -> tuple[Range, ...]:
    """What a program says of the registers of a population that is being lowered.

    Parameters
    ----------
    incoming: all synapses that end at the population.
    seen: by register, extremes on the calibration data, said where they are not proven.
    messages: by source, the least and the greatest that it sends; else spikes.
    """
    incoming = tuple(incoming)
    at_once = dict.fromkeys(incoming, 0)
    arriving = arrivals.arriving_at(population, incoming, machine, at_once, messages, messages)
    own = arrivals.own_activation(population, incoming, machine)
    found = check(population, arriving, own, target).registers
    return tuple(_range(population.name, item, seen) for item in found)


def _range(node: str, item: Register, seen: Mapping[str, tuple[float, float]]) -> Range:
    bounds = float(item.low.min()), float(item.high.max())
    low, high = bounds if item.fits else seen.get(item.name, bounds)
    return Range(node, item.name, low, high, *item.limits, proven=item.fits)


def distinct(*columns: IntArray) -> tuple[IntArray, ...]:
    """Without neurons that are equal in all; all (neurons,)."""
    stacked = np.stack(columns)
    stacked = stacked[:, np.lexsort(stacked)]  # equal ones side by side; `np.unique` is slow here
    new = np.append(True, (stacked[:, 1:] != stacked[:, :-1]).any(axis=0))
    return tuple(stacked[:, new])


def before(values: NDArray[Any], first: IntArray) -> IntArray:
    """What stood there a step earlier: (samples, steps, neurons), with `first` before the first."""
    start = np.broadcast_to(first, (len(values), 1, values.shape[2]))
    return np.concatenate([start, values[:, :-1]], axis=1).astype(np.int64)
