"""A population on its way to the grid: divided by its thresholds, with a register as membrane."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import ModelError, NeurodeployError, SemanticsError
from neurodeploy.linear import Conv2d, Dense, FloatArray
from neurodeploy.lowering import only_map
from neurodeploy.network import Connection, Network, Population
from neurodeploy.program import IntArray
from neurodeploy.targets.loihi.analog import Bias, Feeds, diagonal, is_summed
from neurodeploy.targets.loihi.arithmetic import DECAY_ONE
from neurodeploy.targets.loihi.reach import Mode
from neurodeploy.targets.loihi.resolve import mode_of
from neurodeploy.timing import waiting

WEIGHT_BITS = 8
"""Of a weight with its sign; the lowest of a register's nine bits is then always 0."""
LEAST_EXPONENT = -7
"""The least that the chip files allow."""
LEAST_OF_SUMS = -6
"""With which the 24 bits of a convolution's sum are those of the register u."""


@dataclass(frozen=True, eq=False)
class Arrival:
    """One connection into a population, in thresholds per message.

    Attributes
    ----------
    delay: steps beyond the chip's own one: one value, or one per synapse of a dense map.
    single: the weights of a map that is one synapse per neuron, (neurons,).
    messages: the least and the greatest that may be sent; None for spikes.
    """

    connection: Connection
    op: Dense | Conv2d
    delay: IntArray
    single: FloatArray | None = None
    messages: tuple[int, int] | None = None

    @property
    def weight(self) -> FloatArray:
        """Weights in thresholds, float64."""
        return np.asarray(self.op.weight if self.single is None else self.single, np.float64)

    def largest(self, percentile: float) -> float:
        """A percentile of the weights' magnitudes; the largest one where that is 0."""
        sizes = np.abs(self.weight)
        kept = float(np.percentile(sizes, percentile)) if sizes.size else 0.0
        return kept or float(sizes.max(initial=0.0))

    @property
    def reach(self) -> int:
        """The largest magnitude of a message."""
        return 1 if self.messages is None else max(-self.messages[0], self.messages[1])

    @property
    def extremes(self) -> tuple[FloatArray, ...]:
        """Weights times the least and the greatest message: what spikes would do for both."""
        low, high = self.messages or (0, 1)
        return tuple(self.weight * message for message in (low, high) if message)

    @property
    def least(self) -> int:
        """The least exponent that the weights may have; sums of spikes need no negative one."""
        if self.messages is None:
            return 0
        return LEAST_OF_SUMS if is_summed(self.connection) else LEAST_EXPONENT


@dataclass(frozen=True, eq=False)
class Unit:
    """A population divided by its thresholds: every threshold is 1, or there is none.

    Attributes
    ----------
    threshold: what everything is divided by; 1 where there is no threshold.
    amount: what a spike subtracts one step later, or None where v resets or nothing does.
    iota: 12-bit decay of the membrane, 4096 (1 - beta), rounded.
    current_iota: 12-bit decay of the synaptic current, 4096 (1 - alpha), rounded; 4096 without a
        filter.
    biases: analog inputs that are added to the bias, in every step.
    weight_bits: of arriving weights, 2 to 8.
    percentile: of the magnitudes of each connection's weights, which is the largest that is kept;
        those beyond it are clipped.
    """

    population: Population
    mode: Mode
    threshold: FloatArray
    amount: FloatArray | None
    arrivals: tuple[Arrival, ...]
    bias: FloatArray
    leak: FloatArray
    iota: IntArray
    current_iota: IntArray
    biases: tuple[Bias, ...] = ()
    weight_bits: int = WEIGHT_BITS
    percentile: float = 100.0

    @property
    def memory(self) -> IntArray:
        """Decay of the register u: of the membrane or of the synaptic current."""
        return self.iota if self.mode == "current" else self.current_iota

    @property
    def start(self) -> FloatArray:
        """u at the start: -b/(1-d), with the decay d that u has; 0 where it has none."""
        return np.where(self.memory < DECAY_ONE, -self._filtered, 0.0)

    @property
    def offset(self) -> FloatArray:
        """What the bias register adds: b/(1-d), and what is constant past the current."""
        return self._filtered + self.leak

    @property
    def _filtered(self) -> FloatArray:
        return np.asarray(self.bias * DECAY_ONE / self.memory)

    @property
    def swing(self) -> tuple[float, float]:
        """Least and most that analog inputs add to the bias register, in thresholds."""
        return (
            sum(bias.gain * bias.analog.low for bias in self.biases),
            sum(bias.gain * bias.analog.high for bias in self.biases),
        )

    @property
    def offset_reach(self) -> float:
        """The largest magnitude of what the bias register adds."""
        return float(np.abs(self.offset).max(initial=0.0)) + max(-self.swing[0], self.swing[1])

    @property
    def extremes(self) -> tuple[FloatArray, ...]:
        """Of all arrivals."""
        return tuple(weight for arrival in self.arrivals for weight in arrival.extremes)

    @property
    def finest(self) -> tuple[float, int]:
        """The largest weight that is kept, and the least exponent that it may have."""
        return max(((a.largest(self.percentile), a.least) for a in self.arrivals), default=(0.0, 0))

    @property
    def weight_limit(self) -> int:
        """Largest magnitude of an arriving weight: 254 for 8 bits."""
        return 256 - (1 << (9 - self.weight_bits))

    @property
    def largest(self) -> float:
        """The largest weight that is kept."""
        return self.finest[0]


