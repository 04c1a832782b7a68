"""A population on its way to the chip: which of its models, with what arrives there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.linear import Conv2d, Dense, FloatArray, ungrouped, written_out
from neurodeploy.lowering import only_map
from neurodeploy.network import Connection, Network, Population
from neurodeploy.passes.merge_linear import as_dense
from neurodeploy.targets.spinnaker2.models import LONGEST_DELAY, MODELS
from neurodeploy.targets.spinnaker2.options import MOST_BITS, Options
from neurodeploy.targets.spinnaker2.resolve import filtered, owed
from neurodeploy.timing import waiting


@dataclass(frozen=True, eq=False)
class Arrival:
    """One connection into a population; it waits `delay` ticks beyond the chip's own one."""

    connection: Connection
    op: Dense | Conv2d
    delay: int

    @property
    def weight(self) -> FloatArray:
        """Weights in units of the model, float64."""
        return np.asarray(self.op.weight, np.float64)


@dataclass(frozen=True, eq=False)
class Unit:
    """A population and the application that runs it.

    Attributes
    ----------
    model: name of the application.
    depth: ticks by which it runs behind the input.
    whole: what of each neuron has to be a whole number of chip units, in units of the model; None
        for nothing.
    weight_bits: of arriving weights with their sign.
    """

    population: Population
    model: str
    depth: int
    arrivals: tuple[Arrival, ...]
    whole: FloatArray | None
    weight_bits: int = MOST_BITS

    @property
    def limit(self) -> int:
        """Largest magnitude of a weight."""
        return MODELS[self.model].weights[1]

    @property
    def levels(self) -> int:
        """The largest magnitude of an arriving weight, in steps."""
        return min((1 << (self.weight_bits - 1)) - 1, self.limit)

    @property
    def step(self) -> int:
        """What arriving weights are multiples of: the largest power of two that leaves room."""
        return 1 << (self.limit // self.levels).bit_length() - 1

    @property
    def sizes(self) -> FloatArray:
        """Magnitudes of all weights, flat."""
        found = [np.abs(arrival.weight).reshape(-1) for arrival in self.arrivals]
        return np.concatenate(found) if found else np.zeros(0)


def unit_of(
    network: Network, population: Population, depth: Mapping[str, int], options: Options
) -> Unit:
    """`population`, which is not `refused`, with the model that it needs.

    `lif_conv2d` is for one convolution and nothing else: no network is known that gave it more.
    `lif_no_delay` takes several, and self-synapses, one synapse at a time.  Where a synaptic
    current, another kind of synapses, or self-synapses that differ within a channel forbid to share
    a kernel, it is written out as a matrix.

    Raises
    ------
    ModelError
        A convolution would need more than 2^26 weights as such synapses.
    """
    connections = network.incoming(population.name)
    ops = [only_map(connection) for connection in connections]
    whole = None if options.upstream else _whole(population)
    kernels = bool(ops) and all(isinstance(op, Conv2d) for op in ops)
    kernels = kernels and not filtered(population)
    kernels = kernels and (whole is None or bool(np.all(whole == whole[:, :1, :1])))
    arrivals = tuple(
        Arrival(
            connection,
            _plain(op) if kernels and isinstance(op, Conv2d) else as_dense(op, connection.name),
            waiting(connection, depth),
        )
        for connection, op in zip(connections, ops, strict=True)
    )
    delayed = any(
        a.delay and not in_relays(isinstance(a.op, Conv2d), a.delay, options) for a in arrivals
    )
    model = "lif_curr_exp" if filtered(population) else "lif"
    model += "" if delayed else "_no_delay"
    if kernels and len(ops) == 1 and (whole is None or integrates(population)):
        model = "lif_conv2d"
    return Unit(population, model, depth[population.name], arrivals, whole, options.weight_bits)


def in_relays(convolution: bool, delay: int, options: Options) -> bool:
    """Whether what waits `delay` ticks does so in relays, not in the synapses' delay field."""
    return delay > 0 and (convolution or options.relays or delay > LONGEST_DELAY)


def _whole(population: Population) -> FloatArray | None:
    """What self-synapses must supply; or, so that ties can be told, an integrator's threshold."""
    amount = None if filtered(population) else owed(population)
    if amount is not None or not integrates(population):
        return amount
    theta = population.threshold
    if theta.ndim == 3 and np.any(theta != theta[:, :1, :1]):
        return None
    return theta


def integrates(population: Population) -> bool:
    """Whether potentials stay sums of weights: no leak, no constant input, reset by subtraction."""
    return (
        population.spiking
        and population.semantics.reset == "subtract"
        and owed(population) is None
        and not filtered(population)
        and bool(np.all(population.decay == 1))
        and not np.any(population.bias)
        and not np.any(0 if population.leak is None else population.leak)
        and population.semantics.initial_state == 0
    )


def _plain(conv: Conv2d) -> Conv2d:
    """The same convolution without groups and dilation, which the chip's have not."""
    weight = ungrouped(conv)
    for axis, dilation in enumerate(conv.dilation):
        weight = written_out(weight, 2 + axis, dilation, 0, 0)
    return Conv2d(weight, conv.in_shape, conv.stride, conv.padding)
