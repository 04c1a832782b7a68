r"""Analog input: what stands for it on the chip, and where it enters the neurons.

An input x becomes the integer m = round(x / step) of a `Grid`, in every step, in one of two ways:

*bias*
    m is added to the bias mantissa of the neuron it belongs to, so v' = βv + u + (b + m) 2^e with
    step = 2^e / (64 V g), where g is the weight of x in thresholds and V the scale.  This is exact
    where v is the membrane and takes the input directly: v' = βv + x.  It needs an input of one
    value per neuron, all of one positive weight, that goes nowhere else.
*messages*
    m is a graded message, which weights multiply: u' = αu + 64 Σ w m 2^k.  Everything else: a dense
    or convolutional first layer, a synaptic current, and u as membrane.  There v = u + b keeps
    nothing from step to step, so an input that reached v would be forgotten after one.

A message has up to 8 bits, a weight as many, and their sums must fit what spikes alone could cause,
so k is negative, down to -7, and the sum is rounded down once.  Convolutions have no exponents in
Lava; those of analog input add up in neurons of their own, see `sums`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.grid import TOLERANCE, Grid, grid_step
from neurodeploy.linear import Conv2d, Dense, FloatArray
from neurodeploy.network import Connection, Network, Population
from neurodeploy.program import Lowering
from neurodeploy.targets.loihi.resolve import mode_of
from neurodeploy.trace import Trace

LEVELS = 255
FEWEST_LEVELS = 16


@dataclass(frozen=True, eq=False)
class Analog:
    """An analog input on the calibration data.

    Attributes
    ----------
    values: (samples, steps, *shape), in units of the model.
    low, high: their range and 0.
    step: of which all of them are whole multiples, up to 255, if there is one; halved until the
        range has 16, since few values do not say that others will not lie between them.
    """

    values: FloatArray
    low: float
    high: float
    step: float | None

    @classmethod
    def of(cls, values: FloatArray) -> Analog:
        """The input with these values."""
        low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
        step = grid_step(values, LEVELS)
        while step is not None and round(max(-low, high) / step) < FEWEST_LEVELS:
            step /= 2
        return cls(values, low, high, step)

    @property
    def reach(self) -> float:
        """The largest magnitude."""
        return max(-self.low, self.high)

    def grid(self, step: float) -> Grid:
        """The grid of that step that spans the calibration data."""
        return Grid(step, round(self.low / step), round(self.high / step))

    def note(self, node: str, grid: Grid, how: str) -> Lowering:
        """Where the input goes, and what rounding it costs on the calibration data."""
        error = float(np.abs(grid.values(grid.quantise(self.values, node)) - self.values).max())
        return Lowering(
            node,
            "input",
            "exact" if error <= TOLERANCE * self.reach else "approximate",
            f"analog values as {how}: whole multiples of {grid.step:.6g} in "
            f"{grid.low}..{grid.high}; the calibration data are off by at most {error:.2g}",
        )


@dataclass(frozen=True, eq=False)
class Bias:
    """An analog input that is the bias of neurons, of one weight `gain` in thresholds."""

    connection: Connection
    gain: float
    analog: Analog

    def grid(self, unit: float, exponent: int) -> Grid:
        """The grid whose step is one of the bias mantissa.

        `unit`: state units per threshold; `exponent`: of the bias.
        """
        return self.analog.grid(2.0**exponent / (unit * self.gain))


@dataclass(frozen=True, eq=False)
class Feeds:
    """How the analog inputs of a network reach its neurons.

    Attributes
    ----------
    inputs: all of them by name.
    biases: by name of the connection, those that are biases of its target.
    grids: those of the inputs that are sent as messages.
    steps: chip steps that a connection takes, by name, where it is not one.
    """

    inputs: Mapping[str, Analog]
    biases: Mapping[str, Bias]
    grids: Mapping[str, Grid]
    steps: Mapping[str, int]

    @classmethod
    def of(cls, network: Network, calibration: Trace) -> Feeds:
        """By the inputs on the calibration data that are not spikes."""
        ports = {port.name for port in network.inputs}
        inputs = {n: Analog.of(v) for n, v in calibration.values.items() if n in ports}
        biases = {b.connection.name: b for b in _biases(network, inputs)}
        sent = inputs.keys() - {bias.connection.source for bias in biases.values()}
        grids = {
            name: analog.grid(analog.reach / LEVELS if analog.step is None else analog.step)
            for name, analog in inputs.items()
            if name in sent
        }
        sums = [c for c in network.connections if c.source in grids and is_summed(c)]
        steps = dict.fromkeys(biases, 0) | {c.name: 2 for c in sums}
        return cls(inputs, biases, grids, steps)


def is_summed(connection: Connection) -> bool:
    """Whether a connection from an analog input is a convolution, other than one to one."""
    (op,) = connection.ops
    return isinstance(op, Conv2d) and diagonal(op) is None


def diagonal(op: Dense | Conv2d) -> FloatArray | None:
    """The weight of each neuron, (neurons,), where a map is one to one."""
    if isinstance(op, Dense):
        rows, columns = op.weight.shape
        weight = np.asarray(np.diagonal(op.weight), np.float64)
        one = rows == columns and np.count_nonzero(op.weight) == np.count_nonzero(weight)
        return weight if one else None
    channels, height, width = op.in_shape
    depthwise = op.groups == channels == len(op.weight) and op.weight.shape[2:] == (1, 1)
    if not depthwise or (op.stride, op.padding) != ((1, 1), (0, 0)):
        return None
    return np.repeat(np.asarray(op.weight, np.float64).reshape(-1), height * width)


def _biases(network: Network, inputs: Mapping[str, Analog]) -> Iterator[Bias]:
    populations = {population.name: population for population in network.populations}
    for name, analog in inputs.items():
        used = [c for c in network.connections if c.source == name]
        if len(used) == 1 and not used[0].delay:
            gain = _gain(used[0], populations[used[0].target])
            if gain:
                yield Bias(used[0], gain, analog)


def _gain(connection: Connection, population: Population) -> float | None:
    """The one positive weight of a connection, in thresholds, if v takes it directly."""
    (op,) = connection.ops
    filtered = bool(np.any(population.current_decay))
    if filtered or mode_of(population) == "current" or not isinstance(op, (Dense, Conv2d)):
        return None
    weight = diagonal(op)
    if weight is None or weight.min() <= 0:
        return None
    weight = weight / (population.threshold.reshape(-1) if population.spiking else 1.0)
    gain = float(weight[0])
    return gain if bool(np.all(np.abs(weight - gain) <= TOLERANCE * gain)) else None
