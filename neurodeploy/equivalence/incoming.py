"""What arrives at single neurons: by the weights of a network, by those of its program, or mixed.

A connection of the model may be several synapses on a chip, and pass populations that only the chip
has: relays, neurons that sum up, neurons that fire in every step to supply a bias.  These are
followed back to what the model knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurodeploy.arrivals import by_delay, waits
from neurodeploy.errors import TargetError
from neurodeploy.linear import Conv2d, Dense, FloatArray, LinearMap
from neurodeploy.network import Network
from neurodeploy.program import IntArray, Program, Synapses

BLOCK_VALUES = 1 << 22


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of some neurons, (neurons, size of the source), and where they were clipped.

    `floor`: the sum of these is rounded down to whole multiples of it; 0 for not at all.
    """

    chip: FloatArray
    model: FloatArray
    clipped: NDArray[np.bool_]
    floor: float

    def mixed(self, *, rounding: bool, clipping: bool) -> FloatArray:
        """Those of the model where that is undone, else the chip's."""
        undone = np.where(self.clipped, clipping, rounding)
        return np.where(undone, self.model, self.chip)


@dataclass(frozen=True, eq=False)
class Path:
    """Synapses of one delay on the chip, from what the model knows, weights in chip units.

    Attributes
    ----------
    stages: maps applied in order, the last one to the neurons.
    delay: steps of the model.
    factor: chip units of the membrane per unit of the last map's weights.
    floor: see `Weights`.
    limit: largest magnitude of a weight in chip units; infinite where nothing clips.
    """

    source: str
    stages: tuple[LinearMap, ...]
    delay: int
    factor: float
    floor: float
    limit: float

    def rows(self, neurons: IntArray) -> FloatArray:
        """Weights of some neurons: (neurons, size of the source)."""
        return rows(self.stages, neurons) * self.factor


@dataclass(frozen=True, eq=False)
class Arrival:
    """What comes from one source: chip and model side by side.

    Attributes
    ----------
    paths: on the chip, of one delay.
    ops: of the model; none where it has no such connection.
    delay, meant: steps, on the chip and in the model.
    step: units of the model per unit of what the source sends to the chip.
    """

    source: str
    paths: tuple[Path, ...]
    ops: tuple[tuple[LinearMap, ...], ...]
    delay: int
    meant: int
    step: float

    def weights(self, neurons: IntArray, unit: FloatArray) -> Weights:
        """Of some neurons, whose units are `unit` (neurons,)."""
        per = (unit * self.step)[:, np.newaxis]
        model = sum((rows(ops, neurons) * per for ops in self.ops), np.zeros(1))
        chip = sum((path.rows(neurons) for path in self.paths), np.zeros(1))
        chip, model = np.broadcast_arrays(chip, model)
        limit = max((path.limit for path in self.paths), default=np.inf)
        grain = max((path.factor for path in self.paths), default=0.0)
        clipped = np.abs(model) >= limit + grain
        floor = max((path.floor for path in self.paths), default=0.0)
        return Weights(chip, np.where(_same(chip, model), chip, model), clipped, floor)


def _same(a: FloatArray, b: FloatArray) -> NDArray[np.bool_]:
    """Equal but for the rounding of float64."""
    return np.asarray(np.abs(a - b) <= 2.0**-40 * np.abs(a))


def rows(ops: Iterable[LinearMap], neurons: IntArray) -> FloatArray:
    """Rows of the matrix of `ops`, one for each of `neurons`: float64 (neurons, inputs)."""
    *before, last = ops
    found = _rows(last, neurons)
    for op in reversed(before):
        found = op.adjoint(found.reshape(len(found), *op.out_shape)).reshape(len(found), -1)
    return found


def _rows(op: LinearMap, neurons: IntArray) -> FloatArray:
    if isinstance(op, Dense):
        return op.weight[neurons].astype(np.float64)
    found = np.zeros((len(neurons), int(np.prod(op.in_shape))))
    if isinstance(op, OneToOne):
        found[np.arange(len(neurons)), neurons] = op.weight[neurons]
        return found
    if not isinstance(op, Conv2d):
        one = np.zeros((len(neurons), int(np.prod(op.out_shape))))
        one[np.arange(len(neurons)), neurons] = 1.0
        return op.adjoint(one.reshape(len(neurons), *op.out_shape)).reshape(found.shape)
    channel, *place = np.unravel_index(neurons, op.out_shape)
    per_group, *kernel = op.weight.shape[1:]
    first = channel // (len(op.weight) // op.groups) * per_group
    for tap in np.ndindex(per_group, *kernel):
        at = [
            p * op.stride[axis] - op.padding[axis] + tap[1 + axis] * op.dilation[axis]
            for axis, p in enumerate(place)
        ]
        inside = np.all(
            [(a >= 0) & (a < n) for a, n in zip(at, op.in_shape[1:], strict=True)], axis=0
        )
        lanes = np.flatnonzero(inside)
        index = np.ravel_multi_index(
            (first[lanes] + tap[0], at[0][lanes], at[1][lanes]), op.in_shape
        )
        found[lanes, index] = op.weight[(channel[lanes], *tap)]
    return found


