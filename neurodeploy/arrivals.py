"""What reaches a population: after how many steps, how much of it exactly, and how much at most."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError
from neurodeploy.program import IntArray, Neurons, Program, Synapses

if TYPE_CHECKING:
    from neurodeploy.target import Machine

INT32_MAX = (1 << 31) - 1
ANY_MESSAGE = (-(1 << 31), INT32_MAX)
"""What a message of 32 bits can be."""
SPIKE = (0, 1)
NOTHING_KNOWN: Mapping[str, tuple[int, int]] = MappingProxyType({})
HALF = 16


@dataclass(frozen=True, eq=False)
class Interval:
    """Least and greatest values, int64 (neurons,)."""

    low: IntArray
    high: IntArray

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)

    @property
    def extremes(self) -> tuple[int, int]:
        """Of all neurons."""
        return int(self.low.min(initial=0)), int(self.high.max(initial=0))


def waits(program: Program) -> dict[Synapses, int]:
    """Steps of the model from a message to its arrival through each synapses of delay 0.

    On the chip a message takes one step, and none forward between equal depths.  Between depths k
    and l, k - l of them are none of the model, where both have the time of the input.

    Raises
    ------
    InputError
        Synapses would have to deliver a message before it is sent.
    """
    depths = dict.fromkeys(program.input_shapes, 0) | {p.name: p.depth for p in program.populations}
    order = {name: index for index, name in enumerate(depths)}
    found = {}
    for synapses in program.synapses:
        source, target = depths[synapses.source], depths[synapses.target]
        forward = order[synapses.source] < order[synapses.target]
        steps = source - target + int(not forward or source != target)
        missing = int(not forward) - steps - int(synapses.delay.min())
        if missing > 0:
            raise InputError(
                f"its messages would have to arrive {missing} steps before they are sent",
                node=synapses.name,
                hint=f"{synapses.target} runs {target} steps behind the input, "
                f"{synapses.source} {source}: delay what arrives too early.",
            )
        found[synapses] = steps
    return found


def is_own(synapses: Synapses, population: Neurons) -> bool:
    """Whether the neurons themselves deliver their spikes, one step later."""
    return (
        (synapses.recurrent and synapses.kind == "one-to-one" and not population.graded)
        and synapses.port == "current"
        and not synapses.delay.any()
    )


def by_delay(synapses: Synapses) -> list[Synapses]:
    """One for each delay; synapses of weight 0 need none."""
    delay, weight = synapses.delay, synapses.weight
    if delay.size == 1:
        return [synapses]
    return [
        replace(synapses, weight=np.where(delay == steps, weight, 0), delay=np.array([steps]))
        for steps in np.unique(delay[weight != 0])
    ]


@dataclass(frozen=True, eq=False)
class Arrival:
    """Synapses of one delay.

    Attributes
    ----------
    wait: steps that a message takes through them.
    multiplies: whether weights multiply messages, instead of counting each as a spike.
    sums: what one step can bring.
    shift: k where the current is always a sum times 2^k; see `target.Machine.shift`.
    """

    synapses: Synapses
    wait: int
    multiplies: bool
    sums: Interval
    shift: int | None


def arriving(
    program: Program,
    population: Neurons,
    machine: Machine,
    least: Mapping[Synapses, int],
    messages: Mapping[str, tuple[int, int]] = NOTHING_KNOWN,
) -> tuple[Arrival, ...]:
    """All that ends at `population`, without what `is_own` names.

    Parameters
    ----------
    least: the program's `waits`.
    messages: by source, the least and the greatest that a graded one sends, where that is known.

    Raises
    ------
    InputError
        As `sums` and `target.Machine.shift` do.
    """
    incoming = program.incoming(population.name)
    return arriving_at(population, incoming, machine, least, program.graded, messages)


def arriving_at(
    population: Neurons,
    incoming: Iterable[Synapses],
    machine: Machine,
    least: Mapping[Synapses, int],
    graded: Collection[str],
    messages: Mapping[str, tuple[int, int]] = NOTHING_KNOWN,
) -> tuple[Arrival, ...]:
    """As `arriving`, of a population of no program yet; `graded`: sources that send integers."""
    found = []
    for synapses in incoming:
        if is_own(synapses, population):
            continue
        for one in by_delay(synapses):
            multiplies = one.graded and one.source in graded
            known = messages.get(one.source, ANY_MESSAGE)
            bounds = sums(one, known if multiplies else SPIKE)
            shift = machine.shift(one, *bounds.extremes)
            wait = least[synapses] + one.delay.item()
            found.append(Arrival(one, wait, multiplies, bounds, None if multiplies else shift))
    return tuple(found)


def reach(arriving: tuple[Arrival, ...], size: int) -> Interval | None:
    """Bounds of the summed currents of `size` neurons; None where 32 bits may not hold them.

    Messages of 32 bits always count as that.
    """
    low = high = np.zeros(size)
    for arrival in arriving:
        if arrival.shift is None:
            return None
        low = low + arrival.sums.low * 2.0**arrival.shift
        high = high + arrival.sums.high * 2.0**arrival.shift
    if max(-low.min(initial=0), high.max(initial=0)) > INT32_MAX:
        return None
    return Interval(low.astype(np.int64), high.astype(np.int64))


def own_activation(population: Neurons, incoming: Iterable[Synapses], machine: Machine) -> IntArray:
    """What a neuron's spike adds to its own current one step later, int64 (neurons,).

    `incoming`: all synapses that end at the population.
    """
    total = np.zeros(population.size, np.int64)
    for synapses in incoming:
        if is_own(synapses, population):
            total = total + machine.activation(synapses.weight.reshape(-1), synapses)
    return total


def sums(synapses: Synapses, messages: tuple[int, int] = SPIKE) -> Interval:
    """Least and greatest sum of weights times messages that one step can bring to each neuron.

    low = sum over j of min(w_j a, w_j b), high with max, for messages in a..b: attained, since each
    source is free to send either; of a convolution at each pixel, with what its border cuts off.

    Raises
    ------
    InputError
        The weights of one neuron may sum up to more than 32 bits hold.
    """
    weight = synapses.weight if synapses.weight.ndim > 1 else synapses.weight[:, None]
    size = np.abs(weight.astype(np.float64)).sum(axis=1)  # over sources, or channels of a tap
    largest = size.reshape(len(size), -1).sum(axis=1).max(initial=0.0)
    if largest > INT32_MAX:
        raise InputError(
            f"the weights of one neuron sum up to {largest:.0f}, more than {INT32_MAX}",
            node=synapses.name,
        )
    total, size = weight.sum(axis=1), size.astype(np.int64)
    positive, negative = (total + size) // 2, (total - size) // 2
    if synapses.kind == "conv2d":
        positive, negative = (_at_pixels(synapses, taps) for taps in (positive, negative))
    low, high = messages
    return Interval(positive * low + negative * high, positive * high + negative * low)


def _at_pixels(synapses: Synapses, taps: IntArray) -> IntArray:
    """What the taps (out channels, height, width) that lie within the image add up to: (neurons,).

    sum over k and m of taps[o, k, m] rows[y, k] columns[x, m], where tap k of output row y meets
    input row y stride + k dilation - padding, if there is one.
    """
    rows, columns = (
        _met(synapses.in_shape[1 + axis], synapses.out_shape[1 + axis], taps.shape[1 + axis], *of)
        for axis, of in enumerate(
            zip(synapses.stride, synapses.dilation, synapses.padding, strict=True)
        )
    )
    return np.asarray(rows @ (taps @ columns.T)).reshape(-1)


def _met(inputs: int, outputs: int, kernel: int, stride: int, dilation: int, pad: int) -> IntArray:
    """1 where a tap meets an input, along one axis: (outputs, taps)."""
    place = np.arange(outputs)[:, None] * stride + np.arange(kernel) * dilation - pad
    return ((place >= 0) & (place < inputs)).astype(np.int64)


def totals(synapses: Synapses, messages: NDArray[np.integer[Any]]) -> IntArray:
    """Sums of weights times messages: (rows, *in_shape) -> int64 (rows, neurons), exact.

    In float64, a message of 32 bits as two halves, so that 2^31 times 2^16 is the largest product.
    """
    if np.abs(messages).max(initial=0) >> HALF:
        low = totals(synapses, messages & ((1 << HALF) - 1))
        return np.asarray((totals(synapses, messages >> HALF) << HALF) + low)
    rows = np.asarray(messages, np.float64)
    weight = synapses.weight.astype(np.float64)
    if synapses.kind == "conv2d":
        total = np.asarray(synapses.convolution(weight).apply(rows))
    elif synapses.kind == "dense":
        total = rows.reshape(len(rows), -1) @ weight.T
    else:
        total = rows.reshape(len(rows), -1) * weight
    return np.asarray(total, np.int64).reshape(len(rows), -1)


def current(
    arrival: Arrival, machine: Machine, source: NDArray[Any], start: int, stop: int
) -> IntArray:
    """What arrives in steps start..stop - 1: int64 (samples, stop - start, neurons).

    `source`: what the source sends, (samples, steps, *shape); of steps that arrive later nothing is
    looked at.
    """
    synapses, samples = arrival.synapses, len(source)
    size = arrival.sums.low.size
    found = np.zeros((samples, stop - start, size), np.int64)
    first = max(start, arrival.wait)
    if first < stop:
        rows = source[:, first - arrival.wait : stop - arrival.wait].astype(np.int64)
        rows = rows if arrival.multiplies else (rows != 0).astype(np.int64)
        total = totals(synapses, rows.reshape(-1, *synapses.in_shape))
        activation = machine.activation(total, synapses)
        found[:, first - start :] = activation.reshape(samples, -1, size)
    return found