def unit_of(
    network: Network, population: Population, depth: Mapping[str, int], feeds: Feeds
) -> Unit:
    """`population`, which has no `misfits`, divided by its thresholds."""
    mode, semantics = mode_of(population), population.semantics
    threshold = population.threshold if population.spiking else np.ones(population.shape)
    amount = semantics.reset_amount * np.ones(population.shape)
    if semantics.reset_timing == "immediate":
        amount = amount * population.decay
    leak = (0.0 if population.leak is None else population.leak) / threshold
    bias = population.bias / threshold
    unfiltered = mode == "current"  # then both constants reach the membrane alike
    return Unit(
        population=population,
        mode=mode,
        threshold=threshold,
        amount=amount if semantics.reset == "subtract" else None,
        arrivals=_joined(
            _arrival(c, threshold, waiting(c, depth, feeds.steps.get(c.name, 1)), feeds)
            for c in network.incoming(population.name)
            if c.name not in feeds.biases
        ),
        bias=bias + leak if unfiltered else bias,
        leak=np.zeros(population.shape) if unfiltered else leak,
        iota=decay_bits(population.decay),
        current_iota=decay_bits(population.current_decay),
        biases=tuple(
            feeds.biases[c.name]
            for c in network.incoming(population.name)
            if c.name in feeds.biases
        ),
    )


def _arrival(connection: Connection, threshold: FloatArray, wait: int, feeds: Feeds) -> Arrival:
    """A connection in thresholds per spike, or per message of an analog input."""
    op, delay = _divided(only_map(connection), threshold), np.array([wait])
    grid = feeds.grids.get(connection.source)
    if grid is not None:
        op = replace(op, weight=op.weight * grid.step)
        return Arrival(connection, op, delay, diagonal(op), (grid.low, grid.high))
    own = connection.source == connection.target and not wait and isinstance(op, Dense)
    return Arrival(connection, op, delay, diagonal(op) if own else None)


def misfits(network: Network, population: Population) -> Iterator[NeurodeployError]:
    """What keeps a population and its synapses from this form, all of it."""
    name, current = population.name, mode_of(population) == "current"
    in_u = population.decay if current else population.current_decay
    if current and np.any(population.current_decay):
        yield SemanticsError(
            "a synaptic current and a membrane without reset to zero both need the register u",
            node=name,
            hint='Use reset_mechanism="zero" with reset_delay=False, or a neuron without a '
            "synaptic current.",
        )
    elif np.any(decay_bits(in_u) < 1):
        what = "a neuron without leak (beta = 1)" if current else "a synaptic current that stays"
        yield ModelError(
            f"{what} cannot be kept in the current register, whose decay is at least 1/4096",
            node=name,
            hint='Use reset_mechanism="zero" without a synaptic current, or a decay of at most '
            "4095/4096.",
        )
    if not population.spiking and any(c.source == name for c in network.connections):
        yield SemanticsError(
            "its membrane potential is sent to other neurons, which take spikes",
            node=name,
            hint="Give it a threshold, or let it be an output only.",
        )
    for connection in network.incoming(name):
        op = only_map(connection)
        threshold = population.threshold
        if isinstance(op, Conv2d) and np.any(threshold != threshold[:, :1, :1]):
            yield ModelError(
                "thresholds differ within a channel of a convolution, whose weights are shared",
                node=connection.name,
                hint="Use one threshold per channel.",
            )


def decay_bits(decay: FloatArray) -> IntArray:
    """4096 (1 - decay), rounded to the nearest integer, halves to even."""
    return np.rint((1.0 - decay) * DECAY_ONE).astype(np.int64)


def _divided(op: Dense | Conv2d, threshold: FloatArray) -> Dense | Conv2d:
    if isinstance(op, Dense):
        return replace(op, weight=op.weight / threshold.reshape(-1, 1))
    return replace(op, weight=op.weight / threshold[:, :1, :1, np.newaxis])


def _joined(arrivals: Iterable[Arrival]) -> tuple[Arrival, ...]:
    """`arrivals`, with dense ones that never share a synapse made one with a delay per synapse."""
    found: list[Arrival] = []
    for arrival in arrivals:
        for index, known in enumerate(found):
            if _disjoint(known, arrival):
                found[index] = _join(known, arrival)
                break
        else:
            found.append(arrival)
    return tuple(found)


def _disjoint(a: Arrival, b: Arrival) -> bool:
    same = a.connection.source == b.connection.source
    dense = isinstance(a.op, Dense) and isinstance(b.op, Dense)
    dense = dense and a.single is None and b.single is None
    return same and dense and not np.any((a.op.weight != 0) & (b.op.weight != 0))


def _join(a: Arrival, b: Arrival) -> Arrival:
    delay = np.where(b.op.weight != 0, b.delay, a.delay)
    delay = delay[0, :1] if np.all(delay == delay[0, 0]) else delay
    op = replace(a.op, weight=a.op.weight + b.op.weight)
    return replace(a, op=op, delay=delay)