@dataclass(frozen=True, eq=False)
class Incoming:
    """All that arrives at a population.

    Attributes
    ----------
    own: what a neuron's own spike adds one step later beyond the model's connections, (neurons,).
    constant: what neurons that fire in every step add, (neurons,).
    """

    arrivals: tuple[Arrival, ...]
    own: FloatArray
    constant: FloatArray


def incoming(
    program: Program,
    network: Network,
    name: str,
    ports: Mapping[str, float],
    weight_limit: int | None = None,
) -> Incoming:
    """What arrives at population `name` of the program, beside what its network says.

    Parameters
    ----------
    ports, weight_limit: see `Dynamics`.

    Raises
    ------
    TargetError
        Populations or delays on the chip that no connection of the model explains.
    """

    size = program.population(name).size
    known, named = network.shapes, {connection.name for connection in network.connections}
    delays = waits(program)
    own, constant = np.zeros(size), np.zeros(size)
    paths: list[Path] = []
    for synapses in program.incoming(name):
        factor = ports[synapses.port] * 2.0**synapses.exponent
        limit = np.inf if weight_limit is None else abs(factor) * weight_limit
        floor = abs(ports[synapses.port]) if synapses.exponent < 0 else 0.0
        one_to_one = synapses.kind == "one-to-one"
        if synapses.recurrent and one_to_one and synapses.name not in named:
            own = own + synapses.weight.reshape(-1) * factor
            continue
        for one in by_delay(synapses):
            wait = delays[synapses] + one.delay.item()
            source, stages = synapses.source, [_op(one)]
            while source not in known:
                more = program.incoming(source)
                if not more:
                    break
                if len(more) > 1 or more[0].delay.size > 1:
                    text = f"{source}, which only the chip has, has several synapses"
                    raise TargetError(text, node=name)
                (behind,) = more
                wait += delays[behind] + behind.delay.item()
                if program.population(source).graded:
                    stages.insert(0, _op(behind))
                source = behind.source
            if source in known:
                paths.append(Path(source, tuple(stages), wait, factor, floor, limit))
            else:
                constant = constant + rows(stages, np.arange(size)).sum(axis=1) * factor
    return Incoming(tuple(_joined(program, network, name, paths)), own, constant)


def _op(synapses: Synapses) -> LinearMap:
    values = synapses.weight.astype(np.float64)
    if synapses.kind == "conv2d":
        return synapses.convolution(values)
    if synapses.kind == "one-to-one":
        return OneToOne(values.reshape(-1), synapses.in_shape, synapses.out_shape)
    return Dense(values, synapses.in_shape, synapses.out_shape)


@dataclass(frozen=True, eq=False)
class OneToOne:
    """y = weight x, element by element, whatever the shapes."""

    weight: FloatArray
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    def apply(self, x: FloatArray) -> FloatArray:
        flat = x.reshape(-1, self.weight.size) * self.weight
        return flat.reshape(*x.shape[: x.ndim - len(self.in_shape)], *self.out_shape)

    def adjoint(self, y: FloatArray) -> FloatArray:
        flat = y.reshape(-1, self.weight.size) * self.weight
        return flat.reshape(*y.shape[: y.ndim - len(self.out_shape)], *self.in_shape)


def _joined(program: Program, network: Network, name: str, paths: list[Path]) -> Iterator[Arrival]:
    """Chip and model by source, and by delay where a source has several."""
    model = network.incoming(name)
    for source in dict.fromkeys([c.source for c in model] + [p.source for p in paths]):
        meant = {c.delay: [d.ops for d in model if (d.source, d.delay) == (source, c.delay)]
                 for c in model if c.source == source}  # fmt: skip
        chip = {p.delay: [q for q in paths if (q.source, q.delay) == (source, p.delay)]
                for p in paths if p.source == source}  # fmt: skip
        grid = program.grids.get(source)
        step = 1.0 if grid is None else grid.step
        if meant and chip and meant.keys() != chip.keys() and len(meant) != len(chip):
            text = f"what arrives from {source} with delays {sorted(chip)} is meant to with"
            raise TargetError(f"{text} {sorted(meant)}", node=name)
        same = not meant or not chip or meant.keys() == chip.keys()
        if same:
            pairs = [(d, d) for d in sorted({*meant, *chip})]
        else:
            pairs = list(zip(sorted(chip), sorted(meant), strict=True))
        for delay, later in pairs:
            ops = tuple(meant.get(later, ()))
            yield Arrival(source, tuple(chip.get(delay, ())), ops, delay, later, step)
